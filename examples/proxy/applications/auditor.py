"""An application that is slow: each of its checks waits for somebody else's answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import anyio

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import TRANSACTION_MESSAGE, TransactionMessage


class Auditor:
    """Has every message checked by several authorities.

    The checks don't touch the message and need not wait for each other: equal priorities say so. A sequential dispatch
    takes the sum of their times, a concurrent one the longest.
    """

    def __init__(self, authorities: Sequence[str] = ("ledger", "privacy", "quota"), seconds: float = 0.005) -> None:
        self._authorities = authorities
        self._seconds = seconds
        self._audits: Counter[str] = Counter()
        self._bytes = 0

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add a listener for each authority."""
        for authority in self._authorities:
            dispatcher.add_listener(TRANSACTION_MESSAGE, partial(self.audit, authority))

    def figures(self) -> Mapping[str, int]:
        """Return how many checks were made, and of how much."""
        return {"audits": self._audits.total(), "bytes audited": self._bytes}

    async def audit(self, authority: str, event: TransactionMessage) -> None:
        """Ask one authority about one message."""
        await anyio.sleep(self._seconds)
        self._audits[authority] += 1
        self._bytes += len(event.message.body)
