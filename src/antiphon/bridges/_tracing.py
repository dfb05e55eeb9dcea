"""The trace of an event: that of OpenTelemetry if it is installed, otherwise that of the received event."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from antiphon.bridges._delivery import Trace, delivery

__all__ = ("continue_trace", "get_trace")


@cache
def _load_opentelemetry() -> tuple[Any, Any] | None:
    """Return OpenTelemetry's context module and its propagator of W3C Trace Context, None if it is not installed."""
    try:
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    return context, TraceContextTextMapPropagator()


def get_trace() -> Trace | None:
    """Return the trace in which an event is published now."""
    opentelemetry = _load_opentelemetry()
    if opentelemetry is not None:
        carrier: dict[str, str] = {}
        opentelemetry[1].inject(carrier)
        if "traceparent" in carrier:
            return Trace(carrier["traceparent"], carrier.get("tracestate"))
    current = delivery()
    return None if current is None else current.trace


@contextmanager
def continue_trace(trace: Trace | None) -> Generator[None]:
    """Let the spans that are created in the block be children of a received trace."""
    opentelemetry = _load_opentelemetry()
    if opentelemetry is None:
        yield
        return
    context, propagator = opentelemetry
    carrier: dict[str, str] = {}
    if trace is not None:
        carrier["traceparent"] = trace.traceparent
        if trace.tracestate is not None:
            carrier["tracestate"] = trace.tracestate
    # An empty context, not the current one: the bridge may have been entered within a span.
    token = context.attach(propagator.extract(carrier, context.Context()))
    try:
        yield
    finally:
        context.detach(token)
