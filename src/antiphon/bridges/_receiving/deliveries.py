"""The deliveries of a receiver that wait or run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup

from antiphon.bridges._brokers.protocol import Entry
from antiphon.bridges._codec.envelope import Envelope
from antiphon.bridges._receiving.backlog import Backlog
from antiphon.bridges._receiving.deliverer import Deliverer
from antiphon.bridges._receiving.options import Later, Outcome

__all__ = ("Deliveries",)


class Conclude(Protocol):
    """Called when a delivery has ended."""

    def __call__(self, entry: Entry, outcome: Outcome | None, *, was_cancelled: bool) -> None:
        """Note the outcome, which is None if there is none because of a cancellation."""


class _Waiting(NamedTuple):
    entry: Entry
    envelope: Envelope


class Deliveries:
    """Delivers events in tasks of their own, up to a number at a time. They outlast the sessions of their receiver.

    Args:
        deliverer: Delivers one event.
        concurrency: How many run at a time.
        conclude: Called at the end of each delivery.
        record_attempts: Called after a failed attempt, if an event stays here until it is settled: later events of its
            key wait for it. None if a failed event goes back to the broker.
    """

    def __init__(
        self,
        deliverer: Deliverer,
        concurrency: int,
        conclude: Conclude,
        record_attempts: Callable[[Entry, Later], None] | None,
    ) -> None:
        self._deliverer = deliverer
        self._concurrency = concurrency
        self._conclude = conclude
        self._record_attempts = record_attempts
        self._backlog: Backlog[_Waiting] = Backlog()
        #: The cancel scopes of the deliveries that run, by position.
        self.running: dict[str, anyio.CancelScope] = {}
        #: How many wait or run.
        self.active = 0
        #: When the deliveries must have ended, because another process may own the partition then.
        self._deadline = math.inf

    def add(self, tasks: TaskGroup, entry: Entry, envelope: Envelope, *, key: str | None, first: bool) -> None:
        """Deliver an event as soon as there is a place. Does not wait.

        Args:
            tasks: Where the deliveries run.
            entry: The entry.
            envelope: Its envelope.
            key: The key whose events are delivered one after another, None if it waits for no other.
            first: Whether no other event is before it.
        """
        self.active += 1
        self._backlog.add(key, _Waiting(entry, envelope), first=first)
        self._start(tasks)

    def clear(self) -> list[Entry]:
        """Remove and return the events whose delivery has not started."""
        entries = [waiting.entry for waiting in self._backlog.clear()]
        self.active -= len(entries)
        return entries

    def cancel(self) -> None:
        """Cancel all deliveries that run."""
        for scope in self.running.values():
            scope.cancel()

    def set_deadline(self, tasks: TaskGroup, deadline: float) -> None:
        """Let the deliveries go on until a time of the event loop. Afterwards they are cancelled, and none is started.

        Args:
            tasks: Where the deliveries run.
            deadline: The time.
        """
        self._deadline = deadline
        for scope in self.running.values():
            scope.deadline = deadline
        self._start(tasks)

    def _start(self, tasks: TaskGroup) -> None:
        while len(self.running) < self._concurrency and anyio.current_time() < self._deadline:
            popped = self._backlog.pop()
            if popped is None:
                return
            key, (entry, envelope) = popped
            scope = self.running[entry.position] = anyio.CancelScope(deadline=self._deadline)
            tasks.start_soon(self._run, tasks, scope, key, entry, envelope)

    async def _run(
        self, tasks: TaskGroup, scope: anyio.CancelScope, key: str | None, entry: Entry, envelope: Envelope
    ) -> None:
        outcome: Outcome | None = None
        try:
            with scope:
                outcome = await self._make_attempts(entry, envelope, scope)
        except Exception:
            # Errors that left the listeners together with the cancellation.
            if not scope.cancel_called:
                raise
        finally:
            del self.running[entry.position]
            self.active -= 1
            self._backlog.finish(key)
        self._conclude(entry, outcome, was_cancelled=scope.cancel_called)
        self._start(tasks)

    async def _make_attempts(self, entry: Entry, envelope: Envelope, scope: anyio.CancelScope) -> Outcome:
        while True:
            outcome = await self._deliverer.deliver(entry, envelope, lambda: scope.cancel_called)
            if self._record_attempts is None or not isinstance(outcome, Later) or outcome.elsewhere:
                return outcome
            self._record_attempts(entry, outcome)
            await anyio.sleep(outcome.delay)
            entry = entry._replace(attempt=entry.attempt + 1)
