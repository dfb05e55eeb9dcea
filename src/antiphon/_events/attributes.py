"""The three attributes of an event that a dispatch sets: ``name``, ``dispatcher`` and ``propagation_stopped``.

`Event` exposes them through descriptors, which store their values under private names.
CPython stores an attribute faster if no class in the MRO defines a default for it, and most events are dispatched once.
The name and the dispatcher are stored together, as a `DispatchInfo` that the dispatches of a plan share.

Classes that customize attribute access (a property, ``__setattr__``) use plain attributes instead. A class whose
``__setattr__`` comes from a decorator, such as a frozen dataclass, keeps the descriptors.
"""

from __future__ import annotations

from typing import Any, Final

from antiphon._events.stop_observer import stop_observer

__all__ = (
    "DISPATCH_ATTRIBUTES",
    "INFO",
    "IN_FLIGHT",
    "NESTING_DEPTH",
    "USES_PLAIN_ATTRIBUTES",
    "DispatchAttribute",
    "DispatchInfo",
    "DispatcherAttribute",
    "NameAttribute",
    "StoppedAttribute",
    "find_static_attribute",
    "overrides_attribute_access",
    "reports_stops",
    "set_attribute",
    "strip_dispatch_state",
    "use_plain_attributes",
)


#: Sets an attribute also if the class refuses assignments, as a frozen dataclass does.
set_attribute: Final = object.__setattr__

# No class has a default for the three attributes below, so that storing them is fast.

#: The attribute of an event that stores its `DispatchInfo`.
INFO: Final = "_antiphon_info"

#: The attribute of an event that stores the event itself during a dispatch. Not True, because a copy that a listener
#: makes would then be treated as an event in flight.
IN_FLIGHT: Final = "_antiphon_in_flight"

#: The attribute of an event that stores the number of running dispatches within its outermost dispatch.
NESTING_DEPTH: Final = "_antiphon_nesting_depth"

#: The attribute of a class that marks it as using plain attributes.
USES_PLAIN_ATTRIBUTES: Final = "_antiphon_uses_plain_attributes"

_TRANSIENT_ATTRIBUTES: Final = frozenset((INFO, IN_FLIGHT, NESTING_DEPTH, "dispatcher"))


class DispatchInfo:  # noqa: PLW1641  its name need not have a hash
    """The name and the dispatcher of a dispatch. Immutable: to change one of them, store a new object."""

    __slots__ = ("dispatcher", "name", "stopped")

    def __init__(self, name: Any, dispatcher: Any, stopped: Any = False) -> None:
        self.name: Any = name
        self.dispatcher: Any = dispatcher
        self.stopped: Any = stopped

    def __eq__(self, other: object) -> bool:
        # For event classes that compare all attributes.
        return (
            isinstance(other, DispatchInfo)
            and self.name == other.name
            and self.dispatcher is other.dispatcher
            and self.stopped == other.stopped
        )

    def __reduce__(self) -> Any:
        # For event classes with their own `__getstate__`: a copy does not keep the dispatcher.
        return DispatchInfo, (self.name, None, self.stopped)


class DispatchAttribute:
    """A descriptor for an attribute of events that a dispatch sets. Read on the class, it returns the default.

    Args:
        attribute: The name of the attribute.
        default: The value before the first dispatch.
    """

    __slots__ = ("attribute", "default")

    def __init__(self, attribute: str, default: object) -> None:
        self.attribute = attribute
        self.default = default

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        # Values of copies, and values set while the class had a plain attribute, are stored under the attribute's name.
        return self.default if event is None else event.__dict__.get(self.attribute, self.default)

    def __set__(self, event: Any, value: object) -> None:
        info = _copy_info(event)
        setattr(info, self.attribute, value)
        set_attribute(event, INFO, info)

    def __delete__(self, event: Any) -> None:
        self.__set__(event, self.default)


class NameAttribute(DispatchAttribute):
    """The descriptor of ``name``."""

    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_info.name
        except AttributeError:
            return super().__get__(event, cls)


class DispatcherAttribute(DispatchAttribute):
    """The descriptor of ``dispatcher``."""

    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_info.dispatcher
        except AttributeError:
            return super().__get__(event, cls)


