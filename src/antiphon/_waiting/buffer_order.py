"""The order in which items leave a buffer."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

__all__ = ("BufferOrder", "Fifo", "KeyedFifo")

T = TypeVar("T")


class BufferOrder(Protocol[T]):
    """The order in which items leave a buffer."""

    def __len__(self) -> int: ...

    def push(self, item: T, /) -> None:
        """Add an item at the end."""
        ...

    def has_next(self) -> bool:
        """Return whether `pop_next` would return an item."""
        ...

    def pop_next(self) -> T | None:
        """Remove and return the first item that may leave now, or return None if there is none."""
        ...

    def pop_oldest(self) -> T:
        """Remove and return the oldest item."""
        ...


class Fifo(deque[T]):
    """First in, first out."""

    # The methods of the deque itself, because each event passes through them.
    push = deque[T].append
    pop_oldest = deque[T].popleft

    def has_next(self) -> bool:
        """Return whether there is an item."""
        return bool(self)

    def pop_next(self) -> T | None:
        """Remove and return the first item, or return None if there is none."""
        return self.popleft() if self else None


class KeyedFifo(Generic[T]):
    """First in, first out, with at most one item of each key in progress.

    `pop_next` returns no further item of a key until `release` is called with the item that it has returned before.

    Args:
        get_key: The function that returns the key of an item.
    """

    def __init__(self, get_key: Callable[[T], Hashable]) -> None:
        self._get_key = get_key
        self._count = 0
        self._items: OrderedDict[int, T] = OrderedDict()
        # The numbers of the waiting items of each key of which an item is waiting or in progress.
        self._waiting: dict[Hashable, deque[int]] = {}
        # A heap with the first number of each key of which no item is in progress.
        self._ready: list[int] = []

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T, /) -> None:
        """Add an item at the end."""
        key = self._get_key(item)
        waiting = self._waiting.get(key)
        self._count += 1
        self._items[self._count] = item
        if waiting is None:
            self._waiting[key] = deque([self._count])
            heappush(self._ready, self._count)
        else:
            waiting.append(self._count)

    def has_next(self) -> bool:
        """Return whether an item waits whose key has no item in progress."""
        return bool(self._ready)

    def pop_next(self) -> T | None:
        """Remove and return the first item whose key has no item in progress, or return None if there is none."""
        if not self._ready:
            return None
        item = self._items.pop(heappop(self._ready))
        self._waiting[self._get_key(item)].popleft()
        return item

    def pop_oldest(self) -> T:
        """Remove and return the oldest item."""
        number, item = self._items.popitem(last=False)
        self._waiting[self._get_key(item)].popleft()
        if self._ready and self._ready[0] == number:
            heappop(self._ready)
            self.release(item)
        return item

    def release(self, item: T) -> None:
        """Note that an item is no longer in progress, so that the next item of its key may leave."""
        key = self._get_key(item)
        waiting = self._waiting[key]
        if waiting:
            heappush(self._ready, waiting[0])
        else:
            del self._waiting[key]
