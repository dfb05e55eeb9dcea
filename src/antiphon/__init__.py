"""antiphon: dispatches events to listeners inside one process, on asyncio or trio."""

from __future__ import annotations

import importlib
import typing as _typing

from antiphon._dispatchers.asynchronous import AsyncEventDispatcher, AsyncScope
from antiphon._events.event import Event
from antiphon._exceptions import ListenerCancelled, QueueNotDrained, StreamLagged
from antiphon._listeners.adapters import in_thread, inline
from antiphon._listeners.subscription import Subscription
from antiphon._registry.keys import event_name
from antiphon._registry.plan import Plan
from antiphon._strategies.base import Strategy
from antiphon._strategies.errors import ErrorPolicy
from antiphon._strategies.sequential import Sequential
from antiphon._types import IDispatchedEvent, IEvent, IListener
from antiphon._util.naming import listener_name
from antiphon._util.naming import publish as _publish

if _typing.TYPE_CHECKING:
    from antiphon._dispatchers.subscribers import Subscriptions, listens_to
    from antiphon._dispatchers.synchronous import EventDispatcher, Scope
    from antiphon._dispatchers.temporary import Registrar
    from antiphon._listeners.named import named
    from antiphon._listeners.resolved import resolved
    from antiphon._strategies.concurrent import Concurrent
    from antiphon._strategies.race import Race
    from antiphon._waiting.expectation import Expectation
    from antiphon._waiting.outside import outside_dispatch
    from antiphon._waiting.queue import Queue, QueueStatistics
    from antiphon._waiting.stream import Stream, StreamStatistics
    from antiphon.typing import IAsyncEventDispatcher, IEventDispatcher

    #: The version of the installed distribution.
    __version__: str

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
    "event_name",
    "in_thread",
    "inline",
    "listener_name",
    "listens_to",
    "named",
    "outside_dispatch",
    "resolved",
)


#: Public names that are imported on first use, because many programs do not need them, and their modules.
_LAZY_EXPORTS = {
    "Concurrent": "antiphon._strategies.concurrent",
    "EventDispatcher": "antiphon._dispatchers.synchronous",
    "Expectation": "antiphon._waiting.expectation",
    "IAsyncEventDispatcher": "antiphon.typing",
    "IEventDispatcher": "antiphon.typing",
    "Queue": "antiphon._waiting.queue",
    "QueueStatistics": "antiphon._waiting.queue",
    "Race": "antiphon._strategies.race",
    "Registrar": "antiphon._dispatchers.temporary",
    "Scope": "antiphon._dispatchers.synchronous",
    "Stream": "antiphon._waiting.stream",
    "StreamStatistics": "antiphon._waiting.stream",
    "Subscriptions": "antiphon._dispatchers.subscribers",
    "listens_to": "antiphon._dispatchers.subscribers",
    "named": "antiphon._listeners.named",
    "outside_dispatch": "antiphon._waiting.outside",
    "resolved": "antiphon._listeners.resolved",
}


def __getattr__(name: str) -> _typing.Any:
    public: _typing.Any
    if name == "typing":
        # The protocols, for code that has imported antiphon alone.
        return importlib.import_module("antiphon.typing")
    if name == "__version__":
        # Reading the metadata takes longer than importing antiphon.
        from importlib.metadata import version

        public = globals()[name] = version("antiphon")
        return public
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    public = globals()[name] = getattr(importlib.import_module(_LAZY_EXPORTS[name]), name)
    return public


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_EXPORTS, "__version__"})


# The dispatcher, its scope, and the private bases of both.
_dispatcher_classes: tuple[type, ...] = AsyncScope.__mro__[:-1]

# Users import these from here. They are listed, because to find them in `__all__` takes a tenth of the import time.
_publish(
    "antiphon",
    *_dispatcher_classes,
    *Sequential.__mro__[:-1],
    Event,
    ListenerCancelled,
    Plan,
    QueueNotDrained,
    Strategy,
    StreamLagged,
    Subscription,
    event_name,
    in_thread,
    inline,
    listener_name,
)
_publish("antiphon.typing", IDispatchedEvent, IEvent)

for _annotated in (*_dispatcher_classes, Event, Plan, Subscription):
    # Nothing can resolve their annotations here, because this module does not have the names in them. Models and
    # containers (pydantic, msgspec, attrs, rodi) would also take those of `Event` for fields.
    _annotated.__annotations__.clear()
