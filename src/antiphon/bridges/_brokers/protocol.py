"""The protocols of a broker, and the records that pass between a broker and a bridge.

A broker stores the events of each partition of a channel in order. A group reads each event once, and remembers the
events that it has read and not acknowledged: they are pending.

Invariants:

- All times are in seconds, and each wait is a wait of AnyIO.
- `BridgeUnavailable` means that the connection is lost: the bridge opens the source again, and repeats the call.
  Every other exception ends the bridge.
- The bridge cancels a method of a source only if the bridge cannot end otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from antiphon.bridges._channel import Channel

__all__ = (
    "Broker",
    "DeadEntries",
    "DeadEntry",
    "Entry",
    "GroupHealth",
    "Message",
    "Postponed",
    "Receipt",
    "Source",
    "SourceOptions",
)


@dataclass(frozen=True, slots=True)
class Message:
    """An event that is ready to be published. It can be stored, and published later.

    Attributes:
        stream: The name of the channel.
        id: The id of the event.
        data: The event in its envelope.
        key: The key that selects the partition; if it is None, the id does.
    """

    stream: str
    id: str
    data: bytes
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The broker has stored an event.

    Attributes:
        id: The id of the event.
        stream: The name of the channel.
        partition: The partition.
        position: The position of the event in the partition. Only the broker knows its meaning.
        duplicate: Whether the broker had stored an event with this id already, and did not store it again.
    """

    id: str
    stream: str
    partition: int
    position: str
    duplicate: bool = False


class Entry(NamedTuple):
    """An event that a source has read."""

    #: Its position.
    position: str
    #: The event in its envelope; None if the broker has removed it before it was read.
    data: bytes | None
    #: How many times it has been read for this group, with this one.
    attempt: int = 1
    #: The only group that it is for; None if it is for all.
    group: str | None = None


class Postponed(NamedTuple):
    """A pending event that is to be read again later."""

    #: Its position.
    position: str
    #: The number of seconds until a consumer may read it again, at most ``claim_after``.
    delay: float
    #: How many attempts have been made. The next one has the number ``attempts + 1``.
    attempts: int


class SourceOptions(NamedTuple):
    """How a bridge reads a partition."""

    #: The channel.
    channel: Channel
    #: The partition.
    partition: int
    #: The group; None to read all events from now on.
    group: str | None
    #: The name of the reader, which is unique.
    consumer: str
    #: The number of seconds after which others may read a pending event that is not renewed.
    claim_after: float
    #: Whether only one consumer of the group reads the partition at a time.
    ordered: bool = False


class Source(Protocol):
    """Reads the events of a partition. It keeps its place when it is closed and opened again."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Connect. The group exists afterwards: a new group receives the events that are published from now on.

        The end of the block gives up the ownership of the partition.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
            ConfigurationError: If the channel has another number of partitions in the broker.
        """
        ...

    async def read(self, limit: int, /) -> Sequence[Entry]:
        """Wait for events that the group has not read, and return up to ``limit`` of them.

        They are pending afterwards. Return nothing if `wake` was called, and if an ordered source does not own the
        partition.
        """
        ...

    async def wake(self) -> None:
        """Let a `read` that waits return."""
        ...

    async def redelivered(self, limit: int, /) -> Sequence[Entry]:
        """Return up to ``limit`` pending events that are due, without waiting. Their attempts are counted.

        They are due if they were postponed, or if their consumer has not renewed them for ``claim_after`` seconds. In
        an ordered source all pending events are due, in the order of their positions.
        """
        ...

    async def ack(self, positions: Sequence[str], /) -> None:
        """Acknowledge events. They are not pending any more."""
        ...

    async def renew(self, positions: Sequence[str], /) -> bool:
        """Keep pending events for another ``claim_after`` seconds, unless another consumer has them already.

        An ordered source also takes or keeps the ownership of its partition for ``claim_after`` seconds.

        Returns:
            Whether the source owns the partition; True if it is not ordered.
        """
        ...

    async def later(self, postponed: Sequence[Postponed], /) -> None:
        """Let pending events of this consumer be read again later, with a delay of their own."""
        ...

    async def bury(self, position: str, data: bytes, reason: str, attempts: int, /) -> None:
        """Move a pending event of this consumer to the dead letters of the group."""
        ...


class DeadEntry(NamedTuple):
    """A dead letter in a broker."""

    #: Its position among the dead letters.
    position: str
    #: The bytes of the event, as they were received.
    data: bytes
    #: Why it is here.
    reason: str
    #: How many attempts were made.
    attempts: int
    #: When it was moved here, in seconds since 1970.
    time: float


class DeadEntries(Protocol):
    """The dead letters of a group in a partition."""

    async def read(self, after: str | None, limit: int, /) -> Sequence[DeadEntry]:
        """Return up to ``limit`` dead letters after a position, the oldest first."""
        ...

    async def requeue(self, position: str, /) -> bool:
        """Publish a dead letter again, for this group only, and drop it. Return whether it existed."""
        ...

    async def drop(self, position: str, /) -> bool:
        """Drop a dead letter. Return whether it existed."""
        ...


class GroupHealth(NamedTuple):
    """The state of a group in a partition."""

    #: How many events the group has not read.
    lag: int = 0
    #: How many events it has read and not acknowledged.
    pending: int = 0
    #: The age in seconds of the oldest event that is unread or pending; None if there is none.
    oldest: float | None = None
    #: How many dead letters it has.
    dead: int = 0
    #: How many events of the partition the group has passed since the partition exists.
    read: int = 0
    #: How many events of the partition the broker has removed, because of their age.
    removed: int = 0


class Broker(Protocol):
    """Stores events, and gives them to the groups of other processes."""

    def running(self, channels: Sequence[Channel], /) -> AbstractAsyncContextManager[None]:
        """Connect, and declare the channels.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
            ConfigurationError: If a channel has another number of partitions in the broker.
        """
        ...

    async def publish(self, channel: Channel, partition: int, message: Message, /) -> Receipt:
        """Store an event, unless an event with its id was stored recently.

        Raises:
            PublishFailed: If it is not stored.
            PublishUncertain: If it may be stored.
        """
        ...

    def source(self, options: SourceOptions, /) -> Source:
        """Return a source that is not open yet."""
        ...

    async def health(self, channel: Channel, partition: int, group: str, /) -> GroupHealth:
        """Return the state of a group.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
        """
        ...

    def dead(self, channel: Channel, partition: int, group: str, /) -> DeadEntries:
        """Return the dead letters of a group."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """Settings of the broker that may lose events, or that cannot be read."""
        ...
