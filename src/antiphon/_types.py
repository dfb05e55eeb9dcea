"""The types of names, keys, listeners and events, for annotations. `antiphon.typing` exports the public ones.

A type checker tells three kinds of keys apart, so that an error in a call does not match another overload:

=====================  =====================================================================
``type[E]``            a class of events
`EventName`            a name of events of one class
`Name`                 any other name, and patterns; the class of the events is not known
=====================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from enum import Enum
from types import ModuleType, UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, Protocol, TypeAlias, TypeVar, overload

__all__ = (
    "AsyncListener",
    "DeclaredNamesSource",
    "EventName",
    "IDispatchedEvent",
    "IEvent",
    "IListener",
    "Key",
    "Name",
    "Overflow",
    "PlainString",
    "SyncListener",
)

E = TypeVar("E")


if TYPE_CHECKING:

    class EventName(str, Generic[E]):  # noqa: SLOT000  slots would be attributes for type checkers
        """A name of events of one class: the type of what ``event_name`` returns, for annotations.

        It is a `str`. At run time, ``EventName[OrderPlaced]`` is ``str`` itself.
        """

        # `PlainString` has this method with another result, so an `EventName` is a `str`, but not a `Name`.
        def __getnewargs__(self) -> tuple[str, E]: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

        def __antiphon_accepts__(self, event: E, /) -> None: ...

    class PlainString(Protocol):
        """A string that is not an `EventName`."""

        def __getnewargs__(self) -> tuple[str]: ...

        # Numbers have the method above as well, but with another result.

        def isidentifier(self) -> bool: ...

else:

    class EventName(str):
        """A name of events of one class: the type of what ``event_name`` returns, for annotations.

        It is a `str`. At run time, ``EventName[OrderPlaced]`` is ``str`` itself.
        """

        __module__ = "antiphon.typing"
        __slots__ = ()

        def __class_getitem__(cls, event_class: Any, /) -> type[str]:
            """Return ``str``."""
            return str

    PlainString = str

#: A name under which events of any class are dispatched, or a pattern of such names. At run time, every hashable
#: object except None and classes can be a name. Type checkers accept those that are common: a protocol of all hashable
#: objects would also match classes and None.
Name: TypeAlias = PlainString | Enum | int | bytes | tuple[Hashable, ...] | frozenset[Hashable]

#: What a listener is registered for. It is a name, a pattern, a class, or a union of classes.
Key: TypeAlias = type[Any] | UnionType | EventName[Any] | Name

#: The names that a dispatcher declares: a module, a class, a name, or several of them.
DeclaredNamesSource: TypeAlias = (
    ModuleType | type[Any] | str | Enum | Iterable[ModuleType | type[Any] | Hashable] | None
)

#: A callable that takes an event.
IListener: TypeAlias = Callable[[Any], Any]

#: A listener of an ``AsyncEventDispatcher``.
AsyncListener: TypeAlias = Callable[[Any], Awaitable[object]]

#: A listener of an ``EventDispatcher``.
SyncListener: TypeAlias = Callable[[Any], object]

#: What happens to the next event when a buffer is full.
Overflow: TypeAlias = Literal["raise", "suspend", "drop_oldest", "drop_newest"]


class IEvent(Protocol):
    """An event that has a name, and that a listener can stop."""

    name: Any
    propagation_stopped: bool

    def stop_propagation(self) -> Any:
        """Stop the event: the running dispatch starts no further listener."""
        ...


class IDispatchedEvent(IEvent, Protocol):
    """An event that has been dispatched."""

    dispatcher: Any


if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault
    from typing_extensions import deprecated

    E_co = TypeVar("E_co", covariant=True)
    E_contra = TypeVar("E_contra", contravariant=True)
    R = TypeVar("R")
    L = TypeVar("L", bound=Callable[[Any], object])
    L_none = TypeVar("L_none", bound=Callable[[Any], None])

    #: A key from which the class of the events is known. Not two overloads: mypy would refuse abstract classes.
    TypedKey: TypeAlias = type[E] | EventName[E]

    #: A filter of events, as an argument.
    Where: TypeAlias = Callable[[E], object] | None

    # The classes of several keys. Those of the keys that may be left out add nothing to a union.
    E1 = TypeVar("E1")
    E2 = TypeVar("E2")
    E3 = TypeVar("E3")
    E4 = TypeVarWithDefault("E4", default=Never)
    E5 = TypeVarWithDefault("E5", default=Never)
    E6 = TypeVarWithDefault("E6", default=Never)

    # The results of listeners. They need a default, because they follow the others.
    A1 = TypeVarWithDefault("A1", bound=Awaitable[object], default=Any)
    R1 = TypeVarWithDefault("R1", default=Any)

    #: The class of an event that one of six keys matches.
    AnyOfSix: TypeAlias = E1 | E2 | E3 | E4 | E5 | E6

    class NameFor(Protocol[E_contra]):
        """An `EventName` of the class of an event, or of a base class of it.

        With ``EventName[E]`` in its place, an event of a subclass would leave a dispatch as an event of the base class.
        """

        def __antiphon_accepts__(self, event: E_contra, /) -> None: ...

    # The results of dispatches that raise a TypeError, or dispatch an event of the wrong class. Type checkers report
    # that they cannot be awaited.

    class ClassIsNotAnEvent:
        """The result of a dispatch of a class: create an event of it."""

    class NameNeedsItsEvent:
        """The result of a dispatch of an `EventName` alone, which would dispatch a plain `Event`."""

    # An awaitable is an object, so only an overload of its own can report async functions, and only as deprecated. The
    # overload for None comes first, because functions that return Any must not match the one for awaitables.

    class SyncDecorator(Protocol[E_co]):
        """Registers the decorated function for events of one class."""

        @overload
        def __call__(self, listener: Callable[[E_co], None], /) -> Callable[[Any], None]: ...
        @overload
        @deprecated("an EventDispatcher does not await its listeners: use plain functions, or an AsyncEventDispatcher")
        def __call__(self, listener: Callable[[E_co], Awaitable[R]], /) -> Callable[[Any], Awaitable[R]]: ...
        @overload
        def __call__(self, listener: Callable[[E_co], R], /) -> Callable[[Any], R]: ...

    class AnySyncDecorator(Protocol):
        """Registers the decorated function for events of any class."""

        @overload
        def __call__(self, listener: L_none, /) -> L_none: ...
        @overload
        @deprecated("an EventDispatcher does not await its listeners: use plain functions, or an AsyncEventDispatcher")
        def __call__(self, listener: Callable[[Any], Awaitable[R]], /) -> Callable[[Any], Awaitable[R]]: ...
        @overload
        def __call__(self, listener: L, /) -> L: ...
