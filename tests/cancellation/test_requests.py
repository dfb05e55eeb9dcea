"""Whose request to cancel the task it was: the caller's, a scope's, or a listener's own.

asyncio counts such requests and does not tell who made them. Each of these programs once ended a dispatch for a request
that nobody had made of it, or lost one that somebody had made.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, ListenerCancelled, Race, Sequential, Strategy
from antiphon.testing import Backend
from tests.cancellation.listeners import Make, every_grouping_strategy, every_policy, every_strategy, overlook
from tests.cancellation.tasks import leaves

ASYNCIO = Backend("asyncio")
NAME = "order.placed"


async def nap(*_: Any) -> None:
    await anyio.sleep(0.1)


async def returns(event: Event) -> None:
    pass


async def yields(event: Event) -> None:
    await anyio.lowlevel.checkpoint()


async def fails_in_its_clean_up(event: Event) -> None:
    try:
        await anyio.sleep(60)
    finally:
        raise ValueError("clean-up")


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


def of(*listeners: Callable[[Event], Awaitable[object]], later: Any = None) -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()
    for listener in listeners:
        dispatcher.add_listener(NAME, listener)
    if later is not None:
        dispatcher.add_listener(NAME, later, priority=1)
    return dispatcher


class Ended:
    """How a task ended that was cancelled."""

    def __init__(self) -> None:
        self.left: BaseException | None = None
        self.cancelling = 0
        self.cancelled = False


def run_cancelled(body: Callable[[], Awaitable[object]], *instants: float) -> Ended:
    """Run a task, cancel it at each of the instants (seconds of virtual time), and tell how it ended."""
    ended = Ended()

    async def victim() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await body()
        except BaseException as exc:
            ended.left = exc
            raise
        finally:
            ended.cancelling = task.cancelling()

    async def main() -> None:
        task = asyncio.create_task(victim())
        for instant in instants:
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
    dispatcher = of(holds_nested_groups)
    ended = run_cancelled(lambda: dispatcher.adispatch(NAME, strategy=make(errors=policy)), 0.01)
    assert type(ended.left) is asyncio.CancelledError
    assert ended.cancelled


@every_strategy
@every_policy
@pytest.mark.parametrize("around", ["timeout", "wait_for"])
def test_a_timeout_passes_through_the_groups_of_a_listener(make: Make, policy: Any, around: str) -> None:
    dispatcher = of(holds_nested_groups)

    async def main() -> None:
        strategy = make(errors=policy)
        with pytest.raises(TimeoutError):
            if around == "timeout":
                async with asyncio.timeout(0.01):
                    await dispatcher.adispatch(NAME, strategy=strategy)
            else:
                await asyncio.wait_for(dispatcher.adispatch(NAME, strategy=strategy), 0.01)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await anyio.sleep(1)

    ASYNCIO.run(main)


@every_grouping_strategy
@every_policy
@pytest.mark.parametrize(
    "outer",
    [Sequential(), Sequential(errors=overlook), Concurrent(), Race()],
    ids=["in-turn", "function", "concurrent", "race"],
)
def test_a_request_passes_through_dispatches_within_dispatches(make: Make, policy: Any, outer: Strategy) -> None:
    innermost = of(nap, nap)

    async def dispatches_innermost(event: Event) -> None:
        await innermost.adispatch(NAME, strategy=make(errors=policy))

    between = of(yields, dispatches_innermost)

    async def dispatches_between(event: Event) -> None:
        await between.adispatch(NAME, strategy=make(errors=policy))

    outermost = of(dispatches_between)
    ended = run_cancelled(lambda: outermost.adispatch(NAME, strategy=outer), 0.05)
    assert type(ended.left) is asyncio.CancelledError
    assert ended.cancelled
    assert ended.cancelling == 1


@every_strategy
def test_a_request_before_a_timeout_stays_a_request(make: Make) -> None:
    dispatcher = of(cleans_up, cleans_up)

    async def body() -> None:
        async with asyncio.timeout(0.005):
            await dispatcher.adispatch(NAME, strategy=make())

    ended = run_cancelled(body, 0.002)
    assert ended.cancelled
    assert ended.cancelling == 1


@every_strategy
@pytest.mark.parametrize(
    "listeners",
    [
        (fails_in_its_clean_up,),
        (fails_in_its_clean_up, yields),
        (fails_in_its_clean_up, nap),
        (yields, fails_in_its_clean_up),
        (fails_in_its_clean_up, fails_in_its_clean_up),
    ],
    ids=["alone", "then-quick", "then-slow", "second", "both"],
)
def test_an_error_in_its_place_does_not_hide_a_request(make: Make, listeners: Any) -> None:
    ended = run_cancelled(lambda: of(*listeners).adispatch(NAME, strategy=make(errors=overlook)), 0.01)
    assert type(ended.left) is asyncio.CancelledError
    assert ended.cancelled

    ended = run_cancelled(lambda: of(*listeners).adispatch(NAME, strategy=make(errors="collect")), 0.01)
    assert type(ended.left) is BaseExceptionGroup
    kinds = [type(leaf) for leaf in leaves(ended.left)]
    assert set(kinds) == {ValueError, asyncio.CancelledError}
    assert kinds.count(asyncio.CancelledError) == 1


@every_strategy
@pytest.mark.parametrize(
    "listeners", [(fails_in_its_clean_up,), (yields, fails_in_its_clean_up)], ids=["alone", "second"]
)
async def test_an_error_in_its_place_does_not_hide_the_cancellation_of_a_scope(make: Make, listeners: Any) -> None:
    dispatcher = of(*listeners)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_blocked, scope)
            await dispatcher.adispatch(NAME, strategy=make(errors=overlook))
            pytest.fail("the dispatch returned")
    assert scope.cancelled_caught


async def _cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


@every_grouping_strategy
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_listener_that_keeps_a_request_keeps_it_from_no_other(make: Make, count: int) -> None:
    ran: list[str] = []

    async def later(event: Event) -> None:
        ran.append("later")

    dispatcher = of(*[keeps_the_cancellation] * count, later=later)
    ended = run_cancelled(lambda: dispatcher.adispatch(NAME, strategy=make()), 0.01)
    assert ended.cancelled
    assert ended.cancelling == 1
    assert ran == []


# A request of a listener's own is its own affair


async def handles_its_failed_group(event: Event) -> None:
    """Python 3.11 and 3.12 leave a request behind in the task."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    except* KeyError:
        pass


