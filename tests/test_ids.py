"""The ids of tests are the same in every process, so that tests can run in parallel and a failed one can be repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.naming import ADDRESS, without_address

ROOT = Path(__file__).parent.parent


def collected_ids(hash_seed: str) -> list[str]:
    """Collect all tests in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_no_test_id_holds_an_address(request: pytest.FixtureRequest) -> None:
    """``ids=without_address`` gives the parameter a name that holds none."""
    assert [item.nodeid for item in request.session.items if ADDRESS.search(item.nodeid)] == []


def test_a_parameter_is_named_without_its_address() -> None:
    assert without_address([object(), without_address]) == "[<object object>, <function without_address>]"


@pytest.mark.slow
@pytest.mark.timeout(300)  # each of them imports all tests
def test_two_processes_collect_the_same_ids() -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(collected_ids, ["1", "2"])

    assert first
    assert first == second
