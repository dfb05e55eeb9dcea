"""Which dispatch attributes can be set on an event, decided once per class.

A dispatch sets three attributes of its event: ``name``, ``dispatcher`` and ``propagation_stopped``.
`EventCapabilities` sets them, and restores them after a nested dispatch of the same event.
There are five kinds of events:

============================================  =========================  ================
events                                        attributes                 nesting depth
============================================  =========================  ================
`Event` and most subclasses                   stored for descriptors     on the event
`Event` subclasses with plain attributes      those that can be set      on the event
other classes with a ``stop_propagation()``   those that can be set      by identity
mocks and proxies of the classes above        all, by ``setattr``        by identity
other objects                                 none                       none
============================================  =========================  ================
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NamedTuple, Self
from weakref import WeakKeyDictionary

from antiphon._events.attributes import (
    DISPATCH_ATTRIBUTES,
    IN_FLIGHT,
    INFO,
    NESTING_DEPTH,
    USES_PLAIN_ATTRIBUTES,
    DispatchAttribute,
    DispatchInfo,
    find_static_attribute,
    overrides_attribute_access,
    set_attribute,
    use_plain_attributes,
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


class SavedState(NamedTuple):
    """The dispatch attributes of an event, saved while one of its listeners dispatches it again."""

    info: DispatchInfo
    stopped: bool

    @classmethod
    def capture(cls, event: Any) -> Self:
        """Return the current attributes of an event."""
        info = DispatchInfo(getattr(event, "name", None), getattr(event, "dispatcher", None))
        return cls(info, getattr(event, "propagation_stopped", False))


class EventCapabilities:
    """What a dispatch can do with the events of one class.

    Args:
        attributes: The dispatch attributes that can be set.
        stoppable: Whether listeners can stop a dispatch. If not, no attribute and no depth is stored.
        is_fast: Whether plain assignments have the effect of `begin_dispatch` and `end_dispatch`, so that dispatchers
            inline them.
        has_descriptors: Whether all attributes are a `DispatchAttribute`, whose values are stored directly.
        setter: Sets an attribute of an event.
        depths: The nesting depths of events, by identity. If None, each event stores its own depth.
    """

    __slots__ = ("_attributes", "_depths", "_setter", "has_descriptors", "is_fast", "stoppable")

    def __init__(
        self,
        attributes: tuple[str, ...],
        *,
        stoppable: bool = True,
        is_fast: bool = False,
        has_descriptors: bool = False,
        setter: Callable[[Any, str, Any], None] = set_attribute,
        depths: dict[int, int] | None = None,
    ) -> None:
        self.stoppable: bool = stoppable
        self.is_fast: bool = is_fast
        self._attributes = attributes
        self.has_descriptors = has_descriptors
        self._setter = setter
        self._depths = depths

    def begin_dispatch(self, event: Any, info: DispatchInfo, /) -> SavedState | None:
        """Begin a dispatch of an event. Return the state to pass to `end_dispatch`, None for an outermost dispatch.

        Raises:
            Exception: If a setter of the event raises. Then no dispatch has begun.
        """
        if self.is_fast and getattr(event, IN_FLIGHT, None) is not event:
            event._antiphon_in_flight = event
            event._antiphon_info = info
            return None
        outer: SavedState | None = None
        depths = self._depths
        if depths is None:
            if event.__dict__.get(IN_FLIGHT) is event:
                outer = SavedState.capture(event)
                set_attribute(event, NESTING_DEPTH, event.__dict__.get(NESTING_DEPTH, 0) + 1)
            else:
                set_attribute(event, IN_FLIGHT, event)
        elif not self.stoppable:
            # Checked only here, because events that store their own depth are always stoppable.
            return None
        elif id(event) in depths:
            outer = SavedState.capture(event)
            depths[id(event)] += 1
        else:
            depths[id(event)] = 0
        try:
            self._set_attributes(event, info, False)
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
        depths = self._depths
        if outer is None:
            if self.is_fast:
                event._antiphon_in_flight = None
            elif depths is None:
                set_attribute(event, IN_FLIGHT, None)
            else:
                depths.pop(id(event), None)
            return
        if depths is None:
            set_attribute(event, NESTING_DEPTH, event.__dict__.get(NESTING_DEPTH, 0) - 1)
        elif id(event) in depths:
            # Otherwise the outermost dispatch, in another task, has already ended.
            depths[id(event)] -= 1
        info, stopped = outer
        try:
            self._set_attributes(event, info, stopped)
        except BaseException:
            # A setter that raises must not keep the other attributes from being restored.
            for attribute, value in self._get_values(info, stopped):
                with suppress(Exception):
                    self._setter(event, attribute, value)
            raise

    def get_nesting_depth(self, event: Any, /) -> int:
        """Return the number of running dispatches of the event within its outermost dispatch."""
        if self._depths is not None:
            return self._depths.get(id(event), 0)
        return int(event.__dict__.get(NESTING_DEPTH, 0))

    def _set_attributes(self, event: Any, info: DispatchInfo, stopped: bool) -> None:
        if self.has_descriptors:
            set_attribute(event, INFO, DispatchInfo(info.name, info.dispatcher, stopped) if stopped else info)
        else:
            for attribute, value in self._get_values(info, stopped):
                self._setter(event, attribute, value)

    def _get_values(self, info: DispatchInfo, stopped: bool) -> list[tuple[str, object]]:
        values = {"name": info.name, "dispatcher": info.dispatcher, "propagation_stopped": stopped}
        return [(attribute, values[attribute]) for attribute in self._attributes]


#: For objects that accept no attributes and cannot be stopped.
NO_CAPABILITIES: Final = EventCapabilities((), stoppable=False, depths={})

#: For mocks and proxies, whose ``__class__`` is not their type. Their attributes may be stored in another object.
_PROXY_EVENT: Final = EventCapabilities(tuple(DISPATCH_ATTRIBUTES), setter=setattr, depths=_depths_by_identity)

_FAST_EVENT: Final = EventCapabilities(tuple(DISPATCH_ATTRIBUTES), has_descriptors=True, is_fast=True)

#: For classes whose ``__setattr__`` refuses assignments, such as frozen dataclasses.
_FROZEN_EVENT: Final = EventCapabilities(tuple(DISPATCH_ATTRIBUTES), has_descriptors=True)

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
    return _PROXY_EVENT if capabilities.stoppable and type(event) is not cls else capabilities


def is_stoppable(event: object) -> bool:
    """Return whether a listener can stop a dispatch of this event. Reads no attribute of the event but its class."""
    return isinstance(event, Event) or get_capabilities(event.__class__).stoppable


def _choose_capabilities(cls: type[Any]) -> EventCapabilities:
    if issubclass(cls, Event):
        try:
            if _install_descriptors(cls):
                return _FAST_EVENT if find_static_attribute(cls, "__setattr__") is set_attribute else _FROZEN_EVENT
        except AttributeError:
            # The metaclass defines a data descriptor with the name of an attribute.
            pass
    settable = tuple(attribute for attribute in DISPATCH_ATTRIBUTES if _is_settable(cls, attribute))
    if issubclass(cls, Event):
        return EventCapabilities(settable)
    if callable(getattr(cls, "stop_propagation", None)) and "propagation_stopped" in settable:
        return EventCapabilities(settable, depths=_depths_by_identity)
    return NO_CAPABILITIES


def _install_descriptors(cls: type[Event]) -> bool:
    """Make all three attributes of a class a `DispatchAttribute`, or all plain. Return whether they are descriptors."""
    if USES_PLAIN_ATTRIBUTES in vars(cls) or overrides_attribute_access(cls):
        # Do this even if the class has plain attributes: another base may have skipped ``Event.__init_subclass__``, and
        # pydantic removes the defaults.
        use_plain_attributes(cls)
        return False
    for attribute, descriptor_class in DISPATCH_ATTRIBUTES.items():
        default = find_static_attribute(cls, attribute)
        if not isinstance(default, DispatchAttribute):
            # Install it late, because a class decorator that builds a new class (attrs) reads the default.
            type.__setattr__(cls, attribute, descriptor_class(attribute, default))
    return True


def get_class_name_attribute(cls: type[Any]) -> Any:
    """Return the ``name`` that a class gives its events, None if it gives none.

    A property, a slot or (outside of `Event`) a dataclass field called ``name`` is data of the event.
    """
    name: Any = getattr(cls, "name", None)
    if name is None or hasattr(name, "__get__"):
        return None
    if issubclass(cls, Event):
        return name
    if not isinstance(name, (str, Enum)):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        # Imported here, because a program with a dataclass has imported the module.
        from dataclasses import fields

        if any(field.name == "name" for field in fields(cls)):
            return None
    return name


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