async def times_out_in_the_old_way(event: Event) -> None:
    """Such a timeout cancels its task and takes nothing back."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        pass


async def times_out_while_it_turns(event: Event) -> None:
    """The request comes while the task waits for nothing but its next turn."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    try:
        while True:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        pass


OWN = [handles_its_failed_group, times_out_in_the_old_way, times_out_while_it_turns]


@every_strategy
@every_policy
@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
@pytest.mark.parametrize("others", [(), (nap,), (yields, nap)], ids=["alone", "with-one", "with-two"])
def test_a_request_that_a_listener_handles_cancels_nobody(make: Make, policy: Any, own: Any, others: Any) -> None:
    ran: list[str] = []

    async def later(event: Event) -> None:
        await anyio.sleep(0.01)
        ran.append("later")

    strategy = make(errors=policy)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        await of(own, *others, later=later).adispatch(NAME, strategy=strategy)
        assert ran == ["later"]
        if not isinstance(strategy, Sequential):
            assert task.cancelling() == 0
            async with asyncio.timeout(0.01) as timeout:
                pass
            assert not timeout.expired()
        await anyio.sleep(1)

    ASYNCIO.run(main)


@every_strategy
def test_errors_after_a_request_that_a_listener_handled_are_not_lost(make: Make) -> None:
    async def fail(event: Event) -> None:
        await anyio.sleep(0.01)
        raise ValueError

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await of(times_out_in_the_old_way, later=fail).adispatch(NAME, strategy=make(errors="collect"))
        assert [type(error) for error in leaves(caught.value)] == [ValueError]

    ASYNCIO.run(main)


