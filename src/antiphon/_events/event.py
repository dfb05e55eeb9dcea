"""The base class of events."""

from __future__ import annotations

from typing import Any, cast

from antiphon._events.attributes import (
    DispatcherAttribute,
    NameAttribute,
    StoppedAttribute,
    find_static_attribute,
    overrides_attribute_access,
    reports_stops,
    set_attribute,
    strip_dispatch_state,
    use_plain_attributes,
)
from antiphon._events.stop_observer import stop_observer

__all__ = ("Event",)


class Event:
    """Base class of events. A dispatch passes the event to each listener.

    A subclass carries the data that its listeners need. It need not call ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below can be read on the class, and before a dispatch. A dispatch sets
    them before it calls the first listener, and they keep their values after it. (whistle)
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
        if find_static_attribute(cls, "__setattr__") is not set_attribute or overrides_attribute_access(cls):
            use_plain_attributes(cls)

    def stop_propagation(self) -> None:
        """Keep the running dispatch from calling further listeners.

        For listeners of the same priority the effect depends on the strategy; see the table of
        guarantees. Setting ``propagation_stopped = True`` has the same effect. (whistle, PSR-14)
        """
        if not reports_stops(type(self)):
            # Before the attribute is set, as in `StoppedAttribute`.
            observer = stop_observer.get()
            if observer is not None:
                observer(self)
        # Not an assignment, which a frozen dataclass refuses.
        set_attribute(self, "propagation_stopped", True)

    def __getstate__(self) -> Any:
        """Return the state for copies and pickles, without that of a running dispatch."""
        # For a class with slots the state is a pair: the instance dict, and the slots.
        state = cast("dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]] | None", object.__getstate__(self))
        if isinstance(state, tuple):
            return strip_dispatch_state(type(self), state[0]), state[1]
        return strip_dispatch_state(type(self), state)
