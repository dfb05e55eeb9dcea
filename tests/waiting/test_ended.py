"""What waits on a scope, or on a registration that is removed, ends with it (rule 23)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Event, StreamLagged
from antiphon.typing import Overflow
from tests.waiting.helpers import OVERFLOWS, Order, elsewhere, has_no_listeners, outcome, place, read_all, settle


def end_scope(scoped: Any, *_: Any) -> None:
    scoped.__exit__(None, None, None)


def remove_listeners(scoped: Any, *_: Any) -> None:
    for key, found in scoped.get_listeners().items():
        for listener in found:
            scoped.remove_listener(key, listener)


def unsubscribe(scoped: Any, *_: Any) -> None:
    for subscription in scoped._registry.find_all():
        subscription.unsubscribe()


def close(_scoped: Any, stream: Any) -> None:
    stream.close()


ENDINGS: list[Callable[..., None]] = [end_scope, remove_listeners, unsubscribe]
every_ending = pytest.mark.parametrize("end", ENDINGS)
every_ending_of_a_stream = pytest.mark.parametrize("end", [*ENDINGS, close])


@pytest.fixture
def scoped() -> Any:
    return AsyncEventDispatcher(name="shop").scope()


# Streams


@every_ending_of_a_stream
async def test_waiting_readers_end(end: Any, scoped: Any) -> None:
    received: list[list[int]] = []

    async def reader() -> None:
        received.append(await read_all(stream))

    async with anyio.create_task_group() as group, scoped.stream("order.placed") as stream:
        for _ in range(3):
            group.start_soon(reader)
        await settle()
        await place(scoped, 1)
        await settle()
        end(scoped, stream)
        await settle()

        assert sorted(received) == [[], [], [1]]
    assert has_no_listeners(scoped)


@every_ending_of_a_stream
@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_readers_read_what_is_left(end: Any, overflow: Overflow, scoped: Any) -> None:
    async with scoped.stream("order.*", Order, "payment.received", overflow=overflow) as stream:
        await place(scoped, 1, 2)
        end(scoped, stream)
        if end is not end_scope:
            await place(scoped, 3)

        assert await read_all(stream) == [1, 2]
        assert await read_all(stream) == []
        assert stream.statistics().dropped == 0


@pytest.mark.parametrize("end", [end_scope, close])
async def test_lag_is_raised_before_the_end(end: Any, scoped: Any) -> None:
    async with scoped.stream("order.placed", max_buffer_size=1) as stream:
        await place(scoped, 1, 2)
        end(scoped, stream)

        with pytest.raises(StreamLagged, match=r"<stream of 'order\.placed'> missed 1 of its events"):
            await read_all(stream)
        assert await read_all(stream) == [2]


@every_ending_of_a_stream
async def test_dispatches_that_wait_for_room_go_on(end: Any, scoped: Any) -> None:
    finished: list[int] = []

    async def dispatch(number: int) -> None:
        await place(scoped, number)
        finished.append(number)

    async with anyio.create_task_group() as group:
        async with scoped.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
            for number in range(4):
                group.start_soon(dispatch, number)
                await settle()
            assert (finished, stream.statistics().dispatches_waiting) == ([0], 3)
            end(scoped, stream)
            await settle()

            assert sorted(finished) == [0, 1, 2, 3]
            assert await read_all(stream) == [0]
            assert stream.statistics() == (1, 3, 0, 1, 0, 0)


async def test_a_stream_goes_on_while_a_registration_is_left() -> None:
    class Double(AsyncEventDispatcher):
        """Registers each listener under two keys."""

        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            super().add_listener(f"{key}.copy", listener, **options)
            return super().add_listener(key, listener, **options)

    dispatcher = Double()
    async with dispatcher.stream("order.placed") as stream:
        (listener,) = dispatcher.get_listeners("order.placed")
        dispatcher.remove_listener("order.placed.copy", listener)
        await place(dispatcher, 1)
        assert (await stream.__anext__()).number == 1

        dispatcher.remove_listener("order.placed", listener)
        assert await read_all(stream) == []


async def test_what_waits_on_a_nested_scope_ends_with_the_outer_one(scoped: Any) -> None:
    inner = scoped.scope()
    async with inner.stream("order.placed") as stream:
        await place(inner, 1)
        with pytest.raises(anyio.ClosedResourceError, match=r"scope of <scope of .* has ended"):
            async with inner.expect("order.cancelled"):
                end_scope(scoped)

        assert [event.number async for event in stream] == [1]


async def test_a_failed_entry_can_be_repeated() -> None:
    class Refusing(AsyncEventDispatcher):
        refuses = True

        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            if self.refuses:
                raise ZeroDivisionError
            return super().add_listener(key, listener, **options)

    dispatcher = Refusing()
    stream, expected = dispatcher.stream("order.placed"), dispatcher.expect("order.placed")
    for waiting in (stream, expected):
        with pytest.raises(ZeroDivisionError):
            await waiting.__aenter__()

    dispatcher.refuses = False
    async with stream, expected:
        await place(dispatcher, 1)

    assert (expected.event.number, await read_all(stream)) == (1, [1])


# Expectations


async def wait(dispatcher: AsyncEventDispatcher) -> Any:
    return await dispatcher.wait_for("order.placed")


async def expect(dispatcher: AsyncEventDispatcher) -> Any:
    async with dispatcher.expect("order.placed") as expected:
        await lowlevel.checkpoint()
    return expected.event


@every_ending
@pytest.mark.parametrize("waiting", [wait, expect])
async def test_waiters_get_an_error_with_the_reason(waiting: Any, end: Any, scoped: Any) -> None:
    errors: list[Any] = []

    async def waiter() -> None:
        errors.append(await outcome(waiting(scoped)))

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        group.start_soon(waiter)
        await settle()
        end(scoped)
        await settle()

        assert [type(error) for error in errors] == [anyio.ClosedResourceError] * 2
        reason = "<scope of <AsyncEventDispatcher 'shop'>> has ended" if end is end_scope else "removed"
        for error in errors:
            assert "<expected 'order.placed'> will not come" in str(error)
            assert reason in str(error)
    assert has_no_listeners(scoped)


@every_ending
async def test_an_end_in_the_body_is_raised_after_it(end: Any, scoped: Any) -> None:
    reached = False
    with pytest.raises(anyio.ClosedResourceError, match="will not come"):
        async with scoped.expect("order.placed") as expected:
            end(scoped)
            await settle()
            reached = True
    assert reached
    with pytest.raises(LookupError, match=r"will not come: .* (has ended; wait within|was removed)"):
        _ = expected.event


async def test_an_expectation_whose_body_raised_says_that_the_event_will_not_come(scoped: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scoped.expect("order.placed") as expected:
            raise ZeroDivisionError

    for attribute in ("event", "name"):
        with pytest.raises(LookupError, match=r"'order\.placed'> will not come: an error or a cancellation has ended"):
            getattr(expected, attribute)


@every_ending
async def test_an_error_after_the_end_does_not_hide_why_no_event_will_come(end: Any, scoped: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scoped.expect("order.placed") as expected:
            end(scoped)
            raise ZeroDivisionError

    with pytest.raises(LookupError, match=r"will not come: .* (has ended; wait within|was removed)"):
        _ = expected.event


@every_ending
async def test_an_event_before_the_end_counts(end: Any, scoped: Any) -> None:
    async with scoped.expect("order.placed") as expected:
        await place(scoped, 1)
        end(scoped)
    assert expected.event.number == 1


@every_ending
async def test_the_end_covers_no_error_and_no_cancellation(end: Any, scoped: Any) -> None:
    with anyio.CancelScope() as scope:
        async with scoped.expect("order.placed"):
            end(scoped)
            scope.cancel()
    assert scope.cancelled_caught

    with AsyncEventDispatcher().scope() as other, pytest.raises(ZeroDivisionError):
        async with other.expect("order.placed"):
            end(other)
            raise ZeroDivisionError


async def test_an_event_being_dispatched_at_the_end_counts(scoped: Any) -> None:
    def choose(event: Event) -> bool:
        end_scope(scoped)
        return True

    async with scoped.expect("order.placed", where=choose) as expected:
        await place(scoped, 1)
    assert expected.event.number == 1


async def test_waiting_on_an_ended_scope_is_refused(scoped: Any) -> None:
    end_scope(scoped)
    with pytest.raises(RuntimeError, match="has ended"):
        await scoped.wait_for("order.placed")
    for waiting in (scoped.expect("order.placed"), scoped.stream("order.placed")):
        with pytest.raises(RuntimeError, match="has ended"):
            await waiting.__aenter__()


async def test_the_end_of_a_scope_leaves_its_parent_alone(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.stream("order.placed") as stream, dispatcher.expect("order.placed") as expected:
        with dispatcher.scope():
            pass
        await place(dispatcher, 1)
        assert (await stream.__anext__()).number == 1
    assert expected.event.number == 1


# Other threads and loops


@every_ending
@pytest.mark.parametrize("where", ["thread", "loop"])
async def test_an_end_elsewhere_wakes_what_waits(end: Any, where: str, anyio_backend_name: str, scoped: Any) -> None:
    outcomes: list[Any] = []

    async def end_there() -> None:
        end(scoped)

    async def reader() -> None:
        outcomes.append(await read_all(stream))

    async def waiter() -> None:
        outcomes.append(type(await outcome(wait(scoped))))

    with anyio.fail_after(10):
        async with scoped.stream("order.placed") as stream, anyio.create_task_group() as group:
            group.start_soon(reader)
            group.start_soon(waiter)
            await settle()
            if where == "thread":
                await to_thread.run_sync(end, scoped)
            else:
                await elsewhere(end_there, anyio_backend_name)
    assert sorted(outcomes, key=str) == sorted([[], anyio.ClosedResourceError], key=str)


async def test_an_event_of_another_thread_during_the_entry_counts() -> None:
    class Hasty(AsyncEventDispatcher):
        """Dispatches in another loop at the moment when something is registered."""

        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            registered = super().add_listener(key, listener, **options)
            thread = threading.Thread(target=anyio.run, args=(place, self, 1))
            thread.start()
            thread.join(10)
            return registered

    dispatcher = Hasty()
    async with dispatcher.expect("order.placed") as expected:
        assert has_no_listeners(dispatcher)
    assert expected.event.number == 1


async def test_a_removal_during_the_entry_ends_the_wait() -> None:
    class Removing(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            registered = super().add_listener(key, listener, **options)
            self.remove_listener(key, listener)
            return registered

    dispatcher = Removing()
    async with dispatcher.stream("order.placed") as stream:
        assert await read_all(stream) == []
    with pytest.raises(anyio.ClosedResourceError):
        await dispatcher.wait_for("order.placed")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_belongs_to_an_ended_loop_does_no_harm(backend: str, scoped: Any) -> None:
    stream, expected = scoped.stream("order.placed", max_buffer_size=1), scoped.expect("order.placed")
    for waiting in (stream, expected, scoped.expect("order.paid")):
        anyio.run(waiting.__aenter__, backend=backend)

    anyio.run(place, scoped, 0, 1, 2)
    assert (stream.statistics().dropped, expected.event.number) == (2, 0)
    end_scope(scoped)
    stream.close()
    assert has_no_listeners(scoped)


async def test_nothing_is_kept_of_what_waited(dispatcher: AsyncEventDispatcher) -> None:
    for _ in range(10):
        async with dispatcher.stream("order.placed"), dispatcher.expect("order.placed"):
            await place(dispatcher, 1)
    callbacks = dispatcher._registry._removal_callbacks
    assert not callbacks._waiting
    assert not callbacks._due
