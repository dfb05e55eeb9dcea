"""The table of what was counted, beside what is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.instructions.counting import Count
from benchmarks.instructions.figures import Figures

__all__ = ("Counts", "as_text", "own")

Counts = dict[str, dict[int, Count]]

NAME_WIDTH = 52
CELL_WIDTH = 13


def own(counts: Counts) -> Figures:
    """Gives what the gate compares."""
    return {workload: {size: one.own for size, one in row.items()} for workload, row in counts.items()}


def as_text(counts: Counts, committed: Figures, *, total: bool = False) -> str:
    """Draws the table.

    Args:
        counts: What was counted.
        committed: The figures that it is compared with.
        total: Whether to show the instructions of all code that ran; there is nothing to compare those with.
    """
    return "\n".join(_lines(counts, committed, total=total))


def _lines(counts: Counts, committed: Figures, *, total: bool) -> Iterator[str]:
    sizes = sorted({size for row in counts.values() for size in row})
    yield _row("(listeners)", map(str, sizes))
    for workload, row in counts.items():
        then = committed.get(workload, {})
        yield _row(workload, [_cell(row.get(size), then.get(size), total=total) for size in sizes])


def _row(name: str, cells: Iterable[str]) -> str:
    return (name.ljust(NAME_WIDTH) + "".join(cell.rjust(CELL_WIDTH) for cell in cells)).rstrip()


def _cell(count: Count | None, committed: int | None, *, total: bool) -> str:
    if count is None:
        return ""
    if total:
        return str(count.total)
    return str(count.own) if count.own == committed else f"{count.own} ({'none' if committed is None else committed})"
