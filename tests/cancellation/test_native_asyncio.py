"""asyncio's own ways to end a dispatch from outside: ``task.cancel()``, ``asyncio.timeout``, ``asyncio.wait_for``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, Race, Sequential
from antiphon.testing import Backend
from tests.cancellation.listeners import (
    ALL_CHECKPOINTS,
    Make,
    TieredListeners,
    every_grouping_strategy,
    every_lenient_policy,
    every_policy,
    every_strategy,
    failing,
    logging,
    of,
)
from tests.cancellation.native import assert_errors_and_cancellation, end, this_task
from tests.cancellation.tasks import Watch, forever, leaves, left_by, note_round, settle
from tests.loops import ASYNCIO


@pytest.fixture(params=ASYNCIO, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Trio has no such ways."""
    return request.param


@asynccontextmanager
async def expiring() -> AsyncIterator[asyncio.Timeout]:
    """An ``asyncio.timeout`` that expires when all tasks wait."""

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


async def cancel_first(tasks: list[asyncio.Task[Any]]) -> None:
    tasks[0].cancel()


@every_strategy
@every_policy
@pytest.mark.parametrize("by", ["another task", "a listener"])
async def test_a_task_cancelled_at_any_checkpoint_ends_cancelled(make: Make, policy: ErrorPolicy, by: str) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with note_round(checkpoint=at):
            watch, tasks = Watch(), list[asyncio.Task[Any]]()
            listeners = TieredListeners(at, partial(cancel_first, tasks) if by == "a listener" else forever)

            async def dispatch() -> None:
                # An eager task has run the listener before the test could keep it.
                tasks.append(this_task())
                await listeners.dispatch(strategy)

            task = asyncio.create_task(dispatch())
            if by == "another task":
                await settle()
                task.cancel("enough")
            left = await end(task)

            assert task.cancelled()
            assert type(left) is asyncio.CancelledError
            listeners.assert_cancelled_in_order(together=not isinstance(strategy, Sequential))
            watch.assert_alone()


@every_strategy
@every_policy
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_requests_in_one_iteration_all_stay(make: Make, policy: ErrorPolicy, count: int) -> None:
    """The event loop delivers them with one cancellation."""
    task = asyncio.create_task(TieredListeners(1, forever).dispatch(make(errors=policy)))
    await settle()
    for _ in range(count):
        task.cancel()
    await end(task)

    assert task.cancelled()
    assert task.cancelling() == count


@every_strategy
@every_policy
async def test_a_timeout_hides_no_request_in_its_iteration(make: Make, policy: ErrorPolicy) -> None:
    timeout = asyncio.timeout(None)

    async def body() -> None:
        async with timeout:
            await TieredListeners(1, forever).dispatch(make(errors=policy))

    task = asyncio.create_task(body())
    await settle()
    # The timeout cancels the task in the next iteration, before the task continues there.
    timeout.reschedule(-1)
    task.cancel()
    await end(task)

    assert task.cancelled()
    assert task.cancelling() == 1


@every_policy
async def test_a_listener_cancels_itself_after_another_kept_a_request(policy: ErrorPolicy) -> None:
    async def keeps_the_cancellation(event: Event) -> None:
        with suppress(asyncio.CancelledError):
            await forever()

    async def cancels_itself(event: Event) -> None:
        this_task().cancel()
        await asyncio.sleep(0)
        pytest.fail("the cancellation was not delivered")

    dispatcher = of(keeps_the_cancellation, cancels_itself)
    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=Sequential(errors=policy)))
    await settle()
    task.cancel()
    await end(task)

    assert task.cancelled()
    assert task.cancelling() == 2


@every_strategy
async def test_a_task_that_keeps_its_cancellation_dispatches_again(make: Make) -> None:
    async def body() -> str:
        with pytest.raises(asyncio.CancelledError):
            await TieredListeners(1, forever).dispatch(make())
        assert this_task().cancelling() == 1
        this_task().uncancel()
        listeners = TieredListeners()
        await listeners.dispatch(make())
        listeners.assert_complete()
        return "done"

    task = asyncio.create_task(body())
    await settle()
    task.cancel()
    assert await task == "done"


@every_strategy
async def test_a_task_that_cancelled_itself_meets_it_in_a_dispatch(make: Make) -> None:
    async def body() -> None:
        this_task().cancel()
        await TieredListeners().dispatch(make())

    task = asyncio.create_task(body())
    await end(task)
    assert task.cancelled()


@every_grouping_strategy
@every_lenient_policy
async def test_no_listener_hides_a_request_from_before_the_dispatch(make: Make, policy: ErrorPolicy) -> None:
    ran: list[str] = []

    async def keep(event: Event) -> None:
        with suppress(asyncio.CancelledError):
            await forever()

    async def body() -> None:
        this_task().cancel()
        await of(keep, later=logging(ran, "later")).adispatch("order.placed", strategy=make(errors=policy))

    task = asyncio.create_task(body())
    await end(task)
    assert task.cancelled()
    assert ran == []


