"""Three programs that do the same work: a bridge, and the clients coredis and redis-py without one.

The work of a publish: encode an event in an envelope of CloudEvents, and store it with a script unless its id is known.
The work of a consumer: read events in a group, decode each, run a listener in a task of its own, and acknowledge.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha1
from time import perf_counter, time
from typing import Any

import anyio
import coredis
import msgspec
from coredis.retry import NoRetryPolicy

from antiphon import AsyncEventDispatcher, Event
from antiphon.bridges import Bridge, Channel, EventRegistry
from antiphon.bridges.redis import RedisStreams

__all__ = ("CANDIDATES", "Candidate", "Order")

#: How many events tasks publish together, in the row with the most tasks.
MOST_CONNECTIONS = 32

SCRIPT = """
local known = redis.call('GET', KEYS[2])
if known then return known end
local id = redis.call('XADD', KEYS[1], 'MINID', '~', ARGV[1], '*', 'e', ARGV[2])
redis.call('SET', KEYS[2], id, 'PX', ARGV[3])
return id
"""
DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

THREE_DAYS = 3 * 24 * 3600 * 1000

events = EventRegistry()


@events.register("shop.order", key=lambda order: order.order_id)
@dataclass
class Order(Event):
    order_id: str
    total: int


@cache
def get_channel(stream: str) -> Channel:
    """Return a channel, which programs make once."""
    return Channel(stream)


class Envelope(msgspec.Struct):
    """The attributes that a consumer without a bridge decodes."""

    id: str
    source: str
    type: str
    time: datetime
    data: msgspec.Raw
    specversion: str = "1.0"
    dataversion: int = 1
    partitionkey: str | None = None


class Candidate(ABC):
    """A program that is connected. `handle` is the listener of its consumer."""

    name: str

    def __init__(self, url: str) -> None:
        self.url = url
        self.handle: Callable[[Order], Awaitable[None]]

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[Any]:
        """Connect."""

    @abstractmethod
    async def publish(self, stream: str, order: Order) -> None:
        """Publish an event."""

    @abstractmethod
    def consuming(self, stream: str, concurrency: int) -> AbstractAsyncContextManager[Any]:
        """Run a consumer of the group "billing", which exists if the stream does."""

    async def handle_all(self, stream: str, count: int, concurrency: int) -> float:
        """Return the seconds from the first event of a stream to the last one."""
        started = 0.0
        seen = 0
        done = anyio.Event()

        async def listener(order: Order) -> None:
            nonlocal seen, started
            seen += 1
            if seen == 1:
                started = perf_counter()
            if seen == count:
                done.set()

        self.handle = listener
        async with self.consuming(stream, concurrency):
            with anyio.fail_after(60):
                await done.wait()
            return perf_counter() - started

    async def time_events(self, stream: str, count: int) -> list[float]:
        """Return the seconds from a publish to its listener, for events that are published one after another."""
        times: list[float] = []
        arrived = anyio.Event()

        async def listener(order: Order) -> None:
            times.append(perf_counter() - order.total / 1e9)
            arrived.set()

        self.handle = listener
        async with self.consuming(stream, 8):
            for _ in range(count):
                arrived = anyio.Event()
                await self.publish(stream, Order("7", int(perf_counter() * 1e9)))
                with anyio.fail_after(10):
                    await arrived.wait()
        return times


class Antiphon(Candidate):
    name = "antiphon"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._make_bridge() as self._bridge:
            yield

    def _make_bridge(self, dispatcher: AsyncEventDispatcher | None = None) -> Bridge:
        broker = RedisStreams(self.url, prefix="bench")
        return Bridge(dispatcher or AsyncEventDispatcher(), broker, events, source="/bench")

    async def publish(self, stream: str, order: Order) -> None:
        await self._bridge.publish(order, to=get_channel(stream))

    @asynccontextmanager
    async def consuming(self, stream: str, concurrency: int) -> AsyncGenerator[None]:
        dispatcher = AsyncEventDispatcher()
        dispatcher.add_listener(Order, self.handle)
        bridge = self._make_bridge(dispatcher)
        bridge.receive(get_channel(stream), group="billing", concurrency=concurrency)
        async with bridge:
            yield


class Manual(Candidate):
    """What the two clients have in common."""

    _decode_envelope = msgspec.json.Decoder(Envelope).decode
    _decode_order = msgspec.json.Decoder(Order).decode

    @abstractmethod
    async def call_script(self, keys: Sequence[str], arguments: Sequence[Any]) -> None: ...

    @abstractmethod
    async def read(self, stream: str, count: int) -> Sequence[tuple[Any, bytes]]: ...

    @abstractmethod
    async def acknowledge(self, stream: str, position: Any) -> None: ...

    @abstractmethod
    async def create_group(self, stream: str) -> None: ...

    async def publish(self, stream: str, order: Order) -> None:
        data = msgspec.json.encode(order)
        self._decode_order(data)
        number = uuid.uuid4().hex
        now = time()
        at = datetime.fromtimestamp(now, UTC)
        envelope = Envelope(number, "/bench", "shop.order", at, msgspec.Raw(data), partitionkey=order.order_id)
        key = get_key(stream)
        oldest = str(round(now * 1000) - THREE_DAYS)
        await self.call_script([key, f"{key}:id:{number}"], [oldest, msgspec.json.encode(envelope), 120_000])

    @asynccontextmanager
    async def consuming(self, stream: str, concurrency: int) -> AsyncGenerator[None]:
        await self.create_group(get_key(stream))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._consume, get_key(stream), concurrency)
            yield
            tasks.cancel_scope.cancel()

    async def _consume(self, stream: str, concurrency: int) -> None:
        places = anyio.Semaphore(concurrency)

        async def run(position: Any, data: bytes) -> None:
            envelope = self._decode_envelope(data)
            await self.handle(self._decode_order(envelope.data))
            await self.acknowledge(stream, position)
            places.release()

        async with anyio.create_task_group() as tasks:
            while True:
                for position, data in await self.read(stream, max(1, places.value)):
                    await places.acquire()
                    tasks.start_soon(run, position, data)
                async with places:
                    pass  # there is a place for the next event


class Coredis(Manual):
    name = "coredis"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._make_client() as self._client:
            await self._client.script_load(SCRIPT)
            yield

    @asynccontextmanager
    async def consuming(self, stream: str, concurrency: int) -> AsyncGenerator[None]:
        # The end of the consumer cancels a read, and coredis does not return the connection of that read to its pool.
        async with self._make_client() as self._consumer, super().consuming(stream, concurrency):
            yield

    def _make_client(self) -> Any:
        make: Any = coredis.Redis.from_url
        return make(self.url, decode_responses=False, retry_policy=NoRetryPolicy(), max_connections=MOST_CONNECTIONS)

    async def call_script(self, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        await self._client.evalsha(DIGEST, keys, arguments)

    async def read(self, stream: str, count: int) -> Sequence[tuple[Any, bytes]]:
        found = await self._consumer.xreadgroup("billing", "one", {stream: b">"}, count=count, block=5000)
        if not found:
            return []
        (entries,) = found.values()
        return [(entry.identifier, entry.field_values[b"e"]) for entry in entries]

    async def acknowledge(self, stream: str, position: Any) -> None:
        await self._consumer.xack(stream, "billing", [position])

    async def create_group(self, stream: str) -> None:
        try:
            await self._client.xgroup_create(stream, "billing", "0", mkstream=True)
        except coredis.exceptions.StreamDuplicateConsumerGroupError:
            pass


class RedisPy(Manual):
    name = "redis-py"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        import redis.asyncio
        from redis.asyncio.connection import BlockingConnectionPool

        pool = BlockingConnectionPool.from_url(self.url, max_connections=MOST_CONNECTIONS)
        self._client: Any = redis.asyncio.Redis(connection_pool=pool)
        async with self._client:
            await self._client.script_load(SCRIPT)
            yield
        await pool.disconnect()

    async def call_script(self, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        await self._client.evalsha(DIGEST, len(keys), *keys, *arguments)

    async def read(self, stream: str, count: int) -> Sequence[tuple[Any, bytes]]:
        found = await self._client.xreadgroup("billing", "one", {stream: ">"}, count=count, block=5000)
        # A list in RESP 2, a dictionary in RESP 3.
        return [(position, fields[b"e"]) for entries in dict(found or {}).values() for position, fields in entries]

    async def acknowledge(self, stream: str, position: Any) -> None:
        await self._client.xack(stream, "billing", position)

    async def create_group(self, stream: str) -> None:
        from redis.exceptions import ResponseError

        try:
            await self._client.xgroup_create(stream, "billing", "0", mkstream=True)
        except ResponseError:
            pass


#: The candidates on each backend. redis-py runs on asyncio alone.
CANDIDATES: dict[str, tuple[type[Candidate], ...]] = {
    "asyncio": (Antiphon, Coredis, RedisPy),
    "trio": (Antiphon, Coredis),
}


def get_key(stream: str) -> str:
    """Return the key under which the bridge stores the only partition of a channel."""
    return f"{{bench:{stream}:0}}"
