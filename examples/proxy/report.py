"""The output of the command: its progress, and a table of its runs."""

import math
import sys
from collections.abc import Mapping, Sequence
from time import perf_counter

from examples.proxy.events import NAMES
from examples.proxy.run import Result

Run = tuple[str, str]
"""A backend and a strategy."""

STEPS = 4


class Progress:
    """Prints the progress of a run on standard error."""

    def __init__(self, run: Run, requests: int) -> None:
        self._done = 0
        self._requests = requests
        self._started_at = perf_counter()
        self._write(f"{' '.join(run):<20}")

    def count_exchange(self) -> None:
        """Count one exchange."""
        before, self._done = self._done, self._done + 1

        if self._done * STEPS // self._requests > before * STEPS // self._requests:
            self._write(f" {100 * self._done // self._requests:>3} %")

        if self._done == self._requests:
            self._write(f"   {perf_counter() - self._started_at:.1f} s\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def format_table(results: Mapping[Run, Result]) -> str:
    """Return a table with a column for each run and a row for each figure."""
    rows: list[tuple[str, Sequence[str]]] = [
        ("", [backend for backend, _ in results]),
        ("", [strategy for _, strategy in results]),
        ("requests", [str(result.requests) for result in results.values()]),
        *((name, [str(result.events.get(name, 0)) for result in results.values()]) for name in NAMES),
        ("listeners run", [str(result.listeners) for result in results.values()]),
        ("stops", [str(result.stops) for result in results.values()]),
    ]

    words = dict.fromkeys(word for result in results.values() for word in result.figures)
    rows += [(word, [str(result.figures.get(word, 0)) for result in results.values()]) for word in words]
    rows += [
        ("latency p50, ms", [_format_milliseconds(result.latencies, 0.50) for result in results.values()]),
        ("latency p99, ms", [_format_milliseconds(result.latencies, 0.99) for result in results.values()]),
        ("wrong", [str(len(result.problems)) for result in results.values()]),
    ]

    first = max(len(word) for word, _ in rows)
    others = max(len(cell) for _, cells in rows for cell in cells)
    lines = [f"{word:<{first}}" + "".join(f"  {cell:>{others}}" for cell in cells) for word, cells in rows]
    lines.insert(2, "-" * len(lines[0]))
    return "\n".join(lines)


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value such that the given share of all values is not greater (nearest rank)."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _format_milliseconds(latencies: Sequence[float], share: float) -> str:
    return f"{percentile(latencies, share) * 1000:.1f}" if latencies else "-"
