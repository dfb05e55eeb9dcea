"""The subscriptions of one key, by listener.

A bucket is a dict in which each listener is the key of its subscriptions, so that equal listeners are found by their
hash. All listeners that cannot be hashed or compared have one common key instead.
A listener whose hash changes after its registration is found by a search over all subscriptions.

Invariants:

- The registry holds its lock while it uses a bucket.
- Hashing and comparing listeners run user code, which may raise, or change the bucket. Iterate over a copy.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, TypeAlias, cast

from antiphon._listeners.subscription import Subscription

__all__ = ("Bucket", "BucketEntry")

#: The subscriptions of equal listeners: one, or the keys of a dict, in the order in which they were added.
BucketEntry: TypeAlias = Subscription | dict[Subscription, None]

#: The key of the subscriptions whose listeners cannot be hashed or compared.
_UNHASHABLE: Final = object()


class Bucket(dict[Hashable, BucketEntry]):
    """The subscriptions of one key, by listener."""

    #: Whether an entry of this bucket has ever had several subscriptions.
    has_duplicates = False
    #: Whether a listener could not be hashed or compared. Then equal listeners may have two entries.
    has_unhashable = False

    def insert(self, subscription: Subscription) -> None:
        """Add a subscription. Its listener may already have others."""
        listener: Hashable = subscription.listener
        try:
            entry = self.get(listener)
        except Exception:
            # The listener has no hash, or cannot be compared with another one.
            self._insert_unhashable({subscription: None})
            return
        if entry is None:
            self[listener] = subscription
        elif isinstance(entry, dict):
            entry[subscription] = None
        else:
            self.has_duplicates = True
            self[listener] = {entry: None, subscription: None}

    def _insert_unhashable(self, subscriptions: dict[Subscription, None]) -> None:
        self.has_unhashable = self.has_duplicates = True
        entry = self.setdefault(_UNHASHABLE, {})
        cast("dict[Subscription, None]", entry).update(subscriptions)

    def discard(self, subscription: Subscription) -> bool:
        """Remove a subscription that is not the only one of its listener, or whose listener is not found by its hash.

        Returns:
            Whether the bucket contained the subscription.
        """
        try:
            is_found = self._discard_under(_UNHASHABLE, subscription) or self._discard_under(
                subscription.listener, subscription
            )
        except Exception:
            # The listener has lost its hash.
            is_found = False
        return is_found or self.discard_by_search(subscription)

    def _discard_under(self, entry_key: Hashable, subscription: Subscription) -> bool:
        entry = self.get(entry_key)
        if not isinstance(entry, dict) or subscription not in entry:
            return False
        if len(entry) > 1:
            del entry[subscription]
        else:
            del self[entry_key]
        return True

    def discard_by_search(self, subscription: Subscription) -> bool:
        """Remove a subscription without hashing a listener, because a hash may have changed, raise or run other code.

        Returns:
            Whether the bucket contained the subscription.
        """
        subscriptions = dict.fromkeys(self.get_subscriptions())
        if subscription not in subscriptions:
            return False
        del subscriptions[subscription]
        # The finalizer of a listener may add to this bucket.
        self.clear()
        if subscriptions:
            self._insert_unhashable(subscriptions)
        return True

    def find_equal(self, listener: object) -> list[Subscription]:
        """Return the subscriptions of equal listeners, also of those without a hash."""
        return [subscription for subscription in self.get_subscriptions() if subscription.listener == listener]

    def get_subscriptions(self) -> list[Subscription]:
        """Return all subscriptions, in no particular order."""
        entries = list(self.values())
        if not self.has_duplicates:
            return cast("list[Subscription]", entries)
        return [
            subscription
            for entry in entries
            for subscription in (tuple(entry) if isinstance(entry, dict) else (entry,))
        ]
