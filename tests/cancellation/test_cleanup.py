"""Listeners whose clean-up takes its time, or raises, while they are cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from anyio import CancelScope, lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, Race, Sequential
from tests.cancellation.listeners import Make, every_grouping_strategy, every_policy, every_strategy, overlook
from tests.cancellation.tasks import Watch, forever, is_cancellation, leaves, left_by, settle

only_unlimited = pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])


async def fails_in_cleanup(event: Event) -> None:
    try:
        await forever()
    finally:
        raise ValueError("clean-up")


async def _cancel_when_blocked(scope: CancelScope) -> None:
    await settle()
    scope.cancel()


@every_strategy
@pytest.mark.parametrize("policy", ["collect", overlook], ids=["collect", "callable"])
async def test_an_error_of_a_cleanup_does_not_cover_the_outer_cancellation(make: Make, policy: ErrorPolicy) -> None:
    dispatcher = AsyncEventDispatcher()
    later: list[str] = []
    dispatcher.add_listener("order.placed", fails_in_cleanup)

    @dispatcher.listen("order.placed", priority=1)
    async def never(event: Event) -> None:
        later.append("started")

    inside: BaseException | None = None
    outside: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            with CancelScope() as scope:
                group.start_soon(_cancel_when_blocked, scope)
                try:
                    await dispatcher.adispatch("order.placed", strategy=make(errors=policy))
                except BaseException as exc:
                    inside = exc
                    raise
        except BaseException as exc:
            outside = exc

    assert not isinstance(inside, Exception)
    assert [is_cancellation(leaf) for leaf in leaves(inside)] == ([False, True] if policy == "collect" else [True])
    assert [str(leaf) for leaf in leaves(outside)] == (["clean-up"] if policy == "collect" else [])
    assert later == []


@every_grouping_strategy
async def test_under_raise_an_error_of_a_cleanup_leaves_with_the_outer_cancellation(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", fails_in_cleanup)
    inside: BaseException | None = None
    async with anyio.create_task_group() as group:
        with pytest.raises(ExceptionGroup) as caught:
            with CancelScope() as scope:
                group.start_soon(_cancel_when_blocked, scope)
                try:
                    await dispatcher.adispatch("order.placed", strategy=make())
                except BaseException as exc:
                    inside = exc
                    raise
    assert type(inside) is BaseExceptionGroup
    assert [str(error) for error in caught.value.exceptions] == ["clean-up"]


async def test_in_a_sequential_dispatch_under_raise_an_error_of_a_cleanup_leaves_as_it_would_without_a_dispatcher() -> (
    None
):
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", fails_in_cleanup)
    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="clean-up"):
            with CancelScope() as scope:
                group.start_soon(_cancel_when_blocked, scope)
                await dispatcher.adispatch("order.placed")


@only_unlimited
async def test_the_errors_of_cancelled_siblings_leave_with_the_one_that_cancelled_them_in_dispatch_order(
    make: Make,
) -> None:
    dispatcher, watch = AsyncEventDispatcher(), Watch()
    dispatcher.add_listener("order.placed", fails_in_cleanup)

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError("first to fail")

    dispatcher.add_listener("order.placed", fails_in_cleanup)

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make())
    assert [str(error) for error in caught.value.exceptions] == ["clean-up", "first to fail", "clean-up"]
    watch.assert_alone()


@only_unlimited
async def test_a_sibling_that_cleans_up_in_a_shield_is_waited_for(make: Make) -> None:
    dispatcher, watch = AsyncEventDispatcher(), Watch()
    log: list[str] = []

    @dispatcher.listen("order.placed")
    async def tidy(event: Event) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await settle()
                log.append("tidied")

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError

    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.placed", strategy=make())
    assert log == ["tidied"]
    watch.assert_alone()


@only_unlimited
async def test_a_sibling_that_swallows_its_cancellation_finishes_and_the_error_still_leaves(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []

    @dispatcher.listen("order.placed")
    async def stubborn(event: Event) -> None:
        try:
            await forever()
        except anyio.get_cancelled_exc_class():
            log.append("swallowed")

    @dispatcher.listen("order.placed")
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError

    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.placed", strategy=make())
    assert log == ["swallowed"]


@every_strategy
@every_policy
async def test_a_dispatch_in_a_shielded_cleanup_runs_all_its_listeners(make: Make, policy: ErrorPolicy) -> None:
    log: list[str] = []
    dispatcher = AsyncEventDispatcher()
    for name in "abc":
        dispatcher.add_listener("closing", _logging(log, name), priority=ord(name))
    with CancelScope() as scope:
        try:
            scope.cancel()
            await lowlevel.checkpoint()
        finally:
            with CancelScope(shield=True):
                await dispatcher.adispatch("closing", strategy=make(errors=policy))
    assert log == ["a", "b", "c"]
    assert scope.cancelled_caught


def _logging(log: list[str], name: str) -> Any:
    async def listener(event: Event) -> None:
        await lowlevel.checkpoint()
        log.append(name)

    return listener


@every_strategy
@pytest.mark.parametrize("policy", ["collect", overlook], ids=["collect", "callable"])
async def test_an_error_in_a_dispatch_of_a_shielded_cleanup_is_an_error_and_no_cancellation(
    make: Make, policy: ErrorPolicy
) -> None:
    # The cancellation that is being cleaned up after is the error's context, but it was there before the dispatch.
    log: list[str] = []
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("closing")
    async def fail(event: Event) -> None:
        await lowlevel.checkpoint()
        raise ValueError("flush")

    dispatcher.add_listener("closing", _logging(log, "second"), priority=1)
    left: BaseException | None = None
    with CancelScope() as scope:
        try:
            scope.cancel()
            await lowlevel.checkpoint()
        finally:
            with CancelScope(shield=True):
                left = await left_by(lambda: dispatcher.adispatch("closing", strategy=make(errors=policy)))
    assert log == ["second"]
    assert [str(leaf) for leaf in leaves(left)] == (["flush"] if policy == "collect" else [])
    assert policy != "collect" or type(left) is ExceptionGroup
    assert scope.cancelled_caught


@every_strategy
@pytest.mark.parametrize("policy", ["collect", overlook], ids=["collect", "callable"])
async def test_an_error_in_a_dispatch_of_a_native_cleanup_is_an_error_and_no_cancellation(
    make: Make, policy: ErrorPolicy, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    log: list[str] = []
    lefts: list[BaseException | None] = []
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("closing")
    async def fail(event: Event) -> None:
        raise ValueError("flush")

    dispatcher.add_listener("closing", _logging(log, "second"), priority=1)

    async def work() -> None:
        try:
            await forever()
        finally:
            lefts.append(await left_by(lambda: dispatcher.adispatch("closing", strategy=make(errors=policy))))

    task = asyncio.create_task(work())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["second"]
    assert [str(leaf) for leaf in leaves(lefts[0])] == (["flush"] if policy == "collect" else [])


async def test_an_error_of_a_cleanup_does_not_cover_a_native_cancellation(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    for strategy in (Sequential(errors="collect"), Concurrent(errors="collect"), Race(errors="collect"), Concurrent()):
        dispatcher = AsyncEventDispatcher()
        dispatcher.add_listener("order.placed", fails_in_cleanup)
        dispatcher.add_listener("order.placed", forever, priority=1)
        task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=strategy))
        await settle()
        task.cancel()
        await asyncio.wait([task])
        left = task.exception()
        assert type(left) is BaseExceptionGroup
        assert [type(member) for member in left.exceptions] == [ValueError, asyncio.CancelledError]
