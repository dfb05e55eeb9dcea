"""``stopped_by`` is the call in which the event was stopped: by its listener, or by its tasks and threads."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, in_thread
from tests.instruments.recording_instrument import add, every_strategy, lines, name_of, pause


def by_method(event):
    event.stop_propagation()


def by_assignment(event):
    event.propagation_stopped = True


both_ways = pytest.mark.parametrize("stop", [by_method, by_assignment])


@both_ways
async def test_listener_that_stops_the_event(observed, instrument, stop):
    add(observed, "order.placed", "validate")
    add(observed, "order.placed", "charge", stop)
    add(observed, "order.placed", "receipt")
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate", "charge", "skip receipt: stopped", outcome="stopped")
    assert instrument.of("order.placed").stopped_by is instrument.call_of("charge")


async def test_listener_whose_thread_stops_the_event(observed, instrument):
    def stop_in_a_thread(event):
        # It does not know the call.
        thread = threading.Thread(target=event.stop_propagation)
        thread.start()
        thread.join()

    add(observed, "order.placed", "validate", stop_in_a_thread)
    add(observed, "order.placed", "receipt")
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate", "skip receipt: stopped", outcome="stopped")
    assert instrument.of("order.placed").stopped_by is instrument.call_of("validate")


async def test_stopped_by_is_set_when_the_call_ends(observed):
    seen = []
    observed.add_instrument(
        SimpleNamespace(listener_finished=lambda record: seen.append(record.dispatch.stopped_by is record))
    )
    add(observed, "order.placed", "validate")
    add(observed, "order.placed", "charge", by_assignment)
    await observed.adispatch("order.placed")

    assert seen == [False, True]


@both_ways
async def test_listener_may_stop_and_fail(observed, instrument, stop):
    def stop_and_fail(event):
        stop(event)
        raise LookupError

    add(observed, "order.placed", "validate", stop_and_fail)
    add(observed, "order.placed", "charge")
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate: failed", "skip charge: stopped", outcome="failed")
    assert instrument.of("order.placed").stopped_by is instrument.call_of("validate")


class DuckTypedEvent:
    """Not an `Event`, but it can be stopped."""

    def __init__(self):
        self.propagation_stopped = False

    def stop_propagation(self):
        self.propagation_stopped = True


@both_ways
async def test_listener_that_stops_a_duck_typed_event(observed, instrument, stop):
    add(observed, "order.placed", "validate", stop)
    add(observed, "order.placed", "receipt")
    await observed.adispatch("order.placed", DuckTypedEvent())

    assert instrument.lines == lines("validate", "skip receipt: stopped", outcome="stopped")
    assert instrument.of("order.placed").stopped_by is instrument.call_of("validate")


@pytest.mark.parametrize("kind", [Event, DuckTypedEvent])
@both_ways
@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_stop_among_concurrent_listeners(observed_async, instrument, strategy, stop, kind):
    running, stopped = anyio.Event(), anyio.Event()

    async def stop_it(event):
        await running.wait()
        stop(event)
        await pause()
        stopped.set()
        # The other listener ends first.
        for _ in range(5):
            await pause()

    async def wait(event):
        running.set()
        await stopped.wait()

    add(observed_async, "order.placed", "validate", stop_it)
    add(observed_async, "order.placed", "charge", wait)
    await observed_async.adispatch("order.placed", kind(), strategy=strategy)

    assert name_of(instrument.of("order.placed").stopped_by) == "validate"
    assert instrument.call_of("charge").outcome == ("cancelled" if isinstance(strategy, Race) else "finished")


async def test_first_stop_counts(observed_async, instrument):
    for name in ("validate", "charge"):
        add(observed_async, "order.placed", name, by_method)
    await observed_async.adispatch("order.placed", strategy=Concurrent())

    assert instrument.of("order.placed").stopped_by is instrument.listeners[0]


@pytest.mark.parametrize("kind", [Event, DuckTypedEvent])
async def test_event_that_is_not_stopped(observed, instrument, kind):
    for name in ("validate", "charge"):
        add(observed, "order.placed", name)
    await observed.adispatch("order.placed", kind())

    assert instrument.lines == lines("validate", "charge")
    assert instrument.of("order.placed").stopped_by is None


@every_strategy
async def test_waiting_listeners_did_not_stop_a_duck_typed_event(strategy, observed_async, instrument):
    for name in ("validate", "charge"):
        add(observed_async, "order.placed", name, pause)
    await observed_async.adispatch("order.placed", DuckTypedEvent(), strategy=strategy)

    record = instrument.of("order.placed")
    assert (record.outcome, record.stopped_by) == ("finished", None)


@both_ways
async def test_listener_of_a_sync_dispatch_that_collects_errors_stops_it(instrument, stop):
    dispatcher = EventDispatcher(errors="collect")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge", stop)
    dispatcher.dispatch("order.placed", DuckTypedEvent())

    assert instrument.of("order.placed").stopped_by is instrument.call_of("charge")


@every_strategy
async def test_stop_by_code_outside_of_the_dispatch_is_of_no_listener(strategy, observed_async, instrument):
    event, waiting, stopped = Event(), anyio.Event(), anyio.Event()

    async def stop_when_waiting():
        await waiting.wait()
        event.stop_propagation()
        stopped.set()

    async def wait(event):
        waiting.set()
        await stopped.wait()

    add(observed_async, "order.placed", "validate", wait)
    async with anyio.create_task_group() as group:
        group.start_soon(stop_when_waiting)
        await observed_async.adispatch("order.placed", event, strategy=strategy)

    record = instrument.of("order.placed")
    assert (record.outcome, record.stopped_by) == ("stopped", None)


@both_ways
@pytest.mark.parametrize("kind", [Event, DuckTypedEvent])
async def test_listener_whose_task_stops_the_event_is_not_the_one_that_runs_next(
    observed_async, instrument, stop, kind
):
    """The other listener takes several steps before the one that has started the task takes its next step."""
    stopped, ended = anyio.Event(), anyio.Event()

    async def wait_for_a_task(event):
        async def stop_soon():
            stop(event)
            stopped.set()
            for _ in range(5):
                await pause()

        async with anyio.create_task_group() as group:
            group.start_soon(stop_soon)
        ended.set()

    async def take_steps(event):
        while not ended.is_set():
            await pause()
        await pause()

    add(observed_async, "order.placed", "validate", take_steps)
    add(observed_async, "order.placed", "charge", wait_for_a_task)
    await observed_async.adispatch("order.placed", kind(), strategy=Concurrent())

    assert stopped.is_set()
    assert name_of(instrument.of("order.placed").stopped_by) == "charge"


class RefusingToTell(DuckTypedEvent):
    """An event that raises when it is asked whether it is stopped."""

    @property
    def propagation_stopped(self):
        raise LookupError

    @propagation_stopped.setter
    def propagation_stopped(self, stopped):
        pass


@every_strategy
async def test_event_whose_property_raises_is_stopped_by_no_listener(strategy, observed_async, instrument):
    add(observed_async, "order.placed", "validate", pause)
    with suppress(LookupError, ExceptionGroup):
        await observed_async.adispatch("order.placed", RefusingToTell(), strategy=strategy)

    record = instrument.of("order.placed")
    assert record.stopped_by is None
    assert record.outcome in ("finished", "failed")
    assert instrument.call_of("validate").outcome == "finished"


@pytest.mark.parametrize("kind", [Event, DuckTypedEvent])
async def test_stopped_event_without_listeners_is_not_stopped_again(observed, instrument, kind):
    event = kind()
    add(observed, "order.placed", "validate", by_method)
    await observed.adispatch("order.placed", event)
    await observed.adispatch("order.paid", event)

    assert instrument.of("order.placed").outcome == "stopped"
    assert instrument.of("order.paid").outcome == "finished"


@both_ways
@pytest.mark.parametrize("kind", [Event, DuckTypedEvent])
async def test_event_without_listeners_that_an_instrument_stops_has_finished(observed, instrument, stop, kind):
    observed.add_instrument(SimpleNamespace(dispatch_started=lambda record: stop(record.event)))
    await observed.adispatch("order.placed", kind())

    assert instrument.lines == lines()
    assert instrument.of("order.placed").stopped_by is None


async def stop_in_child_task(event, stop):
    async def stop_soon():
        stop(event)

    async with anyio.create_task_group() as group:
        group.start_soon(stop_soon)


@pytest.mark.parametrize("where", ["child task", "other task", "thread"])
@both_ways
@every_strategy
async def test_stop_while_the_listener_waits_is_its_stop(strategy, stop, where, observed_async, instrument):
    """A child task is one of the listener's task group; the other task belongs to a group outside of the dispatch."""
    add(observed_async, "order.placed", "validate", pause)
    async with anyio.create_task_group() as group:

        async def wait(event):
            stopped = anyio.Event()

            async def stop_soon():
                stop(event)
                stopped.set()

            group.start_soon(stop_soon)
            await stopped.wait()

        if where == "thread":
            expected = repr(observed_async.add_listener("order.placed", in_thread(stop)).listener)
        else:
            expected = "charge"
            listener = wait if where == "other task" else lambda event: stop_in_child_task(event, stop)
            add(observed_async, "order.placed", expected, listener)
        await observed_async.adispatch("order.placed", strategy=strategy)

    assert name_of(instrument.of("order.placed").stopped_by) == expected


