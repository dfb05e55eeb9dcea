"""The one mutable place: who is registered, and the plans that were made of it.

Rules that its editors keep:

- Whatever changes goes through the lock; a dispatch reads `Registry.cached_plans` without it.
- A plan is made and kept under the lock, so that no plan of an earlier state can replace a newer one.
- Adding drops the plans in which the key appears, or all of them if its names cannot be listed; a dispatch
  under way goes on with the plan it has.
- Removing drops them too, and replaces the ``call`` of the registration, so that running dispatches skip it.
- Publish last: a registry enters its parent's children, and a bucket the registry, only when it is complete.
- Hashing, comparing and finalizing run user code, which may raise, or use this registry again in the same thread. Do
  not hold on to a state of before, and undo what was begun.
- Callers that wait are notified after the lock has been released, because they take locks of their own.
"""

# ruff: noqa: SLF001  a registry knows the inside of its parent and of its children
from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias, cast
from weakref import ref

from antiphon._events.event import Event
from antiphon._listeners.subscription import Subscription
from antiphon._registry.keys import Matcher, check_key, get_exact_names, get_matcher
from antiphon._registry.plan import CachedPlan, sort_subscriptions
from antiphon._util.naming import safe_repr

__all__ = ("Registry",)

#: How many plans may be kept at a time for names that nobody registered for. Names with listeners are not counted:
#: there are only as many of them as registrations.
MAX_CACHED_NAMES_WITHOUT_LISTENERS: Final = 1024

#: How many event classes may have a plan under one name at a time.
MAX_CACHED_CLASSES_PER_NAME: Final = 1024

#: How many answers to `Registry.answer` may be cached at a time.
MAX_CACHED_ANSWERS_PER_NAME: Final = 1024

#: Called once, when a registration has been removed, with the scope whose end removed it, or with None.
OnRemoval: TypeAlias = Callable[[object], object]

#: The registrations of one listener under one key: nearly always one.
_Registrations = Subscription | dict[Subscription, None]

#: The bucket of a key that nobody listens to.
_EMPTY_BUCKET: Final[dict[Hashable, _Registrations]] = {}


