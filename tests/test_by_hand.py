"""A dispatch needs no event loop: its coroutine can be driven by hand, and then nothing can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Sequential, in_thread

T = TypeVar("T")


class Stop(BaseException):
    """What no policy sees."""


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value  # type: ignore[no-any-return]  # a StopIteration holds anything


def test_a_sequential_dispatch_runs() -> None:
    dispatcher, heard = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen("order.placed")
    async def listener(event: Event) -> None:
        heard.append(event)

    event = Event()

    assert driven(dispatcher.adispatch("order.placed", event)) is event
    assert heard == [event]


def test_its_errors_are_collected() -> None:
    dispatcher, error = AsyncEventDispatcher(strategy=Sequential(errors="collect")), ValueError()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as raised:
        dispatcher.adispatch("order.placed").send(None)

    assert raised.value.exceptions == (error,)


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect")], ids=repr)
@pytest.mark.parametrize("stop", [Stop, asyncio.CancelledError])
def test_what_no_policy_sees_passes(strategy: Sequential, stop: type[BaseException]) -> None:
    dispatcher, raised = AsyncEventDispatcher(strategy=strategy), stop()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise raised

    with pytest.raises(stop) as left:
        dispatcher.adispatch("order.placed").send(None)

    assert left.value is raised


@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher])
def test_an_event_whose_dispatcher_was_set_by_hand_is_dispatched(kind: Any) -> None:
    event: Any = Event()
    event.dispatcher = object()
    dispatcher = kind()

    if kind is EventDispatcher:
        dispatcher.dispatch("order.placed", event)
    else:
        driven(dispatcher.adispatch("order.placed", event))

    assert event.dispatcher is dispatcher
    assert event.name == "order.placed"


async def test_a_stream_takes_what_is_dispatched_by_hand_in_a_thread() -> None:
    dispatcher = AsyncEventDispatcher()

    async with dispatcher.stream("order.placed") as stream, anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, lambda: driven(dispatcher.adispatch("order.placed")))
        with anyio.fail_after(10):
            assert (await anext(stream)).name == "order.placed"


async def test_an_expectation_that_was_met_takes_no_second_event() -> None:
    dispatcher, first = AsyncEventDispatcher(), Event()

    async with dispatcher.expect("order.placed") as expected:
        listener = dispatcher.get_listeners("order.placed")[0]
        await listener(first)
        await listener(Event())

    assert expected.event is first


async def test_in_thread_refuses_what_would_have_to_be_awaited() -> None:
    async def needs_a_loop(event: Event) -> None:
        raise AssertionError("never awaited")

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", in_thread(lambda event: needs_a_loop(event)))

    with pytest.raises(TypeError, match="something to await"):
        await dispatcher.adispatch("order.placed")


async def test_an_error_handler_that_returns_something_to_await_is_refused() -> None:
    async def log(*args: object) -> None:
        raise AssertionError("never awaited")

    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors=lambda *args: log(*args)))

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise ValueError

    with pytest.raises(TypeError, match="nobody would await it"):
        await dispatcher.adispatch("order.placed")


def test_a_subclass_that_runs_plain_listeners_may_log_their_names_and_sees_their_errors() -> None:
    names: list[str] = []

    class Logging(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            names.extend(listener.__name__ for listener in listeners)
            super().do_dispatch(listeners, event)

    dispatcher, error = Logging(), ValueError()

    @dispatcher.listen("order.placed")
    def stops(event: Event) -> None:
        event.stop_propagation()

    @dispatcher.listen("order.placed", priority=1)
    def never(event: Event) -> None:
        raise AssertionError("stopped before")

    @dispatcher.listen("noise")
    def fails(event: Event) -> None:
        raise error

    dispatcher.dispatch("order.placed")
    with pytest.raises(ValueError) as raised:
        dispatcher.dispatch("noise")

    assert names == ["stops", "never", "fails"]
    assert raised.value is error
    assert len(error.__notes__) == 1


@pytest.mark.parametrize("priority", [True, False, "high", 1.0, None])
def test_a_priority_is_an_int_and_no_bool(priority: Any) -> None:
    with pytest.raises(TypeError, match="a priority is an int"):
        EventDispatcher().add_listener("order.placed", print, priority=priority)


def test_once_is_a_bool() -> None:
    once: Any = "no"

    with pytest.raises(TypeError, match="once= is True or False"):
        EventDispatcher().add_listener("order.placed", print, once=once)
