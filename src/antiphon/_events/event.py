"""Events: what is dispatched, and what it shows of its dispatch.

An event has three attributes that a dispatch sets: ``name``, ``dispatcher`` and ``propagation_stopped``.
Which other objects take them is a matter of their class: see `antiphon._events.capabilities`.

On an `Event` the three are shown, and what is shown is set elsewhere: nearly all events are made, dispatched once and
thrown away, and to store an attribute over a default of the class takes CPython several times longer than to store one
that no class has. A name and a dispatcher are set together, as a `DispatchInfo` that the dispatches of a plan share.

A class that sees to its attributes itself, by a property or a ``__setattr__`` say, has plain ones.
"""

from __future__ import annotations

from typing import Any, Final, cast

from antiphon._events.attributes import (
    IN_FLIGHT,
    INFO,
    NESTING_DEPTH,
    STOPPED,
    DispatchAttribute,
    DispatcherAttribute,
    NameAttribute,
    StoppedAttribute,
    find_static_attribute,
    overrides_attribute_access,
    reports_stops,
    set_attribute,
    use_plain_attributes,
)
from antiphon._events.stop_observer import stop_observer

__all__ = ("Event",)


_TRANSIENT_ATTRIBUTES: Final = frozenset((INFO, STOPPED, IN_FLIGHT, NESTING_DEPTH, "dispatcher"))


class Event:
    """Base class of events: what is dispatched, and what listeners are given.

    A subclass carries the data its listeners need; it may skip ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below can be read on the class, and before a dispatch; a dispatch sets
    them before it starts the first listener, and they stay readable after it. (whistle)
    """

    #: The name under which the event is dispatched. A subclass may set it, so that
    #: ``adispatch(event)`` needs no name.
    name: Any = NameAttribute("name", None)

    #: The dispatcher that dispatches the event, or dispatched it last.
    dispatcher: Any = DispatcherAttribute("dispatcher", None)

    #: Whether a listener stopped the running dispatch, or the last one. Every dispatch starts with False.
    propagation_stopped: bool = cast("bool", StoppedAttribute("propagation_stopped", False))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if find_static_attribute(cls, "__setattr__") is not vars(object)["__setattr__"] or overrides_attribute_access(
            cls
        ):
            use_plain_attributes(cls)

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
        set_attribute(self, "propagation_stopped", True)

    def __getstate__(self) -> Any:
        """The state that copies and pickles take over: all but the dispatch that is under way."""
        # A class with slots has a pair: the dict of its instance, and its slots.
        state = cast("dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]] | None", object.__getstate__(self))
        if isinstance(state, tuple):
            return _strip_dispatch_state(type(self), state[0]), state[1]
        return _strip_dispatch_state(type(self), state)


def _strip_dispatch_state(cls: type[Event], attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    if attributes is None:
        return None
    state = {name: value for name, value in attributes.items() if name not in _TRANSIENT_ATTRIBUTES}
    if INFO in attributes and isinstance(find_static_attribute(cls, "name"), DispatchAttribute):
        state["name"] = attributes[INFO].name
    if STOPPED in attributes and isinstance(find_static_attribute(cls, "propagation_stopped"), DispatchAttribute):
        state["propagation_stopped"] = attributes[STOPPED]
    return state
