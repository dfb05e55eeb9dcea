"""Run the load test: ``python -m tests.load``. It needs wrk, and Linux for the memory.

A run of full length without a problem keeps its figures, and writes them to ``docs/how-it-is-tested.md``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial

import anyio

from tests import figures as kept
from tests.load.running import Outcome, find_problems, run

BACKENDS = ("asyncio", "trio")
FULL, SHORT = 60, 8


def main() -> int:
    """Return the exit status: 0 if nothing was wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"{SHORT} seconds on each backend, and keep no figures")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("expected the command wrk, which is not installed: install the package wrk of your system")

    seconds = SHORT if options.short else FULL
    figures: dict[str, float] = {"connections": options.connections, "seconds": seconds}
    problems: list[str] = []
    for backend in BACKENDS:
        outcome = anyio.run(partial(run, seconds, options.connections, options.seed), backend=backend)
        figures |= {f"{word}, {backend}": value for word, value in make_figures(outcome).items()}
        problems += [f"{backend}: {problem}" for problem in find_problems(outcome)]

    for word, value in figures.items():
        print(f"{word:<40} {value:>12,}")
    for problem in problems:
        print(problem)
    kept.print_left_out(seconds, FULL, "seconds on each backend")
    if problems:
        return 1
    if not options.short:
        kept.keep("load", figures)
    return 0


def make_figures(outcome: Outcome) -> dict[str, float]:
    """Return what a reader wants to know of a run."""
    counts = outcome.counts
    return {
        "responses": outcome.received.total(),
        "wrong responses": int(outcome.wrong),
        "dispatches": outcome.dispatches.total(),
        "listeners called": outcome.listeners,
        "listeners that failed": counts["failed"] + counts["failed at the end"] + counts["failed records"],
        "listeners that stalled": counts["stalled"],
        "events dispatched again": counts["dispatched again"],
        "transactions": outcome.ended.total(),
        "records stored": counts["rows written"],
        "events left": outcome.events_left,
        "growth of memory, MB": round(outcome.growth, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
