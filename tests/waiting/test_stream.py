"""`stream`: bounded, in order, counted; what the four overflow policies, closing and cancellation do to it."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import anyio
import pytest
from anyio import lowlevel
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, StreamLagged
from antiphon.testing import Backend, BackendName
from antiphon.typing import Overflow
from tests.cancellation.tasks import settle
from tests.waiting.helpers import (
    OVERFLOWS,
    Bare,
    BareWithName,
    Numbered,
    elsewhere,
    ending_of,
    nobody_listens,
    outcome,
    turns,
)


async def sing(dispatcher: AsyncEventDispatcher, *numbers: Any) -> None:
    for number in numbers:
        await dispatcher.adispatch("order.placed", Numbered(number))


async def read_all(stream: Any) -> list[int]:
    """The numbers that are still in a stream that has been closed."""
    return [event.number async for event in stream]


def test_these_are_the_policies() -> None:
    assert set(get_args(Overflow)) == set(OVERFLOWS)


async def test_events_come_in_the_order_of_their_dispatches() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:
        await sing(dispatcher, *range(10))
        assert [(await stream.__anext__()).number for _ in range(10)] == list(range(10))


async def test_it_listens_within_its_block_only_and_what_is_buffered_can_be_read_afterwards() -> None:
    dispatcher = AsyncEventDispatcher()
    await sing(dispatcher, "before")
    async with dispatcher.stream("order.placed") as stream:
        await sing(dispatcher, 1, 2)
    await sing(dispatcher, "after")
    assert nobody_listens(dispatcher)
    assert await read_all(stream) == [1, 2]
    assert await read_all(stream) == []


@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_a_reader_that_waits_gets_the_next_event(overflow: Overflow) -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[int] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1, overflow=overflow) as stream:

            async def reader() -> None:
                async for event in stream:
                    read.append(event.number)

            group.start_soon(reader)
            for number in range(5):
                await settle()
                assert stream.statistics().readers_waiting == 1
                await sing(dispatcher, number)
            await settle()
    assert read == list(range(5))
    assert stream.statistics().dropped == 0


async def test_several_keys_make_one_stream_in_which_an_event_comes_once() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("a", "b.*", Numbered, "a") as stream:
        await dispatcher.adispatch("a", Numbered(1))
        await dispatcher.adispatch("b.c", Event())
        await dispatcher.adispatch("b.d", Numbered(2))
        await dispatcher.adispatch("c", Event())
        await dispatcher.adispatch(Numbered(3))
    assert [name async for name, _ in stream.items()] == ["a", "b.c", "b.d", None]


async def test_a_stream_of_several_names_is_not_taken_for_a_listener_of_their_tuple() -> None:
    for first in ("stream", "listener"):
        dispatcher = AsyncEventDispatcher()
        heard: list[Any] = []

        async def listener(event: Event) -> None:
            heard.append(event.name)

        if first == "listener":
            dispatcher.add_listener(("a", "b"), listener)
        async with dispatcher.stream("a", "b") as stream:
            if first == "stream":
                dispatcher.add_listener(("a", "b"), listener)
            for name in ("a", ("a", "b"), "b"):
                await dispatcher.adispatch(name, Event())
            assert len(dispatcher.get_listeners(("a", "b"))) == 1
            dispatcher.remove_listener(("a", "b"), listener)
            await dispatcher.adispatch(("a", "b"), Event())
            await dispatcher.adispatch("a", Event())
        assert heard == [("a", "b")]
        assert [name async for name, _ in stream.items()] == ["a", "b", "a"]
        assert nobody_listens(dispatcher)


@pytest.mark.parametrize("event", [Bare(), BareWithName(), 3, Event()], ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("keys", [("order.placed",), ("*",), ("order.placed", "other"), ("s.*", "**")], ids=str)
async def test_items_give_the_name_of_the_dispatch_also_of_bare_events(keys: tuple[str, ...], event: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream(*keys) as stream:
        await dispatcher.adispatch("order.placed", event)
    assert [item async for item in stream.items()] == [("order.placed", event)]


async def test_an_event_that_is_dispatched_under_two_names_comes_with_each_of_them() -> None:
    dispatcher = AsyncEventDispatcher()
    event = Event()
    async with dispatcher.stream("*") as stream:
        await dispatcher.adispatch("a", event)
        await dispatcher.adispatch("b", event)
    assert [item async for item in stream.items()] == [("a", event), ("b", event)]


# Overflow


async def test_by_default_the_sender_never_waits_and_the_reader_is_told_once_how_many_it_missed() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", max_buffer_size=3) as stream:
        with anyio.CancelScope() as scope:
            # No checkpoint on the way: this cancellation is not noticed.
            scope.cancel()
            await sing(dispatcher, *range(10))
        assert not scope.cancelled_caught
        assert stream.statistics()[:4] == (0, 7, 3, 3)
        with pytest.raises(StreamLagged) as lagged:
            await stream.__anext__()
        assert lagged.value.missed == 7
        assert [(await stream.__anext__()).number for _ in range(3)] == [7, 8, 9]

        await sing(dispatcher, *range(10, 14))
        with pytest.raises(StreamLagged) as lagged:
            await stream.__anext__()
        assert lagged.value.missed == 1
        assert (await stream.__anext__()).number == 11


async def test_a_stream_that_lagged_can_be_iterated_over_again() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[Any] = []
    async with dispatcher.stream("order.placed", max_buffer_size=2) as stream:
        await sing(dispatcher, *range(5))
    while True:
        try:
            async for event in stream:
                read.append(event.number)
            break
        except StreamLagged as exc:
            read.append(exc.missed)
    assert read == [3, 3, 4]


async def test_lag_is_told_before_the_end_even_if_nothing_is_read_until_then() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", max_buffer_size=1) as stream:
        await sing(dispatcher, 1, 2)
    with pytest.raises(StreamLagged):
        await stream.__anext__()
    assert await read_all(stream) == [2]


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [0, 1])])
async def test_a_dropping_policy_keeps_its_end_of_the_events_and_counts_the_others(
    overflow: Overflow, kept: list[int]
) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", max_buffer_size=2, overflow=overflow) as stream:
        await sing(dispatcher, *range(5))
        assert stream.statistics().dropped == 3
        assert stream.statistics().current_buffer_used == 2
    assert await read_all(stream) == kept
    assert stream.statistics()[:3] == (2, 3, 0)


async def test_under_suspend_the_dispatch_waits_for_room_and_later_listeners_wait_with_it() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Numbered) -> None:
        log.append(event.number)

    async with (
        dispatcher.stream("order.placed", max_buffer_size=2, overflow="suspend") as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(sing, dispatcher, 0, 1, 2, 3)
        await settle()
        assert log == [0, 1]
        assert stream.statistics() == (0, 0, 2, 2, 1, 0)
        assert (await stream.__anext__()).number == 0
        await settle()
        assert log == [0, 1, 2]
        assert [(await stream.__anext__()).number for _ in range(3)] == [1, 2, 3]
    assert log == [0, 1, 2, 3]


async def test_suspended_dispatches_get_their_turn_in_order_and_nobody_overtakes_them() -> None:
    dispatcher = AsyncEventDispatcher()
    async with (
        dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream,
        anyio.create_task_group() as group,
    ):
        for number in range(6):
            group.start_soon(sing, dispatcher, number)
            await settle()
        assert stream.statistics().dispatches_waiting == 5
        read = [(await stream.__anext__()).number]
        group.start_soon(sing, dispatcher, 6)
        read += [(await stream.__anext__()).number for _ in range(6)]
    assert read == list(range(7))


@pytest.mark.parametrize("overflow", ["raise", "drop_oldest", "drop_newest"])
async def test_a_slow_reader_and_a_fast_sender_agree_on_what_was_lost(overflow: Overflow) -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[int] = []
    missed = 0
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=3, overflow=overflow) as stream:

            async def reader() -> None:
                nonlocal missed
                while True:
                    try:
                        async for event in stream:
                            read.append(event.number)
                            await turns(7)
                        return
                    except StreamLagged as exc:
                        missed += exc.missed

            group.start_soon(reader)
            for number in range(50):
                await sing(dispatcher, number)
                await turns(1)
    assert read == sorted(set(read))
    assert stream.statistics().delivered == len(read)
    assert stream.statistics().dropped == 50 - len(read) > 0
    assert missed == (50 - len(read) if overflow == "raise" else 0)


# Where it stands among the listeners


async def test_it_listens_at_its_priority_so_that_an_earlier_stop_hides_the_event() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def stop_odd(event: Numbered) -> None:
        if event.number % 2:
            event.stop_propagation()

    async with (
        dispatcher.stream("order.placed", priority=-1) as before,
        dispatcher.stream("order.placed") as equal,
        dispatcher.stream("order.placed", priority=1) as after,
    ):
        await sing(dispatcher, *range(4))
    assert [await read_all(stream) for stream in (before, equal, after)] == [[0, 1, 2, 3], [0, 2], [0, 2]]


async def test_a_listener_can_feed_the_stream_that_it_listens_beside() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def echo(event: Numbered) -> None:
        if event.number < 3:
            await dispatcher.adispatch("order.placed", Numbered(event.number + 1))

    async with dispatcher.stream("order.placed", priority=-1) as stream:
        await sing(dispatcher, 0)
    assert await read_all(stream) == [0, 1, 2, 3]


async def test_a_listener_can_dispatch_its_own_event_again_and_the_stream_hears_both() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def again(event: Event) -> None:
        await dispatcher.adispatch("echo", event)

    event = Event()
    async with dispatcher.stream("order.placed", "echo", priority=1) as stream:
        await dispatcher.adispatch("order.placed", event)
        assert event.name == "order.placed"
    assert [item async for item in stream.items()] == [("echo", event), ("order.placed", event)]


async def test_a_listener_can_read_the_stream_that_its_own_event_is_in() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[int] = []
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend", priority=-1) as stream:

        @dispatcher.listen("order.placed")
        async def read_it(event: Numbered) -> None:
            read.append((await stream.__anext__()).number)

        await sing(dispatcher, 0, 1, 2)
    assert read == [0, 1, 2]


@pytest.mark.parametrize("strategy", [Concurrent(), Concurrent(limit=1), Race()], ids=["concurrent", "limited", "race"])
async def test_it_hears_under_every_strategy(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    async with dispatcher.stream("order.placed") as first, dispatcher.stream("order.placed", "other") as second:
        await sing(dispatcher, 0, 1)
    assert [await read_all(stream) for stream in (first, second)] == [[0, 1], [0, 1]]


async def test_a_scope_has_streams_of_its_own_dispatches() -> None:
    dispatcher = AsyncEventDispatcher()
    with dispatcher.scope() as scoped:
        async with scoped.stream("order.placed") as inner, dispatcher.stream("order.placed") as outer:
            await sing(dispatcher, 0)
            await sing(scoped, 1)
    assert await read_all(inner) == [1]
    assert await read_all(outer) == [0, 1]


# Misuse


async def test_it_serves_once() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:
        pass
    with pytest.raises(RuntimeError, match="stream"):
        await stream.__aenter__()
    assert nobody_listens(dispatcher)


async def test_before_it_is_entered_reading_and_statistics_say_what_to_do() -> None:
    stream = AsyncEventDispatcher().stream("order.placed")
    with pytest.raises(RuntimeError, match="async with"):
        await stream.__anext__()
    with pytest.raises(RuntimeError, match="async with"):
        stream.statistics()


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
async def test_what_makes_no_sense_is_refused_and_nothing_is_registered(
    keys: Any, options: Any, error: type[Exception]
) -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(error):
        async with dispatcher.stream(*keys, **options):
            raise AssertionError("never entered")
    assert nobody_listens(dispatcher)


# Closing


async def test_closing_lets_the_suspended_dispatches_go_on_without_the_stream_and_counts_their_events() -> None:
    dispatcher = AsyncEventDispatcher()
    finished: list[int] = []

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Numbered) -> None:
        finished.append(event.number)

    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
            for number in range(4):
                group.start_soon(sing, dispatcher, number)
                await settle()
            assert finished == [0]
    assert sorted(finished) == [0, 1, 2, 3]
    assert await read_all(stream) == [0]
    assert stream.statistics() == (1, 3, 0, 1, 0, 0)


async def test_closing_ends_all_readers() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[Any] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed") as stream:

            async def reader() -> None:
                read.extend(await read_all(stream))
                read.append("end")

            for _ in range(5):
                group.start_soon(reader)
            await settle()
            await sing(dispatcher, 1, 2)
            stream.close()
            stream.close()
            await settle()
            assert read.count("end") == 5
    assert sorted(map(str, read)) == ["1", "2", *["end"] * 5]


async def test_a_dispatch_under_way_does_not_reach_a_stream_that_was_closed_meanwhile() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", priority=1) as stream:

        @dispatcher.listen("order.placed")
        async def close(event: Event) -> None:
            stream.close()

        await sing(dispatcher, 1)
    assert await read_all(stream) == []
    assert stream.statistics().dropped == 0


async def test_a_body_that_raises_leaves_with_its_own_error_and_closes_the_stream() -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(ValueError, match="body"):
        async with dispatcher.stream("order.placed") as stream:
            await sing(dispatcher, 1)
            raise ValueError("body")
    assert nobody_listens(dispatcher)
    assert await read_all(stream) == [1]


async def test_a_reader_can_end_the_block_that_it_reads_in() -> None:
    dispatcher = AsyncEventDispatcher()
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
            group.start_soon(sing, dispatcher, 1, 2, 3)
            async for event in stream:
                if event.number == 2:
                    break
    assert nobody_listens(dispatcher)
    assert sum(stream.statistics()[:3]) <= 3


# Several readers, and cancellation


async def test_two_readers_share_the_events_among_them() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[list[int]] = [[], []]
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=2, overflow="suspend") as stream:

            async def reader(mine: list[int]) -> None:
                async for event in stream:
                    mine.append(event.number)
                    await lowlevel.checkpoint()

            for mine in read:
                group.start_soon(reader, mine)
            await sing(dispatcher, *range(20))
    assert sorted(read[0] + read[1]) == list(range(20))
    assert all(mine == sorted(mine) and mine for mine in read)


async def test_reading_always_passes_a_checkpoint_and_a_cancelled_read_takes_nothing() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:
        await sing(dispatcher, 1)
        for read in (stream.__anext__, stream.items().__anext__):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await read()
            assert scope.cancelled_caught
        assert stream.statistics()[:3] == (0, 0, 1)
    assert await read_all(stream) == [1]


async def test_a_reader_that_is_cancelled_while_it_waits_is_forgotten() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:
        async with anyio.create_task_group() as group:
            group.start_soon(stream.__anext__)
            await settle()
            assert stream.statistics().readers_waiting == 1
            group.cancel_scope.cancel()
        assert stream.statistics().readers_waiting == 0
        await sing(dispatcher, 1)
        assert (await stream.__anext__()).number == 1


async def test_an_event_that_woke_a_reader_which_is_then_cancelled_wakes_another() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[int] = []
    async with dispatcher.stream("order.placed") as stream, anyio.create_task_group() as group:
        doomed = anyio.CancelScope()

        async def reader(scope: anyio.CancelScope) -> None:
            with scope:
                read.append((await stream.__anext__()).number)

        group.start_soon(reader, doomed)
        await settle()
        group.start_soon(reader, anyio.CancelScope())
        await settle()
        await sing(dispatcher, 1)
        doomed.cancel()
        with anyio.fail_after(5):
            while not read:
                await lowlevel.checkpoint()
        assert read == [1]
        group.cancel_scope.cancel()


async def test_a_lag_that_one_reader_is_told_does_not_keep_another_from_its_event() -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[Any] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=1) as stream:

            async def reader() -> None:
                read.append(await outcome(stream.__anext__()))

            for _ in range(2):
                group.start_soon(reader)
                await settle()
            await sing(dispatcher, 1, 2)
            await settle()
            assert len(read) == 2
    lagged, event = sorted(read, key=lambda found: isinstance(found, Event))
    assert isinstance(lagged, StreamLagged)
    assert lagged.missed == 1
    assert event.number == 2


async def test_a_suspended_sender_that_is_cancelled_takes_its_event_along_and_that_is_counted() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        await sing(dispatcher, 0)
        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in range(3)]

            async def sender(number: int) -> None:
                with scopes[number]:
                    await sing(dispatcher, number + 1)

            for number in range(3):
                group.start_soon(sender, number)
                await settle()
            scopes[1].cancel()
            await settle()
            assert stream.statistics().dispatches_waiting == 2
            assert [(await stream.__anext__()).number for _ in range(3)] == [0, 1, 3]
        statistics = stream.statistics()
    # It heard four events, and nothing is dropped in silence.
    assert statistics.delivered == 3
    assert statistics.dropped == 1


async def test_an_event_that_a_race_takes_from_a_suspended_stream_is_counted() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Race())
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        await sing(dispatcher, 0)

        @dispatcher.listen("order.placed")
        async def win(event: Event) -> None:
            await settle()
            event.stop_propagation()

        await sing(dispatcher, 1)
        assert stream.statistics()[:3] == (0, 1, 1)


@pytest.mark.parametrize("how", ["scope", "native"])
async def test_a_dispatch_cancelled_when_there_is_room_hands_over_or_drops(how: str, anyio_backend_name: str) -> None:
    """A scope spares a task that has been woken; ``task.cancel()`` does not, and the dropped event is counted."""
    if how == "native" and anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    dispatcher = AsyncEventDispatcher()
    tasks: list[Any] = []

    async def sender(number: int) -> None:
        tasks.append(asyncio.current_task() if how == "native" else None)
        await sing(dispatcher, number)

    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        await sing(dispatcher, 0)
        async with anyio.create_task_group() as group:
            group.start_soon(sender, 1)
            await settle()
            assert (await stream.__anext__()).number == 0
            # It has been woken, and has not run yet.
            assert stream.statistics().dispatches_waiting == 1
            if how == "native":
                tasks[0].cancel()
            else:
                group.cancel_scope.cancel()
        assert stream.statistics()[:5] == ((1, 1, 0, 1, 0) if how == "native" else (1, 0, 1, 1, 0))


# Other loops and threads


@pytest.mark.parametrize("overflow", OVERFLOWS)
async def test_another_loop_and_thread_hands_its_events_over_without_waiting(
    overflow: Overflow, anyio_backend_name: str
) -> None:
    dispatcher = AsyncEventDispatcher()
    read: list[int] = []
    async with anyio.create_task_group() as group:
        async with dispatcher.stream("order.placed", max_buffer_size=10, overflow=overflow) as stream:

            async def reader() -> None:
                async for event in stream:
                    read.append(event.number)
                    if len(read) == 5:
                        return

            group.start_soon(reader)
            await settle()
            with anyio.fail_after(10):
                await elsewhere(lambda: sing(dispatcher, *range(5)), anyio_backend_name)
                while len(read) < 5:
                    await lowlevel.checkpoint()
    assert read == list(range(5))


async def test_a_dispatch_elsewhere_that_would_have_to_wait_is_an_error_that_names_the_owner(
    anyio_backend_name: str,
) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        with anyio.fail_after(10):
            left = await elsewhere(lambda: outcome(sing(dispatcher, 0, 1)), anyio_backend_name)
        assert isinstance(left, RuntimeError)
        assert repr(stream) in str(left)
        assert "MainThread" in str(left)
        assert stream.statistics().dispatches_waiting == 0
    assert await read_all(stream) == [0]


async def test_a_read_elsewhere_that_would_have_to_wait_is_an_error_that_names_the_owner(
    anyio_backend_name: str,
) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:

        async def read() -> Any:
            with anyio.fail_after(2):
                return await outcome(stream.__anext__())

        async with anyio.create_task_group() as group:
            group.start_soon(_wake, dispatcher, stream)
            left = await elsewhere(lambda: outcome(read()), anyio_backend_name)
            group.cancel_scope.cancel()
        assert isinstance(left, RuntimeError)
        assert "MainThread" in str(left)
        assert stream.statistics().readers_waiting == 0


async def _wake(dispatcher: AsyncEventDispatcher, stream: Any) -> None:
    while not stream.statistics().readers_waiting:
        await lowlevel.checkpoint()
    await sing(dispatcher, 0)


async def test_a_closed_stream_can_be_read_to_its_end_elsewhere(anyio_backend_name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as stream:
        await sing(dispatcher, 0, 1)
    assert await elsewhere(lambda: read_all(stream), anyio_backend_name) == [0, 1]


def test_a_stream_whose_loop_has_ended_hinders_nobody() -> None:
    dispatcher = AsyncEventDispatcher()
    for backend in ("asyncio", "trio"):
        stream = dispatcher.stream("order.placed", max_buffer_size=1)
        anyio.run(stream.__aenter__, backend=backend)
        anyio.run(sing, dispatcher, 0, 1, 2)
        assert stream.statistics().dropped == 2
        stream.close()


# Under all schedules


class TimelineBuilder:
    """A random play of senders, readers and cancellations around one stream, and what it must leave behind."""

    def __init__(self, overflow: Overflow, size: int, data: PlayData) -> None:
        self.overflow = overflow
        self.size = size
        self.data = data
        self.dispatcher = AsyncEventDispatcher()
        self.heard: list[Any] = []
        self.read: list[list[Any]] = []
        self.missed = 0
        self.heard_by_stream = 0

    async def main(self) -> None:
        @self.dispatcher.listen("order.placed", priority=-1)
        async def hear(event: Numbered) -> None:
            self.heard.append(event.number)

        senders, readers, close_after = self.data
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                async with self.dispatcher.stream(
                    "order.placed", max_buffer_size=self.size, overflow=self.overflow
                ) as stream:
                    for number, (events, doomed_after) in enumerate(senders):
                        self._start(group, doomed_after, self._send, number, events)
                    for doomed_after in readers:
                        self.read.append([])
                        self._start(group, doomed_after, self._read, stream, self.read[-1])
                    await turns(close_after)
                    self._check(stream)
                # Readers end at the close; those that were cancelled may leave something to be read.
            self.read.append([])
            await self._read(stream, self.read[-1])
            self._check(stream)
        assert stream.statistics()[2:] == (0, self.size, 0, 0)
        assert self.missed == (stream.statistics().dropped if self.overflow == "raise" else 0)

    def _start(self, group: Any, doomed_after: int | None, function: Any, *args: Any) -> None:
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

        async def doom(after: int) -> None:
            await turns(after)
            scope.cancel()

        group.start_soon(run)
        if doomed_after is not None:
            group.start_soon(doom, doomed_after)

    async def _send(self, sender: int, events: int) -> None:
        for number in range(events):
            await self.dispatcher.adispatch("order.placed", Numbered((sender, number)))
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
            # After the close nothing is heard by the stream any more.
            self.heard_by_stream = len(self.heard)
        assert delivered + dropped + buffered + waiting == self.heard_by_stream
        all_read = [number for mine in self.read for number in mine]
        assert len(all_read) == delivered
        assert len(set(all_read)) == len(all_read), "doubled"
        assert set(all_read) <= set(self.heard)
        for mine in self.read:
            for sender in {sender for sender, _ in mine}:
                numbers = [number for other, number in mine if other == sender]
                assert numbers == sorted(numbers), "out of order"


PlayData = tuple[list[tuple[int, int | None]], list[int | None], int]

_doom = st.none() | st.integers(0, 12)


@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    overflow=st.sampled_from(OVERFLOWS),
    size=st.integers(1, 4),
    data=st.tuples(
        st.lists(st.tuples(st.integers(0, 6), _doom), max_size=4), st.lists(_doom, max_size=3), st.integers(0, 20)
    ),
)
def test_what_was_heard_was_delivered_or_dropped_or_waits_under_every_schedule(
    backend: BackendName, seed: int | None, overflow: Overflow, size: int, data: PlayData
) -> None:
    Backend(backend, seed).run(TimelineBuilder(overflow, size, data).main)


async def test_the_body_of_a_stream_that_is_cancelled_leaves_as_a_cancellation() -> None:
    dispatcher = AsyncEventDispatcher()
    with anyio.CancelScope() as scope:
        left = await ending_of(dispatcher.stream("order.placed"), lambda stream: _cancelled(scope, stream))
        assert isinstance(left, anyio.get_cancelled_exc_class())
    assert nobody_listens(dispatcher)


async def _cancelled(scope: anyio.CancelScope, stream: Any) -> None:
    scope.cancel()
    await stream.__anext__()
