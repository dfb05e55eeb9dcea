"""A slow application: each of its checks waits for the response of an authority."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import anyio

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import TRANSACTION_MESSAGE, TransactionMessage


class Auditor:
    """Asks several authorities to check each message.

    The checks do not change the message and do not depend on each other, so they have equal priorities. A sequential
    dispatch takes the sum of their times. A concurrent dispatch takes the longest of them.
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
        """Return the number of checks and of checked bytes."""
        return {"audits": self._audits.total(), "bytes audited": self._bytes}

    async def audit(self, authority: str, event: TransactionMessage) -> None:
        """Ask one authority to check a message."""
        await anyio.sleep(self._seconds)
        self._audits[authority] += 1
        self._bytes += len(event.message.body)