@every_strategy
@every_policy
def test_a_task_that_once_survived_a_request_is_cancelled_by_nobody(make: Make, policy: Any) -> None:
    async def impatient(event: Event) -> None:
        await asyncio.wait_for(asyncio.sleep(60), 0.01)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        left: BaseException | None = None
        try:
            await of(impatient).adispatch(NAME, strategy=make(errors=policy))
        except BaseException as exc:
            left = exc
        kinds = [type(leaf) for leaf in leaves(left)]
        assert kinds == ([] if callable(policy) else [TimeoutError])
        assert task.cancelling() == 1
        task.uncancel()

    ASYNCIO.run(main)


def _failing_together(turns: int) -> AsyncEventDispatcher:
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

    return of(fails_in_its_group, fails, nap)


@pytest.mark.parametrize("order", ["group-first", "group-last"])
@pytest.mark.parametrize("turns", range(7))
def test_failures_in_the_same_turn_hold_no_cancellation(turns: int, order: str) -> None:
    dispatcher = _failing_together(turns)
    if order == "group-last":
        first, *others = dispatcher.get_listeners(NAME)
        dispatcher = of(*others, first)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        left: BaseException | None = None
        try:
            await dispatcher.adispatch(NAME, strategy=Concurrent())
        except BaseException as exc:
            left = exc
        assert isinstance(left, ExceptionGroup), left
        assert {type(leaf) for leaf in leaves(left)} <= {KeyError, ValueError}
        assert task.cancelling() == 0
        await asyncio.sleep(1)

    ASYNCIO.run(main)


@every_strategy
@every_policy
def test_a_timeout_of_a_listener_with_errors_in_hand_is_an_error_of_that_listener(make: Make, policy: Any) -> None:
    async def fail(event: Event) -> None:
        raise ValueError

    inner = of(fail, nap)

    async def impatient(event: Event) -> None:
        async with asyncio.timeout(0.01):
            await inner.adispatch(NAME, strategy=Concurrent(errors="collect"))

    seen: list[Exception] = []
    strategy = make(errors=policy if policy != overlook else lambda exc, event, listener: seen.append(exc))

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        left: BaseException | None = None
        try:
            await of(impatient).adispatch(NAME, strategy=strategy)
        except BaseException as exc:
            left = exc
        if strategy == Sequential():
            assert {type(leaf) for leaf in leaves(left)} == {ValueError, asyncio.CancelledError}
        else:
            (error,) = seen or [left]
            assert isinstance(error, ExceptionGroup)
            assert {type(leaf) for leaf in leaves(error)} == {ValueError, ListenerCancelled}
        assert task.cancelling() == 0

    ASYNCIO.run(main)


# No listener starts any more


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize(
    "first", [fails_in_its_clean_up, keeps_the_cancellation, cleans_up], ids=lambda first: first.__name__
)
@every_policy
async def test_no_listener_starts_once_the_scope_is_cancelled(limit: int, first: Any, policy: Any) -> None:
    ran: list[str] = []

    async def later(event: Event) -> None:
        ran.append("later")

    dispatcher = of(*[first] * limit, later, later)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_blocked, scope)
            try:
                await dispatcher.adispatch(NAME, strategy=Concurrent(limit, errors=policy))
            except BaseExceptionGroup as group:
                is_cancelled = any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in leaves(group))
                assert is_cancelled
            else:
                pytest.fail("the dispatch returned")
    assert ran == []


# Dispatches without end


