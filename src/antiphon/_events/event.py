"""Events: what is dispatched, and what it shows of its dispatch.

An event has three attributes that a dispatch sets: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which other objects take them is a matter of their class: see `antiphon._events.capabilities`.

On an `Event` the three are shown, and what is shown is set elsewhere: nearly all events are made, dispatched once and
thrown away, and to store an attribute over a default of the class takes CPython several times longer than to store one
that no class has. A name and a dispatcher are set together, as a `View` that the dispatches of a plan share.

A class that sees to its attributes itself, by a property or a ``__setattr__`` say, has plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, cast

__all__ = (
    "IN_FLIGHT",
    "NESTED",
    "PLAIN",
    "SHOWN",
    "STOPPED",
    "VIEW",
    "Event",
    "Shown",
    "StopObserver",
    "View",
    "make_plain",
    "raw_attribute",
    "reads_its_own",
    "reports_stops",
    "stop_observer",
)

_set = object.__setattr__

#: Told of each event that is stopped in this context. Only a race listens: it has to act at once, and to know which
#: of its listeners it was, also when a helper task or a worker thread of that listener stops the event.
stop_observer: Final[ContextVar[Callable[[Event], None] | None]] = ContextVar("stop_observer", default=None)


#: The attribute of an event that holds the `View` it shows. No class has a default for it, nor for those below.
VIEW: Final = "_antiphon_view"

#: Whether a listener stopped the dispatch.
STOPPED: Final = "_antiphon_stopped"

#: While an event is dispatched, this attribute of it is the event itself. That it is the event, and not just
#: True, keeps a copy made by a listener from passing for an event in flight.
IN_FLIGHT: Final = "_antiphon_in_flight"

#: How many dispatches of the event run within the outermost one, each in a listener of the one before.
NESTED: Final = "_antiphon_nested"

_OF_A_DISPATCH: Final = frozenset((VIEW, STOPPED, IN_FLIGHT, NESTED, "dispatcher"))


#: Of a class: that its attributes are plain ones.
PLAIN: Final = "_antiphon_plain"


class View:  # noqa: PLW1641  its name need not have a hash
    """What the events of a dispatch show of it. Nobody changes it: an event is given another one."""

    __slots__ = ("dispatcher", "name")

    name: Any
    dispatcher: Any

    def __init__(self, name: Any, dispatcher: Any) -> None:
        self.name = name
        self.dispatcher = dispatcher

    def __eq__(self, other: object) -> bool:
        # For events that compare, or tell, all that they have.
        return isinstance(other, View) and self.name == other.name and self.dispatcher is other.dispatcher

    def __reduce__(self) -> Any:
        # For events with a state of their own: copies leave the dispatcher behind.
        return View, (self.name, None)


class Shown:
    """An attribute of events that shows what is set elsewhere; on the class it is its default.

    Args:
        attribute: What it is called.
        default: What an event shows before its first dispatch.
    """

    __slots__ = ("attribute", "default")

    def __init__(self, attribute: str, default: object) -> None:
        self.attribute = attribute
        self.default = default

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        # What was set while the class had a plain attribute, and what a copy took over, lies there under its own name.
        return self.default if event is None else event.__dict__.get(self.attribute, self.default)

    def __set__(self, event: Any, value: object) -> None:
        shown: View | None = event.__dict__.get(VIEW)
        if shown is not None:
            view = View(shown.name, shown.dispatcher)
        else:
            # Not the attribute of the event, which may be a property: that has nothing to do with what is set here.
            name = raw_attribute(event.__class__, "name")
            view = View(Shown.__get__(name, event) if isinstance(name, Shown) else None, None)
        setattr(view, self.attribute, value)
        # Not a plain assignment, which a frozen dataclass would refuse.
        _set(event, VIEW, view)

    def __delete__(self, event: Any) -> None:
        self.__set__(event, self.default)


class _Name(Shown):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_view.name
        except AttributeError:
            return super().__get__(event, cls)


class _Dispatcher(Shown):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_view.dispatcher
        except AttributeError:
            return super().__get__(event, cls)


class _Stop(Shown):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self.default
        try:
            return event._antiphon_stopped
        except AttributeError:
            return super().__get__(event, cls)

    def __set__(self, event: Any, value: object) -> None:
        if value:
            # A race is told before its other listeners can see the mark, or one of them might pass for the one that
            # set it.
            observer = stop_observer.get()
            if observer is not None:
                observer(event)
        _set(event, STOPPED, value)


#: How each attribute is shown.
SHOWN: Final[dict[str, type[Shown]]] = {"name": _Name, "dispatcher": _Dispatcher, "propagation_stopped": _Stop}


class Event:
    """Base class of events: what is dispatched, and what listeners are given.

    A subclass carries the data its listeners need; it may skip ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below can be read on the class, and before a dispatch; a dispatch sets
    them before it starts the first listener, and they stay readable after it. (whistle)
    """

    #: The name under which the event is dispatched. A subclass may set it, so that
    #: ``adispatch(event)`` needs no name.
    name: Any = _Name("name", None)

    #: The dispatcher that dispatches the event, or dispatched it last.
    dispatcher: Any = _Dispatcher("dispatcher", None)

    #: Whether a listener stopped the running dispatch, or the last one. Every dispatch starts with False.
    propagation_stopped: bool = cast("bool", _Stop("propagation_stopped", False))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if raw_attribute(cls, "__setattr__") is not vars(object)["__setattr__"] or reads_its_own(cls):
            make_plain(cls)

    def stop_propagation(self) -> None:
        """Keep the running dispatch from starting further listeners.

        What that means for listeners of the same priority depends on the strategy; see the table of
        guarantees. Setting ``propagation_stopped = True`` does the same. (whistle, PSR-14)
        """
        if not reports_stops(type(self)):
            # Nor does its attribute; see there for why it comes first.
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
            return _without_dispatch(type(self), state[0]), state[1]
        return _without_dispatch(type(self), state)


def _without_dispatch(cls: type[Event], attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    if attributes is None:
        return None
    state = {name: value for name, value in attributes.items() if name not in _OF_A_DISPATCH}
    if VIEW in attributes and isinstance(raw_attribute(cls, "name"), Shown):
        state["name"] = attributes[VIEW].name
    if STOPPED in attributes and isinstance(raw_attribute(cls, "propagation_stopped"), Shown):
        state["propagation_stopped"] = attributes[STOPPED]
    return state


class StopObserver:
    """Told of each event that is stopped in a context, on behalf of something that will be over one day.

    A base, never made by itself: whoever observes says when it is over, and what it does when it is told.
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


