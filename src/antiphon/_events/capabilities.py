"""What an event object lets a dispatch do with it.

A dispatch sets three attributes of its event: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which objects take them is a matter of their class, so it is decided once per class, by `service_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

from antiphon._events.attributes import (
    IN_FLIGHT,
    NESTED,
    PLAIN,
    SHOWN,
    STOPPED,
    VIEW,
    Shown,
    View,
    make_plain,
    raw_attribute,
    reads_its_own,
)
from antiphon._events.event import Event

__all__ = ("BARE", "PRETENDING", "Outer", "Service", "class_level_name", "is_stoppable", "service_of", "shown_name")

_set = object.__setattr__


class Outer(NamedTuple):
    """What an event showed of a dispatch, kept while one of its listeners dispatches it again."""

    view: View
    stopped: bool

    @classmethod
    def of(cls, event: Any) -> Self:
        """What an event shows now."""
        view = View(getattr(event, "name", None), getattr(event, "dispatcher", None))
        return cls(view, getattr(event, "propagation_stopped", False))


class Service(Protocol):
    """How a dispatch treats the events of one class."""

    #: Whether a listener can stop a dispatch of such an event.
    stoppable: bool
    #: Whether plain assignments do all that `enter` and `leave` do, so that the dispatcher may inline them.
    plain: bool

    def enter(self, event: Any, view: View, /) -> Outer | None:
        """Start a dispatch of the event, which shows it. Returns what it showed of an outer one, None without one.

        Raises:
            Exception: What a setter of the event raised. Then nothing was started.
        """
        ...

    def leave(self, event: Any, outer: Outer | None, /) -> None:
        """End a dispatch of the event; an outer one's view is put back.

        Raises:
            Exception: What a setter of the event raised first. The dispatch has ended all the same, and all that could
                be put back has been.
        """
        ...

    def depth(self, event: Any, /) -> int:
        """Tell how many dispatches of the event run within its outermost one."""
        ...


class _Bare:
    """For objects on which nothing is set, and which cannot be stopped."""

    stoppable = False
    plain = False

    def enter(self, event: Any, view: View, /) -> Outer | None:
        return None

    def leave(self, event: Any, outer: Outer | None, /) -> None:
        return None

    def depth(self, event: Any, /) -> int:
        return 0


class _Own:
    """For subclasses of `Event`; of an attribute that is a property, say, it is known whether it can be set."""

    stoppable = True

    def __init__(self, settable: frozenset[str], *, plain: bool = False) -> None:
        self._settable = settable
        self.plain = plain

    def enter(self, event: Any, view: View, /) -> Outer | None:
        outer: Outer | None = None
        if event.__dict__.get(IN_FLIGHT) is event:
            outer = Outer.of(event)
            _set(event, NESTED, self.depth(event) + 1)
        else:
            _set(event, IN_FLIGHT, event)
        try:
            self._show(event, view)
        except BaseException:
            self._abandon(event, outer)
            raise
        return outer

    def leave(self, event: Any, outer: Outer | None, /) -> None:
        if outer is None:
            _set(event, IN_FLIGHT, None)
        else:
            _set(event, NESTED, self.depth(event) - 1)
            self._show_again(event, outer)

    def depth(self, event: Any, /) -> int:
        return int(event.__dict__.get(NESTED, 0))

    def _abandon(self, event: Any, outer: Outer | None) -> None:
        # What a setter raised at the start leaves, whatever one raises now.
        with suppress(Exception):
            self.leave(event, outer)

    def _show_again(self, event: Any, outer: Outer) -> None:
        try:
            self._show(event, *outer)
        except BaseException:
            # One setter that raises does not keep the others from showing the outer dispatch.
            view, stopped = outer
            shown = {"name": view.name, "dispatcher": view.dispatcher, "propagation_stopped": stopped}
            for attribute, value in shown.items():
                if attribute in self._settable:
                    with suppress(Exception):
                        self._assign(event, attribute, value)
            raise

    def _show(self, event: Any, view: View, stopped: bool = False) -> None:
        shown = {"name": view.name, "dispatcher": view.dispatcher, "propagation_stopped": stopped}
        for attribute in self._settable:
            _set(event, attribute, shown[attribute])

    def _assign(self, event: Any, attribute: str, value: object) -> None:
        _set(event, attribute, value)


class _Showing(_Own):
    """For subclasses of `Event` that show what is set elsewhere: nearly all."""

    def _show(self, event: Any, view: View, stopped: bool = False) -> None:
        _set(event, VIEW, view)
        _set(event, STOPPED, stopped)


class _DuckTyped(_Own):
    """For foreign classes with a ``stop_propagation()``; their marks are kept here, not on the foreign object."""

    #: For each event in flight, by its identity, how many dispatches of it run within the outermost one.
    _in_flight: Final[dict[int, int]] = {}

    def enter(self, event: Any, view: View, /) -> Outer | None:
        outer: Outer | None = None
        if id(event) in self._in_flight:
            outer = Outer.of(event)
            self._in_flight[id(event)] += 1
        else:
            self._in_flight[id(event)] = 0
        try:
            self._show(event, view)
        except BaseException:
            self._abandon(event, outer)
            raise
        return outer

    def leave(self, event: Any, outer: Outer | None, /) -> None:
        if outer is None:
            self._in_flight.pop(id(event), None)
            return
        if id(event) in self._in_flight:
            self._in_flight[id(event)] -= 1
        self._show_again(event, outer)

    def depth(self, event: Any, /) -> int:
        return self._in_flight.get(id(event), 0)


class _Pretending(_DuckTyped):
    """For what passes itself off as an event, and has its attributes elsewhere: mocks and proxies."""

    def _show(self, event: Any, view: View, stopped: bool = False) -> None:
        event.name = view.name
        event.dispatcher = view.dispatcher
        event.propagation_stopped = stopped

    def _assign(self, event: Any, attribute: str, value: object) -> None:
        setattr(event, attribute, value)


BARE: Final[Service] = _Bare()

PRETENDING: Final[Service] = _Pretending(frozenset(SHOWN))

_PLAIN: Final[Service] = _Showing(frozenset(SHOWN), plain=True)

#: For those that refuse plain assignments: frozen dataclasses.
_GUARDED: Final[Service] = _Showing(frozenset(SHOWN))


#: What was decided about a class.
_services: Final[WeakKeyDictionary[type[Any], Service]] = WeakKeyDictionary()


def service_of(cls: type[Any]) -> Service:
    """Tell what a dispatch may do with the events of a class; it is decided once.

    Subclasses of `Event`, and classes that quack like it (a callable ``stop_propagation`` and room for
    ``propagation_stopped``), get full service; everything else is dispatched bare.
    """
    service = _services.get(cls)
    if service is None:
        service = _services[cls] = _decide(cls)
    return service


def is_stoppable(event: object) -> bool:
    """Return whether a listener can stop a dispatch of this event; nothing is read from the event itself."""
    return isinstance(event, Event) or service_of(event.__class__).stoppable


def _decide(cls: type[Any]) -> Service:
    if issubclass(cls, Event):
        try:
            if _shows(cls):
                return _PLAIN if raw_attribute(cls, "__setattr__") is vars(object)["__setattr__"] else _GUARDED
        except AttributeError:
            # Its metaclass has an attribute of that name.
            pass
    settable = frozenset(attribute for attribute in SHOWN if _is_settable(cls, attribute))
    if issubclass(cls, Event):
        return _Own(settable)
    if callable(getattr(cls, "stop_propagation", None)) and "propagation_stopped" in settable:
        return _DuckTyped(settable)
    return BARE


def _shows(cls: type[Event]) -> bool:
    """Have a class show all three attributes, or none. Returns which of these."""
    if PLAIN in vars(cls) or reads_its_own(cls):
        # Again, for another base may have kept `Event` from that, or taken the defaults away (pydantic).
        make_plain(cls)
        return False
    for attribute, kind in SHOWN.items():
        raw = raw_attribute(cls, attribute)
        if not isinstance(raw, Shown):
            # Not before the first dispatch: what makes classes of classes (attrs) reads what they say.
            type.__setattr__(cls, attribute, kind(attribute, raw))
    return True


def class_level_name(cls: type[Any]) -> Any:
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


def shown_name(cls: type[Any]) -> Any:
    """Return the name that a class gives to its events, for texts: None if its metaclass raises, too."""
    try:
        return class_level_name(cls)
    except Exception:
        return None


def _is_descriptor(cls: type[Any], attribute: str) -> bool:
    return hasattr(type(raw_attribute(cls, attribute)), "__set__")


def _is_settable(cls: type[Any], attribute: str) -> bool:
    raw = raw_attribute(cls, attribute)
    if isinstance(raw, property):
        setter: Callable[[Any, Any], None] | None = raw.fset
        return setter is not None
    return _is_descriptor(cls, attribute) or cls.__dictoffset__ != 0
