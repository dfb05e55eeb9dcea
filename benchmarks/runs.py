"""A run as a file: what was measured, on what, and how. The page and the charts are made from one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions
from benchmarks.peers import PEERS
from benchmarks.results import Result

__all__ = ("Run", "as_json", "read")

FORMAT = 2

#: What all results of a case have in common.
SHARED = ("stage", "backend", "workload", "size", "limit", "goal", "shows", "unit")

#: What the results of a case differ in, and is no figure.
OWN = ("role", "rounds", "absent")

#: Figures beyond the fourth digit are noise.
FIGURES = ("value", "ratio", "ratio_low", "ratio_high")
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was written down."""

    #: The day on which it was made, as ISO 8601 has it.
    date: str
    machine: dict[str, Any]
    versions: dict[str, str | None]
    #: The peers, and in what they differ.
    peers: dict[str, str]
    #: How it was made: whether in haste, seed, passes, rounds, the seconds that it took, and which loops were absent.
    options: dict[str, Any]
    results: list[Result]


def as_json(results: list[Result], options: Mapping[str, object]) -> str:
    """Writes a run down, a case on each line.

    Args:
        results: All of its results.
        options: How it was made.
    """
    about = {
        "format": FORMAT,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "peers": {peer.name: peer.difference for peer in PEERS},
        "options": options,
    }
    head = "".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n" for key, value in about.items())
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in _cases(results))
    return f'{{\n{head}"cases": [\n{cases}\n]\n}}\n'


def read(path: Path) -> Run:
    """Reads a run.

    Raises:
        ValueError: It was written by another version of the benchmarks.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not of format {FORMAT}: make it anew, with --json")
    results = [
        Result(candidate=name, **figures, **case)
        for case in kept.pop("cases")
        for name, figures in case.pop("candidates").items()
    ]
    return Run(results=results, **kept)


def _cases(results: list[Result]) -> Iterator[dict[str, Any]]:
    for shared, group in groupby(results, lambda one: {name: getattr(one, name) for name in SHARED}):
        yield {**shared, "candidates": {one.candidate: _own(one) for one in group}}


def _own(result: Result) -> dict[str, Any]:
    own = {name: getattr(result, name) for name in OWN}
    figures = {name: _rounded(getattr(result, name)) for name in FIGURES}
    return {
        name: value
        for name, value in {**own, **figures}.items()
        if value is not None and (result.absent is None or name in OWN)
    }


def _rounded(value: float | None) -> float | None:
    if value is None:
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded
