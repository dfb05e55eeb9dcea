"""`Queue.join`, and listeners that would wait for themselves."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import from_thread, lowlevel, to_thread

from antiphon import Event
from tests.waiting.helpers import (
    Order,
    Shop,
    adds_up,
    ending_of,
    in_virtual_time,
    outcome,
    post,
    record_outcome,
    settle,
)

# join


async def test_join_ends_when_nothing_is_left(shop: Shop) -> None:
    log: list[Any] = []
    async with shop.queue() as queue:
        await queue.join()
        await post(queue, "wait")
        async with anyio.create_task_group() as group:
            group.start_soon(queue.join)
            await settle()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(record_outcome, queue.join, log)
            await settle()
            assert log == []
            shop.go.set()
        assert shop.finished == ["wait"]
    assert log == [None, None, None]
    await queue.join()


@pytest.mark.parametrize("ending", ["cancelled", "not drained", "body error"])
@pytest.mark.parametrize("numbers", [["forever"], ["forever", 1]], ids=["running", "running and waiting"])
async def test_join_never_hangs_on_an_ended_queue(numbers: list[Any], ending: str, shop: Shop) -> None:
    log: list[Any] = []
    queue = shop.queue(drain_timeout=0)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:

            async def body(queue: Any) -> None:
                await post(queue, *numbers)
                group.start_soon(record_outcome, queue.join, log)
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


@pytest.mark.parametrize("how", ["join", "drain"])
async def test_join_and_drain_wait_for_a_poster_that_was_woken(how: str, shop: Shop) -> None:
    """The only event is done before the poster that waits for room has had its turn."""
    async with anyio.create_task_group() as group:
        async with shop.queue(max_buffer_size=1) as queue:
            await post(queue, "wait")
            await settle()
            for number in range(5):
                group.start_soon(post, queue, number)
            await settle()
            assert queue.statistics().posts_waiting == 4
            shop.go.set()
            if how == "join":
                await queue.join()
                assert len(shop.finished) == 6
    assert len(shop.finished) == 6


# Waiting for itself


@pytest.mark.parametrize("ordered", [False, True], ids=["plain", "keyed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_listeners_that_all_wait_for_room_are_refused(workers: int, ordered: bool, shop: Shop) -> None:
    refused: list[Any] = []

    @shop.listen("basket")
    async def split(event: Order) -> None:
        for number in range(3):
            result = await outcome(post(queue, number))
            if result is not None:
                refused.append(result)

    ordered_by: Any = (lambda event: 1) if ordered else None
    with anyio.fail_after(5):
        async with shop.queue(max_buffer_size=1, workers=workers, ordered_by=ordered_by) as queue:
            for number in range(workers):
                await queue.post("basket", Order(number))
    assert refused
    assert {type(error) for error in refused} == {RuntimeError}
    assert "post_nowait" in str(refused[0])
    assert adds_up(queue)
    assert queue.statistics().done == queue.statistics().posted
    assert len(shop.finished) + len(refused) == 3 * workers


async def test_a_listener_waits_for_room_that_another_worker_makes(shop: Shop) -> None:
    @shop.listen("basket")
    async def split(event: Event) -> None:
        await post(queue, *range(10))

    with anyio.fail_after(5):
        async with shop.queue(max_buffer_size=1, workers=2) as queue:
            await queue.post("basket")
    assert shop.finished == list(range(10))


async def test_a_task_that_outlives_its_listener_may_wait_for_room(shop: Shop) -> None:
    async with anyio.create_task_group() as group:

        @shop.listen("basket")
        async def start(event: Event) -> None:
            group.start_soon(post, queue, 1, 2)
            await settle()

        with anyio.fail_after(5):
            async with shop.queue(max_buffer_size=1) as queue:
                await queue.post("basket")
    assert shop.finished == [1, 2]


@in_virtual_time()
async def test_a_listener_may_wait_for_room_within_a_timeout() -> None:
    shop = Shop()
    log: list[Any] = []

    @shop.listen("basket")
    async def split(event: Event) -> None:
        with anyio.move_on_after(2) as scope:
            await post(queue, 1, 2)
        log.append((scope.cancelled_caught, anyio.current_time()))

    async with shop.queue(max_buffer_size=1) as queue:
        await queue.post("basket")
    assert log == [(True, pytest.approx(2))]
    assert shop.finished == [1]


@pytest.mark.parametrize("how", ["itself", "a task", "a thread", "a nested dispatch"])
async def test_join_in_a_listener_of_the_queue_is_refused(how: str, shop: Shop) -> None:
    refused: list[Any] = []

    @shop.listen("join")
    async def join(event: Event) -> None:
        if how == "itself":
            refused.append(await outcome(queue.join()))
        elif how == "a task":
            async with anyio.create_task_group() as group:
                group.start_soon(record_outcome, queue.join, refused)
        elif how == "a thread":
            refused.append(await to_thread.run_sync(lambda: from_thread.run(outcome, queue.join())))
        else:
            await shop.dispatcher.adispatch("join.nested")

    @shop.listen("join.nested")
    async def nested(event: Event) -> None:
        refused.append(await outcome(queue.join()))

    with anyio.fail_after(5):
        async with shop.queue(workers=2) as queue:
            await queue.post("join")
    assert [type(error) for error in refused] == [RuntimeError]
    assert "would never return" in str(refused[0])


async def test_tasks_left_by_listeners_and_other_queues_may_join(shop: Shop) -> None:
    log: list[Any] = []
    ended = anyio.Event()

    async def join_later() -> None:
        await ended.wait()
        log.append(await outcome(queue.join()))

    async with anyio.create_task_group() as group:

        @shop.listen("join.later")
        async def start(event: Event) -> None:
            group.start_soon(join_later)

        @shop.listen("join.other")
        async def join_other(event: Event) -> None:
            log.append(await outcome(queue.join()))

        with anyio.fail_after(5):
            async with shop.queue() as queue, shop.queue() as other:
                await queue.post("join.later")
                await queue.join()
                ended.set()
                await other.post("join.other")
    assert log == [None, None]
