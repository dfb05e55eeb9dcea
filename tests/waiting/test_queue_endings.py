"""How a queue ends: what leaves its block, and that nothing of it outlives the block, however it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Event, ListenerCancelled, QueueNotDrained
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.queue_errors import combine_exceptions
from antiphon.testing import Backend
from tests.waiting.helpers import (
    Order,
    Shop,
    Watch,
    adds_up,
    asyncio_only,
    ending_of,
    forever,
    in_virtual_time,
    is_cancellation,
    leaves,
    outcome,
    post,
    record_outcome,
    settle,
    types_of,
)


@asyncio_only
async def test_one_end_leaves_bare_and_failures_in_a_group() -> None:
    first, second = asyncio.CancelledError(), asyncio.CancelledError()
    failure, body, interrupt = ValueError("order"), KeyError("body"), KeyboardInterrupt()
    mixed = BaseExceptionGroup("body", [body, first])
    cases: list[tuple[list[Any], list[Any], Any]] = [
        ([], [], None),
        ([], [body], body),
        ([], [first], first),
        ([], [first, second, second], first),
        ([], [mixed], mixed),
        ([], [interrupt], interrupt),
        ([], [first, interrupt, second], interrupt),
        ([failure], [], [failure]),
        ([failure], [body], [failure, body]),
        ([failure], [first, second], [failure, first]),
        ([failure], [second, interrupt], [failure, interrupt]),
        ([], [body, first, second], [body, first]),
    ]
    for failures, ends, expected in cases:
        left = combine_exceptions("ended", failures, ends)
        if isinstance(expected, list):
            assert isinstance(left, BaseExceptionGroup)
            assert list(left.exceptions) == expected
            assert isinstance(left, ExceptionGroup) == all(isinstance(end, Exception) for end in expected)
        else:
            assert left is expected


# The drain, its timeout, and the grace


async def test_a_listener_that_finishes_when_cut_off_is_done(dispatcher: AsyncEventDispatcher) -> None:
    @dispatcher.listen("order.placed")
    async def clean_up(event: Event) -> None:
        with anyio.CancelScope(shield=True):
            await settle()

    async with dispatcher.queue(drain_timeout=0) as queue:
        await queue.post("order.placed")
        await settle()
    assert queue.statistics()[:5] == (1, 1, 0, 0, 0)


async def test_waiting_posters_are_refused_when_the_queue_is_cut_off(shop: Shop) -> None:
    log: list[Any] = []
    queue = shop.queue(drain_timeout=0, max_buffer_size=1)
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await post(queue, "forever")
            await settle()
            for number in range(3):
                group.start_soon(record_outcome, lambda: post(queue, number), log)
                await settle()

        left = await ending_of(queue, body)
    assert isinstance(left, QueueNotDrained)
    assert log[0] is None
    assert [type(found) for found in log[1:]] == [anyio.ClosedResourceError] * 2
    assert queue.statistics().posted == len(left.unfinished) == queue.statistics().unfinished == 2
    assert adds_up(queue)


# Cancellations by scopes


@pytest.mark.parametrize("ending", ["cancelled", "body raises"])
@pytest.mark.parametrize("drain_timeout", [None, 0, 10])
@pytest.mark.parametrize("again", [0, 1, 2, 3])
@in_virtual_time()
async def test_scope_cancellations_at_the_end_lose_nothing(
    ending: str, drain_timeout: float | None, again: int
) -> None:
    watch, shop, error = Watch(), Shop(), KeyError("body")
    scopes = [anyio.CancelScope() for _ in range(again)]
    finished = [3.0, 3.0] if drain_timeout == 10 else []

    async def cancel_all() -> None:
        for scope in scopes:
            await anyio.sleep(0.5)
            scope.cancel()

    async def body(queue: Any) -> None:
        await post(queue, 3.0, 3.0)
        await anyio.sleep(0.1)
        if ending == "body raises":
            raise error
        outer.cancel()
        await forever()

    async def run_within(inner: list[anyio.CancelScope]) -> None:
        if inner:
            with inner[0]:
                await run_within(inner[1:])
            return
        queue = shop.queue(drain_timeout=drain_timeout)
        left = await ending_of(queue, body)
        assert left is error if ending == "body raises" else is_cancellation(left)
        assert adds_up(queue)
        with pytest.raises(anyio.ClosedResourceError):
            queue.post_nowait("order.placed")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel_all)
        with anyio.CancelScope() as outer:
            async with anyio.create_task_group() as nested:
                nested.start_soon(lowlevel.checkpoint)
                await run_within(scopes)
        assert shop.finished == finished
    await anyio.sleep(20)
    assert shop.finished == finished
    watch.assert_alone()


@pytest.mark.parametrize("drain_timeout", [None, 3])
@in_virtual_time()
async def test_a_cancelled_scope_does_not_wrap_an_error_of_the_body(drain_timeout: float | None) -> None:
    dispatcher = AsyncEventDispatcher()
    error = KeyError("body")

    @dispatcher.listen("order.placed")
    async def clean_up(event: Event) -> None:
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

    async def body(queue: Any) -> None:
        await queue.post("order.placed")
        await anyio.sleep(1)
        raise error

    with anyio.move_on_after(2):
        queue = dispatcher.queue(drain_timeout=drain_timeout)
        assert await ending_of(queue, body) is error
        assert adds_up(queue)


# Native cancellations


@asyncio_only
@pytest.mark.parametrize(
    ("where", "busy", "drain_timeout"),
    [
        *(("body", busy, drain_timeout) for busy in (False, True) for drain_timeout in (None, 0, 5)),
        # Any other drain would not wait.
        *(("drain", True, drain_timeout) for drain_timeout in (None, 5)),
    ],
)
async def test_a_native_cancellation_leaves_bare(
    where: str, busy: bool, drain_timeout: float | None, shop: Shop
) -> None:
    async def program() -> None:
        async with shop.queue(drain_timeout=drain_timeout) as queue:
            await post(queue, "wait" if busy else 1)
            if where == "body":
                await forever()

    task = asyncio.create_task(program())
    await settle()
    task.cancel()
    await settle()
    shop.go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert shop.running == 0


@pytest.mark.parametrize("ending", ["cancelled", "body raises", "body ends"])
@pytest.mark.parametrize("drain_timeout", [None, 0, 10])
@pytest.mark.parametrize("cleanup", [False, True], ids=["plain", "cleanup"])
@pytest.mark.parametrize("times", [[], [0.2], [0.2, 0.2], [0.2, 0.7, 1.1], [0.2, 5, 5.1, 5.2], [0, 0, 0]])
@in_virtual_time(Backend("asyncio"))
async def test_native_cancellations_at_the_end_lose_nothing(
    ending: str, drain_timeout: float | None, cleanup: bool, times: list[float]
) -> None:
    """In the drain, in the grace, and while dispatches that were cut off clean up."""
    shop, watch, error = Shop(), Watch(), KeyError("body")
    lefts: list[Any] = []
    queue = shop.queue(drain_timeout=drain_timeout)

    @shop.listen("order.placed", priority=-1)
    async def clean_up(event: Event) -> None:
        try:
            await anyio.sleep(6)
        finally:
            if cleanup:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2)

    async def body(queue: Any) -> None:
        await post(queue, 3.0, 3.0)
        await anyio.sleep(0.1)
        if ending == "body raises":
            raise error
        if ending == "cancelled":
            await anyio.sleep(1000)

    async def program() -> None:
        lefts.append(await ending_of(queue, body))
        if lefts[0] is not None:
            raise lefts[0]

    task = asyncio.create_task(program())
    await anyio.sleep(0.05)
    if ending == "cancelled":
        task.cancel()
    for moment in times:
        await anyio.sleep(max(0, moment - anyio.current_time()))
        task.cancel()
    await asyncio.wait([task])
    watch.assert_alone()
    assert adds_up(queue)
    if drain_timeout == 10:
        # No cancellation ends the grace.
        assert shop.finished == ([] if cleanup else [3.0])
    else:
        assert shop.finished == ([3.0, 3.0] if (ending, drain_timeout, times) == ("body ends", None, []) else [])
    count = task.cancelling()
    assert count <= len(times) + (ending == "cancelled")
    errors = [leaf for leaf in leaves(lefts[0]) if not is_cancellation(leaf)]
    allowed = {KeyError} if ending == "body raises" else {QueueNotDrained} if ending == "body ends" else set()
    assert {type(leaf) for leaf in errors} <= allowed
    if ending == "body raises" and not (times and times[0] < 0.1):
        assert leaves(lefts[0])[0] is error
        assert (lefts[0] is error) == (count == 0)
        assert count > 0 or drain_timeout != 10 or not times
    if count:
        assert sum(map(is_cancellation, leaves(lefts[0]))) == 1
        assert task.cancelled() == (not errors)
    with pytest.raises(anyio.ClosedResourceError):
        queue.post_nowait("order.placed")


@pytest.mark.parametrize("drain_timeout", [None, 10])
@pytest.mark.parametrize("number", ["forever", 1])
@in_virtual_time(Backend("asyncio"))
async def test_cancelling_all_tasks_of_the_loop_makes_no_error(drain_timeout: float | None, number: Any) -> None:
    """As ``asyncio.run`` does at its end."""
    shop = Shop()

    async def program() -> None:
        async with shop.queue(drain_timeout=drain_timeout, workers=3) as queue:
            await post(queue, number, number)
            await anyio.sleep(1000)

    for _ in range(10):
        task = asyncio.create_task(program())
        await settle()
        this_task = asyncio.current_task()
        for other in asyncio.all_tasks() - {this_task}:
            other.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == {this_task}
        if drain_timeout is None or number == 1:
            assert task.cancelled()
        else:
            # The dispatches were cancelled although they had a grace. The policy receives that.
            assert task.cancelled() or set(types_of(task.exception())) == {ListenerCancelled, asyncio.CancelledError}


# The moment of the end


async def test_a_post_of_a_thread_in_the_moment_of_the_end_counts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to do, so the queue is about to be closed, and just then a thread posts."""
    close = Buffer.close
    posted: list[int] = []

    def post_and_close(self: Any, **options: Any) -> bool:
        if not posted:
            posted.append(1)
            queue.post_nowait("order.placed", Order(1))
        return close(self, **options)

    monkeypatch.setattr(Buffer, "close", post_and_close)
    async with shop.queue() as queue:
        pass
    assert shop.finished == [1]
    assert queue.statistics()[:5] == (1, 1, 0, 0, 0)