@every_grouping_strategy
@pytest.mark.parametrize("same", [True, False], ids=["same-event", "new-event"])
async def test_a_listener_that_dispatches_to_itself_without_end_is_refused(make: Make, same: bool) -> None:
    calls: list[int] = []
    dispatcher = of(returns, yields)

    @dispatcher.listen(NAME)
    async def again(event: Event) -> None:
        calls.append(1)
        await (
            dispatcher.adispatch(NAME, event, strategy=make()) if same else dispatcher.adispatch(NAME, strategy=make())
        )

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch(NAME, strategy=make())
    errors = leaves(caught.value)
    assert {type(error) for error in errors} == {RecursionError}
    if make() != Concurrent(1):
        # One at a time they are all in one task, where Python's own limit may come first.
        (error,) = errors
        assert "dispatch it under another name" in str(error)
    assert len(calls) < 200


@every_grouping_strategy
def test_tasks_that_outlive_their_dispatch_may_dispatch_without_end(make: Make) -> None:
    rounds: list[int] = []

    async def main() -> None:
        async with anyio.create_task_group() as group:
            dispatcher = of(yields)

            async def dispatch() -> None:
                await dispatcher.adispatch(NAME, strategy=make())

            @dispatcher.listen(NAME)
            async def start_another(event: Event) -> None:
                rounds.append(1)
                if len(rounds) < 300:
                    group.start_soon(_later, dispatch)

            await dispatch()

    ASYNCIO.run(main)
    assert len(rounds) == 300


async def _later(dispatch: Callable[[], Awaitable[None]]) -> None:
    await anyio.sleep(0.01)
    await dispatch()


@pytest.mark.parametrize("policy", ["collect", overlook], ids=["collect", "function"])
def test_in_turn_a_request_that_a_listener_kept_does_not_hide_a_leak_of_a_later_one(policy: Any) -> None:
    seen: list[type[Exception]] = []

    async def leak(event: Event) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    errors: Any = policy if policy == "collect" else lambda exc, event, listener: seen.append(type(exc))
    dispatcher = of(keeps_the_cancellation, leak)

    async def body() -> None:
        try:
            await dispatcher.adispatch(NAME, strategy=Sequential(errors=errors))
        except ExceptionGroup as group:
            seen.extend(type(error) for error in group.exceptions)

    ended = run_cancelled(body, 0.01)
    assert seen == [ListenerCancelled]
    assert not ended.cancelled


@pytest.mark.parametrize("turns", range(5))
def test_a_loser_whose_group_repeats_the_cancellation_of_the_race_has_no_error(turns: int) -> None:
    """Python 3.13: a failed group takes the request of the race back, and makes it once more."""
    seen: list[Exception] = []

    async def handles_its_failed_group_then_waits(event: Event) -> None:
        await handles_its_failed_group(event)
        await anyio.sleep(60)

    async def wins(event: Event) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        event.stop_propagation()
        await anyio.sleep(0.01)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        strategy = Race(errors=lambda exc, event, listener: seen.append(exc))
        await of(handles_its_failed_group_then_waits, wins).adispatch(NAME, strategy=strategy)
        assert task.cancelling() == 0
        await anyio.sleep(1)

    ASYNCIO.run(main)
    assert seen == []


# What a failing dispatch leaves behind


async def waits_and_fails(event: Event) -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError


async def waits_and_stops(event: Event) -> None:
    await anyio.lowlevel.checkpoint()
    event.stop_propagation()


async def waits_for_ever(event: Event) -> None:
    await anyio.Event().wait()


async def count_unreachable(dispatcher: AsyncEventDispatcher, strategy: Strategy) -> int:
    """Dispatch a few times, and count what only the garbage collector finds."""

    async def dispatch() -> None:
        try:
            await dispatcher.adispatch(NAME, strategy=strategy)
        except Exception:
            pass

    await dispatch()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await dispatch()
        return gc.collect()
    finally:
        gc.enable()


