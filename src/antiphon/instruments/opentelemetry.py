"""An instrument that creates OpenTelemetry spans for dispatches and listeners.

It requires the extra ``otel``: ``pip install 'antiphon[otel]'``.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from traceback import format_exception
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from antiphon._util.naming import safe_repr, safe_str
from antiphon.instruments import DispatchRecord, Instrument, Interest, ListenerRecord

try:
    from opentelemetry import context as otel
    from opentelemetry import trace
except ImportError as _missing:
    raise ImportError(
        "antiphon.instruments.opentelemetry requires the OpenTelemetry API, which is not installed: "
        "pip install 'antiphon[otel]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

__all__ = ("OpenTelemetryInstrument",)


#: The providers of the API. Their spans are never recorded, and do not change the current context.
_NON_RECORDING: Final = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)


class _OpenSpan(NamedTuple):
    """A span that has not ended, with the tokens to restore the context before it."""

    span: trace.Span
    #: The token to detach the span from the current context.
    otel_token: Any
    #: A token of the same context. Resetting it shows whether the context is still the same.
    context_token: Token[None]


#: Set when a span is attached. Resetting it raises in another context, where OpenTelemetry would only log an error.
_span_context: Final[ContextVar[None]] = ContextVar("span_context")


class OpenTelemetryInstrument(Instrument):
    """An instrument that creates a span for each dispatch, with a child span for each call of a listener.

    A span is the current span while its dispatch or listener runs. Spans that a listener creates, the dispatches that
    it starts and the events that it posts to a queue are therefore children of its span.
    The span of a dispatch is a child of the span that is current when the dispatch starts.

    An error is recorded on the span, and sets the status to ERROR. A cancellation is not an error: the attribute
    ``antiphon.outcome`` is ``"cancelled"``, and the status stays unset.

    Args:
        tracer_provider: The provider of the tracer; None for the global provider.
        listeners: Whether to create spans for the calls of listeners. Without them, spans that listeners create are
            children of the span of the dispatch.
    """

    __slots__ = ("_listeners", "_open_spans", "_tracer", "_tracer_provider")

    def __init__(self, tracer_provider: trace.TracerProvider | None = None, *, listeners: bool = True) -> None:
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
            "antiphon.event.class": f"{type(record.event).__module__}.{kind}",
            "antiphon.dispatcher": safe_repr(record.dispatcher),
            "antiphon.listeners": len(record.listeners),
        }
        if record.name is None:
            self._start_span(record, f"dispatch {kind}", attributes)
        else:
            attributes["antiphon.event.name"] = name = safe_str(record.name)
            self._start_span(record, f"dispatch {name}", attributes)

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """End the span of a dispatch."""
        attributes = {} if record.stopped_by is None else {"antiphon.stopped_by": record.stopped_by.listener_name}
        self._end_span(record, attributes)

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Start the span of a call."""
        if self._listeners:
            attributes = {
                "antiphon.listener": record.listener_name,
                "antiphon.key": safe_str(record.subscription.key),
                "antiphon.priority": record.subscription.priority,
            }
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

    def _start_span(self, record: DispatchRecord | ListenerRecord, name: str, attributes: dict[str, Any]) -> None:
        span = self._tracer.start_span(name, attributes=attributes)
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
                "exception.type": f"{kind.__module__}.{kind.__qualname__}",
                "exception.message": safe_repr(error),
                "exception.stacktrace": "".join(format_exception(kind, error, error.__traceback__)),
            },
        )
    span.set_status(trace.Status(trace.StatusCode.ERROR, description))
