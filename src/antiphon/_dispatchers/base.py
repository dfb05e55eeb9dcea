"""What the two kinds of dispatcher share: registering listeners and looking them up."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

from antiphon._dispatchers.instruments import Instrumented, global_instruments
from antiphon._dispatchers.subscribers import Subscriptions, register_methods
from antiphon._dispatchers.temporary import Registrar
from antiphon._events.capabilities import PROXY_EVENT, get_capabilities, get_class_name_attribute
from antiphon._events.event import Event
from antiphon._listeners.subscription import (
    NameAwareListener,
    NameBoundSubscription,
    Options,
    Subscription,
    SubscriptionWithOptions,
    check_options,
    is_owned_by,
)
from antiphon._registry.keys import check_key, check_name
from antiphon._registry.plan import CachedPlan, Plan, StrategyStep
from antiphon._registry.registry import Registry
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import safe_repr
from antiphon._util.validation import check_priority
from antiphon.typing import IListener

if TYPE_CHECKING:
    from antiphon._introspection import description as _description
else:
    # Many programs never ask for a description.
    _description = LazyModule("antiphon._introspection.description")

__all__ = ("BaseDispatcher",)

L = TypeVar("L", bound=IListener)

#: The subscriptions that `add_listener` made, for callers that cannot rely on what an override returns.
_captured_subscriptions: Final[ContextVar[list[Subscription] | None]] = ContextVar(
    "captured_subscriptions", default=None
)

#: What is a name when it is the one argument of a dispatch.
_NAME_TYPES: Final = (str, Enum)


class BaseDispatcher(Instrumented):
    """Keeps listeners; the subclasses dispatch to them."""

    #: Whether the class runs the listeners itself, in whistle's override point; seen once, when the class is made.
    _overrides_execution: bool = False

    #: The flags of a function that a dispatch calls as it is, so that nothing more need be asked about it: any of them.
    _direct_call_flags: int = 0

    def __init__(self, *, name: str | None, placeholder: Callable[[Any], Any]) -> None:
        self._name = name
        self._placeholder = placeholder
        self._set_registry(self._new_registry())
        if global_instruments:
            self._add_global_instruments()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>" if self._name else object.__repr__(self)

    # Registering

    def add_listener(
        self,
        key: Hashable,
        listener: IListener,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Subscription:
        """Register a listener. It first runs in the next dispatch. (whistle)

        Args:
            key: What to listen to. A string is the name under which events are dispatched, or a pattern of names if it
                has ``*`` for one segment between dots, or ``**`` for any number; ``"*"`` alone hears every event. A
                class hears the events of that class and its subclasses, under any name. Any other hashable is
                a name.
            listener: Called with the event. The same one added twice runs twice.
            priority: Lower ones run first; equal ones in the order of registration.
            once: Whether the listener is taken back by its first call, which is then the only one.
            where: A plain function of the event, which tells whether the listener is called. What it raises is an error
                of the listener.
            timeout: How long a call may take, in seconds; a longer one is cancelled and ends as a ``TimeoutError`` of
                the listener. For async listeners.
            limit: How many calls of it may run at a time, per event loop; others wait. For async listeners.

        Returns:
            The handle of this registration; ``unsubscribe()`` takes it back, and so does the end of a ``with`` block.

        Raises:
            TypeError: The key is None or unhashable, the listener is not one that this dispatcher can call, or an
                option has a wrong type. Nothing is registered then.
            ValueError: The key is no pattern though it has a ``*``, ``timeout`` is not more than 0, or ``limit`` is
                less than 1.
        """
        # Seen one by one, for to make the record of them and to compare it would take as long as all the rest.
        if once is False and where is None and timeout is None and limit is None:
            if priority.__class__ is not int:
                check_priority(priority)
            called_as_is = listener.__class__ is FunctionType and listener.__code__.co_flags & self._direct_call_flags
            call = listener if called_as_is else self._adapt_listener(listener)
            subscription = Subscription(self._registry, key, listener, priority, call)
            # The key is checked by the registry, which knows those that it has seen.
            self._registry.add(subscription)
        else:
            subscription = self._add_with_options(key, listener, priority, Options(once, where, timeout, limit))
        captured = _captured_subscriptions.get()
        if captured is not None:
            captured.append(subscription)
        return subscription

    def listen(
        self,
        key: Hashable,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[L], L]:
        """Register the decorated function; the arguments are those of `add_listener`. (whistle)

        Returns:
            A decorator that gives its function back unchanged.

        Raises:
            TypeError: As `add_listener`, or it was used without a key.
            ValueError: As `add_listener`.
        """
        options = Options(once, where, timeout, limit)
        self._check_listen_arguments(key, priority, options)

        def decorate(listener: L) -> L:
            self._add_for_caller(key, listener, priority, options)
            return listener

        return decorate

    def add_subscriber(self, subscriber: object, /) -> Subscriptions:
        """Register the methods of an object that are marked with `listens_to`, all or none of them.

        Methods of base classes come first, then the order of definition; equal priorities run in that order.

        Returns:
            One handle for all of them.

        Raises:
            TypeError: It is a class, no method of it is marked, or one is not a listener for this dispatcher.
        """
        return register_methods(subscriber, self._add_for_caller)

    def remove_listener(self, key: Hashable, listener: IListener, /) -> None:
        """Take back every registration of a listener, and of those equal to it, under a key. (whistle)

        It takes effect at once: a dispatch under way does not start the listener any more. What runs already finishes.

        Args:
            key: What it listens to.
            listener: The listener, or one that equals it.

        Raises:
            TypeError: The key is None or unhashable.
            ValueError: The listener does not listen to the key.
        """
        self._registry.remove(key, listener)

    def temporarily(self) -> Registrar:
        """Register for the length of a ``with`` block, for tests and plugins.

        Returns:
            A context manager with ``add_listener``, ``listen`` and ``add_subscriber``. What is registered through
            it counts for this dispatcher as usual, and is taken back when the block ends.
        """
        return Registrar(self._add_for_caller, self._check_listen_arguments)

    # Looking up

    @overload
    def get_listeners(self, name: None = None, /) -> dict[Hashable, tuple[Any, ...]]: ...  # type: ignore[overload-overlap]  # None is no name
    @overload
    def get_listeners(self, name: Hashable, event_class: type[Any] = Event, /) -> tuple[Any, ...]: ...
    def get_listeners(
        self, name: Hashable = None, event_class: type[Any] | None = None, /
    ) -> dict[Hashable, tuple[Any, ...]] | tuple[Any, ...]:
        """Tell who listens. (whistle)

        Args:
            name: The name that an event would be dispatched under, or the class of an event dispatched
                without a name.
            event_class: The class of the event, which matters to listeners of classes; `Event` if not given.

        Returns:
            The listeners that would run, in order, empty if nobody listens. Without a name, a dict
            of the listeners of every key.

        Raises:
            TypeError: The name is unhashable.
        """
        if name is None:
            return {key: _get_listeners_of(found) for key, found in self._registry.by_key().items()}
        return self._find_listeners(name, event_class)

    def has_listeners(self, name: Hashable = None, event_class: type[Any] | None = None, /) -> bool:
        """Tell whether anybody listens to a name, or, without one, whether anybody listens at all. (whistle)

        Args:
            name: As for `get_listeners`.
            event_class: As for `get_listeners`.

        Returns:
            Whether a dispatch would run a listener.

        Raises:
            TypeError: The name is unhashable.
        """
        if name is None:
            return bool(self._registry.keys())
        return bool(self._find_listeners(name, event_class))

    def describe(self) -> _description.Description:
        """Tell who listens to what, in which order, with which options, and where each listener is defined.

        Returns:
            A record of this moment, which later registrations do not change. `antiphon.diagrams` turns it into text.
        """
        everything = self._registry.find_all()
        return _description.describe(
            self._get_display_name(), type(self).__name__, everything, self._unwrap_listener, self._registry
        )

    def _new_registry(self) -> Registry:
        return Registry(self._make_cached_plan, self._placeholder)

    def _set_registry(self, registry: Registry) -> None:
        self._registry = registry
        self._cached_plans = registry.cached_plans
        self._answers = registry.answers

    # For subclasses and for the rooms that register on behalf of others. What raises NotImplementedError here is
    # answered by each kind of dispatcher; this class is not made by itself.

    def _check_options(self, options: Options, /) -> None:
        """Refuse options that this dispatcher cannot keep.

        Raises:
            TypeError: An option has a wrong type, or the dispatcher cannot keep it.
            ValueError: An option has a value that makes no sense.
        """
        check_options(options)

    def _adapt_listener(self, listener: Any, /) -> Callable[[Any], Any]:
        """Give what a dispatch calls for a listener.

        Raises:
            TypeError: The dispatcher cannot call the listener.
        """
        raise NotImplementedError

    def _wrap_options(self, subscription: SubscriptionWithOptions, /) -> Callable[[Any], Any]:
        """Give what a dispatch calls for a registration with options: they stand around its ``call``."""
        raise NotImplementedError

    def _unwrap_listener(self, listener: Any, /) -> tuple[Any, str | None]:
        """Tell what is called for a listener in the end, and what adapts it to the dispatcher, if anything does."""
        return listener, None

    def _get_display_name(self) -> str:
        return self._name or type(self).__name__

    def _make_override_listeners(self, plan: Plan, /) -> tuple[Any, ...]:
        """Give the listeners of a plan as a subclass that runs them itself gets them."""
        raise NotImplementedError

    def _get_fast_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        """Tell what the dispatcher calls with the event, one after another, unless it is told otherwise."""
        raise NotImplementedError

    def _check_listen_arguments(self, key: Hashable, priority: int, options: Options, /) -> None:
        if isinstance(key, FunctionType):
            raise TypeError(
                f'listen() takes the key: above {key.__name__}, write @dispatcher.listen("order.placed") instead of '
                f"@dispatcher.listen"
            )
        check_key(key)
        check_priority(priority)
        self._check_options(options)

    def _add_with_options(
        self, key: Hashable, listener: IListener, priority: int, options: Options, /
    ) -> SubscriptionWithOptions:
        check_priority(priority)
        call = self._adapt_listener(listener)
        self._check_options(options)
        subscription = SubscriptionWithOptions(self._registry, key, listener, priority, call, options)
        subscription.call = self._wrap_options(subscription)
        self._registry.add(subscription)
        return subscription

    def _add_for_caller(
        self, key: Hashable, listener: IListener, priority: int, options: Options, /
    ) -> list[Subscription]:
        """Register a listener for ``listen``, a subscriber, an expectation and the like; return the subscriptions.

        An override of `add_listener` sees the registration, unless it has options, because an override may know only
        the arguments of whistle. What the override returns is not used. The subscriptions that it makes on this
        dispatcher are returned: none, one or several.
        """
        if not options.is_default():
            return [self._add_with_options(key, listener, priority, options)]
        if getattr(self.add_listener, "__func__", None) is _ADD_LISTENER:
            return [self.add_listener(key, listener, priority=priority)]
        captured: list[Subscription] = []
        token = _captured_subscriptions.set(captured)
        try:
            self.add_listener(key, listener, priority=priority)
        except BaseException:
            Subscriptions(captured).unsubscribe()
            raise
        finally:
            _captured_subscriptions.reset(token)
        return [subscription for subscription in captured if is_owned_by(subscription, self._registry)]

    def _find_listeners(self, name: Hashable, event_class: type[Any] | None) -> tuple[Any, ...]:
        cls: type[Any] = Event
        if event_class is not None:
            cls = event_class
        elif isinstance(name, type):
            check_name(name)
            cls, name = name, get_class_name_attribute(name)
        try:
            return self._answers[name][cls]
        except (KeyError, TypeError):
            if name is not None:
                check_name(name)
            return self._registry.answer(name, cls)

    # From what is to be dispatched to a plan

    def _address(self, single: Any) -> tuple[Hashable, Any]:
        """Take the one argument of a dispatch for a name or for an event; give both.

        Raises:
            TypeError: It is None or a class.
        """
        cls = single.__class__
        if cls is str:
            return single, Event()
        # What nearly all are, before what takes longer to ask.
        if isinstance(single, Event):
            name = cls.name
            if name is None or name.__class__ is str:
                return name, single
        if isinstance(single, _NAME_TYPES):
            return single, Event()
        if single is None or isinstance(single, type):
            raise TypeError(
                f"a dispatch takes a name, an event, or both; got {safe_repr(single)}"
                + (f"; make the event: {single.__name__}(...)" if isinstance(single, type) else "")
            )
        return get_class_name_attribute(cls), single

    def _addressed(self, name: Any, event: Any) -> tuple[Hashable, Any]:
        """Check the arguments of a dispatch that comes later, as the dispatch will; give the name and the event.

        Raises:
            TypeError: As a dispatch.
        """
        if event is None:
            name, event = self._address(name)
        try:
            self._cached_plans[name][type(event)]
        except (KeyError, TypeError):
            self._get_cached_plan(name, event)
        return name, event

    def _get_cached_plan(self, name: Hashable, event: Any) -> CachedPlan:
        if name is not None:
            check_name(name)
        if isinstance(event, type):
            raise TypeError(f"the event is a class; make one: {event.__name__}(...)")
        if isinstance(name, Event):
            raise TypeError(f"the name comes first, then the event; got {safe_repr(name)} and {safe_repr(event)}")
        cls = event.__class__
        if type(event) is cls:
            return self._registry.get_cached_plan(name, cls)
        # A mock or a proxy says that it is of another class; its own may be of this object alone.
        return self._make_cached_plan(name, cls, self._registry.find_for_event(name, cls), is_proxy=True)

    def _make_cached_plan(
        self, name: Hashable, cls: type, listeners: tuple[Subscription, ...], *, is_proxy: bool = False
    ) -> CachedPlan:
        capabilities = get_capabilities(cls)
        if is_proxy and capabilities.stoppable:
            capabilities = PROXY_EVENT
        if not capabilities.stoppable:
            listeners = tuple(_bind_name(name, subscription) for subscription in listeners)
        plan = Plan(listeners, name=name, dispatcher=self, capabilities=capabilities)
        cached = CachedPlan(plan, self._all_instruments())
        if not cached.instruments:
            if self._overrides_execution:
                cached.override_listeners = self._make_override_listeners(plan)
            elif capabilities.is_fast:
                cached.fast_steps = self._get_fast_steps(plan)
        return cached


#: To recognize a dispatcher that does not override it, in a subclass or on the instance.
_ADD_LISTENER: Final = BaseDispatcher.add_listener


def _bind_name(name: Hashable, subscription: Subscription) -> Subscription:
    # A bare event cannot tell its name to those that want to know.
    if isinstance(subscription.listener, NameAwareListener):
        return cast("Subscription", NameBoundSubscription(subscription, name))
    return subscription


def _get_listeners_of(subscriptions: tuple[Subscription, ...]) -> tuple[Any, ...]:
    return tuple(subscription.listener for subscription in subscriptions)
