"""`expect` and `wait_for`: armed before the trigger, and gone afterwards, however the block ends."""

from __future__ import annotations

import math
import threading
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Event
from antiphon.testing import Backend, BackendName
from tests.cancellation.tasks import forever, settle
from tests.waiting.helpers import BOTH, Bare, BareWithName, Numbered, elsewhere, nobody_listens, turns


async def test_an_event_that_the_body_brings_about_ends_the_block() -> None:
    dispatcher = AsyncEventDispatcher()
    event = Event()
    async with dispatcher.expect("order.placed") as expected:
        await dispatcher.adispatch("order.placed", event)
        assert expected.event is event
    assert expected.event is event
    assert expected.name == "order.placed"
    assert nobody_listens(dispatcher)


async def test_the_block_is_armed_from_its_first_statement_and_waits_at_its_end() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []

    async def sing() -> None:
        await settle()
        log.append("sung")
        await dispatcher.adispatch("order.placed")

    async with anyio.create_task_group() as group:
        async with dispatcher.expect("order.placed"):
            group.start_soon(sing)
            log.append("body")
        log.append("after")
    assert log == ["body", "sung", "after"]


async def test_before_the_event_has_come_its_attributes_are_lookup_errors_that_say_what_to_do() -> None:
    dispatcher = AsyncEventDispatcher()
    expected = dispatcher.expect("order.placed")
    for attribute in ("event", "name"):
        with pytest.raises(LookupError, match=r"order.placed"):
            getattr(expected, attribute)
    async with expected:
        with pytest.raises(LookupError, match="wait_for"):
            _ = expected.event
        await dispatcher.adispatch("order.placed")
    assert expected.name == "order.placed"


async def test_an_expectation_serves_once() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect("order.placed") as expected:
        await dispatcher.adispatch("order.placed")
    with pytest.raises(RuntimeError, match="expect"):
        await expected.__aenter__()
    assert nobody_listens(dispatcher)


async def test_the_first_event_counts_and_later_ones_change_nothing() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect(Numbered) as expected:
        for number in range(3):
            await dispatcher.adispatch(f"order.placed.{number}", Numbered(number))
            assert nobody_listens(dispatcher)
    assert expected.event.number == 0
    assert expected.name == "order.placed.0"


async def test_one_event_wakes_all_who_wait_for_it() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[Any] = []

    async def wait() -> None:
        heard.append(await dispatcher.wait_for("order.placed"))

    event = Event()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(wait)
        await settle()
        assert len(dispatcher.get_listeners("order.placed")) == 50
        await dispatcher.adispatch("order.placed", event)
    assert heard == [event] * 50
    assert nobody_listens(dispatcher)


async def test_where_chooses_among_events() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect("order.placed", where=lambda event: event.number == 2) as expected:
        for number in range(5):
            await dispatcher.adispatch("order.placed", Numbered(number))
    assert expected.event.number == 2


async def test_a_where_that_raises_fails_the_dispatch_and_stays_armed() -> None:
    dispatcher = AsyncEventDispatcher()

    def choose(event: Numbered) -> bool:
        if event.number == 0:
            raise ValueError("choose")
        return True

    async with dispatcher.expect("order.placed", where=choose) as expected:
        with pytest.raises(ValueError, match="choose"):
            await dispatcher.adispatch("order.placed", Numbered(0))
        await dispatcher.adispatch("order.placed", Numbered(1))
    assert expected.event.number == 1


async def test_an_async_where_is_refused_and_nothing_is_registered() -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(TypeError, match="where="):
        async with dispatcher.expect("order.placed", where=forever):
            raise AssertionError("never entered")
    assert nobody_listens(dispatcher)


