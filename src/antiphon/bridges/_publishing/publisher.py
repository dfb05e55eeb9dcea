"""Publishing: from an event to a message, and from a message to the broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from antiphon.bridges._brokers.protocol import Broker, Message, Receipt
from antiphon.bridges._channel import Channel
from antiphon.bridges._checks import show
from antiphon.bridges._codec.envelope import Envelope, check_extensions, encode_envelope
from antiphon.bridges._codec.registry import EventRegistry
from antiphon.bridges._delivery import delivery
from antiphon.bridges._errors import CodecError
from antiphon.bridges._tracing import get_trace

__all__ = ("Publisher",)


class Publisher:
    """Makes messages of events, and gives them to the broker.

    Args:
        broker: The broker.
        events: The registry.
        source: The ``source`` of the events in CloudEvents.
        origin: The id of the bridge.
        max_hops: How many bridges a chain of events may pass.
    """

    def __init__(self, broker: Broker, events: EventRegistry, *, source: str, origin: str, max_hops: int) -> None:
        self._broker: Final = broker
        self._events: Final = events
        self._source: Final = source
        self._origin: Final = origin
        self._max_hops: Final = max_hops

    def prepare(
        self,
        event: object,
        channel: Channel,
        *,
        name: object,
        id: object,  # noqa: A002  the name of the attribute in CloudEvents
        extensions: Mapping[str, Any],
    ) -> Message:
        """Encode an event in the current context.

        Raises:
            CodecError: If the event, its name, its id or an extension cannot be encoded, if the message is too large,
                or if the chain of events has passed too many bridges.
        """
        registered, data = self._events.encode(event)
        if id is None:
            id = uuid.uuid4().hex  # noqa: A001
        for value, what in ((name, "the name of an event that is published"), (id, "id=")):
            if (value is not None or what == "id=") and (not isinstance(value, str) or not value):
                raise CodecError(f"{what} is a string that is not empty; got {show(value)}")
        check_extensions(extensions)
        cause = delivery()
        hops = 0 if cause is None else cause.hops + 1
        if hops > self._max_hops:
            raise CodecError(
                f"the chain of events that caused this {registered.name!r} has passed {hops} bridges, and max_hops= is "
                f"{self._max_hops}; two programs may answer each other without end"
            )
        trace = get_trace()
        key = registered.get_key(event)
        envelope = Envelope(
            id=str(id),
            source=self._source,
            type=registered.name,
            data=data,
            version=registered.version,
            time=datetime.fromtimestamp(time.time(), UTC),
            subject=None if name is None else str(name),
            key=key,
            hops=hops,
            cause=None if cause is None else cause.id,
            origin=self._origin,
            traceparent=None if trace is None else trace.traceparent,
            tracestate=None if trace is None else trace.tracestate,
            extensions=extensions,
        )
        encoded = encode_envelope(envelope)
        if len(encoded) > self._events.max_bytes:
            raise CodecError(
                f"the event {registered.name!r} has {len(encoded)} bytes, and max_bytes= is {self._events.max_bytes}; "
                f"publish a reference to large data"
            )
        return Message(channel.name, str(id), encoded, key)

    async def send(self, message: Message, channel: Channel) -> Receipt:
        """Publish a message.

        Raises:
            PublishFailed: If it is not stored.
            PublishUncertain: If it may be stored.
        """
        partition = channel.get_partition(message.id if message.key is None else message.key)
        return await self._broker.publish(channel, partition, message)
