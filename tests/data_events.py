"""Classes of events that carry data called ``name`` and ``dispatcher``, one for each way to write such a class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import attrs
import msgspec
import pydantic
import pydantic.dataclasses

from antiphon import Event

__all__ = ("DATA_EVENTS", "FIELDS", "REQUIRED", "get_fields")


@dataclass
class Mutable(Event):
    name: str
    dispatcher: str
    number: int


@dataclass(frozen=True)
class Frozen(Event):
    name: str
    dispatcher: str
    number: int


@dataclass(slots=True)
class Slotted(Event):
    name: str
    dispatcher: str
    number: int


@dataclass(frozen=True, slots=True)
class FrozenSlotted(Event):
    name: str
    dispatcher: str
    number: int


@dataclass(kw_only=True, order=True, unsafe_hash=True)
class KeywordOnly(Event):
    name: str
    dispatcher: str
    number: int


@dataclass
class Inheriting(Mutable): ...


@dataclass
class DeclaredAgain(Mutable):
    name: str


@attrs.define
class AttrsSlotted(Event):
    name: str
    dispatcher: str
    number: int


@attrs.define(slots=False)
class AttrsPlain(Event):
    name: str
    dispatcher: str
    number: int


@attrs.frozen
class AttrsFrozen(Event):
    name: str
    dispatcher: str
    number: int


@attrs.define
class AttrsFields(Event):
    name = attrs.field(type=str)
    dispatcher = attrs.field(type=str)
    number = attrs.field(type=int)


with warnings.catch_warnings():
    # pydantic warns of each field that has the name of an attribute of a base class.
    warnings.filterwarnings("ignore", message="Field name .* shadows an attribute in parent", category=UserWarning)

    class Model(pydantic.BaseModel, Event):
        name: str
        dispatcher: str
        number: int

    class ModelAsSecondBase(Event, pydantic.BaseModel):
        name: str
        dispatcher: str
        number: int

    class StrictModel(pydantic.BaseModel, Event, frozen=True, extra="forbid", revalidate_instances="always"):
        name: str
        dispatcher: str
        number: int

    class ModelField(pydantic.BaseModel, Event):
        name: str = pydantic.Field(min_length=1)
        dispatcher: str = pydantic.Field()
        number: int

    class InheritingModel(Model): ...


@pydantic.dataclasses.dataclass
class ModelDataclass(Event):
    name: str
    dispatcher: str
    number: int


class Struct(msgspec.Struct, Event):
    name: str
    dispatcher: str
    number: int


class FrozenStruct(msgspec.Struct, Event, frozen=True):
    name: str
    dispatcher: str
    number: int


class KeywordStruct(msgspec.Struct, Event, kw_only=True):
    name: str
    dispatcher: str
    number: int


class Plain(Event):
    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


class Annotated(Event):
    name: str
    dispatcher: str

    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


class WithSlots(Event):
    __slots__ = ("dispatcher", "name", "number")

    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


class WithProperties(Event):
    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        self._name = name
        self._dispatcher = dispatcher
        self.number = number

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def dispatcher(self) -> str:
        return self._dispatcher


class WithLookup(Plain):
    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(f"{self.name} of {self.dispatcher} has no {attribute}")


class NamedByItsClass(Event):
    """Its class names the dispatch, and the instance has a name of its own."""

    name = "order.placed"

    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


class Error(Event, ValueError):
    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        super().__init__(name, dispatcher, number)
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


class ErrorAsFirstBase(ValueError, Event):
    def __init__(self, name: str, dispatcher: str, number: int) -> None:
        super().__init__(name, dispatcher, number)
        self.name = name
        self.dispatcher = dispatcher
        self.number = number


FIELDS: dict[str, Any] = {"name": "bob", "dispatcher": "mail", "number": 7}

#: The functions that return the fields of a class as its library sees them.
_BY_LIBRARY: list[tuple[Callable[[Any], Any], list[Any]]] = [
    (asdict, [Mutable, Frozen, Slotted, FrozenSlotted, KeywordOnly, Inheriting, DeclaredAgain, ModelDataclass]),
    (attrs.asdict, [AttrsSlotted, AttrsPlain, AttrsFrozen, AttrsFields]),
    (lambda event: event.model_dump(), [Model, ModelAsSecondBase, StrictModel, ModelField, InheritingModel]),
    (msgspec.structs.asdict, [Struct, FrozenStruct, KeywordStruct]),
]

#: The classes whose fields a library knows, which requires those without a default.
REQUIRED: list[Any] = [cls for _, classes in _BY_LIBRARY for cls in classes]
DATA_EVENTS: list[Any] = [
    *REQUIRED,
    Plain,
    Annotated,
    WithSlots,
    WithProperties,
    WithLookup,
    NamedByItsClass,
    Error,
    ErrorAsFirstBase,
]


def get_fields(event: Any) -> Any:
    """Return the data of an event, as its library sees it."""
    for function, classes in _BY_LIBRARY:
        if type(event) in classes:
            return function(event)
    return {field: getattr(event, field) for field in FIELDS}