class Registry:
    """The registrations of one dispatcher, and its plans by name and event class.

    The registry of a scope has a parent: what the parent's listeners hear, the scope's plans contain too.
    """

    __slots__ = (
        "__weakref__",
        "_acquire",
        "_answers_cached",
        "_buckets",
        "_cached_plans_without_listeners",
        "_children",
        "_ended",
        "_has_duplicates",
        "_has_unhashable",
        "_lock",
        "_make_cached_plan",
        "_matchers",
        "_names_without_listeners",
        "_parent",
        "_placeholder",
        "_release",
        "_removed",
        "_watchers",
        "answers",
        "cached_plans",
    )

    #: The way to each plan made so far: by name, then by class of the event.
    cached_plans: dict[Hashable, dict[type, CachedPlan]]

    #: The listeners that `answer` found: by name, then by class of the event. Apart from the plans, so that names
    #: which a program only asks about never push out the plans of names under which it dispatches.
    answers: dict[Hashable, dict[type, tuple[Any, ...]]]

    def __init__(
        self,
        make_cached_plan: Callable[[Hashable, type, tuple[Subscription, ...]], CachedPlan],
        placeholder: Callable[[Any], Any],
        parent: Registry | None = None,
    ) -> None:
        """Start empty.

        Args:
            make_cached_plan: Makes the plan, and the way to it, of a name, an event class and the listeners in order.
            placeholder: What is called in the place of a removed listener.
            parent: The registry that a scope adds to.

        Raises:
            RuntimeError: If the parent has ended.
        """
        self._make_cached_plan = make_cached_plan
        self._placeholder = placeholder
        # Reentrant, since comparing listeners, and a collected object's finalizer, may run code that registers.
        # A family has one, since a change of the parent drops plans of its scopes, whose plans are made of the parent.
        self._lock: RLock = RLock() if parent is None else parent._lock
        # For what happens often: called like this, a lock takes half the time that it does in a `with`.
        self._acquire = self._lock.acquire
        self._release = self._lock.release
        self._buckets: dict[Hashable, dict[Hashable, _Registrations]] = {}
        # The keys among them that hear more than their own name.
        self._matchers: dict[Hashable, Matcher] = {}
        # Whether a listener was ever registered twice under a key: then a slot may hold several.
        self._has_duplicates = False
        # Whether a listener without a hash was ever registered: then equal ones may stand in several slots.
        self._has_unhashable = False
        # The scope that has ended.
        self._ended: object = None
        self._parent = parent
        # A plain set of references: a WeakSet cannot be iterated over while another thread drops the last reference to
        # one of its members, or while a finalizer adds one. None until there is a child, as most have none.
        self._children: set[ref[Registry]] | None = None
        # The names in `cached_plans` that are no key: only these could grow without end.
        self._names_without_listeners: set[Hashable] = set()
        #: How many plans they have had since they were dropped last.
        self._cached_plans_without_listeners = 0
        self._answers_cached = 0
        # What to call when a registration has been removed, and what of it is still to be called. None until something
        # waits.
        self._watchers: dict[Subscription, OnRemoval] | None = None
        self._removed: list[OnRemoval] | None = None
        self.cached_plans = {}
        self.answers = {}
        if parent is not None:
            parent._adopt(self)

    def _adopt(self, child: Registry) -> None:
        with self._lock:
            if self._ended is not None:
                raise RuntimeError(
                    f"{safe_repr(self._ended)} has ended, and a scope of it would extend nothing; make the scope of "
                    f"the dispatcher: `with dispatcher.scope()`"
                )
            if self._children is None:
                self._children = set()
            self._children.add(ref(child, self._children.discard))

    def add(self, subscription: Subscription) -> None:
        """Keep a registration; a failure changes nothing.

        Raises:
            TypeError: If the key is invalid.
            ValueError: If the key is an invalid pattern.
            RuntimeError: If the registry has ended.
        """
        key, listener = subscription.key, subscription.listener
        self._acquire()
        try:
            try:
                bucket = self._buckets[key]
            except (KeyError, TypeError):
                bucket = self._new_bucket(key, listener)
            try:
                try:
                    first = bucket.setdefault(listener, subscription) is subscription
                except Exception:
                    # It has no hash, or cannot be compared.
                    first = False
                    self._has_unhashable = True
                if not first:
                    self._has_duplicates = True
                    self._insert(bucket, subscription)
                if len(bucket) == 1 and self._buckets.get(key) is not bucket:
                    # The hash of the listener, or a finalizer, has removed the last registration of the key, and with
                    # it this bucket.
                    bucket = self._buckets[key] if key in self._buckets else self._new_bucket(key, listener)
                    self._insert(bucket, subscription)
                if self.cached_plans or self._children or self.answers:
                    self._drop_plans(key, exact=key not in self._matchers)
            except BaseException:
                self._undo(key, bucket, subscription)
                raise
        finally:
            self._release()

    def _new_bucket(self, key: Hashable, listener: object) -> dict[Hashable, _Registrations]:
        check_key(key)
        # Asked here alone, for what has ended has no bucket left.
        if self._ended is not None:
            raise RuntimeError(
                f"{safe_repr(self._ended)} has ended, so nothing would take {safe_repr(listener)} back; register on "
                f"the dispatcher, or in a new `with dispatcher.scope()`"
            )
        matcher = get_matcher(key)
        # The check of the key may have registered under it.
        bucket = self._buckets.setdefault(key, {})
        if matcher is not None:
            self._matchers[key] = matcher
        return bucket

    def _undo(self, key: Hashable, bucket: dict[Hashable, _Registrations], subscription: Subscription) -> None:
        # A plan that was made meanwhile may contain it. All of them, because comparing names may be what failed.
        self._clear_plans()
        # By identity, because the hash of the listener may be what failed.
        for slot, kept in list(bucket.items()):
            if kept is subscription:
                del bucket[slot]
            elif isinstance(kept, dict):
                kept.pop(subscription, None)
        self._finish_removal(key, subscription)

    def discard(self, subscription: Subscription, /) -> bool:
        """Take one registration back. Returns whether it was still there."""
        self._acquire()
        try:
            if subscription.call is self._placeholder:
                return False
            key, listener = subscription.key, subscription.listener
            bucket = self._buckets.get(key, _EMPTY_BUCKET)
            try:
                found = not self._has_unhashable and bucket.get(listener) is subscription
            except Exception:
                # It has lost its hash.
                found = False
            if found:
                del bucket[listener]
                if bucket and not (self.cached_plans or self._children or self.answers or self._watchers):
                    # As in `remove`.
                    subscription.call = self._placeholder
                    return True
            elif not self._discard_by_search(key, bucket, subscription):
                return False
            self._finish_removal(key, subscription)
        finally:
            self._release()
        if self._removed:
            self._notify()
        return True

    def _discard_by_search(
        self, key: Hashable, bucket: dict[Hashable, _Registrations], subscription: Subscription
    ) -> bool:
        slot = _get_bucket_key(subscription.listener)
        try:
            kept = bucket.get(slot)
        except Exception:
            # It cannot be compared.
            kept = None
        if not _contains(kept, subscription):
            if not any(_contains(other, subscription) for other in list(bucket.values())):
                return False
            self._rebuild_bucket(key, without=subscription)
        elif isinstance(kept, dict) and len(kept) > 1:
            del kept[subscription]
        else:
            del bucket[slot]
        return True

    def remove(self, key: Hashable, listener: Any) -> None:
        """Take back every registration of a listener, and of those equal to it, under a key.

        Raises:
            TypeError: The key is none.
            ValueError: The listener does not listen to it.
        """
        if key.__class__ is not str:
            check_key(key)
        self._acquire()
        try:
            bucket = self._buckets.get(key, _EMPTY_BUCKET)
            try:
                kept = None if self._has_unhashable else bucket.pop(listener, None)
            except Exception:
                # It has no hash.
                kept = None
            if kept is None:
                self._remove_by_search(key, bucket, listener)
            elif (
                type(kept) is Subscription
                and bucket
                and not (self.cached_plans or self._children or self.answers or self._watchers)
            ):
                # One of many, while nobody dispatches: to call `_finish_removal` would take a tenth of the whole.
                kept.call = self._placeholder
            else:
                self._finish_removal(key, kept)
        finally:
            self._release()
        if self._removed:
            self._notify()

    def _remove_by_search(self, key: Hashable, bucket: dict[Hashable, _Registrations], listener: object) -> None:
        check_key(key)
        # Equality alone finds a listener that has no hash, or no longer the one it was registered with.
        equal = [s for kept in list(bucket.values()) for s in _as_tuple(kept) if s.listener == listener]
        for subscription in equal:
            self.discard(subscription)
        if not equal:
            raise ValueError(
                f"{safe_repr(listener)} does not listen to {safe_repr(key)}; "
                f"get_listeners({safe_repr(key)}) tells who does"
            )

    def close(self, scope: object) -> None:
        """Take every registration back, and refuse new ones.

        Args:
            scope: What they are told to have ended.
        """
        with self._lock:
            self._ended = scope
            # All buckets at once: without a bucket, what registers while the plans are dropped is refused.
            buckets, self._buckets = self._buckets, {}
            self._matchers = {}
            for bucket in buckets.values():
                for kept in bucket.values():
                    for subscription in _as_tuple(kept):
                        self._silenced(subscription)
                # A registration that is being added to it, and has ended the scope, sees that it is no longer kept.
                bucket.clear()
            if self.cached_plans or self._children or self.answers:
                self._clear_plans()
        self._notify()

    def when_removed(self, subscription: Subscription, call: OnRemoval, /) -> None:
        """Call a function once a registration has been removed; at once if it has been already.

        It is called in the thread of the removal, with the scope whose end removed the registration, or with None.
        """
        with self._lock:
            if self._watchers is None or self._removed is None:
                self._watchers, self._removed = {}, []
            if subscription.call is self._placeholder:
                self._removed.append(call)
            else:
                self._watchers[subscription] = call
        self._notify()

    def _silenced(self, subscription: Subscription) -> None:
        subscription.call = self._placeholder
        if self._watchers and self._removed is not None:
            watcher = self._watchers.pop(subscription, None)
            if watcher is not None:
                self._removed.append(watcher)

    def _notify(self) -> None:
        while self._removed:
            try:
                call = self._removed.pop(0)
            except IndexError:
                # Another thread was faster.
                return
            call(self._ended)

    def get_cached_plan(self, name: Hashable, cls: type) -> CachedPlan:
        """Return the plan for events of a class under a name, from the cache or made now."""
        with self._lock:
            cached = self.cached_plans.get(name, {}).get(cls)
            if cached is None:
                # A matcher may run user code that registers listeners. The dictionary is then detached from the cache,
                # and this plan is not cached.
                cached_plans = self._get_cached_plans_of_name(name)
                cached = cached_plans[cls] = self._make_cached_plan(name, cls, self.find_for_event(name, cls))
            return cached

    def find_for_event(self, name: Hashable, cls: type = Event) -> tuple[Subscription, ...]:
        """All that would run for events of a class dispatched under a name, in order."""
        with self._lock:
            return sort_subscriptions(self._collect_for_event(name, cls))

    def answer(self, name: Hashable, cls: type) -> tuple[Any, ...]:
        """Return the listeners of what `heard` returns, and cache them in `answers`."""
        with self._lock:
            if self._answers_cached >= MAX_CACHED_ANSWERS_PER_NAME:
                self._clear_answers()
            # As in `get_cached_plan`: dropped meanwhile, it is not cached.
            answers = self.answers.setdefault(name, {})
            self._answers_cached += 1
            cached = self.cached_plans.get(name, {}).get(cls)
            found = self.find_for_event(name, cls) if cached is None else cached.plan.listeners
            listeners = answers[cls] = tuple([subscription.listener for subscription in found])
            return listeners

    def by_key(self) -> dict[Hashable, tuple[Subscription, ...]]:
        """The registrations of every key at one moment, those of the parent included, in order."""
        with self._lock:
            # A key whose hash removes the last listener of another one leaves that one without any.
            return {key: sort_subscriptions(found) for key in self.keys() if (found := self._collect_for_key(key))}

    def find_all(self) -> tuple[Subscription, ...]:
        """Every registration, those of the parent included, in order."""
        with self._lock:
            return sort_subscriptions(
                subscription for key in self.keys() for subscription in self._collect_for_key(key)
            )

    def _collect_for_key(self, key: Hashable) -> list[Subscription]:
        found = self._get_bucket_subscriptions(key)
        return found if self._parent is None else [*self._parent._collect_for_key(key), *found]

    def keys(self) -> tuple[Hashable, ...]:
        """The keys that somebody listens to."""
        with self._lock:
            own = tuple(self._buckets)
            return own if self._parent is None else tuple(dict.fromkeys((*self._parent.keys(), *own)))

    def _collect_for_event(self, name: Hashable, cls: type) -> list[Subscription]:
        found = [] if name in self._matchers else self._get_bucket_subscriptions(name)
        # A list, for what a matcher asks may register.
        for key, matches in list(self._matchers.items()):
            if matches(name, cls):
                found += self._get_bucket_subscriptions(key)
        return found if self._parent is None else [*self._parent._collect_for_event(name, cls), *found]

    def _get_bucket_subscriptions(self, key: Hashable) -> list[Subscription]:
        bucket = self._buckets.get(key)
        if bucket is None:
            return []
        kept = list(bucket.values())
        return (
            [one for several in kept for one in _as_tuple(several)]
            if self._has_duplicates
            else cast("list[Subscription]", kept)
        )

    def invalidate_plans(self) -> None:
        """Drop all plans, those of scopes too, since something else has changed that they are made of."""
        with self._lock:
            self._drop_plans("*", exact=False)

    def _drop_plans(self, key: Hashable, *, exact: bool) -> None:
        names = (key,) if exact else get_exact_names(key)
        if names is None:
            self._clear_plans()
            return
        try:
            for name in names:
                self.cached_plans.pop(name, None)
                self._names_without_listeners.discard(name)
                self.answers.pop(name, None)
        except BaseException as exc:  # noqa: ASYNC103  raised if it is no error
            # A cached name cannot be compared with the key. Dropping too many plans is never wrong.
            self._clear_plans()
            if not isinstance(exc, Exception):
                raise
            return  # noqa: ASYNC104  see above
        if self._children:
            for child in self._scopes():
                child._drop_plans(key, exact=exact)

    def _clear_plans(self) -> None:
        self.cached_plans.clear()
        self._names_without_listeners.clear()
        self._cached_plans_without_listeners = 0
        self._clear_answers()
        if self._children:
            for child in self._scopes():
                child._clear_plans()

    def _clear_answers(self) -> None:
        self.answers.clear()
        self._answers_cached = 0

    def _scopes(self) -> list[Registry]:
        # A copy made in one step, since scopes come and go in finalizers and in other threads without the lock.
        children = [child() for child in list(self._children or ())]
        return [child for child in children if child is not None]

    def _rebuild_bucket(self, key: Hashable, *, without: Subscription) -> None:
        # The hash of a listener has changed since it was registered, so that its slot cannot be found any more.
        everyone = [s for kept in self._buckets[key].values() for s in _as_tuple(kept) if s is not without]
        rebuilt: dict[Hashable, _Registrations] = {}
        for subscription in everyone:
            self._insert(rebuilt, subscription)
        self._buckets[key] = rebuilt

    def _insert(self, bucket: dict[Hashable, _Registrations], subscription: Subscription) -> None:
        slot = _get_bucket_key(subscription.listener)
        try:
            earlier = bucket.get(slot)
        except Exception:
            # It cannot be compared with another one.
            self._has_unhashable = True
            slot = _get_identity_key(subscription.listener)
            earlier = bucket.get(slot)
        if earlier is None:
            bucket[slot] = subscription
        elif isinstance(earlier, dict):
            earlier[subscription] = None
        else:
            bucket[slot] = {earlier: None, subscription: None}

    def _finish_removal(self, key: Hashable, removed: _Registrations) -> None:
        if isinstance(removed, dict):
            for subscription in removed:
                self._silenced(subscription)
        elif self._watchers:
            self._silenced(removed)
        else:
            removed.call = self._placeholder
        if self.cached_plans or self._children or self.answers:
            self._drop_plans(key, exact=key not in self._matchers)
        # Comparing, or a finalizer, may have removed the bucket, or registered again.
        if not self._buckets.get(key, True):
            del self._buckets[key]
            self._matchers.pop(key, None)

    def _get_cached_plans_of_name(self, name: Hashable) -> dict[type, CachedPlan]:
        if name in self._buckets:
            cached_plans = self.cached_plans.setdefault(name, {})
            if len(cached_plans) >= MAX_CACHED_CLASSES_PER_NAME:
                cached_plans.clear()
            return cached_plans
        if self._cached_plans_without_listeners >= MAX_CACHED_NAMES_WITHOUT_LISTENERS:
            for unheard in self._names_without_listeners:
                self.cached_plans.pop(unheard, None)
            self._names_without_listeners.clear()
            self._cached_plans_without_listeners = 0
        self._names_without_listeners.add(name)
        self._cached_plans_without_listeners += 1
        return self.cached_plans.setdefault(name, {})


def _get_bucket_key(listener: object) -> Hashable:
    """What a listener is kept under: itself, so that equal ones are found without a search."""
    try:
        hash(listener)
    except Exception:
        return _get_identity_key(listener)
    return listener


def _get_identity_key(listener: object) -> Hashable:
    return ("unhashable", id(listener))


def _as_tuple(kept: _Registrations) -> tuple[Subscription, ...]:
    return tuple(kept) if isinstance(kept, dict) else (kept,)


def _contains(kept: _Registrations | None, subscription: Subscription) -> bool:
    return subscription in kept if isinstance(kept, dict) else kept is subscription
