"""Rule 16: the first listener that stops the event wins, and is the only one of its tier that finishes."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import weakref
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event, ListenerCancelled, Race, inline
from tests.cancellation.listeners import fails_in_clean_up, make_stored_cancellation
from tests.cancellation.tasks import Watch, is_cancellation, leaves, left_by, settle
from tests.event_kinds import Frozen, NarrowDuck, kinds
from tests.loops import anyio_backend
from tests.strategies.runners import Runners, forever, loses_and_sets, returns, stop, stops_by_assignment, waits, wins

__all__ = ("anyio_backend",)


@pytest.mark.parametrize("winner", range(24))
async def test_the_winner_does_not_depend_on_what_ran_in_the_same_task(winner: int) -> None:
    runners, watch = Runners(), Watch()
    # Those that end leave their task to others, which wait in it until they have lost.
    kinds = [returns, lambda event: checkpoint(), forever] * 8
    for number, run in enumerate(kinds):
        runners.add(str(number), wins if number == winner else run)
    await runners.dispatch()

    losers = {number for number, run in enumerate(kinds) if run is forever} - {winner}
    assert set(runners.log) == {f"{number} {'cancelled' if number in losers else 'finished'}" for number in range(24)}
    assert runners.log[-1] == f"{winner} finished"
    watch.assert_alone()


async def test_the_others_are_cancelled_when_the_winner_stops() -> None:
    runners, lost = Runners(), anyio.Event()

    async def win(event: Event) -> None:
        await settle()
        event.stop_propagation()
        await lost.wait()

    runners.add("loser", loses_and_sets(lost))
    runners.add("winner", win)
    await runners.dispatch()
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_listeners_that_are_skipped_claim_no_once() -> None:
    dispatcher, ran = AsyncEventDispatcher(strategy=Race()), list[str]()

    def listener() -> Any:
        async def stop(event: Event) -> None:
            ran.append("ran")
            event.stop_propagation()

        return stop

    for _ in range(5):
        dispatcher.add_listener("order.offered", listener(), once=True)
    await dispatcher.adispatch("order.offered")
    assert ran == ["ran"]
    assert len(dispatcher.get_listeners("order.offered")) == 4


async def test_a_stop_in_the_clean_up_of_a_loser_comes_too_late() -> None:
    async def stop_too_late(event: Event) -> None:
        try:
            await forever()
        finally:
            event.stop_propagation()

    runners = Runners()
    runners.add("late", stop_too_late)
    runners.add("winner", wins)
    await runners.dispatch()
    assert runners.log == ["late cancelled", "winner finished"]


async def test_a_loser_that_keeps_its_cancellation_is_awaited() -> None:
    async def stubborn(event: Event) -> None:
        try:
            await forever()
        except anyio.get_cancelled_exc_class():
            pass

    runners = Runners()
    runners.add("stubborn", stubborn)
    runners.add("winner", wins)
    await runners.dispatch()
    assert sorted(runners.log) == ["stubborn finished", "winner finished"]


async def test_the_policy_may_stop_the_event() -> None:
    async def fail(event: Event) -> None:
        await checkpoint()
        raise ValueError

    for place in range(4):
        runners = Runners(errors=lambda exc, event, listener: event.stop_propagation())
        for number in range(4):
            runners.add(str(number), fail if number == place else forever)
        await runners.dispatch()

        # Some may not have started.
        others = {f"{number} cancelled" for number in range(4) if number != place}
        assert f"{place} failed" in runners.log
        assert set(runners.log) <= {f"{place} failed"} | others


class Duck:
    name = dispatcher = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class StopsByAssignment(Event):
    def stop_propagation(self) -> None:
        self.propagation_stopped = True


@pytest.mark.parametrize("event", [Duck, StopsByAssignment], ids=lambda event: event.__name__)
async def test_events_that_do_not_report_a_stop_are_won_too(event: Any) -> None:
    runners = Runners()
    runners.add("loser", forever)
    runners.add("winner", wins)
    runners.add("later", waits, priority=1)
    await runners.dispatch(event())
    assert runners.log == ["loser cancelled", "winner finished"]


@pytest.mark.parametrize("event", [Event, Duck], ids=lambda event: event.__name__)
async def test_after_a_win_no_later_listener_runs_even_if_the_winner_resets_the_event(event: Any) -> None:
    async def reset(event: Any) -> None:
        await wins(event)
        event.propagation_stopped = False

    runners = Runners()
    runners.add("loser", forever)
    runners.add("winner", reset)
    runners.add("later", waits, priority=1)
    await runners.dispatch(event())
    assert runners.log == ["loser cancelled", "winner finished"]


class CustomAwaitable:
    def __init__(self, event: Event) -> None:
        self.event = event

    def __await__(self) -> Any:
        yield from checkpoint().__await__()
        self.event.stop_propagation()


@pytest.mark.parametrize("call", [stop, CustomAwaitable], ids=lambda call: call.__name__)
async def test_what_inline_calls_wins(call: Any) -> None:
    runners = Runners()
    runners.add("winner", inline(call))
    runners.add("later", waits, priority=1)
    await runners.dispatch()
    assert runners.log == ["winner finished"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 marks no functions")
async def test_a_stop_iteration_of_the_call_itself_is_an_error() -> None:
    @inspect.markcoroutinefunction
    def call(event: Event) -> object:
        return next(iter(()))

    dispatcher = AsyncEventDispatcher(strategy=Race())
    dispatcher.add_listener("order.offered", call)
    dispatcher.add_listener("order.offered", waits)

    left = await left_by(lambda: dispatcher.adispatch("order.offered"))
    assert [type(leaf) for leaf in leaves(left)] == [RuntimeError]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")
async def test_a_race_that_was_won_keeps_no_event() -> None:
    async def stop_at_once(event: Event) -> None:
        event.stop_propagation()

    dispatcher = AsyncEventDispatcher(strategy=Race())
    for listener in (returns, stop_at_once, returns, forever):
        dispatcher.add_listener("order.offered", listener)
    gc.disable()
    try:
        event = weakref.ref(await dispatcher.adispatch("order.offered"))
        assert event() is None
    finally:
        gc.enable()


async def test_a_task_that_outlives_a_race_does_not_keep_its_event() -> None:
    async with anyio.create_task_group() as group:
        dispatcher = AsyncEventDispatcher(strategy=Race())

        @dispatcher.listen("order.offered")
        async def start(event: Event) -> None:
            group.start_soon(anyio.sleep_forever)

        @dispatcher.listen("order.offered")
        async def other(event: Event) -> None:
            await checkpoint()

        event = weakref.ref(await dispatcher.adispatch("order.offered"))
        await settle()
        gc.collect()
        assert event() is None
        group.cancel_scope.cancel()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")
async def test_a_task_that_outlives_a_race_keeps_no_listener_that_was_skipped() -> None:
    async with anyio.create_task_group() as group:
        dispatcher = AsyncEventDispatcher(strategy=Race())

        @dispatcher.listen("order.offered")
        async def start_and_win(event: Event) -> None:
            group.start_soon(anyio.sleep_forever)
            event.stop_propagation()

        async def skipped(event: Event) -> None: ...

        subscription = dispatcher.add_listener("order.offered", skipped)
        await dispatcher.adispatch("order.offered")
        await settle()
        subscription.unsubscribe()
        listener = weakref.ref(skipped)
        del skipped, subscription
        gc.collect()
        assert listener() is None
        group.cancel_scope.cancel()


async def test_a_task_that_outlives_a_race_does_not_keep_the_values_of_its_context() -> None:
    class Order: ...

    variable: ContextVar[Order | None] = ContextVar("variable", default=None)
    async with anyio.create_task_group() as group:
        dispatcher = AsyncEventDispatcher(strategy=Race())

        @dispatcher.listen("order.offered")
        async def start(event: Event) -> None:
            variable.set(None)
            group.start_soon(anyio.sleep_forever)

        dispatcher.add_listener("order.offered", returns)
        order = Order()
        variable.set(order)
        await dispatcher.adispatch("order.offered")
        variable.set(None)
        kept = weakref.ref(order)
        del order
        gc.collect()
        assert kept() is None
        group.cancel_scope.cancel()


async def test_a_failed_race_keeps_no_context_alive_until_the_event_loop_runs() -> None:
    class Order: ...

    variable: ContextVar[Order | None] = ContextVar("variable", default=None)
    dispatcher = AsyncEventDispatcher(strategy=Race())

    @dispatcher.listen("order.offered")
    async def fail(event: Event) -> None:
        raise ValueError("no such order")

    dispatcher.add_listener("order.offered", returns)
    order = Order()
    variable.set(order)
    with pytest.raises(ExceptionGroup):
        await dispatcher.adispatch("order.offered")
    variable.set(None)
    kept = weakref.ref(order)
    del order
    gc.collect()
    assert kept() is None


# Errors


def refuse(exc: Exception, event: Any, listener: Any) -> None:
    raise LookupError("refused")


@pytest.mark.parametrize(("policy", "left"), [("raise", "clean-up"), ("collect", "clean-up"), (refuse, "refused")])
async def test_an_error_of_a_loser_leaves_when_the_winner_has_finished(policy: Any, left: str) -> None:
    runners, watch = Runners(errors=policy), Watch()
    runners.add("loser", fails_in_clean_up)
    runners.add("winner", wins)
    runners.add("loser", fails_in_clean_up)
    runners.add("later", waits, priority=1)
    group = await runners.left_by_dispatch()
    assert type(group) is ExceptionGroup
    assert [str(error) for error in group.exceptions] == [left] * 2
    assert runners.log == ["loser failed", "loser failed", "winner finished"], "a loser cancelled the winner"
    watch.assert_alone()


async def test_an_error_before_a_stop_cancels_all_and_no_listener_wins() -> None:
    async def fail(event: Event) -> None:
        await settle()
        raise ValueError("first")

    async def stop_in_clean_up(event: Event) -> None:
        try:
            await forever()
        finally:
            event.stop_propagation()

    runners = Runners()
    runners.add("waiting", forever)
    runners.add("failing", fail)
    runners.add("too late", stop_in_clean_up)
    runners.add("later", waits, priority=1)
    left = await runners.left_by_dispatch()
    assert [str(error) for error in left.exceptions] == ["first"]
    assert sorted(runners.log) == ["failing failed", "too late cancelled", "waiting cancelled"]


async def test_after_an_error_no_other_listener_starts() -> None:
    async def fail(event: Event) -> None:
        raise ValueError("first")

    runners = Runners()
    runners.add("failing", fail)
    runners.add("other", returns)
    left = await runners.left_by_dispatch()
    assert [str(error) for error in left.exceptions] == ["first"]
    assert runners.log == ["failing failed"]


async def test_the_error_of_the_winner_leaves_in_a_group() -> None:
    async def win_and_fail(event: Event) -> None:
        await settle()
        event.stop_propagation()
        raise ValueError("the winner's")

    runners = Runners()
    runners.add("loser", forever)
    runners.add("winner", win_and_fail)
    left = await runners.left_by_dispatch()
    assert [str(error) for error in left.exceptions] == ["the winner's"]
    assert sorted(runners.log) == ["loser cancelled", "winner failed"]


async def test_a_collected_error_ends_no_race() -> None:
    async def fail(event: Event) -> None:
        raise ValueError("collected")

    runners = Runners(errors="collect")
    runners.add("failing", fail)
    runners.add("loser", forever)
    runners.add("winner", wins)
    left = await runners.left_by_dispatch()
    assert [str(error) for error in left.exceptions] == ["collected"]
    assert runners.log == ["failing failed", "loser cancelled", "winner finished"]


# Cancellation


async def test_a_loser_that_leaks_a_cancellation_counts_as_cancelled() -> None:
    runners, stored = Runners(), await make_stored_cancellation()

    async def leak_when_cancelled(event: Event) -> None:
        try:
            await forever()
        except BaseException:
            raise stored from None

    runners.add("loser", leak_when_cancelled)
    runners.add("winner", wins)
    await runners.dispatch()
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_leaked_cancellation_before_a_stop_is_an_error() -> None:
    runners, stored = Runners(), await make_stored_cancellation()

    async def leak(event: Event) -> None:
        await settle()
        raise stored

    runners.add("sibling", forever)
    runners.add("leaking", leak)
    left = await runners.left_by_dispatch()
    assert [type(error) for error in left.exceptions] == [ListenerCancelled]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # Trio has no futures
@pytest.mark.parametrize("place", [0, 1])
async def test_a_cancelled_future_of_a_loser_does_not_cancel_the_caller(place: int, anyio_backend: str) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    given: list[str] = []
    runners = Runners(errors=lambda exc, event, listener: given.append(repr(exc)))

    async def lose(event: Event) -> None:
        await future

    async def win(event: Event) -> None:
        await checkpoint()
        future.cancel()
        event.stop_propagation()
        await settle()

    for name, listener in [("winner", win), ("loser", lose)] if place == 0 else [("loser", lose), ("winner", win)]:
        runners.add(name, listener)
    task = asyncio.create_task(runners.dispatch())
    await asyncio.wait([task])

    assert (task.cancelled(), task.exception()) == (False, None)
    assert "winner finished" in runners.log
    assert len(given) == 1


async def test_the_winner_is_cancelled_with_the_dispatch() -> None:
    async def win(event: Event) -> None:
        event.stop_propagation()
        await forever()

    runners, watch, left = Runners(), Watch(), list[BaseException]()
    runners.add("winner", win)
    async with anyio.create_task_group() as group:
        with CancelScope() as scope:

            async def cancel() -> None:
                await settle()
                scope.cancel()

            group.start_soon(cancel)
            try:
                await runners.dispatch()
            except BaseException as exc:
                left.append(exc)
                raise
    assert is_cancellation(left[0])
    assert scope.cancelled_caught
    assert runners.log == ["winner cancelled"]
    watch.assert_alone()


async def test_cancelled_while_a_loser_cleans_up_and_fails_both_leave() -> None:
    runners, left, cleaning = Runners(), list[BaseException](), anyio.Event()

    async def lose(event: Event) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                cleaning.set()
                await settle()
                await settle()
            raise ValueError("clean-up")

    runners.add("loser", lose)
    runners.add("winner", wins)
    with pytest.raises(ExceptionGroup) as passed:
        with CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel() -> None:
                    await cleaning.wait()
                    scope.cancel()

                group.start_soon(cancel)
                try:
                    await runners.dispatch()
                except BaseException as exc:
                    left.append(exc)
                    raise
    assert type(left[0]) is BaseExceptionGroup
    assert [str(leaf) == "clean-up" or is_cancellation(leaf) for leaf in leaves(left[0])] == [True, True]
    assert [str(leaf) for leaf in leaves(passed.value)] == ["clean-up"]


async def test_an_assignment_wins_after_a_stopped_nested_dispatch() -> None:
    started, cancelled, log = anyio.Event(), anyio.Event(), list[str]()
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
        await stops_by_assignment(event)
        # Only the loser, when it is cancelled, sets it.
        await cancelled.wait()
        log.append("won")

    @dispatcher.listen("outer")
    async def lose(event: Event) -> None:
        started.set()
        await loses_and_sets(cancelled)(event)

    with anyio.fail_after(5):
        await dispatcher.adispatch("outer", strategy=Race())
    assert log == ["won"]


@kinds([Event, Frozen, Duck, NarrowDuck])
async def test_only_a_stop_outside_of_nested_dispatches_wins(kind: Any) -> None:
    dispatcher, lost, log = AsyncEventDispatcher(), anyio.Event(), list[str]()

    @dispatcher.listen("inner")
    async def stop_inner(event: Any) -> None:
        event.stop_propagation()
        await settle()

    @dispatcher.listen("outer")
    async def win(event: Any) -> None:
        await dispatcher.adispatch("inner", event)
        await dispatcher.adispatch("inner", event)
        log.append("dispatched")
        event.stop_propagation()
        await lost.wait()

    @dispatcher.listen("outer")
    async def lose(event: Any) -> None:
        try:
            await forever()
        finally:
            log.append("lost")
            lost.set()

    with anyio.fail_after(5):
        await dispatcher.adispatch("outer", kind(), strategy=Race())
    assert log == ["dispatched", "lost"]
