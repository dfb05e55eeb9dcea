"""The record of a registration, and pure functions on listeners and keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from antiphon._util.callables import find_unrun_kind, is_async_callable, is_generator_callable
from antiphon._util.naming import describe_value, listener_name, safe_repr
from antiphon._util.validation import check_duration, check_limit

__all__ = (
    "DEFAULT_OPTIONS",
    "NameAwareListener",
    "NameBoundSubscription",
    "Options",
    "Subscription",
    "SubscriptionWithOptions",
    "check_answer",
    "check_options",
    "is_owned_by",
    "removed_async_listener",
    "removed_listener",
    "when_removed",
)


#: One counter for the whole process, so that the listeners of several dispatchers merge in the order of registration.
_registration_counter: Final = count(1)


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

    def is_default(self) -> bool:
        """Tell whether nothing was asked for; what is equal to the default without being it is an error, to be told."""
        return self == DEFAULT_OPTIONS and self.once is False


DEFAULT_OPTIONS: Final = Options()


class SubscriptionOwner(Protocol):
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
    options: Options = DEFAULT_OPTIONS
    #: What a strategy calls with the event; the listener itself, or a callable that was composed around it when
    #: it was registered. Removal puts a callable here that does nothing, so that a dispatch under way, which
    #: reads this attribute at the last moment, does not start the listener any more.
    call: Callable[[Any], Any]

    def __init__(
        self, owner: SubscriptionOwner, key: Hashable, listener: Any, priority: int, call: Callable[[Any], Any]
    ) -> None:
        self._owner = owner
        self.key = key
        self.listener = listener
        self.priority = priority
        self.order = next(_registration_counter)
        self.call = call

    def unsubscribe(self) -> bool:
        """Take exactly this registration back, at once; what runs already finishes.

        Returns:
            Whether the registration was still there. A second use does nothing.
        """
        return self._owner.discard(self)

    def is_registered(self) -> bool:
        """Tell whether the registration is still there."""
        return self.call is not removed_listener and self.call is not removed_async_listener

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        return f"<Subscription {safe_repr(self.key)} -> {safe_repr(self.listener)}, priority {self.priority}>"


def is_owned_by(subscription: Subscription, owner: object) -> bool:
    """Return whether a registry keeps a subscription, or kept it before it was removed."""
    # Not a method, because users have no use for it.
    return subscription._owner is owner  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def when_removed(subscription: Subscription, call: Callable[[object], object]) -> None:
    """Call a function once a registration has been removed, by whatever means; at once if it has been already.

    Args:
        subscription: The registration.
        call: Called in the thread of the removal, with the scope whose end removed the registration, or with None.
    """
    # Not a method, because users have no use for it.
    subscription._owner.when_removed(subscription, call)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class SubscriptionWithOptions(Subscription):
    """A registration with options; those without are many, and need no room for them."""

    __slots__ = ("options", "wrapped")

    #: What `antiphon._listeners.options` composes the options around once more, for a dispatch that is observed.
    wrapped: tuple[Callable[[Any], Any], Any]

    def __init__(  # noqa: PLR0917  made in one place, as often as anything here
        self,
        owner: SubscriptionOwner,
        key: Hashable,
        listener: Any,
        priority: int,
        call: Callable[[Any], Any],
        options: Options,
    ) -> None:
        super().__init__(owner, key, listener, priority, call)
        self.options = options


class NameAwareListener:
    """A listener on behalf of something else, which also wants the name of the dispatch: a bare event cannot tell it.

    Args:
        owner: What listens; it gives the repr.
        handle: Called with the name and the event.
    """

    __slots__ = ("_owner", "handle")

    def __init__(self, owner: object, handle: Callable[[Hashable, Any], Any]) -> None:
        self._owner = owner
        self.handle = handle

    async def __call__(self, event: Any, /) -> None:
        """Hear an event that tells its name itself."""
        await self.handle(getattr(event, "name", None), event)

    def __repr__(self) -> str:
        return repr(self._owner)


class NameBoundSubscription:
    """The registration of a `NameAwareListener` as it stands in the plan of a name."""

    __slots__ = ("_subscription", "key", "listener", "name", "options", "order", "priority", "unsubscribe")

    def __init__(self, subscription: Subscription, name: Hashable) -> None:
        self._subscription = subscription
        self.name = name
        self.key = subscription.key
        self.listener: NameAwareListener = subscription.listener
        self.options = subscription.options
        self.order = subscription.order
        self.priority = subscription.priority
        self.unsubscribe = subscription.unsubscribe

    @property
    def call(self) -> Callable[[Any], Any]:
        """What is called with the event: the listener with the name, unless it has been removed."""
        call = self._subscription.call
        return partial(self.listener.handle, self.name) if call is self.listener else call


async def removed_async_listener(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


def removed_listener(event: Any, /) -> None:
    """Stand in for a listener that was removed while a dispatch was under way."""


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
    kind = find_unrun_kind(answer)
    if kind:
        raise TypeError(
            f"where= is a plain function of the event that returns whether the listener is called; "
            f"{listener_name(where)} returned {kind}, which would count as true without being run: await in the "
            f"listener instead"
        )
    return bool(answer)


def check_options(options: Options) -> None:
    """Refuse options that make no sense.

    Raises:
        TypeError: ``once`` is no bool, ``where`` no plain function, ``timeout`` no number, or ``limit`` no int.
        ValueError: ``timeout`` is not more than 0, or ``limit`` is less than 1.
    """
    once, where, timeout, limit = options
    if not isinstance(once, bool):
        raise TypeError(f"once= is True or False; got {describe_value(once)}")
    if where is not None:
        if not callable(where):
            raise TypeError(f"where= is a plain function of the event; got {describe_value(where)}")
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
        check_duration(timeout, "timeout= is how long a call may take, in seconds")
    if limit is not None:
        check_limit(limit, "limit= is how many calls of the listener may run at a time")
