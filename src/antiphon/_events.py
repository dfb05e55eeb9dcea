"""Events: what is dispatched, and what it shows of its dispatch.

An event has three attributes that a dispatch sets: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which other objects take them is a matter of their class: see `antiphon._services`.

On an `Event` the three are shown, and what is shown is set elsewhere: nearly all events are made, dispatched once and
thrown away, and to store an attribute over a default of the class takes CPython several times longer than to store one
that no class has. A name and a dispatcher are set together, as a `View` that the dispatches of a plan share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, cast

__all__ = (
    "IN_FLIGHT",
    "NESTED",
    "SHOWN",
    "STOPPED",
    "VIEW",
    "Event",
    "StopObserver",
    "View",
    "raw_attribute",
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


class View:
    """What the events of a dispatch show of it. Nobody changes it: an event is given another one."""

    __slots__ = ("dispatcher", "name")

    def __init__(self, name: Any, dispatcher: Any) -> None:
        self.name = name
        self.dispatcher = dispatcher


class _Shown:
    """An attribute of events that shows what is set elsewhere; on the class it is its default.

    Args:
        attribute: What it is called.
        default: What an event shows before its first dispatch.
    """

    __slots__ = ("_attribute", "_default")

    def __init__(self, attribute: str, default: object) -> None:
        self._attribute = attribute
        self._default = default

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self._default
        attributes: dict[str, Any] = event.__dict__
        try:
            return self._set_in(attributes)
        except KeyError:
            # What a copy or a pickle took over lies there under its own name.
            return attributes.get(self._attribute, self._default)

    def __delete__(self, event: Any) -> None:
        self.__set__(event, self._default)

    def _set_in(self, attributes: dict[str, Any]) -> Any:
        """Find what was set.

        Raises:
            KeyError: Nothing was.
        """
        return getattr(attributes[VIEW], self._attribute)

    def __set__(self, event: Any, value: object) -> None:
        view = View(getattr(event, "name", None), getattr(event, "dispatcher", None))
        setattr(view, self._attribute, value)
        # Not a plain assignment, which a frozen dataclass would refuse.
        _set(event, VIEW, view)


class _Stop(_Shown):
    __slots__ = ()

    def _set_in(self, attributes: dict[str, Any]) -> Any:
        return attributes[STOPPED]

    def __set__(self, event: Any, value: object) -> None:
        _set(event, STOPPED, value)


class _FastName(_Shown):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self._default
        try:
            return event._antiphon_view.name
        except AttributeError:
            return super().__get__(event, cls)


class _FastDispatcher(_Shown):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self._default
        try:
            return event._antiphon_view.dispatcher
        except AttributeError:
            return super().__get__(event, cls)


class _FastStop(_Stop):
    __slots__ = ()

    def __get__(self, event: Any, cls: type[Any] | None = None) -> Any:
        if event is None:
            return self._default
        try:
            return event._antiphon_stopped
        except AttributeError:
            return super().__get__(event, cls)


#: How each attribute is shown; and how it is by classes that answer for attributes which are not there, since they
#: would be asked for what is set elsewhere.
SHOWN: Final[dict[str, tuple[type[_Shown], type[_Shown]]]] = {
    "name": (_FastName, _Shown),
    "dispatcher": (_FastDispatcher, _Shown),
    "propagation_stopped": (_FastStop, _Stop),
}


class Event:
    """Base class of events: what is dispatched, and what listeners are given.

    A subclass carries the data its listeners need; it may skip ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below can be read on the class, and before a dispatch; a dispatch sets
    them before it starts the first listener, and they stay readable after it. (whistle)
    """

    #: The name under which the event is dispatched. A subclass may set it, so that
    #: ``adispatch(event)`` needs no name.
    name: Any = _FastName("name", None)

    #: The dispatcher that dispatches the event, or dispatched it last.
    dispatcher: Any = _FastDispatcher("dispatcher", None)

    #: Whether a listener stopped the running dispatch, or the last one. Every dispatch starts with False.
    propagation_stopped: bool = cast("bool", _FastStop("propagation_stopped", False))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        answers = hasattr(cls, "__getattr__")
        for attribute, kinds in SHOWN.items():
            raw = raw_attribute(cls, attribute)
            if type(raw) is kinds[answers]:
                continue
            if isinstance(raw, _Shown) or not hasattr(raw, "__get__"):
                # What the class says is the default; an attribute in its place would hide what a dispatch sets.
                setattr(cls, attribute, kinds[answers](attribute, getattr(cls, attribute)))

    def stop_propagation(self) -> None:
        """Keep the running dispatch from starting further listeners.

        What that means for listeners of the same priority depends on the strategy; see the table of
        guarantees. Setting ``propagation_stopped = True`` does the same. (whistle, PSR-14)
        """
        # A race is told before its other listeners can see the mark, or one of them might pass for the one that set it.
        observer = stop_observer.get()
        if observer is not None:
            observer(self)
        _set(self, "propagation_stopped", True)

    def __getstate__(self) -> Any:
        """The state that copies and pickles take over: all but the dispatch that is under way."""
        # A class with slots has a pair: the dict of its instance, and its slots.
        state = cast("dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]] | None", object.__getstate__(self))
        if isinstance(state, tuple):
            return _without_dispatch(state[0]), state[1]
        return _without_dispatch(state)


def _without_dispatch(attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    if attributes is None:
        return None
    state = {name: value for name, value in attributes.items() if name not in _OF_A_DISPATCH}
    if VIEW in attributes:
        state["name"] = attributes[VIEW].name
    if STOPPED in attributes:
        state["propagation_stopped"] = attributes[STOPPED]
    return state


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


def raw_attribute(cls: type[Any], attribute: str) -> object:
    """What a class or one of its bases says of an attribute, as it is written there."""
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    return None
