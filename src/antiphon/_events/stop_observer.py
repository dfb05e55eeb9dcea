"""The observer that is called when an event is stopped in the current context."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

__all__ = (
    "StopObserver",
    "find_stop_observer",
    "notify_of_stop",
    "stop_observer",
    "stop_recorders",
)


#: Called with each event that is stopped in this context. A race uses it to react immediately, and to know which of its
#: listeners stopped the event, also if a helper task or a worker thread of that listener did.
stop_observer: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar("stop_observer", default=None)

#: Called with each event that is stopped in any context. Instruments find the call that stops the event.
stop_recorders: Final[list[Callable[[Any], None]]] = []


def notify_of_stop(event: Any) -> None:
    """Call the functions that wait for the stop of an event, before the event shows it."""
    for record in stop_recorders:
        record(event)
    observer = stop_observer.get()
    if observer is not None:
        observer(event)


class StopObserver:
    """A callback that is called when an event is stopped in the current context, until its dispatch has finished.

    Abstract: subclasses define `is_finished` and `__call__`.
    """

    # Subclasses have the slot, so that they can have another base with slots.
    __slots__ = ()

    #: The observer of the enclosing context, to which `__call__` passes on each stop. See `find_stop_observer`.
    enclosing: Callable[[Any], None] | None

    def is_finished(self) -> bool:
        """Return whether the observer has nothing left to do."""
        raise NotImplementedError

    def __call__(self, event: Any) -> None:
        """Receive an event that was stopped."""
        raise NotImplementedError


def find_stop_observer() -> Callable[[Any], None] | None:
    """Return the innermost observer of the current context that has not finished, or None."""
    observer = stop_observer.get()
    while isinstance(observer, StopObserver) and observer.is_finished():
        # Tasks that outlive their dispatch and dispatch again would build an ever-growing chain.
        observer = observer.enclosing
    return observer
