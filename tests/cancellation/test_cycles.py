"""A dispatch leaves no reference cycles, which only the garbage collector would find."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event, Strategy
from antiphon.testing import settle
from tests.cancellation.listeners import Make, every_policy, every_strategy, every_unlimited_strategy, of
from tests.cancellation.tasks import forever

pytestmark = pytest.mark.usefixtures("frozen_heap")


async def yields(event: Event) -> None:
    await checkpoint()


async def fails(event: Event) -> None:
    await checkpoint()
    raise ValueError


async def stops(event: Event) -> None:
    await checkpoint()
    event.stop_propagation()


async def keeps_the_cancellation(event: Event) -> None:
    with suppress(asyncio.CancelledError):
        await forever()


async def count_unreachable(dispatcher: AsyncEventDispatcher, strategy: Strategy) -> int:
    """Dispatch a few times, and count what only the garbage collector finds."""

    async def dispatch() -> None:
        try:
            await dispatcher.adispatch("order.placed", strategy=strategy)
        except Exception:
            pass

    return await count_unreachable_of(dispatch)


async def count_unreachable_of(function: Callable[[], Awaitable[None]]) -> int:
    await function()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await function()
        return gc.collect()
    finally:
        gc.enable()


@every_strategy
@every_policy
@pytest.mark.parametrize(
    "listeners",
    [(fails,), (fails, yields), (fails, fails), (stops, yields)],
    ids=["alone", "fails", "fail", "stops"],
)
async def test_a_dispatch_leaves_no_cycles(make: Make, policy: Any, listeners: Any) -> None:
    """A cancelled child of AnyIO's task group leaves some 35 objects on asyncio."""
    assert await count_unreachable(of(*listeners), make(errors=policy)) == 0


@every_unlimited_strategy
async def test_listeners_that_are_cancelled_for_an_error_leave_no_cycles(make: Make) -> None:
    assert await count_unreachable(of(forever, fails, forever), make()) == 0


@every_strategy
@every_policy
@pytest.mark.parametrize("listeners", [(forever,), (forever, forever)], ids=["one", "two"])
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_a_dispatch_that_a_scope_cancels_leaves_no_cycles(make: Make, policy: Any, listeners: Any) -> None:
    """On asyncio, a cancelled cancel scope of AnyIO leaves some."""
    dispatcher, strategy = of(*listeners), make(errors=policy)

    async def dispatch_and_cancel() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(dispatcher.adispatch, "order.placed", strategy=strategy))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    assert await count_unreachable_of(dispatch_and_cancel) == 0


@every_strategy
@every_policy
@pytest.mark.parametrize(
    "listeners",
    [(forever,), (forever, forever), (keeps_the_cancellation,), (forever, keeps_the_cancellation)],
    ids=["one", "two", "one-keeps-it", "two-one-keeps-it"],
)
@pytest.mark.parametrize("scope", [nullcontext, CancelScope], ids=["alone", "in-a-scope"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_dispatch_whose_task_is_cancelled_leaves_no_cycles(
    make: Make, policy: Any, listeners: Any, scope: Callable[[], AbstractContextManager[object]]
) -> None:
    strategy = make(errors=policy)
    dispatcher = of(*listeners, strategy=strategy)

    async def dispatch(**arguments: Any) -> None:
        with scope():
            await dispatcher.adispatch("order.placed", **arguments)

    async def dispatch_and_cancel() -> None:
        # A single listener has other code under the strategy of the dispatcher.
        for call in (dispatch(), dispatch(strategy=strategy)):
            task = asyncio.ensure_future(call)
            await settle()
            task.cancel()
            await asyncio.wait([task])

    assert await count_unreachable_of(dispatch_and_cancel) == 0
