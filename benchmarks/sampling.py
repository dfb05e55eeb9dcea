"""How samples are taken: calibrated, and interleaved in shuffled order."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from random import Random
from types import CodeType, FrameType
from typing import TypeAlias

from benchmarks.cases import Candidate, Case
from benchmarks.listeners import is_listener

__all__ = ("FULL", "QUICK", "Samples", "Settings", "sample", "verify")

Samples: TypeAlias = dict[str, list[float]]
"""For each candidate, what one repetition took in each round."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    #: How often a case is built anew.
    passes: int
    #: How many samples each candidate gives in a pass.
    rounds: int
    #: What a sample should last: long for the clock, short for the machine's moods.
    sample_ns: float = 400_000


FULL = Settings(passes=3, rounds=40)
QUICK = Settings(passes=1, rounds=15)


async def sample(case: Case, candidates: list[Candidate], settings: Settings, random: Random) -> Samples:
    """Takes the samples of one pass.

    In each round every candidate gives one sample, in an order shuffled anew; hence the samples of one round have seen
    the same machine, and only those are ever divided by each other.

    Args:
        case: What the candidates do.
        candidates: Who does it.
        settings: How much of it.
        random: What shuffles.
    """
    samples: Samples = {candidate.name: [] for candidate in candidates}
    counts = {one.name: case.count or await _calibrate(one, settings.sample_ns) for one in candidates}
    order = candidates.copy()
    for _ in range(min(settings.rounds, case.most_rounds)):
        gc.collect(0)
        random.shuffle(order)
        for candidate in order:
            count = counts[candidate.name]
            samples[candidate.name].append(await candidate.sampler(count) / count)
    return samples


async def verify(candidate: Candidate, listeners_run: int) -> None:
    """Makes sure that a candidate does the work: that one repetition runs each listener.

    Raises:
        RuntimeError: It does not.
    """
    seen: set[CodeType] = set()

    def note(frame: FrameType, what: str, _: object) -> None:
        if what == "call" and is_listener(frame.f_code):
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        await candidate.sampler(1)
    finally:
        sys.setprofile(None)
    if len(seen) != listeners_run:
        raise RuntimeError(f"{candidate.name!r} ran {len(seen)} listeners of {listeners_run}")


async def _calibrate(candidate: Candidate, sample_ns: float) -> int:
    """Finds how many repetitions fill a sample; the repetitions needed for that also warm the code up."""
    # What is only done the first time (a plan is made, say) would pass for what each repetition takes.
    await candidate.sampler(1)
    count = 1
    while (took := await candidate.sampler(count)) < sample_ns / 2 and count < candidate.most:
        count = min(2 * count, candidate.most)
    return max(1, min(round(count * sample_ns / took), candidate.most))
