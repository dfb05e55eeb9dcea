"""asyncio's own cancellation within the listeners of a dispatch."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import Concurrent, ErrorPolicy, Event, ListenerCancelled, Sequential
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_policy,
    every_strategy,
    every_unlimited_strategy,
    failing,
    of,
)
from tests.cancellation.native import assert_errors_and_cancellation, end, this_task
from tests.cancellation.tasks import Watch, forever, leaves, left_by, settle
from tests.loops import ASYNCIO


@pytest.fixture(params=ASYNCIO, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Trio has no such ways."""
    return request.param


async def cancel_and_wait(event: Event) -> None:
    """Cancel the task, and meet the cancellation."""
    this_task().cancel("its own")
    await checkpoint()


async def checkpoint_once(event: Event) -> None:
    await checkpoint()


async def cancel_and_return(event: Event) -> None:
    this_task().cancel()


@every_strategy
async def test_in_the_callers_task_a_listener_cancels_the_caller(make: Make) -> None:
    ran: list[str] = []

    async def later(event: Event) -> None:
        ran.append("started")
        await checkpoint()
        ran.append("not reached")

    task = asyncio.create_task(of(cancel_and_return, later).adispatch("order.placed", strategy=make()))
    await end(task)
    assert task.cancelled()
    assert ran == ["started"]


@every_unlimited_strategy
@every_policy
@pytest.mark.parametrize("cancel", [cancel_and_wait, cancel_and_return], ids=lambda cancel: cancel.__name__)
async def test_in_its_own_task_it_ends_the_dispatch_with_that_cancellation(
    make: Make, policy: ErrorPolicy, cancel: Any
) -> None:
    watch, log = Watch(), list[str]()

    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            log.append("cancelled")

    async def later(event: Event) -> None:
        log.append("later")

    dispatcher = of(sibling, cancel, later=later)
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy)))
    assert type(left) is asyncio.CancelledError
    assert log == ["cancelled"]
    assert this_task().cancelling() == 0, "the caller's own task was cancelled"
    watch.assert_alone()


@every_unlimited_strategy
async def test_in_its_own_task_the_last_listener_cancels_and_returns(make: Make) -> None:
    async def cancel_last(event: Event) -> None:
        await settle()
        this_task().cancel()

    left = await left_by(lambda: of(checkpoint_once, cancel_last).adispatch("order.placed", strategy=make()))
    assert type(left) is asyncio.CancelledError
    assert this_task().cancelling() == 0, "the caller's own task was cancelled"


@every_unlimited_strategy
async def test_in_its_own_task_the_last_listener_raises_no_exception_of_python(make: Make) -> None:
    """Such an exception is neither an error nor a cancellation, and leaves the dispatch."""

    class Ending(BaseException): ...

    async def end_last(event: Event) -> None:
        await settle()
        raise Ending

    left = await left_by(lambda: of(checkpoint_once, end_last).adispatch("order.placed", strategy=make()))
    assert type(left) is Ending


@every_unlimited_strategy
async def test_a_task_cancelled_before_it_starts_ends_the_dispatch(make: Make) -> None:
    others = asyncio.all_tasks()

    def cancel() -> None:
        for task in asyncio.all_tasks() - others:
            task.cancel()

    async def wait(event: Event) -> None:
        asyncio.get_running_loop().call_soon(cancel)
        await forever()

    with warnings.catch_warnings():
        # The coroutine of such a task is never awaited, and warns when it is collected.
        warnings.simplefilter("ignore", RuntimeWarning)
        left = await left_by(lambda: of(wait, forever).adispatch("order.placed", strategy=make()))
        assert type(left) is asyncio.CancelledError
        del left
        gc.collect()


@every_grouping_strategy
@every_policy
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
async def test_a_listener_that_keeps_a_cancellation_hides_it_from_no_other(
    make: Make, policy: ErrorPolicy, fails: bool
) -> None:
    async def keep(event: Event) -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            if fails:
                raise ValueError(0) from None

    watch, dispatcher = Watch(), of(keep, forever, later=forever)
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


async def test_a_request_that_a_listener_keeps_is_not_left_to_the_next() -> None:
    tasks, counts, counted = list[asyncio.Task[Any]](), list[int](), anyio.Event()

    async def wait(event: Event) -> None:
        await counted.wait()

    async def keep(event: Event) -> None:
        tasks.append(this_task())
        with suppress(asyncio.CancelledError):
            await cancel_and_wait(event)

    async def count(event: Event) -> None:
        tasks.append(this_task())
        counts.append(this_task().cancelling())
        counted.set()

    await of(wait, keep, count).adispatch("order.placed", strategy=Concurrent(2))
    assert tasks[0] is tasks[1]
    assert counts == [0]


@every_grouping_strategy
async def test_errors_in_hand_leave_with_a_listeners_own_cancellation(make: Make) -> None:
    async def cancel(event: Event) -> None:
        await settle()
        await cancel_and_wait(event)

    left = await left_by(
        lambda: of(failing(ValueError(0)), cancel).adispatch("order.placed", strategy=make(errors="collect"))
    )
    assert_errors_and_cancellation(left)


async def test_to_the_outer_dispatch_that_cancellation_is_a_leak() -> None:
    inner = of(forever, cancel_and_wait)

    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Concurrent())

    left = await left_by(lambda: of(dispatch).adispatch("order.placed", strategy=Sequential(errors="collect")))
    assert isinstance(left, ExceptionGroup)
    assert [type(error) for error in left.exceptions] == [ListenerCancelled]


@every_grouping_strategy
async def test_a_listener_that_takes_its_own_cancellation_back_goes_on(make: Make) -> None:
    log: list[str] = []

    async def change_its_mind(event: Event) -> None:
        try:
            await cancel_and_wait(event)
        except asyncio.CancelledError:
            this_task().uncancel()
        await checkpoint()
        log.append("went on")

    async def sibling(event: Event) -> None:
        await settle()
        log.append("undisturbed")

    await of(change_its_mind, sibling).adispatch("order.placed", strategy=make())
    assert log == ["went on", "undisturbed"]


@every_strategy
async def test_an_asyncio_timeout_within_a_listener_is_an_error(make: Make) -> None:
    log: list[str] = []

    async def impatient(event: Event) -> None:
        async with asyncio.timeout(0):
            await forever()

    async def sibling(event: Event) -> None:
        await settle()
        log.append("undisturbed")

    left = await left_by(lambda: of(impatient, sibling).adispatch("order.placed", strategy=make(errors="collect")))
    assert isinstance(left, ExceptionGroup)
    assert [type(error) for error in left.exceptions] == [TimeoutError]
    assert log == ["undisturbed"]


@every_strategy
async def test_listeners_may_start_tasks_that_outlive_the_dispatch(make: Make) -> None:
    release, started = asyncio.Event(), list[asyncio.Task[Any]]()

    async def start(event: Event) -> None:
        started.append(asyncio.create_task(release.wait()))

    await of(start).adispatch("order.placed", strategy=make())
    assert not started[0].done()
    release.set()
    await started[0]