async def test_join_is_refused_for_an_event_that_never_starts(shop: Shop) -> None:
    joined: list[Any] = []
    go, last = anyio.Event(), anyio.Event()

    @shop.listen("last")
    async def post_another(event: Event) -> None:
        await go.wait()
        queue.post_nowait("order.placed", Order("forever"))
        last.set()

    queue = shop.queue()
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await queue.post("last")
            group.start_soon(record_outcome, queue.join, joined)
            await settle()
            go.set()
            await last.wait()
            # The worker may not have received the new event.
            raise KeyError("body")

        assert isinstance(await ending_of(queue, body), KeyError)
    assert [type(error) for error in joined] == [anyio.ClosedResourceError]
    assert queue.statistics().unfinished == 1


@asyncio_only
async def test_a_post_cancelled_when_woken_posts_nothing(shop: Shop) -> None:
    """A scope spares a task that has been woken, so this needs a native cancellation."""
    async with shop.queue(max_buffer_size=1) as queue:
        await post(queue, "wait")
        await settle()
        await post(queue, 0)
        tasks: list[Any] = []
        for number in (1, 2):
            tasks.append(asyncio.create_task(post(queue, number)))
            await settle()
        shop.go.set()
        while 0 not in shop.started:
            # The poster is woken in this turn.
            await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
        assert not tasks[1].cancelled()
    assert shop.finished == ["wait", 0, 2]
    assert adds_up(queue)


