"""A listener that cancels its own task: what the request changes for that listener, and for no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import Concurrent, Event, ListenerCancelled, Race, Sequential
from antiphon.testing import Backend
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_lenient_policy,
    every_strategy,
    every_unlimited_strategy,
    overlook,
)
from tests.cancellation.native import dispatch, end, handles_its_failed_group, this_task, times_out_without_uncancel
from tests.cancellation.tasks import leaves, left_by

ASYNCIO = Backend("asyncio")


async def naps(event: Event) -> None:
    await anyio.sleep(0.1)


async def returns(event: Event) -> None: ...


async def cancels_itself_once_more(event: Event) -> None:
    """Keep a cancellation, and another one that the listener has requested itself."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    this_task().cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def keeps_a_request_and_fails(event: Event) -> None:
    await times_out_without_uncancel(event)
    raise ValueError


# Requests that the listener does not take back


@every_grouping_strategy
@pytest.mark.parametrize("others", [(), (naps,)], ids=["alone", "with-one"])
def test_a_kept_request_is_taken_back_in_a_shield_too(make: Make, others: Any) -> None:
    """The scope around the shield has cancelled the task as well, and takes back its own request when it ends."""

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await checkpoint()
            finally:
                with anyio.CancelScope(shield=True):
                    before = this_task().cancelling()
                    await dispatch(make(), times_out_without_uncancel, *others)()
                    assert this_task().cancelling() == before
        assert this_task().cancelling() == 0

    ASYNCIO.run(main)


@every_grouping_strategy
@pytest.mark.parametrize("before", [True, False], ids=["before", "meanwhile"])
@pytest.mark.parametrize("others", [(), (naps,)], ids=["alone", "with-one"])
def test_a_kept_request_is_taken_back_from_a_cancelled_task(make: Make, before: bool, others: Any) -> None:
    async def main() -> tuple[bool, int]:
        counts: list[int] = []

        async def body() -> None:
            if before:
                this_task().cancel()
            try:
                await dispatch(make(), cancels_itself_once_more, *others)()
            finally:
                counts.append(this_task().cancelling())

        task = asyncio.create_task(body())
        await asyncio.sleep(0.01)
        if not before:
            task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), counts[0]

    assert ASYNCIO.run(main) == (True, 1)


@every_grouping_strategy
@pytest.mark.parametrize("kept", [times_out_without_uncancel, keeps_a_request_and_fails], ids=["returns", "fails"])
@pytest.mark.parametrize("before", [(), (naps,)], ids=["first", "second"])
@pytest.mark.parametrize("after", [False, True], ids=["last", "then-another"])
def test_a_kept_request_is_taken_back_before_the_next_listener(make: Make, kept: Any, before: Any, after: bool) -> None:
    counts: list[int] = []

    async def count(event: Event) -> None:
        counts.append(this_task().cancelling())

    async def main() -> None:
        await left_by(dispatch(make(errors=overlook), *before, kept, *[count] * after))
        counts.append(this_task().cancelling())

    ASYNCIO.run(main)
    assert counts == [0] * (1 + after)


@every_strategy
def test_a_kept_request_does_not_hide_a_leak(make: Make) -> None:
    async def leaks(event: Event) -> None:
        await times_out_without_uncancel(event)
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async def main() -> None:
        left = await left_by(dispatch(make(errors="collect"), leaks))
        assert [type(leaf) for leaf in leaves(left)] == [ListenerCancelled]

    ASYNCIO.run(main)


@pytest.mark.parametrize("waits", [checkpoint, lambda: anyio.sleep(0.01)], ids=["yields", "sleeps"])
@pytest.mark.parametrize("first", [times_out_without_uncancel, keeps_a_request_and_fails], ids=["returns", "fails"])
def test_in_turn_a_kept_request_is_not_repeated_to_the_next(first: Any, waits: Callable[[], Awaitable[None]]) -> None:
    """A failed `asyncio.TaskGroup` makes the request once more on Python 3.13, because its task still counts it."""
    ran: list[str] = []

    async def handles_its_failed_group_then_waits(event: Event) -> None:
        await handles_its_failed_group(event)
        await waits()
        ran.append("waited")

    async def main() -> None:
        await dispatch(Sequential(errors=overlook), first, handles_its_failed_group_then_waits, returns)()

    ASYNCIO.run(main)
    assert ran == ["waited"]


