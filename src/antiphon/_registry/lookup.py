"""Looking up the subscriptions of a registry: by key, by name and event class, and all of them."""

# ruff: noqa: SLF001  a registry uses private members of its parent
from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable
from typing import Any, Final, cast

from antiphon._events.event import Event
from antiphon._listeners.subscription import LinkedSubscription, Subscription
from antiphon._registry.bucket import Bucket
from antiphon._registry.keys import Matcher
from antiphon._registry.plan import sort_subscriptions

__all__ = ("EMPTY_BUCKET", "RegistryLookup", "join_linked")

#: The bucket of a key without subscriptions. Nothing is added to it.
EMPTY_BUCKET: Final = Bucket()


class RegistryLookup:
    """The part of a `Registry` that only reads."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_buckets", "_has_linked", "_lock", "_matchers", "_parent", "_value_classes", "ended_scope",
    )
    # fmt: on

    _lock: RLock
    _parent: RegistryLookup | None
    _buckets: dict[Hashable, Bucket]
    #: The matchers of those keys that match more than their own name.
    _matchers: dict[Hashable, Matcher]
    #: Whether a listener, perhaps of the parent, may have several keys.
    _has_linked: bool
    #: The classes of the keys that could also be events.
    _value_classes: tuple[type, ...]
    #: Returns the scope that has ended, or None if it has been freed: a strong reference would be part of a cycle. None
    #: before the end.
    ended_scope: Callable[[], Any] | None

    def find_for_event(self, name: Hashable, cls: type = Event) -> tuple[Subscription, ...]:
        """Return the subscriptions that match events of a class under a name, sorted."""
        with self._lock:
            found = sort_subscriptions(self._collect_for_event(name, cls))
            return join_linked(found) if self._has_linked else found

    def find_all(self) -> tuple[Subscription, ...]:
        """Return all subscriptions, including those of the parent, sorted."""
        with self._lock:
            return sort_subscriptions(found for key in self.keys() for found in self._collect_for_key(key))

    def by_key(self) -> dict[Hashable, tuple[Subscription, ...]]:
        """Return the subscriptions of each key, including those of the parent, sorted."""
        with self._lock:
            # Hashing a key may run user code that removes the last subscription of another key.
            return {key: sort_subscriptions(found) for key in self.keys() if (found := self._collect_for_key(key))}

    def keys(self) -> tuple[Hashable, ...]:
        """Return the keys that have subscriptions, including those of the parent."""
        with self._lock:
            own = tuple(self._buckets)
            return own if self._parent is None else tuple(dict.fromkeys((*self._parent.keys(), *own)))

    def count_keys(self) -> int:
        """Return the number of keys, without those of the parent."""
        return len(self._buckets)

    def _collect_for_key(self, key: Hashable) -> list[Subscription]:
        found = self._buckets.get(key, EMPTY_BUCKET).get_subscriptions()
        return found if self._parent is None else [*self._parent._collect_for_key(key), *found]

    def _collect_for_event(self, name: Hashable, cls: type) -> list[Subscription]:
        # If the name is itself a pattern or a class, its matcher decides.
        bucket = self._buckets.get(name)
        found = [] if bucket is None or name in self._matchers else bucket.get_subscriptions()
        # A list, because a matcher may run user code that registers.
        for key, matches in list(self._matchers.items()):
            if matches(name, cls):
                found += self._buckets.get(key, EMPTY_BUCKET).get_subscriptions()
        return found if self._parent is None else [*self._parent._collect_for_event(name, cls), *found]

    def may_equal_key(self, event: object) -> bool:
        """Return whether an event is of the class of a key, so that it could be meant as a name."""
        return isinstance(event, self._value_classes) or (
            self._parent is not None and self._parent.may_equal_key(event)
        )

    def has_key(self, value: Hashable) -> bool:
        """Return whether a listener has this key."""
        with self._lock:
            return bool(self._collect_for_key(value))


def join_linked(subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
    """Join the subscriptions of each listener with several keys, which a dispatch calls once."""
    # The subscriptions of one listener under several keys have the same order.
    by_order: dict[int, list[Subscription]] = {}
    for subscription in subscriptions:
        by_order.setdefault(subscription.order, []).append(subscription)
    return tuple(
        linked[0] if len(linked) == 1 else cast("Subscription", LinkedSubscription(linked))
        for linked in by_order.values()
    )
