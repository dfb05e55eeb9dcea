"""The command ``python -m benchmarks.harp``, which ``nox -s harp_benchmark`` runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median, quantiles

DISPATCHERS = ("whistle", "antiphon")

#: The pairs that are enough to judge.
ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Process:
    """What a process measured."""

    #: The module of the dispatcher.
    module: str
    #: The number of listeners of each dispatch of a request.
    dispatches: list[int]
    #: The CPU nanoseconds of a request, in each batch.
    times: list[float]


@dataclass(frozen=True, slots=True)
class Pair:
    """What two processes measured, one with each dispatcher."""

    whistle: Process
    antiphon: Process

    @property
    def ratio(self) -> float:
        """The CPU time of a request on antiphon, divided by that on whistle."""
        return median(self.antiphon.times) / median(self.whistle.times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result."""
    parser = ArgumentParser(prog="python -m benchmarks.harp", description="Measure requests of HARP.")
    parser.add_argument("--pairs", type=int, default=12, help="the pairs of processes (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=40, help="50 requests each, in a process (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only see that it works: 2 pairs of 2 batches")
    options = parser.parse_args(arguments)
    if options.quick:
        options.pairs, options.batches = 2, 2
    pairs: list[Pair] = []
    for pair in measure(options.pairs, options.batches, run_worker):
        pairs.append(pair)
        print(f"pair {len(pairs)}/{options.pairs}  {pair.ratio:.3f}", file=sys.stderr, flush=True)
    print(f"HARP {version('harp-proxy')}, whistle {version('whistle')}, Python {platform.python_version()}")
    print(format_pairs(pairs))


def measure(pairs: int, batches: int, run: Callable[[str, int, int], Process]) -> Iterator[Pair]:
    """Run pairs of processes. The dispatcher that is first alternates.

    Args:
        pairs: The number of pairs.
        batches: The batches of requests in a process.
        run: Runs a process: with the dispatcher, the batches and the seed of the hashes, which is that of the pair.
    """
    for number in range(pairs):
        order = DISPATCHERS if number % 2 == 0 else DISPATCHERS[::-1]
        yield Pair(**{dispatcher: run(dispatcher, batches, number) for dispatcher in order})


def run_worker(dispatcher: str, batches: int, seed: int) -> Process:
    """Run one process.

    Raises:
        RuntimeError: If HARP ran on another dispatcher.
        subprocess.CalledProcessError: If the process fails.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.harp.worker", dispatcher, str(batches)]
    # HARP logs warnings only. It reads the environment.
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "LOGGING": "warning", "LOGGING_HARP": "warning"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    process = Process(**json.loads(done.stdout))
    if process.module != dispatcher:
        raise RuntimeError(f"HARP must run on {dispatcher}, but it ran on {process.module}")
    return process


def format_pairs(pairs: Sequence[Pair]) -> str:
    """Format what was measured, with the middle half of the pairs and the extremes.

    Raises:
        ValueError: If the processes did not make the same dispatches.
    """
    dispatches = pairs[0].antiphon.dispatches
    if any(process.dispatches != dispatches for pair in pairs for process in (pair.whistle, pair.antiphon)):
        raise ValueError("the processes must make the same dispatches, so that their times can be compared")
    lines = [
        f"{len(dispatches)} dispatches in a request, {dispatches.count(0)} of them without listeners",
        f"CPU time of a request, the median of {len(pairs)} pairs of processes (middle half; all)",
    ]
    for dispatcher in DISPATCHERS:
        times = [median(getattr(pair, dispatcher).times) / 1_000 for pair in pairs]
        lines.append(f"{dispatcher:<20} {format_spread(times, '{:.0f}')} µs")
    ratios = [pair.ratio for pair in pairs]
    lines.append(f"{'antiphon / whistle':<20} {format_spread(ratios, '{:.3f}')}")
    lines.append(judge(ratios))
    return "\n".join(lines)


def judge(ratios: Sequence[float]) -> str:
    """Say whether the middle half of the ratios is on one side of 1."""
    if len(ratios) < ENOUGH:
        return f"fewer than {ENOUGH} pairs: too few to judge"
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    if low > 1:
        return "antiphon takes more CPU time than whistle"
    return "antiphon takes less CPU time than whistle" if high < 1 else "no difference beyond the noise"


def format_spread(values: Sequence[float], form: str) -> str:
    """Format the median of values, their middle half, and the least and the greatest of them."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    middle, low, high, least, greatest = map(form.format, (median(values), low, high, min(values), max(values)))
    return f"{middle} ({low} to {high}; {least} to {greatest})"


if __name__ == "__main__":
    main()
