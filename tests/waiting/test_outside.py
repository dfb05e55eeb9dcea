"""`outside_dispatch`: what a listener starts in its block does not belong to the dispatch."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, outside_dispatch
from antiphon.testing import record
from tests.cancellation.listeners import Make, every_strategy

request: ContextVar[str] = ContextVar("request", default="none")


async def charge(event: Event) -> None: ...


@every_strategy
async def test_a_dispatch_of_a_started_task_has_no_parent(make: Make) -> None:
    dispatcher = AsyncEventDispatcher(strategy=make())

    async with anyio.create_task_group() as background:

        @dispatcher.listen("order.placed")
        async def start(event: Event) -> None:
            background.start_soon(dispatcher.adispatch, "started inside")
            with outside_dispatch():
                background.start_soon(dispatcher.adispatch, "started outside")
                await dispatcher.adispatch("awaited outside")
            await dispatcher.adispatch("awaited after the block")

        with record(dispatcher) as recorded:
            event = await dispatcher.adispatch("order.placed")
            has_parent = {dispatch.name: dispatch.parent is not None for dispatch in recorded.dispatches}
            while len(has_parent) < 5:
                await anyio.lowlevel.checkpoint()
                has_parent = {dispatch.name: dispatch.parent is not None for dispatch in recorded.dispatches}

    assert event.name == "order.placed"
    assert has_parent == {
        "order.placed": False,
        "started inside": True,
        "started outside": False,
        "awaited outside": False,
        "awaited after the block": True,
    }


async def test_a_started_task_can_join_the_queue_of_its_listener() -> None:
    dispatcher, joined = AsyncEventDispatcher(), list[str]()

    async with anyio.create_task_group() as background, dispatcher.queue() as queue:

        async def join() -> None:
            await queue.join()
            joined.append("queue")

        @dispatcher.listen("order.placed")
        async def start(event: Event) -> None:
            with outside_dispatch():
                background.start_soon(join)
            await anyio.lowlevel.checkpoint()

        await queue.post("order.placed")

    assert joined == ["queue"]


async def test_a_limited_listener_does_not_count_as_enclosing() -> None:
    dispatcher, calls = AsyncEventDispatcher(), list[Any]()

    async with anyio.create_task_group() as background:

        async def start(event: Event) -> None:
            calls.append(event.name)
            if event.name == "order.placed":
                with outside_dispatch():
                    background.start_soon(dispatcher.adispatch, "order.repeated")
                # The other dispatch waits for this call meanwhile.
                await anyio.wait_all_tasks_blocked()

        dispatcher.add_listener("order.*", start, limit=1)
        await dispatcher.adispatch("order.placed")

    assert calls == ["order.placed", "order.repeated"]


async def test_only_the_variables_of_antiphon_change_and_only_in_the_block() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def start(event: Event) -> None:
        request.set("request 7")
        before = dict(copy_context().items())
        with outside_dispatch():
            inside = dict(copy_context().items())
        assert inside[request] == "request 7"
        assert inside != before
        assert dict(copy_context().items()) == before

    with record(dispatcher):
        await dispatcher.adispatch("order.placed")


async def test_a_cancellation_reaches_the_block() -> None:
    dispatcher, reached = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def wait(event: Event) -> None:
        with outside_dispatch():
            scope.cancel()
            await anyio.sleep_forever()
        reached.append("the end")  # pragma: no cover

    with anyio.CancelScope() as scope:
        await dispatcher.adispatch("order.placed")

    assert scope.cancelled_caught
    assert reached == []


def test_it_works_in_sync_listeners_and_without_a_dispatch() -> None:
    dispatcher = EventDispatcher()

    @dispatcher.listen("order.placed")
    def start(event: Event) -> None:
        with outside_dispatch():
            dispatcher.dispatch("order.shipped")

    with record(dispatcher) as recorded, outside_dispatch():
        dispatcher.dispatch("order.placed")
        placed, shipped = recorded.dispatches

    assert (placed.name, shipped.name, shipped.parent) == ("order.placed", "order.shipped", None)


def test_a_block_is_not_entered_twice_at_a_time() -> None:
    block = outside_dispatch()

    with block, pytest.raises(RuntimeError, match="write a new `with outside_dispatch"):
        block.__enter__()
    with block:
        pass
