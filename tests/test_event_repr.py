"""The repr of an event shows its class, the name of its dispatch and its data, and leaves other reprs alone."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from antiphon import Event, EventDispatcher, Sequential
from tests.helpers import AnyDispatcher, make_listener


class OrderPlaced(Event):
    def __init__(self, *values: Any, **data: Any) -> None:
        self.__dict__.update(data)
        if values:
            (self.order,) = values


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError


class Slotted(Event):
    __slots__ = ("_secret", "amount", "unset")


class OneSlot(Slotted):
    __slots__ = "total"


class Unreadable(Event):
    def __getattribute__(self, attribute: str) -> Any:
        raise LookupError


def test_it_shows_the_class_and_the_data_and_after_a_dispatch_the_name() -> None:
    event = OrderPlaced(order=7, customer="Ada")
    assert repr(event) == "<OrderPlaced order=7 customer='Ada'>"

    EventDispatcher().dispatch("order.placed", event)

    assert repr(event) == str(event) == "<OrderPlaced 'order.placed' order=7 customer='Ada'>"


def test_an_event_without_data_shows_its_class() -> None:
    assert repr(Event()) == "<Event>"
    assert repr(EventDispatcher().dispatch("order.placed")) == "<Event 'order.placed'>"
    assert repr(EventDispatcher().dispatch(OrderPlaced())) == "<OrderPlaced>"


def test_a_field_called_name_is_shown_as_data() -> None:
    event = EventDispatcher().dispatch("order.placed", OrderPlaced(name="Ada"))

    assert repr(event) == "<OrderPlaced 'order.placed' name='Ada'>"


def test_private_attributes_are_not_shown_and_slots_are() -> None:
    event: Any = OneSlot()
    event._secret, event.amount, event.total, event.extra = "secret", 7, 9, 1

    assert repr(event) == "<OneSlot amount=7 total=9 extra=1>"


def test_its_length_is_bounded() -> None:
    large: list[Any] = [
        "x" * 10_000,
        b"x" * 10_000,
        list(range(10_000)),
        {n: n for n in range(10_000)},
        type("L" * 5000, (), {})(),
    ]
    event = OrderPlaced(**{f"value{n}": value for n, value in enumerate(large * 10)})
    EventDispatcher().dispatch("n" * 10_000, event)

    assert len(repr(event)) < 1000
    assert repr(event).endswith(" ...>")


@pytest.mark.parametrize(("count", "end"), [(8, " value8=8>"), (9, " value8=8 ...>")])
def test_up_to_eight_values_are_shown(count: int, end: str) -> None:
    event = OrderPlaced(**{f"value{number}": number for number in range(1, count + 1)})

    assert repr(event).endswith(end)


@pytest.mark.parametrize(("length", "end"), [(40, "'>"), (41, "'...>")])
def test_bytes_are_shown_up_to_their_limit(length: int, end: str) -> None:
    assert repr(OrderPlaced(data=b"x" * length)) == f"<OrderPlaced data=b'{'x' * 40}{end}"


def test_recursive_events_are_shown_once() -> None:
    event = OrderPlaced()
    event.parent, event.parents = event, [event]  # type: ignore[attr-defined]
    assert repr(event) == "<OrderPlaced parent=<OrderPlaced ...> parents=[<OrderPlaced ...>]>"

    @dataclass
    class Order:
        event: Any

    event = OrderPlaced()
    event.order = Order(event)
    assert repr(event) == "<OrderPlaced order=test_recursive_events_are_shown_once.<locals>.Order(event=<...>)>"


def test_a_repr_that_extends_it_shows_only_the_class_of_inner_events() -> None:
    class OrderPaid(Event):
        def __init__(self, order: Any) -> None:
            self.order = order

        def __repr__(self) -> str:
            return f"paid: {super().__repr__()}"

    assert repr(OrderPaid(OrderPlaced(7))) == "paid: <OrderPaid order=<OrderPlaced ...>>"


def test_it_never_raises() -> None:
    assert re.fullmatch(r"<OrderPlaced order=<Unprintable instance at .*>>", repr(OrderPlaced(Unprintable())))
    assert re.fullmatch(r"<OrderPlaced order=\[<Unprintable instance at .*>\]>", repr(OrderPlaced([Unprintable()])))
    assert "Unreadable object at" in repr(Unreadable())


def test_a_name_that_cannot_be_printed_does_no_harm() -> None:
    event = EventDispatcher().dispatch(Unprintable(), OrderPlaced(7))

    assert re.fullmatch(r"<OrderPlaced <Unprintable instance at .*> order=7>", repr(event))


# Other reprs


@dataclass
class AsDataclass(Event):
    order: int


@attrs.define(slots=False)
class AsAttrs(Event):
    order: int


class AsModel(pydantic.BaseModel, Event):
    order: int


class AsModelAfter(Event, pydantic.BaseModel):
    order: int


class AsStruct(Event, msgspec.Struct):
    order: int


class WithMixin(Event, Unprintable): ...


class AsError(Event, Exception): ...


@pytest.mark.parametrize("kind", [AsDataclass, AsAttrs, AsModel, AsModelAfter, AsStruct])
def test_the_repr_of_a_model_stays(kind: Any) -> None:
    event = kind(order=7)
    assert repr(event) == f"{kind.__name__}(order=7)"

    EventDispatcher().dispatch("order.placed", event)

    assert repr(event) == f"{kind.__name__}(order=7)"


def test_the_repr_of_another_base_stays() -> None:
    assert repr(AsError(7)) == "AsError(7)"
    with pytest.raises(LookupError):
        repr(WithMixin())


@dataclass(repr=False)
class WithoutRepr(Event):
    order: int


def test_a_dataclass_without_a_repr_has_that_of_events() -> None:
    assert repr(WithoutRepr(7)) == "<WithoutRepr order=7>"


# Dispatchers, and what shows reprs


def test_an_unnamed_dispatcher_shows_how_many_listeners_it_has(dispatcher: AnyDispatcher) -> None:
    kind, listener = type(dispatcher).__name__, make_listener(dispatcher, print)
    assert repr(dispatcher) == f"<{kind} without listeners>"

    dispatcher.add_listener("order.placed", listener)
    assert repr(dispatcher) == f"<{kind} with listeners under 1 key>"

    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.*", listener)
    assert repr(dispatcher) == f"<{kind} with listeners under 2 keys>"


def test_a_scope_shows_its_name_and_its_parent(dispatcher: AnyDispatcher) -> None:
    unnamed, named = dispatcher.scope(), dispatcher.scope(name="request 7")

    assert repr(unnamed) == f"<scope of {dispatcher!r}>"
    assert repr(named.scope()) == f"<scope of <scope 'request 7' of {dispatcher!r}>>"


def test_a_dispatcher_that_was_not_initialized_has_a_repr() -> None:
    class Shop(EventDispatcher):
        def __init__(self) -> None: ...

    assert "Shop object at" in repr(Shop())


async def test_logged_errors_show_the_event(dispatcher: AnyDispatcher, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener("order.placed", make_listener(dispatcher, fail))
    logging_errors: Any = EventDispatcher(errors="log")
    if isinstance(dispatcher, EventDispatcher):
        logging_errors.add_listener("order.placed", fail)
        logging_errors.dispatch("order.placed", OrderPlaced(7))
    else:
        await dispatcher.adispatch("order.placed", OrderPlaced(7), strategy=Sequential(errors="log"))

    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.getMessage().endswith(
        f"<{type(dispatcher).__name__} with listeners under 1 key> goes on with the dispatch of 'order.placed', "
        f"<OrderPlaced 'order.placed' order=7>"
    )


@pytest.mark.parametrize("size", [10, 10_000])
def test_only_long_bytes_are_shortened(size):
    class Received(Event):
        def __init__(self) -> None:
            self.body = b"x" * size

    shown = repr(Received())

    assert ("..." in shown) == (size > 1_000)
    assert len(shown) < 200
