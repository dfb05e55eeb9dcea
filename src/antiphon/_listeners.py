"""The record of a registration, and pure functions on listeners and keys."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from itertools import count
from types import FunctionType, MethodType, TracebackType
from typing import Any, Final, Protocol, Self

__all__ = (
    "Subscription",
    "check_key",
    "check_priority",
    "do_nothing",
    "do_nothing_async",
    "is_async_callable",
    "once",
    "once_async",
    "safe_repr",
)

#: One counter for the whole process, so that the listeners of several dispatchers merge in the order of registration.
_orders: Final = count(1)


class Owner(Protocol):
    """What a subscription needs of the place that keeps it."""

    def discard(self, subscription: Subscription, /) -> bool:
        """Take a registration back. Returns whether it was still there."""
        ...


class Subscription:
    """The handle of a registration, and the record of it that a strategy runs.

    Used as a context manager it takes the registration back at the end::

        with dispatcher.add_listener("order.placed", listener):
            ...
    """

    __slots__ = ("_owner", "call", "key", "listener", "order", "priority")

    #: What was listened to.
    key: Hashable
    #: The listener, as it was given.
    listener: Any
    #: Lower priorities run first.
    priority: int
    #: The place in the order of all registrations of the process.
    order: int
    #: What a strategy calls with the event: the listener itself, or a callable that was composed around it when
    #: it was registered. Removal puts a callable here that does nothing, so that a dispatch under way, which
    #: reads this attribute at the last moment, does not start the listener any more.
    call: Callable[[Any], Any]

    def __init__(self, owner: Owner, key: Hashable, listener: Any, priority: int) -> None:
        self._owner = owner
        self.key = key
        self.listener = listener
        self.priority = priority
        self.order = next(_orders)
        self.call = listener

    def unsubscribe(self) -> bool:
        """Take exactly this registration back, at once; what runs already finishes.

        Returns:
            Whether the registration was still there. A second use does nothing.
        """
        return self._owner.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        return f"<Subscription {self.key!r} -> {safe_repr(self.listener)}, priority {self.priority}>"


async def do_nothing_async(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


def do_nothing(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


def once_async(
    subscription: Subscription, call: Callable[[Any], Awaitable[object]]
) -> Callable[[Any], Awaitable[object]]:
    """Compose a call that claims its subscription first, so that it runs once over all overlapping dispatches."""

    async def call_once(event: Any, /) -> None:
        if subscription.unsubscribe():
            await call(event)

    return call_once


def once(subscription: Subscription, call: Callable[[Any], object]) -> Callable[[Any], object]:
    """Do what `once_async` does, for plain functions."""

    def call_once(event: Any, /) -> None:
        if subscription.unsubscribe():
            call(event)

    return call_once


def is_async_callable(candidate: Any) -> bool:
    """Tell whether calling an object gives something to await, as far as can be known without calling it."""
    while isinstance(candidate, partial):
        candidate = candidate.func
    if isinstance(candidate, (FunctionType, MethodType)):
        return _is_marked(candidate)
    # For an instance the question is what its class says of __call__; a class is never async: calling it makes
    # an instance.
    return _is_marked(candidate) or (
        not isinstance(candidate, type) and callable(candidate) and _is_marked(type(candidate).__call__)
    )


if sys.version_info >= (3, 12):
    _is_marked = inspect.iscoroutinefunction
else:

    def _is_marked(candidate: Any) -> bool:
        # Before 3.12 the mark that AsyncMock carries is known to asyncio alone, which has been imported by
        # whoever made the mock, and must not be imported by us.
        asyncio = sys.modules.get("asyncio")
        known = asyncio.iscoroutinefunction if asyncio is not None else inspect.iscoroutinefunction
        return bool(known(candidate))


def check_key(key: object) -> None:
    """Refuse what cannot be listened to.

    Raises:
        TypeError: The key is None or unhashable.
    """
    if key is None:
        raise TypeError('a key is what one listens to, such as the name "order.placed"; None is not a key')
    try:
        hash(key)
    except TypeError:
        raise TypeError(
            f'a key must be hashable, such as the name "order.placed"; got {safe_repr(key)} ({type(key).__name__})'
        ) from None


def check_priority(priority: object) -> None:
    """Refuse what does not order.

    Raises:
        TypeError: The priority is not an int.
    """
    if not isinstance(priority, int):
        raise TypeError(
            f"a priority is an int (lower runs first, the default is 0); got {safe_repr(priority)} "
            f"({type(priority).__name__})"
        )


def safe_repr(thing: object) -> str:
    """Give the repr of something, whatever its ``__repr__`` does, for messages that must not fail."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)
