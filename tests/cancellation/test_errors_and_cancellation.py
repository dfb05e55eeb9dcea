"""Errors in hand when a cancellation comes: both leave, as one group that is no ``ExceptionGroup``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import CancelScope, lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from tests.cancellation.listeners import Make, every_grouping_strategy, every_strategy, overlook
from tests.cancellation.tasks import Watch, forever, is_cancellation, leaves, settle


def failing(number: int) -> Callable[[Event], Awaitable[None]]:
    async def fail(event: Event) -> None:
        raise ValueError(number)

    return fail


async def _cancel_when_blocked(scope: CancelScope) -> None:
    await settle()
    scope.cancel()


class Seen:
    """What left a dispatch on its way to the scope that was cancelled, and what the scope let out."""

    def __init__(self) -> None:
        self.inside: BaseException | None = None
        self.outside: BaseException | None = None


async def cancelled_when_blocked(dispatch: Callable[[], Awaitable[object]]) -> Seen:
    """Dispatch in a scope, and cancel that when all is blocked."""
    seen, watch = Seen(), Watch()
    async with anyio.create_task_group() as group:
        scope = CancelScope()
        try:
            with scope:
                group.start_soon(_cancel_when_blocked, scope)
                try:
                    await dispatch()
                except BaseException as exc:
                    seen.inside = exc
                    raise
        except BaseException as exc:
            seen.outside = exc
        assert scope.cancel_called
    watch.assert_alone()
    return seen


@every_strategy
async def test_collected_errors_and_the_cancellation_leave_in_one_group_in_dispatch_order(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(2), priority=2)
    dispatcher.add_listener("order.placed", failing(1), priority=1)
    dispatcher.add_listener("order.placed", forever, priority=3)

    seen = await cancelled_when_blocked(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))

    assert type(seen.inside) is BaseExceptionGroup
    assert not isinstance(seen.inside, Exception)
    first, second, cancellation = seen.inside.exceptions
    assert [str(first), str(second)] == ["1", "2"]
    assert is_cancellation(cancellation)


@every_strategy
async def test_the_scope_strips_its_cancellation_and_lets_the_errors_out(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(1))
    dispatcher.add_listener("order.placed", forever, priority=1)

    seen = await cancelled_when_blocked(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))

    assert type(seen.outside) is ExceptionGroup
    (error,) = seen.outside.exceptions
    assert str(error) == "1"
    assert len(error.__notes__) == 1


@every_strategy
async def test_except_exception_inside_of_the_scope_does_not_catch_the_cancellation(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(1))
    dispatcher.add_listener("order.placed", forever, priority=1)

    async def careless() -> None:
        try:
            await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
        except Exception:
            pytest.fail("the cancellation was lost")

    await cancelled_when_blocked(careless)


@every_strategy
async def test_an_overlooked_error_is_not_in_hand_and_the_bare_cancellation_leaves(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(1))
    dispatcher.add_listener("order.placed", forever, priority=1)

    seen = await cancelled_when_blocked(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=overlook)))

    assert is_cancellation(seen.inside)
    assert seen.outside is None


@every_grouping_strategy
async def test_the_error_of_a_shielded_listener_leaves_with_the_cancellation_under_raise_too(make: Make) -> None:
    dispatcher, event, scope = AsyncEventDispatcher(), Event(), CancelScope()

    @dispatcher.listen("order.placed")
    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            scope.cancel()
            await lowlevel.checkpoint()
            raise ValueError(1)

    inside: BaseException | None = None
    with pytest.raises(ExceptionGroup) as caught, scope:
        try:
            await dispatcher.adispatch("order.placed", event, strategy=make())
        except BaseException as exc:
            inside = exc
            raise
    assert type(inside) is BaseExceptionGroup
    assert [type(leaf) is ValueError or is_cancellation(leaf) for leaf in leaves(inside)] == [True, True]
    assert [str(error) for error in caught.value.exceptions] == ["1"]


async def test_sequential_under_raise_lets_the_error_of_a_shielded_listener_out_unchanged() -> None:
    # As the bare loop would; the cancellation comes again at the caller's next checkpoint.
    dispatcher, scope, original = AsyncEventDispatcher(), CancelScope(), ValueError(1)

    @dispatcher.listen("order.placed")
    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            scope.cancel()
            await lowlevel.checkpoint()
            raise original

    with scope:
        with pytest.raises(ValueError) as caught:
            await dispatcher.adispatch("order.placed")
        await lowlevel.checkpoint()
        pytest.fail("the cancellation was lost")
    assert caught.value is original
    assert scope.cancelled_caught


@every_strategy
@pytest.mark.parametrize("errors", ["collect", "overlook"])
async def test_after_the_error_of_a_shielded_listener_the_cancellation_keeps_later_ones_from_starting(
    make: Make, errors: str
) -> None:
    dispatcher, scope = AsyncEventDispatcher(), CancelScope()
    later: list[str] = []

    @dispatcher.listen("order.placed")
    async def shielded(event: Event) -> None:
        with CancelScope(shield=True):
            scope.cancel()
            await lowlevel.checkpoint()
            raise ValueError(1)

    @dispatcher.listen("order.placed", priority=1)
    async def never(event: Event) -> None:
        later.append("started")

    out: BaseException | None = None
    try:
        with scope:
            policy = overlook if errors == "overlook" else "collect"
            await dispatcher.adispatch("order.placed", strategy=make(errors=policy))
            pytest.fail("the cancellation was lost")
    except BaseException as exc:
        out = exc

    assert [str(leaf) for leaf in leaves(out)] == ([] if errors == "overlook" else ["1"])
    assert later == []


@every_strategy
async def test_a_deadline_that_passes_with_errors_in_hand_lets_them_out_of_move_on_after(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", failing(1))
    dispatcher.add_listener("order.placed", forever, priority=1)

    async def expire(scope: CancelScope) -> None:
        await settle()
        scope.deadline = -1

    async with anyio.create_task_group() as group:
        with pytest.raises(ExceptionGroup) as caught:
            with anyio.move_on_after(3600) as scope:
                group.start_soon(expire, scope)
                await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert scope.cancelled_caught
    assert [str(error) for error in caught.value.exceptions] == ["1"]


@every_strategy
async def test_errors_of_dispatches_within_dispatches_all_leave_with_the_cancellation(make: Make) -> None:
    inner, outer = AsyncEventDispatcher(), AsyncEventDispatcher()
    inner.add_listener("inner", failing(2))
    inner.add_listener("inner", forever, priority=1)
    outer.add_listener("outer", failing(1))

    @outer.listen("outer", priority=1)
    async def dispatch(event: Event) -> None:
        await inner.adispatch("inner", strategy=Concurrent(errors="collect"))

    seen = await cancelled_when_blocked(lambda: outer.adispatch("outer", strategy=make(errors="collect")))

    assert not isinstance(seen.inside, Exception)
    assert sorted(str(leaf) for leaf in leaves(seen.inside) if isinstance(leaf, ValueError)) == ["1", "2"]
    assert any(is_cancellation(leaf) for leaf in leaves(seen.inside))
    assert isinstance(seen.outside, ExceptionGroup)
    assert sorted(str(leaf) for leaf in leaves(seen.outside)) == ["1", "2"]


@every_grouping_strategy
async def test_errors_of_a_dispatch_within_a_cancelled_sibling_are_not_lost(make: Make) -> None:
    inner, outer = AsyncEventDispatcher(), AsyncEventDispatcher()
    inner.add_listener("inner", failing(2))
    inner.add_listener("inner", forever, priority=1)

    @outer.listen("outer")
    async def dispatch(event: Event) -> None:
        await inner.adispatch("inner", strategy=Sequential(errors="collect"))

    if make() != Concurrent(1):

        @outer.listen("outer")
        async def fail(event: Event) -> None:
            await settle()
            raise ValueError(1)

        with pytest.raises(ExceptionGroup) as caught:
            await outer.adispatch("outer", strategy=make())
        assert sorted(str(leaf) for leaf in leaves(caught.value)) == ["1", "2"]


async def test_the_sync_dispatcher_lets_errors_in_hand_out_with_an_interrupt() -> None:
    dispatcher = EventDispatcher(errors="collect")

    @dispatcher.listen("order.placed")
    def fail(event: Event) -> None:
        raise ValueError(1)

    @dispatcher.listen("order.placed")
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    left: BaseException | None = None
    try:
        dispatcher.dispatch("order.placed")
    except BaseException as exc:
        left = exc
    assert [type(leaf) for leaf in leaves(left)] == [ValueError, KeyboardInterrupt]
