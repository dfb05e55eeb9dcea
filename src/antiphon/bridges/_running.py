"""What runs between the entry and the end of a bridge.

The broker and the receivers run in a shielded cancel scope of a task of their own. If the body of the bridge is
cancelled, they still end in order: they hand back what they have read, and close their connections.

The task does not report its start through ``TaskGroup.start``: if the caller of that method is cancelled, it waits
until the task has ended, and does not tell the task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, cast

import anyio

from antiphon import AsyncEventDispatcher, Queue, QueueNotDrained
from antiphon.bridges._brokers.protocol import Broker
from antiphon.bridges._channel import Channel
from antiphon.bridges._notices import Notice
from antiphon.bridges._receiving.receiver import Receiver

__all__ = ("RunningBridge", "combine", "unwrap")

#: How many notices can wait for their listeners.
_MAX_NOTICES: Final = 1000

#: How long the listeners of notices may take at the end.
_NOTICE_SECONDS: Final = 1.0


class RunningBridge:
    """The tasks of a bridge that was entered.

    Args:
        broker: The broker.
        channels: All channels that are known.
        notices: The dispatcher of notices.
        grace: The time for deliveries that run at the end, in seconds.
    """

    def __init__(
        self, broker: Broker, channels: Sequence[Channel], notices: AsyncEventDispatcher, grace: float
    ) -> None:
        self._broker = broker
        self._channels = channels
        self._notices = notices
        self._grace = grace
        self._queue: Queue | None = None
        self._scope = anyio.CancelScope(shield=True)
        self._ready, self._may_read, self._stop, self._finished = (anyio.Event() for _ in range(4))
        self._failure: BaseException | None = None
        self.receivers: list[Receiver] = []

    async def run(self, cancel_body: Callable[[], object]) -> None:
        """Run until `stop` is called.

        Args:
            cancel_body: Called if this ends with an error.
        """
        try:
            with self._scope:
                try:
                    await self._run()
                except Exception as exc:
                    # If the entry was cancelled, a client may turn the cancellation into an error of its connection.
                    if not self._scope.cancel_called:
                        self._failure = unwrap(exc)
                        cancel_body()
        finally:
            self._ready.set()
            self._finished.set()

    async def _run(self) -> None:
        with suppress(QueueNotDrained):
            async with (
                self._broker.running(self._channels),
                self._notices.queue(
                    max_buffer_size=_MAX_NOTICES,
                    overflow="drop_oldest",
                    errors="log",
                    drain_timeout=_NOTICE_SECONDS,
                ) as self._queue,
                anyio.create_task_group() as tasks,
            ):
                for receiver in self.receivers:
                    tasks.start_soon(receiver.run, self._may_read)
                # A new group misses what was published before it exists, also by the body of the bridge.
                for receiver in self.receivers:
                    await receiver.ready.wait()
                self._ready.set()
                await self._stop.wait()
                for receiver in self.receivers:
                    receiver.stop(self._grace)

    def notify(self, notice: Notice) -> None:
        """Dispatch a notice soon."""
        if self._queue is not None and self._notices.has_listeners():
            self._queue.post_nowait(notice)

    async def wait_until_ready(self) -> None:
        """Wait until the broker is connected and all groups exist, and begin to read.

        Raises:
            Exception: What has ended the tasks.
        """
        await self._ready.wait()
        if self._failure is not None:
            raise self.pop_failure()
        self._may_read.set()

    async def end(self) -> None:
        """Stop, and wait until all tasks have ended. A cancellation from outside does not interrupt it."""
        if self._may_read.is_set():
            self._stop.set()
        else:
            # Nothing was read yet, so nothing has to be handed back.
            self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._finished.wait()

    @property
    def is_finished(self) -> bool:
        """Whether all tasks have ended."""
        return self._finished.is_set()

    def pop_failure(self) -> BaseException:
        """Return the error that has ended the tasks, and forget it: its traceback refers to this object."""
        failure, self._failure = self._failure, None
        return failure or RuntimeError("the bridge has ended")

    @property
    def has_failed(self) -> bool:
        """Whether an error has ended the tasks."""
        return self._failure is not None


def unwrap(exc: BaseException) -> BaseException:
    """Return the only exception in nested groups of one exception each, or the group that has several."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exc)
        return unwrap(group.exceptions[0]) if len(group.exceptions) == 1 else group
    return exc


def combine(raised: list[BaseException]) -> BaseException:
    """Return what leaves a bridge: the only exception unchanged, or all errors and one cancellation in a group."""
    errors = [exc for exc in raised if not isinstance(exc, anyio.get_cancelled_exc_class())]
    cancellations = [exc for exc in raised if isinstance(exc, anyio.get_cancelled_exc_class())]
    remaining = [*errors, *cancellations[:1]]
    return remaining[0] if len(remaining) == 1 else BaseExceptionGroup("the bridge ended", remaining)
