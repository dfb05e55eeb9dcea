"""The OpenTelemetry instrument: spans of dispatches and listeners, their parents and attributes."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextvars import copy_context
from functools import partial
from types import coroutine

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument, OpenTelemetryMetrics
from tests.instruments.recording_instrument import every_strategy, pause


class Spans:
    """A provider that keeps its spans."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    @property
    def finished(self):
        """All finished spans by name; the names of listeners without their module."""
        spans = {short(span.name): span for span in self.exporter.get_finished_spans()}
        assert len(spans) == len(self.exporter.get_finished_spans())
        return spans

    @property
    def tree(self):
        """The name of the parent of each span."""
        spans = self.finished
        names = {span.context.span_id: name for name, span in spans.items()}
        return {name: span.parent and names[span.parent.span_id] for name, span in spans.items()}


def short(name):
    kind, _, rest = name.partition(" ")
    return f"{kind} {rest.rpartition('.')[2] if kind == 'listener' else rest}"


@pytest.fixture
def spans(caplog):
    """The spans of a test. OpenTelemetry logs an error if a span is detached in another context."""
    yield Spans()
    assert [record.getMessage() for record in caplog.get_records("call")] == []
    assert trace.get_current_span() is trace.INVALID_SPAN


def traced(spans, strategy=None, **options):
    """Make a dispatcher whose dispatches have spans."""
    dispatcher = AsyncEventDispatcher(strategy=strategy, name="shop")
    dispatcher.add_instrument(OpenTelemetryInstrument(spans.provider, **options))
    return dispatcher


def add(dispatcher, key, name, function=pause, **options):
    """Register a listener whose span has a short name."""

    async def listener(event):
        await function(event)

    listener.__qualname__ = name
    dispatcher.add_listener(key, listener, **options)


async def fail(error, event):
    raise error


# Parents


@every_strategy
async def test_nested_dispatches_are_in_the_span_of_their_listener(strategy, spans):
    dispatcher = traced(spans, strategy)

    async def dispatch_within(name, event):
        await pause()
        await dispatcher.adispatch(f"start of {name}")
        await pause()

    for name in ("validate", "charge"):
        add(dispatcher, "order.placed", name, partial(dispatch_within, name))
        add(dispatcher, f"start of {name}", f"audit_{name}")
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener validate": "dispatch order.placed",
        "listener charge": "dispatch order.placed",
        "dispatch start of validate": "listener validate",
        "dispatch start of charge": "listener charge",
        "listener audit_validate": "dispatch start of validate",
        "listener audit_charge": "dispatch start of charge",
    }


@every_strategy
async def test_listeners_may_have_no_spans(strategy, spans):
    dispatcher = traced(spans, strategy, listeners=False)
    add(dispatcher, "order.placed", "validate", lambda event: dispatcher.adispatch("order.paid"))
    add(dispatcher, "order.placed", "charge")
    add(dispatcher, "order.placed", "receipt", where=lambda event: False)
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {"dispatch order.placed": None, "dispatch order.paid": "dispatch order.placed"}
    assert spans.finished["dispatch order.placed"].events == ()


@every_strategy
@pytest.mark.parametrize("listeners", [True, False])
async def test_spans_of_the_program_are_parents_and_children(strategy, listeners, spans):
    dispatcher = traced(spans, strategy, listeners=listeners)

    async def work(event):
        await pause()
        with spans.tracer.start_as_current_span("own work"):
            await pause()

    add(dispatcher, "order.placed", "validate", work)
    add(dispatcher, "order.placed", "charge")
    with spans.tracer.start_as_current_span("own request") as request:
        await dispatcher.adispatch("order.placed")
        assert trace.get_current_span() is request

    tree = spans.tree
    assert tree["own request"] is None
    assert tree["dispatch order.placed"] == "own request"
    assert tree["own work"] == ("listener validate" if listeners else "dispatch order.placed")


