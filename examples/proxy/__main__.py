"""The command: ``python -m examples.proxy``, from the root of the repository."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import get_args

import anyio

from antiphon import Concurrent, Sequential
from antiphon.instruments.timeline import timeline
from examples.proxy.applications import Application, Storage, default_applications
from examples.proxy.applications.storage import Overflow
from examples.proxy.report import Progress, Run, table
from examples.proxy.run import Result, run

BACKENDS = ("asyncio", "trio")
STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent}
SHOWN_PROBLEMS = 10


def main(
    arguments: Sequence[str] | None = None,
    make_applications: Callable[[], Sequence[Application]] = default_applications,
) -> int:
    """Run what the arguments ask for and return the status to exit with: 0 if all was right, else 1.

    Args:
        arguments: The words after the command; those of the process by default.
        make_applications: Makes the applications of one run; the storage comes to them.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO if options.verbose else logging.ERROR)
    results: dict[Run, Result] = {}
    backends = [options.backend] if options.backend else BACKENDS
    strategies = [options.strategy] if options.strategy else STRATEGIES
    paths = _paths(options.timeline, [(backend, strategy) for backend in backends for strategy in strategies])

    for backend in backends:
        for strategy in strategies:
            progress = Progress((backend, strategy), options.requests)
            applications = [*make_applications(), Storage(options.storage)]
            start = partial(run, STRATEGIES[strategy](), applications, options.requests, options.clients, progress.step)
            with timeline(paths[backend, strategy]) if options.timeline else nullcontext():
                results[backend, strategy] = anyio.run(start, backend=backend)

    print(table(results))
    print("p50 shows what the slow auditor costs; in p99 are those that waited for the storage", file=sys.stderr)

    for path in paths.values():
        print(f"the timeline is in {path}", file=sys.stderr)

    problems = [f"{' '.join(key)}: {problem}" for key, result in results.items() for problem in result.problems]

    for problem in problems[:SHOWN_PROBLEMS]:
        print(problem, file=sys.stderr)

    if len(problems) > SHOWN_PROBLEMS:
        print(f"... and {len(problems) - SHOWN_PROBLEMS} more", file=sys.stderr)

    return 1 if problems else 0


def _paths(path: Path | None, runs: Sequence[Run]) -> Mapping[Run, Path]:
    """Give each run a file of its own for its timeline, if there is to be one."""
    if path is None:
        return {}

    if len(runs) == 1:
        return {runs[0]: path}

    return {run: path.with_stem("-".join((path.stem, *run))) for run in runs}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.proxy",
        description="Send real requests through a small reverse proxy, and show what it dispatched.",
    )
    parser.add_argument("--backend", choices=BACKENDS, help="default: both")
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), help="default: both")
    parser.add_argument(
        "--requests", type=_positive, default=300, metavar="N", help="of each run; default: %(default)s"
    )
    parser.add_argument("--clients", type=_positive, default=6, metavar="N", help="at a time; default: %(default)s")
    parser.add_argument(
        "--storage",
        choices=get_args(Overflow),
        default="suspend",
        help="what a full queue of records does; default: %(default)s",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="PATH",
        help="write what ran when: a trace for Perfetto, or a picture if it ends in .svg or .txt; "
        "with several runs a file for each of them",
    )
    parser.add_argument("--verbose", action="store_true", help="show the access log")
    return parser


def _positive(text: str) -> int:
    number = int(text)

    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")

    return number


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # What the shell gives to a command that Ctrl-C ended; the traceback would tell nothing.
        sys.exit(130)
