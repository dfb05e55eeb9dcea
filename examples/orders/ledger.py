"""The payments, in a file of SQLite."""

import sqlite3
from decimal import Decimal
from pathlib import Path


class Ledger:
    """The payments of orders. The key of the table refuses a second payment of an order.

    A write takes less than a millisecond, so it runs in the event loop.
    """

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("CREATE TABLE IF NOT EXISTS payments (order_id TEXT PRIMARY KEY, total TEXT NOT NULL)")

    def add(self, order_id: str, total: Decimal) -> None:
        """Add a payment."""
        self._connection.execute("INSERT INTO payments VALUES (?, ?)", (order_id, str(total)))

    def __contains__(self, order_id: str) -> bool:
        return self._connection.execute("SELECT 1 FROM payments WHERE order_id = ?", (order_id,)).fetchone() is not None

    def count(self) -> int:
        """Return how many payments there are."""
        (count,) = self._connection.execute("SELECT count(*) FROM payments").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
