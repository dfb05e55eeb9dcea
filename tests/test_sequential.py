"""Rules 9 to 11 and 14: one listener after another, in the caller's task and context."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, Strategy
from tests.cancellation.tasks import no_task_left_behind, settle, tasks_before_and_after

__all__ = ("no_task_left_behind", "tasks_before_and_after")

variable: ContextVar[str] = ContextVar("variable", default="unset")

# The one that the dispatcher runs itself, and the one that runs under a policy.
both = pytest.mark.parametrize(
    "strategy", [None, Sequential(errors="collect"), Sequential(errors=print)], ids=["plain", "collect", "callable"]
)
all_kinds = pytest.mark.parametrize(
    "strategy",
    [None, Sequential(errors="collect"), Concurrent(), Race()],
    ids=["plain", "collect", "concurrent", "race"],
)


@both
async def test_listeners_run_one_after_another_by_priority_then_registration(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    def listener(name: str) -> Any:
        async def listen(event: Event) -> None:
            log.append(f"{name} starts")
            await lowlevel.checkpoint()
            log.append(f"{name} ends")

        return listen

    dispatcher.add_listener("order.placed", listener("c"), priority=5)
    dispatcher.add_listener("order.placed", listener("a"), priority=-5)
    dispatcher.add_listener("order.placed", listener("d"), priority=5)
    dispatcher.add_listener("order.placed", listener("b"))
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == [f"{name} {what}" for name in "abcd" for what in ("starts", "ends")]


@both
async def test_listeners_run_in_the_callers_task_and_context(strategy: Strategy | None) -> None:
    dispatcher, tasks, seen = AsyncEventDispatcher(), list[int](), list[str]()

    @dispatcher.listen("order.placed")
    async def first(event: Event) -> None:
        tasks.append(anyio.get_current_task().id)
        variable.set("set by first")

    @dispatcher.listen("order.placed")
    async def second(event: Event) -> None:
        seen.append(variable.get())
        variable.set("set by second")

    token = variable.set("set by the caller")
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert tasks == [anyio.get_current_task().id]
    assert seen == ["set by first"]
    assert variable.get() == "set by second"
    variable.reset(token)


@both
async def test_a_dispatch_adds_no_checkpoint_of_its_own(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def first(event: Event) -> None:
        log.append("first")

    @dispatcher.listen("order.placed", priority=1)
    async def second(event: Event) -> None:
        log.append("second")

    async def other() -> None:
        log.append("another task")

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await dispatcher.adispatch("order.placed", strategy=strategy)
        await dispatcher.adispatch("nobody listens", strategy=strategy)
        log.append("dispatched")
    assert log == ["first", "second", "dispatched", "another task"]


@both
async def test_in_a_cancelled_scope_listeners_that_pass_no_checkpoint_all_run(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    for name in "abc":
        dispatcher.add_listener("order.placed", _logs(log, name))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("order.placed", strategy=strategy)
        log.append("returned")
    assert log == ["a", "b", "c", "returned"]


def _logs(log: list[str], name: str) -> Any:
    async def listener(event: Event) -> None:
        log.append(name)

    return listener


# Stopping


@both
@pytest.mark.parametrize("how", ["method", "assignment"])
async def test_a_stop_is_checked_before_each_next_listener(strategy: Strategy | None, how: str) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("order.placed", _logs(log, "before"))

    @dispatcher.listen("order.placed")
    async def stop(event: Event) -> None:
        if how == "method":
            event.stop_propagation()
        else:
            event.propagation_stopped = True
        await lowlevel.checkpoint()
        log.append("the stopper finishes")

    dispatcher.add_listener("order.placed", _logs(log, "after, of the same priority"))
    dispatcher.add_listener("order.placed", _logs(log, "after"), priority=1)
    event = await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["before", "the stopper finishes"]
    assert event.propagation_stopped


@both
async def test_a_stop_from_another_task_is_seen_by_the_next_listener(strategy: Strategy | None) -> None:
    dispatcher, log, event = AsyncEventDispatcher(), list[str](), Event()

    @dispatcher.listen("order.placed")
    async def wait(event: Event) -> None:
        await settle()

    dispatcher.add_listener("order.placed", _logs(log, "after"))

    async def stop() -> None:
        event.stop_propagation()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        await dispatcher.adispatch("order.placed", event, strategy=strategy)
    assert log == []


@both
async def test_a_stop_that_is_taken_back_before_the_listener_ends_stops_nothing(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def change_its_mind(event: Event) -> None:
        event.stop_propagation()
        event.propagation_stopped = False

    dispatcher.add_listener("order.placed", _logs(log, "after"))
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["after"]


@all_kinds
async def test_every_dispatch_starts_unstopped_and_leaves_the_mark_readable(strategy: Strategy | None) -> None:
    dispatcher, seen, event = AsyncEventDispatcher(), list[bool](), Event()

    @dispatcher.listen("order.placed")
    async def stop(event: Event) -> None:
        seen.append(event.propagation_stopped)
        event.stop_propagation()

    for _ in range(2):
        await dispatcher.adispatch("order.placed", event, strategy=strategy)
        assert event.propagation_stopped
    await dispatcher.adispatch("nobody listens", event, strategy=strategy)
    assert not event.propagation_stopped
    assert seen == [False, False]


@both
async def test_a_listener_that_stops_and_then_fails_leaves_a_stopped_event(strategy: Strategy | None) -> None:
    dispatcher, log, event = AsyncEventDispatcher(), list[str](), Event()

    @dispatcher.listen("order.placed")
    async def stop(event: Event) -> None:
        event.stop_propagation()
        raise ValueError

    dispatcher.add_listener("order.placed", _logs(log, "after"))
    try:
        await dispatcher.adispatch("order.placed", event, strategy=strategy)
    except* ValueError:
        pass
    assert event.propagation_stopped
    assert log == []


# Dispatching the event again


@both
@pytest.mark.parametrize("inner_ends", ["well", "with an error", "cancelled"])
@pytest.mark.parametrize("stops", [False, True], ids=["runs through", "stops"])
async def test_an_event_dispatched_within_its_dispatch_runs_at_once_and_gives_the_outer_view_back(
    strategy: Strategy | None, inner_ends: str, stops: bool
) -> None:
    outer, inner, log, views = AsyncEventDispatcher(), AsyncEventDispatcher(), list[str](), list[Any]()

    def view(event: Event) -> tuple[Any, ...]:
        return event.name, event.dispatcher, event.propagation_stopped

    @outer.listen("outer")
    async def again(event: Event) -> None:
        log.append("outer starts")
        with anyio.CancelScope() as scope:
            try:
                await inner.adispatch("inner", event, strategy=strategy)
                if inner_ends == "cancelled":
                    scope.cancel()
                    await inner.adispatch("blocked", event, strategy=strategy)
            except* ValueError:
                pass
        log.append("outer ends")
        views.append(view(event))

    @inner.listen("inner")
    async def within(event: Event) -> None:
        log.append("inner")
        views.append(view(event))
        if stops:
            event.stop_propagation()
        if inner_ends == "with an error":
            raise ValueError

    @inner.listen("blocked")
    async def blocked(event: Event) -> None:
        await lowlevel.checkpoint()

    @outer.listen("outer")
    async def later(event: Event) -> None:
        log.append("later")
        views.append(view(event))

    event = await outer.adispatch("outer", Event(), strategy=strategy)
    assert log == ["outer starts", "inner", "outer ends", "later"]
    assert views == [("inner", inner, False), ("outer", outer, False), ("outer", outer, False)]
    assert view(event) == ("outer", outer, False)


@both
async def test_a_stop_of_the_outer_dispatch_survives_an_inner_one_and_does_not_stop_it(
    strategy: Strategy | None,
) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("outer")
    async def stop_then_again(event: Event) -> None:
        event.stop_propagation()
        await dispatcher.adispatch("inner", event, strategy=strategy)
        assert event.propagation_stopped

    dispatcher.add_listener("inner", _logs(log, "first"))
    dispatcher.add_listener("inner", _logs(log, "second"))
    dispatcher.add_listener("outer", _logs(log, "outer, later"))
    event = await dispatcher.adispatch("outer", strategy=strategy)
    assert log == ["first", "second"]
    assert event.propagation_stopped


@both
async def test_an_event_may_be_dispatched_under_its_own_name_within_its_dispatch(strategy: Strategy | None) -> None:
    class Countdown(Event):
        depth = 3

    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("count")
    async def count(event: Countdown) -> None:
        depth = event.depth
        log.append(f"in {depth}")
        event.depth -= 1
        if event.depth:
            await dispatcher.adispatch("count", event, strategy=strategy)
        log.append(f"out {depth}")

    await dispatcher.adispatch("count", Countdown(), strategy=strategy)
    assert log == ["in 3", "in 2", "in 1", "out 1", "out 2", "out 3"]


async def test_a_concurrent_dispatch_within_a_sequential_one_gives_the_outer_view_back_too() -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen("outer")
    async def again(event: Event) -> None:
        for strategy in (Concurrent(), Race()):
            await dispatcher.adispatch("inner", event, strategy=strategy)
            seen.append((event.name, event.propagation_stopped))

    @dispatcher.listen("inner")
    async def stop(event: Event) -> None:
        event.stop_propagation()

    @dispatcher.listen("outer")
    async def later(event: Event) -> None:
        seen.append("later")

    await dispatcher.adispatch("outer")
    assert seen == [("outer", False), ("outer", False), "later"]


# Registering while a dispatch runs


@all_kinds
async def test_a_listener_added_during_a_dispatch_first_runs_in_the_next(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def add(event: Event) -> None:
        dispatcher.add_listener("order.placed", _logs(log, "same tier"))
        dispatcher.add_listener("order.placed", _logs(log, "later tier"), priority=1)

    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == []
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert sorted(log) == ["later tier", "same tier"]


@all_kinds
@pytest.mark.parametrize("door", ["handle", "remove_listener"])
async def test_a_listener_removed_during_a_dispatch_is_not_started(strategy: Strategy | None, door: str) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()
    removed = _logs(log, "removed")

    @dispatcher.listen("order.placed")
    async def remove(event: Event) -> None:
        if door == "handle":
            assert handle.unsubscribe()
        else:
            dispatcher.remove_listener("order.placed", removed)
        await lowlevel.checkpoint()

    handle = dispatcher.add_listener("order.placed", removed, priority=1)
    dispatcher.add_listener("order.placed", _logs(log, "kept"), priority=2)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["kept"]


@all_kinds
async def test_a_listener_that_removes_itself_finishes(strategy: Strategy | None) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    async def only_once(event: Event) -> None:
        dispatcher.remove_listener("order.placed", only_once)
        await lowlevel.checkpoint()
        log.append("finished")

    dispatcher.add_listener("order.placed", only_once)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert log == ["finished"]


@all_kinds
async def test_once_is_one_call_over_nested_dispatches(strategy: Strategy | None) -> None:
    dispatcher, calls = AsyncEventDispatcher(), list[str]()

    async def listener(event: Event) -> None:
        calls.append(event.name)
        await dispatcher.adispatch("order.placed", strategy=strategy)

    dispatcher.add_listener("order.placed", listener, once=True)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert calls == ["order.placed"]
    assert not dispatcher.has_listeners("order.placed")


@all_kinds
async def test_once_is_one_call_over_overlapping_dispatches(strategy: Strategy | None) -> None:
    dispatcher, calls = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def meet(event: Event) -> None:
        await settle()

    async def listener(event: Event) -> None:
        calls.append("called")
        await lowlevel.checkpoint()

    dispatcher.add_listener("order.placed", listener, once=True, priority=1)

    async def sing() -> None:
        await dispatcher.adispatch("order.placed", strategy=strategy)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(sing)
    assert calls == ["called"]


@all_kinds
async def test_a_once_that_fails_has_had_its_call(strategy: Strategy | None) -> None:
    dispatcher, calls = AsyncEventDispatcher(), list[str]()

    async def listener(event: Event) -> None:
        calls.append("called")
        raise ValueError

    dispatcher.add_listener("order.placed", listener, once=True)
    for _ in range(2):
        try:
            await dispatcher.adispatch("order.placed", strategy=strategy)
        except* ValueError:
            pass
    assert calls == ["called"]


@both
async def test_a_once_that_a_stop_keeps_from_starting_is_still_to_come(strategy: Strategy | None) -> None:
    dispatcher, calls = AsyncEventDispatcher(), list[str]()

    async def stop(event: Event) -> None:
        event.stop_propagation()

    handle = dispatcher.add_listener("order.placed", stop)
    dispatcher.add_listener("order.placed", _logs(calls, "called"), once=True)
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert calls == []
    handle.unsubscribe()
    await dispatcher.adispatch("order.placed", strategy=strategy)
    assert calls == ["called"]
