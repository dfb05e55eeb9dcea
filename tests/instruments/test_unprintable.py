"""Rule 27: an instrument that is shipped survives objects that cannot be shown, compared or hashed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, ListenerCancelled
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.logging import LoggingInstrument
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument
from antiphon.instruments.timeline import Timeline
from antiphon.testing import record
from tests.helpers import AnyDispatcher, make_listener


class Unprintable:
    """Answers every request for a text, and after the first also for a hash or a comparison, with an error."""

    def __str__(self) -> str:
        raise ZeroDivisionError("str")

    def __repr__(self) -> str:
        raise ZeroDivisionError("repr")

    def __format__(self, spec: str) -> str:
        raise ZeroDivisionError("format")


class UnprintableName(Unprintable):
    """A name that can be found, and no more: it equals only itself."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise ZeroDivisionError("eq")


class UnprintableText(str):
    """A string that cannot be shown as itself."""

    __slots__ = ()

    __str__ = __repr__ = Unprintable.__str__
    __format__ = Unprintable.__format__


class UnprintableEvent(Unprintable, Event):
    """An event."""

    __hash__ = None  # type: ignore[assignment]  # that is its subject


class UnprintableError(Unprintable, Exception):
    """An error."""

    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("eq")


class UnprintableListener(Unprintable):
    """A listener, for either kind of dispatcher."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call


class SyncListener(UnprintableListener):
    def __call__(self, event: Any) -> None:
        self.call(event)


class AsyncListener(UnprintableListener):
    async def __call__(self, event: Any) -> None:
        await self.call(event)


class UnprintableMeta(type):
    __str__ = __repr__ = Unprintable.__str__


class UnprintableClass(Event, metaclass=UnprintableMeta):
    """An event whose class, as a key, cannot be shown."""


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def instruments(spans: InMemorySpanExporter) -> list[Any]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return [
        LoggingInstrument(listeners=logging.INFO, starts=logging.INFO),
        OpenTelemetryInstrument(provider),
        Timeline(),
    ]


def unprintable_listener(dispatcher: AnyDispatcher, function: Callable[[Any], object]) -> Any:
    kind: Any = SyncListener if isinstance(dispatcher, EventDispatcher) else AsyncListener
    return kind(make_listener(dispatcher, function))


def fail(event: Any) -> None:
    raise UnprintableError


NAMES: dict[str, Any] = {"object": UnprintableName(), "text": UnprintableText("order.placed"), "none": None}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("event", [UnprintableEvent, UnprintableClass, object], ids=["event", "class", "bare"])
@pytest.mark.parametrize("fails", [False, True], ids=["finishes", "fails"])
async def test_no_instrument_is_taken_out(
    dispatcher: AnyDispatcher,
    instruments: list[Any],
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    name: Any,
    event: Any,
    fails: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    with record(dispatcher) as recorded:
        for instrument in instruments:
            dispatcher.add_instrument(instrument)
        work = fail if fails else (lambda event: None)
        for key in ("*", UnprintableClass, *(() if name is None else (name,))):
            dispatcher.add_listener(key, unprintable_listener(dispatcher, work))
        dispatcher.add_listener("*", unprintable_listener(dispatcher, work), where=lambda event: False)

        for _ in range(2):
            try:
                _ = await (dispatcher.adispatch(event()) if name is None else dispatcher.adispatch(name, event()))
            except UnprintableError:
                assert fails

    assert [attached.instrument for attached in dispatcher._instruments] == instruments
    assert [line.message for line in caplog.records if "is taken out" in line.getMessage()] == []
    assert sum(line.getMessage().startswith("dispatched ") for line in caplog.records) == 2
    assert sum(span.name.startswith("dispatch ") for span in spans.get_finished_spans()) == 2
    assert len(recorded.dispatches) == 2
    for text in (str(recorded), instruments[2].text(), instruments[2].svg(), instruments[2].chrome_trace()):
        assert text
    for each in recorded.dispatches:
        assert "DispatchRecord" in repr(each)
        assert all("ListenerRecord" in repr(call) for call in each.listeners)


async def test_a_dispatcher_whose_name_cannot_be_shown_keeps_its_instruments(
    instruments: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dispatcher: Any = AsyncEventDispatcher(name=UnprintableText("shop"))
    for instrument in instruments:
        dispatcher.add_instrument(instrument)

    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed")

    assert [attached.instrument for attached in dispatcher._instruments] == instruments


def span_of(spans: InMemorySpanExporter, prefix: str) -> ReadableSpan:
    (span,) = (span for span in spans.get_finished_spans() if span.name.startswith(prefix))
    return span


def test_a_span_tells_what_can_be_told_of_an_error_that_cannot_be_shown(
    instruments: list[Any], spans: InMemorySpanExporter
) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(instruments[1])
    dispatcher.add_listener("order.placed", fail)

    with pytest.raises(UnprintableError):
        dispatcher.dispatch("order.placed")

    span = span_of(spans, "listener ")
    assert span.status.description is not None
    assert "UnprintableError" in span.status.description
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes is not None
    assert event.attributes["exception.type"] == f"{__name__}.UnprintableError"
    assert "fail" in str(event.attributes["exception.stacktrace"])


def test_names_are_shown_as_before_where_they_can_be(
    instruments: list[Any], spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    dispatcher = EventDispatcher()
    for instrument in instruments[:2]:
        dispatcher.add_instrument(instrument)

    dispatcher.dispatch(404, Event())
    dispatcher.dispatch("order.placed")

    assert [span.name for span in spans.get_finished_spans()] == ["dispatch 404", "dispatch order.placed"]
    assert "dispatching 404 (Event)" in [line.getMessage() for line in caplog.records]


def test_the_error_of_a_listener_that_cannot_be_shown_has_a_text() -> None:
    error = ListenerCancelled(UnprintableListener(print))

    assert "UnprintableListener object at" in str(error)


async def test_an_expectation_of_a_key_that_cannot_be_shown_says_that_it_has_not_come() -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(LookupError, match="has not come yet"):
        _ = dispatcher.expect(UnprintableName()).event


def test_records_can_be_shown_whatever_they_hold() -> None:
    dispatched = DispatchRecord(UnprintableEvent(), UnprintableName(), None, None)
    subscription: Any = EventDispatcher().add_listener("order.placed", SyncListener(print))

    assert "UnprintableName object at" in repr(dispatched)
    assert "SyncListener object at" in repr(ListenerRecord(dispatched, subscription))
