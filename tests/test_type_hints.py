"""`typing.get_type_hints` works on the public classes, functions and methods, as they are imported."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
import rodi

from antiphon import Event, EventDispatcher
from antiphon.diagrams import Description, KeyDescription, ListenerDescription

MODULES = (
    "antiphon",
    "antiphon.diagrams",
    "antiphon.instruments",
    "antiphon.instruments.logging",
    "antiphon.instruments.opentelemetry",
    "antiphon.instruments.coverage",
    "antiphon.instruments.timeline",
    "antiphon.testing",
    "antiphon.typing",
)


def functions_of(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__:
        if not base.__module__.startswith("antiphon"):
            continue
        for name, value in vars(base).items():
            if issubclass(cls, tuple) and name == "__new__":
                # `typing` creates it for a NamedTuple, without the names in its annotations.
                continue
            if isinstance(value, property):
                accessors = [accessor for accessor in (value.fget, value.fset) if accessor is not None]
                yield from ((name, accessor) for accessor in accessors)
            elif isinstance(value, (classmethod, staticmethod)):
                yield name, value.__func__
            elif inspect.isfunction(value):
                yield name, value


def annotated_things() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            public = getattr(importlib.import_module(module), name)
            if isinstance(public, type):
                found[f"{module}.{name}"] = public
                found.update({f"{module}.{name}.{method}": function for method, function in functions_of(public)})
            elif inspect.isroutine(public):
                found[f"{module}.{name}"] = public
    return found


def test_the_type_hints_of_public_objects_resolve() -> None:
    for path, thing in annotated_things().items():
        assert isinstance(typing.get_type_hints(thing), dict), path


@pytest.mark.parametrize("record", [Description, KeyDescription, ListenerDescription], ids=lambda cls: cls.__name__)
def test_the_hints_of_a_record_name_all_of_its_fields(record: Any) -> None:
    assert tuple(typing.get_type_hints(record)) == record._fields


def test_an_event_adds_no_fields_to_models() -> None:
    assert typing.get_type_hints(Event) == {}


# Libraries that ask


@dataclass
class OrderPlaced(Event):
    order: int


def test_msgspec_decodes_a_dataclass_event() -> None:
    assert msgspec.json.decode(msgspec.json.encode(OrderPlaced(7)), type=OrderPlaced) == OrderPlaced(7)


def test_msgspec_makes_a_schema_of_an_event() -> None:
    definitions: Any = msgspec.json.schema(OrderPlaced)["$defs"]

    assert list(definitions["OrderPlaced"]["properties"]) == ["order"]


def test_pydantic_validates_a_dataclass_event() -> None:
    assert pydantic.TypeAdapter(OrderPlaced).validate_python({"order": "7"}) == OrderPlaced(7)


def test_a_pydantic_model_may_be_an_event() -> None:
    class PaymentReceived(pydantic.BaseModel, Event):
        amount: int

    class PaymentRefused(Event, pydantic.BaseModel):
        amount: int

    assert [list(cls.model_fields) for cls in (PaymentReceived, PaymentRefused)] == [["amount"], ["amount"]]
    assert PaymentReceived(amount=3).model_dump() == PaymentRefused(amount=3).model_dump() == {"amount": 3}


def test_attrs_resolves_the_types_of_an_event() -> None:
    @attrs.define
    class PaymentReceived(Event):
        amount: int

    fields = attrs.fields(attrs.resolve_types(PaymentReceived, globals(), locals()))

    assert [(field.name, field.type) for field in fields] == [("amount", int)]


def test_rodi_injects_events_and_dispatchers() -> None:
    class Shop:
        def __init__(self, dispatcher: EventDispatcher, event: Event) -> None:
            self.dispatched = dispatcher.dispatch("shop.opened", event)

    container = rodi.Container()
    container.add_instance(EventDispatcher())
    container.add_transient(Event)
    container.add_transient(Shop)

    assert isinstance(container.resolve(Shop).dispatched, Event)
