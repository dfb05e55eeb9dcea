"""A broker in the memory of the process, for tests and for development."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from antiphon.bridges._brokers.memory_store import Group, Partition, Pending, Store, StoredEvent
from antiphon.bridges._brokers.protocol import (
    DeadEntries,
    DeadEntry,
    Entry,
    GroupHealth,
    Message,
    Postponed,
    Receipt,
    Source,
    SourceOptions,
)
from antiphon.bridges._channel import Channel
from antiphon.bridges._checks import check_seconds
from antiphon.bridges._errors import BridgeUnavailable, PublishFailed

__all__ = ("MemoryBroker",)


class MemoryBroker:
    """A broker that stores events in memory. The bridges of one event loop can share it, as processes share a server.

    It keeps the contract of a real broker, and uses the clock of the event loop. With virtual time, a test of retries
    and crashes does not wait. Its events are lost when the process ends.

    Args:
        dedup: The number of seconds for which it remembers the ids of events.

    Raises:
        ConfigurationError: If ``dedup`` is not a positive number of seconds.
    """

    def __init__(self, *, dedup: float = 120) -> None:
        self._dedup: Final = check_seconds(dedup, "dedup=")
        self._store = Store()

    @property
    def warnings(self) -> Sequence[str]:
        """Always empty."""
        return ()

    def set_available(self, available: bool, /) -> None:
        """Let a test end all connections and refuse new ones, or accept them again.

        Args:
            available: Whether the broker can be reached.
        """
        self._store.is_available = available
        for partition in self._store.partitions.values():
            partition.notify()

    @asynccontextmanager
    async def running(self, channels: Sequence[Channel], /) -> AsyncGenerator[None]:
        """Declare the channels."""
        await checkpoint()
        self._store.check_available()
        for channel in channels:
            self._store.declare(channel)
        yield

    async def publish(self, channel: Channel, partition: int, message: Message, /) -> Receipt:
        """Store an event, unless an event with its id was stored recently."""
        await checkpoint()
        try:
            self._store.check_available()
        except BridgeUnavailable as exc:
            raise PublishFailed(f"the event {message.id!r} is not stored: {exc}", message.id) from exc
        self._store.declare(channel)
        stored = self._store.get_partition(channel, partition)
        number, duplicate = stored.add(message.data, message.id, channel.retain.total_seconds(), self._dedup)
        return Receipt(message.id, channel.name, partition, str(number), duplicate)

    def source(self, options: SourceOptions, /) -> Source:
        """Return a source that is not open yet."""
        return _MemorySource(self._store, options)

    async def health(self, channel: Channel, partition: int, group: str, /) -> GroupHealth:
        """Return the state of a group."""
        await checkpoint()
        self._store.check_available()
        return self._store.get_partition(channel, partition).get_health(group)

    def dead(self, channel: Channel, partition: int, group: str, /) -> DeadEntries:
        """Return the dead letters of a group."""
        retain = channel.retain.total_seconds()
        return _MemoryDeadEntries(self._store.get_partition(channel, partition), group, retain)

    def __repr__(self) -> str:
        return "MemoryBroker()"


class _MemorySource:
    """Reads the events of a partition of a `MemoryBroker`."""

    def __init__(self, store: Store, options: SourceOptions) -> None:
        self._store = store
        self._options = options
        self._woken = False
        #: The number of the last event of a fan-out; None before the source is opened.
        self._position: int | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Create the group, or start at the end of the partition."""
        await checkpoint()
        self._store.check_available()
        self._store.declare(self._options.channel)
        partition = self._partition
        if self._options.group is not None:
            partition.groups.setdefault(self._options.group, Group(partition.added))
        elif self._position is None:
            self._position = partition.added
        self._woken = False
        try:
            yield
        finally:
            if self._options.ordered and self._is_owner():
                self._group.owned_until = 0

    async def read(self, limit: int, /) -> Sequence[Entry]:
        """Wait for events that the group has not read."""
        await checkpoint()
        while True:
            self._store.check_available()
            if self._woken or not self._is_owner():
                self._woken = False
                return []
            found = self._partition.read_after(self._last, limit)
            if found:
                return [self._take(event) for event in found]
            await self._partition.wait()

    def _take(self, event: StoredEvent) -> Entry:
        if self._options.group is None:
            self._position = event.number
        else:
            group = self._group
            group.read = event.number
            group.pending[event.number] = Pending(event, self._options.consumer, 1, self._next_due)
        return Entry(str(event.number), event.data, 1, event.group)

    async def wake(self) -> None:
        """Let a `read` that waits return."""
        self._woken = True
        self._partition.notify()
        await checkpoint()

    async def redelivered(self, limit: int, /) -> Sequence[Entry]:
        """Return pending events that are due."""
        await checkpoint()
        self._store.check_available()
        if self._options.group is None or not self._is_owner():
            return []
        now = anyio.current_time()
        entries: list[Entry] = []
        for number, pending in sorted(self._group.pending.items()):
            if len(entries) < limit and (self._options.ordered or pending.due <= now):
                pending.consumer, pending.due = self._options.consumer, self._next_due
                pending.attempts += 1
                data = pending.event.data if self._partition.is_stored(pending.event) else None
                entries.append(Entry(str(number), data, pending.attempts, pending.event.group))
        return entries

    async def ack(self, positions: Sequence[str], /) -> None:
        """Acknowledge events."""
        await checkpoint()
        self._store.check_available()
        if self._is_owner():
            for position in positions:
                self._group.pending.pop(int(position), None)

    async def renew(self, positions: Sequence[str], /) -> bool:
        """Keep pending events, and the ownership."""
        await checkpoint()
        self._store.check_available()
        if self._options.ordered and not self._own():
            return False
        for pending in self._find_own(positions):
            pending.due = self._next_due
        return True

    def _own(self) -> bool:
        group, now = self._group, anyio.current_time()
        if group.owner != self._options.consumer and group.owned_until > now:
            return False
        group.owner, group.owned_until = self._options.consumer, self._next_due
        return True

    async def later(self, postponed: Sequence[Postponed], /) -> None:
        """Let pending events be read again later."""
        await checkpoint()
        self._store.check_available()
        for position, delay, attempts in postponed:
            for pending in self._find_own([position]):
                pending.due, pending.attempts = anyio.current_time() + delay, attempts

    async def bury(self, position: str, data: bytes, reason: str, attempts: int, /) -> None:
        """Move a pending event to the dead letters."""
        await checkpoint()
        self._store.check_available()
        for pending in self._find_own([position]):
            number = pending.event.number
            del self._group.pending[number]
            self._group.dead[number] = DeadEntry(position, data, reason, attempts, time.time())

    def _find_own(self, positions: Sequence[str]) -> list[Pending]:
        """Return the pending events that this consumer still has, and may decide about."""
        if self._options.group is None or not self._is_owner():
            return []
        found = [self._group.pending.get(int(position)) for position in positions]
        return [pending for pending in found if pending is not None and pending.consumer == self._options.consumer]

    def _is_owner(self) -> bool:
        if not self._options.ordered or self._options.group is None:
            return True
        return self._group.owner == self._options.consumer and self._group.owned_until > anyio.current_time()

    @property
    def _partition(self) -> Partition:
        return self._store.get_partition(self._options.channel, self._options.partition)

    @property
    def _group(self) -> Group:
        group = self._options.group
        if group is None:
            raise RuntimeError("a fan-out has no group")
        # A group that has been deleted is made again from the start, so that no event is lost.
        return self._partition.groups.setdefault(group, Group(0))

    @property
    def _last(self) -> int:
        return self._position or 0 if self._options.group is None else self._group.read

    @property
    def _next_due(self) -> float:
        return anyio.current_time() + self._options.claim_after


class _MemoryDeadEntries:
    """The dead letters of a group in a partition of a `MemoryBroker`."""

    def __init__(self, partition: Partition, group: str, retain: float) -> None:
        self._partition = partition
        self._name = group
        self._retain = retain

    async def read(self, after: str | None, limit: int, /) -> Sequence[DeadEntry]:
        """Return dead letters after a position."""
        await checkpoint()
        first = 0 if after is None else int(after)
        found = [entry for number, entry in sorted(self._dead.items()) if number > first]
        return found[:limit]

    async def requeue(self, position: str, /) -> bool:
        """Publish a dead letter again, for this group only."""
        await checkpoint()
        entry = self._dead.pop(int(position), None)
        if entry is not None:
            self._partition.add(entry.data, None, self._retain, 0, self._name)
        return entry is not None

    async def drop(self, position: str, /) -> bool:
        """Drop a dead letter."""
        await checkpoint()
        return self._dead.pop(int(position), None) is not None

    @property
    def _dead(self) -> dict[int, DeadEntry]:
        group = self._partition.groups.get(self._name)
        return {} if group is None else group.dead
