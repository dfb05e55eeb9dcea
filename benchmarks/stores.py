"""Stores: what listeners are added to and removed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.cases import Role
from benchmarks.events import NAME
from benchmarks.listeners import alike

__all__ = ("Population", "Store")


@dataclass(frozen=True, slots=True)
class Store:
    """How one library registers. The statements see ``store``, ``name``, ``listener`` and ``item``."""

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
    role: Role = "peer"
    #: Makes so many of what is added: listeners of one event, or keys for one listener.
    items: Callable[[int], list[Any]] = lambda count: alike("returning", count)


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
        items = [self._store.register(held, item) for item in self._store.items(size)]
        self._random.shuffle(items)
        self._held, self._items = held, items
