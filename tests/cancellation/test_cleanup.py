"""Listeners whose clean-up waits, or raises, while they are cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import Concurrent, ErrorPolicy, Event, Race, Sequential
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_lenient_policy,
    every_policy,
    every_strategy,
    every_unlimited_strategy,
    fails_in_clean_up,
    logging,
    of,
)
from tests.cancellation.tasks import (
    Watch,
    cancel_when_blocked,
    forever,
    is_cancellation,
    leaves,
    left_by,
    left_when_cancelled,
    settle,
)


async def fail(event: Event) -> None:
    await settle()
    raise ValueError("first to fail")


@every_strategy
@every_lenient_policy
async def test_an_error_of_a_clean_up_does_not_hide_the_cancellation(make: Make, policy: ErrorPolicy) -> None:
    later: list[str] = []
    dispatcher = of(fails_in_clean_up, later=logging(later, "started"))

    inside, outside = await left_when_cancelled(
        lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy))
    )

    assert not isinstance(inside, Exception)
    assert [is_cancellation(leaf) for leaf in leaves(inside)] == ([False, True] if policy == "collect" else [True])
    assert [str(leaf) for leaf in leaves(outside)] == (["clean-up"] if policy == "collect" else [])
    assert later == []


@every_grouping_strategy
async def test_under_raise_a_clean_up_error_leaves_with_it(make: Make) -> None:
    inside, outside = await left_when_cancelled(
        lambda: of(fails_in_clean_up).adispatch("order.placed", strategy=make())
    )
    assert type(inside) is BaseExceptionGroup
    assert isinstance(outside, ExceptionGroup)
    assert [str(error) for error in outside.exceptions] == ["clean-up"]


async def test_in_turn_under_raise_an_error_of_a_clean_up_leaves_alone() -> None:
    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="clean-up"):
            with CancelScope() as scope:
                group.start_soon(cancel_when_blocked, scope)
                await of(fails_in_clean_up).adispatch("order.placed")


@every_unlimited_strategy
async def test_errors_of_cancelled_siblings_leave_in_order(make: Make) -> None:
    watch, dispatcher = Watch(), of(fails_in_clean_up, fail, fails_in_clean_up)
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make()))
    assert type(left) is ExceptionGroup
    assert [str(error) for error in left.exceptions] == ["clean-up", "first to fail", "clean-up"]
    watch.assert_alone()


@every_unlimited_strategy
@pytest.mark.parametrize("how", ["cleans up in a shield", "keeps the cancellation"])
async def test_a_cancelled_sibling_is_awaited(make: Make, how: str) -> None:
    log, watch = list[str](), Watch()

    async def sibling(event: Event) -> None:
        try:
            await forever()
        except anyio.get_cancelled_exc_class():
            with CancelScope(shield=True):
                await settle()
            log.append("ended")
            if how == "cleans up in a shield":
                raise

    left = await left_by(lambda: of(sibling, fail).adispatch("order.placed", strategy=make()))
    assert [str(leaf) for leaf in leaves(left)] == ["first to fail"]
    assert log == ["ended"]
    watch.assert_alone()


@every_strategy
@every_policy
@pytest.mark.parametrize("fails", [False, True], ids=["runs", "fails"])
async def test_a_dispatch_in_a_shielded_clean_up_is_not_cancelled(make: Make, policy: Any, fails: bool) -> None:
    # The cancellation is the context of the error, but it came before the dispatch.
    async def flush(event: Event) -> None:
        await checkpoint()
        log.append("first")
        if fails:
            raise ValueError("flush")

    log, left = list[str](), list[BaseException | None]()
    dispatcher = of(flush, later=logging(log, "second"))
    with CancelScope() as scope:
        try:
            scope.cancel()
            await checkpoint()
        finally:
            with CancelScope(shield=True):
                left.append(await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy))))
    assert log == (["first"] if fails and policy == "raise" else ["first", "second"])
    assert [str(leaf) for leaf in leaves(left[0])] == (["flush"] if fails and not callable(policy) else [])
    assert policy != "collect" or not fails or type(left[0]) is ExceptionGroup
    assert scope.cancelled_caught


@every_strategy
@every_lenient_policy
async def test_a_dispatch_in_a_native_clean_up_is_not_cancelled(
    make: Make, policy: ErrorPolicy, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")

    async def flush(event: Event) -> None:
        raise ValueError("flush")

    log, left = list[str](), list[BaseException | None]()
    dispatcher = of(flush, later=logging(log, "second"))

    async def work() -> None:
        try:
            await forever()
        finally:
            left.append(await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy))))

    task = asyncio.create_task(work())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["second"]
    assert [str(leaf) for leaf in leaves(left[0])] == (["flush"] if policy == "collect" else [])


@pytest.mark.parametrize(
    "strategy",
    [Sequential(errors="collect"), Concurrent(errors="collect"), Race(errors="collect"), Concurrent()],
    ids=repr,
)
async def test_an_error_of_a_clean_up_does_not_hide_a_native_cancellation(
    strategy: Any, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    dispatcher = of(fails_in_clean_up, later=forever)
    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=strategy))
    await settle()
    task.cancel()
    await asyncio.wait([task])
    left = task.exception()
    assert type(left) is BaseExceptionGroup
    assert [type(member) for member in left.exceptions] == [ValueError, asyncio.CancelledError]
