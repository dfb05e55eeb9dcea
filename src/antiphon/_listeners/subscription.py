"""Subscriptions: the record of a registration, which is also its handle, and its options.

A dispatch reads the attribute ``call`` of a subscription at the moment when it calls the listener. A removal sets
``call`` to a placeholder, so that running dispatches do not start the listener any more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, MutableMapping, Sequence
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, TypeVar

from antiphon._util.callables import find_unrun_kind, is_async_callable, is_generator_callable
from antiphon._util.contexts import PlainContext
from antiphon._util.naming import describe_value, listener_name, safe_repr
from antiphon._util.validation import check_duration, check_limit, check_parameters

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = (
    "DEFAULT_OPTIONS",
    "CombinedSubscription",
    "LinkedSubscription",
    "Options",
    "P",
    "Subscription",
    "SubscriptionProxy",
    "SubscriptionWithOptions",
    "check_answer",
    "check_options",
    "get_proxy",
    "has_options",
    "is_owned_by",
    "registration_counter",
    "removed_async_listener",
    "removed_listener",
    "when_removed",
)


#: One counter for the whole process, so that a scope can sort its listeners and those of its parent together.
registration_counter: Final = count(1)


class Options(NamedTuple):
    """The options of a registration. `antiphon._listeners.options` defines how they combine."""

    #: Whether the first call removes the registration.
    once: bool = False
    #: A plain function of the event that returns whether the listener is called.
    where: Callable[[Any], object] | None = None
    #: How long a call may take, in seconds.
    timeout: float | None = None
    #: How many calls may run at a time in each event loop.
    limit: int | None = None

    def is_default(self) -> bool:
        """Return whether all options have their defaults.

        ``once=0`` equals the default but is not a bool, so it is reported as an error later.
        """
        return self is DEFAULT_OPTIONS or (self == DEFAULT_OPTIONS and self.once is False)


DEFAULT_OPTIONS: Final = Options()


class SubscriptionProxy(Protocol):
    """A callable that calls what is in the ``call`` of a subscription, without reading it in each call."""

    def _antiphon_follow(self, subscription: Subscription, /) -> None:
        """Take over the ``call`` of the subscription, which is the placeholder now."""
        ...


P = TypeVar("P", bound=SubscriptionProxy)


class SubscriptionOwner(Protocol):
    """The methods of a registry that a subscription calls."""

    def discard(self, subscription: Subscription, /) -> bool:
        """Remove a registration. Return whether it was registered."""
        ...

    def when_removed(self, subscription: Subscription, call: Callable[[object], object], /) -> None:
        """Call a function when a registration is removed."""
        ...

    def get_proxy(self, subscription: Subscription, make: Callable[[Subscription], P], /) -> P:
        """Return the proxy of a registration."""
        ...


class Subscription(PlainContext):
    """The handle of a registration, and the record that a strategy runs.

    It is also a context manager, which removes the registration at the end of the block::

        with dispatcher.add_listener("order.placed", listener):
            ...
    """

    __slots__ = ("_owner", "call", "key", "listener", "order", "priority")

    _usage = "with dispatcher.add_listener(key, listener):"

    #: The key of the registration.
    key: Hashable
    #: The listener, as it was passed to the dispatcher.
    listener: Any
    #: The priority. Lower priorities run first.
    priority: int
    #: The position among all registrations of the process.
    order: int
    #: The options of the registration.
    options: Options = DEFAULT_OPTIONS
    #: The callable that a strategy calls with the event. It is the listener, a wrapper of it, or, after the removal, a
    #: placeholder that does nothing. Read it immediately before the call.
    call: Callable[[Any], Any]

    # No `__init__`, whose call would take a fifth of the time of a registration. The dispatcher sets `key`, `listener`,
    # `priority` and `call`, and the registry sets `order` and `_owner`.
    _owner: SubscriptionOwner

    def unsubscribe(self) -> bool:
        """Remove exactly this registration. A call of the listener that is already running finishes.

        Returns:
            Whether the registration was still there. A second call does nothing.
        """
        return self._owner.discard(self)

    def is_registered(self) -> bool:
        """Return whether the registration is still there."""
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
    """Return whether a subscription is, or was before its removal, part of a registry."""
    # Not a method: the handle is public, and only antiphon needs this.
    return subscription._owner is owner  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def when_removed(subscription: Subscription, call: Callable[[object], object]) -> None:
    """Call a function when a registration is removed, or immediately if it was removed before.

    Args:
        subscription: The registration.
        call: A function that is called in the thread of the removal. Its argument is the scope whose end removed the
            registration, or None.
    """
    # Not a method, as with `is_owned_by`.
    subscription._owner.when_removed(subscription, call)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def get_proxy(subscription: Subscription, make: Callable[[Subscription], P]) -> P:
    """Return the proxy of a registration, which its plans share. If there is none, make it.

    A removal calls the method ``_antiphon_follow`` of the proxy before it returns.
    """
    # Not a method, as with `is_owned_by`.
    return subscription._owner.get_proxy(subscription, make)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class SubscriptionWithOptions(Subscription):
    """A registration with options.

    It is a separate class because most registrations have no options, and should not need memory for them.
    """

    __slots__ = ("limit_states", "linked", "listener_call", "options")

    #: The callable that the options are wrapped around. An observed dispatch wraps them around its own callable.
    listener_call: Callable[[Any], Any]
    #: The state of the ``limit`` option in each event loop, or None before `antiphon._listeners.limits` has set it.
    #: The wrappers of observed dispatches share it with the wrapper in ``call``.
    limit_states: MutableMapping[Any, Any] | None
    #: For a listener with several keys and ``once``, a list that all its registrations share. It contains the list of
    #: them until a call claims ``once``. (To pop the item is one step, so only one of several threads succeeds.)
    linked: list[list[Subscription]] | None

    def __init__(self, call: Callable[[Any], Any], options: Options) -> None:
        self.call = self.listener_call = call
        self.options = options
        self.limit_states = None
        self.linked = None

    def claim(self) -> bool:
        """Remove the registration, under all its keys, for its only call. Return whether this is that call."""
        if not self.unsubscribe():
            return False
        if self.linked is None:
            return True
        try:
            linked = self.linked.pop()
        except IndexError:
            return False
        for subscription in linked:
            subscription.unsubscribe()
        return True


class CombinedSubscription(Subscription):
    """The handle of a listener with several keys."""

    __slots__ = ("options", "subscriptions")

    def __init__(self, key: Hashable, subscriptions: list[Subscription]) -> None:
        first = subscriptions[0]
        self.key = key
        self.listener = first.listener
        self.priority = first.priority
        self.order = first.order
        self.options = first.options
        self.subscriptions = subscriptions

    @property
    def call(self) -> Callable[[Any], Any]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The callable of the first registration that is left, or the placeholder."""
        return _find_registered(self.subscriptions).call

    def unsubscribe(self) -> bool:
        """Remove the listener under all its keys. As for any other handle, a second call does nothing.

        Returns:
            Whether the listener was still registered under one of them.
        """
        return sum(subscription.unsubscribe() for subscription in self.subscriptions) > 0

    def is_registered(self) -> bool:
        """Return whether the listener is still registered under one of its keys."""
        return any(subscription.is_registered() for subscription in self.subscriptions)