async def test_a_task_left_by_a_listener_that_is_cut_off_may_join(dispatcher: AsyncEventDispatcher) -> None:
    """A task of a running listener would wait for itself. After the end it gets the error of any other task."""
    joined: list[Any] = []
    ended = anyio.Event()

    async def join_later() -> None:
        await ended.wait()
        joined.append(await outcome(queue.join()))

    async with anyio.create_task_group() as group:

        @dispatcher.listen("order.placed")
        async def start(event: Event) -> None:
            group.start_soon(join_later)
            await forever()

        queue = dispatcher.queue(drain_timeout=0)
        assert isinstance(await ending_of(queue, post_and_settle), QueueNotDrained)
        ended.set()
    assert [type(error) for error in joined] == [anyio.ClosedResourceError]


async def test_a_task_left_by_a_listener_that_is_cut_off_keeps_no_queue(dispatcher: AsyncEventDispatcher) -> None:
    async with anyio.create_task_group() as group:

        @dispatcher.listen("order.placed")
        async def start(event: Event) -> None:
            group.start_soon(forever)
            await forever()

        queue = dispatcher.queue(drain_timeout=0)
        assert isinstance(await ending_of(queue, post_and_settle), QueueNotDrained)
        kept = weakref.ref(queue)
        del queue
        await settle()
        gc.collect()
        assert kept() is None
        group.cancel_scope.cancel()


async def post_and_settle(queue: Any) -> None:
    await queue.post("order.placed")
    await settle()


class KeptError(Exception):
    """An error that can be weakly referenced."""


async def test_an_ended_queue_keeps_no_error_that_has_left(dispatcher: AsyncEventDispatcher) -> None:
    alive: weakref.WeakSet[KeptError] = weakref.WeakSet()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        error = KeptError()
        alive.add(error)
        raise error

    queue = dispatcher.queue(errors="collect")
    left = await ending_of(queue, lambda queue: queue.post("order.placed"))
    assert types_of(left) == [KeptError]
    del left
    await settle()
    gc.collect()
    assert not list(alive)
    assert queue.statistics().failed == 1
