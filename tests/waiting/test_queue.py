"""`queue`: back-pressure, order, errors by policy, and an end that loses and forgets nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import lowlevel, to_thread
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, QueueNotDrained
from antiphon.testing import Backend, BackendName
from antiphon.typing import Overflow
from tests.cancellation.tasks import forever, is_cancellation, leaves, settle
from tests.waiting.helpers import BOTH, Bare, Numbered, elsewhere, ending_of, noting_outcome, outcome, turns


class Choir:
    """A dispatcher with one listener that notes what it gets, and does what the event's number asks for."""

    def __init__(self, **options: Any) -> None:
        self.dispatcher = AsyncEventDispatcher(**options)
        self.started: list[Any] = []
        self.finished: list[Any] = []
        self.running = 0
        self.most = 0
        self.go = anyio.Event()
        self.dispatcher.add_listener("order.placed", self.sing)

    async def sing(self, event: Numbered) -> None:
        self.started.append(event.number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if event.number == "wait":
                await self.go.wait()
            elif event.number == "forever":
                await forever()
            elif event.number == "fail":
                raise ValueError("fail")
            elif event.number == "wait and fail":
                await self.go.wait()
                raise ValueError("wait and fail")
            else:
                await lowlevel.checkpoint()
            self.finished.append(event.number)
        finally:
            self.running -= 1


async def post(queue: Any, *numbers: Any) -> None:
    for number in numbers:
        await queue.post("order.placed", Numbered(number))


def adds_up(queue: Any) -> bool:
    """Whether all that was posted is accounted for, once."""
    found = queue.statistics()
    waiting = found.running + found.current_buffer_used
    return bool(found.posted == found.done + found.failed + found.dropped + found.unfinished + waiting)


def numbers_of(error: QueueNotDrained) -> list[Any]:
    return [event.number for _, event in error.unfinished]


# Posting, and what it leads to


async def test_what_is_posted_is_dispatched_later_in_order() -> None:
    choir = Choir()
    async with choir.dispatcher.queue() as queue:
        await post(queue, 0)
        queue.post_nowait("order.placed", Numbered(1))
        assert choir.finished == []
        await queue.join()
        assert choir.finished == [0, 1]
        await post(queue, 2)
    assert choir.finished == [0, 1, 2]
    assert queue.statistics()[:5] == (3, 3, 0, 0, 0)


async def test_all_the_ways_to_address_an_event() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[Any] = []

    class Named(Event):
        name = "class.name"

    @dispatcher.listen("*")
    async def hear(event: Any) -> None:
        heard.append((getattr(event, "name", None), type(event)))

    async with dispatcher.queue() as queue:
        await queue.post("order.placed")
        await queue.post("order.placed", Bare())
        await queue.post(Named())
        await queue.post(Numbered(1))
        await queue.post(("a", "tuple"), Event())
        await queue.post("order.placed", "a string")
    assert heard == [
        ("order.placed", Event),
        (None, Bare),
        ("class.name", Named),
        (None, Numbered),
        (("a", "tuple"), Event),
        (None, str),
    ]


@pytest.mark.parametrize("arguments", [(None,), (Event,), ([], Event())], ids=["none", "class", "unhashable"])
async def test_what_cannot_be_dispatched_is_the_posters_error_and_leaves_the_queue_alone(arguments: Any) -> None:
    choir = Choir()
    async with choir.dispatcher.queue() as queue:
        with pytest.raises(TypeError):
            await queue.post(*arguments)
        with pytest.raises(TypeError):
            queue.post_nowait(*arguments)
        await post(queue, 1)
        await queue.join()
        assert choir.finished == [1]
    assert queue.statistics().posted == 1


async def test_a_dispatch_runs_in_a_copy_of_its_posters_context() -> None:
    dispatcher = AsyncEventDispatcher()
    variable: ContextVar[str] = ContextVar("variable", default="none")
    heard: list[str] = []

    @dispatcher.listen("order.placed")
    async def hear(event: Event) -> None:
        heard.append(variable.get())
        variable.set("set by a listener")

    async def poster(value: str) -> None:
        variable.set(value)
        await queue.post("order.placed")
        variable.set("set after the post")

    async with dispatcher.queue(workers=2) as queue:
        async with anyio.create_task_group() as group:
            for value in "abc":
                group.start_soon(poster, value)
        await queue.post("order.placed")
        await queue.join()
        assert variable.get() == "none"
    assert sorted(heard) == ["a", "b", "c", "none"]


async def test_a_dispatch_runs_under_the_strategy_of_its_dispatcher() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Concurrent())
    both = anyio.Event()
    here: list[int] = []
    met: list[int] = []

    async def meet(event: Event) -> None:
        here.append(1)
        if len(here) == 2:
            both.set()
        await both.wait()
        met.append(1)

    dispatcher.add_listener("order.placed", meet)
    dispatcher.add_listener("order.placed", meet)
    with anyio.fail_after(5):
        async with dispatcher.queue() as queue:
            await queue.post("order.placed")
    assert met == [1, 1]


async def test_a_subclass_that_overrides_adispatch_dispatches_what_was_posted() -> None:
    log: list[Any] = []

    class Logging(AsyncEventDispatcher):
        async def adispatch(self, event_id: Any, event: Any = None, /) -> Any:  # type: ignore[override]
            log.append(event_id)
            return await super().adispatch(event_id, event)

    async with Logging().queue() as queue:
        await queue.post("order.placed")
        await queue.post("order.placed", Event())
    assert log == ["order.placed", "order.placed"]