def raw_attribute(cls: type[Any], attribute: str) -> object:
    """What a class or one of its bases says of an attribute, as it is written there."""
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None


def reports_stops(cls: type[Any]) -> bool:
    """Return whether `stop_observer` receives it when the events of a class are stopped by an assignment."""
    return not hasattr(cls, PLAIN) and isinstance(raw_attribute(cls, "propagation_stopped"), _Stop)


def reads_its_own(cls: type[Any]) -> bool:
    """Tell whether a class of events does something of its own when an attribute is read."""
    return (
        raw_attribute(cls, "__getattr__") is not None
        or raw_attribute(cls, "__getattribute__") is not vars(object)["__getattribute__"]
        or any(_is_foreign(raw_attribute(cls, attribute)) for attribute in SHOWN)
    )


def _is_foreign(raw: object) -> bool:
    return hasattr(type(raw), "__get__") and not isinstance(raw, Shown)


def make_plain(cls: type[Any]) -> None:
    """Give a class plain defaults of the attributes that it would show."""
    for attribute in SHOWN:
        raw = raw_attribute(cls, attribute)
        if isinstance(raw, Shown):
            type.__setattr__(cls, attribute, raw.default)
    if raw_attribute(cls, "__setattr__") is not _set and raw_attribute(cls, "propagation_stopped") is False:
        type.__setattr__(cls, "propagation_stopped", _MARK)
    type.__setattr__(cls, PLAIN, True)


class _Mark(property):
    """The mark of a stopped event, where the class has a ``__setattr__`` of its own.

    That of a pydantic model assigns nothing but fields and properties, and the mark is not a field.
    """

    def __bool__(self) -> bool:
        # Read on the class, like the default of other classes.
        return False


_MARK: Final = _Mark(
    lambda event: event.__dict__.get("propagation_stopped", False),
    lambda event, stopped: event.__dict__.update(propagation_stopped=stopped),
)
