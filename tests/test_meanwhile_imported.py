"""A dispatcher works while another thread imports asyncio, Trio or sniffio, so that their modules have no content yet.

AnyIO itself needs the content of asyncio on Trio, so the tests that dispatch run on asyncio alone.
"""

from __future__ import annotations

import sys
from types import ModuleType

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event
from tests.conftest import BACKENDS
from tests.helpers import AnyDispatcher, make_recording_listener


class Listener:
    """Is not known to be async or not by the flags of a function."""

    def __call__(self, event: Event) -> None: ...


@pytest.fixture(params=BACKENDS[:2], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of Trio look as in the first moment of their import."""
    for name in ("trio", "sniffio"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


def test_a_listener_is_checked(monkeypatch, dispatcher):
    monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))

    if isinstance(dispatcher, AsyncEventDispatcher):
        with pytest.raises(TypeError, match="inline"):
            dispatcher.add_listener("order.placed", Listener())
    else:
        dispatcher.add_listener("order.placed", Listener())
        assert dispatcher.has_listeners("order.placed")


async def test_a_dispatch_runs_its_listeners(importing, dispatcher: AnyDispatcher):
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "listener"))

    await dispatcher.adispatch("order.placed")

    assert log == ["listener"]


@pytest.mark.parametrize("errors", ["raise", "collect"])
async def test_a_concurrent_dispatch_waits(importing, errors):
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(errors=errors))
    done = anyio.Event()

    @dispatcher.listen("order.placed")
    async def wait(event: Event) -> None:
        await done.wait()

    @dispatcher.listen("order.placed")
    async def finish(event: Event) -> None:
        done.set()

    await dispatcher.adispatch("order.placed")

    assert done.is_set()


async def test_an_expectation_receives_its_event(importing):
    dispatcher = AsyncEventDispatcher()

    async with dispatcher.expect("order.placed") as expected:
        await dispatcher.adispatch("order.placed")

    assert expected.name == "order.placed"


async def test_a_queue_dispatches(importing):
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "listener"))

    async with dispatcher.queue(max_buffer_size=1) as queue:
        await queue.post("order.placed")

    assert log == ["listener"]
