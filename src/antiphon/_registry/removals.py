"""Callbacks for the removal of subscriptions.

Invariants:

- The registry holds its lock while it calls `RemovalCallbacks.add` and `RemovalCallbacks.on_removed`.
- It releases the lock before it calls `RemovalCallbacks.run_due`, because the callbacks acquire locks of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from antiphon._listeners.subscription import Subscription

__all__ = ("RemovalCallback", "RemovalCallbacks")

#: A callback for the removal of one subscription. It receives the scope whose end removed the subscription, or None.
RemovalCallback: TypeAlias = Callable[[object], object]


class RemovalCallbacks:
    """The removal callbacks of one registry."""

    __slots__ = ("_due", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Subscription, RemovalCallback] = {}
        self._due: list[RemovalCallback] = []

    def add(self, subscription: Subscription, call: RemovalCallback, *, is_removed: bool) -> None:
        """Add the callback of a subscription. It is due immediately if the subscription has been removed."""
        if is_removed:
            self._due.append(call)
        else:
            self._waiting[subscription] = call

    def on_removed(self, subscription: Subscription) -> None:
        """Make the callback of a subscription due, if it has one."""
        call = self._waiting.pop(subscription, None)
        if call is not None:
            self._due.append(call)

    def run_due(self, ended_scope: Callable[[], object] | None) -> None:
        """Call the callbacks whose subscriptions have been removed, each once."""
        while self._due:
            try:
                call = self._due.pop(0)
            except IndexError:
                # Another thread calls the last one.
                return
            call(None if ended_scope is None else ended_scope())
