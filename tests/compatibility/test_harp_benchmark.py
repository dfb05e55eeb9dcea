"""The benchmark with HARP runs: the processes start HARP on both dispatchers and make the same dispatches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.compatibility.conftest import MISSING

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.timeout(180)
def test_requests_of_harp_are_measured_on_both_dispatchers() -> None:
    command = [sys.executable, "-m", "benchmarks.harp", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "11 dispatches in a request, 6 of them without listeners" in done.stdout
    assert "too few to judge" in done.stdout


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.timeout(180)
def test_a_queue_stores_each_transaction_of_harp_completely() -> None:
    command = [sys.executable, "-m", "benchmarks.harp.storage", "--transactions", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = {line[:32].rstrip(): line[32:].split() for line in done.stdout.splitlines()}
    assert rows["transactions complete"] == ["20"] * 4
    assert rows["messages without a transaction"] == ["0"] * 4