@pytest.mark.parametrize("key", ["proxy.*", "**", "*", Numbered, Event])
async def test_patterns_and_classes_can_be_expected(key: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect(key) as expected:
        await dispatcher.adispatch("proxy.request", Numbered(1))
    assert expected.name == "proxy.request"


@pytest.mark.parametrize("where", [None, lambda event: True], ids=["without-where", "with-where"])
@pytest.mark.parametrize("event", [Bare(), BareWithName(), 3, ("a", "tuple")], ids=lambda event: type(event).__name__)
async def test_the_name_of_a_bare_event_is_that_of_its_dispatch(event: Any, where: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect("*", where=where) as expected:
        await dispatcher.adispatch("order.placed", event)
    assert expected.event is event
    assert expected.name == "order.placed"


async def test_an_event_dispatched_without_a_name_has_none() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect(Bare) as expected:
        await dispatcher.adispatch(Bare())
    assert expected.name is None


async def test_a_body_that_raises_leaves_with_its_own_error_and_without_waiting() -> None:
    dispatcher = AsyncEventDispatcher()
    error = ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        async with dispatcher.expect("order.placed") as expected:
            raise error
    assert caught.value is error
    assert nobody_listens(dispatcher)
    with pytest.raises(LookupError):
        _ = expected.event


async def test_a_body_that_raises_in_a_cancelled_scope_leaves_with_its_own_error() -> None:
    dispatcher = AsyncEventDispatcher()
    with anyio.CancelScope() as scope, pytest.raises(ValueError, match="body"):
        async with dispatcher.expect("order.placed"):
            scope.cancel()
            raise ValueError("body")
    assert nobody_listens(dispatcher)


async def test_a_cancelled_waiter_leaves_nothing_registered_and_the_others_wait_on() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[int] = []
    scopes = [anyio.CancelScope() for _ in range(6)]

    async def wait(number: int) -> None:
        with scopes[number]:
            await dispatcher.wait_for("order.placed")
            heard.append(number)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(wait, number)
        await settle()
        for number in (0, 3, 5):
            scopes[number].cancel()
        await settle()
        assert len(dispatcher.get_listeners("order.placed")) == 3
        await dispatcher.adispatch("order.placed")
    assert sorted(heard) == [1, 2, 4]
    assert nobody_listens(dispatcher)


async def test_a_cancellation_in_the_body_leaves_nothing_registered() -> None:
    dispatcher = AsyncEventDispatcher()
    with anyio.CancelScope() as scope:
        async with dispatcher.expect("order.placed"):
            scope.cancel()
            await lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert nobody_listens(dispatcher)


async def test_a_waiter_that_is_cancelled_in_the_moment_of_the_event_still_leaves_nothing_registered() -> None:
    dispatcher = AsyncEventDispatcher()
    for first in ("cancel", "event"):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def wait() -> None:
                    with scope:
                        await dispatcher.wait_for("order.placed")

                scope = anyio.CancelScope()
                group.start_soon(wait)
                await settle()
                if first == "cancel":
                    scope.cancel()
                await dispatcher.adispatch("order.placed")
                scope.cancel()
        assert nobody_listens(dispatcher)


async def test_waiting_always_passes_a_checkpoint_even_if_the_event_is_there() -> None:
    dispatcher = AsyncEventDispatcher()
    reached = False
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with dispatcher.expect("order.placed"):
            await dispatcher.adispatch("order.placed")
        reached = True
    assert scope.cancelled_caught
    assert not reached

    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.wait_for("order.placed")
    assert scope.cancelled_caught
    assert nobody_listens(dispatcher)


async def test_an_earlier_listener_that_stops_the_event_hides_it() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed", priority=-1)
    async def stop_first(event: Numbered) -> None:
        if event.number == 0:
            event.stop_propagation()

    async with dispatcher.expect("order.placed") as expected:
        await dispatcher.adispatch("order.placed", Numbered(0))
        await dispatcher.adispatch("order.placed", Numbered(1))
    assert expected.event.number == 1


async def test_an_event_of_another_loop_and_thread_is_handed_over(anyio_backend_name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    event = Event()

    async def sing() -> None:
        await dispatcher.adispatch("order.placed", event)

    with anyio.fail_after(10):
        async with dispatcher.expect("order.placed") as expected:
            await elsewhere(sing, anyio_backend_name)
        assert expected.event is event

        # Also when the waiter is already blocked.
        async with anyio.create_task_group() as group:
            heard: list[Any] = []

            async def wait() -> None:
                heard.append(await dispatcher.wait_for("order.placed"))

            group.start_soon(wait)
            await settle()
            await elsewhere(sing, anyio_backend_name)
    assert heard == [event]
    assert nobody_listens(dispatcher)


async def test_many_threads_that_dispatch_at_once_give_one_event(anyio_backend_name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    barrier = threading.Barrier(6)

    def sing_in_thread(number: int) -> None:
        async def sing() -> None:
            barrier.wait(10)
            await dispatcher.adispatch("order.placed", Numbered(number))

        anyio.run(sing)

    with anyio.fail_after(20):
        async with dispatcher.expect("order.placed") as expected, anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(anyio.to_thread.run_sync, sing_in_thread, number)
    assert expected.event.number in range(6)
    assert expected.name == "order.placed"
    assert nobody_listens(dispatcher)


async def test_a_scope_can_be_waited_for_and_hears_its_own_dispatches_only() -> None:
    dispatcher = AsyncEventDispatcher()
    with dispatcher.scope() as scoped:
        async with scoped.expect("order.placed") as expected:
            await dispatcher.adispatch("order.placed", Numbered(0))
            await scoped.adispatch("order.placed", Numbered(1))
    assert expected.event.number == 1


async def test_nested_expectations_of_one_event_all_end() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.expect("a") as first, dispatcher.expect("b") as second, dispatcher.expect("*") as third:
        await dispatcher.adispatch("b")
        await dispatcher.adispatch("a")
    assert (first.name, second.name, third.name) == ("a", "b", "b")


@BOTH
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_bound_on_the_time_is_anyios_and_leaves_nothing_registered(backend: BackendName, seed: int | None) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(5):
                await dispatcher.wait_for("order.placed")
        assert math.isclose(anyio.current_time(), 5, abs_tol=0.01)
        assert nobody_listens(dispatcher)
        with anyio.fail_after(5):
            async with dispatcher.expect("order.placed"):
                await turns(3)
                await dispatcher.adispatch("order.placed")

    Backend(backend, seed).run(main)
