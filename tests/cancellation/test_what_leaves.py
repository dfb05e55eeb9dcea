"""Which cancellation leaves a dispatch: the one that the listener received, unless its caller could not use that one."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, Plan
from antiphon.testing import Backend
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_strategy,
    every_unlimited_strategy,
    failing,
    make_stored_cancellation,
    of,
    overlook,
)
from tests.cancellation.native import dispatch, handles_its_failed_group, this_task
from tests.cancellation.tasks import cancel_when_blocked, is_cancellation, leaves, left_by

ASYNCIO = Backend("asyncio")


async def naps(event: Event) -> None:
    await anyio.sleep(0.01)


@every_strategy
@pytest.mark.parametrize("by", ["scope", "task"])
def test_the_cancellation_of_the_only_listener_leaves_at_once(make: Make, by: str) -> None:
    """It leaves unchanged, and before the event loop runs anything else."""

    async def main() -> None:
        received, log = list[BaseException](), list[str]()

        async def waits(event: Event) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as exc:
                received.append(exc)
                asyncio.get_running_loop().call_soon(log.append, "next turn")
                raise

        async def body() -> None:
            with anyio.CancelScope() as scope:
                if by == "scope":
                    asyncio.get_running_loop().call_later(0.01, scope.cancel)
                left = await left_by(dispatch(make(errors="collect"), waits))
                log.append("left")
                assert left is received[0]
                raise left

        task = asyncio.create_task(body())
        if by == "task":
            asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert task.cancelled() == (by == "task")
        assert log == ["left", "next turn"]

    ASYNCIO.run(main)


@every_unlimited_strategy
def test_the_cancellation_of_a_listener_in_the_task_of_the_caller_leaves(make: Make) -> None:
    received: list[BaseException] = []

    async def waits(event: Event) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as exc:
            received.append(exc)
            raise

    async def main() -> BaseException | None:
        task = asyncio.create_task(left_by(dispatch(make(), waits, waits)))
        await asyncio.sleep(0.01)
        task.cancel()
        return await task

    left = ASYNCIO.run(main)
    assert type(left) is asyncio.CancelledError
    assert any(left is each for each in received)


@every_strategy
def test_a_cancelled_task_is_not_left_with_the_cancellation_of_a_scope(make: Make) -> None:
    """Any scope could catch that one as its own, so the dispatch makes another one, with the message of the request."""

    async def main() -> tuple[object, ...]:
        stored = await make_stored_cancellation()

        async def leaks_when_cancelled(event: Event) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise stored from None

        task = asyncio.create_task(dispatch(make(errors="collect"), leaks_when_cancelled)())
        await asyncio.sleep(0.01)
        task.cancel("shutdown")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.args

    assert ASYNCIO.run(main) == ("shutdown",)


@every_strategy
def test_a_cancelled_scope_catches_the_dispatch_whatever_the_listener_raises(make: Make) -> None:
    """AnyIO's scope catches only cancellations with its own message."""

    async def main() -> None:
        with anyio.CancelScope() as scope:

            async def raises_another(event: Event) -> None:
                scope.cancel()
                raise asyncio.CancelledError

            await dispatch(make(errors="collect"), raises_another)()
        assert scope.cancelled_caught
        assert this_task().cancelling() == 0

    ASYNCIO.run(main)


@every_strategy
def test_a_cancelled_scope_catches_the_dispatch_after_a_request_was_taken_back(make: Make) -> None:
    """The request is delivered before the cancellation of the scope, which leaves nevertheless."""

    async def main() -> None:
        with anyio.CancelScope() as scope:

            async def cancels_both(event: Event) -> None:
                scope.cancel()
                this_task().cancel()
                raise asyncio.CancelledError

            try:
                await dispatch(make(errors="collect"), cancels_both)()
            finally:
                this_task().uncancel()
        assert scope.cancelled_caught
        assert this_task().cancelling() == 0

    ASYNCIO.run(main)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the group leaves the count too high, also in a loop by hand")
@every_strategy
def test_a_request_that_was_repeated_at_the_end_does_not_follow_the_dispatch(make: Make) -> None:
    """A failed `asyncio.TaskGroup` makes the request once more on Python 3.13, after it was delivered."""

    async def main() -> None:
        async def cleans_up_in_a_group(event: Event) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await handles_its_failed_group(event)

        async def body() -> None:
            assert type(await left_by(dispatch(make(errors="collect"), cleans_up_in_a_group))) is asyncio.CancelledError
            assert this_task().cancelling() == 1
            await asyncio.sleep(0)
            this_task().uncancel()

        task = asyncio.create_task(body())
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    ASYNCIO.run(main)


