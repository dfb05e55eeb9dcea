"""The events that a bridge has received, which it must not publish again."""

from __future__ import annotations

from typing import Any
from weakref import ref

from antiphon.bridges._delivery import current_delivery

__all__ = ("ReceivedEvents",)


class ReceivedEvents:
    """Knows the received events that still exist, by their identity.

    A queue or the reader of a stream may dispatch a received event again, long after its delivery has ended. The events
    are therefore not forgotten with the delivery, but when they cease to exist.

    Args:
        origin: The id of the bridge. Another bridge of the same dispatcher may relay the event.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._references: dict[int, ref[Any]] = {}

    def add(self, event: object) -> None:
        """Remember an event. An event without weak references is known by the context of its delivery only."""
        number, references = id(event), self._references
        try:
            references[number] = ref(event, lambda _: references.pop(number, None))
        except TypeError:
            # For example a struct of msgspec. Queues copy the context, and it is also there in the listener's tasks.
            pass

    def __contains__(self, event: object) -> bool:
        reference = self._references.get(id(event))
        if reference is not None and reference() is event:
            return True
        current = current_delivery.get()
        return current is not None and current.event is event and current.origin == self._origin

    def __len__(self) -> int:
        return len(self._references)
