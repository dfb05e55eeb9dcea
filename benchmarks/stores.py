"""Stores: what listeners are added to and removed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from benchmarks.cases import Role
from benchmarks.events import NAME
from benchmarks.listeners import ARGUMENTS, alike

__all__ = ("Population", "Store")


@dataclass(frozen=True, slots=True)
class Store:
    """How one library registers. The statements see ``store``, ``name``, ``listener``, ``item`` and ``event``."""

    name: str
    #: Makes an empty one.
    make: Callable[[], Any]
    #: Adds ``item``, which is one of `items`.
    add: str = "store.add_listener(name, item)"
    #: Removes ``item``, which is what ``register`` returned.
    remove: str = "store.remove_listener(name, item)"
    #: Adds a listener, where that is not what is timed; returns what removes it.
    register: Callable[[Any, Any], Any] = lambda store, listener: (store.add_listener(NAME, listener), listener)[1]
    #: Does what the library does before the first dispatch.
    plan: Callable[[Any], object] = lambda store: store.get_listeners(NAME)
    #: Dispatches to plain functions, on what ``make_sync`` made; empty where nothing waits for them to end.
    dispatch: str = ""
    #: Makes an empty one for plain functions, where that is another.
    make_sync: Callable[[], Any] | None = None
    #: Which listeners it takes, and with what arguments.
    kind: str = "returning"
    arguments: str = ARGUMENTS
    #: Whether each key can have listeners of its own.
    keyed: bool = True
    #: The most it can be filled with in reasonable time.
    most: int = 10_000_000
    #: Of which class its events are.
    event_base: type = object
    #: Makes what is registered of a listener.
    wrap: Callable[[Any], Any] = lambda listener: listener
    role: Role = "peer"
    #: Makes so many of what is added, where that is not listeners of one event.
    items: Callable[[int], list[Any]] | None = None

    def for_plain_functions(self) -> Store:
        """Gives the store that dispatches to plain functions."""
        return replace(self, make=self.make_sync or self.make, kind="synchronous")

    def make_items(self, count: int) -> list[Any]:
        """Makes so many of what is added: listeners of one event, or keys for one listener."""
        if self.items is not None:
            return self.items(count)
        return [self.wrap(listener) for listener in alike(self.kind, count, arguments=self.arguments)]


class Population:
    """A store that keeps its size, within a tenth or ten, however much a benchmark adds to it or removes from it."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._size = size
        #: The most that one sample may add or remove.
        self.room = max(size // 10, 10)
        self._random = Random(size)
        self._added = 0
        self._held: Any = None
        self._items: list[Any] = []

    def with_room(self, count: int) -> Any:
        """Returns the store, with room for so many more."""
        self._added += count
        if self._held is None or self._added > self.room:
            self._fill(self._size)
            self._added = count
        return self._held

    def losing(self, count: int) -> tuple[Any, list[Any]]:
        """Returns the store, and so many items to remove from it."""
        least = self._size - self._size // 10
        if len(self._items) - count < least:
            self._fill(least + self.room)
        items, self._items = self._items[:count], self._items[count:]
        return self._held, items

    def _fill(self, size: int) -> None:
        held = self._store.make()
        items = [self._store.register(held, item) for item in self._store.make_items(size)]
        self._random.shuffle(items)
        self._held, self._items = held, items
