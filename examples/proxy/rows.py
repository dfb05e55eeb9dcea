"""The table of stored transactions: SQLite in a worker thread, so that the event loop does not wait for the disk."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")


class Row(NamedTuple):
    """The stored data of a transaction."""

    number: int
    method: str
    target: str
    status: int | None
    milliseconds: float
    marks: str


class Rows:
    """The rows of one database. One thread at a time uses its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._limiter = anyio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def temporary(cls) -> AsyncGenerator["Rows", None]:
        """Store rows in a file that is deleted at the end of the block."""
        # Before 4.16, the temporary directory of AnyIO is not removed if a cancellation leaves its block.
        with TemporaryDirectory(prefix="antiphon-proxy-") as folder:
            connection = await to_thread.run_sync(_connect, Path(folder) / "transactions.sqlite")
            rows = cls(connection)

            try:
                yield rows
            finally:
                # Close it after a cancellation too: some systems cannot remove the directory while the file is open.
                with anyio.CancelScope(shield=True):
                    await rows._in_thread(connection.close)

    async def add(self, row: Row) -> None:
        """Add a row."""
        await self._in_thread(lambda: self._insert(row))

    async def count(self) -> int:
        """Return the number of rows."""
        return await self._in_thread(lambda: int(self._connection.execute("SELECT count(*) FROM rows").fetchone()[0]))

    def _insert(self, row: Row) -> None:
        with self._connection:
            self._connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", row)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # The thread is not abandoned when its caller is cancelled, so two threads never use the connection together.
        return await to_thread.run_sync(work, limiter=self._limiter)


def _connect(path: Path) -> sqlite3.Connection:
    # Several threads use the connection. The limiter ensures that they do so one after another.
    connection = sqlite3.connect(path, check_same_thread=False)
    # A commit does not wait for the disk, because the file is deleted at the end anyway.
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE rows (number PRIMARY KEY, method, target, status, milliseconds, marks);"
    )
    return connection
