"""Formatted durations, and the ticks of the time axis."""

from __future__ import annotations

from math import floor, log10
from typing import Final

__all__ = ("choose_ticks", "format_duration", "format_ticks")

UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def format_duration(seconds: float) -> str:
    """Format a duration with three significant digits."""
    if seconds == 0:
        return "0 s"
    size, unit = _choose_unit(seconds)
    value = seconds / size
    digits = max(0, 2 - floor(log10(value)))
    return f"{_format_number(value, digits)} {unit}"


def choose_ticks(span: float, at_most: int) -> list[float]:
    """Return round times from 0 to a span, in seconds. There are about as many as asked for, or fewer."""
    if span <= 0:
        return [0.0]
    rough_step = span / max(1, at_most - 1)
    power = 10.0 ** floor(log10(rough_step))
    # Allow for rounding errors: 3 * 0.1 is more than 0.3.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough_step * (1 - 1e-9))
    return [number * step for number in range(floor(span / step * (1 + 1e-9)) + 1)]


def format_ticks(times: list[float]) -> list[str]:
    """Format the times of ticks, all in the same unit."""
    if len(times) == 1:
        return ["0"]
    size, unit = _choose_unit(times[-1])
    digits = max(0, -floor(log10(times[1] / size) + 1e-9))
    return ["0", *(f"{_format_number(time / size, digits)} {unit}" for time in times[1:])]


def _choose_unit(seconds: float) -> tuple[float, str]:
    # Choose the larger unit just below it: 999.6 µs is rounded to 1 ms.
    return next((unit for unit in UNITS if seconds >= unit[0] * 0.9995), UNITS[-1])


def _format_number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
