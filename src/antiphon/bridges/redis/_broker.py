"""The broker on Redis Streams."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from antiphon.bridges._brokers.protocol import (
    DeadEntries,
    DeadEntry,
    GroupHealth,
    Message,
    Receipt,
    Source,
    SourceOptions,
)
from antiphon.bridges._channel import Channel, check_partitions
from antiphon.bridges._checks import check_name, check_seconds
from antiphon.bridges._errors import BridgeUnavailable, ConfigurationError, PublishFailed
from antiphon.bridges.redis._client import Connector, RedisClient, ServerError
from antiphon.bridges.redis._connections import Connections
from antiphon.bridges.redis._keys import PartitionKeys
from antiphon.bridges.redis._publishing import BatchPublisher
from antiphon.bridges.redis._scripts import DROP, HEALTH, REQUEUE
from antiphon.bridges.redis._source import RedisSource

__all__ = ("RedisStreams",)


class RedisStreams:
    """A broker on Redis Streams, in Redis 7 or later, or Valkey.

    Each event is an entry of a stream. Its durability is that of the server: set ``appendonly yes`` there, and a
    ``maxmemory-policy`` that does not remove streams. Each bridge needs a broker of its own, because the broker keeps
    the connections of its bridge.

    Args:
        url: The address: ``redis://host:port/db``, ``rediss://...`` with TLS, or ``unix:///path``. For a cluster, that
            of one node; the others are found there.
        prefix: The prefix of all keys. An ACL for it is ``~{prefix:*``.
        credentials: The name and the password of the user; by default those in the URL.
        tls: The context of TLS; by default made from the URL.
        publish_timeout: The seconds within which a publish ends.
        dedup: The seconds for which the ids of events are remembered. Each takes about 200 bytes in the server.

    Raises:
        ConfigurationError: If an argument is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "antiphon",
        credentials: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        publish_timeout: float = 5,
        dedup: float = 120,
    ) -> None:
        self._connector = Connector(url, credentials, tls)
        self._connections = Connections(self._connector)
        self._prefix = check_name(prefix, "prefix=")
        self._publish_timeout = check_seconds(publish_timeout, "publish_timeout=")
        self._dedup = check_seconds(dedup, "dedup=")
        self._is_running = False
        self._publisher: BatchPublisher | None = None
        self._declared: set[Channel] = set()
        self._declaring: dict[Channel, anyio.Event] = {}

    @property
    def warnings(self) -> Sequence[str]:
        """Settings of the server that lose events, or that cannot be read."""
        return tuple(self._connections.warnings)

    @asynccontextmanager
    async def running(self, channels: Sequence[Channel], /) -> AsyncGenerator[None]:
        """Connect, and declare the channels."""
        if self._is_running:
            raise ConfigurationError(f"{self!r} runs for another bridge: create a broker for each bridge")
        self._is_running = True
        try:
            async with self._connections.opened() as tasks:
                self._publisher = BatchPublisher(
                    self._connections.get_client,
                    tasks,
                    prefix=self._prefix,
                    seconds=self._publish_timeout,
                    dedup=self._dedup,
                )
                for channel in channels:
                    await self._declare(channel)
                yield
        finally:
            self._is_running = False
            self._publisher = None
            self._declared.clear()

    async def _declare(self, channel: Channel) -> None:
        while channel not in self._declared:
            # Many tasks may publish to a new channel at the same time. They wait for the first one, and go on together.
            declaring = self._declaring.get(channel)
            if declaring is not None:
                await declaring.wait()
                continue
            declaring = self._declaring[channel] = anyio.Event()
            try:
                await self._store_partitions(channel)
            finally:
                del self._declaring[channel]
                declaring.set()

    async def _store_partitions(self, channel: Channel) -> None:
        key = PartitionKeys(self._prefix, channel, 0).partitions
        client = self._connections.get_client(key)
        await client.run(lambda: client.commands.setnx(key, str(channel.partitions)))
        stored: Any = await client.run(lambda: client.commands.get(key))
        check_partitions(channel, int(stored))
        self._declared.add(channel)

    async def publish(self, channel: Channel, partition: int, message: Message, /) -> Receipt:
        """Store an event, unless an event with its id was stored recently."""
        publisher = self._publisher
        if publisher is None:
            raise PublishFailed(f"the event {message.id!r} is not stored: the broker does not run", message.id)
        if channel not in self._declared:
            try:
                await self._declare(channel)
            except (BridgeUnavailable, ServerError) as exc:
                raise PublishFailed(f"the event {message.id!r} is not stored: {exc}", message.id) from exc
        return await publisher.publish(channel, partition, message)

    def source(self, options: SourceOptions, /) -> Source:
        """Return a source that is not open yet."""
        return RedisSource(self._connections, options, self._prefix)

    async def health(self, channel: Channel, partition: int, group: str, /) -> GroupHealth:
        """Return the state of a group."""
        keys = PartitionKeys(self._prefix, channel, partition)
        client = self._connections.get_client(keys.stream)
        found: list[int] = await client.call(HEALTH, [keys.stream, keys.dead(group)], [group])
        lag, pending, oldest, dead, read, removed = found
        return GroupHealth(lag, pending, None if oldest < 0 else oldest / 1000, dead, read, removed)

    def dead(self, channel: Channel, partition: int, group: str, /) -> DeadEntries:
        """Return the dead letters of a group."""
        return _RedisDeadEntries(self._connections, PartitionKeys(self._prefix, channel, partition), group)

    def __repr__(self) -> str:
        return f"RedisStreams({self._connector.address!r}, prefix={self._prefix!r})"


class _RedisDeadEntries:
    """The dead letters of a group in a partition."""

    def __init__(self, connections: Connections, keys: PartitionKeys, group: str) -> None:
        self._connections = connections
        self._stream = keys.stream
        self._dead = keys.dead(group)
        self._group = group

    def _get_client(self) -> RedisClient:
        return self._connections.get_client(self._stream)

    async def read(self, after: str | None, limit: int, /) -> Sequence[DeadEntry]:
        """Return dead letters after a position."""
        client, dead, first = self._get_client(), self._dead, "-" if after is None else f"({after}"
        found: Any = await client.run(lambda: client.commands.xrange(dead, start=first, count=limit))
        return [_make_dead_entry(entry.identifier.decode(), entry.field_values) for entry in found]

    async def requeue(self, position: str, /) -> bool:
        """Publish a dead letter again, for this group only."""
        return bool(await self._get_client().call(REQUEUE, [self._stream, self._dead], [self._group, position]))

    async def drop(self, position: str, /) -> bool:
        """Drop a dead letter."""
        return bool(await self._get_client().call(DROP, [self._dead], [position]))


def _make_dead_entry(position: str, fields: Any) -> DeadEntry:
    return DeadEntry(
        position,
        fields.get(b"e", b""),
        fields.get(b"reason", b"").decode(errors="replace"),
        int(fields.get(b"attempts", 0)),
        int(position.partition("-")[0]) / 1000,
    )
