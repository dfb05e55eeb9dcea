"""The registry: all subscriptions of a dispatcher, and the plans cached from them.

A `Registry` has one `Bucket` of subscriptions for each key, and a `RegistryCaches` with the plans.
Only the registry acquires the lock. Its buckets, caches and removal callbacks rely on it.
The registry of a scope has a parent, whose subscriptions are part of its own plans.

Invariants:

- Hold the lock for every change, and from collecting the subscriptions until their plan is cached. Otherwise an
  outdated plan could replace a newer one. Dispatches read `cached_plans` and `answers` without it.
- Adding a subscription drops the plans of the names that its key matches, or all plans if these names cannot be
  listed. A running dispatch keeps its plan.
- Removing a subscription also drops these plans, and replaces its ``call``, so that running dispatches skip it.
- Publish last: make the matcher of a key before you add its bucket, and complete a child before you add it to a parent.
- Hashing, comparing and finalizing run user code, which may raise, or use this registry in the same thread. Read again
  what such code may have changed. If it raises, undo what was done before.
- Release the lock before you call removal callbacks, because they acquire locks of their own.
"""

# ruff: noqa: SLF001  a registry uses private members of its parent and of its children
from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from antiphon._listeners.subscription import P, Subscription, registration_counter
from antiphon._registry.bucket import Bucket, BucketEntry
from antiphon._registry.caches import RegistryCaches
from antiphon._registry.keys import Matcher, check_key, get_affected_names, get_matcher, is_value, split_key
from antiphon._registry.lookup import EMPTY_BUCKET, RegistryLookup
from antiphon._registry.plan import CachedPlan, make_cached_plan_weakly
from antiphon._util.naming import safe_repr

if TYPE_CHECKING:
    from antiphon._registry.declared_names import DeclaredNames
    from antiphon._registry.removals import RemovalCallback, RemovalCallbacks

__all__ = ("Registry",)


