"""Dispatches that are nested without end, and those that only look so."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import Concurrent, Event
from antiphon._strategies.cancellation import CancellationWatch
from antiphon.testing import Backend
from tests.cancellation.listeners import Make, every_grouping_strategy, every_unlimited_strategy, of
from tests.cancellation.tasks import leaves


async def returns(event: Event) -> None: ...


async def yields(event: Event) -> None:
    await checkpoint()


@every_grouping_strategy
@pytest.mark.parametrize("same", [True, False], ids=["same-event", "new-event"])
async def test_a_listener_that_dispatches_to_itself_without_end_is_refused(make: Make, same: bool) -> None:
    calls: list[int] = []
    dispatcher = of(returns, yields)

    @dispatcher.listen("order.placed")
    async def again(event: Event) -> None:
        calls.append(1)
        await dispatcher.adispatch("order.placed", event if same else None, strategy=make())

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make())
    errors = leaves(caught.value)
    assert {type(error) for error in errors} == {RecursionError}
    if make() != Concurrent(1):
        # One at a time they are all in one task, where Python's own limit may come first.
        (error,) = errors
        assert "dispatch it under another name" in str(error)
    assert len(calls) < 200


async def nest(dispatches: int, scopes: int) -> None:
    """Dispatch within cancel scopes, and dispatch again in the only listener, which opens no scope."""
    with ExitStack() as stack:
        for _ in range(scopes):
            stack.enter_context(anyio.CancelScope())

        async def dispatch(remaining: int) -> None:
            async def again(event: Event) -> None:
                await dispatch(remaining - 1)

            if remaining:
                await of(again).adispatch("order.placed", strategy=Concurrent())

        await dispatch(dispatches)


@pytest.mark.parametrize(
    ("dispatches", "scopes", "is_refused"), [(65, 65, False), (66, 64, False), (66, 65, True)], ids=str
)
def test_a_dispatch_is_refused_within_65_others_and_65_scopes(dispatches: int, scopes: int, is_refused: bool) -> None:
    """Trio counts nurseries, which the scopes here are not."""
    error: BaseException | None = None
    limit = sys.getrecursionlimit()
    # The stack of a test run takes a part of the usual limit.
    sys.setrecursionlimit(2 * limit)
    try:
        Backend("asyncio").run(nest, dispatches, scopes)
    except ExceptionGroup as group:
        error = group
    finally:
        sys.setrecursionlimit(limit)

    assert [type(leaf) for leaf in leaves(error)] == [RecursionError] * is_refused


@every_grouping_strategy
def test_tasks_that_outlive_their_dispatch_may_dispatch_without_end(make: Make) -> None:
    rounds: list[int] = []

    async def wait_and_call(call: Callable[[], Awaitable[None]]) -> None:
        await anyio.sleep(0.01)
        await call()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            dispatcher = of(yields)

            async def dispatch() -> None:
                await dispatcher.adispatch("order.placed", strategy=make())

            @dispatcher.listen("order.placed")
            async def start_another(event: Event) -> None:
                rounds.append(1)
                if len(rounds) < 100:
                    group.start_soon(wait_and_call, dispatch)
                else:
                    # A task does not keep what watched the dispatches of the tasks before it.
                    gc.collect()
                    assert sum(isinstance(found, CancellationWatch) for found in gc.get_objects()) < 20

            await dispatch()

    Backend("asyncio").run(main)
    assert len(rounds) == 100


@every_unlimited_strategy
async def test_tasks_that_listeners_only_start_are_not_nested(make: Make) -> None:
    rounds: list[int] = []
    dispatcher = of(yields)

    async with anyio.create_task_group() as group:

        async def dispatch() -> None:
            await dispatcher.adispatch("order.placed", strategy=make())

        @dispatcher.listen("order.placed")
        async def start_another(event: Event) -> None:
            rounds.append(1)
            if len(rounds) < 100:
                group.start_soon(dispatch)
                await checkpoint()
                await checkpoint()
            elif make is Concurrent:
                gc.collect()
                assert sum(isinstance(found, CancellationWatch) for found in gc.get_objects()) < 20

        await dispatch()
    assert len(rounds) == 100
