"""`stream`: bounded, in order, counted; the four overflow policies, cancellation, and other event loops."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import anyio
import pytest
from anyio import lowlevel
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, StreamLagged
from antiphon.testing import Backend
from antiphon.typing import Overflow
from tests.waiting.helpers import (
    OVERFLOWS,
    Bare,
    BareWithName,
    Order,
    elsewhere,
    ending_of,
    has_no_listeners,
    is_cancellation,
    outcome,
    place,
    read_all,
    settle,
    turns,
)


async def read(stream: Any, count: int) -> list[Any]:
    return [(await stream.__anext__()).number for _ in range(count)]


def test_these_are_the_policies() -> None:
    assert set(get_args(Overflow)) == set(OVERFLOWS)


async def test_it_listens_within_its_block_only(dispatcher: AsyncEventDispatcher) -> None:
    await place(dispatcher, "before")
    async with dispatcher.stream("order.placed") as stream:
        await place(dispatcher, 1, 2)
    await place(dispatcher, "after")
    assert has_no_listeners(dispatcher)
    assert await read_all(stream) == [1, 2]
    assert await read_all(stream) == []


@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_a_waiting_reader_gets_the_next_event(overflow: Overflow, dispatcher: AsyncEventDispatcher) -> None:
    received: list[int] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1, overflow=overflow) as stream:

            async def reader() -> None:
                received.extend(await read_all(stream))

            group.start_soon(reader)
            for number in range(5):
                await settle()
                assert stream.statistics().readers_waiting == 1
                await place(dispatcher, number)
            await settle()
    assert received == list(range(5))
    assert stream.statistics().dropped == 0


async def test_an_event_that_several_keys_match_comes_once(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.stream("a", "b.*", Order, "a") as stream:
        await dispatcher.adispatch("a", Order(1))
        await dispatcher.adispatch("b.c", Event())
        await dispatcher.adispatch("b.d", Order(2))
        await dispatcher.adispatch("c", Event())
        await dispatcher.adispatch(Order(3))
    assert [name async for name, _ in stream.items()] == ["a", "b.c", "b.d", None]


@pytest.mark.parametrize("first", ["stream", "listener"])
async def test_several_names_are_not_a_tuple(first: str, dispatcher: AsyncEventDispatcher) -> None:
    names: list[Any] = []

    async def listener(event: Event) -> None:
        names.append(event.name)

    if first == "listener":
        dispatcher.add_listener(("a", 1), listener)
    async with dispatcher.stream(1, "a") as stream:
        if first == "stream":
            dispatcher.add_listener(("a", 1), listener)
        for name in ("a", ("a", 1), 1):
            await dispatcher.adispatch(name, Event())
        assert len(dispatcher.get_listeners(("a", 1))) == 1
        dispatcher.remove_listener(("a", 1), listener)
        await dispatcher.adispatch(("a", 1), Event())
        await dispatcher.adispatch("a", Event())
    assert names == [("a", 1)]
    assert [name async for name, _ in stream.items()] == ["a", 1, "a"]
    assert has_no_listeners(dispatcher)


@pytest.mark.parametrize("event", [Bare(), BareWithName(), 3, Event()], ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("keys", [("order.placed",), ("*",), ("order.placed", "other"), ("o.*", "**")], ids=str)
async def test_items_have_the_name_of_the_dispatch(
    keys: tuple[str, ...], event: Any, dispatcher: AsyncEventDispatcher
) -> None:
    async with dispatcher.stream(*keys) as stream:
        await dispatcher.adispatch("order.placed", event)
    assert [item async for item in stream.items()] == [("order.placed", event)]


# Overflow


async def test_by_default_the_sender_does_not_wait_and_lag_is_raised(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=3) as stream:
        with anyio.CancelScope() as scope:
            # There is no checkpoint on the way, so this cancellation has no effect.
            scope.cancel()
            await place(dispatcher, *range(10))
        assert not scope.cancelled_caught
        assert stream.statistics()[:4] == (0, 7, 3, 3)
        with pytest.raises(StreamLagged) as lagged:
            await stream.__anext__()
        assert lagged.value.missed == 7
        assert await read(stream, 3) == [7, 8, 9]
        await place(dispatcher, *range(10, 14))
        with pytest.raises(StreamLagged) as lagged:
            await stream.__anext__()
        assert lagged.value.missed == 1
        assert await read(stream, 1) == [11]


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [0, 1])])
async def test_a_dropping_policy_counts_what_it_drops(
    overflow: Overflow, kept: list[int], dispatcher: AsyncEventDispatcher
) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=2, overflow=overflow) as stream:
        await place(dispatcher, *range(5))
        assert (stream.statistics().dropped, stream.statistics().current_buffer_used) == (3, 2)
    assert await read_all(stream) == kept
    assert stream.statistics()[:3] == (2, 3, 0)


async def test_under_suspend_later_listeners_wait_too(dispatcher: AsyncEventDispatcher) -> None:
    log: list[Any] = []

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Order) -> None:
        log.append(event.number)

    async with (
        dispatcher.stream("order.placed", max_buffer_size=2, overflow="suspend") as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(place, dispatcher, 0, 1, 2, 3)
        await settle()
        assert log == [0, 1]
        assert stream.statistics() == (0, 0, 2, 2, 1, 0)
        assert await read(stream, 1) == [0]
        await settle()
        assert log == [0, 1, 2]
        assert await read(stream, 3) == [1, 2, 3]
    assert log == [0, 1, 2, 3]


# Other listeners


async def test_it_has_a_priority_like_a_listener(dispatcher: AsyncEventDispatcher) -> None:
    @dispatcher.listen("order.placed")
    async def stop_odd(event: Order) -> None:
        if event.number % 2:
            event.stop_propagation()

    async with (
        dispatcher.stream("order.placed", priority=-1) as before,
        dispatcher.stream("order.placed") as equal,
        dispatcher.stream("order.placed", priority=1) as after,
    ):
        await place(dispatcher, *range(4))
    assert [await read_all(stream) for stream in (before, equal, after)] == [[0, 1, 2, 3], [0, 2], [0, 2]]


async def test_an_event_dispatched_twice_comes_under_both_names(dispatcher: AsyncEventDispatcher) -> None:
    @dispatcher.listen("order.placed")
    async def dispatch_again(event: Event) -> None:
        await dispatcher.adispatch("order.copied", event)

    event = Event()
    async with dispatcher.stream("order.placed", "order.copied", priority=1) as stream:
        await dispatcher.adispatch("order.placed", event)
        assert event.name == "order.placed"
    assert [item async for item in stream.items()] == [("order.copied", event), ("order.placed", event)]


@pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(limit=1), Race()], ids=["concurrent", "limited", "race"])
async def test_it_listens_under_every_strategy(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    async with dispatcher.stream("order.placed") as first, dispatcher.stream("order.placed", "other") as second:
        await place(dispatcher, 0, 1)
    assert [await read_all(stream) for stream in (first, second)] == [[0, 1], [0, 1]]


async def test_a_scope_streams_its_own_dispatches(dispatcher: AsyncEventDispatcher) -> None:
    with dispatcher.scope() as scoped:
        async with scoped.stream("order.placed") as inner, dispatcher.stream("order.placed") as outer:
            await place(dispatcher, 0)
            await scoped.adispatch("order.placed", Order(1))
    assert await read_all(inner) == [1]
    assert await read_all(outer) == [0, 1]


# Misuse


async def test_a_stream_is_used_once(dispatcher: AsyncEventDispatcher) -> None:
    stream = dispatcher.stream("order.placed")
    with pytest.raises(RuntimeError, match="async with"):
        await stream.__anext__()
    with pytest.raises(RuntimeError, match="async with"):
        stream.statistics()
    with pytest.raises(RuntimeError, match="has not been entered"):
        stream.close()
    async with stream:
        pass
    with pytest.raises(RuntimeError, match="stream"):
        await stream.__aenter__()
    assert has_no_listeners(dispatcher)


@pytest.mark.parametrize(
    ("keys", "options", "error"),
    [
        ((), {}, TypeError),
        ((None,), {}, TypeError),
        (("a*",), {}, ValueError),
        (("a", []), {}, TypeError),
        (("a",), {"max_buffer_size": 0}, ValueError),
        (("a",), {"max_buffer_size": 1.5}, TypeError),
        (("a",), {"max_buffer_size": None}, TypeError),
        (("a",), {"overflow": "panic"}, ValueError),
        (("a",), {"priority": "high"}, TypeError),
    ],
    ids=str,
)
async def test_invalid_arguments_register_nothing(
    keys: Any, options: Any, error: type[Exception], dispatcher: AsyncEventDispatcher
) -> None:
    with pytest.raises(error):
        async with dispatcher.stream(*keys, **options):
            raise AssertionError("never entered")
    assert has_no_listeners(dispatcher)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_buffer_size": 0}, ValueError),
        ({"max_buffer_size": 1.5}, TypeError),
        ({"overflow": "panic"}, ValueError),
        ({"priority": "high"}, TypeError),
    ],
    ids=str,
)
def test_invalid_options_are_refused_without_a_block(
    options: Any, error: type[Exception], dispatcher: AsyncEventDispatcher
) -> None:
    with pytest.raises(error):
        dispatcher.stream("order.placed", **options)


# Closing


async def test_a_running_dispatch_skips_a_stream_closed_meanwhile(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.stream("order.placed", priority=1) as stream:

        @dispatcher.listen("order.placed")
        async def close(event: Event) -> None:
            stream.close()
            stream.close()

        await place(dispatcher, 1)
    assert await read_all(stream) == []
    assert stream.statistics().dropped == 0


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
async def test_a_failed_body_closes_the_stream(how: str, dispatcher: AsyncEventDispatcher) -> None:
    error = ValueError("body")

    async def body(stream: Any) -> None:
        await place(dispatcher, 1)
        if how == "raises":
            raise error
        scope.cancel()
        await stream.__anext__()

    stream = dispatcher.stream("order.placed")
    with anyio.CancelScope() as scope:
        left = await ending_of(stream, body)
        assert left is error if how == "raises" else is_cancellation(left)
    assert has_no_listeners(dispatcher)
    assert await read_all(stream) == [1]


# Several readers, and cancellation


async def test_a_cancelled_read_takes_nothing(dispatcher: AsyncEventDispatcher) -> None:
    async with dispatcher.stream("order.placed") as stream:
        await place(dispatcher, 1)
        for call in (stream.__anext__, stream.items().__anext__):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert stream.statistics()[:3] == (0, 0, 1)
        assert await read(stream, 1) == [1]

        async with anyio.create_task_group() as group:
            group.start_soon(stream.__anext__)
            await settle()
            assert stream.statistics().readers_waiting == 1
            group.cancel_scope.cancel()
        assert stream.statistics().readers_waiting == 0
        await place(dispatcher, 2)
        assert await read(stream, 1) == [2]


async def test_a_lag_of_one_reader_leaves_another_its_event(dispatcher: AsyncEventDispatcher) -> None:
    received: list[Any] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1) as stream:

            async def reader() -> None:
                received.append(await outcome(stream.__anext__()))

            for _ in range(2):
                group.start_soon(reader)
                await settle()
            await place(dispatcher, 1, 2)
            await settle()
            assert len(received) == 2
    lagged, event = sorted(received, key=lambda found: isinstance(found, Event))
    assert isinstance(lagged, StreamLagged)
    assert (lagged.missed, event.number) == (1, 2)


async def test_the_event_of_a_cancelled_sender_counts_as_dropped(dispatcher: AsyncEventDispatcher) -> None:
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def sender(number: int) -> None:
        with scopes[number]:
            await place(dispatcher, number + 1)

    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        await place(dispatcher, 0)
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(sender, number)
                await settle()
            scopes[1].cancel()
            await settle()
            assert stream.statistics().dispatches_waiting == 2
            assert await read(stream, 3) == [0, 1, 3]
        assert stream.statistics()[:2] == (3, 1)


@pytest.mark.parametrize("how", ["scope", "native"])
async def test_a_sender_cancelled_when_woken_hands_over_or_drops(
    how: str, anyio_backend_name: str, dispatcher: AsyncEventDispatcher
) -> None:
    """A scope spares a task that has been woken; ``task.cancel()`` does not, and the dropped event is counted."""
    if how == "native" and anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    tasks: list[Any] = []

    async def sender() -> None:
        tasks.append(asyncio.current_task() if how == "native" else None)
        await place(dispatcher, 1)

    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        await place(dispatcher, 0)
        async with anyio.create_task_group() as group:
            group.start_soon(sender)
            await settle()
            assert await read(stream, 1) == [0]
            # The sender has been woken, and has not run yet.
            assert stream.statistics().dispatches_waiting == 1
            if how == "native":
                tasks[0].cancel()
            else:
                group.cancel_scope.cancel()
        assert stream.statistics()[:5] == ((1, 1, 0, 1, 0) if how == "native" else (1, 0, 1, 1, 0))


# Other loops and threads


@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_another_loop_hands_over_without_waiting(
    overflow: Overflow, anyio_backend_name: str, dispatcher: AsyncEventDispatcher
) -> None:
    received: list[int] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=10, overflow=overflow) as stream:

            async def reader() -> None:
                received.extend(await read(stream, 5))

            group.start_soon(reader)
            await settle()
            with anyio.fail_after(10):
                await elsewhere(lambda: place(dispatcher, *range(5)), anyio_backend_name)
                while not received:
                    await lowlevel.checkpoint()
    assert received == list(range(5))


async def test_waiting_elsewhere_is_an_error(anyio_backend_name: str, dispatcher: AsyncEventDispatcher) -> None:
    async def sleepless_wait() -> None:
        while not stream.statistics().readers_waiting:
            await lowlevel.checkpoint()
        await place(dispatcher, 0)

    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        async with anyio.create_task_group() as group:
            # Should the read wait, it gets an event.
            group.start_soon(sleepless_wait)
            by_read = await elsewhere(lambda: outcome(stream.__anext__()), anyio_backend_name)
            group.cancel_scope.cancel()
        assert stream.statistics().readers_waiting == 0
        by_dispatch = await elsewhere(lambda: outcome(place(dispatcher, 0, 1)), anyio_backend_name)
        assert stream.statistics().dispatches_waiting == 0
    for error in (by_read, by_dispatch):
        assert isinstance(error, RuntimeError)
        assert repr(stream) in str(error)
        assert "MainThread" in str(error)
    assert await elsewhere(lambda: read_all(stream), anyio_backend_name) == [0]


# Under all schedules

Data = tuple[list[tuple[int, int | None]], list[int | None], int]


class StreamProgram:
    """A random program of senders, readers and cancellations of one stream, and what must hold after it."""

    def __init__(self, overflow: Overflow, size: int, data: Data) -> None:
        self.overflow = overflow
        self.size = size
        self.data = data
        self.dispatcher = AsyncEventDispatcher()
        self.dispatched: list[Any] = []
        self.received: list[list[Any]] = []
        self.missed = 0
        self.accepted_by_stream = 0

    async def main(self) -> None:
        @self.dispatcher.listen("order.placed", priority=-1)
        async def record(event: Order) -> None:
            self.dispatched.append(event.number)

        senders, readers, close_after = self.data
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                async with self.dispatcher.stream(
                    "order.placed", max_buffer_size=self.size, overflow=self.overflow
                ) as stream:
                    for number, (events, cancelled_after) in enumerate(senders):
                        self._start(group, cancelled_after, self._send, number, events)
                    for cancelled_after in readers:
                        self.received.append([])
                        self._start(group, cancelled_after, self._read, stream, self.received[-1])
                    await turns(close_after)
                    self._check(stream)
                # Readers end at the close; those that were cancelled may leave something to be read.
            self.received.append([])
            await self._read(stream, self.received[-1])
            self._check(stream)
        assert stream.statistics()[2:] == (0, self.size, 0, 0)
        assert self.missed == (stream.statistics().dropped if self.overflow == "raise" else 0)

    def _start(self, group: Any, cancelled_after: int | None, function: Any, *args: Any) -> None:
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

        async def cancel(after: int) -> None:
            await turns(after)
            scope.cancel()

        group.start_soon(run)
        if cancelled_after is not None:
            group.start_soon(cancel, cancelled_after)

    async def _send(self, sender: int, events: int) -> None:
        for number in range(events):
            await place(self.dispatcher, (sender, number))
            await lowlevel.checkpoint()

    async def _read(self, stream: Any, mine: list[Any]) -> None:
        while True:
            try:
                async for event in stream:
                    mine.append(event.number)
                return
            except StreamLagged as exc:
                self.missed += exc.missed

    def _check(self, stream: Any) -> None:
        delivered, dropped, buffered, _, waiting, _ = stream.statistics()
        if self.dispatcher.get_listeners("order.placed")[1:]:
            # After the close the stream accepts nothing more.
            self.accepted_by_stream = len(self.dispatched)
        assert delivered + dropped + buffered + waiting == self.accepted_by_stream
        received = [number for mine in self.received for number in mine]
        assert len(received) == delivered
        assert len(set(received)) == len(received), "doubled"
        assert set(received) <= set(self.dispatched)
        for mine in self.received:
            for sender in {sender for sender, _ in mine}:
                numbers = [number for other, number in mine if other == sender]
                assert numbers == sorted(numbers), "out of order"


_cancelled_after = st.none() | st.integers(0, 12)


@given(
    backend=st.builds(Backend, st.sampled_from(("asyncio", "trio")), st.none() | st.integers(0, 1000)),
    overflow=st.sampled_from(OVERFLOWS),
    size=st.integers(1, 4),
    data=st.tuples(
        st.lists(st.tuples(st.integers(0, 6), _cancelled_after), max_size=4),
        st.lists(_cancelled_after, max_size=3),
        st.integers(0, 20),
    ),
)
def test_each_event_is_delivered_dropped_or_waiting(
    backend: Backend, overflow: Overflow, size: int, data: Data
) -> None:
    backend.run(StreamProgram(overflow, size, data).main)