def test_a_loser_that_kept_a_request_loses_without_an_error() -> None:
    """AnyIO's cancel scope does not catch its own cancellation while the task counts another request."""

    async def keeps_and_waits(event: Event) -> None:
        await times_out_without_uncancel(event)
        await anyio.sleep(60)

    async def wins(event: Event) -> None:
        await anyio.sleep(0.1)
        event.stop_propagation()

    async def main() -> None:
        for listeners in [(keeps_and_waits, wins), (wins, keeps_and_waits)]:
            await dispatch(Race(), *listeners)()
            assert this_task().cancelling() == 0

    ASYNCIO.run(main)


# Whose request it is


@every_grouping_strategy
def test_after_a_tier_that_waited_a_request_is_still_the_listeners_own(make: Make) -> None:
    ran: list[str] = []

    async def later(event: Event) -> None:
        await times_out_without_uncancel(event)
        await anyio.sleep(0.01)
        ran.append("later")

    ASYNCIO.run(dispatch(make(), naps, naps, later=later))
    assert ran == ["later"]


@every_unlimited_strategy
def test_a_request_by_a_listener_that_has_finished_is_the_callers(make: Make) -> None:
    """The task of the caller then only waits for the others."""

    async def cancels_later(event: Event) -> None:
        asyncio.get_running_loop().call_later(0.05, this_task().cancel)
        await anyio.sleep(0.01)

    async def main() -> None:
        assert type(await left_by(dispatch(make(), cancels_later, naps))) is asyncio.CancelledError
        assert this_task().cancelling() == 1
        this_task().uncancel()

    ASYNCIO.run(main)


