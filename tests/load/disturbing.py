"""An application of the proxy that fails, stalls and dispatches again where a request tells it to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Race, Sequential, named
from examples.proxy.applications.storage import RECORD, Record
from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
    ProxyError,
    TransactionEvent,
)

__all__ = ("AGAIN", "Disturbance", "DisturbedError")

AGAIN = "load.again"

#: The share of records after whose writing a listener fails.
FAILED_RECORDS = 0.05


class DisturbedError(Exception):
    """The error of the listeners that fail."""


class Disturbance:
    """Does at random what the target of a request asks for: ``?fail=…``, ``?stall=…`` or ``?again=…``, with a name.

    Attributes:
        counts: What its listeners have done and received.
        statuses: The statuses of the transactions that ended.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int | None] = Counter()

    def register(self, dispatcher: AsyncEventDispatcher) -> None:
        """Add the listeners. At the end of a transaction they run after the storage, else before all others."""
        for name in (TRANSACTION_STARTED, TRANSACTION_MESSAGE, FILTER_REQUEST, FILTER_RESPONSE):
            dispatcher.add_listener(name, named(self.disturb), priority=-100)
        dispatcher.add_listener(TRANSACTION_ENDED, self.count_end, priority=-100)
        dispatcher.add_listener(TRANSACTION_ENDED, named(self.disturb), priority=100)
        dispatcher.add_listener(PROXY_ERROR, self.receive_error)
        dispatcher.add_listener(RECORD, self.fail_record, priority=100)
        dispatcher.add_listener(AGAIN, self.receive_again)
        dispatcher.add_listener(AGAIN, self.stop_again, priority=1)
        self._dispatcher = dispatcher

    def figures(self) -> Mapping[str, int]:
        return self.counts

    async def disturb(self, event: TransactionEvent, name: str) -> None:
        word, _, place = event.transaction.request.target.partition("?")[2].partition("=")
        if place != name:
            return
        if word == "fail":
            self.counts["failed at the end" if name == TRANSACTION_ENDED else "failed"] += 1
            raise DisturbedError(name)
        if word == "stall":
            self.counts["stalled"] += 1
            await anyio.sleep(self._random.uniform(0, 0.2))
        else:
            await self._dispatch_again(event, name)

    async def _dispatch_again(self, event: TransactionEvent, name: str) -> None:
        self.counts["dispatched again"] += 1
        strategy: Any = self._random.choice((Sequential, Concurrent, Race))()
        await self._dispatcher.adispatch(AGAIN, event, strategy=strategy)
        # The stop of the inner dispatch must not reach this one.
        if event.name != name or event.propagation_stopped:
            self.counts["not restored"] += 1

    async def receive_again(self, event: TransactionEvent) -> None:
        await anyio.sleep(self._random.uniform(0, 0.02))
        self.counts["received again"] += 1

    async def stop_again(self, event: TransactionEvent) -> None:
        self.counts["stopped again"] += 1
        event.stop_propagation()

    async def receive_error(self, event: ProxyError) -> None:
        group = event.error
        errors = group.exceptions if isinstance(group, ExceptionGroup) else (group,)
        self.counts["failures received"] += any(isinstance(error, DisturbedError) for error in errors)

    async def count_end(self, event: TransactionEvent) -> None:
        response = event.transaction.response
        self.statuses[response.status if response else None] += 1

    async def fail_record(self, event: Record) -> None:
        if self._random.random() < FAILED_RECORDS:
            self.counts["failed records"] += 1
            raise DisturbedError(RECORD)