async def test_a_queue_of_a_scope_dispatches_on_the_scope() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[Any] = []

    async def hear(event: Event) -> None:
        heard.append(event.dispatcher)

    dispatcher.add_listener("order.placed", hear)
    with dispatcher.scope() as scoped:
        scoped.add_listener("order.placed", hear)
        async with scoped.queue() as queue:
            await queue.post("order.placed")
    assert heard == [scoped, scoped]


# Back-pressure and overflow


async def test_a_post_waits_while_the_queue_is_full_and_posters_get_their_turn_in_order() -> None:
    choir = Choir()
    log: list[Any] = []
    async with choir.dispatcher.queue(max_buffer_size=2) as queue, anyio.create_task_group() as group:
        await post(queue, "wait")
        await settle()
        await post(queue, 1, 2)
        for number in (3, 4):
            group.start_soon(post, queue, number)
            await settle()
        assert queue.statistics() == (3, 0, 0, 0, 0, 1, 2, 2, 2)
        with pytest.raises(anyio.WouldBlock):
            queue.post_nowait("order.placed", Numbered(5))
        log.append(list(choir.started))
        choir.go.set()
        await queue.join()
        log.append(choir.finished)
    assert log == [["wait"], ["wait", 1, 2, 3, 4]]
    assert adds_up(queue)


async def test_memory_stays_bounded_however_many_posters_there_are() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=3, workers=2) as queue, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(post, queue, *[number] * 5)
        while queue.statistics().done < 100:
            assert queue.statistics().current_buffer_used <= 3
            assert queue.statistics().running <= 2
            await lowlevel.checkpoint()
    assert len(choir.finished) == 100


async def test_a_cancelled_post_posts_nothing() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=1) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(post, queue, "cancelled")
            await settle()
            assert queue.statistics().posts_waiting == 1
            group.cancel_scope.cancel()
        assert queue.statistics().posts_waiting == 0
        choir.go.set()
    assert choir.finished == ["wait", 1]
    assert adds_up(queue)


async def test_post_and_join_always_pass_a_checkpoint() -> None:
    choir = Choir()
    async with choir.dispatcher.queue() as queue:
        calls: list[Any] = [lambda: post(queue, 1), queue.join]
        for call in calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
    assert queue.statistics().posted == 0


async def test_under_raise_a_post_to_a_full_queue_would_block() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=1, overflow="raise") as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 1)
        with pytest.raises(anyio.WouldBlock):
            await post(queue, 2)
        with pytest.raises(anyio.WouldBlock):
            queue.post_nowait("order.placed", Numbered(2))
        choir.go.set()
    assert choir.finished == ["wait", 1]
    assert queue.statistics()[:5] == (2, 2, 0, 0, 0)


@pytest.mark.parametrize(
    "ordered_by", [None, lambda event: event.number, lambda event: 1], ids=["plain", "lanes", "lane"]
)
@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [4, 5]), ("drop_newest", [1, 2])])
async def test_a_dropping_policy_never_waits_and_counts_what_it_drops(
    overflow: Overflow, kept: list[int], ordered_by: Any
) -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=2, overflow=overflow, ordered_by=ordered_by) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 1, 2, 3)
        queue.post_nowait("order.placed", Numbered(4))
        queue.post_nowait("order.placed", Numbered(5))
        assert queue.statistics().dropped == 3
        assert adds_up(queue)
        choir.go.set()
    assert choir.finished == ["wait", *kept]
    assert queue.statistics()[:5] == (6, 3, 0, 3, 0)


class Key:
    """A key of an event that one can see the end of."""


async def test_the_keys_of_dropped_events_are_forgotten_while_the_worker_is_busy() -> None:
    choir = Choir()
    keys: weakref.WeakSet[Key] = weakref.WeakSet()

    def key_of(event: Numbered) -> Key:
        key = Key()
        keys.add(key)
        return key

    async with choir.dispatcher.queue(max_buffer_size=2, overflow="drop_oldest", ordered_by=key_of) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, *range(200))
        gc.collect()
        assert len(keys) <= 4
        choir.go.set()
    assert choir.finished == ["wait", 198, 199]
    gc.collect()
    assert not keys


# Workers and order


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_so_many_workers_dispatch_at_a_time_and_no_more(workers: int) -> None:
    choir = Choir()
    async with choir.dispatcher.queue(workers=workers) as queue:
        await post(queue, *["wait"] * 7)
        await settle()
        assert queue.statistics().running == choir.running == workers
        choir.go.set()
    assert choir.most == workers
    assert len(choir.finished) == 7


async def test_events_of_one_key_wait_for_each_other_and_leave_the_other_workers_to_other_keys() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(workers=3, ordered_by=lambda event: str(event.number)[0]) as queue:
        await post(queue, "wait", "walk", "wade", "a1", "b1", "a2")
        await settle()
        # Those of different keys finish in any order.
        assert [number for number in choir.finished if number != "b1"] == ["a1", "a2"]
        assert "b1" in choir.finished
        assert choir.started.count("walk") == 0
        choir.go.set()
    assert choir.finished[3:] == ["wait", "walk", "wade"]


async def test_one_worker_with_keys_takes_the_events_in_the_order_of_their_posts() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(ordered_by=lambda event: str(event.number)[0]) as queue:
        await post(queue, "a1", "a2", "b1", "a3", "c1", "b2")
    assert choir.finished == ["a1", "a2", "b1", "a3", "c1", "b2"]


