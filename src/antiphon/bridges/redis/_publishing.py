"""Publishing in batches: all messages that wait for a partition go to the server in one call of a script.

A command of coredis takes longer than the event in it. A task that publishes waits for the call that contains its
message; the next call contains what has come meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from antiphon.bridges._brokers.protocol import Message, Receipt
from antiphon.bridges._channel import Channel
from antiphon.bridges._errors import BridgeUnavailable, ConfigurationError, PublishFailed, PublishUncertain
from antiphon.bridges.redis._client import RedisClient, RefusedError, ServerError
from antiphon.bridges.redis._keys import PartitionKeys
from antiphon.bridges.redis._scripts import PUBLISH

__all__ = ("BatchPublisher",)

#: The maximum number of messages in one call.
_BATCH: Final = 256


class _Waiting:
    """A message that waits for its call."""

    __slots__ = ("done", "error", "message", "position")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.done = anyio.Event()
        self.position: str | None = None
        self.error: Exception | None = None


class _Queue:
    """The messages that wait for a partition, and what wakes up the task that publishes them."""

    __slots__ = ("is_over", "waiting", "wake")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.wake = anyio.Event()
        self.is_over = False


class BatchPublisher:
    """Publishes to all partitions.

    Args:
        get_client: Returns the client for a key, or raises `BridgeUnavailable` if there is none now.
        tasks: Where the calls run, in a task for each partition. A publish that is cancelled does not cancel the call
            of the others.
        prefix: The prefix of the keys.
        seconds: The time limit of a call.
        dedup: The seconds for which ids are remembered.
    """

    def __init__(
        self, get_client: Callable[[str], RedisClient], tasks: TaskGroup, *, prefix: str, seconds: float, dedup: float
    ) -> None:
        self._get_client = get_client
        self._tasks = tasks
        self._prefix = prefix
        self._seconds = seconds
        self._dedup = dedup
        self._queues: dict[tuple[Channel, int], _Queue] = {}

    async def publish(self, channel: Channel, partition: int, message: Message) -> Receipt:
        """Store a message.

        Raises:
            PublishFailed: If it is not stored.
            PublishUncertain: If it may be stored.
        """
        queue = self._queues.get((channel, partition))
        if queue is None:
            queue = self._queues[channel, partition] = _Queue()
            self._tasks.start_soon(self._publish_all, channel, partition, queue)
        item = _Waiting(message)
        if queue.is_over:
            _fail([item], PublishFailed, "is not stored", _make_end())
        else:
            queue.waiting.append(item)
            queue.wake.set()
        await item.done.wait()
        if item.error is not None:
            try:
                raise item.error
            finally:
                item.error = None
        position = item.position or ""
        return Receipt(message.id, channel.name, partition, position.removeprefix("="), position.startswith("="))

    async def _publish_all(self, channel: Channel, partition: int, queue: _Queue) -> None:
        keys, waiting = PartitionKeys(self._prefix, channel, partition), queue.waiting
        try:
            while True:
                if waiting:
                    batch = [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
                    await self._publish_batch(channel, keys, batch)
                    # Tasks whose message was in this call, and which publish again at once, get into the next one.
                    await checkpoint()
                else:
                    queue.wake = anyio.Event()
                    await queue.wake.wait()
        finally:
            # The broker ends. Tasks that are not part of the bridge may still wait.
            queue.is_over = True
            _fail(list(waiting), PublishFailed, "is not stored", _make_end())

    async def _publish_batch(self, channel: Channel, keys: PartitionKeys, batch: list[_Waiting]) -> None:
        ids = [keys.id(item.message.id) for item in batch]
        times = (round(channel.retain.total_seconds() * 1000), round(self._dedup * 1000))
        try:
            client = self._get_client(keys.stream)
        except BridgeUnavailable as exc:
            _fail(batch, PublishFailed, "is not stored", exc)
            return
        try:
            results: list[Any] = await client.call(
                PUBLISH,
                [keys.stream, *ids],
                [*times, *(item.message.data for item in batch)],
                seconds=self._seconds,
            )
        except (RefusedError, ServerError, ConfigurationError) as exc:
            _fail(batch, PublishFailed, "is not stored", exc)
        except BridgeUnavailable as exc:
            _fail(batch, PublishUncertain, "may be stored; publish it again with this id", exc)
        else:
            for item, position in zip(batch, results, strict=True):
                item.position = position.decode()
        finally:
            for item in batch:
                item.done.set()


def _make_end() -> Exception:
    return BridgeUnavailable("the broker has ended")


def _fail(batch: list[_Waiting], kind: type[PublishFailed | PublishUncertain], what: str, cause: Exception) -> None:
    for item in batch:
        # One exception for each caller, because each adds its own traceback.
        item.error = kind(f"the event {item.message.id!r} {what}: {cause}", item.message.id)
        item.error.__cause__ = cause
        item.done.set()
