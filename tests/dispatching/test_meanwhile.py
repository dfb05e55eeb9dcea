"""Registering, removing and dispatching while a dispatch runs (rule 11)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event
from antiphon.testing import settle
from tests.dispatching.conftest import dispatching, every_strategy, fail, stop
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


async def test_an_added_listener_first_runs_in_the_next_dispatch(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    def add(event: Any) -> None:
        dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "same priority"))
        dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "later"), priority=5)

    dispatcher.add_listener("order.placed", make_listener(dispatcher, add), once=True)

    await dispatcher.adispatch("order.placed", Event())
    assert log == []
    await dispatcher.adispatch("order.placed", Event())
    assert log == ["same priority", "later"]


async def test_an_added_listener_runs_in_a_nested_dispatch(sequential: AnyDispatcher) -> None:
    log: list[str] = []

    def add_and_dispatch(event: Any) -> Any:
        if log:
            return None
        log.append("outer")
        sequential.add_listener("order.placed", make_recording_listener(sequential, log, "added"), priority=5)
        return sequential, "order.placed", Event()

    sequential.add_listener("order.placed", dispatching(sequential, add_and_dispatch))

    await sequential.adispatch("order.placed", Event())

    assert log == ["outer", "added"]


@pytest.mark.parametrize("once", [False, True], ids=["plain", "once"])
@pytest.mark.parametrize("by", ["handle", "remove_listener"])
async def test_a_removed_listener_is_not_started(dispatcher: AnyDispatcher, once: bool, by: str) -> None:
    log: list[str] = []
    removed = make_recording_listener(dispatcher, log, "removed")
    handle = dispatcher.add_listener("order.placed", removed, priority=1, once=once)
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "kept"), priority=2)

    def remove(event: Any) -> None:
        if by == "handle":
            assert handle.unsubscribe()
        else:
            dispatcher.remove_listener("order.placed", removed)

    dispatcher.add_listener("order.placed", make_listener(dispatcher, remove))

    await dispatcher.adispatch("order.placed", Event())

    assert log == ["kept"]


async def test_a_listener_removed_and_added_runs_in_the_next_dispatch(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "ran")

    def remove_and_add(event: Any) -> None:
        dispatcher.remove_listener("order.placed", listener)
        dispatcher.add_listener("order.placed", listener, priority=1)

    dispatcher.add_listener("order.placed", make_listener(dispatcher, remove_and_add), once=True)
    dispatcher.add_listener("order.placed", listener, priority=1)

    await dispatcher.adispatch("order.placed", Event())
    assert log == []
    await dispatcher.adispatch("order.placed", Event())
    assert log == ["ran"]


@every_strategy
async def test_a_listener_that_removes_itself_finishes(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[str]()

    @dispatcher.listen("order.placed")
    async def listener(event: Event) -> None:
        dispatcher.remove_listener("order.placed", listener)
        await checkpoint()
        log.append("finished")

    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")
    assert log == ["finished"]


# once


async def test_a_once_listener_that_dispatches_is_called_once(dispatcher: AnyDispatcher) -> None:
    calls: list[Any] = []

    def call_and_dispatch(event: Any) -> Any:
        calls.append(event)
        return dispatcher, "order.placed"

    dispatcher.add_listener("order.placed", dispatching(dispatcher, call_and_dispatch), once=True)

    await dispatcher.adispatch("order.placed")

    assert len(calls) == 1
    assert not dispatcher.has_listeners("order.placed")


async def test_a_once_listener_that_fails_has_had_its_call(dispatcher: AnyDispatcher) -> None:
    calls: list[str] = []

    def call_and_fail(event: Any) -> None:
        calls.append("called")
        fail(event)

    dispatcher.add_listener("order.placed", make_listener(dispatcher, call_and_fail), once=True)
    for _ in range(2):
        try:
            await dispatcher.adispatch("order.placed")
        except (LookupError, ExceptionGroup):
            pass
    assert calls == ["called"]


async def test_a_stop_before_a_once_listener_claims_no_call(sequential: AnyDispatcher) -> None:
    calls: list[str] = []
    handle = sequential.add_listener("order.placed", make_listener(sequential, stop))
    sequential.add_listener("order.placed", make_recording_listener(sequential, calls, "called"), once=True)

    await sequential.adispatch("order.placed")
    assert calls == []
    handle.unsubscribe()
    await sequential.adispatch("order.placed")
    assert calls == ["called"]


# Overlapping dispatches


@every_strategy
async def test_overlapping_dispatches_of_several_events_are_independent(strategy: Any) -> None:
    dispatcher, released = AsyncEventDispatcher(strategy=strategy), anyio.Event()
    names: list[Any] = []

    async def wait(event: Event) -> None:
        await released.wait()
        if event.name == "stopping":
            event.stop_propagation()

    async def look(event: Event) -> None:
        names.append(event.name)

    for name in ("one", "stopping", "two"):
        dispatcher.add_listener(name, wait)
        dispatcher.add_listener(name, look, priority=1)

    async with anyio.create_task_group() as group:
        for name in ("one", "stopping", "two"):
            group.start_soon(dispatcher.adispatch, name, Event())
        await settle()
        released.set()

    assert sorted(names) == ["one", "two"]
