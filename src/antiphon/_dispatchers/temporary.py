"""Registrations that last for a ``with`` block."""

# The type variables of keys that a call leaves out have a default.
# pyright: reportInvalidTypeVarUse=false

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Hashable
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from antiphon._dispatchers.subscribers import Subscriptions, register_methods
from antiphon._listeners.subscription import (
    CombinedSubscription,
    Options,
    P,
    Subscription,
    registration_counter,
    removed_listener,
)
from antiphon._registry.keys import EVERY_KEY, AnyOf, select_for_key
from antiphon._types import IListener, Key, Name
from antiphon._util.arguments import (
    MISSING,
    check_key_and_listener,
    hides_collected_arguments,
    hides_parameters,
    make_argument_error,
)
from antiphon._util.contexts import PlainContext
from antiphon._util.naming import publish, safe_repr

if TYPE_CHECKING:
    from antiphon._types import E1, E2, E3, E4, E5, E6, R1, AnyOfSix, TypedKey, Where

__all__ = ("Registrar",)

E = TypeVar("E")
R = TypeVar("R")
L = TypeVar("L", bound=IListener)


class _NoOwner:
    """The owner of the handle of a listener that an override of ``add_listener`` did not register."""

    def discard(self, _subscription: Subscription, /) -> bool:
        return False

    def when_removed(self, _subscription: Subscription, call: Callable[[object], object], /) -> None:
        call(None)

    def get_proxy(self, subscription: Subscription, make: Callable[[Subscription], P], /) -> P:
        return make(subscription)


def _make_unregistered(key: Hashable, listener: IListener, priority: int) -> Subscription:
    handle = Subscription()
    handle.key, handle.listener, handle.priority, handle.call = key, listener, priority, removed_listener
    handle._owner, handle.order = _NoOwner(), next(registration_counter)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return handle


