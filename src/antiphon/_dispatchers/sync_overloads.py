"""The types of an `EventDispatcher`, for type checkers.

Never imported: the overloads would add to the time of the import. They are those of the protocol. The class has the
protocol as well, so that a subclass has it, even if it overrides methods of whistle with fewer arguments.
"""

# The type variables of keys that a call leaves out have a default.
# pyright: reportInvalidTypeVarUse=false

from __future__ import annotations

from typing import TYPE_CHECKING

# mypy must know this class first.
from antiphon._dispatchers.sync_registering import SyncRegisteringMixin

__all__ = ()

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from enum import Enum
    from types import UnionType
    from typing import Any, TypeVar, overload

    from typing_extensions import deprecated

    from antiphon._dispatchers.base import BaseDispatcher
    from antiphon._events.event import Event
    from antiphon._listeners.subscription import Subscription
    from antiphon._types import (
        E1,
        E2,
        E3,
        E4,
        E5,
        E6,
        AnyOfSix,
        AnySyncDecorator,
        AsyncListener,
        ClassIsNotAnEvent,
        EventName,
        Key,
        Name,
        NameFor,
        NameNeedsItsEvent,
        PlainString,
        SyncDecorator,
        TypedKey,
        Where,
    )
    from antiphon.typing import IEventDispatcher

    E = TypeVar("E")
    A = TypeVar("A", bound=Awaitable[object])
    L = TypeVar("L", bound=AsyncListener)

    class SyncOverloads(SyncRegisteringMixin, BaseDispatcher, IEventDispatcher):
        """The base of the dispatcher."""

        @overload  # type: ignore[override]  # accepts fewer keys and listeners
        def add_listener(
            self,
            key: TypedKey[E],
            listener: Callable[[E], None],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E] = None,
        ) -> Subscription: ...
        @overload
        def add_listener(
            self,
            key: Name | UnionType,
            listener: Callable[[Any], None],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
        ) -> Subscription: ...
        @overload
        @deprecated("an EventDispatcher does not await its listeners: use plain functions, or an AsyncEventDispatcher")
        def add_listener(
            self,
            key: TypedKey[E],
            listener: Callable[[E], Awaitable[object]],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E] = None,
        ) -> Subscription: ...
        @overload
        @deprecated("an EventDispatcher does not await its listeners: use plain functions, or an AsyncEventDispatcher")
        def add_listener(
            self,
            key: Name | UnionType,
            listener: Callable[[Any], Awaitable[object]],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
        ) -> Subscription: ...
        @overload
        def add_listener(
            self,
            key: TypedKey[E],
            listener: Callable[[E], object],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E] = None,
        ) -> Subscription: ...
        @overload
        def add_listener(
            self,
            key: Name | UnionType,
            listener: Callable[[Any], object],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[Any] = None,
        ) -> Subscription: ...
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its check is too strict for overlapping overloads

        @overload  # type: ignore[override]  # accepts fewer keys and listeners
        def listen(
            self, key: TypedKey[E], /, *, priority: int = 0, once: bool = False, where: Where[E] = None
        ) -> SyncDecorator[E]: ...
        @overload
        def listen(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # as for one key
            self,
            key: TypedKey[E],
            other_key: TypedKey[E2],
            /,
            *,
            priority: int = 0,
            once: bool = False,
            where: Where[E | E2] = None,
        ) -> SyncDecorator[E | E2]: ...
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
        ) -> SyncDecorator[AnyOfSix[E1, E2, E3, E4, E5, E6]]: ...
        @overload
        def listen(
            self, key: Name | UnionType, /, *, priority: int = 0, once: bool = False, where: Where[Any] = None
        ) -> AnySyncDecorator: ...
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
        ) -> AnySyncDecorator: ...
        def listen(self, *keys: Any, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its check is too strict for overlapping overloads

        @overload
        def dispatch(self, name: PlainString | Enum | EventName[Event], event: None = None, /) -> Event: ...
        @overload
        def dispatch(self, name: EventName[Any], event: None = None, /) -> NameNeedsItsEvent | Any: ...
        @overload
        def dispatch(self, event: type[Any], /) -> ClassIsNotAnEvent | Any: ...
        @overload
        def dispatch(self, name: Any, event: type[Any], /) -> ClassIsNotAnEvent | Any: ...
        @overload
        def dispatch(self, event: E, /) -> E: ...
        @overload
        def dispatch(self, name: NameFor[E], event: E, /) -> E: ...
        @overload
        def dispatch(self, name: Name, event: E, /) -> E: ...
        def dispatch(self, name: Any, event: Any = None, /) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its check is too strict for overlapping overloads
