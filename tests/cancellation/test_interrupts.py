"""``KeyboardInterrupt`` and ``SystemExit``, in other processes, because they end the event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cancellation.interrupts import INTERRUPTS, Row

ROOT = Path(__file__).parents[2]
BACKENDS = ["asyncio", "trio", *(["asyncio+uvloop"] if find_spec("uvloop") else [])]


def _loads(line: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(line)
    return loaded


@pytest.fixture(scope="module", params=BACKENDS)
def cases(request: pytest.FixtureRequest) -> tuple[str, list[dict[str, Any]]]:
    """The outcome of each case on a backend."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.cancellation.interrupted_program", request.param],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return request.param.partition("+")[0], [_loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("row", INTERRUPTS, ids=lambda row: f"{row.backend}-{row.source}-{'-'.join(row.strategies)}")
def test_what_leaves_is_as_in_the_table(row: Row, cases: tuple[str, list[dict[str, Any]]]) -> None:
    backend, found = cases
    if row.backend != backend:
        return
    interrupts = ["KeyboardInterrupt"] if row.source == "Control-C" else ["KeyboardInterrupt", "SystemExit"]
    for strategy in row.strategies:
        for interrupt in interrupts:
            source = "SIGINT" if row.source == "Control-C" else interrupt
            (case,) = [
                case
                for case in found
                if (case["strategy"], case["source"], case["errors_in_hand"]) == (strategy, source, row.errors_in_hand)
                and case["in_task"] == (row.source == "listener in a task")
            ]
            assert case["dispatch"] == row.leaves_dispatch.replace("interrupt", interrupt)
            assert case["run"] == row.leaves_run.replace("interrupt", interrupt)


def test_the_table_has_every_case(cases: tuple[str, list[dict[str, Any]]]) -> None:
    backend, found = cases
    in_table = sum(
        len(row.strategies) * (1 if row.source == "Control-C" else 2) for row in INTERRUPTS if row.backend == backend
    )
    assert in_table == len(found)
