"""The OpenTelemetry instrument: spans of dispatches and listeners, and who is whose parent."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, in_thread
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import add_named_listener, named
from tests.instruments.test_parents import OneByOne, Spread, every_strategy


class Spans:
    """A provider whose spans are kept, and read by their names."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    @property
    def finished(self) -> dict[str, ReadableSpan]:
        """All that have ended, by name, without the module and the test that listeners come from."""
        spans = {short(span.name): span for span in self.exporter.get_finished_spans()}
        assert len(spans) == len(self.exporter.get_finished_spans())
        return spans

    @property
    def tree(self) -> dict[str, str | None]:
        """For each span, the name of its parent."""
        spans = self.finished
        names = {span.context.span_id: name for name, span in spans.items() if span.context}
        return {name: names[span.parent.span_id] if span.parent else None for name, span in spans.items()}


def short(name: str) -> str:
    """Leave out where a listener was defined."""
    what, _, which = name.partition(" ")
    return f"{what} {which.rpartition('.')[2] if what == 'listener' else which}"


def sung(name: str, listener: Any) -> Any:
    """Give a listener the name that spans show."""
    listener.__qualname__ = name
    return named(name, listener)


@pytest.fixture
def spans(caplog: pytest.LogCaptureFixture) -> Iterator[Spans]:
    """What the tests see; OpenTelemetry logs it if a span is taken back in another context, which never happens."""
    yield Spans()
    assert [record.getMessage() for record in caplog.get_records("call")] == []
    assert trace.get_current_span() is trace.INVALID_SPAN


def traced(spans: Spans, strategy: Any = None, **options: Any) -> AsyncEventDispatcher:
    """Make a dispatcher whose dispatches have spans."""
    dispatcher = AsyncEventDispatcher(strategy=strategy, name="shop")
    dispatcher.add_instrument(OpenTelemetryInstrument(spans.provider, **options))
    return dispatcher


async def pause(event: Any = None) -> None:
    """Let others run."""
    await anyio.lowlevel.checkpoint()


def listening(dispatcher: AnyDispatcher, key: str, name: str, function: Any = pause, **options: Any) -> None:
    """Register an async listener of a name."""

    async def listener(event: Any) -> None:
        await function(event)

    dispatcher.add_listener(key, sung(name, listener), **options)


# Who is whose parent


@every_strategy
async def test_a_dispatch_has_a_span_and_each_listener_one_within(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    for name in ("alto", "tenor", "bass"):
        listening(dispatcher, "order.placed", name)
    await dispatcher.adispatch("order.placed")

    dispatch = "dispatch order.placed"
    assert spans.tree == {
        dispatch: None,
        "listener alto": dispatch,
        "listener tenor": dispatch,
        "listener bass": dispatch,
    }


@every_strategy
async def test_nested_dispatches_are_within_the_span_of_their_listener(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    for name in ("alto", "bass"):

        async def sing(event: Any, name: str = name) -> None:
            await pause()
            await dispatcher.adispatch(f"verse-of-{name}")
            await pause()

        listening(dispatcher, "order.placed", name, sing)
        listening(dispatcher, f"verse-of-{name}", f"friend-of-{name}")
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener alto": "dispatch order.placed",
        "listener bass": "dispatch order.placed",
        "dispatch verse-of-alto": "listener alto",
        "dispatch verse-of-bass": "listener bass",
        "listener friend-of-alto": "dispatch verse-of-alto",
        "listener friend-of-bass": "dispatch verse-of-bass",
    }


@every_strategy
async def test_without_spans_of_listeners_nested_dispatches_are_within_the_outer_dispatch(
    strategy: Any, spans: Spans
) -> None:
    dispatcher = traced(spans, strategy, listeners=False)
    listening(dispatcher, "order.placed", "alto", lambda event: dispatcher.adispatch("verse"))
    listening(dispatcher, "order.placed", "bass")
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {"dispatch order.placed": None, "dispatch verse": "dispatch order.placed"}


@every_strategy
@pytest.mark.parametrize("listeners", [True, False])
async def test_spans_of_the_program_are_parents_and_children(strategy: Any, listeners: bool, spans: Spans) -> None:
    dispatcher = traced(spans, strategy, listeners=listeners)

    async def sing(event: Any) -> None:
        await pause()
        with spans.tracer.start_as_current_span("own line"):
            await pause()

    listening(dispatcher, "order.placed", "alto", sing)
    listening(dispatcher, "order.placed", "bass")
    with spans.tracer.start_as_current_span("own request"):
        await dispatcher.adispatch("order.placed")
        with spans.tracer.start_as_current_span("own end"):
            pass

    tree = spans.tree
    assert tree["own request"] is None
    assert tree["dispatch order.placed"] == "own request"
    assert tree["own line"] == ("listener alto" if listeners else "dispatch order.placed")
    assert tree["own end"] == "own request"


@every_strategy
async def test_what_is_posted_to_a_queue_is_a_child_of_the_span_that_posted_it(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    async with dispatcher.queue(workers=2) as queue:
        listening(dispatcher, "order.placed", "alto", lambda event: queue.post("verse"))
        listening(dispatcher, "verse", "tenor")
        await dispatcher.adispatch("order.placed")
        with spans.tracer.start_as_current_span("own request"):
            await queue.post("coda")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener alto": "dispatch order.placed",
        "dispatch verse": "listener alto",
        "listener tenor": "dispatch verse",
        "own request": None,
        "dispatch coda": "own request",
    }


@every_strategy
async def test_a_worker_thread_is_within_the_span_of_its_listener(strategy: Any, spans: Spans) -> None:
    dispatcher, sync = traced(spans, strategy), EventDispatcher()
    sync.add_instrument(OpenTelemetryInstrument(spans.provider))

    def work(event: Any) -> None:
        with spans.tracer.start_as_current_span("own work"):
            sync.dispatch("verse")

    dispatcher.add_listener("order.placed", in_thread(sung("alto", work)))
    await dispatcher.adispatch("order.placed")

    assert spans.tree == {
        "dispatch order.placed": None,
        "listener alto": "dispatch order.placed",
        "own work": "listener alto",
        "dispatch verse": "own work",
    }


def test_a_sync_dispatch_has_the_same_spans(spans: Spans) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument(spans.provider))
    add_named_listener(dispatcher, "order.placed", "alto", lambda event: dispatcher.dispatch("verse"))
    dispatcher.dispatch("order.placed")

    # A listener that a helper made is called as it is there.
    assert list(spans.tree.values()) == ["listener listener", "dispatch order.placed", None]


