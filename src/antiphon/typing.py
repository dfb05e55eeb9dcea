"""Protocols of events, listeners and dispatchers, for annotations and as keys of dependency injection.

The names that start with ``I`` are those of whistle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Literal, Protocol, TypeAlias

__all__ = (
    "AsyncListener",
    "IAbstractEventDispatcher",
    "IAsyncEventDispatcher",
    "IDispatchedEvent",
    "IEvent",
    "IEventDispatcher",
    "IListener",
    "Overflow",
    "SyncListener",
)


class IEvent(Protocol):
    """An event that has a name, and that a listener can stop."""

    name: Any
    propagation_stopped: bool

    def stop_propagation(self) -> Any:
        """Keep the running dispatch from starting further listeners."""
        ...


class IAbstractEventDispatcher(Protocol):
    """The registration and look-up of listeners, which both kinds of dispatcher have."""

    def get_listeners(self, name: Any = None, /) -> Any:
        """Return the listeners of a name in the order in which they run, or without a name all listeners by key."""
        ...

    def has_listeners(self, name: Any = None, /) -> bool:
        """Return whether a name has listeners, or without a name whether the dispatcher has any."""
        ...

    def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:
        """Register a listener. Lower priorities run first."""
        ...

    def remove_listener(self, key: Any, listener: Any, /) -> Any:
        """Remove every registration of a listener under a key."""
        ...


class IDispatchedEvent(IEvent, Protocol):
    """An event that has been dispatched."""

    dispatcher: Any


class IEventDispatcher(IAbstractEventDispatcher, Protocol):
    """A dispatcher of plain functions."""

    def dispatch(self, name: Any, event: Any = None, /) -> Any:
        """Call the listeners of an event, and return the event."""
        ...


class IAsyncEventDispatcher(IAbstractEventDispatcher, Protocol):
    """A dispatcher of async callables."""

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Call the listeners of an event, and return the event."""
        ...


#: A callable that takes an event.
IListener: TypeAlias = Callable[[Any], Any]

#: A listener of an ``AsyncEventDispatcher``.
AsyncListener: TypeAlias = Callable[[Any], Awaitable[object]]

#: A listener of an ``EventDispatcher``.
SyncListener: TypeAlias = Callable[[Any], object]

#: What happens to the next event when a buffer is full.
Overflow: TypeAlias = Literal["raise", "suspend", "drop_oldest", "drop_newest"]

#: A name under which events are dispatched.
Name: TypeAlias = Hashable
