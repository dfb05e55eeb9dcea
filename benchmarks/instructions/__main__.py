"""The command: ``python -m benchmarks.instructions``, which ``nox -s instructions`` runs on each Python."""

from __future__ import annotations

import platform
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from benchmarks import backends
from benchmarks.instructions.counting import Count, count
from benchmarks.instructions.figures import TOLERANCE, Figures, Judgement, judge, path_of, read, write
from benchmarks.instructions.rows import Row, rows
from benchmarks.instructions.table import Counts, as_text, own

UPDATE = "nox -s instructions -- --update"


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts, shows the table, and judges or rewrites the figures.

    Returns:
        The exit code: 1 if a figure has grown or is missing.
    """
    parser = ArgumentParser(prog="python -m benchmarks.instructions", description="Bytecode instructions, as a gate.")
    parser.add_argument("--update", action="store_true", help="rewrite the committed figures of this Python")
    parser.add_argument("--total", action="store_true", help="also show the instructions of all code that ran")
    asked = parser.parse_args(arguments)

    path = path_of()
    committed = read(path)
    counts = measure()
    print(f"Bytecode instructions of antiphon's own code on Python {platform.python_version()}; ", end="")
    print("in brackets the committed figure, where it differs.")
    print(as_text(counts, committed))
    if asked.total:
        print("\nThe same with the listeners, anyio, the event loop and what counts; the gate does not look at these.")
        print(as_text(counts, {}, total=True))
    if asked.update:
        write(path, own(counts))
        print(f"\nWritten to {path.name}.")
        return 0
    return report(list(judge(own(counts), committed)), own(counts))


def measure(asked: Sequence[Row] | None = None) -> Counts:
    """Counts rows, each backend's in one loop."""
    counts: Counts = {}
    for backend, group in groupby(rows() if asked is None else asked, lambda row: row.backend):
        todo = list(group)
        for row, counted in zip(todo, backends.run(backend, partial(_count, todo)), strict=True):
            counts.setdefault(row.title, {})[row.size] = counted
    return counts


async def _count(todo: list[Row]) -> list[Count]:
    return [await count(row.build()) for row in todo]


def report(judgements: list[Judgement], measured: Figures) -> int:
    """Prints what there is to say. Returns the exit code."""
    headings = {
        "grown": f"Grown by more than {TOLERANCE:.0%}. If that is what the change means to pay: {UPDATE}",
        "missing": f"Figures are missing. Commit them: {UPDATE}",
        "shrunk": f"Shrunk by more than {TOLERANCE:.0%}. Keep the gain: {UPDATE}",
        "stale": f"Figures that nobody counts any more. Drop them: {UPDATE}",
    }
    for verdict, heading in headings.items():
        lines = [str(one) for one in judgements if one.verdict == verdict]
        if lines:
            print("", heading, *(f"  {line}" for line in lines), sep="\n")
    fails = any(one.fails for one in judgements)
    total = sum(len(row) for row in measured.values())
    print(f"\n{total} figures: " + ("FAILED" if fails else f"none has grown by more than {TOLERANCE:.0%}"))
    return int(fails)


if __name__ == "__main__":
    sys.exit(main())
