"""The base class of events."""

from __future__ import annotations

from typing import Any, Self, cast

from antiphon._events.attributes import (
    DispatcherAttribute,
    EventNameAttribute,
    StoppedAttribute,
    declare_fields,
    get_own_annotations,
    prepare_lookup,
    prepare_stopped,
    stop_event,
)
from antiphon._events.copies import get_state, prepare_copies, reduce_event

__all__ = ("Event",)


class Event:
    """Base class of events. A dispatch passes the event to each listener.

    A subclass carries the data that its listeners need. It need not call ``super().__init__()``, and it may be a
    (frozen) dataclass. The three attributes below can be read on the class, and before a dispatch. A dispatch sets
    them before it calls the first listener, and they keep their values after it.

    A field called ``name`` or ``dispatcher``, or a value that your code assigns, belongs to you: no dispatch changes
    it.
    """

    #: The name under which the event is dispatched. A subclass may set it, so that
    #: ``adispatch(event)`` needs no name.
    name: Any = EventNameAttribute(None)

    #: The dispatcher that dispatches the event, or dispatched it last.
    dispatcher: Any = DispatcherAttribute(None)

    #: Whether a listener stopped the running dispatch, or the last one. Every dispatch starts with False.
    propagation_stopped: bool = cast("bool", StoppedAttribute(False))

    # What the class shows for the first two attributes, so that a subclass with a field of this name shows nothing.
    _antiphon_default_name: Any = None
    _antiphon_default_dispatcher: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declare_fields(cls)
        prepare_lookup(cls)
        # pydantic takes what it reads on the class for the default of a field. The first dispatch prepares it.
        if not any("propagation_stopped" in get_own_annotations(base) for base in cls.__mro__ if base is not Event):
            prepare_stopped(cls)
        prepare_copies(cls, Event)

    def stop_propagation(self) -> None:
        """Stop the event: the running dispatch calls no further listener.

        For listeners of the same priority the effect depends on the strategy; see the table of
        guarantees. Setting ``propagation_stopped = True`` has the same effect.
        """
        stop_event(self)

    def __repr__(self) -> str:
        # Another base may have a repr, such as that of a model, and stand after this class.
        inherited = super().__repr__
        if getattr(inherited, "__objclass__", None) is not object:
            return inherited()
        # Imported here, because most programs print no event.
        from antiphon._events.representation import represent_event

        try:
            return represent_event(self)
        except Exception:
            # The class customizes the access to its attributes.
            return inherited()

    @property
    def _antiphon_self(self) -> Self:
        return self

    def __getstate__(self) -> Any:
        """Return the state for copies and pickles, without that of a running dispatch."""
        return get_state(super().__getstate__())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what copies and pickles are made of. They keep the name and the mark, and not the dispatcher."""
        return reduce_event(self, super().__reduce_ex__(protocol))
