"""The subscriptions of one key, by listener.

A bucket is a dict in which each listener is the key of its subscriptions, so that equal listeners are found by their
hash. If a listener cannot be hashed or compared, its identity is the key instead.
A listener whose hash changes after its registration is found by a search over all subscriptions.

Invariants:

- The registry holds its lock while it uses a bucket.
- Hashing and comparing listeners run user code, which may raise, or change the bucket. Iterate over a copy.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Self, TypeAlias, cast

from antiphon._listeners.subscription import Subscription

__all__ = ("Bucket", "BucketEntry")

#: The subscriptions of equal listeners: one, or the keys of a dict, in the order in which they were added.
BucketEntry: TypeAlias = Subscription | dict[Subscription, None]


class Bucket(dict[Hashable, BucketEntry]):
    """The subscriptions of one key, by listener."""

    #: Whether an entry of this bucket has ever had several subscriptions.
    has_duplicates = False
    #: Whether a listener could not be hashed or compared. Then equal listeners may have several entries.
    has_unhashable = False

    def insert(self, subscription: Subscription) -> None:
        """Add a subscription. Its listener may already have others."""
        entry_key: Hashable = subscription.listener
        try:
            entry = self.get(entry_key)
        except Exception:
            # The listener has no hash, or cannot be compared with another one.
            self.has_unhashable = True
            entry_key = _get_identity_key(entry_key)
            entry = self.get(entry_key)
        if entry is None:
            self[entry_key] = subscription
        elif isinstance(entry, dict):
            entry[subscription] = None
        else:
            self.has_duplicates = True
            self[entry_key] = {entry: None, subscription: None}

    def discard(self, subscription: Subscription) -> bool:
        """Remove a subscription, and return whether it was found by the hash or the identity of its listener."""
        listener = subscription.listener
        for entry_key in (listener, _get_identity_key(listener)):
            try:
                entry = self.get(entry_key)
            except Exception:  # noqa: S112  without a hash, the listener can only be found by its identity
                continue
            if entry is subscription:
                del self[entry_key]
                return True
            if isinstance(entry, dict) and subscription in entry:
                if len(entry) > 1:
                    del entry[subscription]
                else:
                    del self[entry_key]
                return True
        return False

    def discard_by_search(self, subscription: Subscription) -> None:
        """Remove a subscription without looking up its listener, whose hash may have changed or raise."""
        for entry_key, entry in list(self.items()):
            if entry is subscription:
                del self[entry_key]
            elif isinstance(entry, dict):
                entry.pop(subscription, None)

    def copy_without(self, subscription: Subscription) -> Self:
        """Return a bucket with the other subscriptions, stored by the identity of their listeners.

        Their hashes are not used, because one may have changed, and because hashing could change this bucket.
        """
        bucket = type(self)()
        bucket.has_unhashable = bucket.has_duplicates = True
        for other in self.get_subscriptions():
            if other is not subscription:
                entry = bucket.setdefault(_get_identity_key(other.listener), {})
                cast("dict[Subscription, None]", entry)[other] = None
        return bucket

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


def _get_identity_key(listener: object) -> Hashable:
    return ("unhashable", id(listener))
