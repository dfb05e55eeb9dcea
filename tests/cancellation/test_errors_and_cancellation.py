"""Errors in hand when a cancellation comes: both leave, as one group that is not an ``ExceptionGroup``."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_lenient_policy,
    every_strategy,
    failing,
    of,
    overlook,
)
from tests.cancellation.tasks import forever, is_cancellation, leaves, left_by, left_when_cancelled, settle


@every_strategy
async def test_errors_in_hand_and_the_cancellation_leave_in_one_group(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    for priority in (2, 1):
        dispatcher.add_listener("order.placed", failing(ValueError(priority)), priority=priority)
    dispatcher.add_listener("order.placed", forever, priority=3)

    async def dispatch() -> None:
        try:
            await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
        except Exception:
            pytest.fail("`except Exception` caught the cancellation")

    inside, outside = await left_when_cancelled(dispatch)

    assert type(inside) is BaseExceptionGroup
    first, second, cancellation = inside.exceptions
    assert [str(first), str(second)] == ["1", "2"]
    assert is_cancellation(cancellation)
    # The scope removes its cancellation, and lets the errors pass.
    assert type(outside) is ExceptionGroup
    assert outside.exceptions == (first, second)
    assert len(first.__notes__) == 1


@every_strategy
async def test_an_ignored_error_is_not_in_hand(make: Make) -> None:
    dispatcher = of(failing(ValueError(1)), later=forever)

    inside, outside = await left_when_cancelled(
        lambda: dispatcher.adispatch("order.placed", strategy=make(errors=overlook))
    )

    assert is_cancellation(inside)
    assert outside is None


def shielded(scope: CancelScope) -> Any:
    """Make a listener that cancels the scope and fails, shielded from the cancellation."""

    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            scope.cancel()
            await checkpoint()
            raise ValueError(1)

    return shielded


@every_grouping_strategy
async def test_a_shielded_error_leaves_with_the_cancellation(make: Make) -> None:
    scope, inside = CancelScope(), list[BaseException]()
    with pytest.raises(ExceptionGroup) as caught, scope:
        try:
            await of(shielded(scope)).adispatch("order.placed", strategy=make())
        except BaseException as exc:
            inside.append(exc)
            raise
    assert type(inside[0]) is BaseExceptionGroup
    assert [type(leaf) is ValueError or is_cancellation(leaf) for leaf in leaves(inside[0])] == [True, True]
    assert [str(error) for error in caught.value.exceptions] == ["1"]


async def test_in_turn_a_shielded_error_leaves_alone() -> None:
    # As from a loop: the caller meets the cancellation at its next checkpoint.
    scope = CancelScope()
    with scope:
        with pytest.raises(ValueError):
            await of(shielded(scope)).adispatch("order.placed")
        await checkpoint()
        pytest.fail("the cancellation was lost")
    assert scope.cancelled_caught


@every_strategy
@every_lenient_policy
async def test_after_a_shielded_error_no_other_listener_starts(make: Make, policy: Any) -> None:
    scope, later, left = CancelScope(), list[Any](), list[BaseException]()

    async def never(event: Event) -> None:
        later.append("started")

    try:
        with scope:
            await of(shielded(scope), later=never).adispatch("order.placed", strategy=make(errors=policy))
            pytest.fail("the cancellation was lost")
    except BaseException as exc:
        left.append(exc)

    assert [str(leaf) for exc in left for leaf in leaves(exc)] == (["1"] if policy == "collect" else [])
    assert later == []


@every_strategy
async def test_errors_of_nested_dispatches_all_leave_with_the_cancellation(make: Make) -> None:
    inner = of(failing(ValueError(2)), later=forever)

    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Concurrent(errors="collect"))

    outer = of(failing(ValueError(1)), later=dispatch)
    inside, outside = await left_when_cancelled(
        lambda: outer.adispatch("order.placed", strategy=make(errors="collect"))
    )

    assert not isinstance(inside, Exception)
    assert sorted(str(leaf) for leaf in leaves(inside) if isinstance(leaf, ValueError)) == ["1", "2"]
    assert any(is_cancellation(leaf) for leaf in leaves(inside))
    assert isinstance(outside, ExceptionGroup)
    assert sorted(str(leaf) for leaf in leaves(outside)) == ["1", "2"]


@every_grouping_strategy
async def test_errors_of_a_nested_dispatch_in_any_task_leave_with_the_cancellation(make: Make) -> None:
    inner = of(failing(ValueError(1)), later=forever)

    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Sequential(errors="collect"))

    inside, _ = await left_when_cancelled(lambda: of(dispatch, dispatch).adispatch("order.placed", strategy=make()))

    assert isinstance(inside, BaseExceptionGroup)
    *errors, cancellation = inside.exceptions
    assert is_cancellation(cancellation)
    assert errors
    for error in errors:
        assert isinstance(error, ExceptionGroup)
        assert [str(leaf) for leaf in leaves(error)] == ["1"]


@every_grouping_strategy
async def test_errors_of_a_dispatch_in_a_cancelled_sibling_leave(make: Make) -> None:
    if make() == Concurrent(1):
        return
    inner = of(failing(ValueError(2)), later=forever)

    async def dispatch(event: Event) -> None:
        await inner.adispatch("order.placed", strategy=Sequential(errors="collect"))

    async def fail(event: Event) -> None:
        await settle()
        raise ValueError(1)

    left = await left_by(lambda: of(dispatch, fail).adispatch("order.placed", strategy=make()))
    assert isinstance(left, ExceptionGroup)
    assert sorted(str(leaf) for leaf in leaves(left)) == ["1", "2"]


def test_a_sync_dispatch_lets_errors_in_hand_leave_with_an_interrupt() -> None:
    dispatcher, left = EventDispatcher(errors="collect"), list[BaseException]()

    @dispatcher.listen("order.placed")
    def fail(event: Event) -> None:
        raise ValueError(1)

    @dispatcher.listen("order.placed")
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    try:
        dispatcher.dispatch("order.placed")
    except BaseException as exc:
        left.append(exc)
    assert [type(leaf) for leaf in leaves(left[0])] == [ValueError, KeyboardInterrupt]
