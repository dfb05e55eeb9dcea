"""Events, and what an event object lets a dispatch do with it.

A dispatch writes three attributes on its event: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which objects take them is a matter of their class, so it is decided once per class, by `service_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, cast
from weakref import WeakKeyDictionary

__all__ = ("BARE", "Event", "Service", "StopObserver", "View", "class_level_name", "service_of", "stop_observer")

_set = object.__setattr__

#: Told of each event that is stopped in this context. Only a race listens: it has to act at once, and to know which
#: of its listeners it was, also when a helper task or a worker thread of that listener stops the event.
stop_observer: Final[ContextVar[Callable[[Event], None] | None]] = ContextVar("stop_observer", default=None)


class Event:
    """Base class of events: what is dispatched, and what listeners are given.

    A subclass carries the data its listeners need; it may skip ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below have their defaults on the class, so that they can be
    read before a dispatch; a dispatch sets them on the instance before it starts the first listener, and
    they stay readable after it. (whistle)
    """

    #: The name under which the event is dispatched. A subclass may set it, so that
    #: ``adispatch(event)`` needs no name.
    name: Any = None

    #: The dispatcher that dispatches the event, or dispatched it last.
    dispatcher: Any = None

    #: Whether a listener stopped the running dispatch, or the last one. Every dispatch starts with False.
    propagation_stopped: bool = False

    def stop_propagation(self) -> None:
        """Keep the running dispatch from starting further listeners.

        What that means for listeners of the same priority depends on the strategy; see the table of
        guarantees. Setting ``propagation_stopped = True`` does the same. (whistle, PSR-14)
        """
        # A race is told before its other listeners can see the mark, or one of them might pass for the one that set it.
        observer = stop_observer.get()
        if observer is not None:
            observer(self)
        # Not a plain assignment, which a frozen dataclass would refuse.
        _set(self, "propagation_stopped", True)

    def __getstate__(self) -> Any:
        """The state that copies and pickles take over: all but the dispatch that is under way."""
        # A class with slots has a pair: the dict of its instance, and its slots.
        state = cast("dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]] | None", object.__getstate__(self))
        if isinstance(state, tuple):
            return _without_dispatch(state[0]), state[1]
        return _without_dispatch(state)


#: While an event is dispatched, this attribute of it is the event itself. That it is the event, and not just
#: True, keeps a copy made by a listener from passing for an event in flight.
IN_FLIGHT: Final = "_antiphon_in_flight"

#: How many dispatches of the event run within the outermost one, each in a listener of the one before.
_NESTED: Final = "_antiphon_nested"


def _without_dispatch(attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    if attributes is None:
        return None
    return {name: value for name, value in attributes.items() if name not in ("dispatcher", IN_FLIGHT, _NESTED)}


class StopObserver:
    """Told of each event that is stopped in a context, on behalf of something that will be over one day.

    A base: whoever observes says when it is over, and what it does when it is told.
    """

    __slots__ = ("outer",)

    #: Who was told before, and is told too.
    outer: Callable[[Event], None] | None

    def __init__(self) -> None:
        outer = stop_observer.get()
        while isinstance(outer, StopObserver) and outer.is_over():
            # Tasks that outlive their dispatch and dispatch again would grow a chain without end.
            outer = outer.outer
        self.outer = outer

    def is_over(self) -> bool:
        """Whether it has nothing to do any more."""
        raise NotImplementedError

    def __call__(self, event: Event) -> None:
        """Hear that an event was stopped."""
        raise NotImplementedError


class View(NamedTuple):
    """What an event shows of a dispatch; the outer one's is kept while a nested one runs."""

    name: Any
    dispatcher: Any
    propagation_stopped: bool

    @classmethod
    def of(cls, event: Any) -> View:
        """What an event shows now."""
        return cls(
            getattr(event, "name", None),
            getattr(event, "dispatcher", None),
            getattr(event, "propagation_stopped", False),
        )


class Service(Protocol):
    """How a dispatch treats the events of one class."""

    #: Whether a listener can stop a dispatch of such an event.
    stoppable: bool
    #: Whether plain assignments do all that `enter` and `leave` do, so that the dispatcher may inline them.
    plain: bool

    def enter(self, event: Any, name: Any, dispatcher: Any, /) -> View | None:
        """Start a dispatch of the event. Returns what an outer dispatch had set, None if there is no outer one."""
        ...

    def leave(self, event: Any, outer: View | None, /) -> None:
        """End a dispatch of the event; an outer one's view is put back."""
        ...

    def depth(self, event: Any, /) -> int:
        """Tell how many dispatches of the event run within its outermost one."""
        ...


