"""HARP's storage on a queue of antiphon: a transaction is one event."""

from harp_apps.proxy.events import (
    EVENT_TRANSACTION_ENDED,
    EVENT_TRANSACTION_MESSAGE,
    EVENT_TRANSACTION_STARTED,
)
from harp_apps.storage.worker import StorageAsyncWorkerQueue

from antiphon import Event, listens_to

STORE = "storage.store"


class Store(Event):
    """The writes of one transaction, in order."""

    def __init__(self, writes):
        self.writes = writes


class Writes(StorageAsyncWorkerQueue):
    """Collects the writes that HARP's own listeners make for one transaction."""

    # HARP skips writes under pressure, and here the queue limits the writes.
    pressure = 0

    def __init__(self, engine, storage, blob_storage):
        # Not `super().__init__()`, which starts a task with an unbounded queue.
        self.engine, self.storage, self.blob_storage = engine, storage, blob_storage
        self.collected = []

    async def push(self, item, /, *, ignore_errors=False):
        self.collected.append((item, ignore_errors))


class QueuedStorage:
    """The listeners, which post the writes of a transaction when it ends."""

    def __init__(self, engine, storage, blob_storage, queue):
        self.services = engine, storage, blob_storage
        self.queue = queue

    def replace(self, worker, dispatcher):
        """Register the listeners in place of those of HARP's worker."""
        remove = dispatcher.remove_listener
        remove(EVENT_TRANSACTION_STARTED, worker.on_transaction_started)
        remove(EVENT_TRANSACTION_MESSAGE, worker.on_transaction_message)
        remove(EVENT_TRANSACTION_ENDED, worker.on_transaction_ended)
        dispatcher.add_subscriber(self)

    @listens_to(EVENT_TRANSACTION_STARTED)
    async def start(self, event):
        event.transaction.writes = Writes(*self.services)
        await event.transaction.writes.on_transaction_started(event)

    @listens_to(EVENT_TRANSACTION_MESSAGE)
    async def add_message(self, event):
        await event.transaction.writes.on_transaction_message(event)

    @listens_to(EVENT_TRANSACTION_ENDED)
    async def end(self, event):
        writes = event.transaction.writes
        await writes.on_transaction_ended(event)
        await self.queue.post(STORE, Store(writes.collected))

    @listens_to(STORE)
    async def store(self, event):
        for write, ignore_errors in event.writes:
            try:
                await write()
            except Exception:
                if not ignore_errors:
                    raise