@pytest.mark.parametrize(
    "strategy", [Sequential(), Concurrent(), Race(), OneByOne(), Spread()], ids=lambda strategy: repr(strategy)
)
async def test_dispatches_that_run_at_the_same_time_do_not_mix(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    both_run, running = anyio.Event(), 0

    async def meet(event: Any) -> None:
        nonlocal running
        running += 1
        if running == 2:
            both_run.set()
        await both_run.wait()
        await dispatcher.adispatch(f"verse-of-{event.name}")

    for name in ("one", "two"):
        listening(dispatcher, name, f"alto-of-{name}", meet)
    async with anyio.create_task_group() as group:
        for name in ("one", "two"):
            group.start_soon(dispatcher.adispatch, name)

    assert spans.tree == {
        "dispatch one": None,
        "dispatch two": None,
        "listener alto-of-one": "dispatch one",
        "listener alto-of-two": "dispatch two",
        "dispatch verse-of-one": "listener alto-of-one",
        "dispatch verse-of-two": "listener alto-of-two",
    }


# What stands on a span


async def test_the_attributes_of_the_spans(spans: Spans) -> None:
    dispatcher = traced(spans)
    listening(dispatcher, "*", "alto", lambda event: stop(event), priority=3)
    listening(dispatcher, "order.placed", "bass", priority=5)
    await dispatcher.adispatch("order.placed")

    dispatch, alto = spans.finished["dispatch order.placed"], spans.finished["listener alto"]
    (skipped,) = dispatch.events
    assert dict(dispatch.attributes or {}) == {
        "antiphon.event.name": "order.placed",
        "antiphon.event.class": "antiphon.Event",
        "antiphon.dispatcher": "<AsyncEventDispatcher 'shop'>",
        "antiphon.listeners": 2,
        "antiphon.outcome": "stopped",
        "antiphon.stopped_by": f"{__name__}.alto",
    }
    assert dict(alto.attributes or {}) == {
        "antiphon.listener": f"{__name__}.alto",
        "antiphon.key": "*",
        "antiphon.priority": 3,
        "antiphon.outcome": "finished",
    }
    assert skipped.name == "listener skipped"
    assert dict(skipped.attributes or {}) == {"antiphon.listener": f"{__name__}.bass", "antiphon.reason": "stopped"}
    assert {dispatch.status.status_code, alto.status.status_code} == {StatusCode.UNSET}


async def stop(event: Any) -> None:
    """Stop the event."""
    event.stop_propagation()


async def test_an_event_without_a_name_is_called_after_its_class(spans: Spans) -> None:
    await traced(spans).adispatch(Event())

    assert "antiphon.event.name" not in (spans.finished["dispatch Event"].attributes or {})


async def fail(error: BaseException, event: Any) -> None:
    """Raise an error."""
    raise error


@every_strategy
async def test_an_error_is_recorded_on_both_spans(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    listening(dispatcher, "order.placed", "alto", partial(fail, LookupError("no voice")))
    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await dispatcher.adispatch("order.placed")

    dispatch, alto = spans.finished["dispatch order.placed"], spans.finished["listener alto"]
    for span, error in ((dispatch, caught.value), (alto, LookupError("no voice"))):
        (recorded,) = span.events
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == f"{type(error).__name__}: {error}"
        assert (recorded.attributes or {})["exception.type"] == type(error).__qualname__
        assert (span.attributes or {})["antiphon.outcome"] == "failed"


@every_strategy
async def test_an_error_that_cannot_be_shown_ends_its_spans_too(strategy: Any, spans: Spans) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words here")

    dispatcher = traced(spans, strategy)
    listening(dispatcher, "order.placed", "alto", partial(fail, Unspeakable()))
    with pytest.raises((Unspeakable, ExceptionGroup)):
        await dispatcher.adispatch("order.placed")

    assert spans.finished["listener alto"].status.description == Unspeakable.__qualname__
    assert {span.status.status_code for span in spans.finished.values()} == {StatusCode.ERROR}
    assert trace.get_current_span() is trace.INVALID_SPAN

    async def sing(event: Any) -> None: ...

    listening(dispatcher, "chant", "bass", sing)
    await dispatcher.adispatch("chant")
    assert "listener bass" in spans.finished


async def test_a_dispatcher_that_cannot_be_shown_has_spans(spans: Spans) -> None:
    class Unspeakable(AsyncEventDispatcher):
        def __repr__(self) -> str:
            raise RuntimeError("no words here")

    dispatcher = Unspeakable()
    dispatcher.add_instrument(OpenTelemetryInstrument(spans.provider))
    await dispatcher.adispatch("order.placed")
    assert "Unspeakable" in str((spans.finished["dispatch order.placed"].attributes or {})["antiphon.dispatcher"])


@every_strategy
async def test_a_cancellation_is_no_error(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    with anyio.CancelScope() as scope:

        async def wait(event: Any) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        listening(dispatcher, "order.placed", "alto", wait)
        await dispatcher.adispatch("order.placed")

    for span in spans.finished.values():
        assert span.status.status_code is StatusCode.UNSET
        assert span.events == ()
        assert (span.attributes or {})["antiphon.outcome"] == "cancelled"


async def test_without_spans_of_listeners_nothing_is_said_of_skipped_ones(spans: Spans) -> None:
    dispatcher = traced(spans, listeners=False)
    listening(dispatcher, "order.placed", "alto", where=lambda event: False)
    await dispatcher.adispatch("order.placed")

    assert spans.finished["dispatch order.placed"].events == ()


async def test_spans_that_nobody_records_cost_no_attributes() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument(trace.NoOpTracerProvider()))
    listening(dispatcher, "order.placed", "alto", partial(fail, LookupError()))

    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed")


# Contexts


@every_strategy
async def test_after_a_dispatch_the_current_span_is_what_it_was(strategy: Any, spans: Spans) -> None:
    dispatcher = traced(spans, strategy)
    listening(dispatcher, "order.placed", "alto")
    with spans.tracer.start_as_current_span("own request") as request:
        await dispatcher.adispatch("order.placed")
        assert trace.get_current_span() is request


def test_a_coroutine_that_is_closed_in_another_context_ends_its_spans_in_silence(spans: Spans) -> None:
    from contextvars import copy_context
    from types import coroutine

    @coroutine
    def stand_still(event: Any) -> Any:
        yield

    dispatcher = traced(spans)
    listening(dispatcher, "order.placed", "alto", stand_still)
    steps = dispatcher.adispatch("order.placed")
    copy_context().run(steps.send, None)

    steps.close()

    assert spans.tree == {"dispatch order.placed": None, "listener alto": "dispatch order.placed"}


async def test_nothing_is_kept_of_a_dispatch(spans: Spans) -> None:
    instrument = OpenTelemetryInstrument(spans.provider)
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    listening(dispatcher, "order.placed", "alto")
    await dispatcher.adispatch("order.placed")
    gc.collect()

    assert len(instrument._open) == 0


async def test_two_of_them_do_not_disturb_each_other(spans: Spans) -> None:
    dispatcher, others = traced(spans), Spans()
    dispatcher.add_instrument(OpenTelemetryInstrument(others.provider))
    listening(dispatcher, "order.placed", "alto")
    with others.tracer.start_as_current_span("own request") as request:
        await dispatcher.adispatch("order.placed")
        assert trace.get_current_span() is request

    assert spans.finished.keys() == {"dispatch order.placed", "listener alto"}


# The extra


def test_without_the_api_the_import_tells_what_to_install() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
try:
    import antiphon.instruments.opentelemetry
except ImportError as exc:
    print(exc)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == (
        "antiphon.instruments.opentelemetry makes spans of OpenTelemetry, whose API is not installed: "
        "pip install 'antiphon[otel]'"
    )


async def test_the_global_provider_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(OpenTelemetryInstrument())
    await dispatcher.adispatch("order.placed")

    assert spans.finished.keys() == {"dispatch order.placed"}