class _Bare:
    """For objects on which nothing is set, and which cannot be stopped."""

    stoppable = False
    plain = False

    def enter(self, event: Any, name: Any, dispatcher: Any, /) -> View | None:
        return None

    def leave(self, event: Any, outer: View | None, /) -> None:
        return None

    def depth(self, event: Any, /) -> int:
        return 0


class _Own:
    """For subclasses of `Event`."""

    stoppable = True

    def __init__(self, settable: frozenset[str], *, plain: bool) -> None:
        self._settable = settable
        self.plain = plain

    def enter(self, event: Any, name: Any, dispatcher: Any, /) -> View | None:
        outer: View | None
        if getattr(event, IN_FLIGHT, None) is event:
            outer = View.of(event)
            _set(event, _NESTED, self.depth(event) + 1)
        else:
            outer = None
            _set(event, IN_FLIGHT, event)
        self._show(event, View(name, dispatcher, False))
        return outer

    def leave(self, event: Any, outer: View | None, /) -> None:
        if outer is None:
            _set(event, IN_FLIGHT, None)
        else:
            _set(event, _NESTED, self.depth(event) - 1)
            self._show(event, outer)

    def depth(self, event: Any, /) -> int:
        return int(event.__dict__.get(_NESTED, 0))

    def _show(self, event: Any, view: View) -> None:
        for attribute in self._settable:
            _set(event, attribute, getattr(view, attribute))


class _Plain(_Own):
    """For subclasses of `Event` on which plain assignments do the same: nearly all."""

    def enter(self, event: Any, name: Any, dispatcher: Any, /) -> View | None:
        if getattr(event, IN_FLIGHT, None) is event:
            return super().enter(event, name, dispatcher)
        event._antiphon_in_flight = event
        event.dispatcher = dispatcher
        event.name = name
        if event.propagation_stopped:
            event.propagation_stopped = False
        return None

    def leave(self, event: Any, outer: View | None, /) -> None:
        if outer is None:
            event._antiphon_in_flight = None
        else:
            super().leave(event, outer)


class _DuckTyped(_Own):
    """For other classes with a ``stop_propagation()``; their marks are kept here, not on the foreign object."""

    #: For each event in flight, by its identity, how many dispatches of it run within the outermost one.
    _in_flight: Final[dict[int, int]] = {}

    def enter(self, event: Any, name: Any, dispatcher: Any, /) -> View | None:
        outer: View | None = None
        if id(event) in self._in_flight:
            outer = View.of(event)
            self._in_flight[id(event)] += 1
        else:
            self._in_flight[id(event)] = 0
        self._show(event, View(name, dispatcher, False))
        return outer

    def leave(self, event: Any, outer: View | None, /) -> None:
        if outer is None:
            self._in_flight.pop(id(event), None)
            return
        if id(event) in self._in_flight:
            self._in_flight[id(event)] -= 1
        self._show(event, outer)

    def depth(self, event: Any, /) -> int:
        return self._in_flight.get(id(event), 0)


BARE: Final[Service] = _Bare()

_PLAIN: Final[Service] = _Plain(frozenset(View._fields), plain=True)


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


def _decide(cls: type[Any]) -> Service:
    own = issubclass(cls, Event)
    if not own and not callable(getattr(cls, "stop_propagation", None)):
        return BARE
    settable = frozenset(attribute for attribute in View._fields if _is_settable(cls, attribute))
    if own:
        assigns_plainly = _raw(cls, "__setattr__") is vars(object)["__setattr__"]
        overrides = any(_is_descriptor(cls, attribute) for attribute in View._fields)
        return _PLAIN if assigns_plainly and not overrides else _Own(settable, plain=False)
    return _DuckTyped(settable, plain=False) if "propagation_stopped" in settable else BARE


def class_level_name(cls: type[Any]) -> Any:
    """The name that a class gives to its events, None if it gives none.

    A property, a slot and (outside of `Event`) a dataclass field called ``name`` are the event's data, not its name.
    """
    name: Any = getattr(cls, "name", None)
    if hasattr(name, "__get__"):
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


def _raw(cls: type[Any], attribute: str) -> object:
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None


def _is_descriptor(cls: type[Any], attribute: str) -> bool:
    return hasattr(type(_raw(cls, attribute)), "__set__")


def _is_settable(cls: type[Any], attribute: str) -> bool:
    raw = _raw(cls, attribute)
    if isinstance(raw, property):
        setter: Callable[[Any, Any], None] | None = raw.fset
        return setter is not None
    return _is_descriptor(cls, attribute) or cls.__dictoffset__ != 0
