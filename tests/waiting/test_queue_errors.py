"""What a queue does with errors: by policy, after a failure, with leaked cancellations, and with interrupts."""

from __future__ import annotations

import asyncio
import logging
import operator
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, ListenerCancelled, Sequential
from antiphon.testing import Backend, BackendName
from tests.waiting.helpers import (
    Order,
    Shop,
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
    turns,
    types_of,
)

customer: ContextVar[str] = ContextVar("customer", default="none")
step: ContextVar[str] = ContextVar("step", default="none")


def texts_of(exc: BaseException | None) -> list[str]:
    return [str(leaf) for leaf in leaves(exc)]


def ignore(*_: Any) -> None:
    pass


# The policy "raise"


async def test_a_broken_queue_refuses_with_the_failure_as_cause(shop: Shop) -> None:
    refused: list[Any] = []
    async with anyio.create_task_group() as group:

        async def body(queue: Any) -> None:
            await post(queue, "wait and fail")
            await settle()
            await post(queue, 1)
            # One call waits for room, one for all, and the others come later.
            group.start_soon(record_outcome, lambda: post(queue, 2), refused)
            group.start_soon(record_outcome, queue.join, refused)
            await settle()
            shop.go.set()
            with anyio.CancelScope(shield=True):
                await settle()
                refused.extend([await outcome(post(queue, 3)), await outcome(queue.join())])
            with pytest.raises(anyio.BrokenResourceError) as caught:
                queue.post_nowait("order.placed")
            refused.append(caught.value)
            await forever()

        queue = shop.queue(max_buffer_size=1)
        with anyio.fail_after(5):
            left = await ending_of(queue, body)
    refused.extend([await outcome(post(queue, 4)), await outcome(queue.join())])
    (failure,) = leaves(left)
    assert "order.placed" in str(failure.__notes__)
    assert len(refused) == 7
    for error in refused:
        assert type(error) is anyio.BrokenResourceError
        assert error.__cause__ is failure
        assert "wait and fail" in str(error)
        assert "errors='log'" in str(error)
    assert "ValueError: wait and fail" in "".join(traceback.format_exception(refused[0]))
    assert queue.statistics()[:5] == (2, 0, 1, 0, 1)
    assert adds_up(queue)


# Errors of the body


@pytest.mark.parametrize("raises", [False, True])
async def test_a_refusal_in_the_body_leaves_only_as_another_error(raises: bool, shop: Shop) -> None:
    async def body(queue: Any) -> None:
        await post(queue, "fail")
        with anyio.CancelScope(shield=True):
            await settle()
            try:
                await post(queue, 1)
            except anyio.BrokenResourceError as exc:
                if not raises:
                    raise
                raise LookupError("the shop is closed") from exc

    left = await ending_of(shop.queue(), body)
    assert types_of(left) == [ValueError, *[LookupError] * raises]
    assert type(left) is ExceptionGroup
    # The traceback shows each of them once.
    assert "".join(traceback.format_exception(left)).count("LookupError: the shop is closed") == raises


@asyncio_only
async def test_a_group_of_the_body_leaves_a_broken_queue_unchanged(shop: Shop) -> None:
    """A cancelled scope of Trio makes a new group."""
    group = ExceptionGroup("orders", [LookupError(1), KeyError(2)])

    async def body(queue: Any) -> None:
        await post(queue, "fail")
        with anyio.CancelScope(shield=True):
            await settle()
        raise group

    left = await ending_of(shop.queue(), body)
    assert isinstance(left, ExceptionGroup)
    assert left.exceptions[1] is group


async def test_an_error_in_a_group_with_the_cancellation_of_the_body_leaves(shop: Shop) -> None:
    async def body(queue: Any) -> None:
        await post(queue, "fail")
        try:
            await forever()
        except anyio.get_cancelled_exc_class() as exc:
            raise BaseExceptionGroup("body", [exc, LookupError()]) from None

    left = await ending_of(shop.queue(), body)
    assert types_of(left)[0] is ValueError
    assert LookupError in types_of(left)