async def test_stop_by_a_task_after_the_dispatch_is_ignored(observed_async, instrument):
    event, finished = Event(), anyio.Event()

    async def stop_later():
        await finished.wait()
        event.stop_propagation()

    async with anyio.create_task_group() as group:

        def start(event):
            group.start_soon(stop_later)

        add(observed_async, "order.placed", "validate", start)
        await observed_async.adispatch("order.placed", event)
        finished.set()

    assert instrument.lines == lines("validate")
    assert instrument.of("order.placed").stopped_by is None


# Nested dispatches of the same event


@pytest.mark.parametrize("inner_is_observed", [True, False])
@both_ways
async def test_nested_stop_does_not_stop_the_outer_dispatch(observed, instrument, stop, inner_is_observed):
    inner = EventDispatcher()
    if inner_is_observed:
        inner.add_instrument(instrument)
    add(observed, "order.placed", "validate", lambda event: inner.dispatch("order.paid", event))
    add(inner, "order.paid", "charge", stop)
    add(observed, "order.placed", "receipt")
    await observed.adispatch("order.placed", Event())

    record = instrument.of("order.placed")
    assert (record.stopped_by, record.outcome) == (None, "finished")
    if inner_is_observed:
        assert instrument.of("order.paid").stopped_by is instrument.call_of("charge")