@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    workers=st.integers(1, 4),
    size=st.integers(1, 5),
    posters=st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=6), max_size=3),
)
def test_the_events_of_one_key_keep_their_order_under_every_schedule(
    backend: BackendName, seed: int | None, workers: int, size: int, posters: list[list[tuple[str, int]]]
) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()
        posted: list[Any] = []
        log: list[Any] = []
        running: list[str] = []

        @dispatcher.listen("order.placed")
        async def sing(event: Numbered) -> None:
            key, length, _ = event.number
            assert key not in running
            assert len(running) < workers
            running.append(key)
            log.append(event.number)
            await turns(length)
            running.remove(key)

        def key_of(event: Numbered) -> Any:
            # It is called when the event is posted, and a waiting poster keeps its turn.
            return event.number[0]

        async def poster(events: list[tuple[str, int]], me: int) -> None:
            for count, (key, length) in enumerate(events):
                event = Numbered((key, length, (me, count)))
                await queue.post("order.placed", event)
                posted.append(event.number)

        with anyio.fail_after(60):
            async with dispatcher.queue(workers=workers, max_buffer_size=size, ordered_by=key_of) as queue:
                async with anyio.create_task_group() as group:
                    for me, events in enumerate(posters):
                        group.start_soon(poster, events, me)
                await queue.join()
                assert not running
        assert sorted(log) == sorted(posted)
        for key in "abc":
            for me in range(len(posters)):
                mine = [number for number in log if number[0] == key and number[2][0] == me]
                assert mine == sorted(mine, key=lambda number: number[2][1])

    Backend(backend, seed).run(main)


# Nested use


async def test_a_listener_can_post_to_the_queue_that_dispatched_its_event() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[int] = []

    @dispatcher.listen("order.placed")
    async def sing(event: Numbered) -> None:
        heard.append(event.number)
        if event.number < 5:
            await queue.post("order.placed", Numbered(event.number + 1))
            queue.post_nowait("other")

    async with dispatcher.queue() as queue:
        await queue.post("order.placed", Numbered(0))
    assert heard == [0, 1, 2, 3, 4, 5]
    assert queue.statistics().done == 11


async def test_a_listener_can_post_the_very_event_that_it_was_given() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[Any] = []

    @dispatcher.listen("*")
    async def sing(event: Event) -> None:
        heard.append(event.name)
        if event.name == "order.placed":
            await queue.post("echo", event)

    async with dispatcher.queue() as queue:
        await queue.post("order.placed")
    assert heard == ["order.placed", "echo"]


async def test_a_limited_listener_that_posts_does_not_wait_for_itself() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[int] = []

    async def sing(event: Numbered) -> None:
        heard.append(event.number)
        if event.number == 0:
            await queue.post("order.placed", Numbered(1))
            await settle()

    dispatcher.add_listener("order.placed", sing, limit=1)
    with anyio.fail_after(5):
        async with dispatcher.queue(workers=2) as queue:
            await queue.post("order.placed", Numbered(0))
    assert heard == [0, 1]


async def test_a_listener_can_have_a_queue_of_its_own() -> None:
    choir = Choir()

    @choir.dispatcher.listen("outer")
    async def inner(event: Event) -> None:
        async with choir.dispatcher.queue() as queue:
            await post(queue, 1)

    async with choir.dispatcher.queue() as queue:
        await queue.post("outer")
    assert choir.finished == [1]


# join


async def test_join_of_an_idle_queue_ends_at_once_and_several_can_join() -> None:
    choir = Choir()
    log: list[Any] = []
    async with choir.dispatcher.queue() as queue:
        await queue.join()
        await post(queue, "wait")
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(noting_outcome, queue.join, log)
            await settle()
            assert log == []
            choir.go.set()
    assert log == [None, None, None]
    await queue.join()


async def test_a_cancelled_join_leaves_the_queue_alone() -> None:
    choir = Choir()
    async with choir.dispatcher.queue() as queue:
        await post(queue, "wait")
        async with anyio.create_task_group() as group:
            group.start_soon(queue.join)
            await settle()
            group.cancel_scope.cancel()
        choir.go.set()
        await queue.join()
        assert choir.finished == ["wait"]


async def test_join_waits_also_for_what_is_posted_meanwhile_and_by_posters_that_wait() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=1) as queue, anyio.create_task_group() as group:
        await post(queue, "wait")
        await settle()
        for number in range(3):
            group.start_soon(post, queue, number)
        await settle()
        choir.go.set()
        await queue.join()
        assert sorted(choir.finished[1:]) == [0, 1, 2]


@pytest.mark.parametrize("ending", ["cancelled", "not drained", "body error"])
async def test_join_never_hangs_on_a_queue_that_ended_and_left_something_undone(ending: str) -> None:
    choir = Choir()
    log: list[Any] = []
    queue = choir.dispatcher.queue(drain_timeout=0)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:

            async def body(queue: Any) -> None:
                await post(queue, "forever", 1)
                group.start_soon(noting_outcome, queue.join, log)
                await settle()
                if ending == "cancelled":
                    scope.cancel()
                    await lowlevel.checkpoint()
                elif ending == "body error":
                    raise ValueError("body")

            await ending_of(queue, body)
        with anyio.move_on_after(1) as waited:
            while not log:
                await lowlevel.checkpoint()
            log.append(await outcome(queue.join()))
        group.cancel_scope.cancel()
    assert not waited.cancelled_caught
    assert [type(found) for found in log] == [anyio.ClosedResourceError] * 2


# Errors by policy


