"""A run as a file: what was measured, on what machine, and how. The page is made of ``figures/run.json``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.libraries import get_versions
from benchmarks.measuring import Figure, Result

__all__ = ("KEPT", "Run", "make_run", "read", "write")

#: The run that the page is made of.
KEPT = Path(__file__).parent / "figures" / "run.json"

FORMAT = 3

#: The digits that are kept. The others are noise.
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Run:
    """The results of a run, and what is needed to judge them."""

    #: The day of the run, in ISO 8601.
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    #: Passes, rounds, seed and seconds, and whether it was quick or measured only a part of the rows.
    options: dict[str, Any]
    results: list[Result]


def make_run(results: list[Result], options: Mapping[str, Any]) -> Run:
    """Describe a run that was made on this machine."""
    machine = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "processor": _find_processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()}, {platform.machine()}",
    }
    return Run(datetime.now(UTC).date().isoformat(), machine, get_versions(), dict(options), results)


def write(run: Run, path: Path) -> None:
    """Write a run, with a row on each line so that a diff shows which rows have changed."""
    about = {"format": FORMAT, **{key: value for key, value in asdict(run).items() if key != "results"}}
    head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in about.items())
    rows = ",\n".join(json.dumps(_as_json(result)) for result in run.results)
    path.write_text(f'{{\n{head}"results": [\n{rows}\n]\n}}\n', encoding="utf-8")


def read(path: Path) -> Run:
    """Read a run.

    Raises:
        ValueError: If another version of the benchmarks wrote it.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.pop("format", None) != FORMAT:
        raise ValueError(f"{path} must have format {FORMAT}: make a new run with --json")
    results = [
        Result(**{**row, "figures": {name: Figure(**figure) for name, figure in row["figures"].items()}})
        for row in kept.pop("results")
    ]
    return Run(results=results, **kept)


def _as_json(result: Result) -> dict[str, Any]:
    figures = {
        name: {key: float(f"{value:.{DIGITS}g}") for key, value in asdict(figure).items() if value is not None}
        for name, figure in result.figures.items()
    }
    return {**asdict(result), "figures": figures}


def _find_processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor()
