"""Protocols of events, listeners and dispatchers, for annotations and as keys of dependency injection.

The names that start with ``I`` are those of whistle.
"""

# The type variables of keys that a call leaves out have a default.
# pyright: reportInvalidTypeVarUse=false

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable
from enum import Enum
from types import UnionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from antiphon._dispatchers.asynchronous import AsyncScope
from antiphon._dispatchers.protocol import IAbstractEventDispatcher
from antiphon._dispatchers.sync_protocol import IEventDispatcher
from antiphon._events.event import Event
from antiphon._listeners.subscription import Subscription
from antiphon._strategies.base import Strategy
from antiphon._strategies.errors import ErrorPolicy
from antiphon._types import (
    AsyncListener,
    EventName,
    IDispatchedEvent,
    IEvent,
    IListener,
    Key,
    Name,
    Overflow,
    PlainString,
    SyncListener,
)
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import publish

if TYPE_CHECKING:
    import antiphon
    from antiphon._types import (
        A1,
        E1,
        E2,
        E3,
        E4,
        E5,
        E6,
        AnyOfSix,
        ClassIsNotAnEvent,
        NameFor,
        NameNeedsItsEvent,
        TypedKey,
        Where,
    )
else:
    # Loaded on first use, as in the dispatchers.
    antiphon = LazyModule("antiphon")

__all__ = (
    "AsyncListener",
    "EventName",
    "IAbstractEventDispatcher",
    "IAsyncEventDispatcher",
    "IDispatchedEvent",
    "IEvent",
    "IEventDispatcher",
    "IListener",
    "Key",
    "Name",
    "Overflow",
    "SyncListener",
)

E = TypeVar("E")
A = TypeVar("A", bound=Awaitable[object])
L = TypeVar("L", bound=AsyncListener)


