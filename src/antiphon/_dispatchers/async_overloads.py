"""The types of an `AsyncEventDispatcher`, for type checkers.

Never imported: the overloads would add to the time of the import. They are those of the protocol. The class has the
protocol as well, so that a subclass has it, even if it overrides methods of whistle with fewer arguments.
"""

# The type variables of keys that a call leaves out have a default.
# pyright: reportInvalidTypeVarUse=false

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ()

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from enum import Enum
    from types import UnionType
    from typing import Any, TypeVar, overload

    from antiphon._dispatchers.waiting import WaitingMixin
    from antiphon._events.event import Event
    from antiphon._listeners.subscription import Subscription
    from antiphon._strategies.base import Strategy
    from antiphon._types import (
        A1,
        E1,
        E2,
        E3,
        E4,
        E5,
        E6,
        AnyOfSix,
        AsyncListener,
        ClassIsNotAnEvent,
        EventName,
        Key,
        Name,
        NameFor,
        NameNeedsItsEvent,
        PlainString,
        TypedKey,
        Where,
    )
    from antiphon.typing import IAsyncEventDispatcher

    E = TypeVar("E")
    A = TypeVar("A", bound=Awaitable[object])
    L = TypeVar("L", bound=AsyncListener)

    class AsyncOverloads(WaitingMixin, IAsyncEventDispatcher):  # pyright: ignore[reportIncompatibleMethodOverride]  # its check is too strict for overlapping overloads
        """The base of the dispatcher."""

        @overload  # type: ignore[override]  # accepts fewer keys and listeners
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
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any: ...

        @overload  # type: ignore[override]  # accepts fewer keys and listeners
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
        def listen(self, *keys: Any, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its check is too strict for overlapping overloads

        @overload
        async def adispatch(
            self,
            name: PlainString | Enum | EventName[Event],
            event: None = None,
            /,
            *,
            strategy: Strategy | None = None,
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
        def adispatch(self, name: Any, event: Any = None, /, **options: Any) -> Any: ...