async def test_under_raise_a_failing_dispatch_cancels_the_body_and_leaves_in_a_group() -> None:
    choir = Choir()
    log: list[str] = []

    async def body(queue: Any) -> None:
        await post(queue, "fail")
        try:
            await forever()
        except BaseException as exc:
            log.append("cancelled" if is_cancellation(exc) else repr(exc))
            raise

    left = await ending_of(choir.dispatcher.queue(), body)
    assert log == ["cancelled"]
    assert type(left) is ExceptionGroup
    assert [str(leaf) for leaf in leaves(left)] == ["fail"]
    assert "order.placed" in str(left.exceptions[0].__notes__)
    # The cancellation of the body went no further.
    await lowlevel.checkpoint()


async def test_under_raise_post_and_join_raise_broken_resource_from_then_on() -> None:
    choir = Choir()
    log: list[Any] = []
    left: Any = None
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await post(queue, "wait and fail")
            await settle()
            await post(queue, 1)
            # One that waits for room, and one that waits for all.
            group.start_soon(noting_outcome, lambda: post(queue, 2), log)
            group.start_soon(noting_outcome, queue.join, log)
            await settle()
            choir.go.set()
            with anyio.CancelScope(shield=True):
                await settle()
                refused: list[Any] = [lambda: post(queue, 3), queue.join]
                for call in refused:
                    log.append(await outcome(call()))
                with pytest.raises(anyio.BrokenResourceError):
                    queue.post_nowait("order.placed")
            await forever()

        queue = choir.dispatcher.queue(max_buffer_size=1)
        with anyio.fail_after(5):
            left = await ending_of(queue, body)
    assert [str(leaf) for leaf in leaves(left)] == ["wait and fail"]
    ended: list[Any] = [lambda: post(queue, 4), queue.join]
    for call in ended:
        log.append(await outcome(call()))
    assert [type(found) for found in log] == [anyio.BrokenResourceError] * 6
    found = queue.statistics()
    assert (found.posted, found.done, found.failed, found.unfinished, found.dropped) == (2, 0, 1, 1, 0)
    assert adds_up(queue)


async def test_under_raise_an_error_while_draining_leaves_in_a_group() -> None:
    choir = Choir()
    queue = choir.dispatcher.queue()

    async def body(queue: Any) -> None:
        for number in (1, "fail", 2, 3):
            queue.post_nowait("order.placed", Numbered(number))

    left = await ending_of(queue, body)
    assert type(left) is ExceptionGroup
    assert [str(leaf) for leaf in leaves(left)] == ["fail"]
    assert choir.finished == [1]
    assert queue.statistics()[:5] == (4, 1, 1, 0, 2)


async def test_under_raise_the_other_workers_are_cancelled_and_their_events_undone() -> None:
    choir = Choir()
    queue = choir.dispatcher.queue(workers=3)
    left = await ending_of(queue, lambda queue: post(queue, "forever", "forever", "fail"))
    assert [str(leaf) for leaf in leaves(left)] == ["fail"]
    assert choir.running == 0
    assert queue.statistics().unfinished == 2
    assert adds_up(queue)


async def test_several_failures_at_once_all_leave() -> None:
    choir = Choir()
    queue = choir.dispatcher.queue(workers=2)

    async def body(queue: Any) -> None:
        await post(queue, "wait and fail", "wait and fail")
        await settle()
        choir.go.set()

    left = await ending_of(queue, body)
    assert type(left) is ExceptionGroup
    assert 1 <= len(leaves(left)) == queue.statistics().failed <= 2
    assert adds_up(queue)


