"""Registering listeners on a dispatcher: directly, by a decorator, for an object, or for a block."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from itertools import chain
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from antiphon._listeners.subscription import (
    DEFAULT_OPTIONS,
    CombinedSubscription,
    Options,
    Subscription,
    SubscriptionWithOptions,
    check_options,
    is_owned_by,
)
from antiphon._registry.keys import EVERY_KEY, AnyOf, combine_keys, select_for_key, split_key
from antiphon._registry.registry import Registry
from antiphon._types import IListener, Key
from antiphon._util.arguments import (
    MISSING,
    check_key_and_listener,
    documented_by,
    hides_collected_arguments,
    make_argument_error,
)
from antiphon._util.lazy_module import LazyModule
from antiphon._util.validation import check_priority

if TYPE_CHECKING:
    import antiphon
    from antiphon._dispatchers import subscribers as _subscribers
else:
    # Many programs register no subscribers, and nothing for the duration of a block.
    antiphon = LazyModule("antiphon")
    _subscribers = LazyModule("antiphon._dispatchers.subscribers")

__all__ = ("RegisteringMixin", "own_add_listeners")

L = TypeVar("L", bound=IListener)

#: The subscriptions that `add_listener` made, for callers that cannot rely on what an override returns.
_captured_subscriptions: Final[ContextVar[list[Subscription] | None]] = ContextVar("captured", default=None)


class _Documentation:
    def remove_listener(self: Any, key: Key, listener: IListener, /) -> None:
        raise NotImplementedError


class RegisteringMixin:
    """The methods of a dispatcher that add and remove listeners.

    Abstract: both dispatchers define `_adapt_listener` and `_wrap_options`.
    """

    _registry: Registry

    #: Code flags. A function of one argument with one of these flags needs no adapter, and no further check.
    _direct_call_flags: int = 0

    @hides_collected_arguments
    def add_listener(
        self,
        key: Hashable = MISSING,
        listener: IListener = MISSING,
        /,
        *extra: Any,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        **unknown: Any,
    ) -> Subscription:
        """Register a listener. It runs from the next dispatch on.

        Args:
            key: What to listen to. A string is the name of a dispatch, or a pattern of names: ``*`` matches one segment
                between dots, ``**`` any number of segments, and ``"*"`` alone matches every event. A class matches the
                events of that class and its subclasses, under any name. A union, ``A | B``, matches the events of
                several classes. Any other hashable object is a name.
            listener: Called with the event. A listener that is added twice runs twice.
            priority: Lower priorities run first. Listeners of equal priority run in the order of registration.
            once: Whether the first call removes the listener, so that it is the only call.
            where: A plain function that receives the event and returns whether to call the listener. An exception that
                it raises is an error of the listener.
            timeout: The maximum duration of a call, in seconds. A longer call is cancelled and fails with a
                ``TimeoutError``. For async listeners.
            limit: The maximum number of concurrent calls of this listener, per event loop. Other calls wait. For async
                listeners.

        Returns:
            The handle of this registration. ``unsubscribe()`` removes the listener, and so does the end of a ``with``
            block.

        Raises:
            TypeError: If the key is None or unhashable, if this dispatcher cannot call the listener, or if an option
                has a wrong type. Nothing is registered then.
            ValueError: If the key contains a ``*`` but is not a pattern, if ``timeout`` is not more than 0, or if
                ``limit`` is less than 1.
            RuntimeError: If this dispatcher is a scope that has ended.
        """
        if extra or unknown:
            written = "add_listener(key, listener)"
            raise make_argument_error(RegisteringMixin.add_listener, written, extra, unknown)
        try:
            # Compare the options one by one: building an Options tuple to compare it would double the cost of
            # registering.
            if once is False and where is None and timeout is None and limit is None:
                if priority.__class__ is not int:
                    check_priority(priority)
                if (
                    listener.__class__ is FunctionType
                    and (code := listener.__code__).co_flags & self._direct_call_flags
                    and code.co_argcount == 1
                    and not code.co_kwonlyargcount
                ):
                    call: Callable[[Any], Any] = listener
                else:
                    call = self._adapt_listener(listener)
                subscription = Subscription()
                subscription.key, subscription.listener = key, listener
                subscription.priority, subscription.call = priority, call
                # The registry checks the key, because it knows the keys that it has checked before.
                self._registry.add(subscription)
            else:
                subscription = self._add_with_options(key, listener, priority, Options(once, where, timeout, limit))
        except TypeError:
            # Only now, because most keys are no unions, and the checks take longer than the rest.
            check_key_and_listener(key, listener, "add_listener")
            if split_key(key) == (key,):
                raise
            return self._add_for_union(key, listener, priority, Options(once, where, timeout, limit))
        captured = _captured_subscriptions.get()
        if captured is not None:
            captured.append(subscription)
        return subscription

    @hides_collected_arguments
    def listen(
        self,
        *keys: Hashable,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        **unknown: Any,
    ) -> Callable[[L], L]:
        """Register the decorated function. The options are those of `add_listener`.

        Args:
            *keys: What to listen to, as for `add_listener`. With several keys, an event that several of them match
                calls the function once. The options hold for all keys together.
            priority: As for `add_listener`.
            once: As for `add_listener`.
            where: As for `add_listener`.
            timeout: As for `add_listener`.
            limit: As for `add_listener`.

        Returns:
            A decorator that returns its function unchanged.

        Raises:
            TypeError: As for `add_listener`, or if it is used without a key.
            ValueError: As for `add_listener`.
        """
        if unknown:
            raise make_argument_error(RegisteringMixin.listen, "listen(key)", (), unknown)
        options = DEFAULT_OPTIONS
        # As in `add_listener`.
        if once is not False or where is not None or timeout is not None or limit is not None:
            options = Options(once, where, timeout, limit)
        key = self._check_listen_arguments(keys, priority, options)

        def decorate(listener: L) -> L:
            self._add_for_caller(key, listener, priority, options)
            return listener

        return decorate

    def add_subscriber(self, subscriber: object, /) -> antiphon.Subscriptions:
        """Register the methods of an object that are marked with `listens_to`: all of them or, after an error, none.

        Methods of base classes are registered first, then methods in the order of their definition. Methods of equal
        priority run in that order.

        Returns:
            One handle for all registrations.

        Raises:
            TypeError: If the subscriber is a class, if none of its methods is marked, or if this dispatcher cannot
                call one of them.
        """
        return _subscribers.register_methods(subscriber, self._add_for_caller)

    # Other forms of the parameters make removals slower. `event_id` is the name in whistle 1.
    @documented_by(_Documentation.remove_listener)
    def remove_listener(  # noqa: D417  it is not documented
        self, key: Key = MISSING, listener: IListener = MISSING, event_id: Key = MISSING
    ) -> None:
        """Remove all registrations under a key of a listener and of listeners equal to it.

        The removal takes effect immediately: a running dispatch does not start the listener anymore. A call that has
        started finishes.

        Args:
            key: The key of the registrations. For a listener with several keys, the listener stays registered under
                the other keys. A union stands for each of its classes.
            listener: The listener, or an equal one.

        Raises:
            TypeError: If the key is None or unhashable.
            ValueError: If the listener is not registered under the key, or under one of the classes of a union.
                Nothing is removed then.
        """
        try:
            self._registry.remove(key, listener)  # type: ignore[arg-type]  # mypy: a class is not Hashable
        except (TypeError, ValueError):
            # Only now, as in `add_listener`.
            if event_id is not MISSING:
                given, written = {"event_id": event_id, "listener": listener}, "remove_listener(key, listener)"
                raise make_argument_error(RegisteringMixin.remove_listener, written, (), given) from None
            check_key_and_listener(key, listener, "remove_listener")
            raise

    def clear(self, key: Key = EVERY_KEY, /) -> None:
        """Remove all listeners under a key, or all listeners, including those that wait for events.

        The removal takes effect immediately, as with `remove_listener`. Streams end, and ``expect`` and ``wait_for``
        raise ``anyio.ClosedResourceError``. A scope removes its own listeners, and not those of its parent.

        Args:
            key: The key. Listeners under other keys stay, also if these keys match the same events. Without a key, the
                listeners under all keys are removed.

        Raises:
            TypeError: If the key is invalid, such as None.
            ValueError: If the key contains a ``*`` but is not a pattern.
        """
        checked = EVERY_KEY if key is EVERY_KEY else self._combine_keys((key,), "clear")
        for subscription in select_for_key(self._registry.by_key(), checked):
            if is_owned_by(subscription, self._registry):
                subscription.unsubscribe()

    def temporarily(self) -> antiphon.Registrar:
        """Register listeners for the duration of a ``with`` block, for tests and plugins.

        Returns:
            A context manager with ``add_listener``, ``listen`` and ``add_subscriber``, which register on this
            dispatcher. The end of the block removes these registrations.
        """
        return antiphon.Registrar(self._add_for_caller, self._check_listen_arguments, self._combine_keys)

    # For subclasses, and for expectations, streams, subscribers and blocks that register listeners.

    def _check_options(self, options: Options, /) -> None:
        """Check that this dispatcher supports the options.

        Raises:
            TypeError: If an option has a wrong type, or is not supported by this dispatcher.
            ValueError: If the value of an option is out of range.
        """
        check_options(options)

    def _adapt_listener(self, listener: Any, /) -> Callable[[Any], Any]:
        """Return the callable that a dispatch calls for a listener: the listener, or an adapter of it.

        Raises:
            TypeError: If this dispatcher cannot call the listener.
        """
        raise NotImplementedError

    def _wrap_options(self, subscription: SubscriptionWithOptions, call: Callable[[Any], Any], /) -> Any:
        """Return a callable that wraps the options of a subscription around a callable of its listener."""
        raise NotImplementedError

    def _check_listen_arguments(self, keys: tuple[Hashable, ...], priority: int, options: Options, /) -> Hashable:
        """Check the arguments of ``listen``, and return its keys as one."""
        if keys and isinstance(keys[0], FunctionType):
            raise TypeError(
                f"listen() takes the key: above {keys[0].__name__}, write "
                f'@dispatcher.listen("order.placed") instead of @dispatcher.listen'
            )
        check_priority(priority)
        if options is not DEFAULT_OPTIONS:
            self._check_options(options)
        return self._combine_keys(keys, "listen")

    def _combine_keys(self, keys: tuple[Any, ...], method: str) -> Hashable:
        """Return checked keys as one. See `combine_keys`."""
        key = combine_keys(keys, method)
        if self._registry.declared_names is not None:
            for part in split_key(key):
                self._registry.declared_names.check_key(part)
        return key

    def _add_with_options(
        self,
        key: Hashable,
        listener: IListener,
        priority: int,
        options: Options,
        first: SubscriptionWithOptions | None = None,
        /,
    ) -> SubscriptionWithOptions:
        check_priority(priority)
        call = self._adapt_listener(listener)
        self._check_options(options)
        subscription = SubscriptionWithOptions(call, options)
        subscription.key, subscription.listener, subscription.priority = key, listener, priority
        if first is not None:
            subscription.linked, subscription.limit_states = first.linked, first.limit_states
        subscription.call = self._wrap_options(subscription, call)
        self._registry.add(subscription)
        return subscription

    def _add_for_union(
        self, key: Hashable, listener: IListener, priority: int, options: Options, /
    ) -> CombinedSubscription:
        parts = split_key(combine_keys((key,), "add_listener"))
        added = self._add_for_keys(parts, listener, priority, options)
        captured = _captured_subscriptions.get()
        if captured is not None:
            captured += added
        return CombinedSubscription(key, added)

    def _add_for_keys(
        self, keys: tuple[Hashable, ...], listener: IListener, priority: int, options: Options, /
    ) -> list[Subscription]:
        """Register a listener under several keys: under all of them or, after an error, under none."""
        first: SubscriptionWithOptions | None = None
        added: list[Subscription] = []
        try:
            for key in keys:
                subscription = self._add_with_options(key, listener, priority, options, first)
                added.append(subscription)
                if first is None:
                    first = subscription
                    # Only `once` needs the list, in which the subscriptions would be in a reference cycle.
                    first.linked = [added] if options.once else None
            self._registry.link(added)
        except BaseException:
            antiphon.Subscriptions(added).unsubscribe()
            raise
        return added

    def _add_for_caller(
        self, key: Hashable, listener: IListener, priority: int, options: Options, /
    ) -> list[Subscription]:
        """Register a listener for ``listen``, a subscriber, an expectation and the like; return the subscriptions.

        If `add_listener` is overridden, the override registers the listener. Options bypass it, because it may accept
        only the arguments of whistle. What the override returns is not used. The subscriptions that it makes on this
        dispatcher are returned: none, one or several.
        """
        if isinstance(key, AnyOf):
            if not options.is_default() or getattr(self.add_listener, "__func__", None) in own_add_listeners:
                return self._add_for_keys(key.keys, listener, priority, options)
            return self._add_through_override(key.keys, listener, priority)
        if not options.is_default():
            return [self._add_with_options(key, listener, priority, options)]
        if getattr(self.add_listener, "__func__", None) in own_add_listeners:
            return [self.add_listener(key, listener, priority=priority)]
        return self._add_through_override((key,), listener, priority)

    def _add_through_override(
        self, keys: tuple[Hashable, ...], listener: IListener, priority: int, /
    ) -> list[Subscription]:
        added: list[list[Subscription]] = []
        try:
            added.extend(self._capture(key, listener, priority) for key in keys)
            if len(keys) > 1:
                # An override may register several listeners for one: those in the same place belong together.
                for linked in zip(*added, strict=False):
                    self._registry.link(linked)
        except BaseException:
            antiphon.Subscriptions(chain.from_iterable(added)).unsubscribe()
            raise
        return list(chain.from_iterable(added))

    def _capture(self, key: Hashable, listener: IListener, priority: int, /) -> list[Subscription]:
        captured: list[Subscription] = []
        token = _captured_subscriptions.set(captured)
        try:
            self.add_listener(key, listener, priority=priority)
        except BaseException:
            antiphon.Subscriptions(captured).unsubscribe()
            raise
        finally:
            _captured_subscriptions.reset(token)
        return [subscription for subscription in captured if is_owned_by(subscription, self._registry)]


#: Compared with `self.add_listener`, to detect an override in a subclass or on an instance.
own_add_listeners: Final[list[Any]] = [RegisteringMixin.add_listener]
