"""Instruments that create OpenTelemetry spans and metrics for dispatches and listeners.

They require the extra ``otel``: ``pip install 'antiphon[otel]'``.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from traceback import format_exception
from typing import Any, Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

from antiphon._util.naming import safe_repr, safe_str
from antiphon._waiting.queue_item import RunningDispatch, running_dispatch
from antiphon.instruments import DispatchRecord, Instrument, Interest, ListenerRecord

try:
    from opentelemetry import context as otel
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ImportError(
        "antiphon.instruments.opentelemetry requires the OpenTelemetry API, which is not installed: "
        "pip install 'antiphon[otel]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

__all__ = ("OpenTelemetryInstrument", "OpenTelemetryMetrics")


#: The providers of the API. Their spans are never recorded, and do not change the current context.
_NON_RECORDING: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)

#: The limits of the buckets of durations, in seconds. The default limits of OpenTelemetry are for milliseconds.
_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


class _OpenSpan(NamedTuple):
    """A span that has not ended, with the tokens to restore the context before it."""

    span: trace.Span
    #: The token to detach the span from the current context.
    otel_token: Any
    #: A token of the same context. Resetting it shows whether the context is still the same.
    context_token: Token[None]


#: Set when a span is attached. Resetting it raises in another context, where OpenTelemetry would only log an error.
_span_context: Final[ContextVar[None]] = ContextVar("span_context")

#: The dispatch of a queue whose span has been started. Dispatches that are nested in it are its children.
_traced_dispatch: Final[ContextVar[RunningDispatch | None]] = ContextVar("traced_dispatch", default=None)


class OpenTelemetryInstrument(Instrument):
    """An instrument that creates a span for each dispatch, with a child span for each call of a listener.

    A span is the current span while its dispatch or listener runs. Spans that a listener creates, the dispatches that
    it starts and the events that it posts to a queue are therefore children of its span.
    The span of a dispatch is a child of the span that is current when the dispatch starts. An event of a queue starts a
    trace of its own, with a link to the span that posted it, because that span may have ended long before.

    An error is recorded on the span, and sets the status to ERROR. A cancellation is not an error: the attribute
    ``antiphon.outcome`` is ``"cancelled"``, and the status stays unset.

    Args:
        tracer_provider: The provider of the tracer; None for the global provider.
        listeners: Whether to create spans for the calls of listeners. Without them, spans that listeners create are
            children of the span of the dispatch.
        queued: ``"link"`` to link the span of an event of a queue to the span that posted it, or ``"child"`` to make it
            a child of that span, in the same trace.

    Raises:
        TypeError: If ``tracer_provider`` is not a tracer provider.
        ValueError: If ``queued`` is neither ``"link"`` nor ``"child"``.
    """

    __slots__ = ("_links_queued", "_listeners", "_open_spans", "_tracer", "_tracer_provider")

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        *,
        listeners: bool = True,
        queued: Literal["link", "child"] = "link",
    ) -> None:
        if queued not in ("link", "child"):
            raise ValueError(f'queued= must be "link" or "child"; got {safe_repr(queued)}')
        _check_provider(tracer_provider, "tracer_provider", "get_tracer", "TracerProvider")
        self._links_queued = queued == "link"
        self._tracer_provider = tracer_provider
        self._tracer = trace.get_tracer("antiphon", tracer_provider=tracer_provider)
        self._listeners = listeners
        # Weak, because a dispatch never finishes if its event loop was closed.
        self._open_spans: WeakKeyDictionary[DispatchRecord | ListenerRecord, _OpenSpan] = WeakKeyDictionary()

    def get_interest(self) -> Interest:
        """Return ``"nothing"`` as long as no tracer provider is installed, because then no span is recorded."""
        provider = self._tracer_provider or trace.get_tracer_provider()
        return "nothing" if isinstance(provider, _NON_RECORDING) else "all"

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Start the span of a dispatch."""
        kind = type(record.event).__qualname__
        attributes = {
            "antiphon.event.class": _get_class_name(record.event),
            "antiphon.dispatcher": safe_repr(record.dispatcher),
            "antiphon.listeners": len(record.listeners),
        }
        if record.name is not None:
            attributes["antiphon.event.name"] = kind = safe_str(record.name)
        links = self._find_links()
        self._start_span(record, f"dispatch {kind}", attributes, links)

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """End the span of a dispatch."""
        attributes = {} if record.stopped_by is None else {"antiphon.stopped_by": record.stopped_by.listener_name}
        self._end_span(record, attributes)

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Start the span of a call."""
        if self._listeners:
            attributes = {**_get_listener(record), "antiphon.priority": record.subscription.priority}
            self._start_span(record, f"listener {record.listener_name}", attributes)

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """End the span of a call."""
        self._end_span(record, {})

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Add an event to the span of the dispatch."""
        open_span = self._open_spans.get(record.dispatch)
        if self._listeners and open_span is not None:
            open_span.span.add_event(
                "listener skipped",
                {"antiphon.listener": record.listener_name, "antiphon.reason": str(record.skipped_because)},
            )

    def _find_links(self) -> list[trace.Link]:
        """Return a link to the span that posted the event, if this is the first span in the dispatch of a queue."""
        running = running_dispatch.get()
        if not self._links_queued or running is None or running is _traced_dispatch.get():
            return []
        # The worker dispatches in the context of the event, so this needs no reset.
        _traced_dispatch.set(running)
        poster = trace.get_current_span().get_span_context()
        return [trace.Link(poster)] if poster.is_valid else []

    def _start_span(
        self,
        record: DispatchRecord | ListenerRecord,
        name: str,
        attributes: dict[str, Any],
        links: list[trace.Link] | None = None,
    ) -> None:
        # A span with links starts a trace: the current span is not its parent.
        context = trace.set_span_in_context(trace.INVALID_SPAN) if links else None
        span = self._tracer.start_span(name, context, attributes=attributes, links=links)
        otel_token = otel.attach(trace.set_span_in_context(span))
        self._open_spans[record] = _OpenSpan(span, otel_token, _span_context.set(None))

    def _end_span(self, record: DispatchRecord | ListenerRecord, attributes: dict[str, Any]) -> None:
        open_span = self._open_spans.pop(record, None)
        if open_span is None:
            return
        span, error = open_span.span, record.error
        if span.is_recording():
            span.set_attributes({"antiphon.outcome": record.outcome, **attributes})
            if error is not None and record.outcome == "failed":
                _record_error(span, error)
        span.end()
        try:
            _span_context.reset(open_span.context_token)
        except ValueError:
            # The coroutine was closed in another context, for example by the garbage collector.
            return
        otel.detach(open_span.otel_token)