@pytest.mark.parametrize("policy", ["raise", "collect", lambda *_: None], ids=["raise", "collect", "callable"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("drain_timeout", [None, 0])
async def test_an_error_of_the_body_alone_leaves_unwrapped(
    policy: Any, busy: bool, drain_timeout: float | None
) -> None:
    choir = Choir()
    error = ValueError("body")

    async def body(queue: Any) -> None:
        if busy:
            await post(queue, "forever", 1, 2)
            await settle()
        raise error

    queue = choir.dispatcher.queue(errors=policy, drain_timeout=drain_timeout)
    assert await ending_of(queue, body) is error
    assert queue.statistics().unfinished == (3 if busy else 0)
    assert adds_up(queue)


async def test_an_error_of_the_body_leaves_together_with_those_of_the_dispatches() -> None:
    for others in ([], ["forever"]):
        choir = Choir()

        async def body(queue: Any) -> None:
            await post(queue, *others, "wait and fail")
            await settle()
            choir.go.set()
            try:
                await forever()
            finally:
                raise KeyError("body")

        left = await ending_of(choir.dispatcher.queue(workers=2), body)
        assert type(left) is ExceptionGroup
        assert [str(leaf) for leaf in leaves(left)] == ["wait and fail", "'body'"]


async def test_under_collect_all_are_dispatched_and_the_errors_leave_together_at_the_end() -> None:
    choir = Choir()
    log: list[str] = []

    async def body(queue: Any) -> None:
        await post(queue, 1, "fail", 2, "fail", 3)
        await queue.join()
        log.append("joined")

    queue = choir.dispatcher.queue(errors="collect")
    left = await ending_of(queue, body)
    assert log == ["joined"]
    assert type(left) is ExceptionGroup
    assert [str(leaf) for leaf in leaves(left)] == ["fail", "fail"]
    assert choir.finished == [1, 2, 3]
    assert queue.statistics()[:5] == (5, 3, 2, 0, 0)


async def test_under_collect_what_is_undone_leaves_beside_the_errors() -> None:
    choir = Choir()
    queue = choir.dispatcher.queue(errors="collect", drain_timeout=0)

    async def body(queue: Any) -> None:
        await post(queue, "fail", "forever", 1)
        await settle()

    left = await ending_of(queue, body)
    assert type(left) is ExceptionGroup
    error, unfinished = left.exceptions
    assert str(error) == "fail"
    assert isinstance(unfinished, QueueNotDrained)
    assert numbers_of(unfinished) == ["forever", 1]


async def test_a_function_gets_the_exception_the_event_and_its_name_and_the_queue_goes_on() -> None:
    choir = Choir()
    log: list[Any] = []

    def note(exc: Exception, event: Numbered, name: Any) -> None:
        log.append((str(exc), event.number, name))

    async with choir.dispatcher.queue(errors=note) as queue:
        await post(queue, "fail", 1, "fail", 2)
    assert log == [("fail", "fail", "order.placed")] * 2
    assert choir.finished == [1, 2]
    assert queue.statistics()[:5] == (4, 2, 2, 0, 0)


async def test_what_the_function_raises_leaves_as_under_raise() -> None:
    choir = Choir()

    def convert(exc: Exception, event: Numbered, name: Any) -> None:
        raise KeyError("converted") from exc

    async def body(queue: Any) -> None:
        await post(queue, "fail", 1)
        await forever()

    queue = choir.dispatcher.queue(errors=convert)
    left = await ending_of(queue, body)
    assert type(left) is ExceptionGroup
    assert [type(leaf) for leaf in leaves(left)] == [KeyError]
    assert adds_up(queue)


async def test_an_error_of_ordered_by_is_the_posters() -> None:
    choir = Choir()
    async with choir.dispatcher.queue(ordered_by=lambda event: event.missing) as queue:
        with pytest.raises(AttributeError):
            await post(queue, 1)
    unhashable: Any = lambda event: []
    async with choir.dispatcher.queue(ordered_by=unhashable) as queue:
        with pytest.raises(TypeError):
            await post(queue, 1)
    assert choir.started == []


async def test_what_makes_no_sense_is_refused() -> None:
    dispatcher = AsyncEventDispatcher()
    refused: list[tuple[type[Exception], dict[str, Any]]] = [
        (ValueError, {"max_buffer_size": 0}),
        (TypeError, {"max_buffer_size": None}),
        (ValueError, {"workers": 0}),
        (TypeError, {"workers": "many"}),
        (ValueError, {"overflow": "panic"}),
        (ValueError, {"errors": "ignore"}),
        (TypeError, {"errors": forever}),
        (TypeError, {"ordered_by": "id"}),
        (TypeError, {"ordered_by": forever}),
        (ValueError, {"drain_timeout": -1}),
        (TypeError, {"drain_timeout": "long"}),
    ]
    for error, options in refused:
        with pytest.raises(error):
            dispatcher.queue(**options)


async def test_it_serves_once_and_says_so_before_and_after() -> None:
    queue = AsyncEventDispatcher().queue()
    calls: list[Any] = [queue.statistics, lambda: queue.post_nowait("order.placed")]
    for call in calls:
        with pytest.raises(RuntimeError, match="async with"):
            call()
    waits: list[Any] = [lambda: queue.post("order.placed"), queue.join]
    for wait in waits:
        with pytest.raises(RuntimeError, match="async with"):
            await wait()
    async with queue:
        pass
    with pytest.raises(RuntimeError, match="queue"):
        await queue.__aenter__()
    closes: list[Any] = [
        lambda: queue.post("order.placed"),
        lambda: to_thread.run_sync(queue.post_nowait, "order.placed"),
    ]
    for closed in closes:
        with pytest.raises(anyio.ClosedResourceError):
            await closed()


# The end


async def test_the_normal_end_drains_also_what_is_posted_while_draining() -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[int] = []

    @dispatcher.listen("order.placed")
    async def sing(event: Numbered) -> None:
        await turns(2)
        heard.append(event.number)
        if event.number:
            await queue.post("order.placed", Numbered(event.number - 1))

    async with dispatcher.queue(workers=2) as queue:
        await queue.post("order.placed", Numbered(10))
    assert heard == list(range(10, -1, -1))


async def test_the_normal_end_waits_for_posters_that_wait_for_room() -> None:
    choir = Choir()
    async with anyio.create_task_group() as group:
        async with choir.dispatcher.queue(max_buffer_size=1) as queue:
            for number in range(5):
                group.start_soon(post, queue, number)
            await settle()
    assert sorted(choir.finished) == list(range(5))


async def test_a_listener_that_finishes_though_the_queue_is_cut_off_has_done_its_event() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def tidy(event: Event) -> None:
        with anyio.CancelScope(shield=True):
            await settle()

    async with dispatcher.queue(drain_timeout=0) as queue:
        await queue.post("order.placed")
        await settle()
    assert queue.statistics()[:5] == (1, 1, 0, 0, 0)


async def test_what_is_undone_after_the_drain_timeout_leaves_by_name(caplog: pytest.LogCaptureFixture) -> None:
    choir = Choir()
    queue = choir.dispatcher.queue(drain_timeout=0, workers=2)

    async def body(queue: Any) -> None:
        await post(queue, 1, "forever", "forever", 2, 3)
        await settle()

    left = await ending_of(queue, body)
    assert isinstance(left, QueueNotDrained)
    assert [name for name, _ in left.unfinished] == ["order.placed"] * 4
    assert numbers_of(left) == ["forever", "forever", 2, 3]
    assert choir.finished == [1]
    assert queue.statistics()[:8] == (5, 1, 0, 0, 4, 0, 0, 64)
    assert "order.placed" in str(left) or "4" in str(left)


async def test_posters_that_wait_when_the_queue_is_cut_off_are_told_and_the_sums_are_right() -> None:
    choir = Choir()
    log: list[Any] = []
    queue = choir.dispatcher.queue(drain_timeout=0, max_buffer_size=1)
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await post(queue, "forever")
            await settle()
            for number in range(3):
                group.start_soon(noting_outcome, lambda: post(queue, number), log)
                await settle()

        left = await ending_of(queue, body)
    assert isinstance(left, QueueNotDrained)
    assert log[0] is None
    assert [type(found) for found in log[1:]] == [anyio.ClosedResourceError] * 2
    assert queue.statistics().posted == 2
    assert len(left.unfinished) == queue.statistics().unfinished
    assert adds_up(queue)


@BOTH
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_drain_timeout_is_a_bound_on_the_whole_drain(backend: BackendName, seed: int | None) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def sing(event: Numbered) -> None:
            await anyio.sleep(2)

        queue = dispatcher.queue(drain_timeout=5)
        left = await ending_of(queue, lambda queue: post(queue, *range(4)))
        assert isinstance(left, QueueNotDrained)
        assert numbers_of(left) == [2, 3]
        assert 4.9 < anyio.current_time() < 5.6
        assert queue.statistics()[:5] == (4, 2, 0, 0, 2)

        async with dispatcher.queue(drain_timeout=5) as queue:
            await post(queue, 1, 2)
        assert queue.statistics().done == 2

    Backend(backend, seed).run(main)


@BOTH
@pytest.mark.parametrize("ending", ["error", "cancelled"])
@pytest.mark.parametrize(("grace", "done", "after"), [(3, [1], 3.5), (5, [1, 2], 4), (None, [], 0.5)])
def test_on_an_error_or_a_cancellation_the_drain_timeout_is_a_shielded_grace(
    backend: BackendName,
    ending: str,
    grace: float | None,
    done: list[int],
    after: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finished: list[Any] = []

    async def main() -> float:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def sing(event: Numbered) -> None:
            await anyio.sleep(2)
            finished.append(event.number)

        queue = dispatcher.queue(drain_timeout=grace)
        with anyio.CancelScope() as scope:

            async def body(queue: Any) -> None:
                await post(queue, 1, 2)
                await anyio.sleep(0.5)
                if ending == "error":
                    raise ValueError("body")
                scope.cancel()
                await lowlevel.checkpoint()

            left = await ending_of(queue, body)
            assert isinstance(left, ValueError) if ending == "error" else is_cancellation(left)
            assert adds_up(queue)
            assert queue.statistics().unfinished == 2 - len(finished)
        return anyio.current_time()

    with caplog.at_level(logging.WARNING, "antiphon"):
        ended = Backend(backend).run(main)
    assert finished == done
    assert ended == pytest.approx(after, abs=0.2)
    unfinished = 2 - len(finished)
    assert len(caplog.records) == bool(unfinished)
    assert all(str(unfinished) in record.getMessage() for record in caplog.records)


@BOTH
def test_a_cancellation_while_draining_leaves_as_itself_after_the_grace(backend: BackendName) -> None:
    async def main() -> None:
        for grace, done in ((None, 0), (10, 1)):
            dispatcher = AsyncEventDispatcher()

            @dispatcher.listen("order.placed")
            async def sing(event: Event) -> None:
                await anyio.sleep(3)

            queue = dispatcher.queue(drain_timeout=grace)
            with anyio.move_on_after(1) as scope:
                left = await ending_of(queue, lambda queue: post(queue, 1))
                assert is_cancellation(left)
                await lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert queue.statistics()[:5] == (1, done, 0, 0, 1 - done)

    Backend(backend).run(main)


@BOTH
def test_a_failure_during_the_grace_ends_it_and_leaves_with_what_ended_the_body(backend: BackendName) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def sing(event: Numbered) -> None:
            await anyio.sleep(1)
            raise KeyError("dispatch")

        async def body(queue: Any) -> None:
            await post(queue, 1, 2)
            raise ValueError("body")

        queue = dispatcher.queue(drain_timeout=60)
        left = await ending_of(queue, body)
        assert type(left) is ExceptionGroup
        assert [type(leaf) for leaf in leaves(left)] == [KeyError, ValueError]
        assert anyio.current_time() < 2
        assert adds_up(queue)

        with anyio.CancelScope() as scope:

            async def cancelled_body(queue: Any) -> None:
                await post(queue, 1)
                scope.cancel()
                await lowlevel.checkpoint()

            left = await ending_of(dispatcher.queue(drain_timeout=60), cancelled_body)
            # Never an error alone: it would make a lost cancellation of it.
            assert type(left) is BaseExceptionGroup
            assert [is_cancellation(leaf) for leaf in leaves(left)] == [False, True]

    Backend(backend).run(main)


@pytest.mark.parametrize(
    ("where", "busy", "drain_timeout"),
    [
        *(("body", busy, drain_timeout) for busy in (False, True) for drain_timeout in (None, 0, 5)),
        # Elsewhere there is nothing to wait for.
        *(("drain", True, drain_timeout) for drain_timeout in (None, 5)),
    ],
)
async def test_a_native_cancellation_leaves_as_itself(
    drain_timeout: float | None, busy: bool, where: str, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    choir = Choir()
    lefts: list[Any] = []

    async def body(queue: Any) -> None:
        await post(queue, "wait" if busy else 1)
        if where == "body":
            await forever()

    async def program() -> None:
        lefts.append(await ending_of(choir.dispatcher.queue(drain_timeout=drain_timeout), body))
        raise lefts[0] or AssertionError("ended")

    task = asyncio.create_task(program())
    await settle()
    task.cancel()
    await settle()
    choir.go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert choir.running == 0


async def test_errors_in_hand_of_a_dispatch_that_is_cut_off_are_not_lost() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(errors="collect"))

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise ValueError("in hand")

    dispatcher.add_listener("order.placed", forever)

    async def body(queue: Any) -> None:
        await queue.post("order.placed")
        await settle()

    queue = dispatcher.queue(drain_timeout=0)
    left = await ending_of(queue, body)
    assert isinstance(left, ExceptionGroup)
    assert "in hand" in [str(leaf) for leaf in leaves(left)]
    assert adds_up(queue)


async def test_errors_in_hand_of_a_dispatch_do_not_cover_a_native_cancellation(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(errors="collect"))

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise ValueError("in hand")

    dispatcher.add_listener("order.placed", forever)
    lefts: list[Any] = []

    async def body(queue: Any) -> None:
        await queue.post("order.placed")
        await forever()

    async def program() -> None:
        lefts.append(await ending_of(dispatcher.queue(), body))

    task = asyncio.create_task(program())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    found = leaves(lefts[0])
    assert any(is_cancellation(leaf) for leaf in found)
    assert "in hand" in [str(leaf) for leaf in found]
    assert not isinstance(lefts[0], Exception)


async def test_a_leaked_cancellation_of_a_listener_is_an_error_of_its_dispatch(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio gives cancellations to nobody who did not ask")
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def leak(event: Event) -> None:
        raise asyncio.CancelledError

    queue = dispatcher.queue(errors="collect")
    left = await ending_of(queue, lambda queue: queue.post("order.placed"))
    assert [type(leaf).__name__ for leaf in leaves(left)] == ["ListenerCancelled"]
    assert queue.statistics()[:5] == (1, 0, 1, 0, 0)


@BOTH
@pytest.mark.parametrize("policy", ["raise", "collect", lambda *_: None], ids=["raise", "collect", "callable"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_passes_whatever_the_policy(
    backend: BackendName, policy: Any, interrupt: type[BaseException]
) -> None:
    seen: list[Any] = []

    async def main() -> None:
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def sing(event: Event) -> None:
            raise interrupt

        async with dispatcher.queue(errors=policy) as queue:
            seen.append(queue)
            await queue.post("order.placed")
            await forever()

    with pytest.raises(BaseException) as caught:
        Backend(backend).run(main)
    assert interrupt in [type(leaf) for leaf in leaves(caught.value)]
    assert seen[0].statistics().failed == 0


# Other loops and threads


async def test_any_thread_can_post_without_waiting() -> None:
    choir = Choir()

    def poster(start: int) -> None:
        for number in range(start, start + 50):
            while True:
                try:
                    queue.post_nowait("order.placed", Numbered(number))
                    break
                except anyio.WouldBlock:
                    pass

    with anyio.fail_after(30):
        async with choir.dispatcher.queue(max_buffer_size=10, workers=3) as queue, anyio.create_task_group() as group:
            for start in (0, 100, 200):
                group.start_soon(to_thread.run_sync, poster, start)
    assert sorted(choir.finished) == [*range(50), *range(100, 150), *range(200, 250)]
    assert adds_up(queue)


async def test_a_post_elsewhere_is_handed_over_and_one_that_would_wait_is_an_error_that_names_the_owner(
    anyio_backend_name: str,
) -> None:
    choir = Choir()
    async with choir.dispatcher.queue(max_buffer_size=1) as queue:
        await post(queue, "wait")
        await settle()
        with anyio.fail_after(10):
            left = await elsewhere(lambda: outcome(post(queue, 1, 2)), anyio_backend_name)
        assert isinstance(left, RuntimeError)
        assert "MainThread" in str(left)
        assert queue.statistics().posts_waiting == 0
        choir.go.set()
    assert choir.finished == ["wait", 1]
    assert adds_up(queue)


async def test_a_join_elsewhere_that_would_have_to_wait_is_an_error_that_names_the_owner(
    anyio_backend_name: str,
) -> None:
    choir = Choir()
    async with choir.dispatcher.queue() as queue:
        await post(queue, "wait")
        await settle()

        async def join() -> Any:
            with anyio.fail_after(1):
                return await outcome(queue.join())

        left = await elsewhere(lambda: outcome(join()), anyio_backend_name)
        choir.go.set()
        await queue.join()
    assert isinstance(left, RuntimeError)
    assert "MainThread" in str(left)


async def test_a_post_of_a_thread_that_comes_too_late_is_refused_and_not_dropped() -> None:
    choir = Choir()
    posting, ended = threading.Event(), threading.Event()
    log: list[Any] = []

    def slow_key(event: Numbered) -> int:
        posting.set()
        assert ended.wait(10)
        return 1

    def late() -> None:
        try:
            queue.post_nowait("order.placed", Numbered(1))
            log.append("posted")
        except Exception as exc:
            log.append(exc)

    queue = choir.dispatcher.queue(ordered_by=slow_key)
    async with anyio.create_task_group() as group:
        async with queue:
            group.start_soon(to_thread.run_sync, late)
            with anyio.fail_after(10):
                while not posting.is_set():
                    await lowlevel.checkpoint()
        ended.set()
    assert [type(found) for found in log] == [anyio.ClosedResourceError]
    assert queue.statistics()[:5] == (0, 0, 0, 0, 0)


async def test_an_event_that_a_thread_posts_while_the_queue_ends_is_refused_or_dispatched() -> None:
    for _ in range(20):
        choir = Choir()
        accepted = 0

        def poster() -> None:
            nonlocal accepted
            try:
                while True:
                    try:
                        queue.post_nowait("order.placed", Numbered(accepted))
                        accepted += 1
                    except anyio.WouldBlock:
                        pass
                    while queue.statistics().done < accepted and accepted < 500:
                        pass
                    if accepted >= 500:
                        return
            except anyio.ClosedResourceError:
                pass

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                async with choir.dispatcher.queue() as queue:
                    group.start_soon(to_thread.run_sync, poster)
                    await turns(30)
        assert len(choir.finished) == accepted == queue.statistics().posted
        assert adds_up(queue)


# All together


class Programme:
    """A random programme of posters, failing dispatches and endings, and what it must leave behind."""

    def __init__(self, options: dict[str, Any], posters: list[list[tuple[int, bool]]], ending: str, after: int) -> None:
        self.options = options
        self.posters = posters
        self.ending = ending
        self.after = after
        self.done = self.failed = self.started = self.accepted = 0
        self.left: BaseException | None = None

    async def main(self) -> None:
        dispatcher = AsyncEventDispatcher()
        dispatcher.add_listener("order.placed", self.sing)
        options = dict(self.options)
        if options.pop("keys"):
            options["ordered_by"] = lambda event: event.number[0]
        self.queue = dispatcher.queue(**options)
        joined: list[Any] = []
        with anyio.fail_after(600):
            async with anyio.create_task_group() as group:
                with anyio.CancelScope() as scope:
                    self.left = await ending_of(self.queue, lambda _: self.body(group, scope, joined))
                await self.queue_is_quiet()
                self.check()
        assert len(joined) == 1
        assert len(self.outcomes) == len(self.posters)

    async def body(self, group: Any, scope: anyio.CancelScope, joined: list[Any]) -> None:
        self.outcomes: list[Any] = []
        for number, events in enumerate(self.posters):
            group.start_soon(
                noting_outcome, lambda events=events, number=number: self.post(number, events), self.outcomes
            )
        group.start_soon(noting_outcome, self.queue.join, joined)
        await turns(self.after)
        if self.ending == "error":
            raise KeyError("body")
        if self.ending == "cancelled":
            scope.cancel()
            # A shuffled schedule may deliver it after the next turn.
            await forever()

    async def post(self, me: int, events: list[tuple[int, bool]]) -> None:
        for length, fails in events:
            try:
                await self.queue.post("order.placed", Numbered((me, length, fails)))
            except anyio.WouldBlock:
                continue
            self.accepted += 1

    async def sing(self, event: Numbered) -> None:
        _, length, fails = event.number
        self.started += 1
        for _ in range(length):
            await anyio.sleep(0.3)
        if fails:
            self.failed += 1
            raise ValueError("dispatch")
        self.done += 1

    async def queue_is_quiet(self) -> None:
        # Posters that were woken by the end have yet to be told.
        await settle()

    def check(self) -> None:
        found = self.queue.statistics()
        assert (found.running, found.current_buffer_used, found.posts_waiting) == (0, 0, 0)
        assert (found.done, found.failed) == (self.done, self.failed)
        assert found.posted == found.done + found.failed + found.dropped + found.unfinished
        assert found.posted == self.accepted
        if self.options["overflow"] in ("raise", "suspend"):
            assert found.dropped == 0
        self.check_what_left(found)

    def check_what_left(self, found: Any) -> None:
        errors = [leaf for leaf in leaves(self.left) if isinstance(leaf, ValueError)]
        unfinished = [leaf for leaf in leaves(self.left) if isinstance(leaf, QueueNotDrained)]
        policy = self.options["errors"]
        assert len(errors) == (found.failed if isinstance(policy, str) else 0)
        if self.ending == "error":
            assert any(isinstance(leaf, KeyError) for leaf in leaves(self.left)) or (policy == "raise" and errors)
        elif self.ending == "cancelled":
            assert any(map(is_cancellation, leaves(self.left))) or (policy == "raise" and errors)
        elif policy != "raise" or not errors:
            assert sum(len(error.unfinished) for error in unfinished) == found.unfinished
        if errors:
            assert isinstance(self.left, BaseExceptionGroup)
        if any(map(is_cancellation, leaves(self.left))):
            assert not isinstance(self.left, Exception)


@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    options=st.fixed_dictionaries(
        {
            "max_buffer_size": st.integers(1, 4),
            "workers": st.integers(1, 3),
            "overflow": st.sampled_from(("raise", "suspend", "drop_oldest", "drop_newest")),
            "errors": st.sampled_from(["raise", "collect", lambda *_: None]),
            "drain_timeout": st.sampled_from((None, 0, 0.5, 100)),
            "keys": st.booleans(),
        }
    ),
    posters=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from((False, False, False, True))), max_size=5), max_size=4
    ),
    ending=st.sampled_from(("normal", "error", "cancelled")),
    after=st.integers(0, 15),
)
def test_all_that_was_posted_is_done_failed_undone_or_dropped_under_every_schedule(
    backend: BackendName,
    seed: int | None,
    options: dict[str, Any],
    posters: list[list[tuple[int, bool]]],
    ending: str,
    after: int,
) -> None:
    logger = logging.getLogger("antiphon")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        Backend(backend, seed).run(Programme(options, posters, ending, after).main)
    finally:
        logger.setLevel(level)
