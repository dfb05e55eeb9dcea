"""`expect` and `wait_for`: armed before the trigger, and removed afterwards, however the block ends."""

from __future__ import annotations

import math
import threading
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Event
from antiphon.testing import backends
from tests.naming import without_address
from tests.waiting.helpers import (
    Bare,
    BareWithName,
    Order,
    elsewhere,
    ending_of,
    forever,
    has_no_listeners,
    in_virtual_time,
    is_cancellation,
    place,
    settle,
    turns,
)


async def test_an_event_that_the_body_triggers_ends_the_block(dispatcher: AsyncEventDispatcher) -> None:
    event = Event()
    async with dispatcher.expect("order.placed") as expected:
        await dispatcher.adispatch("order.placed", event)
        assert expected.event is event
    assert expected.event is event
    assert expected.name == "order.placed"
    assert has_no_listeners(dispatcher)


async def test_it_listens_in_the_body_and_waits_at_its_end(dispatcher: AsyncEventDispatcher) -> None:
    log: list[str] = []

    async def dispatch_later() -> None:
        await settle()
        log.append("dispatched")
        await dispatcher.adispatch("order.placed")

    async with anyio.create_task_group() as group:
        async with dispatcher.expect("order.placed"):
            group.start_soon(dispatch_later)
            log.append("body")
        log.append("after")
    assert log == ["body", "dispatched", "after"]


async def test_an_expectation_is_used_once(dispatcher: AsyncEventDispatcher) -> None:
    """Its attributes are lookup errors before the event."""
    expected = dispatcher.expect("order.placed")
    for attribute in ("event", "name"):
        with pytest.raises(LookupError, match=r"order.placed"):
            getattr(expected, attribute)
    async with expected:
        with pytest.raises(LookupError, match="wait_for"):
            _ = expected.event
        await dispatcher.adispatch("order.placed")
    assert expected.name == "order.placed"
    with pytest.raises(RuntimeError, match="expect"):
        await expected.__aenter__()
    assert has_no_listeners(dispatcher)