class IAsyncEventDispatcher(IAbstractEventDispatcher, Protocol):
    """A dispatcher of async callables: the public methods of ``AsyncEventDispatcher``."""

    @property
    def strategy(self) -> Strategy:
        """How a dispatch runs its listeners by default."""
        ...

    @overload
    def add_listener(
        self,
        key: TypedKey[E],
        listener: Callable[[E], Awaitable[object]],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[E] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Subscription: ...
    @overload
    def add_listener(
        self,
        key: Name | UnionType,
        listener: Callable[[Any], Awaitable[object]],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[Any] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Subscription: ...
    def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
        """Register a listener. Lower priorities run first."""
        ...

    @overload
    def listen(
        self,
        key: TypedKey[E],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[E] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[Callable[[E], A]], Callable[[Any], A]]: ...
    @overload
    def listen(  # type: ignore[overload-overlap]  # as for one key
        self,
        key: TypedKey[E],
        other_key: TypedKey[E2],
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[E | E2] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[Callable[[E | E2], A]], Callable[[Any], A]]: ...
    @overload
    def listen(  # type: ignore[overload-overlap]  # as for one key
        self,
        key: TypedKey[E1],
        key2: TypedKey[E2],
        key3: TypedKey[E3],
        key4: TypedKey[E4] = ...,
        key5: TypedKey[E5] = ...,
        key6: TypedKey[E6] = ...,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[Any] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[Callable[[AnyOfSix[E1, E2, E3, E4, E5, E6]], A1]], Callable[[Any], A1]]: ...
    @overload
    def listen(
        self,
        key: Name | UnionType,
        /,
        *,
        priority: int = 0,
        once: bool = False,
        where: Where[Any] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[L], L]: ...
    @overload
    def listen(
        self,
        key: Key,
        other_key: Key,
        /,
        *more_keys: Key,
        priority: int = 0,
        once: bool = False,
        where: Where[Any] = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Callable[[L], L]: ...
    def listen(self, *keys: Any, **options: Any) -> Any:
        """Register the decorated function."""
        ...

    @overload
    async def adispatch(
        self, name: PlainString | Enum | EventName[Event], event: None = None, /, *, strategy: Strategy | None = None
    ) -> Event: ...
    @overload
    def adispatch(self, name: EventName[Any], event: None = None, /, **_: Any) -> NameNeedsItsEvent | Any: ...  # type: ignore[overload-overlap]  # E is not a class or a name
    @overload
    def adispatch(self, event: type[Any], /, **_: Any) -> ClassIsNotAnEvent | Any: ...  # type: ignore[overload-overlap]  # E is not a class or a name
    @overload
    def adispatch(self, name: Any, event: type[Any], /, **_: Any) -> ClassIsNotAnEvent | Any: ...
    @overload
    async def adispatch(self, event: E, /, *, strategy: Strategy | None = None) -> E: ...
    @overload
    async def adispatch(self, name: NameFor[E], event: E, /, *, strategy: Strategy | None = None) -> E: ...
    @overload
    async def adispatch(self, name: Name, event: E, /, *, strategy: Strategy | None = None) -> E: ...
    def adispatch(self, name: Any, event: Any = None, /, **options: Any) -> Any:
        """Call the listeners of an event, and return the event."""
        ...

    @overload
    def prepare(self, name: EventName[E], /) -> Callable[[E], Coroutine[Any, Any, E]]: ...
    @overload
    def prepare(self, name: Name, /) -> Callable[[E], Coroutine[Any, Any, E]]: ...
    def prepare(self, name: Any, /) -> Any:
        """Return an async function that dispatches an event under one name."""
        ...

    @overload
    def expect(self, key: TypedKey[E], /, *, where: Where[E] = None) -> antiphon.Expectation[E]: ...
    @overload
    def expect(
        self, key: TypedKey[E], other_key: TypedKey[E2], /, *, where: Where[E | E2] = None
    ) -> antiphon.Expectation[E | E2]: ...
    @overload
    def expect(
        self,
        key: TypedKey[E1],
        key2: TypedKey[E2],
        key3: TypedKey[E3],
        key4: TypedKey[E4] = ...,
        key5: TypedKey[E5] = ...,
        key6: TypedKey[E6] = ...,
        /,
        *,
        where: Where[Any] = None,
    ) -> antiphon.Expectation[AnyOfSix[E1, E2, E3, E4, E5, E6]]: ...
    @overload
    def expect(self, key: Name | UnionType, /, *, where: Where[Any] = None) -> antiphon.Expectation[Any]: ...
    @overload
    def expect(
        self, key: Key, other_key: Key, /, *more_keys: Key, where: Where[Any] = None
    ) -> antiphon.Expectation[Any]: ...
    def expect(self, *keys: Any, where: Callable[[Any], object] | None = None) -> Any:
        """Expect one event that the body of an ``async with`` block triggers."""
        ...

    @overload
    async def wait_for(self, key: TypedKey[E], /, *, where: Where[E] = None) -> E: ...
    @overload
    async def wait_for(
        self, key: TypedKey[E], other_key: TypedKey[E2], /, *, where: Where[E | E2] = None
    ) -> E | E2: ...
    @overload
    async def wait_for(
        self,
        key: TypedKey[E1],
        key2: TypedKey[E2],
        key3: TypedKey[E3],
        key4: TypedKey[E4] = ...,
        key5: TypedKey[E5] = ...,
        key6: TypedKey[E6] = ...,
        /,
        *,
        where: Where[Any] = None,
    ) -> AnyOfSix[E1, E2, E3, E4, E5, E6]: ...
    @overload
    async def wait_for(self, key: Name | UnionType, /, *, where: Where[Any] = None) -> Any: ...
    @overload
    async def wait_for(self, key: Key, other_key: Key, /, *more_keys: Key, where: Where[Any] = None) -> Any: ...
    async def wait_for(self, *keys: Any, where: Callable[[Any], object] | None = None) -> Any:
        """Wait for one event."""
        ...

    @overload
    def stream(
        self, key: TypedKey[E], /, *, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0
    ) -> antiphon.Stream[E]: ...
    @overload
    def stream(
        self,
        key: TypedKey[E],
        other_key: TypedKey[E2],
        /,
        *,
        max_buffer_size: int = 64,
        overflow: Overflow = "raise",
        priority: int = 0,
    ) -> antiphon.Stream[E | E2]: ...
    @overload
    def stream(
        self,
        key: TypedKey[E1],
        key2: TypedKey[E2],
        key3: TypedKey[E3],
        key4: TypedKey[E4] = ...,
        key5: TypedKey[E5] = ...,
        key6: TypedKey[E6] = ...,
        /,
        *,
        max_buffer_size: int = 64,
        overflow: Overflow = "raise",
        priority: int = 0,
    ) -> antiphon.Stream[AnyOfSix[E1, E2, E3, E4, E5, E6]]: ...
    @overload
    def stream(
        self, *keys: Key, max_buffer_size: int = 64, overflow: Overflow = "raise", priority: int = 0
    ) -> antiphon.Stream[Any]: ...
    def stream(self, *keys: Any, **options: Any) -> Any:
        """Read events one by one, in an ``async with`` block."""
        ...

    def queue(
        self,
        *,
        max_buffer_size: int = 64,
        workers: int = 1,
        overflow: Overflow = "suspend",
        errors: ErrorPolicy = "raise",
        ordered_by: Callable[[Any], Hashable] | None = None,
        drain_timeout: float | None = None,
        strategy: Strategy | None = None,
    ) -> antiphon.Queue:
        """Dispatch events later, in an ``async with`` block."""
        ...

    def scope(self) -> AsyncScope:
        """Create a dispatcher for one request or test."""
        ...


publish("antiphon.typing", EventName, IAsyncEventDispatcher)
