"""The three attributes of an event that a dispatch sets: ``name``, ``dispatcher`` and ``propagation_stopped``.

`Event` exposes them through descriptors. Their values are stored together, as a `DispatchInfo` that the dispatches of a
plan share. CPython stores an attribute faster if no class in the MRO defines a default for it, and most events are
dispatched once.

The descriptors of ``name`` and ``dispatcher`` define no ``__set__``. A value that the code of the user stores in the
instance, in a slot or behind a property therefore takes precedence, and a dispatch never writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Final
from weakref import ref

from antiphon._events.stop_observer import notify_of_stop

__all__ = (
    "DEFAULT_PREFIX",
    "INFO",
    "IN_FLIGHT",
    "NESTING_DEPTH",
    "SELF",
    "SHOWN_ATTRIBUTES",
    "DispatchAttribute",
    "DispatchInfo",
    "DispatcherAttribute",
    "EventNameAttribute",
    "ExternalInfo",
    "NameAttribute",
    "StoppedAttribute",
    "decide_fields",
    "declare_fields",
    "find_dispatch_name",
    "find_static_attribute",
    "get_own_annotations",
    "load_info",
    "overrides_lookup",
    "prepare_lookup",
    "prepare_stopped",
    "reports_stops",
    "set_attribute",
    "set_statically",
    "stop_event",
    "store_info",
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

#: The property of `Event` that returns the event itself, also through a proxy. A mock replaces it.
SELF: Final = "_antiphon_self"

#: The attributes that the user's data may replace.
SHOWN_ATTRIBUTES: Final = ("name", "dispatcher")

#: With the name of one of these attributes, the attribute of a class that contains what the class shows for it.
DEFAULT_PREFIX: Final = "_antiphon_default_"


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


class ExternalInfo:
    """Stores the `DispatchInfo` of the events of a class outside of them.

    For classes with their own ``__copy__``, such as pydantic models. They copy, compare and validate whatever an
    instance contains.
    """

    __slots__ = ()

    def __get__(self, event: Any, cls: Any = None) -> Any:
        return self if event is None else self.find(event)

    def __set__(self, event: Any, info: DispatchInfo) -> None:
        key = id(event)
        entry = _external_infos.get(key)
        if entry is None:
            entry = _external_infos[key] = _ExternalEntry(event, _remove_entry)
            entry.key = key
        entry.info = info

    def find(self, event: Any) -> DispatchInfo | None:
        """Return what is stored for an event, or None."""
        entry = _external_infos.get(id(event))
        return None if entry is None else entry.info


class _ExternalEntry(ref[Any]):
    """A weak reference to an event, with its information."""

    __slots__ = ("info", "key")

    info: DispatchInfo
    key: int


def _remove_entry(entry: Any) -> None:
    _external_infos.pop(entry.key, None)


#: By the identity of the event, because not every event has a hash.
_external_infos: Final[dict[int, _ExternalEntry]] = {}


def load_info(event: Any) -> DispatchInfo | None:
    """Return the `DispatchInfo` of an event, None before its first dispatch."""
    external = getattr(event.__class__, INFO, None)
    if isinstance(external, ExternalInfo):
        return external.find(getattr(event, SELF))
    info: DispatchInfo | None = event.__dict__.get(INFO)
    return info


def store_info(event: Any, info: DispatchInfo) -> None:
    """Store the `DispatchInfo` of an event."""
    external = getattr(event.__class__, INFO, None)
    if isinstance(external, ExternalInfo):
        external.__set__(getattr(event, SELF), info)
    else:
        event.__dict__[INFO] = info


class DispatchAttribute:
    """A descriptor for an attribute of events that a dispatch sets. Read on the class, it returns the default.

    Args:
        default: The value before the first dispatch.
    """

    __slots__ = ("default",)

    def __init__(self, default: object) -> None:
        self.default = default

    def __get__(self, event: Any, cls: Any = None) -> Any:
        raise NotImplementedError


class NameAttribute(DispatchAttribute):
    """The ``name`` of a class that names its events."""

    __slots__ = ()

    def __get__(self, event: Any, cls: Any = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_info.name
        except AttributeError:
            return self.default


class EventNameAttribute(DispatchAttribute):
    """The ``name`` of `Event`. Its default depends on the class; see `declare_fields`."""

    __slots__ = ()

    def __get__(self, event: Any, cls: Any = None) -> Any:
        if event is None:
            return cls._antiphon_default_name
        try:
            return event._antiphon_info.name
        except AttributeError:
            return None


class DispatcherAttribute(DispatchAttribute):
    """The ``dispatcher`` of `Event`, or of a class that has another default."""

    __slots__ = ()

    def __get__(self, event: Any, cls: Any = None) -> Any:
        if event is None:
            return self.default if self.default is not None else cls._antiphon_default_dispatcher
        try:
            return event._antiphon_info.dispatcher
        except AttributeError:
            return self.default


class StoppedAttribute(DispatchAttribute):
    """The descriptor of ``propagation_stopped``."""

    __slots__ = ()

    def __get__(self, event: Any, cls: Any = None) -> Any:
        try:
            return event._antiphon_info.stopped
        except AttributeError:
            # A value that was set while the class had a plain attribute is stored under the attribute's name.
            return self.default if event is None else event.__dict__.get("propagation_stopped", self.default)

    def __set__(self, event: Any, value: object) -> None:
        if value:
            # Notify the race first. Otherwise another listener that reads the attribute could be taken for the winner.
            notify_of_stop(event)
        info = load_info(event)
        name, dispatcher = (_default_name(event), None) if info is None else (info.name, info.dispatcher)
        store_info(event, DispatchInfo(name, dispatcher, value))

    def __delete__(self, event: Any) -> None:
        self.__set__(event, self.default)


class _StoppedProperty(property):
    """The ``propagation_stopped`` of classes that override ``__setattr__``.

    A pydantic model accepts assignments to fields and properties only, and the attribute is not a field.
    """

    def __bool__(self) -> bool:
        # Read on the class, it is false, like the default of other classes.
        return False


_stopped: Final = StoppedAttribute(False)
_STOPPED_PROPERTY: Final = _StoppedProperty(_stopped.__get__, _stopped.__set__, _stopped.__delete__)


def _default_name(event: Any) -> Any:
    # Do not read the attribute of the event: it may be the user's.
    static = find_static_attribute(event.__class__, "name")
    return static.default if isinstance(static, DispatchAttribute) else None


def find_static_attribute(cls: type[Any], attribute: str) -> object:
    """Return the attribute of a class or its bases without running descriptors, None if there is none."""
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None


def find_dispatch_name(event: Any) -> Any:
    """Return the name of the running dispatch of an event, or of the last one, also if its ``name`` is data.

    Returns:
        The name; for an object without a `DispatchInfo`, such as a duck-typed event or a mock, its ``name`` or None.
    """
    info = getattr(event, INFO, None)
    return info.name if isinstance(info, DispatchInfo) else getattr(event, "name", None)


def reports_stops(cls: type[Any]) -> bool:
    """Return whether `stop_observer` is called if ``propagation_stopped`` is set on an event of a class."""
    return isinstance(find_static_attribute(cls, "propagation_stopped"), (StoppedAttribute, _StoppedProperty))


def stop_event(event: Any) -> None:
    """Set ``propagation_stopped``, also on an event that refuses assignments, and notify the observer once."""
    cls: type[Any] = event.__class__
    if not reports_stops(cls):
        # Before the attribute is set, as in `StoppedAttribute`.
        notify_of_stop(event)
    set_statically(event, "propagation_stopped", True)


def set_statically(event: Any, attribute: str, value: object) -> None:
    """Set an attribute by its descriptor or in the dictionary of the event.

    ``object.__setattr__`` does the same, but refuses the structs of msgspec before Python 3.13.
    """
    setter = getattr(find_static_attribute(event.__class__, attribute), "__set__", None)
    if setter is None:
        event.__dict__[attribute] = value
    else:
        setter(event, value)


def overrides_lookup(cls: type[Any]) -> bool:
    """Return whether the look-up of an attribute that an instance does not have runs code of the class."""
    return (
        find_static_attribute(cls, "__getattr__") is not None
        or find_static_attribute(cls, "__getattribute__") is not object.__getattribute__
    )


def prepare_lookup(cls: type[Any]) -> None:
    """Give a class a default for `INFO`, so that the descriptors do not run the ``__getattr__`` of the class."""
    if overrides_lookup(cls) and not isinstance(find_static_attribute(cls, INFO), ExternalInfo):
        type.__setattr__(cls, INFO, None)


def prepare_stopped(cls: type[Any]) -> None:
    """Give a class whose own ``__setattr__`` may refuse the attribute a ``propagation_stopped`` that it accepts."""
    if find_static_attribute(cls, "__setattr__") is not set_attribute and isinstance(
        find_static_attribute(cls, "propagation_stopped"), StoppedAttribute
    ):
        type.__setattr__(cls, "propagation_stopped", _STOPPED_PROPERTY)


# Fields without a default


class _NoDefault:
    """The default of a field that has none. A decorator that asks the class for a default finds no attribute."""

    __slots__ = ("attribute",)

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, event: Any, cls: type[Any]) -> Any:
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {self.attribute!r}")


def declare_fields(cls: type[Any]) -> None:
    """Hide the defaults of `Event` from a new class with fields of the same names and no default in the class.

    The dataclass decorator and pydantic read the default of a field from the class, with its bases. Nothing is stored
    in the class under the name of the field, because attrs takes every such value for a default.
    """
    # pydantic also reads the default of an inherited field, and removes the value from the class that declares it.
    bases = cls.__mro__ if hasattr(cls, "__pydantic_fields__") else (cls,)
    for attribute in SHOWN_ATTRIBUTES:
        _uncover(cls, attribute)
        if any(_declares_only(base, attribute) for base in _take_until_value(bases, attribute)):
            type.__setattr__(cls, DEFAULT_PREFIX + attribute, _NoDefault(attribute))


def _uncover(cls: type[Any], attribute: str) -> None:
    # A field of a named tuple, a property or a slot is data, also in a base class that stands after `Event`.
    first, *others = (base for base in cls.__mro__ if attribute in vars(base))
    value: Any = vars(others[0])[attribute] if others and SELF in vars(first) else None
    if hasattr(value, "__get__") and not _declares_only(cls, attribute):
        type.__setattr__(cls, attribute, value)


def _take_until_value(bases: tuple[type[Any], ...], attribute: str) -> Iterator[type[Any]]:
    # The value in `Event` is the one to hide.
    return takewhile(lambda base: attribute not in vars(base), (base for base in bases if SELF not in vars(base)))


def _declares_only(cls: type[Any], attribute: str) -> bool:
    annotations = get_own_annotations(cls)
    return attribute in annotations and "ClassVar" not in str(annotations[attribute])


def decide_fields(cls: type[Any]) -> None:
    """End what `declare_fields` began, because reading an attribute of a class takes long if it raises."""
    for attribute in SHOWN_ATTRIBUTES:
        if isinstance(find_static_attribute(cls, DEFAULT_PREFIX + attribute), _NoDefault):
            type.__setattr__(cls, DEFAULT_PREFIX + attribute, None)


def get_own_annotations(cls: type[Any]) -> Any:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return vars(cls).get("__annotations__", {})
