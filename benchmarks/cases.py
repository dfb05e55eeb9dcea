"""The records of a benchmark: a case, and the candidates that do its work.

Theory of operation. A stage yields cases. A case is one workload at one size on one backend; it builds its candidates
anew for each pass. A candidate knows how to take a sample: to do the work a number of times in the running loop and
to tell what that took. All else (how often, in which order, against what, how it is shown) is decided elsewhere, so a
new row is a candidate or a case, never machinery.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ("Absent", "Candidate", "Case", "Role", "Sampler", "Stage", "Unit")

Sampler: TypeAlias = Callable[[int], Awaitable[float]]
"""Does the work so many times and returns what all of it took, in the unit of the case."""

Role: TypeAlias = Literal["limit", "antiphon", "peer"]
"""What a candidate is in the comparison: what one would write by hand, ourselves, or another library."""

Unit: TypeAlias = Literal["ns", "bytes", "modules"]
"""What samples are measured in."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of doing the work of a case."""

    name: str
    sampler: Sampler
    role: Role = "limit"
    #: The most repetitions one sample may have, for work that changes what it measures.
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Absent:
    """A candidate that cannot take part, and why: it is reported, not left out."""

    name: str
    reason: str
    role: Role = "peer"


@dataclass(frozen=True, slots=True)
class Case:
    """One workload, at one size, on one backend, done by several candidates."""

    stage: str
    workload: str
    size: int
    #: Builds the candidates anew, so that no pass depends on one layout in memory.
    build: Callable[[], list[Candidate | Absent]]
    #: The candidate whose sample of the same round divides those of the others.
    limit: str
    #: What is aimed at, in the figure that is shown; nothing is ever failed by it.
    goal: float | None = None
    #: Whether the table shows ratios to the limit, or values.
    shows: Literal["ratio", "value"] = "ratio"
    backend: str = "none"
    unit: Unit = "ns"
    #: How many listeners one repetition must run; ``None`` where that is not the work.
    listeners_run: int | None = None
    #: Repetitions in a sample; ``None`` to find as many as fill a sample.
    count: int | None = None
    #: The most rounds in a pass, for work that takes long.
    most_rounds: int = 1_000_000
    #: The most passes, for what takes long to build.
    most_passes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """A module of ``benchmarks.stages``: what its table is called, and its cases."""

    name: str
    title: str
    #: What the columns of its table are.
    columns: str
    #: Yields the cases, given the event loops that were asked for, and whether a rough answer in little time is wanted.
    cases: Callable[[tuple[str, ...], bool], Iterator[Case]]
