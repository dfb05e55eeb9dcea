"""The table in which transactions are kept: SQLite in a worker thread, so that the event loop waits for no disk."""

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
    """What is kept of a transaction."""

    number: int
    method: str
    target: str
    status: int | None
    milliseconds: float
    marks: str


class Rows:
    """The rows of one database. Its connection is in the hands of one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._limiter = anyio.CapacityLimiter(1)

    @classmethod
    @asynccontextmanager
    async def temporary(cls) -> AsyncGenerator["Rows", None]:
        """Keep rows in a file that is gone at the end of the block."""
        # Not anyio's, which before 4.16 is not removed when it is left by a cancellation.
        with TemporaryDirectory(prefix="antiphon-proxy-") as folder:
            connection = await to_thread.run_sync(_connect, Path(folder) / "transactions.sqlite")
            rows = cls(connection)

            try:
                yield rows
            finally:
                # Also when cancelled: the folder cannot be removed everywhere while the file is open.
                with anyio.CancelScope(shield=True):
                    await rows._in_thread(connection.close)

    async def add(self, row: Row) -> None:
        """Add a row."""
        await self._in_thread(lambda: self._insert(row))

    async def count(self) -> int:
        """Tell how many rows there are."""
        return await self._in_thread(lambda: int(self._connection.execute("SELECT count(*) FROM rows").fetchone()[0]))

    def _insert(self, row: Row) -> None:
        with self._connection:
            self._connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", row)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # A thread is not left behind when its caller is cancelled, so nobody else meets it at the connection.
        return await to_thread.run_sync(work, limiter=self._limiter)


def _connect(path: Path) -> sqlite3.Connection:
    # Several threads use the connection, one after another; the limiter sees to that.
    connection = sqlite3.connect(path, check_same_thread=False)
    # A commit does not wait for the disk: what a crash would lose is thrown away at the end anyway.
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE rows (number PRIMARY KEY, method, target, status, milliseconds, marks);"
    )
    return connection
