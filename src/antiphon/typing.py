"""Protocols of events, listeners and dispatchers: for annotations, and as keys of dependency injection.

The five names that start with ``I`` are whistle's.
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
    """An event that a dispatch can name and a listener can stop."""

    name: Any
    propagation_stopped: bool

    def stop_propagation(self) -> Any:
        """Keep the running dispatch from starting further listeners."""
        ...


class IAbstractEventDispatcher(Protocol):
    """What the two kinds of dispatcher share: registering and looking up listeners."""

    def get_listeners(self, name: Any = None, /) -> Any:
        """The listeners of a name in the order they run; without a name, all of them by key."""
        ...

    def has_listeners(self, name: Any = None, /) -> bool:
        """Whether anybody listens to a name; without a name, whether anybody listens at all."""
        ...

    def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:
        """Register a listener; lower priorities run first."""
        ...

    def remove_listener(self, key: Any, listener: Any, /) -> Any:
        """Take back every registration of a listener under a key."""
        ...


class IDispatchedEvent(IEvent, Protocol):
    """An event that has been dispatched."""

    dispatcher: Any


class IEventDispatcher(IAbstractEventDispatcher, Protocol):
    """A dispatcher of plain functions."""

    def dispatch(self, name: Any, event: Any = None, /) -> Any:
        """Give an event to its listeners, and return it."""
        ...


class IAsyncEventDispatcher(IAbstractEventDispatcher, Protocol):
    """A dispatcher of async callables."""

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Give an event to its listeners, and return it."""
        ...


#: Anything that is called with an event.
IListener: TypeAlias = Callable[[Any], Any]

#: What an ``AsyncEventDispatcher`` takes.
AsyncListener: TypeAlias = Callable[[Any], Awaitable[object]]

#: What an ``EventDispatcher`` takes.
SyncListener: TypeAlias = Callable[[Any], object]

#: What happens to one more event when a buffer is full.
Overflow: TypeAlias = Literal["raise", "suspend", "drop_oldest", "drop_newest"]

#: What events are dispatched under.
Name: TypeAlias = Hashable
