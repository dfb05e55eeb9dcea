"""A cancel scope around a dispatch, cancelled at every checkpoint."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, ErrorPolicy, Event, Sequential, Strategy
from tests.cancellation.listeners import (
    ALL_CHECKPOINTS,
    Make,
    TieredListeners,
    every_policy,
    every_strategy,
    logging,
    of,
)
from tests.cancellation.tasks import (
    Watch,
    cancel_when_blocked,
    forever,
    is_cancellation,
    note_round,
    settle,
)

pytestmark = [every_strategy, every_policy]


def runs_together(strategy: Strategy) -> bool:
    return not isinstance(strategy, Sequential)


async def cancel(scope: CancelScope) -> None:
    scope.cancel()


async def dispatch_in(scope: CancelScope, listeners: TieredListeners, strategy: Strategy) -> BaseException | None:
    """Dispatch in a scope. Returns what left the dispatch."""
    watch, event = Watch(), Event()
    left: BaseException | None = None
    with scope:
        try:
            await listeners.dispatch(strategy, event)
        except BaseException as exc:
            left = exc
            watch.assert_alone()
            raise
    watch.assert_alone()
    # The dispatch of the event has ended: another one is not nested, and leaves its own view behind.
    again = AsyncEventDispatcher()
    await again.adispatch("again", event)
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("again", again, False)
    return left


@pytest.mark.parametrize("by", ["a listener", "another task"])
async def test_cancelled_at_any_checkpoint_the_bare_cancellation_leaves(
    make: Make, policy: ErrorPolicy, by: str
) -> None:
    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with note_round(checkpoint=at):
            scope = CancelScope()
            listeners = TieredListeners(at, partial(cancel, scope) if by == "a listener" else forever)
            async with anyio.create_task_group() as group:
                if by == "another task":
                    group.start_soon(cancel_when_blocked, scope)
                left = await dispatch_in(scope, listeners, strategy)

            assert is_cancellation(left)
            assert scope.cancelled_caught
            listeners.assert_cancelled_in_order(together=runs_together(strategy))


async def test_cancelled_by_a_failing_task_only_its_error_leaves(make: Make, policy: ErrorPolicy) -> None:
    async def fail_when_blocked() -> None:
        await settle()
        raise ValueError("of the other task")

    strategy = make(errors=policy)
    for at in range(1, ALL_CHECKPOINTS + 1):
        with note_round(checkpoint=at):
            listeners = TieredListeners(at, forever)
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    group.start_soon(fail_when_blocked)
                    await listeners.dispatch(strategy)

            assert [str(error) for error in caught.value.exceptions] == ["of the other task"]
            listeners.assert_cancelled_in_order(together=runs_together(strategy))


async def pass_deadline(scope: CancelScope) -> None:
    """Block the loop until the deadline of a scope has passed, so that the loop cannot cancel the scope meanwhile."""
    await checkpoint()
    scope.deadline = anyio.current_time() + 0.001
    while anyio.current_time() <= scope.deadline:
        pass


async def test_a_listener_starts_unless_the_scope_is_cancelled(make: Make, policy: ErrorPolicy) -> None:
    """A deadline that has passed cancels nothing before the loop runs its timer. A dispatch may return before that."""
    for waits in (0, 1, 2):
        started: list[str] = []
        has_returned = False
        with CancelScope() as scope:

            async def first(event: Event, scope: CancelScope = scope, started: list[str] = started) -> None:
                started.append("first")
                await pass_deadline(scope)

            async def wait(event: Event, waits: int = waits, started: list[str] = started) -> None:
                started.append("second")
                for _ in range(waits):
                    await checkpoint()

            await of(first, wait, later=wait).adispatch("order.placed", strategy=make(errors=policy))
            has_returned = True

        assert has_returned is not scope.cancelled_caught
        assert not has_returned or len(started) == 3


async def expire_when_blocked(scope: CancelScope) -> None:
    await settle()
    scope.deadline = -math.inf


async def test_an_expired_deadline_ends_the_dispatch(make: Make, policy: ErrorPolicy) -> None:
    listeners, strategy = TieredListeners(1, forever), make(errors=policy)
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(3600) as scope:
            group.start_soon(expire_when_blocked, scope)
            await listeners.dispatch(strategy)
            pytest.fail("the dispatch was not cancelled")
        assert scope.cancelled_caught
        listeners.assert_cancelled_in_order(together=runs_together(strategy))

        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(3600) as scope:
                group.start_soon(expire_when_blocked, scope)
                await TieredListeners(1, forever).dispatch(strategy)
    assert not hasattr(caught.value, "__notes__")


async def test_a_cancellation_by_the_last_listener_is_not_lost(make: Make, policy: ErrorPolicy) -> None:
    ran: list[str] = []

    with CancelScope() as scope:

        async def cancel(event: Event) -> None:
            await checkpoint()
            ran.append("cancel")
            scope.cancel()

        await of(cancel).adispatch("order.placed", strategy=make(errors=policy))
        ran.append("after the dispatch")
        await checkpoint()
        pytest.fail("the cancellation was lost")

    assert scope.cancelled_caught
    # Only Sequential guarantees that the dispatch does not notice it first.
    assert ran[0] == "cancel"
    if make is Sequential:
        assert ran == ["cancel", "after the dispatch"]


async def test_between_tiers_a_cancellation_keeps_the_next_from_starting(make: Make, policy: ErrorPolicy) -> None:
    ran: list[str] = []

    with CancelScope() as scope:

        async def first_tier(event: Event) -> None:
            ran.append("first tier")
            scope.cancel()

        async def second_tier(event: Event) -> None:
            ran.append("second tier")
            await checkpoint()
            ran.append("not reached")

        await of(first_tier, later=second_tier).adispatch("order.placed", strategy=make(errors=policy))

    assert scope.cancelled_caught
    # Sequential has no tiers, and no checkpoint of its own.
    assert ran == (["first tier", "second tier"] if make is Sequential else ["first tier"])


async def test_a_cancelled_nested_dispatch_restores_the_outer_view(make: Make, policy: ErrorPolicy) -> None:
    outer, inner, seen = AsyncEventDispatcher(), of(forever), list[Any]()

    @outer.listen("outer")
    async def dispatch_again(event: Event) -> None:
        with CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_when_blocked, scope)
                await inner.adispatch("order.placed", event, strategy=make(errors=policy))
        seen.extend((event.name, event.dispatcher, event.propagation_stopped))

    await outer.adispatch("outer", Event(), strategy=Sequential(errors=policy))
    assert seen == ["outer", outer, False]


async def test_a_shielded_listener_finishes_before_the_cancellation_leaves(make: Make, policy: ErrorPolicy) -> None:
    log, released = list[str](), anyio.Event()

    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            await released.wait()
            log.append("shielded part finished")
        log.append("left the shield")
        await checkpoint()
        log.append("not reached")

    async def cancel_and_release(scope: CancelScope) -> None:
        await cancel_when_blocked(scope)
        await settle()
        log.append("released")
        released.set()

    async with anyio.create_task_group() as group:
        with CancelScope() as scope:
            group.start_soon(cancel_and_release, scope)
            await of(shielded, later=logging(log, "later")).adispatch("order.placed", strategy=make(errors=policy))

    assert scope.cancelled_caught
    assert log == ["released", "shielded part finished", "left the shield"]


async def test_a_dispatch_in_a_shield_is_not_cancelled_from_outside(make: Make, policy: ErrorPolicy) -> None:
    listeners = TieredListeners()
    with CancelScope() as scope:
        scope.cancel()
        with CancelScope(shield=True):
            await listeners.dispatch(make(errors=policy))
        listeners.assert_complete()
        await checkpoint()
    assert scope.cancelled_caught


async def test_a_stopped_event_whose_dispatch_is_cancelled_stays_stopped(make: Make, policy: ErrorPolicy) -> None:
    event = Event()

    with CancelScope() as scope:

        async def stop(event: Event) -> None:
            event.stop_propagation()
            scope.cancel()
            await checkpoint()

        dispatcher = of(stop)
        await dispatcher.adispatch("order.placed", event, strategy=make(errors=policy))

    assert scope.cancelled_caught
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, True)
