"""The command ``python -m benchmarks.bridge``, which ``nox -s benchmarks -- bridge`` runs."""

from __future__ import annotations

import gc
import platform
import sys
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import anyio

from benchmarks.bridge.candidates import CANDIDATES, Candidate, Order
from examples.orders.server import find_server, running_server

BASE = "coredis"


@dataclass
class Row:
    """A piece of work, and what was measured of each candidate: seconds for an event, or seconds from end to end."""

    work: str
    #: Takes a sample of a candidate, with a name for a stream that no other sample uses.
    sample: Callable[[Candidate, str], Awaitable[list[float]]]
    #: The least ratio to coredis.
    goal: float | None = None
    is_latency: bool = False
    samples: dict[str, list[list[float]]] = field(default_factory=dict)

    def get_figures(self, name: str) -> list[float]:
        """Return a figure for each round: events in a second, or for latencies the milliseconds of the median."""
        if self.is_latency:
            return [1000 * median(sample) for sample in self.samples[name]]
        return [len(sample) and 1 / median(sample) for sample in self.samples[name]]


async def publish(count: int, tasks: int, candidate: Candidate, stream: str) -> list[float]:
    async def run() -> None:
        for number in range(count // tasks):
            await candidate.publish(stream, Order(str(number), number))

    started = perf_counter()
    if tasks == 1:
        await run()
    else:
        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(run)
    return [(perf_counter() - started) / (count // tasks * tasks)]


async def consume(count: int, concurrency: int, filler: Candidate, candidate: Candidate, stream: str) -> list[float]:
    # The same program fills the stream for all.
    async with filler.consuming(stream, 1):
        pass
    async with anyio.create_task_group() as group:
        for first in range(min(50, count)):
            group.start_soon(publish, len(range(first, count, 50)), 1, filler, stream)
    return [await candidate.handle_all(stream, count, concurrency) / count]


async def time_events(count: int, candidate: Candidate, stream: str) -> list[float]:
    return await candidate.time_events(stream, count)


def make_rows(filler: Candidate, scale: float) -> list[Row]:
    """Return the rows, with fewer events if the scale is less than 1.

    A sample is short, so that the candidates of a round see the same machine.
    """

    def events(count: int, least: int = 1) -> int:
        return max(least, round(count * scale))

    return [
        Row("publish one by one", partial(publish, events(100), 1), goal=0.7),
        Row("publish from 50 tasks", partial(publish, events(1000, 50), 50), goal=0.9),
        Row("publish from 500 tasks", partial(publish, events(2000, 500), 500), goal=0.9),
        *[
            Row(f"consume, concurrency {number}", partial(consume, events(count), number, filler), goal=0.9)
            for number, count in ((1, 200), (8, 600), (64, 1500))
        ],
        Row("latency", partial(time_events, events(100)), is_latency=True),
    ]


async def measure(url: str, backend: str, rounds: int, scale: float, random: Random) -> list[Row]:
    """Let the candidates take turns, in another order in each round."""
    candidates = [make(url) for make in CANDIDATES[backend]]
    async with AsyncExitStack() as stack:
        for candidate in candidates:
            await stack.enter_async_context(candidate.running())
        filler = next(candidate for candidate in candidates if candidate.name == BASE)
        rows = make_rows(filler, scale)
        for number in range(rounds + 1):
            for place, row in enumerate(rows):
                gc.collect()
                for candidate in random.sample(candidates, len(candidates)):
                    stream = f"{backend}-{number}-{place}-{candidate.name}"
                    sample = await row.sample(candidate, stream)
                    # The first round warms up.
                    if number:
                        row.samples.setdefault(candidate.name, []).append(sample)
            print(f"{backend}, round {number} of {rounds}", file=sys.stderr, flush=True)
    return rows


def format_rows(backend: str, rows: Sequence[Row]) -> list[str]:
    """Format the ratios to coredis, and the absolute figures beside them."""
    lines = [backend, f"  {'':<24} {'antiphon / coredis':<24} goal   absolute"]
    for row in rows:
        if row.is_latency:
            lines += format_latency(row)
            continue
        own, base = row.get_figures("antiphon"), row.get_figures(BASE)
        ratios = [one / other for one, other in zip(own, base, strict=True)]
        absolute = ", ".join(f"{name} {median(row.get_figures(name)):,.0f}/s" for name in row.samples)
        best = f"best {max(own) / max(base):.2f}"
        lines.append(f"  {row.work:<24} {format_spread(ratios)} {best}  {row.goal:<6} {absolute}")
    return lines


def format_latency(row: Row) -> list[str]:
    lines = []
    for what, cut in (("p50", 49), ("p99", 98)):
        found = {
            name: [1000 * quantiles(sample, n=100)[cut] for sample in samples] for name, samples in row.samples.items()
        }
        ratios = [one / other for one, other in zip(found["antiphon"], found[BASE], strict=True)]
        absolute = ", ".join(f"{name} {median(values):.2f} ms" for name, values in found.items())
        lines.append(f"  {f'latency {what}':<24} {format_spread(ratios)} {'':<17} {absolute}")
    return lines


def format_spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


async def run(options: Any, backend: str, program: str) -> list[str]:
    with TemporaryDirectory() as folder:
        async with running_server(program, Path(folder)) as url:
            rounds, scale = (2, 0.1) if options.quick else (options.rounds, 1.0)
            rows = await measure(url, backend, rounds, scale, Random(options.seed))
    return format_rows(backend, rows)


def main() -> None:
    """Measure, and print the ratios."""
    parser = ArgumentParser(prog="python -m benchmarks.bridge", description="Measure what a bridge costs.")
    parser.add_argument("--rounds", type=int, default=15, help="of each candidate (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--backend", action="append", choices=CANDIDATES, help="on this backend (can be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the candidates (default: %(default)s)")
    options = parser.parse_args()
    program = find_server()
    if program is None:
        sys.exit("expected redis-server or valkey-server; neither is installed")
    versions = ", ".join(f"{name} {version(name)}" for name in ("coredis", "redis"))
    print(f"Python {platform.python_version()}, {versions}, {Path(program).name}")
    print("The median of the ratios in the same round (middle half), and of the best rounds. More is faster, but for")
    print("latencies.")
    for backend in options.backend or CANDIDATES:
        print("\n".join(anyio.run(run, options, backend, program, backend=backend)), flush=True)


if __name__ == "__main__":
    main()