@both_ways
@every_strategy
async def test_stop_counts_before_a_nested_dispatch_that_fails(strategy, stop, observed_async, instrument):
    async def stop_and_dispatch(event):
        stop(event)
        await observed_async.adispatch("order.paid", event)

    async def stop_and_fail(event):
        stop(event)
        await pause()
        raise LookupError

    add(observed_async, "order.placed", "validate", stop_and_dispatch)
    add(observed_async, "order.paid", "charge", stop_and_fail)
    with pytest.raises((LookupError, ExceptionGroup)):
        await observed_async.adispatch("order.placed", Event(), strategy=strategy)

    assert name_of(instrument.of("order.placed").stopped_by) == "validate"
    assert name_of(instrument.of("order.paid").stopped_by) == "charge"


@pytest.mark.parametrize("in_task", [False, True], ids=["listener", "child task"])
async def test_stop_within_a_nested_dispatch_ends_an_outer_race(in_task, instrument):
    """The inner dispatch is of another event; a child task stops the race while no listener takes a step."""
    racing, inner = AsyncEventDispatcher(strategy=Race()), AsyncEventDispatcher()
    for each in (racing, inner):
        each.add_instrument(instrument)
    order, waiting, cancelled = Event(), anyio.Event(), anyio.Event()

    async def wait(event):
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async def stop_race():
        await waiting.wait()
        order.stop_propagation()
        if in_task:
            await cancelled.wait()

    async def stop_from_within(event):
        if in_task:
            async with anyio.create_task_group() as group:
                group.start_soon(stop_race)
        else:
            await stop_race()

    async def dispatch_within(event):
        await inner.adispatch("order.paid")
        await pause()

    add(racing, "order.placed", "validate", dispatch_within)
    add(racing, "order.placed", "charge", wait)
    add(inner, "order.paid", "receipt", stop_from_within)
    with anyio.fail_after(5):
        await racing.adispatch("order.placed", order)

    assert name_of(instrument.of("order.placed").stopped_by) == "validate"
    assert instrument.call_of("charge").outcome == "cancelled"
    assert instrument.of("order.paid").stopped_by is None
