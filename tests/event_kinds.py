"""Kinds of events for tests: subclasses of `Event`, classes that only look like it, and objects that are no events."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import pytest

from antiphon import Event

T = TypeVar("T")


class Minimal(Event):
    """Its constructor does not call the one of its base class."""

    def __init__(self, text: str = "") -> None:
        self.text = text


@dataclass
class Mutable(Event):
    number: int = 0


@dataclass(frozen=True)
class Frozen(Event):
    number: int = 0


@dataclass(slots=True)
class Slotted(Event):
    number: int = 0


@dataclass(frozen=True, slots=True)
class FrozenSlotted(Event):
    number: int = 0


@dataclass(frozen=True, kw_only=True, order=True, unsafe_hash=True)
class Hashed(Event):
    number: int = 0


class Guarded(Event):
    """Refuses unknown attributes."""

    def __init__(self) -> None:
        object.__setattr__(self, "number", 0)

    def __setattr__(self, attribute: str, value: object) -> None:
        raise AttributeError(f"{attribute} is not to be set")


class AnyAttribute(Event):
    def __getattr__(self, attribute: str) -> str:
        return attribute


class FailingLookup(Event):
    """Raises an error of its own for an unknown attribute."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def __getattr__(self, attribute: str) -> Any:
        return self.known[attribute]


class FailingMessage(Event):
    """Names itself in the message about an unknown attribute."""

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(f"{self.name} of {self.dispatcher} has no {attribute}")


class OwnGetattribute(Event):
    def __getattribute__(self, attribute: str) -> Any:
        return object.__getattribute__(self, attribute)


class FailingGetattribute(Event):
    """Raises an error of its own for an unknown attribute, in another way."""

    def __getattribute__(self, attribute: str) -> Any:
        try:
            return object.__getattribute__(self, attribute)
        except AttributeError:
            raise LookupError(attribute) from None


class Tagged(Generic[T], Event):
    """Is generic, and takes arguments of its class."""

    def __init_subclass__(cls, tag: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.tag = tag


class Tag(Tagged[int], tag="of a class"): ...


class Named(Event):
    name = "order.placed"


class NameMixin:
    name = "order.placed"


class NamedByMixin(NameMixin, Event): ...


class WithoutSubclassHook(Event):
    """Does not report its subclasses to its base."""

    def __init_subclass__(cls) -> None:
        pass


class NamedWithoutHook(WithoutSubclassHook):
    name = "order.placed"


class NamedLater(Event): ...


NamedLater.name = "order.placed"


@dataclass
class WithName(Event):
    name: str = "order.placed"


@dataclass(frozen=True)
class FrozenWithName(Event):
    name: str = "order.placed"


@dataclass(slots=True)
class SlottedWithName(Event):
    name: str = "order.placed"


@dataclass
class WithNameField(Event):
    name: str = field(default="order.placed", repr=False)


class Uncomparable(Event):
    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __eq__(self, other: object) -> bool:
        raise TypeError("events are not compared")


class FalseEvent(Event):
    def __bool__(self) -> bool:
        return False


class ByProperties(Event):
    """Keeps its name and its mark elsewhere."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {"name": "order.placed", "stopped": False}

    @property
    def name(self) -> Any:
        return self.kept["name"]

    @name.setter
    def name(self, value: Any) -> None:
        self.kept["name"] = value

    @property
    def propagation_stopped(self) -> bool:
        return bool(self.kept["stopped"])

    @propagation_stopped.setter
    def propagation_stopped(self, value: bool) -> None:
        self.kept["stopped"] = value


class Duck:
    """whistle's IEvent, written manually."""

    name: Any = None
    dispatcher: Any = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class SlottedDuck:
    __slots__ = ("__weakref__", "dispatcher", "name", "propagation_stopped")

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class NarrowDuck:
    """Has a slot for the mark alone."""

    __slots__ = ("propagation_stopped",)

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


@dataclass(frozen=True)
class FrozenDuck:
    number: int = 0

    def stop_propagation(self) -> None:
        object.__setattr__(self, "propagation_stopped", True)


class PropertyDuck:
    def __init__(self) -> None:
        self.marks: list[bool] = []

    @property
    def propagation_stopped(self) -> bool:
        return bool(self.marks and self.marks[-1])

    @propagation_stopped.setter
    def propagation_stopped(self, value: bool) -> None:
        self.marks.append(value)

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


#: Their class says that their name is order.placed.
NAMED: list[Callable[[], Any]] = [
    Named,
    NamedByMixin,
    NamedWithoutHook,
    NamedLater,
]
#: They have data called ``name``.
WITH_NAME_AS_DATA: list[Callable[[], Any]] = [
    WithName,
    FrozenWithName,
    SlottedWithName,
    WithNameField,
    ByProperties,
]
UNUSUAL_LOOKUPS: list[Callable[[], Any]] = [
    FailingLookup,
    FailingMessage,
    AnyAttribute,
    OwnGetattribute,
    FailingGetattribute,
]
EVENTS: list[Callable[[], Any]] = [
    Event,
    Minimal,
    Mutable,
    Frozen,
    Slotted,
    FrozenSlotted,
    Hashed,
    Guarded,
    Uncomparable,
    FalseEvent,
    Tag,
    *UNUSUAL_LOOKUPS,
    *NAMED,
]
#: Foreign classes that show all three attributes of a dispatch, and those that show less.
DUCKS: list[Callable[[], Any]] = [Duck, SlottedDuck, FrozenDuck]
NARROW_DUCKS: list[Callable[[], Any]] = [PropertyDuck, NarrowDuck]


# Objects on which nothing is set


class SlottedObject:
    __slots__ = ("__weakref__", "number")


class PlainObject: ...


@dataclass(frozen=True)
class FrozenObject:
    number: int = 0


class DuckWithoutRoom:
    """Has nowhere to store that it was stopped."""

    __slots__ = ()

    def stop_propagation(self) -> None: ...


class ReadOnlyMark:
    @property
    def propagation_stopped(self) -> bool:
        return False

    def stop_propagation(self) -> None: ...


Point = namedtuple("Point", "x y")

BARE: list[Any] = [
    SlottedObject,
    PlainObject,
    FrozenObject,
    DuckWithoutRoom,
    ReadOnlyMark,
    lambda: Point(1, 2),
    object,
    SimpleNamespace,
    lambda: "text",
    lambda: {"key": "value"},
    lambda: [1, 2],
    lambda: 0,
    lambda: LookupError("an error"),
]

if find_spec("msgspec") is not None:
    import msgspec

    class Struct(msgspec.Struct):
        number: int = 0

    class FrozenStruct(msgspec.Struct, frozen=True):
        number: int = 0

    BARE += [Struct, FrozenStruct]
else:
    BARE.append(pytest.param(object, id="msgspec", marks=pytest.mark.skip("msgspec is not installed")))

if find_spec("pydantic") is not None:
    import pydantic

    class Model(pydantic.BaseModel):
        number: int = 0

    class FrozenModel(pydantic.BaseModel, frozen=True):
        number: int = 0

    BARE += [Model, FrozenModel]
else:
    BARE.append(pytest.param(object, id="pydantic", marks=pytest.mark.skip("pydantic is not installed")))


def kinds(events: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", events, ids=lambda kind: getattr(kind, "__name__", repr(kind)))
