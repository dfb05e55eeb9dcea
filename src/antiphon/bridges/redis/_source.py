"""Reading a partition of Redis Streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from antiphon.bridges._brokers.protocol import Entry, Postponed, SourceOptions
from antiphon.bridges._errors import BridgeUnavailable
from antiphon.bridges.redis._client import RedisClient, ServerError
from antiphon.bridges.redis._connections import Connections
from antiphon.bridges.redis._keys import PartitionKeys
from antiphon.bridges.redis._scripts import ACK, BURY, CLOSE, LATER, OPEN, READ_FENCED, REDELIVERED, RENEW

__all__ = ("RedisSource",)

#: How long a read waits in the server. A read that is not woken up ends after this time.
_BLOCK_SECONDS: Final = 5.0

#: How often CLIENT UNBLOCK is repeated: it has no effect if it overtakes the read.
_UNBLOCK_SECONDS: Final = 0.05

#: The seconds after which the name of a consumer without pending events is removed.
_REAP_SECONDS: Final = 3600.0


class RedisSource:
    """Reads a partition.

    Args:
        connections: The clients for commands that do not wait.
        options: What to read.
        prefix: The prefix of the keys.
    """

    def __init__(self, connections: Connections, options: SourceOptions, prefix: str) -> None:
        self._connections = connections
        self._options = options
        self._keys = PartitionKeys(prefix, options.channel, options.partition)
        self._group = options.group or ""
        self._reader: RedisClient | None = None
        self._reader_id = 0
        self._is_reading = self._is_woken = False
        #: Whether the group has existed. If it vanishes, it is made again from the start.
        self._has_existed = False
        #: The last position of a fan-out, which is kept when the connection is lost.
        self._position: str | None = None
        #: Proves the ownership of the partition; empty without it.
        self._token = ""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Connect, and create the group."""
        # A client of its own, with one connection: a read that waits in the server would keep a place in the pool of
        # the others, and for ever if it was cancelled. With an error of the connection, the whole client is replaced.
        connector = await self._connections.find_connector(self._keys.stream)
        async with RedisClient.opened(connector, 1) as reader:
            if self._options.group is None:
                await self._find_end(reader)
            else:
                start = "0" if self._has_existed else "$"
                reap = round(max(_REAP_SECONDS, 10 * self._options.claim_after) * 1000)
                await reader.call(OPEN, [self._keys.stream], [self._group, self._options.consumer, start, reap])
                self._has_existed = True
            self._reader_id = await reader.run(reader.commands.client_id)
            self._reader, self._is_woken = reader, False
            try:
                yield
            finally:
                self._reader = None
                if self._options.group is not None:
                    with anyio.CancelScope(shield=True), suppress(BridgeUnavailable, ServerError):
                        await self._call(CLOSE, [self._owner], [self._group, self._options.consumer, self._token])
                        # Without an answer, the ownership may last. Keep its proof for the next connection: without
                        # it, this process would wait for the end of its own lease.
                        self._token = ""

    async def _find_end(self, reader: RedisClient) -> None:
        # Not "$" in each read, which would skip what is published between two reads, and while the connection is lost.
        if self._position is None:
            stream = self._keys.stream
            last: Any = await reader.run(lambda: reader.commands.xrevrange(stream, count=1))
            self._position = last[0].identifier.decode() if last else "0-0"

    async def read(self, limit: int, /) -> Sequence[Entry]:
        """Wait for events that the group has not read."""
        if self._is_woken:
            self._is_woken = False
            await checkpoint()
            return []
        if self._options.group is None:
            return await self._read_fan_out(limit)
        if self._options.ordered:
            return await self._read_fenced(limit)
        reader, group, consumer, streams = self._get_reader(), self._group, self._options.consumer, self._keys.stream
        found = await self._wait_in_server(
            lambda: reader.commands.xreadgroup(
                group, consumer, {streams: b">"}, count=limit, block=round(_BLOCK_SECONDS * 1000)
            )
        )
        return _parse(found)

    async def _read_fan_out(self, limit: int) -> Sequence[Entry]:
        reader, stream, position = self._get_reader(), self._keys.stream, self._position or "0-0"
        found = await self._wait_in_server(
            lambda: reader.commands.xread({stream: position}, count=limit, block=round(_BLOCK_SECONDS * 1000))
        )
        entries = _parse(found)
        if entries:
            self._position = entries[-1].position
        return entries

    async def _read_fenced(self, limit: int) -> Sequence[Entry]:
        reader, stream = self._get_reader(), self._keys.stream
        arguments: list[str | bytes | int] = [self._group, self._options.consumer, self._token, limit]
        found: Any = await reader.call(READ_FENCED, [stream, self._owner], arguments)
        if isinstance(found, bytes):
            # Nothing is unread. Wait for something after the last event, without taking it.
            last = found.decode()
            await self._wait_in_server(
                lambda: reader.commands.xread({stream: last}, count=1, block=round(_BLOCK_SECONDS * 1000))
            )
            if self._is_woken:
                return []
            found = await reader.call(READ_FENCED, [stream, self._owner], arguments)
        # A number if the source does not own the partition, a position if nothing is unread.
        entries: list[Any] = [] if isinstance(found, int | bytes) else found
        return [_make_entry(position, fields) for position, fields in entries]

    async def _wait_in_server(self, command: Callable[[], Any]) -> Any:
        self._is_reading = True
        try:
            return await self._get_reader().run(command, seconds=_BLOCK_SECONDS * 2)
        finally:
            self._is_reading = False

    async def wake(self) -> None:
        """Let a `read` that waits return."""
        self._is_woken = True
        while self._is_reading:
            try:
                await self._unblock(self._connections.get_client(self._keys.stream), self._reader_id)
            except ServerError:
                # Not allowed. The read ends by itself.
                return
            await anyio.sleep(_UNBLOCK_SECONDS)

    @staticmethod
    async def _unblock(client: RedisClient, number: int) -> None:
        await client.run(lambda: client.commands.client_unblock(number))

    async def redelivered(self, limit: int, /) -> Sequence[Entry]:
        """Return pending events that are due."""
        if self._options.group is None or (self._options.ordered and not self._token):
            await checkpoint()
            return []
        claim_after = round(self._options.claim_after * 1000)
        found: list[Any] = await self._call(
            REDELIVERED, [self._owner], [self._group, self._options.consumer, self._token, limit, claim_after]
        )
        # Without fields if the event was removed before it was acknowledged.
        return [_make_entry(position, *fields, attempt=attempt) for position, attempt, *fields in found]

    async def ack(self, positions: Sequence[str], /) -> None:
        """Acknowledge events."""
        if self._may_decide:
            await self._call(ACK, [self._owner], [self._group, self._token, *positions])

    async def renew(self, positions: Sequence[str], /) -> bool:
        """Keep pending events, and the ownership."""
        if self._options.group is None:
            await checkpoint()
            return True
        lease = str(round(self._options.claim_after * 1000)) if self._options.ordered else ""
        if not lease and not positions:
            await checkpoint()
            return True
        keys = [self._owner, self._keys.fence(self._group)]
        token: Any = await self._call(
            RENEW, keys, [self._group, self._options.consumer, self._token, lease, *positions]
        )
        self._token = token.decode()
        return not self._options.ordered or bool(self._token)

    async def later(self, postponed: Sequence[Postponed], /) -> None:
        """Let pending events be read again later."""
        if self._may_decide:
            arguments: list[str | bytes | int] = [self._group, self._options.consumer, self._token]
            for position, delay, attempts in postponed:
                # An event is due when it has been idle for claim_after. The attempt that follows is counted then.
                idle = max(0, round((self._options.claim_after - delay) * 1000))
                arguments += [position, idle, attempts]
            await self._call(LATER, [self._owner], arguments)

    async def bury(self, position: str, data: bytes, reason: str, attempts: int, /) -> None:
        """Move a pending event to the dead letters."""
        if self._may_decide:
            keys = [self._owner, self._keys.dead(self._group)]
            decision: list[str | bytes | int] = [position, data, reason, attempts]
            await self._call(BURY, keys, [self._group, self._options.consumer, self._token, *decision])

    @property
    def _may_decide(self) -> bool:
        return self._options.group is not None and (bool(self._token) or not self._options.ordered)

    @property
    def _owner(self) -> str:
        return self._keys.owner(self._group)

    async def _call(self, script: Any, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        client = self._connections.get_client(self._keys.stream)
        return await client.call(script, [self._keys.stream, *keys], arguments)

    def _get_reader(self) -> RedisClient:
        if self._reader is None:
            raise BridgeUnavailable("the source is not open")
        return self._reader


def _parse(found: Any) -> list[Entry]:
    """Return the entries of a reply of XREAD or XREADGROUP for one stream."""
    if not found:
        return []
    (entries,) = found.values()
    return [
        Entry(entry.identifier.decode(), entry.field_values.get(b"e", b""), 1, _as_text(entry.field_values.get(b"g")))
        for entry in entries
    ]


def _make_entry(position: bytes, fields: Any = None, *, attempt: int = 1) -> Entry:
    """Return an entry of the reply of a script, where the fields are a list; None if the event was removed."""
    if fields is None:
        return Entry(position.decode(), None, attempt)
    values: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(position.decode(), values.get(b"e", b""), attempt, _as_text(values.get(b"g")))


def _as_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
