"""The received events that wait to be handled."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ("Backlog",)

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue of events. Events of one key leave it one after another: the next one when the previous has finished.

    The reader of a source fills it, in the order of the events. If each event had a task that waits for a lock of its
    key, Trio would start these tasks in random order.
    """

    def __init__(self) -> None:
        self._ready: deque[tuple[str | None, T]] = deque()
        #: The events behind the one that is ready or handled, for each key.
        self._behind: dict[str, deque[T]] = {}

    def add(self, key: str | None, item: T, *, first: bool = False) -> None:
        """Add an event. Without a key, it waits for no other one; with ``first``, no other one is before it."""
        if key is not None:
            if key in self._behind:
                self._behind[key].append(item)
                return
            self._behind[key] = deque()
        if first:
            self._ready.appendleft((key, item))
        else:
            self._ready.append((key, item))

    def pop(self) -> tuple[str | None, T] | None:
        """Remove and return the next event and its key, None if none can be handled now."""
        return self._ready.popleft() if self._ready else None

    def finish(self, key: str | None) -> None:
        """Allow the next event of a key."""
        if key is None:
            return
        behind = self._behind[key]
        if behind:
            self._ready.append((key, behind.popleft()))
        else:
            del self._behind[key]

    def clear(self) -> list[T]:
        """Remove and return all events that wait."""
        items = [item for _, item in self._ready]
        for behind in self._behind.values():
            items.extend(behind)
            behind.clear()
        # A key whose event is handled now stays, until `finish`.
        for key, _ in self._ready:
            if key is not None:
                del self._behind[key]
        self._ready.clear()
        return items