class Registrar(PlainContext):
    """Registers listeners on a dispatcher, and removes them at the end of its ``with`` block.

    Created by ``dispatcher.temporarily()``.
    """

    _usage = "with dispatcher.temporarily() as registrar:"

    @hides_parameters
    def __init__(
        self,
        register: Callable[[Hashable, IListener, int, Options], list[Subscription]],
        check: Callable[[tuple[Hashable, ...], int, Options], Hashable],
        combine: Callable[[tuple[Any, ...], str], Hashable],
    ) -> None:
        self._register = register
        self._check = check
        self._combine = combine
        self._subscriptions: list[Subscription] = []
        self._prune_threshold = 16
        # Reentrant, because the finalizer of a collected object may register a listener.
        self._lock = RLock()
        self._ended = False

    if TYPE_CHECKING:
        # Overloads are for type checkers only: each of them would add to the time of the import.

        @overload
        def add_listener(
            self,
            key: TypedKey[E],
            listener: Callable[[E], object],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Callable[[E], object] | None = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Subscription: ...
        @overload
        def add_listener(
            self,
            key: Name | UnionType,
            listener: Callable[[Any], object],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Callable[[Any], object] | None = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Subscription: ...

    @hides_collected_arguments
    def add_listener(
        self,
        key: Any = MISSING,
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
        """Register a listener until the block ends. The arguments are those of the dispatcher's ``add_listener``.

        Returns:
            The handle of the registration. If an override of ``add_listener`` registered nothing, a handle that has
            nothing to remove.

        Raises:
            RuntimeError: If the block has ended.
            TypeError: As for the dispatcher's ``add_listener``.
            ValueError: As for the dispatcher's ``add_listener``.
        """
        if extra or unknown:
            call = "add_listener(key, listener)"
            raise make_argument_error(Registrar.add_listener, call, extra, unknown)
        check_key_and_listener(key, listener, "add_listener")
        checked = self._combine((key,), "add_listener")
        registered = self._register_until_end(checked, listener, priority, Options(once, where, timeout, limit))
        if registered and isinstance(checked, AnyOf):
            return CombinedSubscription(key, registered)
        return registered[-1] if registered else _make_unregistered(key, listener, priority)

    if TYPE_CHECKING:

        @overload
        def listen(
            self,
            key: TypedKey[E],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E] = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[Callable[[E], R]], Callable[[Any], R]]: ...
        @overload
        def listen(  # type: ignore[overload-overlap]  # as for one key
            self,
            key: TypedKey[E],
            other_key: TypedKey[E2],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E | E2] = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[Callable[[E | E2], R]], Callable[[Any], R]]: ...
        @overload
        def listen(  # type: ignore[overload-overlap]  # as for one key
            self,
            key: TypedKey[E1],
            key2: TypedKey[E2],
            key3: TypedKey[E3],
            key4: TypedKey[E4] = ...,
            key5: TypedKey[E5] = ...,
            key6: TypedKey[E6] = ...,
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[Callable[[AnyOfSix[E1, E2, E3, E4, E5, E6]], R1]], Callable[[Any], R1]]: ...
        @overload
        def listen(
            self,
            key: Name | UnionType,
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[L], L]: ...
        @overload
        def listen(
            self,
            key: Key,
            other_key: Key,
            /,
            *more_keys: Key,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
            timeout: float | None = None,
            limit: int | None = None,
        ) -> Callable[[L], L]: ...

    @hides_collected_arguments
    def listen(
        self,
        *keys: Any,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        **unknown: Any,
    ) -> Callable[[Any], Any]:
        """Register the decorated function until the block ends. The arguments are those of `add_listener`.

        Returns:
            A decorator that returns its function unchanged.

        Raises:
            RuntimeError: If the block has ended when the decorator is applied.
            TypeError: As for `add_listener`, or if it is used without a key.
            ValueError: As for `add_listener`.
        """
        if unknown:
            raise make_argument_error(Registrar.listen, "listen(key)", (), unknown)
        options = Options(once, where, timeout, limit)
        key = self._check(keys, priority, options)

        def decorate(listener: Any) -> Any:
            self._register_until_end(key, listener, priority, options)
            return listener

        return decorate

    def add_subscriber(self, subscriber: object, /) -> Subscriptions:
        """Register a subscriber until the block ends, like the dispatcher's ``add_subscriber``.

        Returns:
            One handle for all registrations.

        Raises:
            RuntimeError: If the block has ended.
            TypeError: As for the dispatcher's ``add_subscriber``.
        """
        return register_methods(subscriber, self._register_until_end)

    def clear(self, key: Key = EVERY_KEY, /) -> None:
        """Remove the listeners that were registered in this block, under a key or all of them. The block continues.

        Args:
            key: The key. Without a key, the listeners under all keys are removed.

        Raises:
            TypeError: If the key is invalid, such as None.
            ValueError: If the key contains a ``*`` but is not a pattern.
        """
        checked = EVERY_KEY if key is EVERY_KEY else self._combine((key,), "clear")
        by_key: dict[Hashable, list[Subscription]] = {}
        with self._lock:
            for subscription in self._subscriptions:
                by_key.setdefault(subscription.key, []).append(subscription)
        for subscription in select_for_key(by_key, checked):
            subscription.unsubscribe()

    def _register_until_end(
        self, key: Hashable, listener: IListener, priority: int, options: Options
    ) -> list[Subscription]:
        self._check_open(listener)
        registered = self._register(key, listener, priority, options)
        with self._lock:
            self._remember(registered)
        if self._ended:
            # The block has ended in another thread.
            self._remove_all()
            self._check_open(listener)
        return registered

    def _remember(self, registered: list[Subscription]) -> None:
        self._subscriptions += registered
        if len(self._subscriptions) > self._prune_threshold:
            # Do not keep the subscriptions that were removed during a long block.
            self._subscriptions = [kept for kept in self._subscriptions if kept.is_registered()]
            self._prune_threshold = max(2 * len(self._subscriptions), 16)

    def _check_open(self, listener: object) -> None:
        if self._ended:
            raise RuntimeError(
                f"the block of this registrar has ended, so nothing would remove {safe_repr(listener)}: register it on "
                f"the dispatcher, or in a new `with dispatcher.temporarily()`"
            )

    def _remove_all(self) -> None:
        with self._lock:
            removed, self._subscriptions = self._subscriptions, []
        for subscription in reversed(removed):
            subscription.unsubscribe()

    def __repr__(self) -> str:
        # Both dispatchers pass a method of their own.
        dispatcher = getattr(self._register, "__self__", None)
        return f"<registrar of {safe_repr(dispatcher)}>"

    def __enter__(self) -> Self:
        if self._ended:
            raise RuntimeError("the block of this registrar has ended; write a new `with dispatcher.temporarily()`")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._ended = True
        self._remove_all()


publish("antiphon", Registrar)
