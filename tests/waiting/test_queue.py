"""`queue`: posting, back-pressure, workers and their order, and other event loops."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import anyio
import pytest
from anyio import lowlevel, to_thread
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Event
from antiphon.testing import Backend
from antiphon.typing import Overflow
from tests.waiting.helpers import (
    Order,
    Shop,
    adds_up,
    elsewhere,
    outcome,
    post,
    settle,
    turns,
)

# Posting


async def test_what_is_posted_is_dispatched_later_in_order(shop: Shop) -> None:
    async with shop.queue() as queue:
        await post(queue, 0)
        queue.post_nowait("order.placed", Order(1))
        assert shop.finished == []
        await queue.join()
        assert shop.finished == [0, 1]
        await post(queue, 2)
    assert shop.finished == [0, 1, 2]
    assert queue.statistics()[:5] == (3, 3, 0, 0, 0)


async def test_an_overridden_adispatch_dispatches_what_was_posted() -> None:
    log: list[Any] = []

    class Logging(AsyncEventDispatcher):
        async def adispatch(self, event_id: Any, event: Any = None, /) -> Any:  # type: ignore[override]
            log.append(event_id)
            return await super().adispatch(event_id, event)

    async with Logging().queue() as queue:
        await queue.post("order.placed")
        await queue.post("order.placed", Event())
    assert log == ["order.placed", "order.placed"]


async def test_an_overridden_adispatch_gets_an_event_without_a_name_alone() -> None:
    given: list[tuple[Any, ...]] = []

    class Recording(AsyncEventDispatcher):
        async def adispatch(self, *arguments: Any) -> None:  # type: ignore[override]
            given.append(arguments)

    event = Event()
    async with Recording().queue() as queue:
        await queue.post(event)
        await queue.post("order.placed", event)
    assert given == [(event,), ("order.placed", event)]


async def test_a_queue_of_a_scope_dispatches_on_the_scope(dispatcher: AsyncEventDispatcher) -> None:
    used: list[Any] = []

    async def record(event: Event) -> None:
        used.append(event.dispatcher)

    dispatcher.add_listener("order.placed", record)
    with dispatcher.scope() as scoped:
        scoped.add_listener("order.placed", record)
        async with scoped.queue() as queue:
            await queue.post("order.placed")
    assert used == [scoped, scoped]


async def test_a_queue_is_used_once(shop: Shop) -> None:
    queue: Any = shop.queue()
    for call in (queue.statistics, lambda: queue.post_nowait("order.placed")):
        with pytest.raises(RuntimeError, match="async with"):
            call()
    for wait in (lambda: queue.post("order.placed"), queue.join):
        with pytest.raises(RuntimeError, match="async with"):
            await wait()
    async with queue:
        pass
    with pytest.raises(RuntimeError, match="queue"):
        await queue.__aenter__()
    for closed in (lambda: queue.post("order"), lambda: to_thread.run_sync(queue.post_nowait, "order")):
        with pytest.raises(anyio.ClosedResourceError, match="async with") as caught:
            await closed()
        assert caught.value.__cause__ is None


# Back-pressure and overflow


async def test_a_post_waits_while_the_queue_is_full(shop: Shop) -> None:
    async with shop.queue(max_buffer_size=2) as queue, anyio.create_task_group() as group:
        await post(queue, "wait")
        await settle()
        await post(queue, 1, 2)
        for number in (3, 4):
            group.start_soon(post, queue, number)
            await settle()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(post, queue, "cancelled")
            await settle()
            assert queue.statistics() == (3, 0, 0, 0, 0, 1, 2, 2, 3)
            cancelled.cancel_scope.cancel()
        assert queue.statistics() == (3, 0, 0, 0, 0, 1, 2, 2, 2)
        with pytest.raises(anyio.WouldBlock):
            queue.post_nowait("order.placed", Order(5))
        assert shop.started == ["wait"]
        shop.go.set()
        await queue.join()
        assert shop.finished == ["wait", 1, 2, 3, 4]
    assert adds_up(queue)


async def test_post_and_join_always_pass_a_checkpoint(shop: Shop) -> None:
    async with shop.queue() as queue:
        calls: list[Any] = [lambda: post(queue, 1), queue.join]
        for call in calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
    assert queue.statistics().posted == 0


async def test_under_raise_a_post_to_a_full_queue_would_block(shop: Shop) -> None:
    async with shop.queue(max_buffer_size=1, overflow="raise") as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 1)
        with pytest.raises(anyio.WouldBlock):
            await post(queue, 2)
        with pytest.raises(anyio.WouldBlock):
            queue.post_nowait("order.placed", Order(2))
        shop.go.set()
    assert shop.finished == ["wait", 1]
    assert queue.statistics()[:5] == (2, 2, 0, 0, 0)


@pytest.mark.parametrize("ordered_by", [None, lambda event: event.number, lambda event: 1], ids=["none", "many", "one"])
@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [4, 5]), ("drop_newest", [1, 2])])
async def test_a_dropping_policy_counts_what_it_drops(
    overflow: Overflow, kept: list[int], ordered_by: Any, shop: Shop
) -> None:
    async with shop.queue(max_buffer_size=2, overflow=overflow, ordered_by=ordered_by) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 1, 2, 3)
        queue.post_nowait("order.placed", Order(4))
        queue.post_nowait("order.placed", Order(5))
        assert queue.statistics().dropped == 3
        assert adds_up(queue)
        shop.go.set()
    assert shop.finished == ["wait", *kept]
    assert queue.statistics()[:5] == (6, 3, 0, 3, 0)


class Key:
    """A key of an event that can be weakly referenced."""


async def test_the_keys_of_dropped_events_are_released(shop: Shop) -> None:
    keys: weakref.WeakSet[Key] = weakref.WeakSet()

    def make_key(event: Order) -> Key:
        key = Key()
        keys.add(key)
        return key

    async with shop.queue(max_buffer_size=2, overflow="drop_oldest", ordered_by=make_key) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, *range(200))
        gc.collect()
        assert len(keys) <= 4
        shop.go.set()
    assert shop.finished == ["wait", 198, 199]
    gc.collect()
    assert not keys


# Workers and order


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_so_many_workers_dispatch_at_a_time(workers: int, shop: Shop) -> None:
    async with shop.queue(workers=workers) as queue:
        await post(queue, *["wait"] * 7)
        await settle()
        assert queue.statistics().running == shop.running == workers
        shop.go.set()
    assert shop.most == workers
    assert len(shop.finished) == 7


@pytest.mark.parametrize("workers", [2, 3])
async def test_events_of_one_key_wait_for_each_other(workers: int, shop: Shop) -> None:
    async with shop.queue(workers=workers, ordered_by=lambda event: str(event.number)[0]) as queue:
        await post(queue, "wait", "walk", "wade", "a1", "b1", "a2")
        await settle()
        # Those of different keys finish in any order.
        assert [number for number in shop.finished if number != "b1"] == ["a1", "a2"]
        assert "b1" in shop.finished
        assert "walk" not in shop.started
        shop.go.set()
    assert shop.finished[3:] == ["wait", "walk", "wade"]


async def test_one_worker_with_keys_keeps_the_order_of_posts(shop: Shop) -> None:
    numbers = ["a1", "a2", "b1", "a3", "c1", "b2"]
    async with shop.queue(ordered_by=lambda event: event.number[0]) as queue:
        await post(queue, *numbers)
    assert shop.finished == numbers


@given(
    backend=st.builds(Backend, st.sampled_from(("asyncio", "trio")), st.none() | st.integers(0, 1000)),
    workers=st.integers(1, 4),
    size=st.integers(1, 5),
    posters=st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=6), max_size=3),
)
def test_events_of_one_key_keep_their_order(
    backend: Backend, workers: int, size: int, posters: list[list[tuple[str, int]]]
) -> None:
    async def main() -> None:
        dispatcher = AsyncEventDispatcher()
        posted: list[Any] = []
        log: list[Any] = []
        running: list[str] = []

        @dispatcher.listen("order.placed")
        async def store(event: Order) -> None:
            key, length, _ = event.number
            assert key not in running
            assert len(running) < workers
            running.append(key)
            log.append(event.number)
            await turns(length)
            running.remove(key)

        async def poster(events: list[tuple[str, int]], me: int) -> None:
            for count, (key, length) in enumerate(events):
                number = (key, length, (me, count))
                await post(queue, number)
                posted.append(number)

        with anyio.fail_after(60):
            async with dispatcher.queue(
                workers=workers, max_buffer_size=size, ordered_by=lambda event: event.number[0]
            ) as queue:
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

    backend.run(main)


# Posting in listeners


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_listener_can_post_to_its_own_queue(workers: int, dispatcher: AsyncEventDispatcher) -> None:
    """Also while the queue drains; and an idle queue is closed only then."""
    stored: list[int] = []

    @dispatcher.listen("order.placed")
    async def store(event: Order) -> None:
        await turns(2)
        stored.append(event.number)
        if event.number:
            await post(queue, event.number - 1)
            queue.post_nowait("other")

    async with dispatcher.queue(workers=workers) as queue:
        await post(queue, 10)
    assert stored == list(range(10, -1, -1))
    assert queue.statistics().done == 21


async def test_a_listener_can_post_its_own_event(dispatcher: AsyncEventDispatcher) -> None:
    names: list[Any] = []

    @dispatcher.listen("*")
    async def copy(event: Event) -> None:
        names.append(event.name)
        if event.name == "order.placed":
            await queue.post("order.copied", event)

    async with dispatcher.queue() as queue:
        await queue.post("order.placed")
    assert names == ["order.placed", "order.copied"]


async def test_a_limited_listener_that_posts_does_not_deadlock(dispatcher: AsyncEventDispatcher) -> None:
    stored: list[int] = []

    async def store(event: Order) -> None:
        stored.append(event.number)
        if event.number == 0:
            await post(queue, 1)
            await settle()

    dispatcher.add_listener("order.placed", store, limit=1)
    with anyio.fail_after(5):
        async with dispatcher.queue(workers=2) as queue:
            await post(queue, 0)
    assert stored == [0, 1]


async def test_a_listener_can_have_a_queue_of_its_own(shop: Shop) -> None:
    @shop.listen("basket")
    async def split(event: Event) -> None:
        async with shop.queue() as inner:
            await post(inner, 1)

    async with shop.queue() as queue:
        await queue.post("basket")
    assert shop.finished == [1]


# Other loops and threads


async def test_waiting_elsewhere_is_an_error(anyio_backend_name: str, shop: Shop) -> None:
    async def join() -> Any:
        with anyio.fail_after(1):
            return await outcome(queue.join())

    async with shop.queue(max_buffer_size=1) as queue:
        await post(queue, "wait")
        await settle()
        by_join = await elsewhere(join, anyio_backend_name)
        by_post = await elsewhere(lambda: outcome(post(queue, 1, 2)), anyio_backend_name)
        assert queue.statistics().posts_waiting == 0
        shop.go.set()
    for error in (by_join, by_post):
        assert isinstance(error, RuntimeError)
        assert "MainThread" in str(error)
    assert shop.finished == ["wait", 1]
    assert adds_up(queue)


async def test_a_post_of_a_thread_that_comes_too_late_is_refused(shop: Shop) -> None:
    posting, ended = threading.Event(), threading.Event()
    log: list[Any] = []

    def slow_key(event: Order) -> int:
        posting.set()
        assert ended.wait(10)
        return 1

    def post_late() -> None:
        try:
            queue.post_nowait("order.placed", Order(1))
        except Exception as exc:
            log.append(type(exc))

    queue = shop.queue(ordered_by=slow_key)
    async with anyio.create_task_group() as group:
        async with queue:
            group.start_soon(to_thread.run_sync, post_late)
            with anyio.fail_after(10):
                while not posting.is_set():
                    await lowlevel.checkpoint()
        ended.set()
    assert log == [anyio.ClosedResourceError]
    assert queue.statistics()[:5] == (0, 0, 0, 0, 0)


async def test_a_thread_loses_no_event_while_the_queue_ends() -> None:
    for _ in range(20):
        shop = Shop()
        accepted = 0

        def poster() -> None:
            nonlocal accepted
            try:
                while accepted < 500:
                    try:
                        queue.post_nowait("order.placed", Order(accepted))
                        accepted += 1
                    except anyio.WouldBlock:
                        pass
                    while queue.statistics().done < accepted < 500:
                        pass
            except anyio.ClosedResourceError:
                pass

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                async with shop.queue() as queue:
                    group.start_soon(to_thread.run_sync, poster)
                    await turns(30)
        assert len(shop.finished) == accepted == queue.statistics().posted
        assert adds_up(queue)
