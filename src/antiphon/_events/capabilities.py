"""What an event object lets a dispatch do with it.

A dispatch sets three attributes of its event: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which objects take them is a matter of their class, so it is decided once per class, by `get_capabilities`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

from antiphon._events.attributes import (
    DISPATCH_ATTRIBUTES,
    IN_FLIGHT,
    INFO,
    NESTING_DEPTH,
    STOPPED,
    USES_PLAIN_ATTRIBUTES,
    DispatchAttribute,
    DispatchInfo,
    find_static_attribute,
    overrides_attribute_access,
    use_plain_attributes,
)
from antiphon._events.event import Event

__all__ = (
    "NO_CAPABILITIES",
    "PROXY_EVENT",
    "EventCapabilities",
    "SavedState",
    "find_class_name_attribute",
    "get_capabilities",
    "get_class_name_attribute",
    "get_event_capabilities",
    "is_stoppable",
)

_set = object.__setattr__


class SavedState(NamedTuple):
    """What an event showed of a dispatch, kept while one of its listeners dispatches it again."""

    view: DispatchInfo
    stopped: bool

    @classmethod
    def capture(cls, event: Any) -> Self:
        """What an event shows now."""
        view = DispatchInfo(getattr(event, "name", None), getattr(event, "dispatcher", None))
        return cls(view, getattr(event, "propagation_stopped", False))


class EventCapabilities(Protocol):
    """How a dispatch treats the events of one class."""

    #: Whether a listener can stop a dispatch of such an event.
    stoppable: bool
    #: Whether is_fast assignments do the work of `begin_dispatch` and `end_dispatch`, so that dispatchers inline them.
    is_fast: bool

    def begin_dispatch(self, event: Any, view: DispatchInfo, /) -> SavedState | None:
        """Start a dispatch of the event, which shows it. Returns what it showed of an outer one, None without one.

        Raises:
            Exception: What a setter of the event raised. Then nothing was started.
        """
        ...

    def end_dispatch(self, event: Any, outer: SavedState | None, /) -> None:
        """End a dispatch of the event; an outer one's view is put back.

        Raises:
            Exception: What a setter of the event raised first. The dispatch has ended all the same, and all that could
                be put back has been.
        """
        ...

    def get_nesting_depth(self, event: Any, /) -> int:
        """Tell how many dispatches of the event run within its outermost one."""
        ...


class _NoCapabilities:
    """For objects on which nothing is set, and which cannot be stopped."""

    stoppable = False
    is_fast = False

    def begin_dispatch(self, event: Any, view: DispatchInfo, /) -> SavedState | None:
        return None

    def end_dispatch(self, event: Any, outer: SavedState | None, /) -> None:
        return None

    def get_nesting_depth(self, event: Any, /) -> int:
        return 0


class _EventSubclass:
    """For subclasses of `Event`; of an attribute that is a property, say, it is known whether it can be set."""

    stoppable = True

    def __init__(self, settable: frozenset[str], *, is_fast: bool = False) -> None:
        self._settable = settable
        self.is_fast = is_fast

    def begin_dispatch(self, event: Any, view: DispatchInfo, /) -> SavedState | None:
        outer: SavedState | None = None
        if event.__dict__.get(IN_FLIGHT) is event:
            outer = SavedState.capture(event)
            _set(event, NESTING_DEPTH, self.get_nesting_depth(event) + 1)
        else:
            _set(event, IN_FLIGHT, event)
        try:
            self._set_attributes(event, view)
        except BaseException:
            self._abandon(event, outer)
            raise
        return outer

    def end_dispatch(self, event: Any, outer: SavedState | None, /) -> None:
        if outer is None:
            _set(event, IN_FLIGHT, None)
        else:
            _set(event, NESTING_DEPTH, self.get_nesting_depth(event) - 1)
            self._restore_attributes(event, outer)

    def get_nesting_depth(self, event: Any, /) -> int:
        return int(event.__dict__.get(NESTING_DEPTH, 0))

    def _abandon(self, event: Any, outer: SavedState | None) -> None:
        # What a setter raised at the start leaves, whatever one raises now.
        with suppress(Exception):
            self.end_dispatch(event, outer)

    def _restore_attributes(self, event: Any, outer: SavedState) -> None:
        try:
            self._set_attributes(event, *outer)
        except BaseException:
            # One setter that raises does not keep the others from showing the outer dispatch.
            view, stopped = outer
            shown = {"name": view.name, "dispatcher": view.dispatcher, "propagation_stopped": stopped}
            for attribute, value in shown.items():
                if attribute in self._settable:
                    with suppress(Exception):
                        self._assign(event, attribute, value)
            raise

    def _set_attributes(self, event: Any, view: DispatchInfo, stopped: bool = False) -> None:
        shown = {"name": view.name, "dispatcher": view.dispatcher, "propagation_stopped": stopped}
        for attribute in self._settable:
            _set(event, attribute, shown[attribute])

    def _assign(self, event: Any, attribute: str, value: object) -> None:
        _set(event, attribute, value)


class _DescriptorEvent(_EventSubclass):
    """For subclasses of `Event` that show what is set elsewhere: nearly all."""

    def _set_attributes(self, event: Any, view: DispatchInfo, stopped: bool = False) -> None:
        _set(event, INFO, view)
        _set(event, STOPPED, stopped)


class _DuckTyped(_EventSubclass):
    """For foreign classes with a ``stop_propagation()``; their marks are kept here, not on the foreign object."""

    #: For each event in flight, by its identity, how many dispatches of it run within the outermost one.
    _in_flight: Final[dict[int, int]] = {}

    def begin_dispatch(self, event: Any, view: DispatchInfo, /) -> SavedState | None:
        outer: SavedState | None = None
        if id(event) in self._in_flight:
            outer = SavedState.capture(event)
            self._in_flight[id(event)] += 1
        else:
            self._in_flight[id(event)] = 0
        try:
            self._set_attributes(event, view)
        except BaseException:
            self._abandon(event, outer)
            raise
        return outer

    def end_dispatch(self, event: Any, outer: SavedState | None, /) -> None:
        if outer is None:
            self._in_flight.pop(id(event), None)
            return
        if id(event) in self._in_flight:
            self._in_flight[id(event)] -= 1
        self._restore_attributes(event, outer)

    def get_nesting_depth(self, event: Any, /) -> int:
        return self._in_flight.get(id(event), 0)


class _ProxyEvent(_DuckTyped):
    """For what passes itself off as an event, and has its attributes elsewhere: mocks and proxies."""

    def _set_attributes(self, event: Any, view: DispatchInfo, stopped: bool = False) -> None:
        event.name = view.name
        event.dispatcher = view.dispatcher
        event.propagation_stopped = stopped

    def _assign(self, event: Any, attribute: str, value: object) -> None:
        setattr(event, attribute, value)


NO_CAPABILITIES: Final[EventCapabilities] = _NoCapabilities()

PROXY_EVENT: Final[EventCapabilities] = _ProxyEvent(frozenset(DISPATCH_ATTRIBUTES))

_FAST_EVENT: Final[EventCapabilities] = _DescriptorEvent(frozenset(DISPATCH_ATTRIBUTES), is_fast=True)

#: For those that refuse is_fast assignments: frozen dataclasses.
_FROZEN_EVENT: Final[EventCapabilities] = _DescriptorEvent(frozenset(DISPATCH_ATTRIBUTES))


#: What was decided about a class.
_capabilities_by_class: Final[WeakKeyDictionary[type[Any], EventCapabilities]] = WeakKeyDictionary()


def get_capabilities(cls: type[Any]) -> EventCapabilities:
    """Tell what a dispatch may do with the events of a class; it is decided once.

    Subclasses of `Event`, and classes that quack like it (a callable ``stop_propagation`` and room for
    ``propagation_stopped``), get full service; everything else is dispatched bare.
    """
    service = _capabilities_by_class.get(cls)
    if service is None:
        service = _capabilities_by_class[cls] = _choose_capabilities(cls)
    return service


def get_event_capabilities(event: object) -> EventCapabilities:
    """Return what a dispatch can do with an event. The ``__class__`` of a mock or a proxy is not its type."""
    cls = event.__class__
    capabilities = get_capabilities(cls)
    return PROXY_EVENT if capabilities.stoppable and type(event) is not cls else capabilities


def is_stoppable(event: object) -> bool:
    """Return whether a listener can stop a dispatch of this event; nothing is read from the event itself."""
    return isinstance(event, Event) or get_capabilities(event.__class__).stoppable


def _choose_capabilities(cls: type[Any]) -> EventCapabilities:
    if issubclass(cls, Event):
        try:
            if _install_descriptors(cls):
                return (
                    _FAST_EVENT
                    if find_static_attribute(cls, "__setattr__") is vars(object)["__setattr__"]
                    else _FROZEN_EVENT
                )
        except AttributeError:
            # Its metaclass has an attribute of that name.
            pass
    settable = frozenset(attribute for attribute in DISPATCH_ATTRIBUTES if _is_settable(cls, attribute))
    if issubclass(cls, Event):
        return _EventSubclass(settable)
    if callable(getattr(cls, "stop_propagation", None)) and "propagation_stopped" in settable:
        return _DuckTyped(settable)
    return NO_CAPABILITIES


def _install_descriptors(cls: type[Event]) -> bool:
    """Have a class show all three attributes, or none. Returns which of these."""
    if USES_PLAIN_ATTRIBUTES in vars(cls) or overrides_attribute_access(cls):
        # Again, for another base may have kept `Event` from that, or taken the defaults away (pydantic).
        use_plain_attributes(cls)
        return False
    for attribute, kind in DISPATCH_ATTRIBUTES.items():
        raw = find_static_attribute(cls, attribute)
        if not isinstance(raw, DispatchAttribute):
            # Not before the first dispatch: what makes classes of classes (attrs) reads what they say.
            type.__setattr__(cls, attribute, kind(attribute, raw))
    return True


def get_class_name_attribute(cls: type[Any]) -> Any:
    """The name that a class gives to its events, None if it gives none.

    A property, a slot and (outside of `Event`) a dataclass field called ``name`` are the event's data, not its name.
    """
    name: Any = getattr(cls, "name", None)
    if name is None or hasattr(name, "__get__"):
        return None
    if issubclass(cls, Event):
        return name
    if not isinstance(name, (str, Enum)):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        # Imported here, since whoever made the dataclass has paid for it.
        from dataclasses import fields

        if any(field.name == "name" for field in fields(cls)):
            return None
    return name


def find_class_name_attribute(cls: type[Any]) -> Any:
    """Return the name that a class gives to its events, for texts: None if its metaclass raises, too."""
    try:
        return get_class_name_attribute(cls)
    except Exception:
        return None


def _is_descriptor(cls: type[Any], attribute: str) -> bool:
    return hasattr(type(find_static_attribute(cls, attribute)), "__set__")


def _is_settable(cls: type[Any], attribute: str) -> bool:
    raw = find_static_attribute(cls, attribute)
    if isinstance(raw, property):
        setter: Callable[[Any, Any], None] | None = raw.fset
        return setter is not None
    return _is_descriptor(cls, attribute) or cls.__dictoffset__ != 0
