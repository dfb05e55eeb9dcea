"""Results: the medians of the samples of one candidate in one case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median, quantiles

from benchmarks.cases import Absent, Candidate, Case, Role
from benchmarks.sampling import Samples

__all__ = ("Entry", "Result", "results_of")


@dataclass(frozen=True, slots=True)
class Result:
    """What one candidate gave in one case. A candidate that took no part has a reason, and no figures."""

    stage: str
    backend: str
    workload: str
    size: int
    candidate: str
    role: Role
    limit: str
    goal: float | None
    shows: str
    unit: str
    #: The median of one repetition over all rounds, in the unit.
    value: float | None = None
    #: The median of the ratios to the limit's sample of the same round.
    ratio: float | None = None
    #: The middle half of those ratios.
    ratio_low: float | None = None
    ratio_high: float | None = None
    rounds: int = 0
    absent: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """Who takes part in a case, or why not."""

    name: str
    role: Role
    absent: str | None

    @classmethod
    def of(cls, candidate: Candidate | Absent) -> Entry:
        """Keeps what is to be known of a candidate when it is gone."""
        return cls(candidate.name, candidate.role, candidate.reason if isinstance(candidate, Absent) else None)


def results_of(case: Case, lineup: list[Entry], samples: Samples) -> Iterator[Result]:
    """Yields the results of a case.

    Args:
        case: The case.
        lineup: All that were asked, in the order of the table.
        samples: What they gave in all passes.
    """
    limit = samples.get(case.limit, [])
    for entry in lineup:
        about = Result(
            stage=case.stage,
            backend=case.backend,
            workload=case.workload,
            size=case.size,
            candidate=entry.name,
            role=entry.role,
            limit=case.limit,
            goal=case.goal,
            shows=case.shows,
            unit=case.unit,
            absent=entry.absent,
        )
        if entry.absent:
            yield about
            continue
        own = samples[entry.name]
        ratios = [a / b for a, b in zip(own, limit, strict=True) if b]
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (None, None, None)
        yield replace(
            about,
            value=median(own),
            ratio=median(ratios) if ratios else None,
            ratio_low=low,
            ratio_high=high,
            rounds=len(own),
        )
