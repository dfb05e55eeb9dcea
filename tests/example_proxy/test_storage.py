"""The storage of the example proxy writes each record, or counts it as dropped."""

from __future__ import annotations

import tempfile

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, QueueNotDrained
from examples.proxy.applications import Auditor, Cache, Guard, HeaderFilter, Storage
from examples.proxy.applications.storage import DROPPED, HELD, RECORD, WRITTEN
from examples.proxy.events import TRANSACTION_ENDED, TransactionEnded
from examples.proxy.messages import Request, Transaction
from examples.proxy.rows import Row, Rows
from examples.proxy.run import run
from tests.example_proxy.running_proxy import make_request


class SlowStorage:
    """A storage whose writes wait for ``may_write``, and the targets that it has written."""

    def __init__(self, overflow="suspend", **options):
        self.dispatcher = AsyncEventDispatcher()
        self.storage = Storage(overflow, max_buffer_size=4, **options)
        self.storage.register(self.dispatcher)
        self.may_write = anyio.Event()
        self.written = []
        self.dispatcher.add_listener(RECORD, self.wait, priority=-1)

    async def wait(self, event):
        await self.may_write.wait()
        self.written.append(event.row.target)

    async def end(self, number):
        await self.dispatcher.adispatch(TRANSACTION_ENDED, TransactionEnded(Transaction(Request("GET", str(number)))))

    def load(self):
        now = self.storage.statistics()
        return now.running, now.current_buffer_used, now.posts_waiting


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_burst_that_waits_loses_nothing():
    slow = SlowStorage()

    async with slow.storage.lifespan(), anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(slow.end, number)

        await anyio.wait_all_tasks_blocked()
        # The buffer is full; each other record waits with its client.
        assert slow.load() == (1, 4, 45)
        slow.may_write.set()

    assert sorted(slow.written, key=int) == [str(number) for number in range(50)]
    assert slow.storage.figures() == {WRITTEN: 50, DROPPED: 0, HELD: 50}
    assert slow.load() == (0, 0, 0)


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [0, 46, 47, 48, 49]), ("drop_newest", [0, 1, 2, 3, 4])])
async def test_burst_that_does_not_wait_counts_dropped_records(overflow, kept):
    slow = SlowStorage(overflow)

    async with slow.storage.lifespan():
        await slow.end(0)
        await anyio.wait_all_tasks_blocked()
        for number in range(1, 50):
            await slow.end(number)

        assert slow.load() == (1, 4, 0)
        slow.may_write.set()

    assert slow.written == [str(number) for number in kept]
    assert slow.storage.figures() == {WRITTEN: 5, DROPPED: 45, HELD: 6}


@pytest.mark.parametrize("overflow", ["suspend", "drop_oldest", "drop_newest"])
async def test_small_buffer_and_slow_disk(overflow):
    storage = Storage(overflow, max_buffer_size=2, stall_every=2, stall_seconds=0.005)
    result = await run(Concurrent(), [Auditor(seconds=0), Cache(), Guard(), HeaderFilter(), storage], 20, 4)

    assert result.problems == []
    assert result.figures[WRITTEN] + result.figures[DROPPED] == 20
    assert overflow != "suspend" or result.figures[DROPPED] == 0
    # One is being written, two wait in the buffer, and each client may have one.
    assert result.figures[HELD] <= 1 + 2 + 4


async def test_file_is_removed_at_the_end(folder):
    slow = SlowStorage()
    slow.may_write.set()

    async with slow.storage.lifespan():
        await slow.end(1)
        assert len(list(folder.iterdir())) == 1

    assert list(folder.iterdir()) == []
    assert slow.storage.figures()[WRITTEN] == 1


async def test_file_is_removed_after_cancellation(folder):
    slow = SlowStorage(drain_timeout=0)

    with anyio.CancelScope() as scope:
        async with slow.storage.lifespan():
            await slow.end(1)
            scope.cancel()
            await checkpoint()

    assert scope.cancelled_caught
    assert list(folder.iterdir()) == []


async def test_blocked_disk_is_reported_with_its_records(folder):
    slow = SlowStorage(drain_timeout=0.01)

    with pytest.raises(QueueNotDrained) as raised:
        async with slow.storage.lifespan():
            await slow.end(1)
            await slow.end(2)

    assert [event.row.target for _, event in raised.value.unfinished] == ["1", "2"]
    assert list(folder.iterdir()) == []


async def test_rows_may_be_added_by_many_tasks():
    async with Rows.temporary() as rows:
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(rows.add, Row(number, "GET", "/", 200, 1.5, ""))

        assert await rows.count() == 30


async def test_failed_row_is_logged_and_the_next_is_written(caplog):
    slow, transaction = SlowStorage(), Transaction(make_request())
    slow.may_write.set()

    async with slow.storage.lifespan():
        for _ in range(2):
            await slow.dispatcher.adispatch(TransactionEnded(transaction))
        await slow.end(1)

    assert slow.storage.figures()[WRITTEN] == 2
    assert "IntegrityError" in caplog.records[0].getMessage()
    assert slow.storage.statistics().failed == 1