@every_strategy
async def test_queued_event_is_linked_to_the_span_that_posted_it(strategy, spans):
    dispatcher = traced(spans, strategy)
    async with dispatcher.queue(workers=2) as queue:
        add(dispatcher, "order.placed", "validate", lambda event: queue.post("order.paid"))
        add(dispatcher, "order.paid", "charge", lambda event: dispatcher.adispatch("card.charged"))
        await dispatcher.adispatch("order.placed")
        await queue.post("order.closed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener validate": "dispatch order.placed",
        "dispatch order.paid": None,
        "listener charge": "dispatch order.paid",
        "dispatch card.charged": "listener charge",
        "dispatch order.closed": None,
    }
    finished = spans.finished
    links = {name: [link.context for link in span.links] for name, span in finished.items() if span.links}
    assert links == {"dispatch order.paid": [finished["listener validate"].context]}
    assert finished["dispatch order.paid"].context.trace_id != finished["dispatch order.placed"].context.trace_id


async def test_event_that_queued_work_posts_is_linked_to_it(spans):
    dispatcher = traced(spans)
    async with dispatcher.queue() as queue:
        add(dispatcher, "order.placed", "validate", lambda event: queue.post("order.paid"))
        await queue.post("order.placed")

    finished = spans.finished
    assert [link.context for link in finished["dispatch order.paid"].links] == [finished["listener validate"].context]


@every_strategy
async def test_queued_event_may_be_a_child_of_the_span_that_posted_it(strategy, spans):
    dispatcher = traced(spans, strategy, queued="child")
    async with dispatcher.queue(workers=2) as queue:
        add(dispatcher, "order.placed", "validate", lambda event: queue.post("order.paid"))
        add(dispatcher, "order.paid", "charge")
        await dispatcher.adispatch("order.placed")
        with spans.tracer.start_as_current_span("own request"):
            await queue.post("order.closed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener validate": "dispatch order.placed",
        "dispatch order.paid": "listener validate",
        "listener charge": "dispatch order.paid",
        "own request": None,
        "dispatch order.closed": "own request",
    }


@every_strategy
async def test_worker_thread_is_in_the_span_of_its_listener(strategy, spans):
    dispatcher, sync = traced(spans, strategy), EventDispatcher()
    sync.add_instrument(OpenTelemetryInstrument(spans.provider))

    def work(event):
        with spans.tracer.start_as_current_span("own work"):
            sync.dispatch("order.paid")

    dispatcher.add_listener("order.placed", in_thread(work))
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener work": "dispatch order.placed",
        "own work": "listener work",
        "dispatch order.paid": "own work",
    }


def test_sync_dispatch_has_the_same_spans(spans):
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument(spans.provider))

    def validate(event):
        dispatcher.dispatch("order.paid")

    dispatcher.add_listener("order.placed", validate)
    dispatcher.dispatch("order.placed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener validate": "dispatch order.placed",
        "dispatch order.paid": "listener validate",
    }


# Names, attributes and status


async def test_attributes_of_spans(spans):
    async def stop(event):
        event.stop_propagation()

    dispatcher = traced(spans)
    add(dispatcher, "*", "validate", stop, priority=3)
    add(dispatcher, "order.placed", "charge", priority=5)
    await dispatcher.adispatch("order.placed")

    dispatch, validate = spans.finished["dispatch order.placed"], spans.finished["listener validate"]
    (skipped,) = dispatch.events
    assert dict(dispatch.attributes) == {
        "antiphon.event.name": "order.placed",
        "antiphon.event.class": "antiphon.Event",
        "antiphon.dispatcher": "<AsyncEventDispatcher 'shop'>",
        "antiphon.listeners": 2,
        "antiphon.outcome": "stopped",
        "antiphon.stopped_by": f"{__name__}.validate",
    }
    assert dict(validate.attributes) == {
        "antiphon.listener": f"{__name__}.validate",
        "antiphon.key": "*",
        "antiphon.priority": 3,
        "antiphon.outcome": "finished",
    }
    assert skipped.name == "listener skipped"
    assert dict(skipped.attributes) == {"antiphon.listener": f"{__name__}.charge", "antiphon.reason": "stopped"}
    assert {dispatch.status.status_code, validate.status.status_code} == {StatusCode.UNSET}


async def test_span_of_an_event_without_a_name(spans):
    await traced(spans).adispatch(Event())

    assert "antiphon.event.name" not in spans.finished["dispatch Event"].attributes


