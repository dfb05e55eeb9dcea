"""Times as people read them, and where an axis has its ticks."""

from __future__ import annotations

from math import floor, log10
from typing import Final

__all__ = ("duration", "tick_labels", "ticks")

UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float) -> str:
    """Write a duration with three digits."""
    if seconds == 0:
        return "0 s"
    size, unit = _unit(seconds)
    value = seconds / size
    digits = max(0, 2 - floor(log10(value)))
    return f"{_trimmed(value, digits)} {unit}"


def ticks(span: float, at_most: int) -> list[float]:
    """Give the times of the ticks from 0 to a span, all in seconds: round numbers, no more of them than asked for."""
    if span <= 0:
        return [0.0]
    rough = span / max(1, at_most - 1)
    power = 10.0 ** floor(log10(rough))
    # A little generous, for 3 * 0.1 is more than 0.3.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [number * step for number in range(floor(span / step * (1 + 1e-9)) + 1)]


def tick_labels(times: list[float]) -> list[str]:
    """Write the times of ticks, all of them in one unit."""
    if len(times) == 1:
        return ["0"]
    size, unit = _unit(times[-1])
    digits = max(0, -floor(log10(times[1] / size) + 1e-9))
    return ["0", *(f"{_trimmed(time / size, digits)} {unit}" for time in times[1:])]


def _unit(seconds: float) -> tuple[float, str]:
    # 999.6 µs is written as 1 ms.
    return next((unit for unit in UNITS if seconds >= unit[0] * 0.9995), UNITS[-1])


def _trimmed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
