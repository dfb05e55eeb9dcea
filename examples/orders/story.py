"""What has happened to the orders, as the programs have reported it."""

from collections import Counter, defaultdict

from examples.orders.reports import Report


class Story:
    """Counts the reports of each kind for each order.

    Attributes:
        pending: How many orders billing had received and not acknowledged when it was killed.
        payments: How many payments are in the ledger.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.pending = 0
        self.payments = 0

    async def add(self, event: Report, name: str) -> None:
        """Add a report. This is a listener."""
        self._counts[name][event.order_id] += 1

    def count(self, name: str) -> int:
        """Return how many orders have such a report."""
        return len(self._counts[name])

    @property
    def lost(self) -> int:
        """How many orders were placed and not paid."""
        return len(self._counts["placed"].keys() - self._counts["paid"].keys())

    @property
    def charged_twice(self) -> int:
        """How many orders were charged more than once."""
        return sum(count > 1 for count in self._counts["charged"].values())

    def format(self) -> str:
        """Return a table."""
        rows = {
            "orders placed": self.count("placed"),
            "pending at the kill": self.pending,
            "delivered again": self.count("redelivered"),
            "payments in the ledger": self.payments,
            "orders paid": self.count("paid"),
            "charged twice": self.charged_twice,
            "lost": self.lost,
        }
        return "\n".join(f"{label:<24}{number:>5}" for label, number in rows.items())
