"""What happens when subscriptions are removed: callbacks are called, and proxies of listeners stop calling them.

Invariants:

- The registry holds its lock while it calls the methods of `RemovalCallbacks`, except `RemovalCallbacks.run_due`.
- It releases the lock before it calls `RemovalCallbacks.run_due`, because the callbacks acquire locks of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from antiphon._listeners.subscription import P, Subscription, SubscriptionProxy

__all__ = ("RemovalCallback", "RemovalCallbacks")

#: A callback for the removal of one subscription. It receives the scope whose end removed the subscription, or None.
RemovalCallback: TypeAlias = Callable[[object], object]


class RemovalCallbacks:
    """The removal callbacks of one registry, and the proxies of its subscriptions."""

    __slots__ = ("_due", "_proxies", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Subscription, RemovalCallback] = {}
        self._proxies: dict[Subscription, SubscriptionProxy] = {}
        self._due: list[RemovalCallback] = []

    def add(self, subscription: Subscription, call: RemovalCallback) -> None:
        """Add the callback of a subscription. It is due immediately if the subscription has been removed."""
        if subscription.is_registered():
            self._waiting[subscription] = call
        else:
            self._due.append(call)

    def get_proxy(self, subscription: Subscription, make: Callable[[Subscription], P]) -> P:
        """Return the proxy of a subscription, which all plans share."""
        proxy = cast("P | None", self._proxies.get(subscription))
        if proxy is None:
            proxy = make(subscription)
            if subscription.is_registered():
                self._proxies[subscription] = proxy
        return proxy

    def on_removed(self, subscription: Subscription) -> None:
        """Update the proxy of a subscription, and make its callback due, if it has them."""
        proxy = self._proxies.pop(subscription, None)
        if proxy is not None:
            # Not a callback, which another thread might call a moment later.
            # A public name would hide an attribute of the listener.
            proxy._antiphon_follow(subscription)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
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