# Other policies


async def test_a_function_gets_an_event_without_a_name(dispatcher: AsyncEventDispatcher) -> None:
    given: list[tuple[Any, Any]] = []

    async def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener(Event, fail)
    event = Event()
    async with dispatcher.queue(errors=lambda error, event, name: given.append((event, name))) as queue:
        await queue.post(event)
    assert given == [(event, None)]


async def test_a_function_gets_the_error_the_event_and_the_name(shop: Shop) -> None:
    log: list[Any] = []

    def record(exc: Exception, event: Order, name: Any) -> None:
        log.append((str(exc), event.number, name))

    async with shop.queue(errors=record) as queue:
        await post(queue, "fail", 1, "fail", 2)
    assert log == [("fail", "fail", "order.placed")] * 2
    assert shop.finished == [1, 2]
    assert queue.statistics()[:5] == (4, 2, 2, 0, 0)


@pytest.mark.parametrize("policy", ["function", "log"])
async def test_an_error_is_handled_in_the_posters_context(policy: str, shop: Shop) -> None:
    """After a failure with and without a wait, with what the listener has set."""
    found: list[Any] = []

    def record(*_: Any) -> None:
        found.append((customer.get(), step.get()))

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((customer.get(), step.get()))

    @shop.dispatcher.listen("order.failed")
    async def fail(event: Event) -> None:
        step.set("before the wait")
        if customer.get() == "bob":
            await lowlevel.checkpoint()
            step.set("after the wait")
        raise ValueError

    logger, handler = logging.getLogger("antiphon"), Recorder()
    logger.addHandler(handler)
    try:
        async with shop.dispatcher.queue(errors=record if policy == "function" else "log") as queue:
            for name in ("alice", "bob"):
                customer.set(name)
                await queue.post("order.failed")
            customer.set("set after the post")
            await queue.join()
            assert step.get() == "none"
    finally:
        logger.removeHandler(handler)
    assert found == [("alice", "before the wait"), ("bob", "after the wait")]


async def test_a_function_gets_the_group_that_left_the_dispatch() -> None:
    given: list[Exception] = []
    dispatcher, group = AsyncEventDispatcher(), ExceptionGroup("orders", [LookupError(1), KeyError(2)])

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise group

    async with dispatcher.queue(errors=lambda error, event, name: given.append(error)) as queue:
        await queue.post("order.placed")
    assert given[0] is group


async def test_an_error_of_the_function_breaks_the_queue(shop: Shop) -> None:
    def convert(exc: Exception, event: Order, name: Any) -> None:
        raise KeyError("converted") from exc

    async def body(queue: Any) -> None:
        await post(queue, "fail", 1)
        await forever()

    queue = shop.queue(errors=convert)
    left = await ending_of(queue, body)
    with pytest.raises(anyio.BrokenResourceError) as caught:
        await post(queue, 2)
    assert leaves(left) == [caught.value.__cause__]
    assert "has stopped because of KeyError('converted')" in str(caught.value)
    # The function is in use already.
    assert "errors=" not in str(caught.value)


# Refusals in listeners


async def post_in_a_shield(queue: Any) -> None:
    with anyio.CancelScope(shield=True):
        await post(queue, "forever", "forever")


async def post_in_a_group(queue: Any) -> None:
    async with anyio.create_task_group() as group:
        with anyio.CancelScope(shield=True):
            group.start_soon(post, queue, "forever")
            await post_in_a_shield(queue)


async def post_in_a_cleanup(queue: Any) -> None:
    try:
        await forever()
    finally:
        queue.post_nowait("order.placed", Order("forever"))


