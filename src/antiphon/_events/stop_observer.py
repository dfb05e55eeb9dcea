"""Who is notified when an event is stopped in the current context."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

__all__ = (
    "StopObserver",
    "stop_observer",
)


#: Told of each event that is stopped in this context. Only a race listens: it has to act at once, and to know which
#: of its listeners it was, also when a helper task or a worker thread of that listener stops the event.
stop_observer: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar("stop_observer", default=None)


class StopObserver:
    """Told of each event that is stopped in a context, on behalf of something that will be over one day.

    A base, never made by itself: whoever observes says when it is over, and what it does when it is told.
    """

    __slots__ = ("parent",)

    #: Who was told before, and is told too.
    parent: Callable[[Any], None] | None

    def __init__(self) -> None:
        parent = stop_observer.get()
        while isinstance(parent, StopObserver) and parent.is_finished():
            # Tasks that outlive their dispatch and dispatch again would grow a chain without end.
            parent = parent.parent
        self.parent = parent

    def is_finished(self) -> bool:
        """Whether it has nothing to do any more."""
        raise NotImplementedError

    def __call__(self, event: Any) -> None:
        """Hear that an event was stopped."""
        raise NotImplementedError