async def test_the_first_event_counts(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.expect(Order) as expected:
        for number in range(3):
            await dispatcher.adispatch(f"order.placed.{number}", Order(number))
            assert has_no_listeners(dispatcher)
    assert (expected.event.number, expected.name) == (0, "order.placed.0")


async def test_one_event_wakes_all_that_wait_for_it(dispatcher: AsyncEventDispatcher) -> None:
    received: list[Any] = []

    async def wait() -> None:
        received.append(await dispatcher.wait_for("order.placed"))

    event = Event()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(wait)
        await settle()
        assert len(dispatcher.get_listeners("order.placed")) == 50
        await dispatcher.adispatch("order.placed", event)
    assert received == [event] * 50
    assert has_no_listeners(dispatcher)


async def test_a_where_that_raises_fails_the_dispatch_alone(dispatcher: AsyncEventDispatcher) -> None:
    def choose(event: Order) -> bool:
        if event.number == 0:
            raise ValueError("choose")
        return True

    async with dispatcher.expect("order.placed", where=choose) as expected:
        with pytest.raises(ValueError, match="choose"):
            await place(dispatcher, 0)
        await place(dispatcher, 1)
    assert expected.event.number == 1


async def test_an_async_where_is_refused(dispatcher: AsyncEventDispatcher) -> None:
    with pytest.raises(TypeError, match="where="):
        async with dispatcher.expect("order.placed", where=forever):
            raise AssertionError("never entered")
    assert has_no_listeners(dispatcher)


@pytest.mark.parametrize("where", [None, lambda event: True], ids=["without-where", "with-where"])
@pytest.mark.parametrize(
    ("key", "event", "name"),
    [
        *((key, Order(1), "order.placed") for key in ("order.*", "**", "*", Order, Event)),
        *(("*", event, "order.placed") for event in (Bare(), BareWithName(), 3, ("a", "tuple"))),
        (Bare, Bare(), None),
        (Order, Order(1), None),
    ],
    ids=without_address,
)
async def test_the_name_is_that_of_the_dispatch(
    key: Any, event: Any, name: Any, where: Any, dispatcher: AsyncEventDispatcher
) -> None:
    async with dispatcher.expect(key, where=where) as expected:
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
    assert expected.event is event
    assert expected.name == name


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_failed_body_does_not_wait(raises: bool, cancelled: bool, dispatcher: AsyncEventDispatcher) -> None:
    error = ValueError("body")

    async def body(_: Any) -> None:
        if cancelled:
            scope.cancel()
        if raises:
            raise error
        await lowlevel.checkpoint()
        await dispatcher.adispatch("order.placed")

    with anyio.CancelScope() as scope:
        left = await ending_of(dispatcher.expect("order.placed"), body)
    assert left is error if raises else is_cancellation(left) == cancelled
    assert has_no_listeners(dispatcher)


async def test_a_cancelled_waiter_leaves_the_others_waiting(dispatcher: AsyncEventDispatcher) -> None:
    received: list[int] = []
    scopes = [anyio.CancelScope() for _ in range(6)]

    async def wait(number: int) -> None:
        with scopes[number]:
            await dispatcher.wait_for("order.placed")
            received.append(number)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(wait, number)
        await settle()
        for number in (0, 3, 5):
            scopes[number].cancel()
        await settle()
        assert len(dispatcher.get_listeners("order.placed")) == 3
        await dispatcher.adispatch("order.placed")
    assert sorted(received) == [1, 2, 4]
    assert has_no_listeners(dispatcher)


@pytest.mark.parametrize("first", ["cancel", "event"])
async def test_a_cancellation_beside_the_event_leaves_nothing(first: str, dispatcher: AsyncEventDispatcher) -> None:
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            await dispatcher.wait_for("order.placed")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        if first == "cancel":
            scope.cancel()
        await dispatcher.adispatch("order.placed")
        scope.cancel()
    assert has_no_listeners(dispatcher)


async def test_waiting_always_passes_a_checkpoint(dispatcher: AsyncEventDispatcher) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with dispatcher.expect("order.placed"):
            await dispatcher.adispatch("order.placed")
        raise AssertionError("reached")
    assert scope.cancelled_caught

    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.wait_for("order.placed")
    assert scope.cancelled_caught
    assert has_no_listeners(dispatcher)


async def test_an_earlier_listener_that_stops_the_event_hides_it(dispatcher: AsyncEventDispatcher) -> None:
    @dispatcher.listen("order.placed", priority=-1)
    async def stop_first(event: Order) -> None:
        if event.number == 0:
            event.stop_propagation()

    async with dispatcher.expect("order.placed") as expected:
        await place(dispatcher, 0, 1)
    assert expected.event.number == 1


async def test_a_later_listener_that_stops_the_event_does_not_hide_it(dispatcher: AsyncEventDispatcher) -> None:
    async def stop(event: Order) -> None:
        event.stop_propagation()

    async with dispatcher.expect("order.placed") as expected:
        dispatcher.add_listener("order.placed", stop)
        await place(dispatcher, 0)
    assert expected.event.number == 0


async def test_an_event_dispatched_by_the_where_of_another_one_counts(dispatcher: AsyncEventDispatcher) -> None:
    inner = Order(1)

    def dispatch_inner(event: Order) -> bool:
        if event is not inner:
            with pytest.raises(StopIteration):
                dispatcher.adispatch("order.placed", inner).send(None)
        return True

    async with dispatcher.expect("order.placed", where=dispatch_inner) as expected:
        await place(dispatcher, 0)
        assert has_no_listeners(dispatcher)
    assert expected.event is inner


async def test_an_event_of_another_dispatcher_is_received_through_an_override(dispatcher: AsyncEventDispatcher) -> None:
    class Forwarding(AsyncEventDispatcher):
        def add_listener(self, *arguments: Any, **options: Any) -> Any:
            return dispatcher.add_listener(*arguments, **options)

    received: list[Any] = []

    async def wait() -> None:
        received.append(await Forwarding().wait_for("order.placed"))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        await place(dispatcher, 1)
        await settle()
        group.cancel_scope.cancel()

    assert [event.number for event in received] == [1]


async def test_an_event_of_another_loop_is_received(dispatcher: AsyncEventDispatcher, anyio_backend_name: str) -> None:
    event = Event()
    received: list[Any] = []

    async def dispatch() -> None:
        await dispatcher.adispatch("order.placed", event)

    async def wait() -> None:
        received.append(await dispatcher.wait_for("order.placed"))

    async with dispatcher.expect("order.placed") as expected:
        await elsewhere(dispatch, anyio_backend_name)
    assert expected.event is event

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        await elsewhere(dispatch, anyio_backend_name)
    assert received == [event]
    assert has_no_listeners(dispatcher)


async def test_of_the_events_of_many_threads_one_counts(dispatcher: AsyncEventDispatcher) -> None:
    barrier = threading.Barrier(6)

    def dispatch_in_thread(number: int) -> None:
        async def dispatch() -> None:
            barrier.wait(10)
            await place(dispatcher, number)

        anyio.run(dispatch)

    with anyio.fail_after(20):
        async with dispatcher.expect("order.placed") as expected, anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(anyio.to_thread.run_sync, dispatch_in_thread, number)
    assert expected.event.number in range(6)
    assert expected.name == "order.placed"
    assert has_no_listeners(dispatcher)


async def test_a_scope_expects_its_own_dispatches_only(dispatcher: AsyncEventDispatcher) -> None:
    with dispatcher.scope() as scoped:
        async with scoped.expect("order.placed") as expected:
            await place(dispatcher, 0)
            await scoped.adispatch("order.placed", Order(1))
    assert expected.event.number == 1


@in_virtual_time(*backends(seeds=(None, 1, 2, 3)))
async def test_a_timeout_leaves_nothing_registered() -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(TimeoutError), anyio.fail_after(5):
        await dispatcher.wait_for("order.placed")
    assert math.isclose(anyio.current_time(), 5, abs_tol=0.01)
    assert has_no_listeners(dispatcher)
    with anyio.fail_after(5):
        async with dispatcher.expect("order.placed"):
            await turns(3)
            await dispatcher.adispatch("order.placed")
