"""Rule 23: what waits on a scope, or on a registration that is removed, ends with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Event, StreamLagged
from antiphon.typing import Overflow
from tests.cancellation.tasks import settle
from tests.waiting.helpers import OVERFLOWS, Numbered, elsewhere, nobody_listens, outcome

ENDINGS: dict[str, Callable[[Any], object]] = {
    "the end of the scope": lambda scoped: scoped.__exit__(None, None, None),
    "remove_listener": lambda scoped: [
        scoped.remove_listener(key, listener) for key, found in scoped.get_listeners().items() for listener in found
    ],
    "a handle": lambda scoped: [subscription.unsubscribe() for subscription in scoped._registry.find_all()],
}

every_ending = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)


async def place(dispatcher: AsyncEventDispatcher, *numbers: int) -> None:
    for number in numbers:
        await dispatcher.adispatch("order.placed", Numbered(number))


async def read_all(stream: Any) -> list[int]:
    return [event.number async for event in stream]


# Streams


@every_ending
async def test_a_reader_that_waits_ends(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    read: list[list[int]] = []

    async def reader() -> None:
        read.append(await read_all(stream))

    async with anyio.create_task_group() as group, scoped.stream("order.placed") as stream:
        group.start_soon(reader)
        group.start_soon(reader)
        await settle()
        await place(scoped, 1)
        await settle()
        end(scoped)
        await settle()

        assert sorted(read) == [[], [1]]
    assert nobody_listens(scoped)


@every_ending
@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_readers_read_what_is_left_and_then_end(end: Any, overflow: Overflow) -> None:
    scoped = AsyncEventDispatcher().scope()
    async with scoped.stream("order.placed", overflow=overflow) as stream:
        await place(scoped, 1, 2)
        end(scoped)
        await place(scoped, 3)

        assert await read_all(stream) == [1, 2]
        assert await read_all(stream) == []
        assert stream.statistics().dropped == 0


async def test_a_lag_is_told_before_the_end() -> None:
    scoped = AsyncEventDispatcher().scope()
    async with scoped.stream("order.placed", max_buffer_size=1) as stream:
        await place(scoped, 1, 2)
        ENDINGS["the end of the scope"](scoped)

        with pytest.raises(StreamLagged):
            await read_all(stream)
        assert await read_all(stream) == [2]


@every_ending
async def test_dispatches_that_wait_for_room_go_on_and_count_as_dropped(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    async with anyio.create_task_group() as group:
        async with scoped.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
            group.start_soon(place, scoped, 1, 2, 3)
            await settle()
            assert stream.statistics().dispatches_waiting == 1
            end(scoped)
            await settle()

            assert (stream.statistics().dispatches_waiting, stream.statistics().dropped) == (0, 1)
            assert await read_all(stream) == [1]


async def test_a_stream_of_several_keys_ends_with_its_scope() -> None:
    with AsyncEventDispatcher().scope() as scoped:
        async with scoped.stream("order.*", Numbered, "payment.received") as stream:
            await place(scoped, 1)
            ENDINGS["the end of the scope"](scoped)
            assert await read_all(stream) == [1]


async def test_a_stream_goes_on_while_one_of_its_registrations_is_left() -> None:
    class Double(AsyncEventDispatcher):
        """Registers each listener under two keys."""

        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            super().add_listener((key, "copy"), listener, **options)
            return super().add_listener(key, listener, **options)

    dispatcher = Double()
    async with dispatcher.stream("order.placed") as stream:
        (listener,) = dispatcher.get_listeners("order.placed")
        dispatcher.remove_listener(("order.placed", "copy"), listener)
        await place(dispatcher, 1)
        assert (await stream.__anext__()).number == 1

        dispatcher.remove_listener("order.placed", listener)
        assert await read_all(stream) == []


async def test_a_stream_on_a_nested_scope_outlives_the_outer_one() -> None:
    outer = AsyncEventDispatcher().scope()
    with outer.scope() as inner:
        async with inner.stream("order.placed") as stream:
            ENDINGS["the end of the scope"](outer)
            await place(inner, 1)
            assert (await stream.__anext__()).number == 1


async def test_a_stream_that_could_not_be_entered_can_be_entered_later() -> None:
    class Reluctant(AsyncEventDispatcher):
        refusing = True

        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            if self.refusing:
                raise ZeroDivisionError
            return super().add_listener(key, listener, **options)

    dispatcher = Reluctant()
    stream, expected = dispatcher.stream("order.placed"), dispatcher.expect("order.placed")
    for waiting in (stream, expected):
        with pytest.raises(ZeroDivisionError):
            await waiting.__aenter__()

    dispatcher.refusing = False
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
async def test_a_waiter_gets_an_error_that_says_why(waiting: Any, end: Any) -> None:
    scoped = AsyncEventDispatcher(name="shop").scope()
    outcomes: list[Any] = []

    async def waiter() -> None:
        outcomes.append(await outcome(waiting(scoped)))

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        group.start_soon(waiter)
        await settle()
        end(scoped)
        await settle()

        assert [type(error) for error in outcomes] == [anyio.ClosedResourceError] * 2
        for error in outcomes:
            assert "<expected 'order.placed'> will not come" in str(error)
            if end is ENDINGS["the end of the scope"]:
                assert "<scope of <AsyncEventDispatcher 'shop'>> has ended" in str(error)
            else:
                assert "removed" in str(error)
    assert nobody_listens(scoped)


@every_ending
async def test_an_end_while_the_body_runs_is_an_error_at_its_end(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    reached = False

    with pytest.raises(anyio.ClosedResourceError, match="will not come"):
        async with scoped.expect("order.placed") as expected:
            end(scoped)
            await settle()
            reached = True

    assert reached
    with pytest.raises(LookupError):
        _ = expected.event


@every_ending
async def test_an_event_that_came_before_the_end_counts(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    async with scoped.expect("order.placed") as expected:
        await place(scoped, 1)
        end(scoped)
    assert expected.event.number == 1


@every_ending
async def test_a_body_that_raises_after_the_end_leaves_with_its_own_error(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    with pytest.raises(ZeroDivisionError):
        async with scoped.expect("order.placed"):
            end(scoped)
            raise ZeroDivisionError


@every_ending
async def test_a_cancelled_waiter_is_cancelled_also_after_the_end(end: Any) -> None:
    scoped = AsyncEventDispatcher().scope()
    with anyio.CancelScope() as scope:
        async with scoped.expect("order.placed"):
            end(scoped)
            scope.cancel()
    assert scope.cancelled_caught


async def test_an_event_whose_dispatch_has_reached_the_waiter_counts_although_the_scope_ends() -> None:
    scoped = AsyncEventDispatcher().scope()

    def choose(event: Event) -> bool:
        ENDINGS["the end of the scope"](scoped)
        return True

    async with scoped.expect("order.placed", where=choose) as expected:
        await place(scoped, 1)

    assert expected.event.number == 1


async def test_waiting_on_an_ended_scope_is_refused() -> None:
    with AsyncEventDispatcher().scope() as scoped:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        await scoped.wait_for("order.placed")
    with pytest.raises(RuntimeError, match="has ended"):
        async with scoped.expect("order.placed"):
            raise AssertionError("never entered")
    with pytest.raises(RuntimeError, match="has ended"):
        async with scoped.stream("order.placed"):
            raise AssertionError("never entered")


async def test_what_waits_on_the_parent_waits_on_when_a_scope_ends() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream, dispatcher.expect("order.placed") as expected:
        with dispatcher.scope():
            pass
        await place(dispatcher, 1)
        assert (await stream.__anext__()).number == 1
    assert expected.event.number == 1


# Other threads and loops


@every_ending
@pytest.mark.parametrize("where", ["thread", "loop"])
async def test_an_end_in_another_thread_or_loop_wakes_what_waits_here(
    end: Any, where: str, anyio_backend_name: str
) -> None:
    scoped = AsyncEventDispatcher().scope()
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


async def test_an_event_in_another_thread_before_the_waiter_is_ready_leaves_nothing_registered() -> None:
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
        assert nobody_listens(dispatcher)
    assert expected.event.number == 1


async def test_a_registration_that_is_removed_before_the_waiter_is_ready_ends_it() -> None:
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


def test_an_end_after_the_loop_has_gone_hinders_nobody() -> None:
    dispatcher = AsyncEventDispatcher()
    for backend in ("asyncio", "trio"):
        scoped = dispatcher.scope()
        stream, expected = scoped.stream("order.placed"), scoped.expect("order.placed")
        anyio.run(stream.__aenter__, backend=backend)
        anyio.run(expected.__aenter__, backend=backend)

        ENDINGS["the end of the scope"](scoped)

        assert nobody_listens(scoped)


async def test_nothing_is_kept_of_what_waited() -> None:
    dispatcher = AsyncEventDispatcher()
    for _ in range(10):
        async with dispatcher.stream("order.placed"), dispatcher.expect("order.placed"):
            await place(dispatcher, 1)

    callbacks = dispatcher._registry._removal_callbacks
    assert callbacks is not None
    assert (callbacks._waiting, callbacks._due) == ({}, [])
