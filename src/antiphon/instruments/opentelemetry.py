"""An instrument that makes OpenTelemetry spans: one for each dispatch, and one for each of its listeners.

It needs the extra ``otel``: ``pip install 'antiphon[otel]'``.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from traceback import format_exception
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from antiphon._util.naming import safe_repr, safe_str
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord

try:
    from opentelemetry import context as otel
    from opentelemetry import trace
except ImportError as _missing:
    raise ImportError(
        "antiphon.instruments.opentelemetry makes spans of OpenTelemetry, whose API is not installed: "
        "pip install 'antiphon[otel]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

__all__ = ("OpenTelemetryInstrument",)


class _Open(NamedTuple):
    """A span that has not ended."""

    span: trace.Span
    #: What OpenTelemetry wants back when the span is no longer the current one.
    attached: Any
    #: The same of ours, which tells whether that would be in the same context.
    entered: Token[None]


#: Set where OpenTelemetry is given a span, and reset where it is to be taken back, which shows whether it can be.
_here: Final[ContextVar[None]] = ContextVar("here")


class OpenTelemetryInstrument(Instrument):
    """Makes a span for each dispatch, and within it one for each call of a listener.

    While they run, they are the current spans: what is dispatched in a listener, and spans that its own code
    makes, are their children; so is what it posts to a queue. The span of a dispatch is a child of the span
    that is current where it was started.

    An error is recorded on the span, whose status is ERROR. A cancellation is no error: it stands in the
    attribute ``antiphon.outcome`` as ``"cancelled"``, and the status stays unset.

    Args:
        tracer_provider: Where the spans go; None for the global provider.
        listeners: Whether the calls of listeners have spans. If not, what runs in them is in the span of the dispatch.
    """

    __slots__ = ("_listeners", "_open", "_tracer")

    def __init__(self, tracer_provider: trace.TracerProvider | None = None, *, listeners: bool = True) -> None:
        self._tracer = trace.get_tracer("antiphon", tracer_provider=tracer_provider)
        self._listeners = listeners
        # Weak, for what never ends since its event loop has gone.
        self._open: WeakKeyDictionary[DispatchRecord | ListenerRecord, _Open] = WeakKeyDictionary()

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Open the span of a dispatch."""
        kind = type(record.event).__qualname__
        attributes = {
            "antiphon.event.class": f"{type(record.event).__module__}.{kind}",
            "antiphon.dispatcher": safe_repr(record.dispatcher),
            "antiphon.listeners": len(record.listeners),
        }
        if record.name is None:
            self._begin(record, f"dispatch {kind}", attributes)
        else:
            attributes["antiphon.event.name"] = name = safe_str(record.name)
            self._begin(record, f"dispatch {name}", attributes)

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Close it."""
        attributes = {} if record.stopped_by is None else {"antiphon.stopped_by": record.stopped_by.listener_name}
        self._end(record, attributes)

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Open the span of a call."""
        if self._listeners:
            attributes = {
                "antiphon.listener": record.listener_name,
                "antiphon.key": safe_str(record.subscription.key),
                "antiphon.priority": record.subscription.priority,
            }
            self._begin(record, f"listener {record.listener_name}", attributes)

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Close it."""
        self._end(record, {})

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Note it on the span of the dispatch."""
        opened = self._open.get(record.dispatch)
        if self._listeners and opened is not None:
            opened.span.add_event(
                "listener skipped",
                {"antiphon.listener": record.listener_name, "antiphon.reason": str(record.skipped_because)},
            )

    def _begin(self, record: DispatchRecord | ListenerRecord, name: str, attributes: dict[str, Any]) -> None:
        span = self._tracer.start_span(name, attributes=attributes)
        attached = otel.attach(trace.set_span_in_context(span))
        self._open[record] = _Open(span, attached, _here.set(None))

    def _end(self, record: DispatchRecord | ListenerRecord, attributes: dict[str, Any]) -> None:
        opened = self._open.pop(record, None)
        if opened is None:
            return
        span, error = opened.span, record.error
        if span.is_recording():
            span.set_attributes({"antiphon.outcome": record.outcome, **attributes})
            if error is not None and record.outcome == "failed":
                _record_error(span, error)
        span.end()
        try:
            _here.reset(opened.entered)
        except ValueError:
            # A coroutine that is closed elsewhere (by the garbage collector, say) has left the context of the span.
            return
        otel.detach(opened.attached)


def _record_error(span: trace.Span, error: BaseException) -> None:
    kind = type(error)
    description = kind.__qualname__
    try:
        description = f"{description}: {error}"
        span.record_exception(error)
    except Exception:
        # The SDK asks the error for its text. An error that has none must not keep its span from ending.
        span.add_event(
            "exception",
            {
                "exception.type": f"{kind.__module__}.{kind.__qualname__}",
                "exception.message": safe_repr(error),
                "exception.stacktrace": "".join(format_exception(kind, error, error.__traceback__)),
            },
        )
    span.set_status(trace.Status(trace.StatusCode.ERROR, description))
