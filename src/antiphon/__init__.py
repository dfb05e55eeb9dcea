"""antiphon: dispatches events to listeners inside one process, on asyncio or trio."""

from __future__ import annotations

from antiphon._adapters import in_thread, inline
from antiphon._dispatchers import AsyncEventDispatcher, AsyncScope, EventDispatcher, Scope
from antiphon._events import Event
from antiphon._exceptions import ListenerCancelled, QueueNotDrained, StreamLagged
from antiphon._expectations import Expectation
from antiphon._listeners import Subscription
from antiphon._plan import Plan
from antiphon._policies import ErrorPolicy
from antiphon._queue import Queue, QueueStatistics
from antiphon._scope import Registrar
from antiphon._strategies import Concurrent, Race, Sequential, Strategy
from antiphon._streams import Stream, StreamStatistics
from antiphon._subscribers import Subscriptions, listens_to
from antiphon.typing import (
    IAsyncEventDispatcher,
    IDispatchedEvent,
    IEvent,
    IEventDispatcher,
    IListener,
)

__all__ = (
    "AsyncEventDispatcher",
    "AsyncScope",
    "Concurrent",
    "ErrorPolicy",
    "Event",
    "EventDispatcher",
    "Expectation",
    "IAsyncEventDispatcher",
    "IDispatchedEvent",
    "IEvent",
    "IEventDispatcher",
    "IListener",
    "ListenerCancelled",
    "Plan",
    "Queue",
    "QueueNotDrained",
    "QueueStatistics",
    "Race",
    "Registrar",
    "Scope",
    "Sequential",
    "Strategy",
    "Stream",
    "StreamLagged",
    "StreamStatistics",
    "Subscription",
    "Subscriptions",
    "in_thread",
    "inline",
    "listens_to",
)


def _say_where_users_meet_them() -> None:
    for name in __all__:
        public = globals()[name]
        if getattr(public, "__module__", "").startswith("antiphon._"):
            public.__module__ = "antiphon"


_say_where_users_meet_them()
