"""The command ``python -m benchmarks.harp.storage``: a burst of transactions with each way to store them.

The transactions are dispatched as HARP's proxy dispatches them, by a fixed number of clients, and HARP's own code
writes them to SQLite, which does not wait for the disk. No request is sent.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import antiphon

CLIENTS = 16
#: How long an upstream takes to answer.
UPSTREAM_SECONDS = 0.005
#: How many transactions, or how many writes, can wait.
BUFFER = 64

ROWS = {
    "time to answer all": "{answered:.1f} s",
    "time until all is stored": "{stored:.1f} s",
    "latency, median": "{median:.0f} ms",
    "latency, 99 %": "{slowest:.0f} ms",
    "most writes that waited": "{waiting}",
    "transactions complete": "{complete}",
    "transactions incomplete": "{incomplete}",
    "transactions missing": "{missing}",
    "messages without a transaction": "{orphans}",
}


def main() -> None:
    """Run the burst with each storage, and print a table."""
    parser = ArgumentParser(prog="python -m benchmarks.harp.storage", description=__doc__)
    parser.add_argument("--transactions", type=int, default=500, help="in each burst (default: %(default)s)")
    number = parser.parse_args().transactions

    # HARP reads its levels from the environment. Some of its models cause warnings.
    os.environ |= {"LOGGING": "warning", "LOGGING_HARP": "warning"}
    warnings.simplefilter("ignore")
    sys.modules["whistle"] = antiphon
    columns = {name: asyncio.run(run(number, open_storage)) for name, open_storage in STORAGES.items()}

    print(f"{number} transactions, {CLIENTS} clients")
    print(" " * 32 + "".join(f"{name:>22}" for name in columns))
    for title, form in ROWS.items():
        print(f"{title:32}" + "".join(f"{form.format(**figures):>22}" for figures in columns.values()))


@asynccontextmanager
async def open_worker(services, dispatcher, waiting):
    """HARP's own worker: an unbounded queue of writes."""
    from harp_apps.storage.worker import StorageAsyncWorkerQueue

    worker = StorageAsyncWorkerQueue(*services)
    worker.register_events(dispatcher)
    waiting.append(worker._queue.qsize)
    yield
    await worker.close()
    worker._task.cancel()


def open_queue(overflow):
    """Return a storage with a bounded queue of transactions."""

    @asynccontextmanager
    async def opened(services, dispatcher, waiting):
        from docs.recipes.queued_storage import QueuedStorage

        async with dispatcher.queue(max_buffer_size=BUFFER, overflow=overflow, errors="log") as queue:
            dispatcher.add_subscriber(QueuedStorage(*services, queue))
            # A transaction has eight writes: itself, three for each of two messages, and its end.
            waiting.append(lambda: queue.statistics().current_buffer_used * 8)
            yield

    return opened


@asynccontextmanager
async def open_queue_of_writes(services, dispatcher, waiting):
    """A bounded queue of single writes, which drops the oldest."""
    from docs.recipes.queued_storage import Writes

    class Worker(Writes):
        async def push(self, item, /, *, ignore_errors=False):
            event = antiphon.Event()
            event.write = item
            await queue.post("storage.write", event)

    @dispatcher.listen("storage.write")
    async def write(event):
        await event.write()

    async with dispatcher.queue(max_buffer_size=BUFFER * 8, overflow="drop_oldest", errors="log") as queue:
        Worker(*services).register_events(dispatcher)
        waiting.append(lambda: queue.statistics().current_buffer_used)
        yield


Open = Callable[..., AbstractAsyncContextManager[None]]
STORAGES: dict[str, Open] = {
    "HARP's worker": open_worker,
    "queue, suspend": open_queue("suspend"),
    "queue, drop_oldest": open_queue("drop_oldest"),
    "writes, drop_oldest": open_queue_of_writes,
}


