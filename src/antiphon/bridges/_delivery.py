"""The delivery of a received event, which its listeners can read."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from antiphon.bridges._codec.envelope import Envelope

__all__ = ("CurrentDelivery", "Delivery", "Trace", "current_delivery", "delivery", "make_delivery")


class Trace(NamedTuple):
    """The trace of an event, as W3C Trace Context defines it."""

    #: The header ``traceparent``, which contains the ids of the trace and of the span that published the event.
    traceparent: str
    #: The header ``tracestate``, or None.
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The attributes of a received event, without its data.

    Attributes:
        id: Its id. A retry has the same id.
        source: Where it was published: the ``source=`` of that bridge.
        type: The registered name of its type.
        time: When it was published, in UTC; None if the event does not contain the time.
        stream: The name of the channel.
        partition: The partition of the channel.
        group: The group; None in a fan-out.
        attempt: The number of this delivery, which starts at 1.
        key: The key of the event; None if it has none.
        hops: How many bridges the chain of events has passed before this event.
        cause: The id of the received event that caused this one; None if there is none.
        extensions: The extensions of the event.
        trace: The trace of the event; None if it has none.
    """

    id: str
    source: str
    type: str
    time: datetime | None
    stream: str
    partition: int
    group: str | None
    attempt: int
    key: str | None
    hops: int
    cause: str | None
    extensions: Mapping[str, str | int | bool]
    trace: Trace | None


def make_delivery(envelope: Envelope, stream: str, partition: int, group: str | None, attempt: int) -> Delivery:
    """Return the delivery of an envelope."""
    trace = None if envelope.traceparent is None else Trace(envelope.traceparent, envelope.tracestate)
    return Delivery(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        time=envelope.time,
        stream=stream,
        partition=partition,
        group=group,
        attempt=attempt,
        key=envelope.key,
        hops=envelope.hops,
        cause=envelope.cause,
        extensions=envelope.extensions,
        trace=trace,
    )


class CurrentDelivery(NamedTuple):
    """The delivery in whose context some code runs, with its event."""

    delivery: Delivery
    event: Any
    #: The bridge that has received the event.
    origin: str


#: Copied with the context: by the tasks of a listener, and by queues, which dispatch after the delivery has ended.
current_delivery: Final[ContextVar[CurrentDelivery | None]] = ContextVar("current_delivery", default=None)


def delivery() -> Delivery | None:
    """Return the delivery of the received event that the current code handles.

    Returns:
        The delivery; None if the code does not run because of a received event.
    """
    current = current_delivery.get()
    return None if current is None else current.delivery
