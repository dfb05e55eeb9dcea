"""A run: all cases, pass after pass, each in its loop, with the garbage collector off except between samples."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from random import Random

from benchmarks import backends
from benchmarks.cases import Candidate, Case
from benchmarks.results import Entry, Result, results_of
from benchmarks.sampling import Samples, Settings, sample, verify

__all__ = ("run",)


@dataclass(slots=True)
class Measured:
    """A case, and what is known about it by now."""

    case: Case
    #: Who was asked; no candidate itself is kept, as a heap full of listeners slows the next ones down.
    lineup: list[Entry] = field(default_factory=list[Entry])
    samples: Samples = field(default_factory=dict[str, list[float]])


def run(cases: Iterable[Case], settings: Settings, seed: int) -> list[Result]:
    """Measures cases.

    Args:
        cases: What to measure.
        settings: How much of it.
        seed: What shuffles the candidates starts from it.

    Returns:
        The results, in the order of the cases.
    """
    random = Random(seed)
    measured = [Measured(case) for case in cases]
    gc.disable()
    try:
        for number in range(1, settings.passes + 1):
            for backend, group in groupby(measured, lambda one: one.case.backend):
                todo = [one for one in group if number <= one.case.most_passes]
                backends.run(backend, partial(_pass, todo, settings, random, f"pass {number}/{settings.passes}"))
    finally:
        gc.enable()
    return [result for one in measured for result in results_of(one.case, one.lineup, one.samples)]


async def _pass(measured: list[Measured], settings: Settings, random: Random, label: str) -> None:
    for (stage, backend), group in groupby(measured, lambda one: (one.case.stage, one.case.backend)):
        todo = list(group)
        for done, one in enumerate(todo, start=1):
            if not one.lineup:
                await _prove(one.case)
            await _measure(one, settings, random)
            _progress(f"{label}  {stage}{'' if backend == 'none' else f' on {backend}'}", done, len(todo))


async def _measure(one: Measured, settings: Settings, random: Random) -> None:
    gc.collect()
    candidates = one.case.build()
    one.lineup = [Entry.of(candidate) for candidate in candidates]
    present = [candidate for candidate in candidates if isinstance(candidate, Candidate)]
    for name, values in (await sample(one.case, present, settings, random)).items():
        one.samples.setdefault(name, []).extend(values)


async def _prove(case: Case) -> None:
    """Verifies candidates that are then thrown away: a profiler has touched their code."""
    if case.listeners_run is None:
        return
    for candidate in case.build():
        if isinstance(candidate, Candidate):
            await verify(candidate, case.listeners_run)


def _progress(label: str, done: int, total: int) -> None:
    last = done == total
    if sys.stderr.isatty() or last:
        print(f"\r{label}  {done}/{total} ", end="\n" if last else "", file=sys.stderr, flush=True)