class LinkedSubscription:
    """A proxy of the subscriptions of one listener that match the same event, in a plan.

    A dispatch calls the listener once, also if some of them are removed during the dispatch.
    """

    __slots__ = ("_linked",)

    def __init__(self, linked: Iterable[Subscription]) -> None:
        self._linked = tuple(linked)

    @property
    def call(self) -> Callable[[Any], Any]:
        """The callable of the first subscription that is still registered, or the placeholder."""
        return _find_registered(self._linked).call

    @property
    def name_unbound(self) -> LinkedSubscription:
        """The registrations, if a name is bound to these subscriptions; see `antiphon._listeners.named`."""
        return self.map(lambda subscription: getattr(subscription, "name_unbound", subscription))

    def map(self, function: Callable[[Subscription], Subscription]) -> LinkedSubscription:
        """Return a proxy of the results of a function of each subscription."""
        return LinkedSubscription(map(function, self._linked))

    def __getattr__(self, attribute: str) -> Any:
        if attribute in LinkedSubscription.__slots__:
            # `copy` creates the object without its attributes.
            raise AttributeError(attribute)
        return getattr(_find_registered(self._linked), attribute)

    def __repr__(self) -> str:
        return repr(_find_registered(self._linked))


def _find_registered(subscriptions: Sequence[Subscription]) -> Subscription:
    return next((each for each in subscriptions if each.is_registered()), subscriptions[0])


def has_options(subscription: Subscription) -> TypeIs[SubscriptionWithOptions]:
    """Return whether a subscription, or a proxy of one, has options."""
    return subscription.options is not DEFAULT_OPTIONS


async def removed_async_listener(event: Any, /) -> None:
    """Do nothing, in place of a listener that was removed."""


def removed_listener(event: Any, /) -> None:
    """Do nothing, in place of a listener that was removed."""


def check_answer(answer: object, where: object) -> bool:
    """Return whether ``where`` accepts an event.

    Args:
        answer: The return value of ``where``.
        where: The function, for the message.

    Raises:
        TypeError: If the return value is an awaitable or a generator, which is true but has not run.
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
    """Check the types and values of options.

    Raises:
        TypeError: If ``once`` is not a bool, ``where`` is not a plain function, ``timeout`` is not a number, or
            ``limit`` is not an int.
        ValueError: If ``timeout`` is not more than 0, or ``limit`` is less than 1.
    """
    once, where, timeout, limit = options
    if not isinstance(once, bool):
        raise TypeError(f"once= is True or False; got {describe_value(once)}")
    if where is not None:
        if not callable(where):
            raise TypeError(f"where= is a plain function of the event; got {describe_value(where)}")
        if isinstance(where, type) and not (hasattr(where, "__bool__") or hasattr(where, "__len__")):
            raise TypeError(
                f"where= is a plain function of the event; got the class {where.__name__}, whose objects are always "
                f"true: to receive the events of a class, listen to it"
            )
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
        check_parameters(where, ("event",), "where= is a plain function of the event")
    if timeout is not None:
        check_duration(timeout, "timeout= is how long a call may take, in seconds")
    if limit is not None:
        check_limit(limit, "limit= is how many calls of the listener may run at a time", optional=True)
