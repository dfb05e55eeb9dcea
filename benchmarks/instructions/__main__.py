"""The command ``python -m benchmarks.instructions``, which ``nox -s instructions`` runs on each Python."""

from __future__ import annotations

import platform
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

from benchmarks import backends
from benchmarks.instructions.counting import Count, count
from benchmarks.instructions.figures import TOLERANCE, Difference, Figures, compare, get_path, read, write
from benchmarks.instructions.rows import Row, rows

UPDATE = "nox -s instructions -- --update"

HEADINGS = {
    "grown": f"Grown by more than {TOLERANCE:.0%}. If the change has to cost this: {UPDATE}",
    "missing": f"Figures are missing. Commit them: {UPDATE}",
    "shrunk": f"Shrunk by more than {TOLERANCE:.0%}. Keep the gain: {UPDATE}",
    "stale": f"Figures that are not counted any more. Remove them: {UPDATE}",
}

Counts = dict[str, dict[int, Count]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print the table, and compare or rewrite the figures.

    Returns:
        The exit code: 1 if a figure has grown or is missing.
    """
    parser = ArgumentParser(prog="python -m benchmarks.instructions", description="Count bytecode instructions.")
    parser.add_argument("--update", action="store_true", help="rewrite the committed figures of this Python")
    parser.add_argument("--total", action="store_true", help="also print the instructions of all code that ran")
    options = parser.parse_args(arguments)

    path = get_path()
    committed = read(path)
    counts = measure(rows())
    own = get_own(counts)
    print(f"Instructions of antiphon's own code on Python {platform.python_version()}.", end=" ")
    print("The committed figure is in brackets if it differs.")
    print(format_table(own, committed))
    if options.total:
        total = {workload: {size: one.total for size, one in row.items()} for workload, row in counts.items()}
        print("\nInstructions of all code that ran, which the gate does not compare.")
        print(format_table(total, total))
    if options.update:
        write(path, own)
        print(f"\n{path.name} was written.")
        return 0
    return report(list(compare(own, committed)), sum(len(row) for row in own.values()))


def measure(todo: Iterable[Row]) -> Counts:
    """Count rows, those of one backend in one event loop."""
    counts: Counts = {}
    for backend, group in groupby(todo, lambda row: row.backend):
        together = list(group)
        for row, counted in zip(together, backends.run(backend, partial(_count, together)), strict=True):
            counts.setdefault(row.title, {})[row.size] = counted
    return counts


async def _count(together: list[Row]) -> list[Count]:
    return [await count(row.build()) for row in together]


def get_own(counts: Counts) -> Figures:
    """Return what the gate compares."""
    return {workload: {size: one.own for size, one in row.items()} for workload, row in counts.items()}


def format_table(figures: Figures, committed: Figures) -> str:
    """Format figures, with the committed one in brackets if it differs."""
    sizes = sorted({size for row in figures.values() for size in row})
    table = [("(listeners)", [f"{size}" for size in sizes])]
    for workload, row in figures.items():
        then = {size: committed.get(workload, {}).get(size) for size in row}
        cells = {size: f"{now}" if now == then[size] else f"{now} ({then[size]})" for size, now in row.items()}
        table.append((workload, [cells.get(size, "") for size in sizes]))
    return "\n".join((name.ljust(52) + "".join(cell.rjust(13) for cell in cells)).rstrip() for name, cells in table)


def report(differences: list[Difference], total: int) -> int:
    """Print the differences, and return the exit code."""
    for kind, heading in HEADINGS.items():
        if lines := [f"  {one}" for one in differences if one.kind == kind]:
            print("", heading, *lines, sep="\n")
    fails = any(one.fails for one in differences)
    print(f"\n{total} figures: " + ("FAILED" if fails else f"none has grown by more than {TOLERANCE:.0%}"))
    return int(fails)


if __name__ == "__main__":
    sys.exit(main())
