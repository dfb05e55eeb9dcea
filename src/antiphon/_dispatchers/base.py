"""The base of both dispatchers: looking up listeners, and finding the plan of a dispatch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn, overload

from antiphon._dispatchers.checks import Uninitialized, check_event, check_order, find_attribute, refuse_argument
from antiphon._dispatchers.instruments import InstrumentsMixin, global_instruments
from antiphon._dispatchers.registering import RegisteringMixin
from antiphon._events.capabilities import (
    EventCapabilities,
    find_class_name_attribute,
    get_capabilities,
    get_class_name_attribute,
    get_event_capabilities,
)
from antiphon._events.event import Event
from antiphon._listeners.adapters import name_usage, unbind_name
from antiphon._listeners.subscription import Subscription
from antiphon._registry.keys import check_dispatch_name, check_name, split_key
from antiphon._registry.lookup import join_linked
from antiphon._registry.plan import CachedPlan, Plan, StrategyStep, sort_subscriptions
from antiphon._registry.registry import Registry
from antiphon._types import DeclaredNamesSource
from antiphon._util.arguments import documented_by, make_argument_error
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import describe_value, format_key, safe_repr

if TYPE_CHECKING:
    from antiphon import diagrams
    from antiphon._introspection import description as _description
    from antiphon._listeners import named as _named
    from antiphon._registry import declared_names as _declared_names
else:
    # Many programs never ask for a description, do not declare their names, and have no listener that receives them.
    _named = LazyModule("antiphon._listeners.named")
    _description = LazyModule("antiphon._introspection.description")
    diagrams = LazyModule("antiphon.diagrams")
    _declared_names = LazyModule("antiphon._registry.declared_names")

__all__ = ("BaseDispatcher",)

#: The types of a single argument that is a name. Any other single argument is an event.
_NAME_TYPES: Final = (str, Enum)


class _Documentation:
    """The documented signatures of the look-ups, which accept keywords as well. `event_id` is the name in whistle 1."""

    def get_listeners(self: Any, name: Hashable = None, event_class: type[Any] | None = None, /) -> Any:
        raise NotImplementedError

    def has_listeners(self: Any, name: Hashable = None, event_class: type[Any] | None = None, /) -> bool:
        raise NotImplementedError


class BaseDispatcher(RegisteringMixin, InstrumentsMixin):
    """Keeps the listeners of a dispatcher. Subclasses dispatch to them.

    Subclasses override the methods that raise ``NotImplementedError``. This class has no instances of its own.
    """

    #: Whether the class overrides the method that runs the listeners. Set once, when the class is created.
    _overrides_execution: bool = False

    _registry: Registry
    _cached_plans: dict[Hashable, dict[type, CachedPlan]]
    _answers: dict[Hashable, dict[type, tuple[Any, ...]]]
    _name: str | None = None

    #: The name of the method that dispatches, for messages.
    _dispatch_method: str = "dispatch"

    def __init__(
        self, *, name: str | None, placeholder: Callable[[Any], Any], names: DeclaredNamesSource = None
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name= is the name of the dispatcher, a str or None; got {describe_value(name)}")
        self._name = name
        self._placeholder = placeholder
        self._set_registry(self._new_registry())
        if names is not None:
            self._registry.declared_names = _declared_names.DeclaredNames(names)
        if global_instruments:
            self._add_global_instruments()

    if not TYPE_CHECKING:
        if sys.version_info >= (3, 12):
            __getattr__ = find_attribute
        else:
            # Python 3.11 reads all attributes more slowly if there is a `__getattr__`, and one more slowly if the class
            # has it as well. Not `_cached_plans` and `_answers`: without them, the registry is read.
            _registry = Uninitialized()

    def __repr__(self) -> str:
        if self._name:
            return f"<{type(self).__name__} {self._name!r}>"
        if "_registry" not in vars(self):
            return object.__repr__(self)
        # Not the number of listeners: an error in a dispatch makes this repr, and counting them takes time.
        keys = self._registry.count_keys()
        if not keys:
            return f"<{type(self).__name__} without listeners>"
        return f"<{type(self).__name__} with listeners under {keys} key{'s' * (keys > 1)}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        # A shallow copy would share some of the listeners, and register others for itself.
        raise TypeError(
            f"a dispatcher cannot be copied or pickled, because its listeners belong to it; got {safe_repr(self)}: "
            f"pass the dispatcher itself, or dispatcher.scope() for one with further listeners of its own"
        )

    # Looking up

    @overload
    def get_listeners(self, name: None = None, /) -> dict[Hashable, tuple[Any, ...]]: ...  # type: ignore[overload-overlap]  # None is not a name
    @overload
    def get_listeners(self, name: Hashable, event_class: type[Any] = Event, /) -> tuple[Any, ...]: ...
    @documented_by(_Documentation.get_listeners)
    def get_listeners(  # noqa: D417  it is not documented
        self, name: Hashable = None, event_class: type[Any] | None = None, event_id: Hashable = None
    ) -> dict[Hashable, tuple[Any, ...]] | tuple[Any, ...]:
        """Return the listeners that a dispatch would run.

        Args:
            name: The name of the dispatch, or the class of an event that is dispatched without a name. A union stands
                for events of each of its classes.
            event_class: The class of the event, which selects the listeners of classes. The default is the class
                in ``name``, or `Event`.

        Returns:
            The listeners in the order in which they would run. Without a name, a dict with the listeners of every key.

        Raises:
            TypeError: If the name is unhashable.
            ValueError: If the dispatcher declares its names, and this is not one of them.
        """
        if name is None:
            if event_id is not None:
                raise make_argument_error(
                    BaseDispatcher.get_listeners, "get_listeners(name)", (), {"event_id": event_id}
                )
            return {key: _get_listeners_of(found) for key, found in self._registry.by_key().items()}
        return self._find_listeners(name, event_class)

    if TYPE_CHECKING:

        def has_listeners(self, name: Hashable = None, event_class: type[Any] | None = None, /) -> bool: ...

    else:

        @documented_by(_Documentation.has_listeners)
        def has_listeners(  # noqa: D417  it is not documented
            self, name: Hashable = None, event_class: type[Any] | None = None, event_id: Hashable = None
        ) -> bool:
            """Return whether a dispatch would run a listener.

            Args:
                name: As for `get_listeners`.
                event_class: As for `get_listeners`.

            Returns:
                Whether `get_listeners` would return a listener. Without a name, whether there is any listener.

            Raises:
                TypeError: If the name is unhashable.
                ValueError: As for `get_listeners`.
            """
            if name is None:
                if event_id is not None:
                    raise make_argument_error(
                        BaseDispatcher.has_listeners, "has_listeners(name)", (), {"event_id": event_id}
                    )
                return bool(self._registry.keys())
            return bool(self._find_listeners(name, event_class))

    def describe(self) -> diagrams.Description:
        """Describe the keys, their listeners in order, the options, and where each listener is defined.

        Returns:
            An immutable description of the current registrations, and of all declared names. `antiphon.diagrams`
            renders it as text.
        """
        everything, declared = self._registry.find_all(), self._registry.declared_names
        return _description.describe(
            self._get_display_name(),
            type(self).__name__,
            everything,
            self._unwrap_listener,
            self._registry,
            declared_names=() if declared is None else declared.names,
        )

    def _new_registry(self) -> Registry:
        return Registry(self._make_cached_plan, self._placeholder)

    def _set_registry(self, registry: Registry) -> None:
        self._registry = registry
        self._cached_plans = registry.cached_plans
        self._answers = registry.answers

    def _unwrap_listener(self, listener: Any, /) -> tuple[Any, str | None]:
        """Return the function that is finally called for a listener, and the name of the adapter around it, or None."""
        raise NotImplementedError

    def _get_display_name(self) -> str:
        return self._name or type(self).__name__

    def _make_steps(self, plan: Plan, /) -> tuple[Subscription | StrategyStep, ...]:
        """Return the steps that run a plan under the default strategy or error policy, or in an override."""
        raise NotImplementedError

    def _find_listeners(self, name: Hashable, event_class: type[Any] | None) -> tuple[Any, ...]:
        cls: type[Any] = Event
        if event_class is not None:
            if not isinstance(event_class, type):
                raise TypeError(
                    f"a look-up takes a name, and the class of the event; got {describe_value(event_class)}: pass its "
                    f"class, {type(event_class).__name__}"
                )
            cls = event_class
        elif isinstance(name, type):
            check_name(name)
            cls, name = name, get_class_name_attribute(name)
        try:
            return self._answers[name][cls]
        except (KeyError, TypeError, AttributeError):
            classes = split_key(name)
            if len(classes) > 1:
                return self._find_listeners_of_union(classes)
            if name is not None:
                check_dispatch_name(name)
            if self._registry.declared_names is not None:
                self._registry.declared_names.check_name(name)
            return self._registry.answer(name, cls)

    def _find_listeners_of_union(self, classes: tuple[Any, ...]) -> tuple[Any, ...]:
        found = [self._registry.find_for_event(find_class_name_attribute(cls), cls) for cls in classes]
        return _get_listeners_of(join_linked(sort_subscriptions(set(chain.from_iterable(found)))))

    # From the arguments of a dispatch to its plan

    def _resolve_argument(self, single: Any) -> tuple[Hashable, Any]:
        """Return the name and the event for the single argument of a dispatch, which is a name or an event.

        Raises:
            TypeError: If the argument is None or a class.
        """
        cls = single.__class__
        if cls is str:
            return single, Event()
        # Most single arguments are events with a plain name or none. The checks below take longer.
        if isinstance(single, Event):
            try:
                name = cls.name
                if name is None or name.__class__ is str:
                    return name, single
            except AttributeError:
                # A field without a default; see `declare_fields`.
                return None, single
        if isinstance(single, _NAME_TYPES):
            return single, Event()
        if single is None or isinstance(single, type):
            refuse_argument(single, self._dispatch_method)
        return get_class_name_attribute(cls), single

    def _resolve_arguments(self, name: Any, event: Any) -> tuple[Hashable, Any]:
        """Check the arguments of a later dispatch as the dispatch will check them. Return the name and the event.

        Raises:
            TypeError: As for a dispatch.
        """
        if event is None:
            name, event = self._resolve_argument(name)
        try:
            self._cached_plans[name][type(event)]
        except (KeyError, TypeError, AttributeError):
            self._get_cached_plan(name, event)
        return name, event

    def _get_cached_plan(self, name: Hashable, event: Any) -> CachedPlan:
        check_event(name, event)
        if name.__class__ is not str and name is not None:
            check_order(name, event, self._dispatch_method)
        cls = event.__class__
        is_cached = type(event) is cls
        if name is not None:
            self._check_dispatch_name(name)
        elif not isinstance(event, Event) and self._registry.may_equal_key(event):
            self._check_not_a_name(event)
            # Another event of the class may equal a key: look at each of them.
            is_cached = False
        if is_cached:
            return self._registry.get_cached_plan(name, cls)
        # The `__class__` of a mock or a proxy is not its type. Cache nothing: its type may serve this object only.
        return self._make_cached_plan(
            name, cls, self._registry.find_for_event(name, cls), get_event_capabilities(event)
        )

    def _check_dispatch_name(self, name: Hashable) -> None:
        """Check that events can be dispatched under a name.

        Raises:
            TypeError: If the name is unhashable, a pattern, or another object that cannot be a key.
            ValueError: If the dispatcher declares its names, and this is not one of them.
        """
        check_dispatch_name(name)
        if self._registry.declared_names is not None:
            self._registry.declared_names.check_name(name)

    def _check_not_a_name(self, event: Any) -> None:
        try:
            is_key = self._registry.has_key(event)
        except TypeError:
            # It is unhashable.
            return
        if is_key:
            raise TypeError(
                f"a single argument is a name only if it is a str or an Enum member; got {describe_value(event)}, to "
                f"which listeners listen as a name: pass the event as well, as in "
                f"{self._dispatch_method}({format_key(event)}, Event())"
            )

    def _make_cached_plan(
        self,
        name: Hashable,
        cls: type,
        listeners: tuple[Subscription, ...],
        capabilities: EventCapabilities | None = None,
    ) -> CachedPlan:
        # Here, because the end of a scope drops its plans. A check in each dispatch would cost time.
        if self._registry.ended_scope is not None:
            raise RuntimeError(
                f"events are dispatched on a scope until it ends, but {self!r} has ended: dispatch "
                f"{format_key(cls if name is None else name)} within the `with` block of the scope, or on the "
                f"dispatcher itself"
            )
        if capabilities is None:
            capabilities = get_capabilities(cls)
        if name_usage.is_used:
            listeners = tuple([_named.bind_name(subscription, name, self._wrap_options) for subscription in listeners])
        plan = Plan(listeners, name=name, dispatcher=self, capabilities=capabilities)
        return CachedPlan(plan, self._make_steps(plan), self._all_instruments())

    def _get_plan_for_equal_name(self, cached: CachedPlan, name: Hashable) -> CachedPlan:
        """Return the plan for a name that equals the name of a cached plan, but may be of another type."""
        if not name_usage.is_used or (type(name) is str and type(cached.info.name) is str):
            return cached
        listeners = tuple([unbind_name(subscription) for subscription in cached.plan.listeners])
        return self._make_cached_plan(name, object, listeners, cached.capabilities)


def _get_listeners_of(subscriptions: tuple[Subscription, ...]) -> tuple[Any, ...]:
    return tuple(subscription.listener for subscription in subscriptions)
