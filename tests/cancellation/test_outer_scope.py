"""A cancel scope around a dispatch, cancelled at every checkpoint that there is."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import CancelScope, lowlevel

from antiphon import AsyncEventDispatcher, ErrorPolicy, Event, Sequential, Strategy
from tests.cancellation.listeners import (
    ALL_CHECKPOINTS,
    Choir,
    Make,
    every_policy,
    every_strategy,
)
from tests.cancellation.tasks import Watch, forever, is_cancellation, left_by, noting, settle

pytestmark = [every_strategy, every_policy]


def _together(strategy: Strategy) -> bool:
    return not isinstance(strategy, Sequential)


async def _sing_in(scope: CancelScope, choir: Choir, strategy: Strategy) -> BaseException | None:
    """Dispatch in a scope. Returns what left the dispatch, on its way to the scope."""
    watch = Watch()
    left: BaseException | None = None
    event = Event()
    with scope:
        try:
            await choir.sing(strategy, event)
        except BaseException as exc:
            left = exc
            watch.assert_alone()
            raise
    watch.assert_alone()
    # The event is at rest: a dispatch of it is no nested one, and leaves its own view behind.
    again = AsyncEventDispatcher()
    await again.adispatch("again", event)
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("again", again, False)
    return left


async def test_cancelled_by_a_listener_at_any_of_its_checkpoints_the_bare_cancellation_leaves(
    make: Make, policy: ErrorPolicy
) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with noting(checkpoint=at):
            scope = CancelScope()
            choir = Choir(at, partial(_cancel, scope))
            left = await _sing_in(scope, choir, strategy)

            assert is_cancellation(left)
            assert scope.cancelled_caught
            choir.assert_cancelled_in_order(together=_together(strategy))


async def _cancel(scope: CancelScope) -> None:
    scope.cancel()


async def test_cancelled_by_another_task_while_listeners_are_blocked_the_bare_cancellation_leaves(
    make: Make, policy: ErrorPolicy
) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with noting(checkpoint=at):
            scope = CancelScope()
            choir = Choir(at, forever)
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_blocked, scope)
                left = await _sing_in(scope, choir, strategy)

            assert is_cancellation(left)
            assert scope.cancelled_caught
            choir.assert_cancelled_in_order(together=_together(strategy))


async def _cancel_when_blocked(scope: CancelScope) -> None:
    await settle()
    scope.cancel()


async def test_cancelled_by_the_failure_of_a_neighbour_only_that_failure_leaves_their_group(
    make: Make, policy: ErrorPolicy
) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with noting(checkpoint=at):
            choir = Choir(at, forever)
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    group.start_soon(_fail_when_blocked)
                    await choir.sing(strategy)

            assert [str(error) for error in caught.value.exceptions] == ["the neighbour's"]
            choir.assert_cancelled_in_order(together=_together(strategy))


async def _fail_when_blocked() -> None:
    await settle()
    raise ValueError("the neighbour's")


async def _expire_when_blocked(scope: CancelScope) -> None:
    await settle()
    scope.deadline = -math.inf


async def test_an_expired_move_on_after_ends_the_dispatch_and_the_code_after_it_runs(
    make: Make, policy: ErrorPolicy
) -> None:
    choir = Choir(1, forever)
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(3600) as scope:
            group.start_soon(_expire_when_blocked, scope)
            await choir.sing(make(errors=policy))
            pytest.fail("the dispatch was not cancelled")
    assert scope.cancelled_caught
    choir.assert_cancelled_in_order(together=_together(make()))


async def test_an_expired_fail_after_is_a_timeout_error(make: Make, policy: ErrorPolicy) -> None:
    async with anyio.create_task_group() as group:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(3600) as scope:
                group.start_soon(_expire_when_blocked, scope)
                await Choir(1, forever).sing(make(errors=policy))
    assert not hasattr(caught.value, "__notes__")


async def test_cancelled_before_the_dispatch_only_the_sequential_one_starts_a_listener(
    make: Make, policy: ErrorPolicy
) -> None:
    choir, strategy = Choir(), make(errors=policy)
    with CancelScope() as scope:
        scope.cancel()
        left = await left_by(lambda: choir.sing(strategy))
        assert is_cancellation(left)
    # Sequential adds no checkpoint of its own: the first listener meets the cancellation at its first checkpoint.
    assert choir.started == ([] if _together(strategy) else ["0.0"])
    assert choir.cancelled == choir.started


async def test_cancelled_by_its_last_listener_which_passes_no_checkpoint_afterwards(
    make: Make, policy: ErrorPolicy
) -> None:
    ran: list[str] = []
    dispatcher = AsyncEventDispatcher()

    with CancelScope() as scope:

        @dispatcher.listen("order.placed")
        async def cancel(event: Event) -> None:
            await lowlevel.checkpoint()
            ran.append("cancel")
            scope.cancel()

        await dispatcher.adispatch("order.placed", strategy=make(errors=policy))
        ran.append("after the dispatch")
        await lowlevel.checkpoint()
        pytest.fail("the cancellation was lost")

    assert scope.cancelled_caught
    # Whether the dispatch or the checkpoint after it notices first is not promised, but for Sequential.
    assert ran[0] == "cancel"
    if make is Sequential:
        assert ran == ["cancel", "after the dispatch"]


async def test_between_tiers_a_cancellation_keeps_the_next_tier_from_starting(make: Make, policy: ErrorPolicy) -> None:
    ran: list[str] = []
    dispatcher = AsyncEventDispatcher()

    with CancelScope() as scope:

        @dispatcher.listen("order.placed", priority=1)
        async def first_tier(event: Event) -> None:
            ran.append("first tier")
            scope.cancel()

        @dispatcher.listen("order.placed", priority=2)
        async def second_tier(event: Event) -> None:
            ran.append("second tier")
            await lowlevel.checkpoint()
            ran.append("not reached")

        await dispatcher.adispatch("order.placed", strategy=make(errors=policy))

    assert scope.cancelled_caught
    # Sequential has no tiers, and no checkpoint of its own at which it could notice.
    assert ran == (["first tier", "second tier"] if make is Sequential else ["first tier"])


async def test_a_dispatch_within_a_dispatch_is_cancelled_with_it_and_the_outer_view_of_the_event_is_back(
    make: Make, policy: ErrorPolicy
) -> None:
    outer, inner = AsyncEventDispatcher(), AsyncEventDispatcher()
    seen: list[Any] = []
    inner.add_listener("inner", forever)

    @outer.listen("outer")
    async def dispatch_again(event: Event) -> None:
        with CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_blocked, scope)
                await inner.adispatch("inner", event, strategy=make(errors=policy))
        seen.extend((event.name, event.dispatcher, event.propagation_stopped))

    await outer.adispatch("outer", Event(), strategy=Sequential(errors=policy))
    assert seen == ["outer", outer, False]


async def test_a_shielded_listener_finishes_and_the_cancellation_leaves_after_it(
    make: Make, policy: ErrorPolicy
) -> None:
    log: list[str] = []
    dispatcher = AsyncEventDispatcher()
    release = anyio.Event()

    @dispatcher.listen("order.placed")
    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            await release.wait()
            log.append("shielded part finished")
        log.append("left the shield")
        await lowlevel.checkpoint()
        log.append("not reached")

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Event) -> None:
        log.append("later")

    async def let_go() -> None:
        await settle()
        scope.cancel()
        await settle()
        log.append("released")
        release.set()

    async with anyio.create_task_group() as group:
        with CancelScope() as scope:
            group.start_soon(let_go)
            await dispatcher.adispatch("order.placed", strategy=make(errors=policy))

    assert scope.cancelled_caught
    assert log == ["released", "shielded part finished", "left the shield"]


async def test_a_dispatch_in_a_shield_is_not_cancelled_by_what_is_outside(make: Make, policy: ErrorPolicy) -> None:
    choir = Choir()
    with CancelScope() as scope:
        scope.cancel()
        with CancelScope(shield=True):
            await choir.sing(make(errors=policy))
        choir.assert_complete()
        await lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_a_cancelled_scope_inside_of_a_listener_is_its_own_affair(make: Make, policy: ErrorPolicy) -> None:
    log: list[str] = []
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def moves_on(event: Event) -> None:
        with CancelScope() as scope:
            scope.cancel()
            await lowlevel.checkpoint()
        log.append("moved on")

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        await lowlevel.checkpoint()
        log.append("sibling")

    await dispatcher.adispatch("order.placed", strategy=make(errors=policy))
    assert sorted(log) == ["moved on", "sibling"]


async def test_a_stopped_event_whose_dispatch_is_cancelled_stays_stopped(make: Make, policy: ErrorPolicy) -> None:
    dispatcher = AsyncEventDispatcher()
    event = Event()

    with CancelScope() as scope:

        @dispatcher.listen("order.placed")
        async def stop(event: Event) -> None:
            event.stop_propagation()
            scope.cancel()
            await lowlevel.checkpoint()

        await dispatcher.adispatch("order.placed", event, strategy=make(errors=policy))

    assert scope.cancelled_caught
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, True)
