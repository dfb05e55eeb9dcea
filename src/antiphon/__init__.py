"""antiphon: dispatches events to listeners inside one process, on asyncio or trio."""

from __future__ import annotations

from antiphon._adapters import in_thread, inline
from antiphon._dispatchers import AsyncEventDispatcher, EventDispatcher
from antiphon._events import Event
from antiphon._exceptions import ListenerCancelled
from antiphon._listeners import Subscription
from antiphon._plan import Plan
from antiphon._policies import ErrorPolicy
from antiphon._strategies import Concurrent, Race, Sequential, Strategy
from antiphon.typing import (
    IAsyncEventDispatcher,
    IDispatchedEvent,
    IEvent,
    IEventDispatcher,
    IListener,
)

__all__ = (
    "AsyncEventDispatcher",
    "Concurrent",
    "ErrorPolicy",
    "Event",
    "EventDispatcher",
    "IAsyncEventDispatcher",
    "IDispatchedEvent",
    "IEvent",
    "IEventDispatcher",
    "IListener",
    "ListenerCancelled",
    "Plan",
    "Race",
    "Sequential",
    "Strategy",
    "Subscription",
    "in_thread",
    "inline",
)