@pytest.mark.parametrize("listeners", [3, 4])
def test_after_a_wait_a_timeout_is_still_of_the_next_listener(listeners: int) -> None:
    ran: list[str] = []

    async def times_out(event: Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        await asyncio.sleep(0)
        ran.append("timed out")

    ASYNCIO.run(dispatch(Concurrent(2), naps, naps, *[times_out] * (listeners - 2)))
    assert ran == ["timed out"] * (listeners - 2)


@every_unlimited_strategy
def test_a_request_by_another_listener_cancels_the_dispatch(make: Make) -> None:
    """Also if the listener that receives the cancellation keeps it."""

    async def main() -> None:
        caller = this_task()

        async def keeps(event: Event) -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        async def cancels_the_caller(event: Event) -> None:
            caller.cancel()
            await asyncio.sleep(0)

        assert type(await left_by(dispatch(make(), keeps, cancels_the_caller))) is asyncio.CancelledError
        assert caller.uncancel() == 0

    ASYNCIO.run(main)


@every_strategy
def test_a_request_by_a_task_of_a_nested_dispatch_is_the_listeners_own(make: Make) -> None:
    """The task outlives that dispatch, and makes the request in a dispatch of its own."""
    ran: list[str] = []

    async def main() -> None:
        caller, finished = this_task(), asyncio.Event()

        async def cancels(event: Event) -> None:
            caller.cancel()

        async def starts(event: Event) -> None:
            async def run() -> None:
                await finished.wait()
                await dispatch(Sequential(errors="collect"), cancels)()

            tasks.append(asyncio.create_task(run()))

        async def nests(event: Event) -> None:
            await dispatch(Sequential(errors="collect"), starts)()
            finished.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            ran.append("kept")

        async def later(event: Event) -> None:
            await asyncio.sleep(0)
            ran.append("later")

        tasks: list[asyncio.Task[Any]] = []
        await dispatch(make(errors=overlook), nests, later=later)()
        await asyncio.wait(tasks)

    ASYNCIO.run(main)
    assert ran == ["kept", "later"]


@every_strategy
@every_lenient_policy
def test_a_group_with_the_listeners_own_cancellation_is_not_an_error(make: Make, policy: Any) -> None:
    async def raises_both(event: Event) -> None:
        this_task().cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as exc:
            raise BaseExceptionGroup("both", [exc, ValueError()]) from None

    async def main() -> None:
        left = await left_by(dispatch(make(errors=policy), raises_both))
        assert [type(leaf) for leaf in leaves(left)] == [ValueError, asyncio.CancelledError]

    ASYNCIO.run(main)


# Requests that do not reach the listener, or reach it late


@every_strategy
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
def test_a_request_that_a_task_of_the_listener_handles_does_not_end_the_dispatch(make: Make, fails: bool) -> None:
    ran: list[str] = []

    async def handles() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if fails:
                raise ValueError from None

    async def waits_for_a_task(event: Event) -> None:
        await asyncio.create_task(handles())

    async def later(event: Event) -> None:
        await asyncio.sleep(0)
        ran.append("later")

    async def main() -> BaseException | None:
        task = asyncio.create_task(dispatch(make(errors=overlook), waits_for_a_task, later=later)())
        await asyncio.sleep(0.01)
        task.cancel()
        return await end(task)

    assert ASYNCIO.run(main) is None
    assert ran == ["later"]


@every_strategy
def test_in_a_cancelled_dispatch_a_request_is_repeated_as_in_any_task(make: Make) -> None:
    """Python 3.13 repeats the request to a task whose `asyncio.TaskGroup` has failed meanwhile."""
    ran: list[str] = []

    async def fails_in_its_group(event: Event) -> None:
        async def fail() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                raise KeyError

        with suppress(BaseExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(60)
        await asyncio.sleep(1)
        ran.append("not cancelled again")

    async def main(call: Callable[[], Any]) -> list[str]:
        ran.clear()
        task = asyncio.create_task(call())
        await asyncio.sleep(0.01)
        task.cancel()
        await end(task)
        return list(ran)

    expected = ASYNCIO.run(main, lambda: fails_in_its_group(Event()))
    assert ASYNCIO.run(main, dispatch(make(), fails_in_its_group)) == expected


@every_strategy
def test_a_result_that_comes_with_the_cancellation_of_a_scope_is_not_lost(make: Make) -> None:
    """AnyIO does not cancel a task that has a result to receive."""
    received: list[int] = []

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def receives(event: Event) -> None:
            received.append(await future)
            await checkpoint()
            pytest.fail("the cancellation was lost")

        async def sends() -> None:
            await anyio.sleep(0.01)
            future.set_result(1)
            scope.cancel()

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(sends)
                await dispatch(make(errors="collect"), receives)()
            assert scope.cancelled_caught

    ASYNCIO.run(main)
    assert received == [1]


def test_an_interrupt_by_a_loser_leaves_the_race() -> None:
    async def interrupts(event: Event) -> None:
        this_task().cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            this_task().uncancel()
            try:
                await asyncio.sleep(60)
            finally:
                raise KeyboardInterrupt

    async def wins(event: Event) -> None:
        await anyio.sleep(0.01)
        event.stop_propagation()

    async def main() -> None:
        assert type(await left_by(dispatch(Race(), interrupts, wins))) is KeyboardInterrupt

    ASYNCIO.run(main)


# What asyncio refuses


@coroutine
def give(yielded: Any) -> Generator[Any, Any, None]:
    yield yielded


@every_strategy
def test_asyncio_refuses_what_a_listener_must_not_yield(make: Make) -> None:
    """The errors are those of a task that runs the listener alone."""

    async def yields_a_number(event: Event) -> None:
        await give(5)

    async def yields_a_future(event: Event) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.1, future.set_result, None)

        async def waits(event: Event) -> None:
            await future

        task = asyncio.create_task(dispatch(Sequential(errors="collect"), waits)())
        await asyncio.sleep(0)
        try:
            await give(future)
        finally:
            await task

    async def waits_for_itself(event: Event) -> None:
        await this_task()

    for listener, text in [
        (yields_a_number, "bad yield: 5"),
        (yields_a_future, "yield was used instead of yield from"),
        (waits_for_itself, "cannot await on itself"),
    ]:
        for call in (partial(listener, Event()), dispatch(make(errors="collect"), listener)):
            (error,) = leaves(ASYNCIO.run(left_by, call))
            assert type(error) is RuntimeError
            assert text in str(error)
