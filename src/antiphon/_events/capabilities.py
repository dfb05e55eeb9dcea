"""Which dispatch attributes can be set on an event, decided once per class.

A dispatch has three attributes to show: ``name``, ``dispatcher`` and ``propagation_stopped``.
`EventCapabilities` sets them, and restores them after a nested dispatch of the same event.
There are four kinds of events:

=============================================  ================================  =============
events                                         what a dispatch sets              nesting depth
=============================================  ================================  =============
`Event` and subclasses                         a `DispatchInfo`, which the       on the event
                                               descriptors of the class read
`Event` subclasses that customize access to    a `DispatchInfo`, and             by identity
attributes, and proxies of events              ``propagation_stopped`` if the
                                               class defines its own
other classes with a ``stop_propagation()``,   those attributes that can be set  by identity
and mocks                                      and are not fields
other objects                                  nothing                           none
=============================================  ================================  =============

A ``name`` or ``dispatcher`` that is data, such as a field, a slot or a property of an `Event` subclass, is never set.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import WrapperDescriptorType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from antiphon._events.attributes import (
    IN_FLIGHT,
    INFO,
    NESTING_DEPTH,
    SELF,
    SHOWN_ATTRIBUTES,
    DispatcherAttribute,
    DispatchInfo,
    NameAttribute,
    StoppedAttribute,
    decide_fields,
    find_static_attribute,
    load_info,
    overrides_lookup,
    prepare_lookup,
    prepare_stopped,
    reports_stops,
    set_attribute,
    set_statically,
    store_info,
)
from antiphon._events.event import Event

__all__ = (
    "NO_CAPABILITIES",
    "EventCapabilities",
    "SavedState",
    "find_class_name_attribute",
    "get_capabilities",
    "get_class_name_attribute",
    "get_event_capabilities",
    "is_stoppable",
)

#: The nesting depths of events in flight that do not store it themselves, by identity.
_depths_by_identity: Final[dict[int, int]] = {}

#: The attributes that a dispatch shows on an object without descriptors, and their values before a dispatch.
_DEFAULTS: Final[dict[str, Any]] = {"name": None, "dispatcher": None, "propagation_stopped": False}


class SavedState(NamedTuple):
    """The dispatch attributes of an event, saved while one of its listeners dispatches it again."""

    info: DispatchInfo | None
    values: dict[str, Any]


class EventCapabilities:
    """What a dispatch can do with the events of one class.

    Args:
        attributes: The dispatch attributes that are set by a setter.
        stoppable: Whether listeners can stop a dispatch. If not, no attribute and no depth is stored.
        is_fast: Whether plain assignments have the effect of `begin_dispatch` and `end_dispatch`, so that dispatchers
            inline them. Then each event stores its own depth.
        stores_info: Whether a `DispatchInfo` is stored for the event.
        reports_stops: Whether `stop_observer` is called with the same object if the event is stopped.
        setter: Sets an attribute of an event.
    """

    __slots__ = ("_attributes", "_setter", "_stores_info", "is_fast", "reports_stops", "stoppable")

    def __init__(
        self,
        attributes: tuple[str, ...] = (),
        *,
        stoppable: bool = True,
        is_fast: bool = False,
        stores_info: bool = False,
        reports_stops: bool = False,
        setter: Callable[[Any, str, Any], None] = set_attribute,
    ) -> None:
        self.stoppable: bool = stoppable
        self.is_fast: bool = is_fast
        self.reports_stops: bool = reports_stops
        self._attributes = attributes
        self._stores_info = stores_info
        self._setter = setter

    def begin_dispatch(self, event: Any, info: DispatchInfo, /) -> SavedState | None:
        """Begin a dispatch of an event. Return the state to pass to `end_dispatch`, None for an outermost dispatch.

        Raises:
            Exception: If a setter of the event raises. Then no dispatch has begun.
        """
        outer: SavedState | None = None
        if self.is_fast:
            if getattr(event, IN_FLIGHT, None) is event:
                attributes = event.__dict__
                outer = SavedState(attributes[INFO], {})
                attributes[NESTING_DEPTH] = attributes.get(NESTING_DEPTH, 0) + 1
            else:
                event._antiphon_in_flight = event
            event._antiphon_info = info
            return outer
        if not self.stoppable:
            return None
        if id(event) in _depths_by_identity:
            outer = self._capture(event)
            _depths_by_identity[id(event)] += 1
        else:
            _depths_by_identity[id(event)] = 0
        try:
            self._set_attributes(event, info)
        except BaseException:
            # Raise this exception, even if the setters raise again while the attributes are restored.
            with suppress(Exception):
                self.end_dispatch(event, outer)
            raise
        return outer

    def end_dispatch(self, event: Any, outer: SavedState | None, /) -> None:
        """End a dispatch of an event, and restore the attributes of the outer dispatch.

        Raises:
            Exception: If a setter of the event raises. The dispatch has ended, and the other attributes are restored.
        """
        if self.is_fast:
            if outer is None:
                event._antiphon_in_flight = None
            else:
                attributes = event.__dict__
                attributes[NESTING_DEPTH] = attributes.get(NESTING_DEPTH, 0) - 1
                attributes[INFO] = outer.info
            return
        if outer is None:
            _depths_by_identity.pop(id(event), None)
            return
        if id(event) in _depths_by_identity:
            # Otherwise the outermost dispatch, in another task, has already ended.
            _depths_by_identity[id(event)] -= 1
        try:
            self._restore(event, outer)
        except BaseException:
            # A setter that raises must not keep the other attributes from being restored.
            for attribute, value in outer.values.items():
                with suppress(Exception):
                    self._setter(event, attribute, value)
            raise

    def get_nesting_depth(self, event: Any, /) -> int:
        """Return the number of running dispatches of the event within its outermost dispatch."""
        if self.is_fast:
            return int(event.__dict__.get(NESTING_DEPTH, 0))
        return _depths_by_identity.get(id(event), 0)

    def for_proxies(self) -> EventCapabilities:
        """Return what a dispatch can do with proxies of these events.

        A proxy passes the attributes on to an `Event`, but its identity is another one.
        """
        return EventCapabilities(self._attributes, stores_info=True, setter=_set_on_proxied_event)

    def _capture(self, event: Any) -> SavedState:
        values = {attribute: getattr(event, attribute, _DEFAULTS[attribute]) for attribute in self._attributes}
        return SavedState(load_info(event) if self._stores_info else None, values)

    def _restore(self, event: Any, outer: SavedState) -> None:
        if outer.info is not None:
            store_info(event, outer.info)
        for attribute, value in outer.values.items():
            self._setter(event, attribute, value)

    def _set_attributes(self, event: Any, info: DispatchInfo) -> None:
        if self._stores_info:
            store_info(event, info)
        values = {"name": info.name, "dispatcher": info.dispatcher, "propagation_stopped": info.stopped}
        for attribute in self._attributes:
            self._setter(event, attribute, values[attribute])


def _set_on_proxied_event(proxy: Any, attribute: str, value: Any) -> None:
    # ``object.__setattr__`` would set the attribute of the proxy.
    set_attribute(getattr(proxy, SELF), attribute, value)


#: For objects that accept no attributes and cannot be stopped.
NO_CAPABILITIES: Final = EventCapabilities(stoppable=False)

#: For mocks, whose ``__class__`` is not their type. They have attributes of their own.
_MOCK_EVENT: Final = EventCapabilities(tuple(_DEFAULTS), setter=setattr)

_FAST_EVENT: Final = EventCapabilities(is_fast=True, stores_info=True, reports_stops=True)

#: For classes that customize access to attributes, such as frozen dataclasses.
_CAREFUL_EVENT: Final = EventCapabilities(stores_info=True, reports_stops=True)

_capabilities_by_class: Final[WeakKeyDictionary[type[Any], EventCapabilities]] = WeakKeyDictionary()


def get_capabilities(cls: type[Any]) -> EventCapabilities:
    """Return what a dispatch can do with the events of a class.

    Classes with a callable ``stop_propagation`` and a settable ``propagation_stopped`` are treated like `Event`.
    Nothing is set on any other object.
    """
    capabilities = _capabilities_by_class.get(cls)
    if capabilities is None:
        capabilities = _capabilities_by_class[cls] = _choose_capabilities(cls)
    return capabilities


def get_event_capabilities(event: object) -> EventCapabilities:
    """Return what a dispatch can do with an event. The ``__class__`` of a mock or a proxy is not its type."""
    cls = event.__class__
    capabilities = get_capabilities(cls)
    if type(event) is cls or not capabilities.stoppable:
        return capabilities
    return capabilities.for_proxies() if type(getattr(event, SELF, None)) is cls else _MOCK_EVENT


def is_stoppable(event: object) -> bool:
    """Return whether a listener can stop a dispatch of this event. Reads no attribute of the event but its class."""
    return isinstance(event, Event) or get_capabilities(event.__class__).stoppable


def _choose_capabilities(cls: type[Any]) -> EventCapabilities:
    if issubclass(cls, Event):
        attributes = _prepare_class(cls)
        if not attributes and not overrides_lookup(cls) and _has_plain_storage(cls):
            return _FAST_EVENT
        return EventCapabilities(attributes, stores_info=True) if attributes else _CAREFUL_EVENT
    settable = tuple(
        attribute
        for attribute in _DEFAULTS
        if _is_settable(cls, attribute) and not (attribute in SHOWN_ATTRIBUTES and _is_field(cls, attribute))
    )
    if callable(getattr(cls, "stop_propagation", None)) and "propagation_stopped" in settable:
        return EventCapabilities(settable, setter=_choose_setter(cls))
    return NO_CAPABILITIES


def _choose_setter(cls: type[Any]) -> Callable[[Any, str, Any], None]:
    """Return the function that sets an attribute without running code of the class."""
    setters = (base.__dict__.get("__setattr__") for base in cls.__mro__)
    setter_in_c = next(setter for setter in setters if isinstance(setter, WrapperDescriptorType))
    # Before Python 3.13, ``object.__setattr__`` refuses classes with a setter in C, such as the structs of msgspec.
    return set_attribute if setter_in_c is set_attribute else set_statically


def _has_plain_storage(cls: type[Any]) -> bool:
    return find_static_attribute(cls, "__setattr__") is set_attribute and find_static_attribute(cls, INFO) is None


def _prepare_class(cls: type[Event]) -> tuple[str, ...]:
    """Install the descriptors of an event class. Return the attributes that a dispatch has to set by a setter.

    This is done late, because a class decorator that builds a new class (attrs) reads the defaults of the class, and
    because a class may receive its name after it was created.
    """
    decide_fields(cls)
    unshown = [attribute for attribute in SHOWN_ATTRIBUTES if not _show_attribute(cls, attribute)]
    # Another base may have skipped ``Event.__init_subclass__``.
    prepare_lookup(cls)
    static = find_static_attribute(cls, "propagation_stopped")
    if not hasattr(type(static), "__get__"):
        type.__setattr__(cls, "propagation_stopped", StoppedAttribute(static))
    prepare_stopped(cls)
    if not reports_stops(cls) and _is_settable(cls, "propagation_stopped"):
        unshown.append("propagation_stopped")
    return tuple(unshown)


def _show_attribute(cls: type[Event], attribute: str) -> bool:
    """Let a class-level value of an attribute be the default of a descriptor. Return whether that is possible."""
    static = find_static_attribute(cls, attribute)
    if hasattr(type(static), "__get__") or _is_field(cls, attribute):
        # A `DispatchAttribute`, or data of the user.
        return True
    descriptor = NameAttribute(static) if attribute == "name" else DispatcherAttribute(static)
    try:
        type.__setattr__(cls, attribute, descriptor)
    except AttributeError:
        # The metaclass defines a data descriptor of this name.
        return False
    return True


def _is_field(cls: type[Any], attribute: str) -> bool:
    """Return whether a class declares an attribute as a field of its instances: dataclass, attrs, pydantic, msgspec."""
    if hasattr(cls, "__dataclass_fields__"):
        # Imported here, because a program with a dataclass has imported the module.
        from dataclasses import fields

        if any(field.name == attribute for field in fields(cls)):
            return True
    containers = ("__attrs_attrs__", "__pydantic_fields__", "__struct_fields__")
    fields_of_others = (getattr(cls, container, None) or () for container in containers)
    return any(attribute == getattr(field, "name", field) for each in fields_of_others for field in each)


def get_class_name_attribute(cls: type[Any]) -> Any:
    """Return the ``name`` that a class gives its events, None if it gives none.

    A property, a slot or (outside of `Event`) a field called ``name`` is data of the event.
    """
    name: Any = getattr(cls, "name", None)
    if name is None or hasattr(name, "__get__"):
        return None
    if issubclass(cls, Event):
        return name
    return name if isinstance(name, (str, Enum)) and not _is_field(cls, "name") else None


def find_class_name_attribute(cls: type[Any]) -> Any:
    """Return the ``name`` that a class gives its events, None if there is none or if reading it raises."""
    try:
        return get_class_name_attribute(cls)
    except Exception:
        return None


def _is_settable(cls: type[Any], attribute: str) -> bool:
    static = find_static_attribute(cls, attribute)
    if isinstance(static, property):
        setter: Callable[[Any, Any], None] | None = static.fset
        return setter is not None
    return hasattr(type(static), "__set__") or cls.__dictoffset__ != 0
