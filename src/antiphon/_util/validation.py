"""Checks of arguments that several packages share."""

from __future__ import annotations

from antiphon._util.callables import find_mismatch
from antiphon._util.naming import describe_value, safe_repr

__all__ = ("check_duration", "check_limit", "check_parameters", "check_priority")


def check_parameters(function: object, arguments: tuple[str, ...], expected: str) -> None:
    """Check that a function can be called with its arguments, as far as its code shows.

    Args:
        function: A callable.
        arguments: What it receives, in order.
        expected: What the caller expects, for the message.

    Raises:
        TypeError: If the call would fail.
    """
    mismatch = find_mismatch(function, len(arguments))
    if mismatch is not None:
        for keyword in mismatch.wrong_keywords:
            raise TypeError(
                f"{expected}; got {safe_repr(function)}, which cannot be called with ({', '.join(arguments)}): remove "
                f"{keyword}= from the partial"
            )
        takes = ", ".join([*mismatch.parameters, *(f"{option}=" for option in mismatch.required)])
        raise TypeError(
            f"{expected}; got {safe_repr(function)}, which takes ({takes}): it is called with ({', '.join(arguments)})"
        )


def check_priority(priority: object) -> None:
    """Check that a priority is an int.

    Raises:
        TypeError: If the priority is not an int.
    """
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"a priority is an int (lower runs first, the default is 0); got {describe_value(priority)}")


def check_limit(limit: object, meaning: str, *, optional: bool = False) -> int:
    """Check that a limit is an int of at least 1.

    Args:
        limit: The limit.
        meaning: What it limits, for the message.
        optional: Whether the caller accepts None for no limit.

    Raises:
        TypeError: If the limit is not an int.
        ValueError: If the limit is less than 1.
    """
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"{meaning}, an int{' or None' if optional else ''}; got {describe_value(limit)}")
    if limit < 1:
        no_limit = " (None for no limit)" if optional else ""
        raise ValueError(
            f"{meaning}, at least 1{no_limit}, because otherwise nothing would run; got {safe_repr(limit)}"
        )
    return limit


def check_duration(seconds: object, meaning: str, *, zero: bool = False, optional: bool = True) -> float:
    """Check that a duration is a positive number, and return it as a float.

    Args:
        seconds: The duration.
        meaning: What it is for, for the message.
        zero: Whether 0 is valid.
        optional: Whether the caller accepts None for no bound.

    Raises:
        TypeError: If the duration is not a number.
        ValueError: If the duration is not positive, or is too large for a float.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{meaning}, a number{' or None' if optional else ''}; got {describe_value(seconds)}")
    if not (seconds > 0 or (zero and seconds == 0)):
        least = "at least" if zero else "more than"
        no_bound = " (None for no bound)" if optional else ""
        raise ValueError(f"{meaning}, {least} 0{no_bound}; got {safe_repr(seconds)}")
    try:
        return float(seconds)
    except OverflowError:
        raise ValueError(
            f"{meaning}, not larger than a float can be (None for no bound); got {safe_repr(seconds)}"
        ) from None
