"""A dispatcher belongs to no event loop, and a dispatch that waits for nothing needs none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests.dispatching.conftest import every_strategy
from tests.helpers import make_recording_listener

T = TypeVar("T")


class Interrupt(BaseException):
    """An exception that no policy gets."""


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value  # type: ignore[no-any-return]  # a StopIteration holds anything


@pytest.mark.parametrize(
    "strategy",
    [Sequential(), Sequential(errors="collect"), Concurrent(), Race(), Concurrent(errors="collect")],
    ids=repr,
)
@pytest.mark.parametrize("tiers", [(), (0,), (0, 0), (0, 1)], ids=str)
def test_a_dispatch_runs_without_a_loop(strategy: Any, tiers: Any) -> None:
    if (0, 0) == tiers and not isinstance(strategy, Sequential):
        pytest.skip("a task group needs an event loop")
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[str]()
    for priority in tiers:
        dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "ran"), priority=priority)
    event = Event()

    assert run_without_loop(dispatcher.adispatch("order.placed", event)) is event
    assert len(log) == len(tiers)


def test_errors_are_collected_without_a_loop() -> None:
    dispatcher, error = AsyncEventDispatcher(strategy=Sequential(errors="collect")), ValueError()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as raised:
        dispatcher.adispatch("order.placed").send(None)

    assert raised.value.exceptions == (error,)


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect")], ids=repr)
@pytest.mark.parametrize("kind", [Interrupt, asyncio.CancelledError])
def test_other_exceptions_pass_without_a_loop(strategy: Sequential, kind: type[BaseException]) -> None:
    dispatcher, raised = AsyncEventDispatcher(strategy=strategy), kind()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise raised

    with pytest.raises(kind) as left:
        dispatcher.adispatch("order.placed").send(None)

    assert left.value is raised


@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher])
def test_an_event_whose_dispatcher_was_assigned_is_dispatched(kind: Any) -> None:
    event: Any = Event()
    event.dispatcher = assigned = object()
    dispatcher = kind()

    run_without_loop(dispatcher.adispatch("order.placed", event))

    assert (event.name, event.dispatcher) == ("order.placed", assigned)


async def test_a_stream_receives_an_event_from_a_thread_without_a_loop() -> None:
    dispatcher = AsyncEventDispatcher()

    async with dispatcher.stream("order.placed") as stream, anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, lambda: run_without_loop(dispatcher.adispatch("order.placed")))
        with anyio.fail_after(10):
            assert (await anext(stream)).name == "order.placed"


@pytest.mark.parametrize("backends", [("asyncio", "trio"), ("trio", "asyncio"), ("asyncio", "asyncio")], ids="-".join)
@every_strategy
def test_a_dispatcher_is_used_in_one_loop_after_another(backends: tuple[str, str], strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[str]()

    @dispatcher.listen("order.placed")
    async def listener(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        log.append("ran")

    for backend in backends:
        anyio.run(dispatcher.adispatch, "order.placed", Event(), backend=backend)

    assert log == ["ran", "ran"]


@every_strategy
async def test_a_dispatch_without_listeners_is_no_checkpoint(strategy: Any) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await AsyncEventDispatcher(strategy=strategy).adispatch("order.placed", Event())
        returned = True

    assert returned
