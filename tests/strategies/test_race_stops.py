"""Rule 16: a listener also wins by a stop in its tasks, its threads and its dispatches, and only by those."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import from_thread, to_thread
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, in_thread
from tests.cancellation.tasks import Watch, settle
from tests.event_kinds import ByProperties, Duck, PropertyDuck, kinds
from tests.loops import anyio_backend
from tests.strategies.runners import Runners, forever, loses_and_sets, stop, stops_by_assignment, waits

__all__ = ("anyio_backend",)


async def by_method(event: Event) -> None:
    event.stop_propagation()


async def in_a_task(event: Event) -> None:
    async def stop_later() -> None:
        await checkpoint()
        event.stop_propagation()

    async with anyio.create_task_group() as group:
        group.start_soon(stop_later)


async def by_assignment_in_a_task(event: Event) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(stops_by_assignment, event)


async def in_a_thread(event: Event) -> None:
    await to_thread.run_sync(event.stop_propagation)


async def in_the_loop_from_a_thread(event: Event) -> None:
    await to_thread.run_sync(lambda: from_thread.run_sync(event.stop_propagation))


STOPS = [by_method, stops_by_assignment, in_a_task, by_assignment_in_a_task, in_a_thread, in_the_loop_from_a_thread]


@pytest.mark.parametrize("how", STOPS, ids=lambda how: how.__name__)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("goes_on", [True, False])
async def test_the_listener_that_stops_the_event_wins(
    how: Callable[[Event], Awaitable[None]], place: int, goes_on: bool
) -> None:
    runners, watch = Runners(), Watch()

    async def win(event: Event) -> None:
        await settle()
        await how(event)
        if goes_on:
            await settle()

    runners.add("earlier", waits, priority=-1)
    for number in range(3):
        if number == place:
            runners.add("winner", win)
        else:
            runners.add("loser", forever)
    runners.add("later", waits, priority=1)
    event = await runners.dispatch()
    assert runners.log[0] == "earlier finished"
    assert sorted(runners.log[1:]) == ["loser cancelled", "loser cancelled", "winner finished"]
    assert not goes_on or runners.log[-1] == "winner finished"
    assert event.propagation_stopped
    watch.assert_alone()


# Threads


async def test_a_function_in_a_thread_wins_while_it_runs() -> None:
    runners, lost = Runners(), threading.Event()

    def win(event: Event) -> None:
        event.stop_propagation()
        assert lost.wait(10), "the loser was not cancelled when the event was stopped"

    runners.add("loser", loses_and_sets(lost))
    runners.add("winner", in_thread(win))
    await runners.dispatch()
    assert runners.log == ["loser cancelled", "winner finished"]


@kinds([Event, Duck, PropertyDuck, ByProperties])
async def test_a_function_in_a_thread_wins_by_assignment(kind: Any) -> None:
    runners, released = Runners(), threading.Event()

    async def lose(event: Event) -> None:
        await settle()
        released.set()
        await forever()

    def win(event: Event) -> None:
        assert released.wait(10)
        event.propagation_stopped = True

    runners.add("loser", lose)
    runners.add("winner", in_thread(win))
    await runners.dispatch(kind())
    assert sorted(runners.log) == ["loser cancelled", "winner finished"]


# Not each class of events reports an assignment.
every_event = kinds([Event, Duck])


@every_event
async def test_a_function_in_a_thread_that_does_not_stop_the_event_does_not_win(kind: Any) -> None:
    runners = Runners()
    runners.add("in a thread", in_thread(lambda event: None))
    runners.add("other", waits)
    runners.add("later", waits, priority=1)
    await runners.dispatch(kind())
    assert sorted(runners.log) == ["in a thread finished", "later finished", "other finished"]


@every_event
async def test_an_assignment_in_a_thread_of_a_task_wins_before_its_listener_goes_on(kind: Any) -> None:
    runners, assigned = Runners(), anyio.Event()

    async def assign_in_a_thread(event: Event) -> None:
        await in_thread(lambda event: setattr(event, "propagation_stopped", True))(event)
        assigned.set()

    async def win(event: Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(assign_in_a_thread, event)
            await assigned.wait()
            await settle()

    runners.add("loser", forever)
    runners.add("winner", win)
    await runners.dispatch(kind())
    assert runners.log == ["loser cancelled", "winner finished"]


@every_event
async def test_a_thread_does_not_win_by_an_earlier_stop_from_outside(kind: Any) -> None:
    runners, begun, stopped, ended = Runners(), anyio.Event(), anyio.Event(), anyio.Event()

    async def run_a_thread(event: Event) -> None:
        begun.set()
        await stopped.wait()
        await in_thread(lambda event: None)(event)
        ended.set()
        await settle()

    async def return_first(event: Event) -> None:
        await ended.wait()

    async def stop_outside(event: Event) -> None:
        await begun.wait()
        event.propagation_stopped = True
        stopped.set()

    event = kind()
    runners.add("with a thread", run_a_thread)
    runners.add("first to return", return_first)
    async with anyio.create_task_group() as group:
        group.start_soon(stop_outside, event)
        await runners.dispatch(event)
    assert runners.log == ["first to return finished", "with a thread cancelled"]


async def test_a_thread_may_receive_an_object_without_a_mark_in_a_race() -> None:
    runners, inner, log = Runners(), AsyncEventDispatcher(), list[Any]()
    inner.add_listener("order.sent", in_thread(log.append))

    async def dispatch_another(event: Event) -> None:
        await inner.adispatch("order.sent", "an order")

    runners.add("dispatching", dispatch_another)
    runners.add("other", waits)
    await runners.dispatch()
    assert log == ["an order"]
    assert sorted(runners.log) == ["dispatching finished", "other finished"]


async def test_a_loser_in_a_thread_is_awaited() -> None:
    runners, released, ended = Runners(), threading.Event(), list[str]()

    def lose(event: Event) -> None:
        assert released.wait(10)
        ended.append("thread ended")

    async def win(event: Event) -> None:
        await checkpoint()
        event.stop_propagation()
        released.set()

    runners.add("loser", in_thread(lose))
    runners.add("winner", win)
    await runners.dispatch()
    assert "winner finished" in runners.log
    # A loser that had not started yet was skipped.
    assert len(ended) == len(runners.log) - 1


async def test_an_abandoned_thread_may_stop_the_event_later() -> None:
    released, stopped, started = threading.Event(), threading.Event(), threading.Event()
    dispatcher = AsyncEventDispatcher(strategy=Race())

    def stop_late(event: Event) -> None:
        started.set()
        assert released.wait(10)
        event.stop_propagation()
        stopped.set()

    @dispatcher.listen("order.offered")
    async def win(event: Event) -> None:
        while not started.is_set():
            await checkpoint()
        event.stop_propagation()

    dispatcher.add_listener("order.offered", in_thread(stop_late, abandon_on_cancel=True))
    await dispatcher.adispatch("order.offered")
    released.set()
    assert await to_thread.run_sync(stopped.wait, 10)


async def test_a_listener_that_ends_during_a_stop_does_not_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runners, may_end, ended = Runners(), anyio.Event(), anyio.Event()
    run_sync = anyio.from_thread.run_sync

    def report_later(*args: Any, **options: Any) -> Any:
        run_sync(may_end.set)
        anyio.from_thread.run(ended.wait)
        return run_sync(*args, **options)

    async def stops_in_a_thread(event: Event) -> None:
        await anyio.to_thread.run_sync(event.stop_propagation)
        await checkpoint()

    async def ends_meanwhile(event: Event) -> None:
        await may_end.wait()
        ended.set()

    runners.add("winner", stops_in_a_thread)
    runners.add("other", ends_meanwhile)
    monkeypatch.setattr(anyio.from_thread, "run_sync", report_later)
    event = await runners.dispatch()

    assert "winner finished" in runners.log
    assert event.propagation_stopped


@pytest.mark.parametrize("place", [0, 1])
async def test_a_thread_wins_during_a_step_of_another_listener(place: int) -> None:
    """The other listener runs a step when the mark is set, and did not set it."""
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
                await checkpoint()
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
        dispatcher.add_listener("order.offered", listener)
    with anyio.fail_after(10):
        event = await dispatcher.adispatch("order.offered")
    assert event.propagation_stopped
    assert log == ["lost"]


async def test_a_thread_that_the_event_loop_waits_for_may_stop_the_event() -> None:
    async def join(event: Event) -> None:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(event.stop_propagation,))
        thread.start()
        thread.join()

    runners = Runners()
    runners.add("winner", join)
    runners.add("loser", forever)
    assert (await runners.dispatch()).propagation_stopped


async def test_of_two_stops_while_the_event_loop_is_blocked_the_first_wins() -> None:
    contexts: dict[str, contextvars.Context] = {}
    runners = Runners()

    def stop_twice(event: Event) -> None:
        for name in ("second", "first"):
            contexts[name].run(event.stop_propagation)

    for name in ("first", "second"):

        async def keep_context(event: Event, name: str = name) -> None:
            contexts[name] = contextvars.copy_context()
            await settle()
            await settle()

        runners.add(name, keep_context)

    async def join(event: Event) -> None:
        await checkpoint()
        thread = threading.Thread(target=stop_twice, args=(event,))
        thread.start()
        thread.join()
        await forever()

    runners.add("blocking", join)
    await runners.dispatch()
    assert runners.log.pop() == "second finished"
    assert sorted(runners.log) == ["blocking cancelled", "first cancelled"]


# Tasks


async def test_an_assignment_in_a_task_wins_for_its_listener() -> None:
    async def ask(event: Event) -> None:
        async def answer() -> None:
            for _ in range(3):
                await checkpoint()
            event.propagation_stopped = True

        async with anyio.create_task_group() as group:
            group.start_soon(answer)

    async def wait(event: Event) -> None:
        while True:
            await checkpoint()

    runners = Runners()
    runners.add("loser", wait)
    runners.add("winner", ask)
    await runners.dispatch()
    assert sorted(runners.log) == ["loser cancelled", "winner finished"]


@kinds([Event, ByProperties])
async def test_a_stop_in_a_task_wins_before_its_listener_goes_on(kind: Any) -> None:
    async def win(event: Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(by_method, event)
            await settle()

    runners = Runners()
    runners.add("loser", forever)
    runners.add("winner", win)
    await runners.dispatch(kind())
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_task_that_outlives_the_race_may_stop_the_event() -> None:
    dispatcher, released = AsyncEventDispatcher(strategy=Race()), anyio.Event()

    async def stop_late(event: Event) -> None:
        await released.wait()
        event.stop_propagation()

    async with anyio.create_task_group() as group:

        @dispatcher.listen("order.offered")
        async def start(event: Event) -> None:
            group.start_soon(stop_late, event)

        event = await dispatcher.adispatch("order.offered")
        assert not event.propagation_stopped
        released.set()
    assert event.propagation_stopped


# Dispatches within a race

every_inner_strategy = pytest.mark.parametrize("inner", [Sequential(), Concurrent(), Race()], ids=repr)


@every_inner_strategy
async def test_a_stop_of_another_event_does_not_win(inner: Any) -> None:
    runners, other = Runners(), AsyncEventDispatcher(strategy=inner, sync_listeners="inline")
    other.add_listener("order.placed", stop)

    async def dispatch(event: Event) -> None:
        await other.adispatch("order.placed")

    runners.add("dispatching", dispatch)
    runners.add("sibling", waits)
    runners.add("later", waits, priority=1)
    await runners.dispatch()
    assert runners.log == ["dispatching finished", "sibling finished", "later finished"]


@every_inner_strategy
async def test_a_listener_of_an_inner_dispatch_may_stop_the_outer_event(inner: Any) -> None:
    runners, other, lost = Runners(), AsyncEventDispatcher(strategy=inner), anyio.Event()
    other.add_listener("order.placed", waits)

    async def dispatch(event: Event) -> None:
        @other.listen("order.placed")
        async def stop(_: Event) -> None:
            await settle()
            event.stop_propagation()
            await lost.wait()

        # Beside another listener, so that an inner race really is one.
        other.add_listener("order.placed", waits)
        await other.adispatch("order.placed")

    runners.add("winner", dispatch)
    runners.add("loser", loses_and_sets(lost))
    await runners.dispatch()
    assert runners.log == ["loser cancelled", "winner finished"]


async def test_a_race_in_a_task_that_outlives_an_inner_race_may_stop_the_outer_event() -> None:
    runners, lost, ended = Runners(), anyio.Event(), anyio.Event()
    inner, last = AsyncEventDispatcher(strategy=Race()), AsyncEventDispatcher(strategy=Race())

    async def dispatch(event: Event) -> None:
        async def dispatch_later() -> None:
            await ended.wait()
            await last.adispatch("order.sent")

        @inner.listen("order.placed")
        async def start(_: Event) -> None:
            group.start_soon(dispatch_later)

        @last.listen("order.sent")
        async def stop(_: Event) -> None:
            event.stop_propagation()
            await lost.wait()

        inner.add_listener("order.placed", waits)
        last.add_listener("order.sent", waits)
        async with anyio.create_task_group() as group:
            await inner.adispatch("order.placed")
            ended.set()

    runners.add("winner", dispatch)
    runners.add("loser", loses_and_sets(lost))
    await runners.dispatch()
    assert runners.log == ["loser cancelled", "winner finished"]
