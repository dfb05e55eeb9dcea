"""Checks of the arguments that the charts and the trace share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from antiphon._util.naming import describe_value
from antiphon.instruments import DispatchRecord

__all__ = ("check_records", "check_width")

#: The maximum width of a chart, in columns or pixels.
MAX_WIDTH: Final = 100_000


def check_records(records: Iterable[DispatchRecord], until: float | None, dropped: int) -> tuple[DispatchRecord, ...]:
    """Return the records as a tuple.

    Raises:
        TypeError: If ``records`` is not an iterable of `DispatchRecord`, ``until`` is not a number, or ``dropped`` is
            not an int.
        ValueError: If ``until`` is not finite, or ``dropped`` is negative.
    """
    # What is not iterable is refused as if it were the only record.
    given: Any = records
    checked: tuple[Any, ...] = tuple(given) if hasattr(given, "__iter__") else (given,)
    for record in checked:
        if not isinstance(record, DispatchRecord):
            raise TypeError(
                f"a chart or a trace takes an iterable of dispatch records, such as timeline.records; got "
                f"{describe_value(record)}"
            )
    if until is not None:
        if not isinstance(until, int | float):
            raise TypeError(f"until= must be a time of time.perf_counter(), or None; got {describe_value(until)}")
        if not math.isfinite(until):
            raise ValueError(f"until= must be a finite number of seconds; got {until}")
    if not isinstance(dropped, int):
        raise TypeError(f"dropped= must be the number of dropped dispatches, an int; got {describe_value(dropped)}")
    if dropped < 0:
        raise ValueError(f"dropped= must be at least 0; got {dropped}")
    return checked


def check_width(width: object, least: int, unit: str) -> None:
    """Check the width of a chart.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is too small or too large.
    """
    if not isinstance(width, int) or isinstance(width, bool):
        raise TypeError(f"width= must be a number of {unit}, an int; got {describe_value(width)}")
    if width < least:
        raise ValueError(f"width= must be at least {least} {unit}, to leave space for the bars; got {width}")
    if width > MAX_WIDTH:
        raise ValueError(f"width= must be at most {MAX_WIDTH} {unit}; got {width}")
