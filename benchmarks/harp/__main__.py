"""The command ``python -m benchmarks.harp``, which ``nox -s harp_benchmark`` runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median, quantiles

DISPATCHERS = ("whistle", "antiphon")

#: The pairs that are enough to judge.
ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that has started HARP."""

    #: The module of the dispatcher.
    module: str
    #: The number of listeners of each dispatch of a request.
    dispatches: list[int]
    #: Sends a batch of requests, and returns the CPU nanoseconds of one of them.
    run_batch: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Pair:
    """What two processes measured, one with each dispatcher: the CPU nanoseconds of a request in each round."""

    dispatches: list[int]
    whistle: list[float]
    antiphon: list[float]

    @property
    def ratio(self) -> float:
        """The time on antiphon, divided by that on whistle in the same round: the median of the rounds."""
        return median(ours / theirs for ours, theirs in zip(self.antiphon, self.whistle, strict=True))


Start = Callable[[str, int], AbstractContextManager[Worker]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result."""
    parser = ArgumentParser(prog="python -m benchmarks.harp", description="Measure requests of HARP.")
    parser.add_argument("--pairs", type=int, default=12, help="the pairs of processes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="50 requests in each process (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only show that it works: 2 pairs of 2 rounds")
    options = parser.parse_args(arguments)
    if options.quick:
        options.pairs, options.rounds = 2, 2
    pairs: list[Pair] = []
    for pair in measure(options.pairs, options.rounds, start_worker):
        pairs.append(pair)
        print(f"pair {len(pairs)}/{options.pairs}  {pair.ratio:.3f}", file=sys.stderr, flush=True)
    print(f"HARP {version('harp-proxy')}, whistle {version('whistle')}, Python {platform.python_version()}")
    print(format_pairs(pairs))


def measure(pairs: int, rounds: int, start: Start) -> Iterator[Pair]:
    """Run pairs of processes. In each round both run a batch, one after the other, and the first of them alternates.

    Args:
        pairs: The number of pairs.
        rounds: The rounds of each pair.
        start: Starts a process with a dispatcher and a seed of hashes, which is the same for both of a pair.

    Raises:
        RuntimeError: If HARP runs on another dispatcher, or does not make the same dispatches in both processes.
    """
    for number in range(pairs):
        with ExitStack() as stack:
            workers = {dispatcher: stack.enter_context(start(dispatcher, number)) for dispatcher in DISPATCHERS}
            for dispatcher, worker in workers.items():
                if worker.module != dispatcher:
                    raise RuntimeError(f"HARP must run on {dispatcher}, but it runs on {worker.module}")
            dispatches, others = (worker.dispatches for worker in workers.values())
            if dispatches != others:
                raise RuntimeError(f"both must make the same dispatches: {dispatches} on whistle, {others} on antiphon")
            times: dict[str, list[float]] = {dispatcher: [] for dispatcher in DISPATCHERS}
            for place in range(rounds):
                for dispatcher in DISPATCHERS if (number + place) % 2 == 0 else DISPATCHERS[::-1]:
                    times[dispatcher].append(workers[dispatcher].run_batch())
        yield Pair(dispatches, **times)


@contextmanager
def start_worker(dispatcher: str, seed: int) -> Iterator[Worker]:
    """Start a process, and end it with the block."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.harp.worker", dispatcher]
    # HARP reads its levels from the environment, and logs warnings only.
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "LOGGING": "warning", "LOGGING_HARP": "warning"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        read, write = process.stdout.readline, process.stdin.write

        def receive() -> str:
            if line := read():
                return line
            raise RuntimeError(f"the process with {dispatcher} ended with code {process.wait()}")

        def run_batch() -> float:
            write("\n")
            return float(receive())

        yield Worker(**json.loads(receive()), run_batch=run_batch)


def format_pairs(pairs: Sequence[Pair]) -> str:
    """Format what was measured, with the middle half of the pairs and the extremes."""
    dispatches = pairs[0].dispatches
    lines = [
        f"{len(dispatches)} dispatches in a request, {dispatches.count(0)} of them without listeners",
        f"CPU time of a request, the median of {len(pairs)} pairs of processes (middle half; all)",
    ]
    for dispatcher in DISPATCHERS:
        times = [median(getattr(pair, dispatcher)) / 1_000 for pair in pairs]
        lines.append(f"{dispatcher:<20} {format_spread(times, '{:.0f}')} µs")
    ratios = [pair.ratio for pair in pairs]
    lines += [f"{'antiphon / whistle':<20} {format_spread(ratios, '{:.3f}')}", judge(ratios)]
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
    shown = [form.format(value) for value in (median(values), low, high, min(values), max(values))]
    return "{} ({} to {}; {} to {})".format(*shown)


if __name__ == "__main__":
    main()
