"""The observer that is called when an event is stopped in the current context."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

__all__ = (
    "StopObserver",
    "stop_observer",
)


#: Called with each event that is stopped in this context. A race uses it to react immediately, and to know which of its
#: listeners stopped the event, also if a helper task or a worker thread of that listener did.
stop_observer: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar("stop_observer", default=None)


class StopObserver:
    """A callback that is called when an event is stopped in the current context, until its dispatch has finished.

    Abstract: subclasses define `is_finished` and `__call__`.
    """

    __slots__ = ("parent",)

    def __init__(self) -> None:
        parent = stop_observer.get()
        while isinstance(parent, StopObserver) and parent.is_finished():
            # Tasks that outlive their dispatch and dispatch again would build an ever-growing chain.
            parent = parent.parent
        #: The observer of the enclosing context. `__call__` passes on each stop that it does not use itself.
        self.parent: Callable[[Any], None] | None = parent

    def is_finished(self) -> bool:
        """Return whether the observer has nothing left to do."""
        raise NotImplementedError

    def __call__(self, event: Any) -> None:
        """Receive an event that was stopped."""
        raise NotImplementedError
