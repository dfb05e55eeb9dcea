"""An application that keeps a record of each transaction, and does not let the proxy wait for the disk."""

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
"""What happens to one more record when the queue is full: its transaction waits, or a record is dropped."""

RECORD = "proxy.storage.record"
WRITTEN, DROPPED, HELD = "rows written", "rows dropped", "rows held at most"


class Record(Event):
    """A record is to be written."""

    def __init__(self, row: Row) -> None:
        self.row = row


class Storage:
    """Posts a record of each transaction to a queue, which dispatches it to the listener that writes.

    Its disk has moments: now and then a write takes long. Meanwhile records come in as fast as before, and the queue
    holds as many as it may, and no more. What happens then is the overflow that was chosen.

    Args:
        overflow: What happens when the queue is full.
        max_buffer_size: How many records may wait to be written.
        stall_every: Which writes take long: each one whose number is a multiple of this.
        stall_seconds: How long these take.
        drain_timeout: How long the end may take to write what is left.
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
        """Add the application's listeners; they do their work while the application runs."""
        # One worker: rows are written in the order of the transactions. A row that cannot be written is one row's
        # failure, not the proxy's, so the errors are logged; the report counts the rows, and tells if one is missing.
        self._queue = dispatcher.queue(
            max_buffer_size=self._max_buffer_size,
            overflow=self._overflow,
            errors=_log,
            drain_timeout=self._drain_timeout,
        )
        dispatcher.add_subscriber(self)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Take records and write them; the end of the block writes what is left."""
        queue = self._registered()

        async with Rows.temporary() as self._rows:
            async with queue:
                yield

            self._written = await self._rows.count()

    def figures(self) -> Mapping[str, int]:
        """Return what became of the records."""
        return {WRITTEN: self._written, DROPPED: self.statistics().dropped, HELD: self._held}

    def statistics(self) -> QueueStatistics:
        """Tell what is in the queue, and what became of the rest."""
        return self._registered().statistics()

    @listens_to(TransactionEnded, priority=10)
    async def keep(self, event: TransactionEnded) -> None:
        """Post the record of a transaction; if the queue suspends and is full, the transaction waits here."""
        queue = self._registered()
        self._posting += 1
        now = queue.statistics()
        self._held = max(self._held, now.running + now.current_buffer_used + self._posting)

        try:
            await queue.post(RECORD, Record(_row(event.transaction)))
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

    def _registered(self) -> Queue:
        assert self._queue is not None, "the application has not been registered"
        return self._queue


def _row(transaction: Transaction) -> Row:
    request, response = transaction.request, transaction.response
    return Row(
        transaction.number,
        request.method,
        request.target,
        response.status if response else None,
        transaction.seconds * 1000,
        ", ".join(sorted(transaction.marks)),
    )


def _log(error: Exception, event: Any, name: Hashable) -> None:
    logger.error("%s of %s failed: %r", name, event.row, error)
