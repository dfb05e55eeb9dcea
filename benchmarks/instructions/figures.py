"""The committed figures, and how they are compared with what was counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ("TOLERANCE", "Difference", "Figures", "compare", "get_path", "read", "write")

#: What a figure may grow by.
TOLERANCE = 0.02

Figures: TypeAlias = dict[str, dict[int, int]]
"""Instructions by workload and number of listeners."""

FOLDER = Path(__file__).parents[1] / "figures"


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that differs from the committed one by more than the tolerance, or that is on one side only."""

    workload: str
    size: int
    counted: int | None
    committed: int | None

    @property
    def kind(self) -> str:
        """What is different: "grown" and "missing" figures fail the gate, "shrunk" and "stale" ones do not."""
        if self.counted is None:
            return "stale"
        if self.committed is None:
            return "missing"
        return "grown" if self.counted > self.committed else "shrunk"

    @property
    def fails(self) -> bool:
        """Whether the gate fails."""
        return self.kind in ("grown", "missing")

    def __str__(self) -> str:
        place = f"{self.workload}, {self.size} listener{'' if self.size == 1 else 's'}"
        if self.counted is None:
            return f"{place}: {self.committed} are committed, and it is not counted any more"
        if self.committed is None:
            return f"{place}: {self.counted}, and none are committed"
        change = f" ({self.counted / self.committed - 1:+.1%})" if self.committed else ""
        return f"{place}: {self.counted} instead of {self.committed}{change}"


def compare(counted: Figures, committed: Figures) -> Iterator[Difference]:
    """Yield the differences between what was counted and the committed figures."""
    places = {(workload, size): None for side in (counted, committed) for workload in side for size in side[workload]}
    for workload, size in places:
        now, then = counted.get(workload, {}).get(size), committed.get(workload, {}).get(size)
        if now is None or then is None or abs(now - then) > then * TOLERANCE:
            yield Difference(workload, size, now, then)


def get_path(version: tuple[int, int] = sys.version_info[:2]) -> Path:
    """Return the file with the figures of a Python."""
    return FOLDER / f"instructions-{version[0]}.{version[1]}.json"


def read(path: Path) -> Figures:
    """Read figures. A file that does not exist has none."""
    if not path.exists():
        return {}
    kept: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
    return {workload: {int(size): figure for size, figure in row.items()} for workload, row in kept.items()}


def write(path: Path, figures: Figures) -> None:
    """Write figures, with a line for each workload so that a diff shows which of them have changed."""
    lines = ",\n".join(f"  {json.dumps(workload)}: {json.dumps(row)}" for workload, row in figures.items())
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
