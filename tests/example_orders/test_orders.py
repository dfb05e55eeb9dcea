"""``python -m examples.orders``, run as a process with a real server, and what it says without one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.orders import __main__ as command
from examples.orders.reports import Report
from examples.orders.server import find_server
from examples.orders.story import Story

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.server
@pytest.mark.skipif(find_server() is None, reason="neither redis-server nor valkey-server is installed")
def test_no_order_is_lost_or_charged_twice_if_billing_is_killed():
    done = subprocess.run(
        [sys.executable, "-m", "examples.orders", "--orders", "60"],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    found = {label: int(number) for label, number in re.findall(r"^(\S.*?) +(\d+)$", done.stdout, re.MULTILINE)}
    assert found["orders placed"] == found["orders paid"] == found["payments in the ledger"] == 60
    assert found["lost"] == found["charged twice"] == 0
    # The process was killed while it handled orders, and each of them was delivered again.
    assert found["delivered again"] >= found["pending at the kill"] > 0
    assert re.search(r"kill -9 \d+: of its orders, [1-8] are not acknowledged", done.stdout)


def test_without_a_server_the_command_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert command.main([]) == 2

    assert "redis-server or valkey-server" in capsys.readouterr().err


async def test_lost_orders_and_orders_charged_twice_are_counted():
    story = Story()
    for name, order_id in [("placed", "1"), ("placed", "2"), ("charged", "1"), ("charged", "1"), ("paid", "1")]:
        await story.add(Report(order_id), name)

    assert (story.lost, story.charged_twice) == (1, 1)
