"""What a `MemoryBroker` stores: the events of each partition, and the place and the pending events of each group."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import anyio

from antiphon.bridges._brokers.protocol import DeadEntry, GroupHealth
from antiphon.bridges._channel import Channel, check_partitions
from antiphon.bridges._errors import BridgeUnavailable

__all__ = ("Group", "Partition", "Pending", "Store", "StoredEvent")


class Store:
    """The partitions of a broker."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], Partition] = {}
        #: False while a test plays a broker that cannot be reached.
        self.is_available = True
        self._declared: dict[str, int] = {}

    def declare(self, channel: Channel) -> None:
        """Remember the number of partitions of a channel, and check that it stays the same.

        Raises:
            ConfigurationError: If it has changed.
        """
        check_partitions(channel, self._declared.setdefault(channel.name, channel.partitions))

    def check_available(self) -> None:
        """Check that the broker can be reached.

        Raises:
            BridgeUnavailable: If it cannot.
        """
        if not self.is_available:
            raise BridgeUnavailable("the broker in memory is not available")

    def get_partition(self, channel: Channel, partition: int) -> Partition:
        """Return a partition, which is created if it does not exist."""
        return self.partitions.setdefault((channel.name, partition), Partition())


@dataclass
class StoredEvent:
    """An event in a partition."""

    number: int
    time: float
    data: bytes
    group: str | None


@dataclass
class Pending:
    """An event that a group has read and not acknowledged."""

    event: StoredEvent
    consumer: str
    attempts: int
    due: float


@dataclass
class Group:
    """What a group has read, and what it has not acknowledged."""

    read: int
    pending: dict[int, Pending] = field(default_factory=dict[int, Pending])
    dead: dict[int, DeadEntry] = field(default_factory=dict[int, DeadEntry])
    owner: str | None = None
    owned_until: float = 0


class Partition:
    """The events of a partition, and its groups."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.added = 0
        self.groups: dict[str, Group] = {}
        self._ids: dict[str, tuple[int, float]] = {}
        self._changed = anyio.Event()

    def add(
        self, data: bytes, message_id: str | None, retain: float, dedup: float, group: str | None = None
    ) -> tuple[int, bool]:
        """Store an event. Return its number, and whether it had been stored before."""
        now = anyio.current_time()
        self._ids = {known: (number, until) for known, (number, until) in self._ids.items() if until > now}
        if message_id is not None and message_id in self._ids:
            return self._ids[message_id][0], True
        self.added += 1
        if message_id is not None:
            self._ids[message_id] = self.added, now + dedup
        self.events.append(StoredEvent(self.added, now, data, group))
        self.events = [event for event in self.events if event.time >= now - retain]
        self.notify()
        return self.added, False

    def read_after(self, number: int, limit: int) -> list[StoredEvent]:
        """Return stored events after a number."""
        first = bisect_right(self.events, number, key=lambda event: event.number)
        return self.events[first : first + limit]

    def is_stored(self, event: StoredEvent) -> bool:
        """Return whether an event has not been removed because of its age."""
        return bool(self.events) and event.number >= self.events[0].number

    def notify(self) -> None:
        """Wake up all readers."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait(self) -> None:
        """Wait for `notify`."""
        await self._changed.wait()

    def get_health(self, name: str) -> GroupHealth:
        """Return the state of a group."""
        group = self.groups.get(name)
        if group is None:
            return GroupHealth()
        unread = self.read_after(group.read, self.added)
        times = [event.time for event in unread[:1]] + [pending.event.time for pending in group.pending.values()]
        return GroupHealth(
            lag=len(unread),
            pending=len(group.pending),
            oldest=anyio.current_time() - min(times) if times else None,
            dead=len(group.dead),
            read=group.read,
            removed=self.added - len(self.events),
        )
