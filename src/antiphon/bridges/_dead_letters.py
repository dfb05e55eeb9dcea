"""The dead letters of a group: events that could not be handled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from antiphon.bridges._brokers.protocol import Broker, DeadEntries
from antiphon.bridges._channel import Channel
from antiphon.bridges._codec.envelope import decode_envelope
from antiphon.bridges._errors import CodecError

__all__ = ("DeadLetter", "iterate_dead_letters")

#: How many dead letters are read at a time.
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be handled.

    Attributes:
        stream: The name of the channel.
        partition: The partition.
        group: The group that could not handle it.
        position: Its position among the dead letters of the partition.
        data: Its bytes, as they were received.
        id: The id of the event; None if the bytes are not an event.
        type: The registered name of its type; None if the bytes are not an event.
        reason: Why it is here.
        attempts: How many attempts were made.
        time: When it was moved here, in UTC.
    """

    stream: str
    partition: int
    group: str
    position: str
    data: bytes
    id: str | None
    type: str | None
    reason: str
    attempts: int
    time: datetime
    _entries: DeadEntries = field(repr=False, compare=False)

    async def requeue(self) -> bool:
        """Publish the event again, for this group only, and drop the dead letter.

        Returns:
            Whether the dead letter still existed.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
        """
        return await self._entries.requeue(self.position)

    async def drop(self) -> bool:
        """Drop the dead letter.

        Returns:
            Whether the dead letter still existed.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
        """
        return await self._entries.drop(self.position)


async def iterate_dead_letters(broker: Broker, groups: Iterable[tuple[Channel, str]]) -> AsyncIterator[DeadLetter]:
    """Iterate over the dead letters of groups, the oldest first in each partition."""
    for channel, group in groups:
        for partition in range(channel.partitions):
            async for letter in _iterate_partition(broker, channel, partition, group):
                yield letter


async def _iterate_partition(broker: Broker, channel: Channel, partition: int, group: str) -> AsyncIterator[DeadLetter]:
    entries = broker.dead(channel, partition, group)
    after: str | None = None
    while page := await entries.read(after, _PAGE):
        for entry in page:
            id, type = _identify(entry.data)  # noqa: A001
            yield DeadLetter(
                stream=channel.name,
                partition=partition,
                group=group,
                position=entry.position,
                data=entry.data,
                id=id,
                type=type,
                reason=entry.reason,
                attempts=entry.attempts,
                time=datetime.fromtimestamp(entry.time, UTC),
                _entries=entries,
            )
        after = page[-1].position


def _identify(data: bytes) -> tuple[str | None, str | None]:
    try:
        envelope = decode_envelope(data)
    except CodecError:
        return None, None
    return envelope.id, envelope.type