async def test_a_requested_cancellation_has_no_note() -> None:
    task = asyncio.create_task(of(forever).adispatch("order.placed"))
    await settle()
    task.cancel()
    assert not hasattr(await end(task), "__notes__")


@every_grouping_strategy
async def test_the_last_listener_of_a_tier_may_wait_in_its_clean_up(make: Make) -> None:
    log: list[str] = []

    async def clean_up(event: Event) -> None:
        try:
            await forever()
        finally:
            await checkpoint()
            log.append("cleaned up")

    async def returns(event: Event) -> None: ...

    task = asyncio.create_task(of(returns, clean_up).adispatch("order.placed", strategy=make()))
    await settle()
    task.cancel()
    await end(task)
    assert task.cancelled()
    assert log == ["cleaned up"]


@every_strategy
async def test_a_dispatch_is_cancelled_with_its_asyncio_task_group(make: Make) -> None:
    listeners = TieredListeners(1, forever)

    async def fail() -> None:
        await settle()
        raise ValueError("sibling")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(listeners.dispatch(make()))
            group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    listeners.assert_cancelled_in_order(together=make is not Sequential)


async def test_the_end_of_the_loop_ends_a_dispatch() -> None:
    # As `asyncio.run` does: each task is cancelled by itself, the dispatch's and those of its listeners.
    watch, listeners, before = Watch(), TieredListeners(1, forever), asyncio.all_tasks()
    tasks = [asyncio.create_task(listeners.dispatch(strategy)) for strategy in (Sequential(), Race(), Concurrent())]
    await settle()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    for task in tasks:
        left = await end(task)
        assert left is None or type(left) is asyncio.CancelledError
    watch.assert_alone()


# Errors in hand


def failing_then_blocked(errors: int = 1) -> AsyncEventDispatcher:
    return of(*[failing(ValueError(number)) for number in range(errors)], forever)


@every_strategy
@pytest.mark.parametrize("errors", [1, 2])
async def test_errors_in_hand_and_a_native_cancellation_leave_in_one_group(make: Make, errors: int) -> None:
    dispatcher = failing_then_blocked(errors)
    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    await settle()
    task.cancel()
    left = await end(task)
    assert not task.cancelled()
    assert_errors_and_cancellation(left, errors)


@every_grouping_strategy
@pytest.mark.parametrize("order", ["error, then cancellation", "cancellation, then error"])
async def test_an_error_and_a_cancellation_in_the_same_turn_leave_together(make: Make, order: str) -> None:
    # The task group is being cancelled for the error when the cancellation comes: neither may hide the other.
    tasks: list[asyncio.Task[Any]] = []

    async def fail(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        if order == "error, then cancellation":
            asyncio.get_running_loop().call_soon(tasks[0].cancel)
        else:
            tasks[0].cancel()
        raise ValueError(0)

    dispatcher = of(fail, *([forever] if order == "error, then cancellation" else []))
    tasks.append(asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make())))
    assert_errors_and_cancellation(await end(tasks[0]))


@every_grouping_strategy
async def test_a_cancellation_passes_through_errors_in_hand(make: Make) -> None:
    inner = failing_then_blocked()

    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Concurrent(errors="collect"))

    task = asyncio.create_task(of(dispatch).adispatch("order.placed", strategy=make(errors="collect")))
    await settle()
    task.cancel()
    left = await end(task)
    assert not isinstance(left, Exception), "an `except Exception` would lose the cancellation"
    assert {type(leaf) for leaf in leaves(left)} >= {ValueError, asyncio.CancelledError}


# Timeouts


@every_strategy
async def test_asyncio_timeout_replaces_a_bare_cancellation_only(make: Make) -> None:
    with pytest.raises(TimeoutError):
        async with expiring():
            await TieredListeners(1, forever).dispatch(make())
    assert this_task().cancelling() == 0

    async def in_time() -> None:
        async with expiring():
            await failing_then_blocked().adispatch("order.placed", strategy=make(errors="collect"))

    assert_errors_and_cancellation(await left_by(in_time))
    assert this_task().cancelling() == 0


@every_strategy
def test_asyncio_wait_for_replaces_a_bare_cancellation_only(make: Make) -> None:
    async def main() -> int:
        watch = Watch()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(TieredListeners(1, forever).dispatch(make()), 1)
        watch.assert_alone()
        with_errors = failing_then_blocked()
        left = await left_by(
            lambda: asyncio.wait_for(with_errors.adispatch("order.placed", strategy=make(errors="collect")), 1)
        )
        assert_errors_and_cancellation(left)
        return this_task().cancelling()

    assert Backend("asyncio").run(main) == 0
