"""The one mutable place: who is registered, and the plans that were made of it.

Rules that its editors keep:

- Whatever changes goes through the lock; a dispatch reads `Registry.routes` without it.
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
from antiphon._registry.keys import Matcher, check_key, exact_keys, matcher_of
from antiphon._registry.plan import Route, in_order
from antiphon._util.naming import safe_repr

__all__ = ("Registry",)

#: How many plans may be kept at a time for names that nobody registered for. Names with listeners are not counted:
#: there are only as many of them as registrations.
MAX_UNHEARD_NAMES: Final = 1024

#: How many event classes may have a plan under one name at a time.
MAX_CLASSES: Final = 1024

#: How many answers to `Registry.answer` may be cached at a time.
MAX_ANSWERS: Final = 1024

#: Called once, when a registration has been removed, with the scope whose end removed it, or with None.
OnRemoval: TypeAlias = Callable[[object], object]

#: The registrations of one listener under one key: nearly always one.
_Registrations = Subscription | dict[Subscription, None]

#: The bucket of a key that nobody listens to.
_NOBODY: Final[dict[Hashable, _Registrations]] = {}


class Registry:
    """The registrations of one dispatcher, and its plans by name and event class.

    The registry of a scope has a parent: what the parent's listeners hear, the scope's plans contain too.
    """

    __slots__ = (
        "__weakref__",
        "_acquire",
        "_answers_cached",
        "_buckets",
        "_children",
        "_ended",
        "_lock",
        "_make_route",
        "_matchers",
        "_parent",
        "_release",
        "_removed",
        "_repeated",
        "_silence",
        "_unhashable",
        "_unheard",
        "_unheard_plans",
        "_watchers",
        "answers",
        "routes",
    )

    #: The way to each plan made so far: by name, then by class of the event.
    routes: dict[Hashable, dict[type, Route]]

    #: The listeners that `answer` found: by name, then by class of the event. Apart from the plans, so that names
    #: which a program only asks about never push out the plans of names under which it dispatches.
    answers: dict[Hashable, dict[type, tuple[Any, ...]]]

    def __init__(
        self,
        make_route: Callable[[Hashable, type, tuple[Subscription, ...]], Route],
        silence: Callable[[Any], Any],
        parent: Registry | None = None,
    ) -> None:
        """Start empty.

        Args:
            make_route: Makes the plan, and the way to it, of a name, an event class and the listeners in order.
            silence: What is called in the place of a removed listener.
            parent: The registry that a scope adds to.

        Raises:
            RuntimeError: If the parent has ended.
        """
        self._make_route = make_route
        self._silence = silence
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
        self._repeated = False
        # Whether a listener without a hash was ever registered: then equal ones may stand in several slots.
        self._unhashable = False
        # The scope that has ended.
        self._ended: object = None
        self._parent = parent
        # A plain set of references: a WeakSet cannot be iterated over while another thread drops the last reference to
        # one of its members, or while a finalizer adds one. None until there is a child, as most have none.
        self._children: set[ref[Registry]] | None = None
        # The names in `routes` that are no key: only these could grow without end.
        self._unheard: set[Hashable] = set()
        #: How many plans they have had since they were dropped last.
        self._unheard_plans = 0
        self._answers_cached = 0
        # What to call when a registration has been removed, and what of it is still to be called. None until something
        # waits.
        self._watchers: dict[Subscription, OnRemoval] | None = None
        self._removed: list[OnRemoval] | None = None
        self.routes = {}
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
                    self._unhashable = True
                if not first:
                    self._repeated = True
                    self._put(bucket, subscription)
                if len(bucket) == 1 and self._buckets.get(key) is not bucket:
                    # The hash of the listener, or a finalizer, has removed the last registration of the key, and with
                    # it this bucket.
                    bucket = self._buckets[key] if key in self._buckets else self._new_bucket(key, listener)
                    self._put(bucket, subscription)
                if self.routes or self._children or self.answers:
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
        matcher = matcher_of(key)
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
        self._forget(key, subscription)

    def discard(self, subscription: Subscription, /) -> bool:
        """Take one registration back. Returns whether it was still there."""
        self._acquire()
        try:
            if subscription.call is self._silence:
                return False
            key, listener = subscription.key, subscription.listener
            bucket = self._buckets.get(key, _NOBODY)
            try:
                found = not self._unhashable and bucket.get(listener) is subscription
            except Exception:
                # It has lost its hash.
                found = False
            if found:
                del bucket[listener]
                if bucket and not (self.routes or self._children or self.answers or self._watchers):
                    # As in `remove`.
                    subscription.call = self._silence
                    return True
            elif not self._discard_with_care(key, bucket, subscription):
                return False
            self._forget(key, subscription)
        finally:
            self._release()
        if self._removed:
            self._notify()
        return True

    def _discard_with_care(
        self, key: Hashable, bucket: dict[Hashable, _Registrations], subscription: Subscription
    ) -> bool:
        slot = _slot(subscription.listener)
        try:
            kept = bucket.get(slot)
        except Exception:
            # It cannot be compared.
            kept = None
        if not _holds(kept, subscription):
            if not any(_holds(other, subscription) for other in list(bucket.values())):
                return False
            self._rebuild(key, without=subscription)
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
            bucket = self._buckets.get(key, _NOBODY)
            try:
                kept = None if self._unhashable else bucket.pop(listener, None)
            except Exception:
                # It has no hash.
                kept = None
            if kept is None:
                self._remove_with_care(key, bucket, listener)
            elif (
                type(kept) is Subscription
                and bucket
                and not (self.routes or self._children or self.answers or self._watchers)
            ):
                # One of many, while nobody dispatches: to call `_forget` would take a tenth of the whole.
                kept.call = self._silence
            else:
                self._forget(key, kept)
        finally:
            self._release()
        if self._removed:
            self._notify()

    def _remove_with_care(self, key: Hashable, bucket: dict[Hashable, _Registrations], listener: object) -> None:
        check_key(key)
        # Equality alone finds a listener that has no hash, or no longer the one it was registered with.
        equal = [s for kept in list(bucket.values()) for s in _all(kept) if s.listener == listener]
        for subscription in equal:
            self.discard(subscription)
        if not equal:
            raise ValueError(
                f"{safe_repr(listener)} does not listen to {safe_repr(key)}; "
                f"get_listeners({safe_repr(key)}) tells who does"
            )

    def end(self, scope: object) -> None:
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
                    for subscription in _all(kept):
                        self._silenced(subscription)
                # A registration that is being added to it, and has ended the scope, sees that it is no longer kept.
                bucket.clear()
            if self.routes or self._children or self.answers:
                self._clear_plans()
        self._notify()

    def when_removed(self, subscription: Subscription, call: OnRemoval, /) -> None:
        """Call a function once a registration has been removed; at once if it has been already.

        It is called in the thread of the removal, with the scope whose end removed the registration, or with None.
        """
        with self._lock:
            if self._watchers is None or self._removed is None:
                self._watchers, self._removed = {}, []
            if subscription.call is self._silence:
                self._removed.append(call)
            else:
                self._watchers[subscription] = call
        self._notify()

    def _silenced(self, subscription: Subscription) -> None:
        subscription.call = self._silence
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

    def route(self, name: Hashable, cls: type) -> Route:
        """Make, or look up, the route for events of a class dispatched under a name."""
        with self._lock:
            route = self.routes.get(name, {}).get(cls)
            if route is None:
                # A matcher may run user code that registers. Then the dictionary is no longer among the routes, and
                # this plan is not cached.
                routes = self._with_room(name)
                route = routes[cls] = self._make_route(name, cls, self.heard(name, cls))
            return route

    def heard(self, name: Hashable, cls: type = Event) -> tuple[Subscription, ...]:
        """All that would run for events of a class dispatched under a name, in order."""
        with self._lock:
            return in_order(self._heard(name, cls))

    def answer(self, name: Hashable, cls: type) -> tuple[Any, ...]:
        """Return the listeners of what `heard` returns, and cache them in `answers`."""
        with self._lock:
            if self._answers_cached >= MAX_ANSWERS:
                self._clear_answers()
            # As in `route`: dropped meanwhile, it is not cached.
            answers = self.answers.setdefault(name, {})
            self._answers_cached += 1
            route = self.routes.get(name, {}).get(cls)
            found = self.heard(name, cls) if route is None else route.plan.listeners
            listeners = answers[cls] = tuple([subscription.listener for subscription in found])
            return listeners

    def by_key(self) -> dict[Hashable, tuple[Subscription, ...]]:
        """The registrations of every key at one moment, those of the parent included, in order."""
        with self._lock:
            # A key whose hash removes the last listener of another one leaves that one without any.
            return {key: in_order(found) for key in self.keys() if (found := self._registered(key))}

    def everything(self) -> tuple[Subscription, ...]:
        """Every registration, those of the parent included, in order."""
        with self._lock:
            return in_order(subscription for key in self.keys() for subscription in self._registered(key))

    def _registered(self, key: Hashable) -> list[Subscription]:
        found = self._all_under(key)
        return found if self._parent is None else [*self._parent._registered(key), *found]

    def keys(self) -> tuple[Hashable, ...]:
        """The keys that somebody listens to."""
        with self._lock:
            own = tuple(self._buckets)
            return own if self._parent is None else tuple(dict.fromkeys((*self._parent.keys(), *own)))

    def _heard(self, name: Hashable, cls: type) -> list[Subscription]:
        found = [] if name in self._matchers else self._all_under(name)
        # A list, for what a matcher asks may register.
        for key, matches in list(self._matchers.items()):
            if matches(name, cls):
                found += self._all_under(key)
        return found if self._parent is None else [*self._parent._heard(name, cls), *found]

    def _all_under(self, key: Hashable) -> list[Subscription]:
        bucket = self._buckets.get(key)
        if bucket is None:
            return []
        kept = list(bucket.values())
        return (
            [one for several in kept for one in _all(several)] if self._repeated else cast("list[Subscription]", kept)
        )

    def drop_plans(self) -> None:
        """Drop all plans, those of scopes too, since something else has changed that they are made of."""
        with self._lock:
            self._drop_plans("*", exact=False)

    def _drop_plans(self, key: Hashable, *, exact: bool) -> None:
        names = (key,) if exact else exact_keys(key)
        if names is None:
            self._clear_plans()
            return
        try:
            for name in names:
                self.routes.pop(name, None)
                self._unheard.discard(name)
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
        self.routes.clear()
        self._unheard.clear()
        self._unheard_plans = 0
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

    def _rebuild(self, key: Hashable, *, without: Subscription) -> None:
        # The hash of a listener has changed since it was registered, so that its slot cannot be found any more.
        everyone = [s for kept in self._buckets[key].values() for s in _all(kept) if s is not without]
        rebuilt: dict[Hashable, _Registrations] = {}
        for subscription in everyone:
            self._put(rebuilt, subscription)
        self._buckets[key] = rebuilt

    def _put(self, bucket: dict[Hashable, _Registrations], subscription: Subscription) -> None:
        slot = _slot(subscription.listener)
        try:
            earlier = bucket.get(slot)
        except Exception:
            # It cannot be compared with another one.
            self._unhashable = True
            slot = _slot_of_its_own(subscription.listener)
            earlier = bucket.get(slot)
        if earlier is None:
            bucket[slot] = subscription
        elif isinstance(earlier, dict):
            earlier[subscription] = None
        else:
            bucket[slot] = {earlier: None, subscription: None}

    def _forget(self, key: Hashable, removed: _Registrations) -> None:
        if isinstance(removed, dict):
            for subscription in removed:
                self._silenced(subscription)
        elif self._watchers:
            self._silenced(removed)
        else:
            removed.call = self._silence
        if self.routes or self._children or self.answers:
            self._drop_plans(key, exact=key not in self._matchers)
        # Comparing, or a finalizer, may have removed the bucket, or registered again.
        if not self._buckets.get(key, True):
            del self._buckets[key]
            self._matchers.pop(key, None)

    def _with_room(self, name: Hashable) -> dict[type, Route]:
        if name in self._buckets:
            routes = self.routes.setdefault(name, {})
            if len(routes) >= MAX_CLASSES:
                routes.clear()
            return routes
        if self._unheard_plans >= MAX_UNHEARD_NAMES:
            for unheard in self._unheard:
                self.routes.pop(unheard, None)
            self._unheard.clear()
            self._unheard_plans = 0
        self._unheard.add(name)
        self._unheard_plans += 1
        return self.routes.setdefault(name, {})


def _slot(listener: object) -> Hashable:
    """What a listener is kept under: itself, so that equal ones are found without a search."""
    try:
        hash(listener)
    except Exception:
        return _slot_of_its_own(listener)
    return listener


def _slot_of_its_own(listener: object) -> Hashable:
    return ("unhashable", id(listener))


def _all(kept: _Registrations) -> tuple[Subscription, ...]:
    return tuple(kept) if isinstance(kept, dict) else (kept,)


def _holds(kept: _Registrations | None, subscription: Subscription) -> bool:
    return subscription in kept if isinstance(kept, dict) else kept is subscription
