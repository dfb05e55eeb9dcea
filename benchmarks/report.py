"""What a reader gets on the terminal: tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from benchmarks.peers import PEERS, Peer
from benchmarks.results import Result
from benchmarks.stages import STAGES

__all__ = ("NO_FIGURE", "absent", "as_text", "differing", "figure", "goal_of", "quantity")

NAME_WIDTH = 32
CELL_WIDTH = 11
NO_FIGURE = "–"


def as_text(results: list[Result]) -> str:
    """Draws the tables, one for each stage and backend."""
    lines: list[str] = []
    for stage, of_stage in groupby(results, lambda one: one.stage):
        shown = list(of_stage)
        for backend, group in groupby(shown, lambda one: one.backend):
            title = STAGES[stage].title + ("" if backend == "none" else f" on {backend}")
            lines += [title, "=" * len(title), *_table(list(group), STAGES[stage].columns), ""]
        lines += [line for peer in differing(shown) for line in _wrapped(f"{peer.name}: {peer.difference}")]
        lines.append("")
    return "\n".join(lines)


def differing(results: Iterable[Result]) -> list[Peer]:
    """Gives the peers that took part, and so have to say in what they differ."""
    present = {result.candidate for result in results if result.role == "peer" and result.value is not None}
    return [peer for peer in PEERS if peer.name in present]


def absent(results: Iterable[Result]) -> dict[str, list[str]]:
    """Tells for each reason who was absent by it from all that is in a table."""
    present = {result.candidate for result in results if result.value is not None}
    reasons: dict[str, list[str]] = {}
    for name, reason in {
        result.candidate: result.absent for result in results if result.absent and result.candidate not in present
    }.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="  ", subsequent_indent="    ")


def _table(results: list[Result], columns: str) -> Iterator[str]:
    sizes = sorted({result.size for result in results})
    yield _row(f"({columns})", [f"{size:,}" for size in sizes])
    for (workload, limit), group in groupby(results, lambda one: (one.workload, one.limit)):
        rows = list(group)
        note = f": x {limit}" if rows[0].shows == "ratio" else ""
        yield f"{workload}{note}"
        for candidate in dict.fromkeys(row.candidate for row in rows):
            mine = {row.size: row for row in rows if row.candidate == candidate}
            if any(row.value is not None for row in mine.values()):
                yield _row(f"  {candidate}", _cells(sizes, mine))
        goals = {row.size: row for row in rows if row.goal is not None}
        if goals:
            yield _row("  goal", [goal_of(goals.get(size)) for size in sizes])
    for reason, names in absent(results).items():
        yield f"absent, {reason}: {', '.join(names)}"


def _row(name: str, cells: Iterable[str]) -> str:
    return name.ljust(NAME_WIDTH) + "".join(cell.rjust(CELL_WIDTH) for cell in cells)


def _cells(sizes: Iterable[int], rows: dict[int, Result]) -> Iterator[str]:
    for size in sizes:
        yield figure(rows[size]) if size in rows else ""


def figure(result: Result) -> str:
    """Writes what is shown of a result: its ratio, or its value with the unit."""
    if result.value is None:
        return NO_FIGURE
    if result.shows == "value" or result.candidate == result.limit or result.ratio is None:
        return quantity(result.value, result.unit)
    return f"x {result.ratio:.{2 if result.ratio < 10 else 1 if result.ratio < 100 else 0}f}"


def goal_of(row: Result | None) -> str:
    """Writes the goal of a result, if it has one."""
    if row is None or row.goal is None:
        return ""
    return f"≤ {quantity(row.goal, row.unit)}" if row.shows == "value" else f"≤ {row.goal:g}"


def quantity(value: float, unit: str) -> str:
    """Writes a value with its unit, in three digits or so."""
    if unit != "ns":
        return f"{value:,.0f}" if unit == "modules" else f"{value:,.0f} B"
    for factor, name in ((1e6, "ms"), (1e3, "µs")):
        if value >= factor:
            return f"{value / factor:.3g} {name}" if value < 1e3 * factor else f"{value / factor:,.0f} {name}"
    return f"{value:.0f} ns"
