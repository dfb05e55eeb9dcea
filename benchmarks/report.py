"""What a reader gets: a table on the terminal, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import groupby

from benchmarks.machine import machine, versions
from benchmarks.peers import PEERS
from benchmarks.results import Result
from benchmarks.stages import STAGES

__all__ = ("as_json", "as_text")

NAME_WIDTH = 32
CELL_WIDTH = 11


def as_json(results: list[Result], options: Mapping[str, object]) -> str:
    """Writes a run down.

    Args:
        results: All of its results.
        options: How it was made: seed, passes, rounds.
    """
    run = {
        "format": 1,
        "machine": machine(),
        "versions": versions(),
        "peers": {peer.name: peer.difference for peer in PEERS},
        "options": options,
        "results": [asdict(result) for result in results],
    }
    return json.dumps(run, indent=1) + "\n"


def as_text(results: list[Result]) -> str:
    """Draws the tables, one for each stage and backend."""
    lines: list[str] = []
    for (stage, backend), group in groupby(results, lambda one: (one.stage, one.backend)):
        title = STAGES[stage].title + ("" if backend == "none" else f" on {backend}")
        lines += [title, "=" * len(title), *_table(list(group), STAGES[stage].columns), ""]
    return "\n".join(lines)


def _table(results: list[Result], columns: str) -> Iterator[str]:
    sizes = sorted({result.size for result in results})
    yield _row(f"({columns})", [f"{size:,}" for size in sizes])
    for (workload, limit), group in groupby(results, lambda one: (one.workload, one.limit)):
        rows = list(group)
        note = f": x {limit}" if rows[0].shows == "ratio" else ""
        yield f"{workload}{note}"
        for candidate in dict.fromkeys(row.candidate for row in rows):
            mine = {row.size: row for row in rows if row.candidate == candidate}
            absent = next((row.absent for row in mine.values() if row.absent), None)
            yield f"  {candidate}: absent, {absent}" if absent else _row(f"  {candidate}", _cells(sizes, mine))
        goals = {row.size: row for row in rows if row.goal is not None}
        if goals:
            yield _row("  goal", [_goal(goals.get(size)) for size in sizes])


def _row(name: str, cells: Iterable[str]) -> str:
    return name.ljust(NAME_WIDTH) + "".join(cell.rjust(CELL_WIDTH) for cell in cells)


def _cells(sizes: Iterable[int], rows: dict[int, Result]) -> Iterator[str]:
    for size in sizes:
        row = rows.get(size)
        if row is None or row.value is None:
            yield ""
        elif row.shows == "value" or row.candidate == row.limit or row.ratio is None:
            yield quantity(row.value, row.unit)
        else:
            yield f"x {row.ratio:.2f}"


def _goal(row: Result | None) -> str:
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
