"""``antiphon bridge`` with a real server."""

from __future__ import annotations

import gc
import json
import sys
from types import ModuleType

import anyio
import pytest

from antiphon._cli import main
from antiphon.bridges import Retry
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.server import Server
from tests.bridges.shop import ORDERS, OrderPlaced, Program, fail, make_registry

# coredis does not close the streams of a connection that has failed while it was opened.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def make_program(server: Server, prefix: str) -> Program:
    program = Program(RedisStreams(server.url, prefix=prefix), "billing", make_registry())
    program.bridge.receive(ORDERS, group="billing", retry=Retry(1))
    return program.listen(OrderPlaced)


def test_a_dead_letter_is_shown_and_delivered_again(
    shared_server: Server, prefix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", module)
    billing = make_program(shared_server, prefix)
    billing.react = fail

    async def fill() -> None:
        async with billing.bridge:
            await billing.bridge.publish(OrderPlaced("7"), to=ORDERS, id="seven")
            while not await billing.dead():
                await anyio.sleep(0.01)

    anyio.run(fill)
    module.bridge = make_program(shared_server, prefix).bridge  # type: ignore[attr-defined]

    assert main(["bridge", "program:bridge", "dead", "--format", "json"]) == 0
    (letter,) = json.loads(capsys.readouterr().out)
    assert (letter["id"], letter["reason"]) == ("seven", "ValueError('no')")
    assert main(["bridge", "program:bridge", "requeue", "seven"]) == 0
    assert capsys.readouterr().out == f"requeued {letter['letter']}\n"
    assert main(["bridge", "program:bridge", "health", "--format", "json"]) == 0
    health = json.loads(capsys.readouterr().out)
    assert [(group["lag"], group["pending"], group["dead"]) for group in health["groups"]] == [(1, 0, 0)]


def test_a_server_that_does_not_answer_is_status_1(
    prefix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", module)
    broker = RedisStreams("redis://user:secret@127.0.0.1:1", prefix=prefix)  # no server has port 1
    module.bridge = Program(broker, "billing", make_registry()).bridge  # type: ignore[attr-defined]

    assert main(["bridge", "program:bridge", "health"]) == 1
    gc.collect()  # otherwise the warnings of coredis belong to a later test

    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "secret" in err) == ("", 1, False)
    assert "127.0.0.1:1" in err
