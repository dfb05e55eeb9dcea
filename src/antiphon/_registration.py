"""What the two kinds of dispatcher share: registering listeners and looking them up."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from enum import Enum
from types import FunctionType
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, overload

from antiphon._events import Event, class_level_name, service_of
from antiphon._listeners import Subscription, check_key, check_priority, safe_repr
from antiphon._plan import Plan
from antiphon._registry import Registry
from antiphon._scope import Registrar
from antiphon.typing import IListener

__all__ = ("Dispatcher",)

L = TypeVar("L", bound=IListener)

#: Where `Dispatcher.add_listener` leaves what it registered, for callers that cannot rely on what an override returns.
_registered: Final[ContextVar[list[Subscription] | None]] = ContextVar("registered", default=None)


class Address(NamedTuple):
    """What a dispatch was told to dispatch."""

    name: Hashable
    event: Any


class Dispatcher:
    """Keeps listeners; the subclasses dispatch to them."""

    #: Whether the class runs the listeners itself, in whistle's override point; seen once, when the class is made.
    _overridden: ClassVar[bool] = False

    def __init__(self, *, name: str | None, silence: Callable[[Any], Any]) -> None:
        self._name = name
        self._registry = Registry(self._make_plan, silence)
        self._plans = self._registry.plans

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>" if self._name else object.__repr__(self)

    # Registering

    def add_listener(
        self, key: Hashable, listener: IListener, /, *, priority: int = 0, once: bool = False
    ) -> Subscription:
        """Register a listener. It first runs in the next dispatch. (whistle)

        Args:
            key: What to listen to: the name under which events are dispatched, usually a string; any
                hashable will do, and matches exactly.
            listener: Called with the event. The same one added twice runs twice.
            priority: Lower ones run first; equal ones in the order of registration.
            once: Whether the listener is taken back by its first call, which is then the only one.

        Returns:
            The handle of this registration: ``unsubscribe()`` takes it back, and so does the end of a ``with`` block.

        Raises:
            TypeError: The key is None or unhashable, the listener is not one that this dispatcher can
                call, or the priority is no int. Nothing is registered then.
        """
        subscription = self._subscribe(key, listener, priority, once)
        registered = _registered.get()
        if registered is not None:
            registered.append(subscription)
        return subscription

    def listen(self, key: Hashable, /, *, priority: int = 0, once: bool = False) -> Callable[[L], L]:
        """Register the decorated function; the arguments are those of `add_listener`. (whistle)

        Returns:
            A decorator that gives its function back unchanged.

        Raises:
            TypeError: As `add_listener`, or it was used without a key.
        """
        if isinstance(key, FunctionType):
            raise TypeError(
                f'listen() takes the key: above {key.__name__}, write @dispatcher.listen("order.placed") instead of '
                f"@dispatcher.listen"
            )
        check_key(key)
        check_priority(priority)

        def decorate(listener: L) -> L:
            self._register(key, listener, priority, once)
            return listener

        return decorate

    def remove_listener(self, key: Hashable, listener: IListener, /) -> None:
        """Take back every registration of a listener, and of those equal to it, under a key. (whistle)

        It takes effect at once: a dispatch under way does not start the listener any more. What runs already finishes.

        Raises:
            TypeError: The key is None or unhashable.
            ValueError: The listener does not listen to the key.
        """
        self._registry.remove(key, listener)

    def temporarily(self) -> Registrar:
        """Register for the length of a ``with`` block, for tests and plugins.

        Returns:
            A context manager with ``add_listener`` and ``listen``. What is registered through it counts for this
            dispatcher as usual, and is taken back when the block ends.
        """
        return Registrar(self._register)

    # Looking up

    @overload
    def get_listeners(self, name: None = None, /) -> dict[Hashable, tuple[Any, ...]]: ...  # type: ignore[overload-overlap]  # None is no name
    @overload
    def get_listeners(self, name: Hashable, /) -> tuple[Any, ...]: ...
    def get_listeners(self, name: Hashable = None, /) -> dict[Hashable, tuple[Any, ...]] | tuple[Any, ...]:
        """Tell who listens. (whistle)

        Args:
            name: The name that an event would be dispatched under.

        Returns:
            The listeners that would run, in order, empty if nobody listens. Without a name, a dict
            of the listeners of every key.

        Raises:
            TypeError: The name is unhashable.
        """
        if name is None:
            return {key: self.get_listeners(key) for key in self._registry.keys()}  # noqa: SIM118  no dict
        check_key(name)
        return tuple(subscription.listener for subscription in self._registry.heard(name))

    def has_listeners(self, name: Hashable = None, /) -> bool:
        """Tell whether anybody listens to a name, or, without one, whether anybody listens at all. (whistle)

        Raises:
            TypeError: The name is unhashable.
        """
        if name is None:
            return bool(self._registry.keys())
        check_key(name)
        return bool(self._registry.heard(name))

    # For subclasses and for the rooms that register on behalf of others

    def _callable_for(self, subscription: Subscription, once_only: bool, /) -> Callable[[Any], Any]:
        """Give what a dispatch calls for a registration.

        Raises:
            TypeError: The dispatcher cannot call the listener.
        """
        raise NotImplementedError

    def _guarded(self, plan: Plan, /) -> tuple[Any, ...]:
        """Give the listeners of a plan as a subclass that runs them itself gets them."""
        raise NotImplementedError

    def _runs_plainly(self) -> bool:
        """Whether the dispatcher runs its listeners itself, in a plain loop, unless it is told otherwise."""
        raise NotImplementedError

    def _subscribe(self, key: Hashable, listener: IListener, priority: int, once: bool, /) -> Subscription:
        check_key(key)
        check_priority(priority)
        subscription = Subscription(self._registry, key, listener, priority)
        subscription.call = self._callable_for(subscription, once)
        self._registry.add(subscription)
        return subscription

    def _register(self, key: Hashable, listener: IListener, priority: int, once: bool, /) -> list[Subscription]:
        # An overridden add_listener is to see registrations, but it may know only whistle's arguments and return
        # nothing: it gets the plain ones, and what they registered is noted on the way.
        if once:
            return [self._subscribe(key, listener, priority, once)]
        registered: list[Subscription] = []
        token = _registered.set(registered)
        try:
            self.add_listener(key, listener, priority=priority)
        finally:
            _registered.reset(token)
        return registered

    # From what is to be dispatched to a plan

    def _address(self, single: Any) -> Address:
        """Take the one argument of a dispatch for a name or for an event.

        Raises:
            TypeError: It is None or a class.
        """
        if isinstance(single, (str, Enum)):
            return Address(single, Event())
        if single is None or isinstance(single, type):
            raise TypeError(
                f"a dispatch takes a name, an event, or both; got {safe_repr(single)}"
                + (f"; make the event: {single.__name__}(...)" if isinstance(single, type) else "")
            )
        return Address(class_level_name(single.__class__), single)

    def _plan(self, name: Hashable, event: Any) -> Plan:
        if name is not None:
            check_key(name)
        return self._registry.plan(name, event.__class__)

    def _make_plan(self, name: Hashable, cls: type, listeners: tuple[Subscription, ...]) -> Plan:
        service = service_of(cls)
        plan = Plan(
            listeners,
            name=name,
            dispatcher=self,
            service=service,
            plain=service.plain and not self._overridden and self._runs_plainly(),
        )
        if self._overridden:
            plan.guarded = self._guarded(plan)
        return plan