@every_strategy
async def test_error_is_recorded_on_both_spans(strategy, spans):
    dispatcher = traced(spans, strategy)
    add(dispatcher, "order.placed", "validate", partial(fail, LookupError("no stock")))
    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await dispatcher.adispatch("order.placed")

    dispatch, validate = spans.finished["dispatch order.placed"], spans.finished["listener validate"]
    for span, error in ((dispatch, caught.value), (validate, LookupError("no stock"))):
        (recorded,) = span.events
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == f"{type(error).__name__}: {error}"
        assert recorded.attributes["exception.type"] == type(error).__qualname__
        assert span.attributes["antiphon.outcome"] == "failed"


@every_strategy
async def test_cancellation_is_not_an_error(strategy, spans):
    dispatcher = traced(spans, strategy)
    with anyio.CancelScope() as scope:

        async def wait(event):
            scope.cancel()
            await anyio.sleep_forever()

        add(dispatcher, "order.placed", "validate", wait)
        await dispatcher.adispatch("order.placed")

    for span in spans.finished.values():
        assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())
        assert span.attributes["antiphon.outcome"] == "cancelled"


# Contexts and providers


def test_coroutine_closed_in_another_context_ends_its_spans(spans):
    @coroutine
    def suspend(event):
        yield

    dispatcher = traced(spans)
    add(dispatcher, "order.placed", "validate", suspend)
    steps = dispatcher.adispatch("order.placed")
    copy_context().run(steps.send, None)

    steps.close()

    assert spans.tree == {"dispatch order.placed": None, "listener validate": "dispatch order.placed"}


async def test_nothing_is_kept_of_a_dispatch(spans):
    instrument, dispatcher = OpenTelemetryInstrument(spans.provider), AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    await dispatcher.adispatch("order.placed")
    gc.collect()

    assert len(instrument._open_spans) == 0


async def test_two_instruments_are_independent(spans):
    dispatcher, others = traced(spans), Spans()
    dispatcher.add_instrument(OpenTelemetryInstrument(others.provider))
    add(dispatcher, "order.placed", "validate")
    with others.tracer.start_as_current_span("own request") as request:
        await dispatcher.adispatch("order.placed")
        assert trace.get_current_span() is request

    assert spans.finished.keys() == {"dispatch order.placed", "listener validate"}


async def test_spans_that_are_not_recorded():
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument(trace.NoOpTracerProvider()))
    add(dispatcher, "order.placed", "validate", partial(fail, LookupError()))

    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed")


async def test_default_is_the_global_provider(monkeypatch):
    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument())
    await dispatcher.adispatch("order.placed")

    assert spans.finished.keys() == {"dispatch order.placed"}


def test_unknown_relation_of_queued_spans_is_refused(spans):
    with pytest.raises(ValueError, match=r'queued= must be "link" or "child"; got \'parent\''):
        OpenTelemetryInstrument(spans.provider, queued="parent")


@pytest.mark.parametrize("provider", ["shop", 7, TracerProvider])
def test_other_objects_than_a_provider_are_refused(provider):
    with pytest.raises(TypeError, match="tracer_provider= must be a TracerProvider of OpenTelemetry, or None"):
        OpenTelemetryInstrument(provider)
    with pytest.raises(TypeError, match="meter_provider= must be a MeterProvider of OpenTelemetry, or None"):
        OpenTelemetryMetrics(provider)


def test_import_without_the_api_names_the_extra():
    program = """
import sys
sys.modules["opentelemetry"] = None
try:
    import antiphon.instruments.opentelemetry
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == (
        "antiphon.instruments.opentelemetry requires the OpenTelemetry API, which is not installed: "
        "pip install 'antiphon[otel]'"
    )


# Without a provider


async def test_dispatch_is_plain_without_a_tracer_provider():
    assert OpenTelemetryInstrument(trace.NoOpTracerProvider()).get_interest() == "nothing"
    assert OpenTelemetryInstrument(TracerProvider()).get_interest() == "all"


def test_spans_begin_when_the_global_provider_is_set():
    program = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from antiphon import AsyncEventDispatcher
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument

instrument = OpenTelemetryInstrument()
dispatcher = AsyncEventDispatcher()
dispatcher.add_instrument(instrument)
spans = []

@dispatcher.listen("order.placed")
async def record(event):
    spans.append(trace.get_current_span().is_recording())

asyncio.run(dispatcher.adispatch("order.placed"))
trace.set_tracer_provider(TracerProvider())
asyncio.run(dispatcher.adispatch("order.placed"))
print(spans)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (run.stdout, run.stderr) == ("[False, True]\n", "")