@pytest.mark.parametrize("way", [post_in_a_shield, post_in_a_group, post_in_a_cleanup])
@pytest.mark.parametrize("broken", [False, True], ids=["ended", "broken"])
async def test_a_refused_post_in_a_listener_is_no_error(way: Callable[[Any], Any], broken: bool, shop: Shop) -> None:
    @shop.listen("basket")
    async def split(event: Event) -> None:
        await way(queue)

    async def body(queue: Any) -> None:
        await post(queue, "wait and fail")
        await settle()
        await queue.post("basket")
        await settle()
        if broken:
            shop.go.set()
        else:
            scope.cancel()
        await forever()

    queue = shop.queue(max_buffer_size=1, workers=2)
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        left = await ending_of(queue, body)
    assert [type(leaf) for leaf in leaves(left) if not is_cancellation(leaf)] == [ValueError] * broken
    assert adds_up(queue)


async def test_an_error_of_the_policy_names_the_policy_and_what_it_handled() -> None:
    async def fail(event: Any) -> None:
        raise ValueError("no stock")

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(ExceptionGroup) as caught:
        # A builtin, whose signature cannot be checked.
        async with dispatcher.queue(errors=operator.add) as queue:
            await queue.post("order.placed")

    (error,) = caught.value.exceptions
    (note,) = error.__notes__
    assert note.startswith("antiphon: raised by the error policy _operator.add of <queue of <AsyncEventDispatcher")
    assert note.endswith("which handled ValueError('no stock')")


@pytest.mark.parametrize("policy", ["raise", "collect", "log", "function"])
@pytest.mark.parametrize("ending", ["cancelled", "body raises"])
async def test_listeners_that_wait_for_room_add_no_error(policy: str, ending: str, shop: Shop) -> None:
    """They are cancelled; the queue does not refuse what waits in it."""
    received: list[Any] = []
    in_listener: list[BaseException] = []
    errors: Any = (lambda *found: received.append(found)) if policy == "function" else policy
    error = KeyError("body")

    @shop.listen("basket")
    async def split(event: Event) -> None:
        try:
            await post(queue, "forever", "forever", "forever")
        except BaseException as exc:
            in_listener.append(exc)
            raise

    async def body(queue: Any) -> None:
        await queue.post("basket")
        await settle()
        assert queue.statistics().posts_waiting == 1
        if ending == "body raises":
            raise error
        scope.cancel()
        await forever()

    queue = shop.queue(max_buffer_size=1, workers=2, errors=errors)
    with anyio.CancelScope() as scope:
        left = await ending_of(queue, body)
    assert left is error if ending == "body raises" else is_cancellation(left)
    assert received == []
    assert list(map(is_cancellation, in_listener)) == [True]
    assert adds_up(queue)
    assert queue.statistics().failed == 0


# Errors beside a cancellation


@pytest.mark.parametrize("native", [False, True])
async def test_errors_of_a_dispatch_that_is_cut_off_are_kept(native: bool, anyio_backend_name: str) -> None:
    if native and anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(errors="collect"))
    lefts: list[Any] = []

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise ValueError("declined")

    dispatcher.add_listener("order.placed", forever)

    async def body(queue: Any) -> None:
        await queue.post("order.placed")
        await (forever() if native else settle())

    async def program() -> None:
        lefts.append(await ending_of(queue, body))

    queue = dispatcher.queue(drain_timeout=None if native else 0)
    if native:
        task = asyncio.create_task(program())
        await settle()
        task.cancel()
        await asyncio.wait([task])
    else:
        await program()
    assert isinstance(lefts[0], ExceptionGroup) != native
    assert any(map(is_cancellation, leaves(lefts[0]))) == native
    assert "declined" in texts_of(lefts[0])
    assert adds_up(queue)


# Leaks: a cancellation that the queue did not ask for


async def raise_cancellation(event: Event) -> None:
    raise asyncio.CancelledError("lost")


async def await_a_cancelled_future(event: Event) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


async def cancel_its_own_task(event: Event) -> None:
    running_task().cancel()
    await lowlevel.checkpoint()


