"""`event_name`: a string that type checkers know as a name of events of one class."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Any, get_type_hints

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, event_name
from antiphon.typing import EventName, IAsyncEventDispatcher, IEventDispatcher


class OrderPlaced(Event): ...


class OrderNames(StrEnum):
    PLACED = "order.placed"


class Text(str):
    def __str__(self) -> str:
        return "another text"


@pytest.mark.parametrize("name", ["".join(["order.", "placed"]), OrderNames.PLACED, Text("order.placed")])
def test_a_name_is_a_plain_interned_string(name: str) -> None:
    named = event_name(name, OrderPlaced)

    assert type(named) is str
    assert named is sys.intern("order.placed")


async def test_a_dispatch_under_the_name_reaches_plain_keys() -> None:
    dispatcher, called = AsyncEventDispatcher(), list[object]()

    async def listener(event: OrderPlaced) -> None:
        called.append(event.name)

    for key in (event_name("order.placed", OrderPlaced), "order.placed", "order.*", OrderPlaced):
        dispatcher.add_listener(key, listener)
    await dispatcher.adispatch(event_name("order.placed", OrderPlaced), OrderPlaced())

    assert called == ["order.placed"] * 4


@pytest.mark.parametrize("pattern", ["order.*", "*", "order.**"])
def test_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"takes the name of a dispatch; got the pattern '.*': pass a pattern to list"):
        event_name(pattern, OrderPlaced)


@pytest.mark.parametrize("event_class", [OrderPlaced(), "OrderPlaced", None, list[int], OrderPlaced | Event])
def test_what_is_not_a_class_is_refused(event_class: Any) -> None:
    with pytest.raises(TypeError, match=r"takes the class of the events, as in event_name\(.*\); got "):
        event_name("order.placed", event_class)


@pytest.mark.parametrize("name", [OrderPlaced, None, 404, b"order.placed"])
def test_a_name_that_is_not_a_string_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match=r'takes a string, such as "order.placed"; got '):
        event_name(name, OrderPlaced)


def test_annotations_with_typed_names_resolve() -> None:
    def publish(name: EventName[OrderPlaced], event: OrderPlaced) -> None: ...

    assert get_type_hints(publish, globals(), locals())["event"] is OrderPlaced


# Protocols


@pytest.mark.parametrize(
    ("kind", "protocol", "of_whistle"),
    [
        (AsyncEventDispatcher, IAsyncEventDispatcher, {"dispatch"}),
        (EventDispatcher, IEventDispatcher, {"adispatch", "do_dispatch"}),
    ],
)
def test_a_protocol_has_the_public_methods_of_its_dispatcher(kind: type, protocol: type, of_whistle: set[str]) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")}

    assert {name for name in dir(protocol) if not name.startswith("_")} == public - of_whistle
