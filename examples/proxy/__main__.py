"""The command ``python -m examples.proxy``. Run it from the root of the repository."""

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
from examples.proxy.report import Progress, Run, format_table
from examples.proxy.run import Result, run

BACKENDS = ("asyncio", "trio")
STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent}
MAX_PRINTED_PROBLEMS = 10


def main(
    arguments: Sequence[str] | None = None,
    make_applications: Callable[[], Sequence[Application]] = default_applications,
) -> int:
    """Run the proxy as the arguments request. Return the exit status: 0 if everything was correct, else 1.

    Args:
        arguments: The arguments of the command. By default, those of the process.
        make_applications: Makes the applications of one run. The storage is added to them.
    """
    options = _make_parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO if options.verbose else logging.ERROR)
    results: dict[Run, Result] = {}
    backends = [options.backend] if options.backend else BACKENDS
    strategies = [options.strategy] if options.strategy else STRATEGIES
    paths = _choose_paths(options.timeline, [(backend, strategy) for backend in backends for strategy in strategies])

    for backend in backends:
        for strategy in strategies:
            progress = Progress((backend, strategy), options.requests)
            applications = [*make_applications(), Storage(options.storage)]
            start = partial(
                run, STRATEGIES[strategy](), applications, options.requests, options.clients, progress.count_exchange
            )
            with timeline(paths[backend, strategy]) if options.timeline else nullcontext():
                results[backend, strategy] = anyio.run(start, backend=backend)

    print(format_table(results))
    print("p50 shows the cost of the slow auditor; p99 includes requests that waited for the storage", file=sys.stderr)

    for path in paths.values():
        print(f"the timeline is in {path}", file=sys.stderr)

    problems = [f"{' '.join(key)}: {problem}" for key, result in results.items() for problem in result.problems]

    for problem in problems[:MAX_PRINTED_PROBLEMS]:
        print(problem, file=sys.stderr)

    if len(problems) > MAX_PRINTED_PROBLEMS:
        print(f"... and {len(problems) - MAX_PRINTED_PROBLEMS} more", file=sys.stderr)

    return 1 if problems else 0


def _choose_paths(path: Path | None, runs: Sequence[Run]) -> Mapping[Run, Path]:
    """Return the timeline file of each run, if a timeline was requested."""
    if path is None:
        return {}

    if len(runs) == 1:
        return {runs[0]: path}

    return {run: path.with_stem("-".join((path.stem, *run))) for run in runs}


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.proxy",
        description="Send real requests through a small reverse proxy, and show the dispatched events.",
    )
    parser.add_argument("--backend", choices=BACKENDS, help="default: both")
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), help="default: both")
    parser.add_argument(
        "--requests", type=_parse_positive_int, default=300, metavar="N", help="in each run; default: %(default)s"
    )
    parser.add_argument(
        "--clients", type=_parse_positive_int, default=6, metavar="N", help="at a time; default: %(default)s"
    )
    parser.add_argument(
        "--storage",
        choices=get_args(Overflow),
        default="suspend",
        help="behavior of a full queue of records; default: %(default)s",
    )
    parser.add_argument(
        "--timeline",
        type=Path,
        metavar="PATH",
        help="write a timeline: a picture if the path ends in .svg or .txt, else a trace for Perfetto; "
        "several runs write one file each",
    )
    parser.add_argument("--verbose", action="store_true", help="show the access log")
    return parser


def _parse_positive_int(text: str) -> int:
    number = int(text)

    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")

    return number


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # The status that a shell reports for Ctrl-C. A traceback would not help the user.
        sys.exit(130)
