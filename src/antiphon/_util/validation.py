"""Checks of arguments that several parts share."""

from __future__ import annotations

from antiphon._util.naming import (
    describe_value,
    safe_repr,
)

__all__ = (
    "check_duration",
    "check_limit",
    "check_priority",
)


def check_priority(priority: object) -> None:
    """Refuse what does not order.

    Raises:
        TypeError: The priority is not an int.
    """
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"a priority is an int (lower runs first, the default is 0); got {describe_value(priority)}")


def check_limit(limit: object, meaning: str) -> int:
    """Refuse a number of things at a time that is none.

    Raises:
        TypeError: It is no int.
        ValueError: It is less than 1.
    """
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"{meaning}, an int or None; got {describe_value(limit)}")
    if limit < 1:
        raise ValueError(
            f"{meaning}, at least 1 (None for no limit), or nothing would ever run; got {safe_repr(limit)}"
        )
    return limit


def check_duration(seconds: object, meaning: str, *, zero: bool = False) -> float:
    """Refuse a span of time that is none.

    Args:
        seconds: The span.
        meaning: What it is for, for messages.
        zero: Whether 0 is one too.

    Raises:
        TypeError: It is no number.
        ValueError: It is not more than 0, or more than a float can hold.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{meaning}, a number or None; got {describe_value(seconds)}")
    if not (seconds > 0 or (zero and seconds == 0)):
        least = "at least" if zero else "more than"
        raise ValueError(f"{meaning}, {least} 0 (None for no bound); got {safe_repr(seconds)}")
    try:
        return float(seconds)
    except OverflowError:
        raise ValueError(
            f"{meaning}, no more than a float can hold (None for no bound); got {safe_repr(seconds)}"
        ) from None
