"""An application that stores a record of each transaction. The proxy does not wait for the disk."""

import logging
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio

from antiphon import AsyncEventDispatcher, Event, Queue, QueueStatistics, listens_to
from examples.proxy.events import TransactionEnded
from examples.proxy.messages import Transaction
from examples.proxy.rows import Row, Rows

logger = logging.getLogger(__name__)

Overflow = Literal["suspend", "drop_oldest", "drop_newest"]
"""What happens if the queue is full: the transaction of the new record waits, or a record is dropped."""

RECORD = "proxy.storage.record"
WRITTEN, DROPPED, HELD = "rows written", "rows dropped", "rows held at most"


class Record(Event):
    """A record is ready to be written."""

    def __init__(self, row: Row) -> None:
        self.row = row


class Storage:
    """Posts a record of each transaction to a queue, which dispatches it to the listener that writes it.

    The simulated disk is sometimes slow. Meanwhile, new records arrive as fast as before, and the bounded queue fills.
    The overflow option determines what happens then.

    Args:
        overflow: What happens if the queue is full.
        max_buffer_size: The maximum number of records that wait to be written.
        stall_every: Each write whose number is a multiple of this is slow.
        stall_seconds: The duration of a slow write.
        drain_timeout: The maximum time at the end for writing the remaining records.
    """

    def __init__(
        self,
        overflow: Overflow = "suspend",
        max_buffer_size: int = 8,
        stall_every: int = 60,
        stall_seconds: float = 0.1,
        drain_timeout: float = 5.0,
    ) -> None:
        self._overflow: Overflow = overflow
        self._max_buffer_size = max_buffer_size
        self._stall_every = stall_every
        self._stall_seconds = stall_seconds
        self._drain_timeout = drain_timeout
        self._queue: Queue | None = None
        self._rows: Rows | None = None
        self._posting = 0
        self._writes = 0
        self._written = 0
        self._held = 0

    def register(self, dispatcher: AsyncEventDispatcher) -> None:
        """Add the application's listeners. They work while the application runs."""
        # One worker, so that rows are written in the order of the transactions. Errors are logged, because a row that
        # cannot be written must not stop the proxy. The report counts the rows, and reports missing ones.
        self._queue = dispatcher.queue(
            max_buffer_size=self._max_buffer_size,
            overflow=self._overflow,
            errors=_log_error,
            drain_timeout=self._drain_timeout,
        )
        dispatcher.add_subscriber(self)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Accept records and write them. The end of the block writes the remaining records."""
        queue = self._get_queue()

        async with Rows.temporary() as self._rows:
            async with queue:
                yield

            self._written = await self._rows.count()

    def figures(self) -> Mapping[str, int]:
        """Return the number of written, dropped and held records."""
        return {WRITTEN: self._written, DROPPED: self.statistics().dropped, HELD: self._held}

    def statistics(self) -> QueueStatistics:
        """Return the statistics of the queue."""
        return self._get_queue().statistics()

    @listens_to(TransactionEnded, priority=10)
    async def post_record(self, event: TransactionEnded) -> None:
        """Post the record of a transaction. With "suspend", wait here if the queue is full."""
        queue = self._get_queue()
        self._posting += 1
        now = queue.statistics()
        self._held = max(self._held, now.running + now.current_buffer_used + self._posting)

        try:
            await queue.post(RECORD, Record(_make_row(event.transaction)))
        finally:
            self._posting -= 1

    @listens_to(RECORD)
    async def write(self, event: Record) -> None:
        """Write a record."""
        self._writes += 1

        if not self._writes % self._stall_every:
            await anyio.sleep(self._stall_seconds)

        assert self._rows is not None, "the queue dispatches only while the application runs"
        await self._rows.add(event.row)

    def _get_queue(self) -> Queue:
        assert self._queue is not None, "the application has not been registered"
        return self._queue


def _make_row(transaction: Transaction) -> Row:
    request, response = transaction.request, transaction.response
    return Row(
        transaction.number,
        request.method,
        request.target,
        response.status if response else None,
        transaction.seconds * 1000,
        ", ".join(sorted(transaction.marks)),
    )


def _log_error(error: Exception, event: Any, name: Hashable) -> None:
    logger.error("%s of %s failed: %r", name, event.row, error)