@every_strategy
@every_policy
@pytest.mark.parametrize(
    "listeners",
    [(waits_and_fails,), (waits_and_fails, yields), (waits_and_fails, waits_and_fails), (waits_and_stops, yields)],
    ids=["alone", "fails", "fail", "stops"],
)
@pytest.mark.usefixtures("frozen_heap")
async def test_a_dispatch_leaves_no_cycles_whatever_its_listeners_do(make: Make, policy: Any, listeners: Any) -> None:
    """As the loop by hand leaves none. A cancelled child of anyio's task group leaves some 35 objects on asyncio."""
    dispatcher, strategy = of(*listeners), make(errors=policy)

    assert await count_unreachable(dispatcher, strategy) == 0


@pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
@pytest.mark.usefixtures("frozen_heap")
async def test_listeners_that_are_cancelled_for_an_error_leave_no_cycles(make: Make) -> None:
    dispatcher = of(waits_for_ever, waits_and_fails, waits_for_ever)

    assert await count_unreachable(dispatcher, make()) == 0


# Requests at odd moments


@pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
def test_a_request_that_meets_a_tier_whose_listeners_never_waited_is_counted(make: Make) -> None:
    ended = run_cancelled(lambda: of(returns, returns).adispatch(NAME, strategy=make()), 0)
    assert ended.left is None or ended.cancelling == 1

    async def main() -> tuple[bool, int]:
        counts: list[int] = []

        async def dispatch() -> None:
            try:
                await of(returns, returns).adispatch(NAME, strategy=make())
            finally:
                task = asyncio.current_task()
                assert task is not None
                counts.append(task.cancelling())

        task = asyncio.create_task(dispatch())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), counts[0]

    assert ASYNCIO.run(main) == (True, 1)


@every_grouping_strategy
def test_a_request_that_comes_in_the_context_of_a_listener_is_not_hidden_by_an_error(make: Make) -> None:
    """As one of the process (an interrupt while its code runs), or a timeout of the caller that it has rescheduled."""

    async def main() -> None:
        async def reschedules(event: Event) -> None:
            timeout.reschedule(asyncio.get_running_loop().time() + 0.01)
            try:
                await anyio.sleep(60)
            finally:
                raise ValueError("clean-up")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as timeout:
                await of(reschedules).adispatch(NAME, strategy=make(errors=overlook))

    ASYNCIO.run(main)


@pytest.mark.parametrize("make", [Concurrent, Race], ids=["concurrent", "race"])
async def test_tasks_that_listeners_only_start_are_not_nested(make: Make) -> None:
    generations: list[int] = []
    dispatcher = of(yields)

    async with anyio.create_task_group() as group:

        async def dispatch() -> None:
            await dispatcher.adispatch(NAME, strategy=make())

        @dispatcher.listen(NAME)
        async def start_another(event: Event) -> None:
            generations.append(1)
            if len(generations) < 300:
                group.start_soon(dispatch)
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()

        await dispatch()
    assert len(generations) == 300


async def test_a_cycle_of_contexts_does_not_hang_the_dispatch(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")

    async def raises_a_cycle(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        first, second = ValueError(), asyncio.CancelledError()
        first.__context__, second.__context__ = second, first
        raise second

    with pytest.raises(ExceptionGroup):
        await of(raises_a_cycle).adispatch(NAME, strategy=Concurrent(errors="collect"))


@every_grouping_strategy
@pytest.mark.parametrize("policy", ["raise", "collect"])
async def test_an_interrupt_in_a_group_with_a_cancellation_leaves(make: Make, policy: Any) -> None:
    """Such a group is no error, and its interrupt must not be kept with the errors."""
    left: BaseException | None = None

    async def interrupted(event: Event) -> None:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as exc:
            raise BaseExceptionGroup("ended", [exc, KeyboardInterrupt()]) from None

    with anyio.CancelScope() as scope:
        try:
            await of(interrupted).adispatch(NAME, strategy=make(errors=policy))
        except BaseException as exc:
            left = exc
    assert isinstance(left, BaseExceptionGroup)
    assert left.message == "ended", "it leaves as it is"
    assert [type(leaf) for leaf in leaves(left)].count(KeyboardInterrupt) == 1
    assert any(isinstance(leaf, anyio.get_cancelled_exc_class()) for leaf in leaves(left))
