"""The committed figures, and the judgement of what was counted by them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ("TOLERANCE", "Figures", "Judgement", "judge", "path_of", "read", "write")

#: What a figure may grow by.
TOLERANCE = 0.02

Figures: TypeAlias = dict[str, dict[int, int]]
"""Instructions by workload and number of listeners."""

Verdict: TypeAlias = Literal["grown", "missing", "shrunk", "stale"]

FOLDER = Path(__file__).parents[1] / "figures"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What there is to say about one figure; about one within the tolerance there is nothing."""

    verdict: Verdict
    workload: str
    size: int
    measured: int | None
    committed: int | None

    @property
    def fails(self) -> bool:
        """Whether it makes the gate fail: a shrunken figure and one that nobody measures any more do not."""
        return self.verdict in ("grown", "missing")

    def __str__(self) -> str:
        where = f"{self.workload}, {self.size} listener{'' if self.size == 1 else 's'}"
        if self.measured is None:
            return f"{where}: {self.committed} are committed, and it is not counted any more"
        if self.committed is None:
            return f"{where}: {self.measured}, and none are committed"
        change = f"{self.measured / self.committed - 1:+.1%}" if self.committed else "from none"
        return f"{where}: {self.measured} instead of {self.committed} ({change})"


def judge(measured: Figures, committed: Figures) -> Iterator[Judgement]:
    """Compares what was counted with the committed figures.

    Args:
        measured: What was counted.
        committed: What it is held to.

    Yields:
        What is to be said, in the order of the rows.
    """
    for workload, size in {**_places(measured), **_places(committed)}:
        now = measured.get(workload, {}).get(size)
        then = committed.get(workload, {}).get(size)
        verdict: Verdict | None = None
        if now is None:
            verdict = "stale"
        elif then is None:
            verdict = "missing"
        elif now > then * (1 + TOLERANCE):
            verdict = "grown"
        elif now < then * (1 - TOLERANCE):
            verdict = "shrunk"
        if verdict is not None:
            yield Judgement(verdict, workload, size, now, then)


def path_of(version: tuple[int, int] = sys.version_info[:2]) -> Path:
    """Tells where the figures of a Python are committed."""
    return FOLDER / f"instructions-{version[0]}.{version[1]}.json"


def read(path: Path) -> Figures:
    """Reads figures; there are none if there is no such file."""
    if not path.exists():
        return {}
    kept: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
    return {workload: {int(size): figure for size, figure in row.items()} for workload, row in kept.items()}


def write(path: Path, figures: Figures) -> None:
    """Writes figures, a line for each workload, so that a diff shows which have changed."""
    lines = ",\n".join(f"  {json.dumps(workload)}: {json.dumps(row)}" for workload, row in figures.items())
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _places(figures: Figures) -> dict[tuple[str, int], None]:
    return {(workload, size): None for workload, row in figures.items() for size in row}
