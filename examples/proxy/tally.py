"""A dispatcher that counts what passes through it, for the report."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from antiphon import AsyncEventDispatcher


class TallyingDispatcher(AsyncEventDispatcher):
    """Counts dispatches, the listeners that they run, and those that a listener stopped.

    Attributes:
        events: How often each name was dispatched.
        listeners: How many listeners were run.
        stops: How many dispatches were stopped.
    """

    def __init__(self, **options: Any) -> None:
        self.events: Counter[str] = Counter()
        self.listeners = 0
        self.stops = 0
        super().__init__(**options)

    def add_listener(self, key: Any, listener: Callable[[Any], Awaitable[object]], /, **options: Any) -> Any:
        """Register a listener together with its count; `remove_listener` does not know it then."""
        # Whether it is a listener at all is the dispatcher's to say, and the counting must not hide it.
        super().add_listener(key, listener, **options).unsubscribe()
        return super().add_listener(key, partial(self._count, listener), **options)

    async def adispatch(self, name: Any, event: Any = None, /, **options: Any) -> Any:
        """Dispatch an event and count it."""
        self.events[name] += 1
        event = await super().adispatch(name, event, **options)
        self.stops += event.propagation_stopped
        return event

    async def _count(self, listener: Callable[[Any], Awaitable[object]], event: Any) -> None:
        self.listeners += 1
        await listener(event)
