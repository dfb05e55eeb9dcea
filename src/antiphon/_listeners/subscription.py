"""The record of a registration, and pure functions on listeners and keys."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE, isawaitable
from itertools import count
from types import AsyncGeneratorType, FunctionType, GeneratorType, MethodType, TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self, cast

__all__ = (
    "NO_OPTIONS",
    "NamedListener",
    "NamedSubscription",
    "OptionedSubscription",
    "Options",
    "Subscription",
    "Wrapper",
    "called_by",
    "check_answer",
    "check_limit",
    "check_options",
    "check_priority",
    "check_seconds",
    "do_nothing",
    "do_nothing_async",
    "is_async_callable",
    "is_generator_callable",
    "listener_name",
    "safe_repr",
    "safe_str",
    "short_name",
    "unrun",
    "when_removed",
)

#: The flags of functions whose result can be awaited: those of `async def`, and of ``types.coroutine`` on a generator.
_AWAITABLE: Final = CO_COROUTINE | CO_ITERABLE_COROUTINE

#: One counter for the whole process, so that the listeners of several dispatchers merge in the order of registration.
_orders: Final = count(1)


class Options(NamedTuple):
    """The options of a registration, in the order in which `antiphon._listeners.options` explains how they combine."""

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

    def when_removed(self, subscription: Subscription, call: Callable[[object], object], /) -> None:
        """Call a function once a registration has been removed."""
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


def when_removed(subscription: Subscription, call: Callable[[object], object]) -> None:
    """Call a function once a registration has been removed, by whatever means; at once if it has been already.

    Args:
        subscription: The registration.
        call: Called in the thread of the removal, with the scope whose end removed the registration, or with None.
    """
    # Not a method, because users have no use for it.
    subscription._owner.when_removed(subscription, call)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class OptionedSubscription(Subscription):
    """A registration with options; those without are many, and need no room for them."""

    __slots__ = ("composed_of", "options")

    #: What `antiphon._listeners.options` composes the options around once more, for a dispatch that is observed.
    composed_of: tuple[Callable[[Any], Any], Any]

    def __init__(  # noqa: PLR0917  made in one place, as often as anything here
        self, owner: Owner, key: Hashable, listener: Any, priority: int, call: Callable[[Any], Any], options: Options
    ) -> None:
        super().__init__(owner, key, listener, priority, call)
        self.options = options


class Wrapper:
    """A base of listeners of antiphon that call another one, and go by its name."""

    __slots__ = ()

    @property
    def __wrapped__(self) -> Any:
        """The listener that is called in the end, or another wrapper of it; `inspect.signature` asks for it too."""
        # A base, never made by itself.
        raise NotImplementedError


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
    """Return whether calling an object gives something to await, as far as can be known without calling it."""
    function = candidate.__func__ if type(candidate) is MethodType else candidate
    if type(function) is FunctionType:
        # The flags answer for nearly all, in a tenth of the time.
        return bool(function.__code__.co_flags & _AWAITABLE) or _is_marked(candidate)
    called = called_by(candidate)
    if called is not candidate:
        return is_async_callable(called)
    if isinstance(candidate, type):
        # Calling it makes an instance.
        return False
    if not callable(candidate):
        return False
    if isinstance(candidate, MethodType):
        # Of something that is not a function.
        return _is_marked(candidate)
    # The class says it with its __call__, an instance (of a mock) with a mark.
    call = called_by(type(candidate).__call__)
    return bool(_flags_of(call) & _AWAITABLE) or _is_marked(call) or _is_marked(candidate)


def is_generator_callable(candidate: Any) -> bool:
    """Return whether calling an object gives a generator, so that nothing of it runs."""
    candidate = called_by(candidate)
    if not isinstance(candidate, (FunctionType, MethodType, type)) and callable(candidate):
        candidate = called_by(type(candidate).__call__)
    flags = _flags_of(candidate)
    return bool(flags & (CO_GENERATOR | CO_ASYNC_GENERATOR)) and not flags & _AWAITABLE


def called_by(candidate: Any) -> Any:
    """Return what is called in the end by a ``functools.partial`` or a ``staticmethod`` object."""
    while isinstance(candidate, (partial, staticmethod)):
        candidate = candidate.func if isinstance(candidate, partial) else cast("Any", candidate).__func__
    return candidate


def _flags_of(function: Any) -> int:
    if isinstance(function, MethodType):
        function = function.__func__
    return function.__code__.co_flags if isinstance(function, FunctionType) else 0


def unrun(result: object) -> str:
    """Return what a result is called that runs nothing by itself: an awaitable or a generator; empty for all others.

    A coroutine or a generator is closed, because the caller is going to refuse it. It would warn that it was never
    awaited otherwise.
    """
    if isawaitable(result):
        kind = "something to await"
    elif isinstance(result, (GeneratorType, AsyncGeneratorType)):
        kind = "a generator"
    else:
        return ""
    if isinstance(result, (Coroutine, GeneratorType)):
        result.close()
    return kind


def check_answer(answer: object, where: object) -> bool:
    """Return what ``where`` says of an event.

    Args:
        answer: What it returned.
        where: The function.

    Raises:
        TypeError: If the answer has to be awaited, or is a generator: it would count as true without being run.
    """
    if answer is True or answer is False:
        return answer
    kind = unrun(answer)
    if kind:
        raise TypeError(
            f"where= is a plain function of the event that returns whether the listener is called; "
            f"{listener_name(where)} returned {kind}, which would count as true without being run: await in the "
            f"listener instead"
        )
    return bool(answer)


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
        if is_generator_callable(where):
            raise TypeError(
                f"where= is a plain function of the event; {safe_repr(where)} is a generator function, and its "
                f"generator would count as true without being run: return a bool"
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


def safe_str(thing: object) -> str:
    """Give the text of something, whatever its ``__str__`` does; where it gives none, its repr."""
    try:
        text = str(thing)
    except Exception:
        text = thing if isinstance(thing, str) else safe_repr(thing)
    # Of a subclass of `str` the characters alone, because its methods may fail as well.
    return str.__str__(text)


def listener_name(listener: Any, /) -> str:
    """Return what a listener is called: for messages, logs, and functions that handle errors.

    An adapter (`inline`, `in_thread`) and a ``functools.partial`` are called as the function that they call, a method
    as ``module.Class.method`` with the class of its object, and a function by its module and qualified name. An object
    with a ``__repr__`` of its own is called by that, without addresses, and any other by its class. Never raises.

    Args:
        listener: What is registered, or what a dispatcher gave to an error policy or an overridden ``_adispatch``.

    Returns:
        The name.
    """
    if listener.__class__ is FunctionType and listener.__module__:
        # Nearly all, at a tenth of the cost.
        return f"{listener.__module__}.{listener.__qualname__}"
    module, name = _named(listener)
    return f"{module}.{name}" if module else name


def short_name(listener: Any, /) -> str:
    """Return the same name without the module and the functions around the definition. Never raises."""
    module, name = _named(listener)
    return name if module is None else name.rpartition("<locals>.")[2]


def _named(listener: Any) -> tuple[str | None, str]:
    # The module, empty if it is unknown, and the qualified name in it. A label belongs to no module: None.
    try:
        return _name_of(listener)
    except Exception:
        # A method of the object raises, or an attribute has an unexpected type. Its class always has a name.
        return _name_in(type(listener), type.__dict__["__qualname__"].__get__(type(listener)))


def _name_of(listener: Any) -> tuple[str | None, str]:
    while True:
        if isinstance(listener, partial):
            listener = listener.func
        elif isinstance(listener, Wrapper):
            listener = listener.__wrapped__
        else:
            break
    if isinstance(listener, MethodType):
        bound: Any = listener.__self__
        owner: Any = bound if isinstance(bound, type) else type(bound)
        name = getattr(listener.__func__, "__name__", None)
        # A method may also be made of an object that has no name.
        return _name_in(owner, f"{owner.__qualname__}.{name}") if name is not None else _name_of(listener.__func__)
    name = getattr(listener, "__qualname__", None)
    if isinstance(name, str):
        return _name_in(listener, name)
    kind: Any = listener.__class__
    label = "" if kind.__repr__ is object.__repr__ else _without_addresses(repr(listener))
    # The latter is what a mock without a name says of itself.
    return (None, label) if label not in ("", f"<{kind.__name__}>") else _name_in(kind, kind.__qualname__)


def _name_in(defined: Any, name: str) -> tuple[str, str]:
    module = getattr(defined, "__module__", None)
    return module if isinstance(module, str) else "", name


def _without_addresses(text: str) -> str:
    # Import it here: the names of most listeners need no regular expression.
    import re

    # As the default repr and that of mocks write them. They differ from run to run.
    return re.sub(r" (at 0x[0-9a-fA-F]+|id='\d+')", "", text)