def running_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@asyncio_only
@pytest.mark.parametrize("strategy", [None, Concurrent(), Sequential(errors="collect")], ids=repr)
@pytest.mark.parametrize("leak", [raise_cancellation, await_a_cancelled_future, cancel_its_own_task])
async def test_the_policy_receives_a_leaked_cancellation(leak: Any, strategy: Any, shop: Shop) -> None:
    shop.dispatcher.add_listener("leak", leak)
    received: list[Any] = []

    def record(error: Exception, event: Any, name: Any) -> None:
        received.append((error, name))

    async with shop.queue(errors=record, strategy=strategy) as queue:
        for number in range(3):
            await queue.post("leak")
            await post(queue, number)
        await queue.join()
        assert shop.finished == [0, 1, 2]
    assert len(received) == 3
    for error, name in received:
        assert name == "leak"
        assert all(isinstance(leaf, ListenerCancelled) for leaf in leaves(error))
        assert all(isinstance(leaf.__cause__, asyncio.CancelledError) for leaf in leaves(error))
    assert queue.statistics()[:5] == (6, 3, 3, 0, 0)


@asyncio_only
async def test_a_leak_under_raise_keeps_its_notes() -> None:
    class Leaking(AsyncEventDispatcher):
        async def adispatch(self, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
            error = asyncio.CancelledError()
            error.add_note("raised in listener shop.store")
            raise error

    left = await ending_of(Leaking().queue(), lambda queue: queue.post("order"))
    (leak,) = leaves(left)
    assert isinstance(leak, ListenerCancelled)
    assert str(leak).startswith(f"a cancellation escaped from a dispatch of {leak.listener!r}, but")
    assert isinstance(leak.__cause__, asyncio.CancelledError)
    assert leak.__notes__ == ["raised in listener shop.store"]


@asyncio_only
async def test_requests_left_by_a_listener_reach_no_later_dispatch(shop: Shop) -> None:
    """A request that is never taken back, as an old-style timeout leaves it, and one that is not delivered yet."""
    counts: list[int] = []

    @shop.listen("timeout")
    async def survive(event: Event) -> None:
        try:
            await cancel_its_own_task(event)
        except asyncio.CancelledError:
            pass

    @shop.listen("late")
    async def cancel_and_return(event: Event) -> None:
        running_task().cancel()

    @shop.listen("count")
    async def count(event: Event) -> None:
        await turns(2)
        counts.append(running_task().cancelling())

    async with shop.queue() as queue:
        for name in ("timeout", "count", "late", "count"):
            await queue.post(name)
        await queue.join()
        await queue.post("count")
    assert counts == [0, 0, 0]
    assert queue.statistics()[:5] == (5, 5, 0, 0, 0)


@asyncio_only
async def test_an_idle_worker_that_is_cancelled_is_replaced(shop: Shop) -> None:
    before = asyncio.all_tasks()
    async with shop.queue() as queue:
        for number in range(3):
            await settle()
            for worker in asyncio.all_tasks() - before:
                worker.cancel()
            await settle()
            await post(queue, number)
    assert shop.finished == [0, 1, 2]


# Interrupts


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("policy", ["raise", "collect", "log", ignore])
def test_an_interrupt_of_a_listener_leaves_bare(backend: BackendName, interrupt: Any, policy: Any) -> None:
    async def main() -> None:
        nonlocal queue
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def stop(event: Event) -> None:
            raise interrupt

        async with dispatcher.queue(errors=policy, drain_timeout=100) as queue:
            await queue.post("order.placed")
            await forever()

    queue: Any = None
    with pytest.raises(interrupt):
        Backend(backend).run(main)
    assert queue.statistics().failed == 0


@in_virtual_time()
async def test_an_interrupt_of_the_body_ends_the_queue_at_once() -> None:
    error = KeyboardInterrupt()

    async def body(queue: Any) -> None:
        await post(queue, "forever")
        await settle()
        raise error

    assert await ending_of(Shop().queue(drain_timeout=100), body) is error
    assert anyio.current_time() < 1
