"""Shipped instruments survive objects that cannot be printed, compared or hashed (rule 27)."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, ListenerCancelled
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.logging import LoggingInstrument
from antiphon.instruments.opentelemetry import OpenTelemetryInstrument
from antiphon.instruments.timeline import Timeline
from antiphon.testing import record
from tests.helpers import BOTH, make_listener


class Unprintable:
    def __str__(self):
        raise ZeroDivisionError("str")

    def __repr__(self):
        raise ZeroDivisionError("repr")

    def __format__(self, spec):
        raise ZeroDivisionError("format")


class UnprintableName(Unprintable):
    """A name that equals only itself; a comparison with anything else raises."""

    def __hash__(self):
        return 7

    def __eq__(self, other):
        if self is other:
            return True
        raise ZeroDivisionError("eq")


class UnprintableText(str):
    __slots__ = ()

    __str__ = __repr__ = Unprintable.__str__
    __format__ = Unprintable.__format__


class UnprintableEvent(Unprintable, Event):
    __hash__ = None


class UnprintableError(Unprintable, Exception):
    __hash__ = None

    def __eq__(self, other):
        raise ZeroDivisionError("eq")


class UnprintableListener(Unprintable):
    def __init__(self, call):
        self.call = call

    def __getattr__(self, name):
        if name == "__qualname__":
            raise ZeroDivisionError("getattr")
        raise AttributeError(name)

    def __call__(self, event):
        self.call(event)


class UnprintableAsyncListener(UnprintableListener):
    async def __call__(self, event):
        await self.call(event)


class UnprintableMeta(type):
    __str__ = __repr__ = Unprintable.__str__


class EventOfUnprintableClass(Event, metaclass=UnprintableMeta): ...


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request):
    """An unprintable dispatcher of either kind."""

    class UnprintableDispatcher(Unprintable, request.param): ...

    return UnprintableDispatcher()


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def instruments(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return [
        LoggingInstrument(listeners=logging.INFO, starts=logging.INFO),
        OpenTelemetryInstrument(provider),
        Timeline(),
    ]


def unprintable_listener(dispatcher, function):
    kind = UnprintableListener if isinstance(dispatcher, EventDispatcher) else UnprintableAsyncListener
    return kind(make_listener(dispatcher, function))


def fail(event):
    raise UnprintableError


def finish(event): ...


NAMES = {"object": UnprintableName(), "text": UnprintableText("order.placed"), "none": None}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("event", [UnprintableEvent, EventOfUnprintableClass, object], ids=["event", "class", "bare"])
@pytest.mark.parametrize("work", [finish, fail])
async def test_no_instrument_is_removed(dispatcher, instruments, spans, caplog, name, event, work):
    caplog.set_level(logging.DEBUG)
    with record(dispatcher) as recorded:
        for instrument in instruments:
            dispatcher.add_instrument(instrument)
        for key in ("*", EventOfUnprintableClass, *(() if name is None else (name,))):
            dispatcher.add_listener(key, unprintable_listener(dispatcher, work))
        dispatcher.add_listener("*", unprintable_listener(dispatcher, work), where=lambda event: False)

        for _ in range(2):
            try:
                await (dispatcher.adispatch(event()) if name is None else dispatcher.adispatch(name, event()))
            except UnprintableError:
                assert work is fail

    assert [attached.instrument for attached in dispatcher._instruments] == instruments
    assert [line.message for line in caplog.records if "is removed" in line.getMessage()] == []
    logged = [line for line in caplog.records if line.getMessage().startswith("dispatched ")]
    dispatched = [span for span in spans.get_finished_spans() if span.name.startswith("dispatch ")]
    assert (len(logged), len(dispatched)) == (2, 2)
    assert "UnprintableDispatcher object at" in logged[0].dispatcher
    assert "UnprintableDispatcher object at" in dispatched[0].attributes["antiphon.dispatcher"]
    assert ("UnprintableError object at" in logged[0].getMessage()) == (work is fail)
    assert len(recorded.dispatches) == 2
    for text in (str(recorded), instruments[2].text(), instruments[2].svg(), instruments[2].chrome_trace()):
        assert text
    for each in recorded.dispatches:
        assert "DispatchRecord" in repr(each)
        assert all("ListenerRecord" in repr(call) for call in each.listeners)


async def test_unprintable_dispatcher_name_removes_no_instrument(instruments, caplog):
    caplog.set_level(logging.DEBUG)
    dispatcher = AsyncEventDispatcher(name=UnprintableText("shop"))
    for instrument in instruments:
        dispatcher.add_instrument(instrument)

    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed")

    assert [attached.instrument for attached in dispatcher._instruments] == instruments


def test_span_of_an_unprintable_error_has_class_and_traceback(instruments, spans):
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(instruments[1])
    dispatcher.add_listener("order.placed", fail)

    with pytest.raises(UnprintableError):
        dispatcher.dispatch("order.placed")

    (span,) = (span for span in spans.get_finished_spans() if span.name.startswith("listener "))
    (event,) = span.events
    assert "UnprintableError" in span.status.description
    assert (event.name, event.attributes["exception.type"]) == ("exception", f"{__name__}.UnprintableError")
    assert "fail" in event.attributes["exception.stacktrace"]


def test_printable_names_are_unchanged(instruments, spans, caplog):
    caplog.set_level(logging.INFO)
    dispatcher = EventDispatcher()
    for instrument in instruments[:2]:
        dispatcher.add_instrument(instrument)

    dispatcher.dispatch(404, Event())
    dispatcher.dispatch("order.placed")

    assert [span.name for span in spans.get_finished_spans()] == ["dispatch 404", "dispatch order.placed"]
    assert "dispatching 404 (Event)" in [line.getMessage() for line in caplog.records]


def test_errors_and_records_can_be_printed():
    dispatched = DispatchRecord(UnprintableEvent(), UnprintableName(), None, None)
    call = ListenerRecord()
    call.subscription = EventDispatcher().add_listener("order.placed", UnprintableListener(print))
    call.outcome = "running"

    assert "UnprintableListener object at" in str(ListenerCancelled(UnprintableListener(print)))
    assert "UnprintableName object at" in repr(dispatched)
    assert "UnprintableListener object at" in repr(call)
    with pytest.raises(LookupError, match="has not come yet"):
        _ = AsyncEventDispatcher().expect(UnprintableName()).event