@every_grouping_strategy
async def test_a_group_of_cancellations_leaves_as_one(make: Make) -> None:
    with anyio.CancelScope() as scope:

        async def raises_two(event: Event) -> None:
            scope.cancel()
            received: list[BaseException] = []
            for _ in range(2):
                try:
                    await checkpoint()
                except anyio.get_cancelled_exc_class() as exc:
                    received.append(exc)
            raise BaseExceptionGroup("twice", received)

        left: Any = await left_by(dispatch(make(), raises_two))
        assert len(leaves(left)) == 1
        raise left
    assert scope.cancelled_caught


# Errors and a cancellation


@every_strategy
@pytest.mark.parametrize("last", [1, 2], ids=["alone", "two"])
async def test_a_scope_that_the_last_listeners_cancel_without_waiting_leaves_with_the_errors(
    make: Make, last: int
) -> None:
    async def cancels(event: Event) -> None:
        scope.cancel()

    dispatcher = of(failing(ValueError()), strategy=make(errors="collect"))
    for _ in range(last):
        dispatcher.add_listener("order.placed", cancels, priority=1)
    with anyio.CancelScope() as scope:
        left = await left_by(lambda: dispatcher.adispatch("order.placed"))

    assert [is_cancellation(leaf) for leaf in leaves(left)] == [False, True]


@every_grouping_strategy
async def test_the_only_listener_of_the_last_tier_hides_no_cancellation_of_a_scope(make: Make) -> None:
    async def keeps(event: Event) -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()

    async def returns(event: Event) -> None: ...

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_blocked, scope)
            await dispatch(make(), returns, later=keeps)()
            pytest.fail("the dispatch returned")
    assert scope.cancelled_caught


@every_strategy
@pytest.mark.parametrize("count", [1, 2], ids=["alone", "two"])
async def test_a_handled_error_hides_no_cancellation_of_a_scope(make: Make, count: int) -> None:
    async def cancels_and_fails(event: Event) -> None:
        scope.cancel()
        raise ValueError

    with anyio.CancelScope() as scope:
        await dispatch(make(errors=overlook), *[cancels_and_fails] * count)()
        pytest.fail("the dispatch returned")
    assert scope.cancelled_caught


@every_unlimited_strategy
async def test_another_exception_of_a_listener_in_a_task_leaves(make: Make) -> None:
    """Test frameworks raise such exceptions."""

    class Failed(BaseException): ...

    async def waits_and_fails(event: Event) -> None:
        await checkpoint()
        raise failed

    failed = Failed()
    assert await left_by(dispatch(make(), naps, waits_and_fails)) is failed


@every_unlimited_strategy
def test_an_interrupt_after_an_error_leaves_with_it(make: Make) -> None:
    async def interrupts(event: Event) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise KeyboardInterrupt

    async def fails(event: Event) -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    left = ASYNCIO.run(left_by, dispatch(make(), interrupts, fails))
    assert [type(leaf) for leaf in leaves(left)] == [ValueError, KeyboardInterrupt]


@every_unlimited_strategy
def test_a_request_after_the_error_of_another_listener_leaves_with_it(make: Make) -> None:
    async def cancels_in_a_shield(event: Event) -> None:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0.1)
        this_task().cancel()

    async def fails(event: Event) -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    left = ASYNCIO.run(left_by, dispatch(make(), cancels_in_a_shield, fails))
    assert [type(leaf) for leaf in leaves(left)] == [ValueError, asyncio.CancelledError]


# What remains afterwards


@every_strategy
@pytest.mark.parametrize("others", [(), (naps,)], ids=["alone", "with-one"])
def test_a_task_that_outlives_a_dispatch_does_not_keep_the_task_of_the_caller(make: Make, others: Any) -> None:
    async def main() -> None:
        release, started = asyncio.Event(), list[asyncio.Task[Any]]()

        async def starts(event: Event) -> None:
            started.append(asyncio.create_task(release.wait()))

        task = asyncio.create_task(left_by(dispatch(make(errors="collect"), starts, *others)))
        await asyncio.wait([task])
        caller = weakref.ref(task)
        del task
        gc.collect()
        assert caller() is None
        release.set()
        await started[0]

    ASYNCIO.run(main)


async def test_an_empty_plan_is_no_checkpoint() -> None:
    class Choosing:
        async def run(self, plan: Plan, event: Any) -> None:
            await Concurrent().run(plan, event)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await AsyncEventDispatcher(strategy=Choosing()).adispatch("order.placed")
    assert not scope.cancelled_caught