class StoppedAttribute(DispatchAttribute):
    """The descriptor of ``propagation_stopped``."""

    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        try:
            return event._antiphon_info.stopped
        except AttributeError:
            return super().__get__(event, cls)

    def __set__(self, event: Any, value: object) -> None:
        if value:
            # Notify the race first. Otherwise another listener that reads the attribute could be taken for the winner.
            observer = stop_observer.get()
            if observer is not None:
                observer(event)
        info = _copy_info(event)
        info.stopped = value
        set_attribute(event, INFO, info)


def _copy_info(event: Any) -> DispatchInfo:
    current: DispatchInfo | None = event.__dict__.get(INFO)
    if current is not None:
        return DispatchInfo(current.name, current.dispatcher, current.stopped)
    return DispatchInfo(_read_static(event, "name"), None, _read_static(event, "propagation_stopped"))


def _read_static(event: Any, attribute: str) -> Any:
    # Do not read the attribute of the event: it may be a property, which has nothing to do with the one that is set.
    static = find_static_attribute(event.__class__, attribute)
    return DispatchAttribute.__get__(static, event) if isinstance(static, DispatchAttribute) else None


#: The descriptor class of each attribute.
DISPATCH_ATTRIBUTES: Final[dict[str, type[DispatchAttribute]]] = {
    "name": NameAttribute,
    "dispatcher": DispatcherAttribute,
    "propagation_stopped": StoppedAttribute,
}


def find_static_attribute(cls: type[Any], attribute: str) -> object:
    """Return the attribute of a class or its bases without running descriptors, None if there is none."""
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None


def reports_stops(cls: type[Any]) -> bool:
    """Return whether `stop_observer` is called if ``propagation_stopped`` is set on an event of a class."""
    if hasattr(cls, USES_PLAIN_ATTRIBUTES):
        return False
    return isinstance(find_static_attribute(cls, "propagation_stopped"), StoppedAttribute)


def overrides_attribute_access(cls: type[Any]) -> bool:
    """Return whether reading an attribute of a class may run code other than a `DispatchAttribute`."""
    return (
        find_static_attribute(cls, "__getattr__") is not None
        or find_static_attribute(cls, "__getattribute__") is not object.__getattribute__
        or any(_is_foreign_descriptor(find_static_attribute(cls, attribute)) for attribute in DISPATCH_ATTRIBUTES)
    )


def _is_foreign_descriptor(static: object) -> bool:
    return hasattr(type(static), "__get__") and not isinstance(static, DispatchAttribute)


def use_plain_attributes(cls: type[Any]) -> None:
    """Replace the descriptors of a class with plain defaults, or with a property if it overrides ``__setattr__``."""
    for attribute in DISPATCH_ATTRIBUTES:
        static = find_static_attribute(cls, attribute)
        if isinstance(static, DispatchAttribute):
            type.__setattr__(cls, attribute, static.default)
    if (
        find_static_attribute(cls, "__setattr__") is not set_attribute
        and find_static_attribute(cls, "propagation_stopped") is False
    ):
        type.__setattr__(cls, "propagation_stopped", _STOPPED_PROPERTY)
    type.__setattr__(cls, USES_PLAIN_ATTRIBUTES, True)


class _StoppedProperty(property):
    """The ``propagation_stopped`` of classes that override ``__setattr__``.

    A pydantic model accepts assignments to fields and properties only, and the attribute is not a field.
    """

    def __bool__(self) -> bool:
        # Read on the class, it is false, like the default of other classes.
        return False


_STOPPED_PROPERTY: Final = _StoppedProperty(
    lambda event: event.__dict__.get("propagation_stopped", False),
    lambda event, stopped: event.__dict__.update(propagation_stopped=stopped),
)


def strip_dispatch_state(cls: type[Any], attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the attributes that a copy keeps, as plain values: all but the state of the running dispatch."""
    if attributes is None:
        return None
    state = {name: value for name, value in attributes.items() if name not in _TRANSIENT_ATTRIBUTES}
    if INFO in attributes and isinstance(find_static_attribute(cls, "name"), DispatchAttribute):
        state["name"] = attributes[INFO].name
    if INFO in attributes and isinstance(find_static_attribute(cls, "propagation_stopped"), DispatchAttribute):
        state["propagation_stopped"] = attributes[INFO].stopped
    return state