async def run(number: int, open_storage: Open) -> dict[str, float]:
    """Store a burst of transactions, and return the figures."""
    from harp_apps.storage.engines import SQLAlchemyEngine
    from harp_apps.storage.models import Base
    from harp_apps.storage.services.blob_storages.sql import SqlBlobStorage
    from harp_apps.storage.services.sql import SqlStorage
    from harp_apps.storage.settings import StorageSettings
    from sqlalchemy.event import listen

    with TemporaryDirectory() as folder:
        engine = SQLAlchemyEngine.from_url(f"sqlite+aiosqlite:///{Path(folder, 'harp.db')}")
        listen(engine.sync_engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
        try:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            blobs = SqlBlobStorage(engine)
            services = engine, SqlStorage(engine, blobs, StorageSettings()), blobs
            return await _run_burst(number, open_storage, services) | await _count(number, engine)
        finally:
            await engine.dispose()


async def _run_burst(number, open_storage, services):
    dispatcher = antiphon.AsyncEventDispatcher(name="harp")
    numbers, latencies = iter(range(number)), []
    waiting, most = [], 0

    async def client():
        nonlocal most
        for place in numbers:
            begun = perf_counter()
            await transact(dispatcher, place)
            latencies.append((perf_counter() - begun) * 1000)
            most = max(most, waiting[0]())

    started = perf_counter()
    async with open_storage(services, dispatcher, waiting):
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(client())
        answered = perf_counter() - started
    cuts = quantiles(latencies, n=100)
    stored = perf_counter() - started
    return {"answered": answered, "stored": stored, "median": cuts[49], "slowest": cuts[98], "waiting": most}


async def transact(dispatcher, number):
    """Dispatch what HARP's proxy dispatches for a transaction."""
    from harp.asgi.bridge.requests import HttpRequestAsgiBridge
    from harp.http import HttpRequest, HttpResponse
    from harp.models import Transaction
    from harp_apps.proxy.events import HttpMessageEvent, TransactionEvent

    async def receive():
        return {"type": "http.request", "body": f"body {number}".encode(), "more_body": False}

    begun = datetime.now(UTC)
    transaction = Transaction(id=f"{number:027}", type="http", endpoint="orders", started_at=begun)
    scope = {"method": "POST", "path": f"/orders/{number}", "query_string": b"", "server": ("127.0.0.1", 80)}
    scope["headers"] = [(b"x-number", str(number).encode())]
    request = HttpRequest(HttpRequestAsgiBridge(scope, receive))
    response = HttpResponse(f'{{"order": {number}}}', headers={"x-number": str(number)}, content_type="text/json")
    await dispatcher.adispatch("proxy.transaction.started", TransactionEvent(transaction))
    await dispatcher.adispatch("proxy.transaction.message", HttpMessageEvent(transaction, request))
    await asyncio.sleep(UPSTREAM_SECONDS)
    await dispatcher.adispatch("proxy.transaction.message", HttpMessageEvent(transaction, response))
    transaction.finished_at = datetime.now(UTC)
    transaction.elapsed, transaction.tpdex = (transaction.finished_at - begun).total_seconds(), 100
    await dispatcher.adispatch("proxy.transaction.ended", TransactionEvent(transaction))


async def _count(number, engine):
    from harp_apps.storage.models import Blob, Message, Transaction
    from sqlalchemy import select

    async with engine.connect() as connection:
        transactions = dict((await connection.execute(select(Transaction.id, Transaction.finished_at))).all())
        messages = (await connection.execute(select(Message.transaction_id, Message.headers, Message.body))).all()
        blobs = set((await connection.execute(select(Blob.id))).scalars())
    whole = dict.fromkeys(transactions, 0)
    orphans = 0
    for owner, headers, body in messages:
        if owner not in whole:
            orphans += 1
        elif {headers, body} <= blobs:
            whole[owner] += 1
    complete = sum(whole[id_] == 2 and finished is not None for id_, finished in transactions.items())
    return {
        "complete": complete,
        "incomplete": len(transactions) - complete,
        "missing": number - len(transactions),
        "orphans": orphans,
    }


if __name__ == "__main__":
    main()
