"""How a figure is measured: the records ``Row`` and ``Candidate``, and the run that takes samples of them.

A row is one piece of work that several candidates do: the code that you would write yourself (the limit), antiphon, and
the other libraries. A run has passes, and a pass builds the candidates of each row anew, in another memory layout.

1. A profiler checks that one repetition of each candidate runs all listeners of the row.
2. Each candidate repeats its work until a sample takes about 0.4 ms.
3. In each round every candidate gives one sample, in an order that is shuffled for the round.
4. A figure is the median over all rounds. Only samples of the same round are divided by each other.

The garbage collector is disabled, except for a young collection before each round.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from random import Random
from statistics import median, quantiles
from types import CodeType, FrameType
from typing import Any, Literal

from benchmarks import backends
from benchmarks.workload import Sampler, is_listener

__all__ = ("ANTIPHON", "FULL", "LIMIT", "QUICK", "Candidate", "Figure", "Result", "Row", "Settings", "run", "verify")

#: The names of the two candidates that each table shows in a column of its own.
LIMIT = "limit"
ANTIPHON = "antiphon"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to do the work of a row."""

    name: str
    sampler: Sampler
    #: The most repetitions in a sample, for work that changes what it measures.
    max_count: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of work, with a number of listeners, on one event loop."""

    #: The heading of the row: a key of ``table.TITLES``.
    group: str
    work: str
    #: The number of listeners. None if it does not matter.
    size: int | None
    #: What the limit is. Its samples divide the samples of the other candidates in the same round.
    limit: str
    #: Builds the candidates.
    build: Callable[[], Iterable[Candidate]]
    backend: str = "none"
    unit: Literal["ns", "bytes"] = "ns"
    #: Whether the table shows the ratio to the limit or the value itself.
    shows: Literal["ratio", "value"] = "ratio"
    #: The goal of antiphon for what the table shows.
    goal: float | None = None
    #: The number of listeners that one repetition must run. None if the work runs no listener.
    runs: int | None = None
    #: The repetitions in a sample. None to find the number that takes as long as a sample.
    count: int | None = None
    max_rounds: int = 1_000_000
    max_passes: int = 1_000_000

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        """What identifies the row in a run."""
        return self.group, self.backend, self.work, self.size


@dataclass(frozen=True, slots=True)
class Settings:
    """How much a run measures."""

    passes: int
    rounds: int
    #: How long a sample takes: long enough for the clock, and short enough that the samples of a round see the same
    #: machine.
    sample_ns: int = 400_000


FULL = Settings(passes=3, rounds=40)
QUICK = Settings(passes=1, rounds=5, sample_ns=200_000)


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one candidate."""

    #: The median of one repetition, in the unit of the row.
    value: float
    #: The median of the ratios to the limit's sample of the same round, and the middle half of those ratios.
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of a row, by candidate."""

    group: str
    backend: str
    work: str
    size: int | None
    limit: str
    unit: str
    shows: str
    figures: dict[str, Figure]

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        """The key of the row."""
        return self.group, self.backend, self.work, self.size


@dataclass(slots=True)
class _Measured:
    """A row and its samples so far.

    It keeps no candidate: a heap that is full of listeners slows the next candidates down.
    """

    row: Row
    samples: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def make_result(self) -> Result:
        limit = self.samples.get(LIMIT, [])
        figures = {name: _make_figure(values, limit) for name, values in self.samples.items()}
        row = self.row
        return Result(row.group, row.backend, row.work, row.size, row.limit, row.unit, row.shows, figures)


def run(rows: Iterable[Row], settings: Settings, seed: int) -> list[Result]:
    """Measure rows.

    Args:
        rows: The rows.
        settings: How much to measure.
        seed: The seed of the order of the candidates.
    """
    random = Random(seed)
    measured = [_Measured(row) for row in rows]
    gc.disable()
    try:
        for number in range(1, settings.passes + 1):
            for (backend, group), members in groupby(measured, lambda one: (one.row.backend, one.row.group)):
                todo = [one for one in members if number <= one.row.max_passes]
                print(f"pass {number}/{settings.passes}  {group}, {backend}", file=sys.stderr, flush=True)
                backends.run(backend, partial(_run_pass, todo, settings, random, is_first=number == 1))
    finally:
        gc.enable()
    return [one.make_result() for one in measured]


async def _run_pass(measured: list[_Measured], settings: Settings, random: Random, *, is_first: bool) -> None:
    for one in measured:
        if is_first:
            await verify(one.row)
        gc.collect()
        await _take_samples(one, list(one.row.build()), settings, random)


async def _take_samples(measured: _Measured, candidates: list[Candidate], settings: Settings, random: Random) -> None:
    row = measured.row
    counts = {one.name: row.count or await calibrate(one, settings.sample_ns) for one in candidates}
    for _ in range(min(settings.rounds, row.max_rounds)):
        gc.collect(0)
        random.shuffle(candidates)
        for candidate in candidates:
            count = counts[candidate.name]
            measured.samples.setdefault(candidate.name, []).append(await candidate.sampler(count) / count)


async def calibrate(candidate: Candidate, sample_ns: float) -> int:
    """Return how many repetitions take as long as a sample. The repetitions also warm the code up."""
    # Do not time the first repetition: what a candidate does only once, such as making a plan, is not part of the rest.
    await candidate.sampler(1)
    count = 1
    while (took := await candidate.sampler(count)) < sample_ns / 2 and count < candidate.max_count:
        count = min(2 * count, candidate.max_count)
    return max(1, min(round(count * sample_ns / took), candidate.max_count))


async def verify(row: Row) -> None:
    """Check that one repetition of each candidate runs the listeners of the row.

    The candidates are built for this check alone, because the profiler changes how their code is specialized.

    Raises:
        RuntimeError: If a candidate runs another number of listeners.
    """
    if row.runs is None:
        return
    for candidate in row.build():
        seen: set[CodeType] = set()

        def note(frame: FrameType, what: str, _: Any, seen: set[CodeType] = seen) -> None:
            if what == "call" and is_listener(frame.f_code):
                seen.add(frame.f_code)

        sys.setprofile(note)
        try:
            await candidate.sampler(1)
        finally:
            sys.setprofile(None)
        if len(seen) != row.runs:
            raise RuntimeError(f"{candidate.name} must run {row.runs} listeners, but it ran {len(seen)}: {row.key}")


def _make_figure(values: list[float], limit: list[float]) -> Figure:
    ratios = [own / other for own, other in zip(values, limit, strict=bool(limit)) if other]
    if len(ratios) < 2:
        return Figure(median(values), ratios[0] if ratios else None)
    low, _, high = quantiles(ratios, n=4)
    return Figure(median(values), median(ratios), low, high)
