"""asyncio's own ways to end a dispatch: ``task.cancel()``, ``asyncio.timeout``, ``asyncio.wait_for``."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, ListenerCancelled, Race, Sequential
from antiphon.testing import Backend
from tests.cancellation.listeners import (
    ALL_CHECKPOINTS,
    Choir,
    Make,
    every_grouping_strategy,
    every_policy,
    every_strategy,
    every_unlimited_strategy,
)
from tests.cancellation.tasks import Watch, forever, leaves, left_by, noting, settle
from tests.loops import ASYNCIO


@pytest.fixture(params=ASYNCIO, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Trio has no such ways."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def keep_the_callers_task(event: Event) -> None:
    """Keep it busy, so that those that start later have tasks of their own."""
    await forever()


async def end(task: asyncio.Task[Any]) -> BaseException | None:
    """Wait for a task. Returns what left it."""
    await asyncio.wait([task])
    try:
        return task.exception()
    except asyncio.CancelledError as exc:
        return exc


@asynccontextmanager
async def expiring() -> AsyncIterator[asyncio.Timeout]:
    """An ``asyncio.timeout`` that expires when all is blocked."""

    async def expire(timeout: asyncio.Timeout) -> None:
        await settle()
        timeout.reschedule(0)

    async with asyncio.timeout(None) as timeout:
        task = asyncio.create_task(expire(timeout))
        try:
            yield timeout
        finally:
            assert task.done()


# task.cancel()


@every_strategy
@every_policy
async def test_a_task_cancelled_while_listeners_are_blocked_ends_cancelled(make: Make, policy: ErrorPolicy) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with noting(checkpoint=at):
            watch, choir = Watch(), Choir(at, forever)
            task = asyncio.create_task(choir.sing(strategy))
            await settle()
            task.cancel("enough")
            left = await end(task)

            assert task.cancelled()
            assert type(left) is asyncio.CancelledError
            choir.assert_cancelled_in_order(together=not isinstance(strategy, Sequential))
            watch.assert_alone()


@every_strategy
@every_policy
async def test_a_task_cancelled_by_a_listener_at_any_checkpoint_ends_cancelled(make: Make, policy: ErrorPolicy) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with noting(checkpoint=at):
            tasks: list[asyncio.Task[Any]] = []
            choir = Choir(at, partial(_cancel_first, tasks))

            async def sing() -> None:
                # Not from outside: an eager task has sung before anybody can note it.
                tasks.append(this_task())
                await choir.sing(strategy)

            task = asyncio.create_task(sing())
            await end(task)

            assert task.cancelled()
            choir.assert_cancelled_in_order(together=not isinstance(strategy, Sequential))


async def _cancel_first(tasks: list[asyncio.Task[Any]]) -> None:
    tasks[0].cancel()


@every_strategy
async def test_a_cancelled_and_caught_task_goes_on_as_before(make: Make) -> None:
    async def body() -> str:
        with pytest.raises(asyncio.CancelledError):
            await Choir(1, forever).sing(make())
        assert this_task().cancelling() == 1
        this_task().uncancel()
        choir = Choir()
        await choir.sing(make())
        choir.assert_complete()
        return "done"

    task = asyncio.create_task(body())
    await settle()
    task.cancel()
    assert await task == "done"


@every_strategy
async def test_a_task_that_cancelled_itself_before_the_dispatch_meets_it_there(make: Make) -> None:
    async def body() -> None:
        this_task().cancel()
        await Choir().sing(make())

    task = asyncio.create_task(body())
    await end(task)
    assert task.cancelled()


# Errors in hand


def _failing_then_blocked(errors: int = 1) -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()

    def failing(number: int) -> Callable[[Event], Awaitable[None]]:
        async def fail(event: Event) -> None:
            raise ValueError(number)

        return fail

    for number in range(errors):
        dispatcher.add_listener("order.placed", failing(number))
    dispatcher.add_listener("order.placed", forever)
    return dispatcher


def assert_errors_and_cancellation(left: BaseException | None, errors: int = 1) -> None:
    """One group: the errors in dispatch order, then the cancellation; nothing that ``except Exception`` would catch."""
    assert type(left) is BaseExceptionGroup
    assert [type(member) for member in left.exceptions] == [ValueError] * errors + [asyncio.CancelledError]
    assert [member.args for member in left.exceptions[:-1]] == [(number,) for number in range(errors)]


@every_strategy
@pytest.mark.parametrize("errors", [1, 2])
async def test_a_task_cancelled_with_errors_in_hand_ends_with_the_group_of_both(make: Make, errors: int) -> None:
    if make(errors="raise") == Concurrent(1) and errors == 2:
        errors = 1
    task = asyncio.create_task(_failing_then_blocked(errors).adispatch("order.placed", strategy=make(errors="collect")))
    await settle()
    task.cancel()
    left = await end(task)
    assert not task.cancelled()
    assert_errors_and_cancellation(left, errors)


@every_strategy
async def test_asyncio_timeout_makes_a_timeout_error_of_the_bare_cancellation(make: Make) -> None:
    with pytest.raises(TimeoutError):
        async with expiring():
            await Choir(1, forever).sing(make())
    assert this_task().cancelling() == 0


@every_strategy
async def test_asyncio_timeout_lets_errors_and_its_cancellation_out_as_one_group(make: Make) -> None:
    async def in_time() -> None:
        async with expiring():
            await _failing_then_blocked().adispatch("order.placed", strategy=make(errors="collect"))

    left = await left_by(in_time)
    assert_errors_and_cancellation(left)
    assert this_task().cancelling() == 0


@every_strategy
def test_asyncio_wait_for_makes_a_timeout_error_of_the_bare_cancellation(make: Make) -> None:
    async def main() -> int:
        watch = Watch()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Choir(1, forever).sing(make()), 1)
        watch.assert_alone()
        return this_task().cancelling()

    assert Backend("asyncio").run(main) == 0


@every_strategy
def test_asyncio_wait_for_lets_errors_and_its_cancellation_out_as_one_group(make: Make) -> None:
    async def main() -> int:
        left = await left_by(
            lambda: asyncio.wait_for(
                _failing_then_blocked().adispatch("order.placed", strategy=make(errors="collect")), 1
            )
        )
        assert_errors_and_cancellation(left)
        return this_task().cancelling()

    assert Backend("asyncio").run(main) == 0


@every_strategy
async def test_a_dispatch_that_ends_in_time_leaves_asyncio_timeout_and_wait_for_in_peace(make: Make) -> None:
    async with asyncio.timeout(60):
        event = await Choir().sing(make())
    assert event.name == "order.placed"
    assert (await asyncio.wait_for(Choir().sing(make()), 60)).name == "order.placed"


@every_grouping_strategy
async def test_an_error_and_a_native_cancellation_in_the_same_turn_of_the_loop_leave_together(make: Make) -> None:
    # The task group is being cancelled for the error when the cancellation comes: neither may hide the other.
    dispatcher = AsyncEventDispatcher()
    tasks: list[asyncio.Task[Any]] = []

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        raise ValueError(0)

    dispatcher.add_listener("order.placed", forever)
    tasks.append(asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make())))
    assert_errors_and_cancellation(await end(tasks[0]))


@every_grouping_strategy
async def test_an_error_right_after_a_native_cancellation_leaves_with_it(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    tasks: list[asyncio.Task[Any]] = []

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        tasks[0].cancel()
        raise ValueError(0)

    tasks.append(asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make())))
    assert_errors_and_cancellation(await end(tasks[0]))


@every_grouping_strategy
async def test_a_native_cancellation_is_not_lost_when_a_dispatch_within_the_dispatch_has_errors_in_hand(
    make: Make,
) -> None:
    outer = AsyncEventDispatcher()
    inner = _failing_then_blocked()

    @outer.listen("outer")
    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Concurrent(errors="collect"))

    task = asyncio.create_task(outer.adispatch("outer", strategy=make(errors="collect")))
    await settle()
    task.cancel()
    left = await end(task)
    assert not isinstance(left, Exception), "an `except Exception` would lose the cancellation"
    assert {type(leaf) for leaf in leaves(left)} >= {ValueError, asyncio.CancelledError}


# Cancelled within the listener


@every_strategy
async def test_a_listener_in_the_callers_task_that_cancels_its_task_cancels_the_callers(make: Make) -> None:
    ran: list[str] = []
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def cancel(event: Event) -> None:
        this_task().cancel()

    @dispatcher.listen("order.placed")
    async def later(event: Event) -> None:
        ran.append("started")
        await anyio.lowlevel.checkpoint()
        ran.append("not reached")

    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make()))
    await end(task)
    assert task.cancelled()
    assert ran == ["started"]


@every_unlimited_strategy
@every_policy
async def test_a_listener_in_a_task_of_its_own_that_cancels_it_ends_the_dispatch_with_that_cancellation(
    make: Make, policy: ErrorPolicy
) -> None:
    watch, dispatcher = Watch(), AsyncEventDispatcher()
    siblings: list[str] = []

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            siblings.append("cancelled")

    @dispatcher.listen("order.placed")
    async def cancel(event: Event) -> None:
        this_task().cancel("my own")
        await anyio.lowlevel.checkpoint()

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Event) -> None:
        pytest.fail("a later tier was started")

    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy)))
    assert type(left) is asyncio.CancelledError
    assert siblings == ["cancelled"]
    assert this_task().cancelling() == 0, "the caller's own task was not asked to end"
    watch.assert_alone()


@every_grouping_strategy
@every_policy
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
async def test_a_listener_that_keeps_a_native_cancellation_to_itself_does_not_keep_it_from_the_others(
    make: Make, policy: ErrorPolicy, fails: bool
) -> None:
    watch, dispatcher = Watch(), AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def keep(event: Event) -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            if fails:
                raise ValueError(0) from None

    dispatcher.add_listener("order.placed", forever)
    dispatcher.add_listener("order.placed", forever, priority=1)
    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make(errors=policy)))
    await settle()
    task.cancel()
    await settle()
    ended = task.done()
    task.cancel()
    left = await end(task)
    assert ended, "the others still ran"
    errors = [ValueError] if fails and not callable(policy) else []
    assert [type(leaf) for leaf in leaves(left)] == [*errors, asyncio.CancelledError]
    watch.assert_alone()


@every_unlimited_strategy
@every_policy
async def test_a_task_that_is_cancelled_after_its_last_listener_ends_the_dispatch_with_a_cancellation(
    make: Make, policy: ErrorPolicy
) -> None:
    watch, dispatcher = Watch(), AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", forever)

    @dispatcher.listen("order.placed")
    async def cancel(event: Event) -> None:
        this_task().cancel()

    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy)))
    assert type(left) is asyncio.CancelledError
    assert this_task().cancelling() == 0, "the caller's own task was not asked to end"
    watch.assert_alone()


@every_unlimited_strategy
async def test_a_task_that_is_cancelled_before_its_first_listener_ends_the_dispatch_with_a_cancellation(
    make: Make,
) -> None:
    dispatcher, others = AsyncEventDispatcher(), asyncio.all_tasks()

    def cancel() -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()

    @dispatcher.listen("order.placed")
    async def wait(event: Event) -> None:
        asyncio.get_running_loop().call_soon(cancel)
        await forever()

    dispatcher.add_listener("order.placed", forever)
    with warnings.catch_warnings():
        # The coroutine of such a task is never awaited, and says so when it is collected.
        warnings.simplefilter("ignore", RuntimeWarning)
        left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make()))
        assert type(left) is asyncio.CancelledError
        del left
        gc.collect()


@every_grouping_strategy
async def test_errors_in_hand_leave_with_the_cancellation_of_a_listener_that_cancels_its_task(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        raise ValueError(0)

    @dispatcher.listen("order.placed")
    async def cancel(event: Event) -> None:
        await settle()
        this_task().cancel("my own")
        await anyio.lowlevel.checkpoint()

    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    assert_errors_and_cancellation(left)


async def test_to_the_dispatch_around_it_the_cancellation_of_such_a_task_is_a_leak() -> None:
    inner, outer = AsyncEventDispatcher(), AsyncEventDispatcher()

    inner.add_listener("inner", keep_the_callers_task)

    @inner.listen("inner")
    async def cancel(event: Event) -> None:
        this_task().cancel()
        await anyio.lowlevel.checkpoint()

    @outer.listen("outer")
    async def dispatch(event: Event) -> None:
        await inner.adispatch("inner", strategy=Concurrent())

    with pytest.raises(ExceptionGroup) as caught:
        await outer.adispatch("outer", strategy=Sequential(errors="collect"))
    assert [type(error) for error in caught.value.exceptions] == [ListenerCancelled]


@every_grouping_strategy
async def test_a_listener_that_takes_its_own_cancellation_back_goes_on(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []

    @dispatcher.listen("order.placed")
    async def change_its_mind(event: Event) -> None:
        this_task().cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except asyncio.CancelledError:
            this_task().uncancel()
        await anyio.lowlevel.checkpoint()
        log.append("went on")

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        await settle()
        log.append("undisturbed")

    await dispatcher.adispatch("order.placed", strategy=make())
    assert log == ["went on", "undisturbed"]


@every_strategy
async def test_an_asyncio_timeout_within_a_listener_is_an_error_like_others(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []

    @dispatcher.listen("order.placed")
    async def impatient(event: Event) -> None:
        async with asyncio.timeout(0):
            await forever()

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        await settle()
        log.append("undisturbed")

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert [type(error) for error in caught.value.exceptions] == [TimeoutError]
    assert log == ["undisturbed"]


@every_strategy
async def test_listeners_may_start_tasks_that_outlive_the_dispatch(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    release, started = asyncio.Event(), list[asyncio.Task[Any]]()

    @dispatcher.listen("order.placed")
    async def start(event: Event) -> None:
        started.append(asyncio.create_task(release.wait()))

    await dispatcher.adispatch("order.placed", strategy=make())
    assert not started[0].done()
    release.set()
    await started[0]


@every_strategy
async def test_dispatched_in_an_asyncio_task_group_it_is_cancelled_with_its_siblings(make: Make) -> None:
    choir = Choir(1, forever)

    async def fail() -> None:
        await settle()
        raise ValueError("sibling")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(choir.sing(make()))
            group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    choir.assert_cancelled_in_order(together=make is not Sequential)


async def test_the_loop_that_ends_takes_a_dispatch_with_it() -> None:
    # As `asyncio.run` does: every task is cancelled by itself, the dispatch's and those of its listeners.
    watch, choir = Watch(), Choir(1, forever)
    before = asyncio.all_tasks()
    dispatching = [asyncio.create_task(choir.sing(strategy)) for strategy in (Sequential(), Race(), Concurrent())]
    await settle()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    for task in dispatching:
        left = await end(task)
        assert left is None or type(left) is asyncio.CancelledError
    watch.assert_alone()