class OpenTelemetryMetrics(Instrument):
    """An instrument that measures the durations of dispatches and of calls of listeners.

    The metrics are the histograms ``antiphon.dispatch.duration`` and ``antiphon.listener.duration``, in seconds, and
    the counter ``antiphon.listener.skipped``.

    The name of an event is an attribute only if a listener is registered for this very name. Otherwise names that only
    patterns match, such as ``order.4711.paid``, would each create a new series.

    Args:
        meter_provider: The provider of the meter; None for the global provider.

    Raises:
        TypeError: If ``meter_provider`` is not a meter provider.
    """

    __slots__ = ("_dispatch_duration", "_listener_duration", "_meter_provider", "_skipped")

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        _check_provider(meter_provider, "meter_provider", "get_meter", "MeterProvider")
        self._meter_provider = meter_provider
        meter = metrics.get_meter("antiphon", meter_provider=meter_provider)
        self._dispatch_duration = meter.create_histogram(
            "antiphon.dispatch.duration",
            "s",
            "The duration of dispatches.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._listener_duration = meter.create_histogram(
            "antiphon.listener.duration",
            "s",
            "The duration of calls of listeners.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._skipped = meter.create_counter(
            "antiphon.listener.skipped", "{call}", "The number of times that a listener was skipped."
        )

    def get_interest(self) -> Interest:
        """Return ``"nothing"`` as long as no meter provider is installed, because then nothing is measured."""
        provider = self._meter_provider or metrics.get_meter_provider()
        # The providers of the API measure nothing. One of their classes is private.
        return "nothing" if type(provider).__module__.startswith("opentelemetry.metrics") else "all"

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Measure a dispatch."""
        attributes = {"antiphon.event.class": _get_class_name(record.event), **_get_outcome(record)}
        if record.name is not None and any(call.subscription.key == record.name for call in record.listeners):
            attributes["antiphon.event.name"] = safe_str(record.name)
        self._dispatch_duration.record(record.duration or 0.0, attributes)

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Measure a call."""
        self._listener_duration.record(record.duration or 0.0, {**_get_listener(record), **_get_outcome(record)})

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Count a listener that was skipped."""
        self._skipped.add(1, {**_get_listener(record), "antiphon.reason": str(record.skipped_because)})


def _check_provider(provider: object, parameter: str, method: str, kind: str) -> None:
    if provider is not None and (isinstance(provider, type) or not callable(getattr(provider, method, None))):
        raise TypeError(
            f"{parameter}= must be a {kind} of OpenTelemetry, or None for the global one; got {safe_repr(provider)}"
        )


def _get_class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _get_listener(record: ListenerRecord) -> dict[str, str]:
    return {"antiphon.listener": record.listener_name, "antiphon.key": safe_str(record.subscription.key)}


def _get_outcome(record: DispatchRecord | ListenerRecord) -> dict[str, str]:
    attributes: dict[str, str] = {"antiphon.outcome": record.outcome}
    if record.error is not None and record.outcome == "failed":
        attributes["error.type"] = _get_class_name(record.error)
    return attributes


def _record_error(span: trace.Span, error: BaseException) -> None:
    kind = type(error)
    description = kind.__qualname__
    try:
        description = f"{description}: {error}"
        span.record_exception(error)
    except Exception:
        # The SDK calls ``str()`` on the error, which may raise. Record the error without it, and end the span.
        span.add_event(
            "exception",
            {
                "exception.type": _get_class_name(error),
                "exception.message": safe_repr(error),
                "exception.stacktrace": "".join(format_exception(kind, error, error.__traceback__)),
            },
        )
    span.set_status(trace.Status(trace.StatusCode.ERROR, description))
