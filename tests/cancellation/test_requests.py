"""Whose request to cancel the task it was: the caller's, a scope's, or a listener's own.

asyncio counts such requests, but not which code made them. Each of these tests holds a found fault: a dispatch that
ended for a request that was not made to it, or one that lost a request that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import Concurrent, Event, ListenerCancelled, Race, Sequential, Strategy
from antiphon.testing import Backend
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_lenient_policy,
    every_policy,
    every_strategy,
    every_unlimited_strategy,
    fails_in_clean_up,
    logging,
    overlook,
)
from tests.cancellation.native import dispatch, handles_its_failed_group, this_task, times_out_without_uncancel
from tests.cancellation.tasks import cancel_when_blocked, leaves, left_by

ASYNCIO = Backend("asyncio")


async def nap(*_: Any) -> None:
    await anyio.sleep(0.1)


async def returns(event: Event) -> None: ...


async def yields(event: Event) -> None:
    await checkpoint()


async def cleans_up(event: Event) -> None:
    try:
        await anyio.sleep(60)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)


async def keeps_the_cancellation(event: Event) -> None:
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        pass


async def holds_nested_groups(event: Event) -> None:
    async def inner() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(nap)
            await nap()

    async with anyio.create_task_group() as group:
        group.start_soon(inner)
        await nap()


class Ended:
    """How a task ended that was cancelled."""

    def __init__(self) -> None:
        self.left: BaseException | None = None
        self.cancelling = 0
        self.cancelled = False

    def assert_cancelled(self) -> None:
        assert type(self.left) is asyncio.CancelledError
        assert self.cancelled


def run_cancelled(body: Callable[[], Awaitable[object]], instant: float) -> Ended:
    """Run a task, and cancel it at an instant (in seconds of virtual time)."""
    ended = Ended()

    async def victim() -> None:
        try:
            await body()
        except BaseException as exc:
            ended.left = exc
            raise
        finally:
            ended.cancelling = this_task().cancelling()

    async def main() -> None:
        task = asyncio.create_task(victim())
        asyncio.get_running_loop().call_later(instant, task.cancel)
        await asyncio.wait([task])
        ended.cancelled = task.cancelled()
        if not ended.cancelled:
            task.exception()

    ASYNCIO.run(main)
    return ended


# A request from outside always passes


@every_strategy
@every_policy
def test_a_request_passes_through_the_groups_of_a_listener(make: Make, policy: Any) -> None:
    run_cancelled(dispatch(make(errors=policy), holds_nested_groups), 0.01).assert_cancelled()


@every_strategy
@every_policy
@pytest.mark.parametrize("around", ["timeout", "wait_for"])
def test_a_timeout_passes_through_the_groups_of_a_listener(make: Make, policy: Any, around: str) -> None:
    run = dispatch(make(errors=policy), holds_nested_groups)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            if around == "timeout":
                async with asyncio.timeout(0.01):
                    await run()
            else:
                await asyncio.wait_for(run(), 0.01)
        assert this_task().cancelling() == 0
        await anyio.sleep(1)

    ASYNCIO.run(main)


@every_grouping_strategy
@every_policy
@pytest.mark.parametrize(
    "outer",
    [Sequential(), Sequential(errors=overlook), Concurrent(), Race()],
    ids=["in-turn", "function", "concurrent", "race"],
)
def test_a_request_passes_through_nested_dispatches(make: Make, policy: Any, outer: Strategy) -> None:
    strategy = make(errors=policy)
    innermost = dispatch(strategy, nap, nap)

    async def dispatches_innermost(event: Event) -> None:
        await innermost()

    between = dispatch(strategy, yields, dispatches_innermost)

    async def dispatches_between(event: Event) -> None:
        await between()

    ended = run_cancelled(dispatch(outer, dispatches_between), 0.05)
    ended.assert_cancelled()
    assert ended.cancelling == 1


@every_strategy
def test_a_request_before_a_timeout_stays_a_request(make: Make) -> None:
    async def body() -> None:
        async with asyncio.timeout(0.005):
            await dispatch(make(), cleans_up, cleans_up)()

    ended = run_cancelled(body, 0.002)
    assert ended.cancelled
    assert ended.cancelling == 1


@every_strategy
@pytest.mark.parametrize(
    "listeners",
    [
        (fails_in_clean_up,),
        (fails_in_clean_up, yields),
        (fails_in_clean_up, nap),
        (yields, fails_in_clean_up),
        (fails_in_clean_up, fails_in_clean_up),
    ],
    ids=["alone", "then-quick", "then-slow", "second", "both"],
)
def test_an_error_in_its_place_does_not_hide_a_request(make: Make, listeners: Any) -> None:
    run_cancelled(dispatch(make(errors=overlook), *listeners), 0.01).assert_cancelled()

    ended = run_cancelled(dispatch(make(errors="collect"), *listeners), 0.01)
    assert type(ended.left) is BaseExceptionGroup
    kinds = [type(leaf) for leaf in leaves(ended.left)]
    assert set(kinds) == {ValueError, asyncio.CancelledError}
    assert kinds.count(asyncio.CancelledError) == 1


@every_strategy
@pytest.mark.parametrize("listeners", [(fails_in_clean_up,), (yields, fails_in_clean_up)], ids=["alone", "second"])
async def test_an_error_in_its_place_does_not_hide_a_scopes_cancellation(make: Make, listeners: Any) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_blocked, scope)
            await dispatch(make(errors=overlook), *listeners)()
            pytest.fail("the dispatch returned")
    assert scope.cancelled_caught


@every_grouping_strategy
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_listener_that_keeps_a_request_hides_it_from_no_other(make: Make, count: int) -> None:
    ran: list[str] = []
    ended = run_cancelled(dispatch(make(), *[keeps_the_cancellation] * count, later=logging(ran, "later")), 0.01)
    assert ended.cancelled
    assert ended.cancelling == 1
    assert ran == []


@every_grouping_strategy
def test_the_only_listener_hides_no_request_that_it_keeps(make: Make) -> None:
    run_cancelled(dispatch(make(), keeps_the_cancellation), 0.01).assert_cancelled()


@every_grouping_strategy
async def test_the_only_listener_hides_no_cancellation_of_a_scope_that_it_keeps(make: Make) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_blocked, scope)
            await dispatch(make(), keeps_the_cancellation)()
            pytest.fail("the dispatch returned")
    assert scope.cancelled_caught


@every_unlimited_strategy
def test_a_tier_that_never_waits_leaves_the_request_to_its_caller(make: Make) -> None:
    """Its task group has started no task, so there is no turn of the event loop in which a request could arrive."""
    run = dispatch(make(), returns, returns)

    async def main() -> tuple[bool, list[int]]:
        counts: list[int] = []

        async def body() -> None:
            await run()
            counts.append(this_task().cancelling())
            try:
                await asyncio.sleep(0)
            finally:
                counts.append(this_task().cancelling())

        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), counts

    assert ASYNCIO.run(main) == (True, [0, 1])


@every_grouping_strategy
def test_an_error_hides_no_request_in_a_listeners_context(make: Make) -> None:
    """Such as an interrupt while its code runs, or a timeout of the caller that it has rescheduled."""

    async def main() -> None:
        async def reschedules(event: Event) -> None:
            timeout.reschedule(asyncio.get_running_loop().time() + 0.01)
            await fails_in_clean_up(event)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as timeout:
                await dispatch(make(errors=overlook), reschedules)()

    ASYNCIO.run(main)


# A request by a listener is that listener's affair


@every_strategy
def test_a_timeout_in_a_nested_dispatch_is_not_of_the_outer_one(make: Make) -> None:
    async def times_out(event: Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)

    async def main() -> list[str]:
        log: list[str] = []

        async def nests(event: Event) -> None:
            await dispatch(make(errors="collect"), times_out)()
            log.append("nested")

        await dispatch(make(errors="collect"), nests)()
        await asyncio.sleep(0)
        return log

    assert ASYNCIO.run(main) == ["nested"]


def test_the_message_of_a_hidden_request_is_kept() -> None:
    async def main() -> tuple[object, ...]:
        task = asyncio.create_task(dispatch(Sequential(errors=overlook), fails_in_clean_up)())
        await asyncio.sleep(0)
        task.cancel("shutdown")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.args

    assert ASYNCIO.run(main) == ("shutdown",)


async def times_out_while_it_yields(event: Event) -> None:
    """The request comes while the task only waits for its next turn."""
    asyncio.get_running_loop().call_later(0.01, this_task().cancel)
    try:
        while True:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        pass


OWN = [handles_its_failed_group, times_out_without_uncancel, times_out_while_it_yields]


@every_strategy
@every_policy
@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
@pytest.mark.parametrize("others", [(), (nap,), (yields, nap)], ids=["alone", "with-one", "with-two"])
def test_a_request_that_a_listener_handles_cancels_no_other(make: Make, policy: Any, own: Any, others: Any) -> None:
    ran, strategy = list[str](), make(errors=policy)

    async def later(event: Event) -> None:
        await anyio.sleep(0.01)
        ran.append("later")

    async def main() -> None:
        await dispatch(strategy, own, *others, later=later)()
        assert ran == ["later"]
        if not isinstance(strategy, Sequential):
            assert this_task().cancelling() == 0
            async with asyncio.timeout(0.01) as timeout:
                pass
            assert not timeout.expired()
        await anyio.sleep(1)

    ASYNCIO.run(main)


@every_strategy
def test_an_error_after_a_request_that_a_listener_handled_leaves(make: Make) -> None:
    async def fail(event: Event) -> None:
        await anyio.sleep(0.01)
        raise ValueError

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await dispatch(make(errors="collect"), times_out_without_uncancel, later=fail)()
        assert [type(error) for error in leaves(caught.value)] == [ValueError]

    ASYNCIO.run(main)


@every_strategy
@every_policy
def test_a_task_that_kept_a_request_before_is_not_cancelled(make: Make, policy: Any) -> None:
    async def impatient(event: Event) -> None:
        await asyncio.wait_for(asyncio.sleep(60), 0.01)

    async def main() -> None:
        this_task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        left = await left_by(dispatch(make(errors=policy), impatient))
        assert [type(leaf) for leaf in leaves(left)] == ([] if callable(policy) else [TimeoutError])
        assert this_task().cancelling() == 1
        this_task().uncancel()

    ASYNCIO.run(main)


@pytest.mark.parametrize("order", ["group-first", "group-last"])
@pytest.mark.parametrize("turns", range(7))
def test_failures_in_the_same_turn_hold_no_cancellation(turns: int, order: str) -> None:
    async def fails_in_its_group(event: Event) -> None:
        async def fail() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            raise KeyError

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(60)

    async def fails(event: Event) -> None:
        for _ in range(2):
            await asyncio.sleep(0)
        raise ValueError

    listeners = [fails_in_its_group, fails, nap] if order == "group-first" else [fails, nap, fails_in_its_group]

    async def main() -> None:
        left = await left_by(dispatch(Concurrent(), *listeners))
        assert isinstance(left, ExceptionGroup), left
        assert {type(leaf) for leaf in leaves(left)} <= {KeyError, ValueError}
        assert this_task().cancelling() == 0
        await asyncio.sleep(1)

    ASYNCIO.run(main)


@every_strategy
@every_policy
def test_a_listeners_timeout_with_errors_in_hand_is_its_error(make: Make, policy: Any) -> None:
    async def fail(event: Event) -> None:
        raise ValueError

    async def impatient(event: Event) -> None:
        async with asyncio.timeout(0.01):
            await dispatch(Concurrent(errors="collect"), fail, nap)()

    given: list[Exception] = []
    strategy = make(errors=policy if policy != overlook else lambda exc, event, listener: given.append(exc))

    async def main() -> None:
        left = await left_by(dispatch(strategy, impatient))
        if strategy == Sequential():
            assert {type(leaf) for leaf in leaves(left)} == {ValueError, asyncio.CancelledError}
        else:
            (error,) = given or [left]
            assert isinstance(error, ExceptionGroup)
            assert {type(leaf) for leaf in leaves(error)} == {ValueError, ListenerCancelled}
        assert this_task().cancelling() == 0

    ASYNCIO.run(main)


@every_lenient_policy
def test_in_turn_a_request_that_a_listener_kept_does_not_hide_a_leak(policy: Any) -> None:
    given: list[type[Exception]] = []

    async def leak(event: Event) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    errors: Any = policy if policy == "collect" else lambda exc, event, listener: given.append(type(exc))

    async def body() -> None:
        try:
            await dispatch(Sequential(errors=errors), keeps_the_cancellation, leak)()
        except ExceptionGroup as group:
            given.extend(type(error) for error in group.exceptions)

    ended = run_cancelled(body, 0.01)
    assert given == [ListenerCancelled]
    assert not ended.cancelled


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_a_loser_whose_group_repeats_the_cancellation_has_no_error(turns: int, is_first: bool) -> None:
    """Python 3.13: a failed group takes the request of the race back, and makes it once more."""
    given: list[Exception] = []

    async def handles_its_failed_group_then_waits(event: Event) -> None:
        await handles_its_failed_group(event)
        await anyio.sleep(60)

    async def wins(event: Event) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        event.stop_propagation()
        await anyio.sleep(0.01)

    async def main() -> None:
        strategy = Race(errors=lambda exc, event, listener: given.append(exc))
        listeners = (handles_its_failed_group_then_waits, wins)
        await dispatch(strategy, *(listeners if is_first else reversed(listeners)))()
        assert this_task().cancelling() == 0
        await anyio.sleep(1)

    ASYNCIO.run(main)
    assert given == []


# Other found faults


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize(
    "first", [fails_in_clean_up, keeps_the_cancellation, cleans_up], ids=lambda first: first.__name__
)
@every_policy
async def test_no_listener_starts_once_the_scope_is_cancelled(limit: int, first: Any, policy: Any) -> None:
    ran: list[str] = []
    listeners = [*[first] * limit, logging(ran, "later"), logging(ran, "later")]
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_blocked, scope)
            try:
                await dispatch(Concurrent(limit, errors=policy), *listeners)()
            except BaseExceptionGroup as group:
                is_cancelled = any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in leaves(group))
                assert is_cancelled
            else:
                pytest.fail("the dispatch returned")
    assert ran == []


async def test_a_cycle_of_contexts_does_not_hang_the_dispatch(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")

    async def raises_a_cycle(event: Event) -> None:
        this_task().cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        first, second = ValueError(), asyncio.CancelledError()
        first.__context__, second.__context__ = second, first
        raise second

    assert isinstance(await left_by(dispatch(Concurrent(errors="collect"), raises_a_cycle)), ExceptionGroup)


@every_grouping_strategy
@pytest.mark.parametrize("policy", ["raise", "collect"])
async def test_an_interrupt_in_a_group_with_a_cancellation_leaves(make: Make, policy: Any) -> None:
    """Such a group is not an error, and its interrupt must not be kept with the errors."""

    async def interrupted(event: Event) -> None:
        scope.cancel()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class() as exc:
            raise BaseExceptionGroup("ended", [exc, KeyboardInterrupt()]) from None

    with anyio.CancelScope() as scope:
        left = await left_by(dispatch(make(errors=policy), interrupted))
    assert isinstance(left, BaseExceptionGroup)
    assert left.message == "ended", "it leaves as it is"
    assert [type(leaf) for leaf in leaves(left)].count(KeyboardInterrupt) == 1
    assert any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in leaves(left))


@pytest.mark.parametrize("first", [returns, yields], ids=["returns", "yields"])
@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=str)
def test_a_request_left_by_a_returning_listener_is_taken_back(strategy: Strategy, first: Any) -> None:
    """The listener cancels its task and returns before the cancellation is delivered."""

    async def cancels_and_returns(event: Event) -> None:
        await first(event)
        this_task().cancel()

    async def main() -> None:
        left = await left_by(dispatch(strategy, cancels_and_returns, returns))
        assert type(left) is asyncio.CancelledError
        assert this_task().cancelling() == 0

    ASYNCIO.run(main)


@every_grouping_strategy
def test_a_request_left_by_the_only_listener_ends_the_dispatch(make: Make) -> None:
    async def waits_and_cancels(event: Event) -> None:
        await checkpoint()
        this_task().cancel()

    async def main() -> None:
        assert type(await left_by(dispatch(make(), waits_and_cancels))) is asyncio.CancelledError

    ASYNCIO.run(main)