class Registry(RegistryLookup):
    """The subscriptions of one dispatcher, and its plans by name and event class."""

    # fmt: off
    __slots__ = (
        "_acquire", "_caches", "_children", "_make_cached_plan", "_placeholder", "_release", "_removal_callbacks",
        "answers", "cached_plans", "declared_names",
    )
    # fmt: on

    def __init__(
        self,
        make_cached_plan: Callable[[Hashable, type, tuple[Subscription, ...]], CachedPlan],
        placeholder: Callable[[Any], Any],
        parent: Registry | None = None,
    ) -> None:
        """Create an empty registry.

        Args:
            make_cached_plan: Makes the plan for a name, an event class and the sorted subscriptions.
            placeholder: Replaces the ``call`` of a removed subscription.
            parent: The registry that a scope extends.

        Raises:
            RuntimeError: If the scope of the parent has ended.
        """
        self._make_cached_plan = make_cached_plan
        self._placeholder = placeholder
        # Reentrant, because comparing listeners and finalizers of collected objects may run code that registers.
        # Scopes share the lock of their parent, because a change of the parent drops plans of its scopes.
        self._lock = RLock() if parent is None else parent._lock
        # For frequent operations, in which a `with` statement is too slow.
        self._acquire = self._lock.acquire
        self._release = self._lock.release
        self._buckets = {}
        self._matchers = {}
        self._value_classes = ()
        self._has_linked = False
        self._caches = caches = RegistryCaches()
        #: The cached plans, by name, then by event class.
        self.cached_plans = caches.plans
        #: The listeners that `answer` found, by name, then by event class.
        self.answers = caches.answers
        self.ended_scope = None
        #: The names that the dispatcher declares, or None if all names are valid.
        self.declared_names: DeclaredNames | None = None if parent is None else parent.declared_names
        self._parent = parent
        # None until needed. Not a WeakSet, because other threads and finalizers may change it during an iteration.
        self._children: set[ref[Registry]] | None = None
        self._removal_callbacks: RemovalCallbacks | None = None
        if parent is not None:
            parent._add_child(self)

    def _add_child(self, child: Registry) -> None:
        with self._lock:
            if self.ended_scope is not None:
                raise RuntimeError(
                    f"expected a dispatcher to extend, but {safe_repr(self.ended_scope())} has ended: create the "
                    f"scope with dispatcher.scope()"
                )
            child._has_linked = self._has_linked
            if self._children is None:
                self._children = set()
            self._children.add(ref(child, self._children.discard))

    def add(self, subscription: Subscription) -> None:
        """Add a subscription. If this raises, nothing has changed.

        Raises:
            TypeError: If the key is invalid.
            ValueError: If the key is an invalid pattern, or matches no declared name.
            RuntimeError: If the scope has ended.
        """
        key, listener = subscription.key, subscription.listener
        subscription._owner, subscription.order = self, next(registration_counter)  # pyright: ignore[reportPrivateUsage]
        self._acquire()
        try:
            try:
                bucket = self._buckets[key]
            except (KeyError, TypeError):
                bucket = self._add_bucket(key, listener)
            try:
                try:
                    entry = bucket.setdefault(listener, subscription)
                except Exception:
                    # The listener has no hash, or cannot be compared with another one.
                    entry = None
                if entry is not subscription:
                    bucket.insert(subscription)
                if len(bucket) == 1 and self._buckets.get(key) is not bucket:
                    # Hashing the listener, or a finalizer, has removed the last subscription of the key, and with it
                    # this bucket.
                    bucket = self._buckets[key] if key in self._buckets else self._add_bucket(key, listener)
                    bucket.insert(subscription)
                if self.cached_plans or self._children or self.answers:
                    self._drop_plans(key, self._matchers.get(key))
            except BaseException:
                self._undo_add(key, bucket, subscription)
                raise
        finally:
            self._release()

    def link(self, subscriptions: Iterable[Subscription]) -> None:
        """Make subscriptions of one listener count as one registration, of which a dispatch runs only the first."""
        with self._lock:
            self._expect_linked()
            order: int | None = None
            for subscription in subscriptions:
                order = subscription.order = subscription.order if order is None else order
            self.clear_plans()

    def _expect_linked(self) -> None:
        self._has_linked = True
        for child in self._get_children():
            child._expect_linked()

    def _add_bucket(self, key: Hashable, listener: object) -> Bucket:
        check_key(key)
        if self.declared_names is not None:
            self.declared_names.check_key(key)
        # Only here, because the registry of a scope that has ended has no buckets left.
        if self.ended_scope is not None:
            raise RuntimeError(
                f"a listener needs a dispatcher that can remove it, but {safe_repr(self.ended_scope())} has ended; "
                f"register {safe_repr(listener)} on the dispatcher, or in a new `with dispatcher.scope()`"
            )
        matcher = get_matcher(key)
        # Checking the key may have run user code that added its bucket.
        bucket = self._buckets.setdefault(key, Bucket())
        if matcher is not None:
            self._matchers[key] = matcher
        elif key.__class__ is not str and is_value(key) and type(key) not in self._value_classes:
            self._value_classes += (type(key),)
            # An event that equals the key may have a plan.
            self._drop_plans(None, None)
        return bucket

    def _undo_add(self, key: Hashable, bucket: Bucket, subscription: Subscription) -> None:
        # A plan may have been made that contains the subscription. Drop all, because comparing names may have raised.
        self.clear_plans()
        bucket.discard_by_search(subscription)
        self._finish_removal(key, subscription)

    def discard(self, subscription: Subscription, /) -> bool:
        """Remove a subscription. Return whether it was registered."""
        self._acquire()
        try:
            if subscription.call is self._placeholder:
                return False
            key, listener = subscription.key, subscription.listener
            bucket = self._buckets.get(key, EMPTY_BUCKET)
            try:
                is_found = bucket.get(listener) is subscription
            except Exception:
                # The listener has lost its hash.
                is_found = False
            if is_found:
                del bucket[listener]
                if bucket and not (self.cached_plans or self._children or self.answers or self._removal_callbacks):
                    # No plan and no callback depends on the subscription, and the bucket is still needed.
                    subscription.call = self._placeholder
                    return True
            elif not bucket.discard(subscription):
                return False
            self._finish_removal(key, subscription)
        finally:
            self._release()
        if self._removal_callbacks is not None:
            self._removal_callbacks.run_due(self.ended_scope)
        return True

    def remove(self, key: Hashable, listener: Any) -> None:
        """Remove every subscription of a listener, and of those equal to it, under a key, or each key of a union.

        Raises:
            TypeError: If the key is invalid.
            ValueError: If the listener is not registered under the key. Nothing is removed then.
        """
        if key.__class__ is not str:
            keys = split_key(key)
            if len(keys) > 1:
                self._remove_all_keys(keys, listener)
                return
            check_key(key)
        self._acquire()
        try:
            bucket = self._buckets.get(key, EMPTY_BUCKET)
            try:
                entry = None if bucket.has_unhashable else bucket.pop(listener, None)
            except Exception:
                # The listener has no hash, or cannot be compared with another one.
                entry = None
            if (
                type(entry) is Subscription
                and bucket
                and not (self.cached_plans or self._children or self.answers or self._removal_callbacks)
            ):
                # No plan and no callback depends on the subscription, and the bucket is still needed.
                entry.call = self._placeholder
            elif entry is not None:
                self._finish_removal(key, entry)
        finally:
            self._release()
        if entry is None:
            self._remove_by_search(key, listener)
        elif self._removal_callbacks is not None:
            self._removal_callbacks.run_due(self.ended_scope)

    def _remove_all_keys(self, keys: tuple[Hashable, ...], listener: Any) -> None:
        for key in keys:
            check_key(key)
            with self._lock:
                if not self._buckets.get(key, EMPTY_BUCKET).find_equal(listener):
                    self._remove_by_search(key, listener)
        for key in keys:
            self.remove(key, listener)

    def _remove_by_search(self, key: Hashable, listener: object) -> None:
        check_key(key)
        with self._lock:
            # Only a comparison finds a listener without a hash, or one whose hash has changed.
            equal = self._buckets.get(key, EMPTY_BUCKET).find_equal(listener)
        if not equal:
            if self.declared_names is not None:
                self.declared_names.check_key(key)
            what = safe_repr(key)
            msg = f"{safe_repr(listener)} does not listen to {what}; get_listeners({what}) returns those that do"
            raise ValueError(msg)
        for subscription in equal:
            self.discard(subscription)

    def _finish_removal(self, key: Hashable, removed: BucketEntry) -> None:
        if isinstance(removed, dict):
            for subscription in removed:
                self._disable(subscription)
        elif self._removal_callbacks is not None:
            self._disable(removed)
        else:
            removed.call = self._placeholder
        if self.cached_plans or self._children or self.answers:
            self._drop_plans(key, self._matchers.get(key))
        # Comparing, or a finalizer, may have removed the bucket, or added to it.
        if not self._buckets.get(key, True):
            del self._buckets[key]
            self._matchers.pop(key, None)

    def _disable(self, subscription: Subscription) -> None:
        subscription.call = self._placeholder
        if self._removal_callbacks is not None:
            self._removal_callbacks.on_removed(subscription)

    def close(self, scope: Any, *, run_callbacks: bool = True) -> None:
        """Remove all subscriptions, and refuse new ones. The scopes of the scope end too.

        Args:
            scope: The scope that ends. Removal callbacks and error messages get it.
            run_callbacks: Whether to call removal callbacks. If not, the caller calls them without the lock.
        """
        with self._lock:
            self.ended_scope = ended = cast("Callable[[], Any]", ref(scope))
            self._make_cached_plan = partial(make_cached_plan_weakly, ended)
            if self._children:
                for child in self._get_children():
                    if child.ended_scope is None:
                        # Until its end, a scope is referenced by this method of it.
                        child.close(cast("Any", child._make_cached_plan).__self__, run_callbacks=False)
            # Detach all buckets first. User code that registers meanwhile must then create one, which is refused.
            buckets, self._buckets, self._matchers = self._buckets, {}, {}
            for bucket in buckets.values():
                for subscription in bucket.get_subscriptions():
                    self._disable(subscription)
                # If user code within `add` has ended the scope, `add` finds that the bucket is empty.
                bucket.clear()
            if self.cached_plans or self._children or self.answers:
                self.clear_plans()
        if (self._removal_callbacks is not None or self._children) and run_callbacks:
            self._run_due_callbacks()

    def _run_due_callbacks(self) -> None:
        if self._removal_callbacks is not None:
            self._removal_callbacks.run_due(self.ended_scope)
        for child in self._get_children():
            child._run_due_callbacks()

    def when_removed(self, subscription: Subscription, call: RemovalCallback, /) -> None:
        """Call a function when a subscription is removed, or immediately if it has been removed."""
        with self._lock:
            self._get_removal_callbacks().add(subscription, call)
        self._get_removal_callbacks().run_due(self.ended_scope)

    def get_proxy(self, subscription: Subscription, make: Callable[[Subscription], P], /) -> P:
        """Return the proxy of a subscription, which follows its ``call``. If there is none, make it."""
        with self._lock:
            return self._get_removal_callbacks().get_proxy(subscription, make)

    def _get_removal_callbacks(self) -> RemovalCallbacks:
        # Imported here, because many programs have no such callback.
        from antiphon._registry.removals import RemovalCallbacks

        if self._removal_callbacks is None:
            self._removal_callbacks = RemovalCallbacks()
        return self._removal_callbacks

    def get_cached_plan(self, name: Hashable, cls: type) -> CachedPlan:
        """Make the plan for a name and an event class that is not in `cached_plans`, cache and return it."""
        with self._lock:
            plans = self._caches.get_plans_for_name(name, is_key=name in self._buckets)
            version = self._caches.version
            cached = self._make_cached_plan(name, cls, self.find_for_event(name, cls))
            # A matcher may have run user code that changed the registry.
            if version is self._caches.version:
                plans[cls] = cached
            return cached

    def keep_plans(self, name: Hashable) -> dict[type, CachedPlan]:
        """Return the cached plans of a name, by event class. The dictionary stays in the cache."""
        with self._lock:
            return self._caches.keep_plans(name)

    def answer(self, name: Hashable, cls: type) -> tuple[Any, ...]:
        """Return the listeners that a dispatch would run, sorted, and cache them in `answers`."""
        with self._lock:
            # If a matcher changes the registry, this dictionary leaves the cache.
            answers = self._caches.get_answers_for_name(name)
            cached = self.cached_plans.get(name, {}).get(cls)
            found = self.find_for_event(name, cls) if cached is None else cached.plan.listeners
            listeners = answers[cls] = tuple([subscription.listener for subscription in found])
            return listeners

    def clear_plans(self) -> None:
        """Drop all plans, also of scopes."""
        with self._lock:
            self._caches.clear()
            if self._children:
                for child in self._get_children():
                    child.clear_plans()

    def _drop_plans(self, key: Hashable, matches: Matcher | None) -> None:
        """Drop the plans of the names that a key with this matcher matches, also of scopes."""
        try:
            names = (key,) if matches is None else get_affected_names(key, matches, self._caches.find_names)
            if names is None:
                self._caches.clear()
            else:
                self._caches.drop(names)
        except BaseException as exc:  # noqa: ASYNC103  raised if it is not an error
            # A cached name cannot be compared with one of these. Dropping more plans is always safe.
            self.clear_plans()
            if not isinstance(exc, Exception):
                raise
        if self._children:
            for child in self._get_children():
                child._drop_plans(key, matches)

    def _get_children(self) -> list[Registry]:
        # Copy the set in one step, because finalizers and other threads change it without the lock.
        return [child for reference in list(self._children or ()) if (child := reference()) is not None]
