"""Stopping an event, and dispatching it again afterwards (rule 9)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Sequential
from antiphon.testing import settle
from tests.dispatching.conftest import assign_stop, fail, stop
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

every_way = pytest.mark.parametrize("how", [stop, assign_stop], ids=lambda how: how.__name__)


@every_way
async def test_a_stop_lasts_for_one_dispatch(dispatcher: AnyDispatcher, event: Any, how: Any) -> None:
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "first"))
    dispatcher.add_listener("order.placed", make_listener(dispatcher, how), priority=1)
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "last"), priority=2)
    dispatcher.add_listener(
        "order.paid", make_listener(dispatcher, lambda event: log.append(event.propagation_stopped))
    )
    dispatcher.add_listener("order.paid", make_recording_listener(dispatcher, log, "paid"), priority=1)

    assert await dispatcher.adispatch("order.placed", event) is event
    assert (log, event.propagation_stopped) == (["first"], True)

    await dispatcher.adispatch("order.paid", event)
    assert (log, event.propagation_stopped) == (["first", False, "paid"], False)

    await dispatcher.adispatch("order.placed", event)
    await dispatcher.adispatch("order.shipped", event)  # without listeners
    assert event.propagation_stopped is False


async def test_an_event_stopped_before_its_first_dispatch_runs(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "ran"))
    event.stop_propagation()

    await dispatcher.adispatch("order.placed", event)

    assert log == ["ran"]


@every_way
async def test_a_stop_keeps_the_next_of_the_same_priority(sequential: AnyDispatcher, event: Any, how: Any) -> None:
    log: list[str] = []
    sequential.add_listener("order.placed", make_listener(sequential, how))
    sequential.add_listener("order.placed", make_recording_listener(sequential, log, "next"))

    await sequential.adispatch("order.placed", event)

    assert log == []


async def test_a_stop_that_is_taken_back_stops_nothing(sequential: AnyDispatcher, event: Any) -> None:
    def stop_and_go_on(event: Any) -> None:
        event.stop_propagation()
        object.__setattr__(event, "propagation_stopped", False)

    log: list[str] = []
    sequential.add_listener("order.placed", make_listener(sequential, stop_and_go_on))
    sequential.add_listener("order.placed", make_recording_listener(sequential, log, "next"))

    await sequential.adispatch("order.placed", event)

    assert log == ["next"]


async def test_a_listener_that_stops_and_fails_leaves_a_stopped_event(sequential: AnyDispatcher, event: Any) -> None:
    def stop_and_fail(event: Any) -> None:
        stop(event)
        fail(event)

    log: list[str] = []
    sequential.add_listener("order.placed", make_listener(sequential, stop_and_fail))
    sequential.add_listener("order.placed", make_recording_listener(sequential, log, "next"))

    with pytest.raises((LookupError, ExceptionGroup)):
        await sequential.adispatch("order.placed", event)

    assert (log, event.propagation_stopped) == ([], True)


async def test_an_event_that_failed_is_dispatched_as_new(sequential: AnyDispatcher, event: Any) -> None:
    sequential.add_listener("order.failed", make_listener(sequential, fail))
    sequential.add_listener("order.placed", make_listener(sequential, stop))
    with pytest.raises((LookupError, ExceptionGroup)):
        await sequential.adispatch("order.failed", event)

    await sequential.adispatch("order.placed", event)

    # If the first dispatch were taken for a running one, its view would have been restored.
    assert (event.name, event.propagation_stopped) == ("order.placed", True)


async def test_an_event_whose_dispatch_was_cancelled_is_dispatched_as_new(sequential: Any, event: Any) -> None:
    if isinstance(sequential, EventDispatcher):
        return

    async def wait(event: Any) -> None:
        await anyio.sleep_forever()

    sequential.add_listener("order.waiting", wait)
    sequential.add_listener("order.placed", make_listener(sequential, stop))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sequential.adispatch("order.waiting", event)

    await sequential.adispatch("order.placed", event)

    assert (event.name, event.propagation_stopped) == ("order.placed", True)


@pytest.mark.parametrize("strategy", [None, Sequential(errors="collect"), Sequential(errors=print)], ids=repr)
@pytest.mark.parametrize("stopped_by", ["another task", "the listener, which then waits"])
async def test_a_stop_is_checked_when_the_listener_has_finished(strategy: Any, stopped_by: str) -> None:
    dispatcher, log, event = AsyncEventDispatcher(), list[str](), Event()

    @dispatcher.listen("order.placed")
    async def wait(event: Event) -> None:
        if stopped_by != "another task":
            event.stop_propagation()
            await checkpoint()
        await settle()
        log.append("finished")

    async def stop_from_outside() -> None:
        event.stop_propagation()

    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "next"))
    async with anyio.create_task_group() as group:
        if stopped_by == "another task":
            group.start_soon(stop_from_outside)
        await dispatcher.adispatch("order.placed", event, strategy=strategy)
    assert log == ["finished"]
