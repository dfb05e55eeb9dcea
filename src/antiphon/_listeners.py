"""The record of a registration, and pure functions on listeners and keys."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable
from functools import partial
from inspect import CO_COROUTINE
from itertools import count
from types import FunctionType, MethodType, TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

__all__ = (
    "NO_OPTIONS",
    "NamedListener",
    "NamedSubscription",
    "OptionedSubscription",
    "Options",
    "Subscription",
    "check_limit",
    "check_options",
    "check_priority",
    "check_seconds",
    "do_nothing",
    "do_nothing_async",
    "is_async_callable",
    "qualified_name",
    "safe_repr",
)

#: One counter for the whole process, so that the listeners of several dispatchers merge in the order of registration.
_orders: Final = count(1)


class Options(NamedTuple):
    """The options of a registration. What they mean together, in this order, is written in `antiphon._options`."""

    #: Whether the listener is taken back by its first call.
    once: bool = False
    #: A plain function of the event, which tells whether the listener is called.
    where: Callable[[Any], object] | None = None
    #: How long a call may take, in seconds.
    timeout: float | None = None
    #: How many calls may run at a time, per event loop.
    limit: int | None = None

    def are_none(self) -> bool:
        """Tell whether nothing was asked for; what is equal to the default without being it is an error, to be told."""
        return self == NO_OPTIONS and self.once is False


NO_OPTIONS: Final = Options()


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
    #: What it was registered with.
    options: Options = NO_OPTIONS
    #: What a strategy calls with the event; the listener itself, or a callable that was composed around it when
    #: it was registered. Removal puts a callable here that does nothing, so that a dispatch under way, which
    #: reads this attribute at the last moment, does not start the listener any more.
    call: Callable[[Any], Any]

    def __init__(self, owner: Owner, key: Hashable, listener: Any, priority: int, call: Callable[[Any], Any]) -> None:
        self._owner = owner
        self.key = key
        self.listener = listener
        self.priority = priority
        self.order = next(_orders)
        self.call = call

    def unsubscribe(self) -> bool:
        """Take exactly this registration back, at once; what runs already finishes.

        Returns:
            Whether the registration was still there. A second use does nothing.
        """
        return self._owner.discard(self)

    def belongs_to(self, owner: object, /) -> bool:
        """Tell whether something keeps this registration, or kept it."""
        return self._owner is owner

    def is_registered(self) -> bool:
        """Tell whether the registration is still there."""
        return self.call is not do_nothing and self.call is not do_nothing_async

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        return f"<Subscription {safe_repr(self.key)} -> {safe_repr(self.listener)}, priority {self.priority}>"


class OptionedSubscription(Subscription):
    """A registration with options; those without are many, and need no room for them."""

    __slots__ = ("composed_of", "options")

    #: What `antiphon._options` composes the options around once more, for a dispatch that is observed.
    composed_of: tuple[Callable[[Any], Any], Any]

    def __init__(  # noqa: PLR0917  made in one place, as often as anything here
        self, owner: Owner, key: Hashable, listener: Any, priority: int, call: Callable[[Any], Any], options: Options
    ) -> None:
        super().__init__(owner, key, listener, priority, call)
        self.options = options


class NamedListener:
    """A listener on behalf of something else, which also wants the name of the dispatch: a bare event cannot tell it.

    Args:
        owner: What listens; it gives the repr.
        hear: Called with the name and the event.
    """

    __slots__ = ("_owner", "hear")

    def __init__(self, owner: object, hear: Callable[[Hashable, Any], Any]) -> None:
        self._owner = owner
        self.hear = hear

    async def __call__(self, event: Any, /) -> None:
        """Hear an event that tells its name itself."""
        await self.hear(getattr(event, "name", None), event)

    def __repr__(self) -> str:
        return repr(self._owner)


class NamedSubscription:
    """The registration of a `NamedListener` as it stands in the plan of a name."""

    __slots__ = ("_subscription", "key", "listener", "name", "options", "order", "priority", "unsubscribe")

    def __init__(self, subscription: Subscription, name: Hashable) -> None:
        self._subscription = subscription
        self.name = name
        self.key = subscription.key
        self.listener: NamedListener = subscription.listener
        self.options = subscription.options
        self.order = subscription.order
        self.priority = subscription.priority
        self.unsubscribe = subscription.unsubscribe

    @property
    def call(self) -> Callable[[Any], Any]:
        """What is called with the event: the listener with the name, unless it has been removed."""
        call = self._subscription.call
        return partial(self.listener.hear, self.name) if call is self.listener else call


async def do_nothing_async(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


def do_nothing(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


def is_async_callable(candidate: Any) -> bool:
    """Tell whether calling an object gives something to await, as far as can be known without calling it."""
    while isinstance(candidate, partial):
        candidate = candidate.func
    if isinstance(candidate, (FunctionType, MethodType)):
        # The flag answers for nearly all, in a tenth of the time.
        function = candidate.__func__ if isinstance(candidate, MethodType) else candidate
        is_coroutine_function = isinstance(function, FunctionType) and function.__code__.co_flags & CO_COROUTINE
        return bool(is_coroutine_function) or _is_marked(candidate)
    if isinstance(candidate, type):
        # Calling it makes an instance.
        return False
    # The class says it with its __call__, an instance (of a mock) with a mark.
    return callable(candidate) and (_is_marked(type(candidate).__call__) or _is_marked(candidate))


if sys.version_info >= (3, 14):
    _is_marked = inspect.iscoroutinefunction
else:

    def _is_marked(candidate: Any) -> bool:
        # In these versions the mark that a mock carries is known to asyncio alone, which has been imported by
        # whoever made the mock, and must not be imported by us.
        asyncio = sys.modules.get("asyncio")
        known = asyncio.iscoroutinefunction if asyncio is not None else inspect.iscoroutinefunction
        return bool(known(candidate))


def check_priority(priority: object) -> None:
    """Refuse what does not order.

    Raises:
        TypeError: The priority is not an int.
    """
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"a priority is an int (lower runs first, the default is 0); got {_described(priority)}")


def check_options(options: Options) -> None:
    """Refuse options that make no sense.

    Raises:
        TypeError: ``once`` is no bool, ``where`` no plain function, ``timeout`` no number, or ``limit`` no int.
        ValueError: ``timeout`` is not more than 0, or ``limit`` is less than 1.
    """
    once, where, timeout, limit = options
    if not isinstance(once, bool):
        raise TypeError(f"once= is True or False; got {_described(once)}")
    if where is not None:
        if not callable(where):
            raise TypeError(f"where= is a plain function of the event; got {_described(where)}")
        if is_async_callable(where):
            raise TypeError(
                f"where= is a plain function of the event; {safe_repr(where)} is async, and its coroutine would "
                f"count as true without being run: await in the listener instead"
            )
    if timeout is not None:
        check_seconds(timeout, "timeout= is how long a call may take, in seconds")
    if limit is not None:
        check_limit(limit, "limit= is how many calls of the listener may run at a time")


def check_limit(limit: object, meaning: str) -> int:
    """Refuse a number of things at a time that is none.

    Raises:
        TypeError: It is no int.
        ValueError: It is less than 1.
    """
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"{meaning}, an int or None; got {_described(limit)}")
    if limit < 1:
        raise ValueError(
            f"{meaning}, at least 1 (None for no limit), or nothing would ever run; got {safe_repr(limit)}"
        )
    return limit


def check_seconds(seconds: object, meaning: str, *, zero: bool = False) -> float:
    """Refuse a span of time that is none.

    Args:
        seconds: The span.
        meaning: What it is for, for messages.
        zero: Whether 0 is one too.

    Raises:
        TypeError: It is no number.
        ValueError: It is not more than 0, or more than a float can hold.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{meaning}, a number or None; got {_described(seconds)}")
    if not (seconds > 0 or (zero and seconds == 0)):
        least = "at least" if zero else "more than"
        raise ValueError(f"{meaning}, {least} 0 (None for no bound); got {safe_repr(seconds)}")
    try:
        return float(seconds)
    except OverflowError:
        raise ValueError(
            f"{meaning}, no more than a float can hold (None for no bound); got {safe_repr(seconds)}"
        ) from None


def _described(thing: object) -> str:
    return f"{safe_repr(thing)} ({type(thing).__name__})"


def safe_repr(thing: object) -> str:
    """Give the repr of something, whatever its ``__repr__`` does, for messages that must not fail."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)


def qualified_name(listener: Any) -> str:
    """Give the module and qualified name of a listener; without one, its repr, or the name of its class.

    It is for messages and logs that must not fail, whatever the listener answers.
    """
    called: Any = listener
    try:
        while isinstance(called, partial):
            called = called.func
        kind: Any = called.__class__
        # What an adapter is around.
        function = called.function if hasattr(kind, "function") else called
        name = getattr(function, "__qualname__", None)
        if isinstance(name, str):
            return f"{getattr(function, '__module__', None)}.{name}"
        return f"{kind.__module__}.{kind.__qualname__}" if kind.__repr__ is object.__repr__ else safe_repr(called)
    except Exception:
        return safe_repr(listener)
