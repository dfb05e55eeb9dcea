"""Rule 16: the first listener that stops the event wins, and is the only one of its tier that finishes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import CancelScope, from_thread, lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Concurrent, Event, ListenerCancelled, Race, Sequential, in_thread, inline
from tests.cancellation.tasks import (
    Watch,
    forever,
    is_cancellation,
    leaves,
    left_by,
    no_task_left_behind,
    settle,
    tasks_before_and_after,
)
from tests.loops import anyio_backend

__all__ = ("anyio_backend", "no_task_left_behind", "tasks_before_and_after")


class Runners:
    """Listeners that tell how they fared."""

    def __init__(self, strategy: Race | None = None) -> None:
        self.dispatcher = AsyncEventDispatcher(strategy=strategy or Race())
        self.log: list[str] = []

    def add(self, name: str, run: Callable[[Event], Awaitable[object]], priority: int = 0) -> None:
        async def runner(event: Event) -> None:
            try:
                await run(event)
            except BaseException as exc:
                self.log.append(f"{name} cancelled" if is_cancellation(exc) else f"{name} failed")
                raise
            self.log.append(f"{name} finished")

        self.dispatcher.add_listener("race", runner, priority=priority)


async def stop_by_method(event: Event) -> None:
    event.stop_propagation()


async def stop_by_assignment(event: Event) -> None:
    event.propagation_stopped = True


async def stop_from_a_helper_task(event: Event) -> None:
    async def help() -> None:
        await lowlevel.checkpoint()
        event.stop_propagation()

    async with anyio.create_task_group() as group:
        group.start_soon(help)


async def stop_from_a_thread(event: Event) -> None:
    await to_thread.run_sync(event.stop_propagation)


async def stop_by_way_of_the_loop_from_a_thread(event: Event) -> None:
    await to_thread.run_sync(lambda: from_thread.run_sync(event.stop_propagation))


STOPS = [
    stop_by_method,
    stop_by_assignment,
    stop_from_a_helper_task,
    stop_from_a_thread,
    stop_by_way_of_the_loop_from_a_thread,
]
every_stop = pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)


async def instantly(event: Event) -> None:
    await settle()


@every_stop
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_the_listener_that_stops_the_event_wins_and_the_others_of_its_tier_are_cancelled(
    stop: Callable[[Event], Awaitable[None]], place: int
) -> None:
    runners, watch = Runners(), Watch()

    async def win(event: Event) -> None:
        await settle()
        await stop(event)
        await settle()

    for number in range(3):
        if number == place:
            runners.add("winner", win)
        else:
            runners.add("loser", forever)
    event = await runners.dispatcher.adispatch("race")
    assert runners.log == ["loser cancelled", "loser cancelled", "winner finished"]
    assert event.propagation_stopped
    watch.assert_alone()


@pytest.mark.parametrize("winner", range(24))
async def test_who_wins_does_not_depend_on_who_ran_before_in_the_same_task(winner: int) -> None:
    runners, watch = Runners(), Watch()

    async def at_once(event: Event) -> None:
        pass

    async def a_turn_later(event: Event) -> None:
        await lowlevel.checkpoint()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await settle()

    # Those that end leave their task to others, which wait in it until they have lost.
    kinds = [at_once, a_turn_later, forever] * 8
    for number, run in enumerate(kinds):
        runners.add(str(number), win if number == winner else run)
    with anyio.fail_after(5):  # if another is cancelled in its place, a loser never ends
        await runners.dispatcher.adispatch("race")

    losers = {number for number, run in enumerate(kinds) if run is forever} - {winner}
    assert set(runners.log) == {f"{number} {'cancelled' if number in losers else 'finished'}" for number in range(24)}
    assert runners.log[-1] == f"{winner} finished"
    watch.assert_alone()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has no futures
@pytest.mark.parametrize("place", [0, 1])
async def test_a_loser_that_another_cancellation_leaves_does_not_end_the_caller(place: int, anyio_backend: str) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    given: list[str] = []
    dispatcher = AsyncEventDispatcher(strategy=Race(errors=lambda exc, event, listener: given.append(repr(exc))))
    log: list[str] = []

    async def lose(event: Event) -> None:
        await future

    async def win(event: Event) -> None:
        await lowlevel.checkpoint()
        future.cancel()
        event.stop_propagation()
        await settle()
        log.append("won")

    for listener in [win, lose] if place == 0 else [lose, win]:
        dispatcher.add_listener("race", listener)
    task = asyncio.create_task(dispatcher.adispatch("race"))
    await asyncio.wait([task])

    assert (log, task.cancelled(), task.exception()) == (["won"], False, None)
    assert len(given) == 1


async def test_a_policy_that_stops_the_event_decides_the_race() -> None:
    def stop(exc: Exception, event: Event, listener: object) -> None:
        event.stop_propagation()

    for place in range(4):
        runners = Runners(Race(errors=stop))

        async def fail(event: Event) -> None:
            await lowlevel.checkpoint()
            raise ValueError

        for number in range(4):
            runners.add(str(number), fail if number == place else forever)
        with anyio.fail_after(5):  # if nobody is seen to win, the others never end
            await runners.dispatcher.adispatch("race")

        # Some may not have started.
        others = {f"{number} cancelled" for number in range(4) if number != place}
        assert f"{place} failed" in runners.log
        assert set(runners.log) <= {f"{place} failed"} | others


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 marks no functions")
async def test_a_stop_iteration_of_the_call_itself_is_an_error() -> None:
    @inspect.markcoroutinefunction
    def call(event: Event) -> object:
        return next(iter(()))

    dispatcher = AsyncEventDispatcher(strategy=Race())
    dispatcher.add_listener("race", call)
    dispatcher.add_listener("race", instantly)

    with pytest.raises(ExceptionGroup) as raised:
        await dispatcher.adispatch("race")

    assert [type(leaf) for leaf in leaves(raised.value)] == [RuntimeError]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")
async def test_a_race_that_was_won_keeps_no_event() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Race())

    async def at_once(event: Event) -> None:
        pass

    for listener in (at_once, stop_by_method, at_once, forever):
        dispatcher.add_listener("race", listener)
    gc.disable()
    try:
        event = weakref.ref(await dispatcher.adispatch("race"))
        assert event() is None
    finally:
        gc.enable()


@every_stop
async def test_later_tiers_do_not_run_and_earlier_ones_have(stop: Callable[[Event], Awaitable[None]]) -> None:
    runners = Runners()
    runners.add("earlier", instantly, priority=-1)
    runners.add("winner", stop)
    runners.add("later", instantly, priority=1)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["earlier finished", "winner finished"]


async def test_the_others_are_cancelled_at_the_call_and_not_when_the_winner_ends() -> None:
    runners = Runners()
    lost = anyio.Event()

    async def lose(event: Event) -> None:
        try:
            await forever()
        finally:
            lost.set()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await lost.wait()

    runners.add("loser", lose)
    runners.add("winner", win)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_listeners_that_have_not_started_when_one_wins_are_skipped_and_claim_no_once() -> None:
    dispatcher, ran = AsyncEventDispatcher(strategy=Race()), list[str]()

    def listener(number: int) -> Any:
        async def stop(event: Event) -> None:
            ran.append("ran")
            event.stop_propagation()

        return stop

    for number in range(5):
        dispatcher.add_listener("race", listener(number), once=True)
    await dispatcher.adispatch("race")
    assert ran == ["ran"]
    assert len(dispatcher.get_listeners("race")) == 4


async def test_the_first_to_stop_wins_and_a_stop_in_the_clean_up_of_another_comes_too_late() -> None:
    runners = Runners()

    async def stop_too_late(event: Event) -> None:
        try:
            await forever()
        finally:
            event.stop_propagation()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await settle()

    runners.add("late", stop_too_late)
    runners.add("winner", win)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["late cancelled", "winner finished"]


async def test_if_nobody_stops_the_event_it_is_concurrent() -> None:
    runners = Runners()
    here, there = anyio.Event(), anyio.Event()

    async def first(event: Event) -> None:
        here.set()
        await there.wait()

    async def second(event: Event) -> None:
        there.set()
        await here.wait()

    runners.add("first", first)
    runners.add("second", second)
    runners.add("later", instantly, priority=1)
    await runners.dispatcher.adispatch("race")
    assert sorted(runners.log[:2]) == ["first finished", "second finished"]
    assert runners.log[2:] == ["later finished"]


async def test_an_event_of_foreign_make_is_won_too() -> None:
    class Quacks:
        name = dispatcher = None
        propagation_stopped = False

        def stop_propagation(self) -> None:
            self.propagation_stopped = True

    runners = Runners()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await settle()

    runners.add("loser", forever)
    runners.add("winner", win)
    runners.add("later", instantly, priority=1)
    await runners.dispatcher.adispatch("race", Quacks())
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_subclass_that_stops_in_its_own_way_is_won_too() -> None:
    class Own(Event):
        def stop_propagation(self) -> None:
            self.propagation_stopped = True

    runners = Runners()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await settle()

    runners.add("loser", forever)
    runners.add("winner", win)
    await runners.dispatcher.adispatch("race", Own())
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_plain_function_in_a_thread_wins_while_it_still_runs() -> None:
    runners = Runners()
    lost = threading.Event()

    async def lose(event: Event) -> None:
        try:
            await forever()
        finally:
            lost.set()

    def win(event: Event) -> None:
        event.stop_propagation()
        assert lost.wait(10), "the loser was not cancelled at the call"

    runners.add("loser", lose)
    runners.add("winner", in_thread(win))
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_plain_function_in_a_thread_wins_by_assignment_too() -> None:
    runners = Runners()
    go_on = threading.Event()

    async def lose(event: Event) -> None:
        await settle()
        go_on.set()
        await forever()

    def win(event: Event) -> None:
        assert go_on.wait(10)
        event.propagation_stopped = True

    runners.add("loser", lose)
    runners.add("winner", in_thread(win))
    with anyio.fail_after(1):  # if nobody is seen to win, the loser never ends
        await runners.dispatcher.adispatch("race")
    assert sorted(runners.log) == ["loser cancelled", "winner finished"]


async def test_a_listener_wins_by_an_assignment_in_its_helper_task_too() -> None:
    runners = Runners()

    async def win(event: Event) -> None:
        await settle()
        async with anyio.create_task_group() as group:
            group.start_soon(stop_by_assignment, event)

    runners.add("loser", forever)
    runners.add("winner", win)
    with anyio.fail_after(1):  # if nobody is seen to win, the loser never ends
        await runners.dispatcher.adispatch("race")
    assert sorted(runners.log) == ["loser cancelled", "winner finished"]


async def test_a_plain_function_called_inline_wins() -> None:
    runners = Runners()
    runners.add("winner", inline(lambda event: event.stop_propagation()))
    runners.add("later", instantly, priority=1)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["winner finished"]


async def test_a_loser_in_a_thread_is_waited_for() -> None:
    runners = Runners()
    go_on, ended = threading.Event(), list[str]()

    def lose(event: Event) -> None:
        assert go_on.wait(10)
        ended.append("thread ended")

    async def win(event: Event) -> None:
        await lowlevel.checkpoint()
        event.stop_propagation()
        go_on.set()

    runners.add("loser", in_thread(lose))
    runners.add("winner", win)
    await runners.dispatcher.adispatch("race")
    assert "winner finished" in runners.log
    # A loser that had not started yet was skipped.
    assert len(ended) == len(runners.log) - 1


async def test_a_thread_that_was_abandoned_and_stops_the_event_later_disturbs_nobody() -> None:
    go_on, stopped = threading.Event(), threading.Event()
    started = threading.Event()
    dispatcher = AsyncEventDispatcher(strategy=Race())

    def late(event: Event) -> None:
        started.set()
        assert go_on.wait(10)
        event.stop_propagation()
        stopped.set()

    @dispatcher.listen("race")
    async def win(event: Event) -> None:
        while not started.is_set():
            await lowlevel.checkpoint()
        event.stop_propagation()

    dispatcher.add_listener("race", in_thread(late, abandon_on_cancel=True))
    await dispatcher.adispatch("race")
    go_on.set()
    assert await to_thread.run_sync(stopped.wait, 10)


async def test_a_loser_that_swallows_its_cancellation_is_waited_for_and_changes_nothing() -> None:
    runners = Runners()

    async def stubborn(event: Event) -> None:
        try:
            await forever()
        except anyio.get_cancelled_exc_class():
            pass

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()

    runners.add("stubborn", stubborn)
    runners.add("winner", win)
    await runners.dispatcher.adispatch("race")
    assert sorted(runners.log) == ["stubborn finished", "winner finished"]


# Errors


async def _fails_in_cleanup(event: Event) -> None:
    try:
        await forever()
    finally:
        raise ValueError("clean-up of a loser")


async def _wins_slowly(event: Event) -> None:
    await settle()
    event.stop_propagation()
    await settle()
    await settle()


@pytest.mark.parametrize("policy", ["raise", "collect"])
async def test_an_error_of_a_cancelled_loser_leaves_when_the_winner_has_finished(policy: Any) -> None:
    runners, watch = Runners(), Watch()
    runners.add("loser", _fails_in_cleanup)
    runners.add("winner", _wins_slowly)
    runners.add("loser", _fails_in_cleanup)
    runners.add("later", instantly, priority=1)
    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race", strategy=Race(errors=policy))
    assert runners.log == ["loser failed", "loser failed", "winner finished"], (
        "the winner is never cancelled by a loser"
    )
    assert [str(error) for error in caught.value.exceptions] == ["clean-up of a loser"] * 2
    watch.assert_alone()


async def test_an_error_of_a_cancelled_loser_is_given_to_a_callable_policy() -> None:
    runners, seen = Runners(), list[str]()
    runners.add("loser", _fails_in_cleanup)
    runners.add("winner", _wins_slowly)
    await runners.dispatcher.adispatch("race", strategy=Race(errors=lambda exc, event, listener: seen.append(str(exc))))
    assert seen == ["clean-up of a loser"]
    assert runners.log == ["loser failed", "winner finished"]


async def test_what_a_callable_policy_raises_for_a_loser_does_not_cancel_the_winner() -> None:
    runners = Runners()
    runners.add("loser", _fails_in_cleanup)
    runners.add("winner", _wins_slowly)

    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race", strategy=Race(errors=refuse))
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert runners.log == ["loser failed", "winner finished"]


async def test_an_error_before_anybody_has_won_cancels_all_and_the_race_is_over() -> None:
    runners = Runners()

    async def fail(event: Event) -> None:
        await settle()
        raise ValueError("first")

    async def stop_in_cleanup(event: Event) -> None:
        try:
            await forever()
        finally:
            event.stop_propagation()

    runners.add("cancelled", forever)
    runners.add("failing", fail)
    runners.add("too late", stop_in_cleanup)
    runners.add("later", instantly, priority=1)
    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race")
    assert [str(error) for error in caught.value.exceptions] == ["first"]
    assert sorted(runners.log) == ["cancelled cancelled", "failing failed", "too late cancelled"]


async def test_a_winner_that_fails_leaves_its_error_in_a_group() -> None:
    runners = Runners()

    async def win_and_fail(event: Event) -> None:
        await settle()
        event.stop_propagation()
        raise ValueError("the winner's")

    runners.add("loser", forever)
    runners.add("winner", win_and_fail)
    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race")
    assert [str(error) for error in caught.value.exceptions] == ["the winner's"]
    assert sorted(runners.log) == ["loser cancelled", "winner failed"]


async def test_under_collect_an_error_ends_no_race() -> None:
    runners = Runners()

    async def fail(event: Event) -> None:
        raise ValueError("collected")

    runners.add("failing", fail)
    runners.add("loser", forever)
    runners.add("winner", _wins_slowly)
    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race", strategy=Race(errors="collect"))
    assert [str(error) for error in caught.value.exceptions] == ["collected"]
    assert runners.log == ["failing failed", "loser cancelled", "winner finished"]


async def test_a_loser_that_a_leaked_cancellation_leaves_is_a_loser_that_was_cancelled() -> None:
    # In doubt: it was cancelled.
    runners, stored = Runners(), list[BaseException]()
    with CancelScope() as scope:
        scope.cancel()
        try:
            await lowlevel.checkpoint()
        except BaseException as exc:
            stored.append(exc)
            raise

    async def leak_when_cancelled(event: Event) -> None:
        try:
            await forever()
        except BaseException:
            raise stored[0] from None

    runners.add("loser", leak_when_cancelled)
    runners.add("winner", _wins_slowly)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_leak_before_anybody_has_won_is_an_error() -> None:
    runners, stored = Runners(), list[BaseException]()
    with CancelScope() as scope:
        scope.cancel()
        try:
            await lowlevel.checkpoint()
        except BaseException as exc:
            stored.append(exc)
            raise

    async def leak(event: Event) -> None:
        await settle()
        raise stored[0]

    runners.add("sibling", forever)
    runners.add("leaking", leak)
    with pytest.raises(ExceptionGroup) as caught:
        await runners.dispatcher.adispatch("race")
    assert [type(error) for error in caught.value.exceptions] == [ListenerCancelled]


# Cancelled from outside


async def test_cancelled_while_the_winner_finishes_the_winner_is_cancelled_and_the_cancellation_leaves() -> None:
    runners, watch = Runners(), Watch()

    async def win(event: Event) -> None:
        event.stop_propagation()
        await forever()

    async def cancel(scope: CancelScope) -> None:
        await settle()
        scope.cancel()

    left: BaseException | None = None
    runners.add("winner", win)
    async with anyio.create_task_group() as group:
        with CancelScope() as scope:
            group.start_soon(cancel, scope)
            try:
                await runners.dispatcher.adispatch("race")
            except BaseException as exc:
                left = exc
                raise
    assert is_cancellation(left)
    assert scope.cancelled_caught
    assert runners.log == ["winner cancelled"]
    watch.assert_alone()


async def test_cancelled_while_a_loser_cleans_up_and_fails_both_leave() -> None:
    runners = Runners()
    left: BaseException | None = None
    cleaning = anyio.Event()

    async def lose(event: Event) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                cleaning.set()
                await settle()
                await settle()
            raise ValueError("clean-up")

    async def cancel(scope: CancelScope) -> None:
        await cleaning.wait()
        scope.cancel()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()

    runners.add("loser", lose)
    runners.add("winner", win)
    out: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            with CancelScope() as scope:
                group.start_soon(cancel, scope)
                try:
                    await runners.dispatcher.adispatch("race")
                except BaseException as exc:
                    left = exc
                    raise
        except BaseException as exc:
            out = exc
    assert [str(leaf) == "clean-up" or is_cancellation(leaf) for leaf in leaves(left)] == [True, True]
    assert type(left) is BaseExceptionGroup
    assert [str(leaf) for leaf in leaves(out)] == ["clean-up"]


# Dispatches within a race


@pytest.mark.parametrize("inner", [Sequential(), Concurrent(), Race()], ids=["sequential", "concurrent", "race"])
async def test_a_stop_of_another_event_within_a_race_does_not_win_it(inner: Any) -> None:
    runners, other = Runners(), AsyncEventDispatcher(strategy=inner)

    @other.listen("other")
    async def stop(event: Event) -> None:
        event.stop_propagation()

    async def dispatch(event: Event) -> None:
        await other.adispatch("other")

    runners.add("dispatching", dispatch)
    runners.add("sibling", instantly)
    runners.add("later", instantly, priority=1)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["dispatching finished", "sibling finished", "later finished"]


@pytest.mark.parametrize("inner", [Sequential(), Concurrent(), Race()], ids=["sequential", "concurrent", "race"])
async def test_a_listener_of_another_dispatch_may_stop_the_race_it_runs_in(inner: Any) -> None:
    runners, other = Runners(), AsyncEventDispatcher(strategy=inner)
    lost = anyio.Event()

    async def dispatch(event: Event) -> None:
        @other.listen("other")
        async def stop(_: Event) -> None:
            await settle()
            event.stop_propagation()
            await lost.wait()

        await other.adispatch("other")

    async def lose(event: Event) -> None:
        try:
            await forever()
        finally:
            lost.set()

    runners.add("winner", dispatch)
    runners.add("loser", lose)
    await runners.dispatcher.adispatch("race")
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_task_that_outlives_the_race_and_stops_the_event_disturbs_nobody() -> None:
    dispatcher, go_on = AsyncEventDispatcher(strategy=Race()), anyio.Event()

    async def late(event: Event) -> None:
        await go_on.wait()
        event.stop_propagation()

    async with anyio.create_task_group() as group:

        @dispatcher.listen("race")
        async def start(event: Event) -> None:
            group.start_soon(late, event)

        event = await dispatcher.adispatch("race")
        assert not event.propagation_stopped
        go_on.set()
    assert event.propagation_stopped


async def test_two_races_of_two_events_at_a_time_do_not_disturb_each_other() -> None:
    dispatcher, won = AsyncEventDispatcher(strategy=Race()), list[Any]()

    class Numbered(Event):
        def __init__(self, number: int) -> None:
            self.number = number

    async def listener(event: Numbered) -> None:
        await settle()
        event.stop_propagation()
        await settle()
        won.append(event.number)

    dispatcher.add_listener("race", listener)
    dispatcher.add_listener("race", forever)

    async def race(number: int) -> None:
        await dispatcher.adispatch("race", Numbered(number))

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(race, number)
    assert sorted(won) == [0, 1, 2]


async def test_a_listener_that_gives_an_awaitable_which_is_no_coroutine_races_too() -> None:
    class Awaitable_:
        def __init__(self, event: Event) -> None:
            self.event = event

        def __await__(self) -> Any:
            yield from lowlevel.checkpoint().__await__()
            self.event.stop_propagation()

    dispatcher, ran = AsyncEventDispatcher(strategy=Race()), list[str]()
    dispatcher.add_listener("race", inline(Awaitable_))

    @dispatcher.listen("race", priority=1)
    async def later(event: Event) -> None:
        ran.append("later")

    await dispatcher.adispatch("race")
    assert ran == []


async def test_what_is_left_by_a_race_alone_is_nothing() -> None:
    assert await left_by(lambda: AsyncEventDispatcher(strategy=Race()).adispatch("nobody listens")) is None


async def test_a_stop_by_assignment_wins_at_once_although_a_nested_dispatch_of_the_event_was_stopped_and_failed() -> (
    None
):
    log: list[str] = []
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("inner")
    async def stop_and_fail(event: Event) -> None:
        event.stop_propagation()
        await started.wait()
        raise ValueError

    @dispatcher.listen("outer")
    async def assign(event: Event) -> None:
        with pytest.raises(ValueError):
            await dispatcher.adispatch("inner", event)
        event.propagation_stopped = True
        # Woken by nobody but the loser, when it is cancelled.
        await cancelled.wait()
        log.append("won")

    @dispatcher.listen("outer")
    async def lose(event: Event) -> None:
        started.set()
        try:
            await forever()
        finally:
            cancelled.set()

    started, cancelled = anyio.Event(), anyio.Event()
    with anyio.fail_after(5):
        await dispatcher.adispatch("outer", strategy=Race())
    assert log == ["won"]


async def test_a_listener_that_ends_while_the_thread_of_another_stops_the_event_does_not_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, log, event = AsyncEventDispatcher(strategy=Race()), list[str](), Event()
    may_end, ended = anyio.Event(), anyio.Event()
    run_sync = anyio.from_thread.run_sync

    def tell_later(*args: Any, **options: Any) -> Any:
        run_sync(may_end.set)
        anyio.from_thread.run(ended.wait)
        return run_sync(*args, **options)

    @dispatcher.listen("order.placed")
    async def stops_in_a_thread(event: Event) -> None:
        await anyio.to_thread.run_sync(event.stop_propagation)
        await anyio.lowlevel.checkpoint()
        log.append("won")

    @dispatcher.listen("order.placed")
    async def ends_meanwhile(event: Event) -> None:
        await may_end.wait()
        ended.set()

    monkeypatch.setattr(anyio.from_thread, "run_sync", tell_later)
    with anyio.fail_after(10):
        await dispatcher.adispatch("order.placed", event)

    assert log == ["won"]
    assert event.propagation_stopped


@pytest.mark.parametrize("place", [0, 1])
async def test_a_thread_that_stops_by_assignment_during_the_step_of_another_listener_wins(place: int) -> None:
    """The other listener is inside of a step when the mark goes up, and did not put it there."""
    started, in_step, assigning = threading.Event(), threading.Event(), threading.Event()
    log: list[str] = []

    def assign(event: Event) -> None:
        started.set()
        in_step.wait(5)
        assigning.set()
        event.propagation_stopped = True

    async def steps(event: Event) -> None:
        try:
            while not started.is_set():
                await lowlevel.checkpoint()
            in_step.set()
            assert assigning.wait(5)
            # Long enough for the assignment.
            for _ in range(100_000):
                if event.propagation_stopped:
                    break
            await anyio.Event().wait()
        finally:
            log.append("lost")

    dispatcher = AsyncEventDispatcher(strategy=Race())
    listeners = [in_thread(assign), steps]
    for listener in listeners if place == 0 else reversed(listeners):
        dispatcher.add_listener("offer", listener)
    with anyio.fail_after(10):
        event = await dispatcher.adispatch("offer")
    assert event.propagation_stopped
    assert log == ["lost"]


async def test_a_task_that_stops_by_assignment_wins_for_the_listener_that_started_it() -> None:
    log: list[str] = []

    async def asks(event: Event) -> None:
        async def answer() -> None:
            for _ in range(3):
                await lowlevel.checkpoint()
            event.propagation_stopped = True

        async with anyio.create_task_group() as group:
            group.start_soon(answer)
        log.append("won")

    async def waits(event: Event) -> None:
        try:
            while True:
                await lowlevel.checkpoint()
        finally:
            log.append("lost")

    dispatcher = AsyncEventDispatcher(strategy=Race())
    dispatcher.add_listener("offer", waits)
    dispatcher.add_listener("offer", asks)
    with anyio.fail_after(10):
        await dispatcher.adispatch("offer")
    assert sorted(log) == ["lost", "won"]


async def test_a_thread_that_the_event_loop_waits_for_may_stop_the_event() -> None:
    async def joins(event: Event) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(event.stop_propagation,))
        thread.start()
        thread.join()

    dispatcher = AsyncEventDispatcher(strategy=Race())
    dispatcher.add_listener("offer", joins)
    dispatcher.add_listener("offer", forever)
    with anyio.fail_after(10):
        assert (await dispatcher.adispatch("offer")).propagation_stopped


async def test_a_task_that_outlives_a_race_does_not_keep_its_event_alive() -> None:
    async with anyio.create_task_group() as group:
        dispatcher = AsyncEventDispatcher(strategy=Race())

        @dispatcher.listen("offer")
        async def start(event: Event) -> None:
            group.start_soon(anyio.sleep_forever)

        @dispatcher.listen("offer")
        async def other(event: Event) -> None:
            await lowlevel.checkpoint()

        event = weakref.ref(await dispatcher.adispatch("offer"))
        await settle()
        gc.collect()
        assert event() is None
        group.cancel_scope.cancel()
