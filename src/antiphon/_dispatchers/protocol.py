"""The protocol of the methods that both kinds of dispatcher have. `antiphon.typing` exports it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol, overload

from antiphon._dispatchers.subscribers import Subscriptions
from antiphon._dispatchers.temporary import Registrar
from antiphon._events.event import Event
from antiphon._types import IListener, Key
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import publish

if TYPE_CHECKING:
    from antiphon import diagrams
else:
    # Loaded on first use, as in the dispatchers.
    diagrams = LazyModule("antiphon.diagrams")

__all__ = ("IAbstractEventDispatcher",)


class IAbstractEventDispatcher(Protocol):
    """The public methods that both kinds of dispatcher have."""

    @overload
    def get_listeners(self, name: None = None, /) -> dict[Hashable, tuple[Any, ...]]: ...  # type: ignore[overload-overlap]  # None is not a name
    @overload
    def get_listeners(self, name: Hashable, event_class: type[Any] = Event, /) -> tuple[Any, ...]: ...
    def get_listeners(self, name: Any = None, event_class: type[Any] | None = None, /) -> Any:
        """Return the listeners of a name in the order in which they run, or without a name all listeners by key."""
        ...

    def has_listeners(self, name: Any = None, event_class: type[Any] | None = None, /) -> bool:
        """Return whether a name has listeners, or without a name whether the dispatcher has any."""
        ...

    def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:
        """Register a listener. Lower priorities run first."""
        ...

    def remove_listener(self, key: Key, listener: IListener, /) -> None:
        """Remove every registration of a listener under a key."""
        ...

    def clear(self, key: Key = ..., /) -> None:
        """Remove all listeners under a key, or all listeners."""
        ...

    def add_subscriber(self, subscriber: object, /) -> Subscriptions:
        """Register the methods of an object that are marked with `listens_to`."""
        ...

    def temporarily(self) -> Registrar:
        """Register listeners for the duration of a ``with`` block."""
        ...

    def describe(self) -> diagrams.Description:
        """Describe the keys, their listeners in order, and their options."""
        ...

    def add_instrument(self, instrument: Any, /) -> None:
        """Let an instrument observe all dispatches from the next one on."""
        ...

    def remove_instrument(self, instrument: Any, /) -> None:
        """Remove an instrument from the next dispatch on."""
        ...


publish("antiphon.typing", IAbstractEventDispatcher)
