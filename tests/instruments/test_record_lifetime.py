"""How long records live: they can be used at any time, and leave nothing to the garbage collector."""

from __future__ import annotations

import gc
import logging
import threading
from operator import is_
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon._instrumentation import records
from antiphon.instruments.coverage import Coverage
from antiphon.instruments.logging import LoggingInstrument
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument, OpenTelemetryMetrics
from antiphon.instruments.timeline import Timeline
from tests.instruments.recording_instrument import add, pause

pytestmark = pytest.mark.usefixtures("frozen_heap")


class ReadsEverything:
    """Reads all attributes of the records, and keeps nothing."""

    def dispatch_started(self, record):
        for each in (record, record.parent, record.stopped_by, *record.listeners):
            repr([getattr(each, name) for name in dir(each)])

    dispatch_finished = dispatch_started

    def listener_started(self, record):
        self.dispatch_started(record.dispatch)

    listener_finished = listener_skipped = listener_started


class DoesNothing:
    def listener_started(self, record):
        pass

    def dispatch_finished(self, record):
        pass


def make_logging():
    logger = logging.getLogger("quiet")
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return LoggingInstrument(logger)


INSTRUMENTS = {
    "does nothing": DoesNothing,
    "reads everything": ReadsEverything,
    "timeline": lambda: Timeline(max_dispatches=3),
    "logging": make_logging,
    "coverage": lambda: Coverage(max_slowest=0),
    "spans": lambda: OpenTelemetryInstrument(TracerProvider()),
    "metrics": lambda: OpenTelemetryMetrics(MeterProvider()),
}


def make_of(strategy):
    return EventDispatcher() if strategy is EventDispatcher else AsyncEventDispatcher(strategy=strategy)


async def count_unreachable(dispatcher):
    """Dispatch a few times, and count what only the garbage collector finds."""

    async def dispatch():
        try:
            await dispatcher.adispatch("order.placed")
        except Exception:
            pass

    for _ in range(4):
        await dispatch()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await dispatch()
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "strategy", [None, EventDispatcher, Sequential(errors="collect"), Concurrent(), Race()], ids=str
)
@pytest.mark.parametrize("make", INSTRUMENTS.values(), ids=list(INSTRUMENTS))
async def test_observed_dispatch_leaves_no_cycle(make, strategy):
    dispatcher = make_of(strategy)
    dispatcher.add_instrument(make())
    add(dispatcher, "order.placed", "validate")
    if strategy is not EventDispatcher:
        add(dispatcher, "order.placed", "charge", pause, timeout=60)
        add(dispatcher, "order.placed", "ship", lambda event: dispatcher.adispatch("order.shipped"))
    add(dispatcher, "order.placed", "wrap", where=lambda event: False)
    add(dispatcher, "order.placed", "reject", lambda event: event.stop_propagation(), priority=1)
    add(dispatcher, "order.placed", "notify", priority=2)
    add(dispatcher, "order.shipped", "notify")

    assert await count_unreachable(dispatcher) == 0


@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher])
async def test_failure_in_an_observed_loop_leaves_no_cycle(kind):
    def charge(event):
        raise ValueError

    dispatcher = kind()
    dispatcher.add_instrument(ReadsEverything())
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge", charge)

    assert await count_unreachable(dispatcher) == 0


every_way = pytest.mark.parametrize("strategy", [None, EventDispatcher, Concurrent()], ids=str)
with_and_without_counts = pytest.mark.parametrize("counts", [True, False], ids=["counts", "no counts"])


@pytest.fixture(autouse=True)
def without_counts(request, monkeypatch):
    """Let half of the tests that ask for it run as on a Python that counts no references."""
    if "counts" in request.fixturenames and not request.getfixturevalue("counts"):
        monkeypatch.setattr(records, "_count_references", None)


async def dispatch_with(strategy, **methods):
    """Dispatch an event that the second of three listeners stops, under an instrument with these methods."""
    dispatcher = make_of(strategy)
    dispatcher.add_instrument(SimpleNamespace(**methods))
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge", lambda event: event.stop_propagation(), priority=1)
    add(dispatcher, "order.placed", "ship", priority=2)
    await dispatcher.adispatch("order.placed")
    gc.collect()


@every_way
@with_and_without_counts
async def test_stored_call_has_its_dispatch(strategy, counts):
    calls = []
    await dispatch_with(strategy, listener_finished=calls.append, listener_skipped=calls.append)

    validate, charge, ship = calls
    assert validate.dispatch is charge.dispatch is ship.dispatch
    assert all(map(is_, validate.dispatch.listeners, calls))
    assert (validate.dispatch.name, validate.dispatch.outcome) == ("order.placed", "stopped")
    assert validate.dispatch.stopped_by is charge
    assert [call.outcome for call in calls] == ["finished", "finished", "skipped"]


@every_way
@with_and_without_counts
@pytest.mark.parametrize("method", ["dispatch_started", "dispatch_finished"])
async def test_stored_dispatch_has_its_calls(strategy, counts, method):
    dispatches = []
    await dispatch_with(strategy, **{method: dispatches.append})

    (dispatch,) = dispatches
    assert all(map(is_, dispatch.listeners, dispatch.listeners))
    assert all(call.dispatch is dispatch for call in dispatch.listeners)
    assert dispatch.stopped_by is dispatch.listeners[1]
    assert [call.skipped_because for call in dispatch.listeners] == [None, None, "stopped"]


@every_way
@with_and_without_counts
async def test_call_that_is_read_later_keeps_its_dispatch(strategy, counts):
    dispatches = []
    await dispatch_with(strategy, dispatch_started=dispatches.append)
    call = dispatches.pop().stopped_by
    gc.collect()

    assert call.dispatch.stopped_by is call


@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher])
async def test_parent_that_is_read_later_keeps_its_dispatch(kind):
    dispatcher, dispatches = kind(), []
    dispatcher.add_instrument(SimpleNamespace(dispatch_started=dispatches.append))
    nested = dispatcher.dispatch if kind is EventDispatcher else dispatcher.adispatch
    add(dispatcher, "order.placed", "validate", lambda event: nested("order.paid"))
    await dispatcher.adispatch("order.placed")
    parent = dispatches[1].parent
    del dispatches[0]
    gc.collect()

    assert parent.dispatch.name == "order.placed"
    assert parent.dispatch.listeners[0] is parent is dispatches[0].parent


def test_calls_can_be_read_in_a_thread_while_dispatches_end():
    dispatcher, calls, is_over = EventDispatcher(), [], threading.Event()
    timeline = Timeline(max_dispatches=10)
    dispatcher.add_instrument(timeline)
    for name in ("validate", "charge"):
        add(dispatcher, "order.placed", name)

    def read():
        while not is_over.is_set():
            calls.extend([call for record in timeline.records for call in record.listeners][:100])

    thread = threading.Thread(target=read)
    thread.start()
    # On a busy machine, the thread may start after thousands of dispatches.
    while len(calls) < 1_000:
        dispatcher.dispatch("order.placed", Event())
    is_over.set()
    thread.join()

    assert all(any(other is call for other in call.dispatch.listeners) for call in calls)
