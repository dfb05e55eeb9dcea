"""The registry of the events that may cross: what it accepts, and how it encodes and decodes their data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Event
from antiphon.bridges import CodecError, ConfigurationError, EventRegistry
from tests.bridges.shop import OrderPaid, OrderPlaced, PriceChanged, make_registry


@dataclass
class Unregistered(OrderPaid):
    pass


class Plain(Event):
    def __init__(self, order_id: str) -> None:
        self.order_id = order_id


@dataclass
class WithPlain(Event):
    plain: Plain


@dataclass
class WithLaterClass(Event):
    later: Later | None = None


@dataclass
class Later:
    number: int


@attrs.define
class WithAttrs:
    number: int


class Struct(msgspec.Struct):
    number: int


def encode(events: EventRegistry, event: object) -> bytes:
    return bytes(events.encode(event)[1])


# Registering


def test_a_class_is_returned_unchanged_by_its_registration():
    events = EventRegistry()

    assert events.register("shop.order-paid")(OrderPaid) is OrderPaid
    assert [(found.name, found.version, found.cls) for found in events.types] == [("shop.order-paid", 1, OrderPaid)]


@pytest.mark.parametrize("name", ["", " ", "a b", "ü", "-a", "a" * 256, None, 3, "a\n", "a{b}"])
def test_a_type_name_that_is_not_plain_is_refused(name: Any):
    with pytest.raises(ConfigurationError, match=r"name of a type.*got"):
        EventRegistry().register(name)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_a_version_that_is_not_a_positive_int_is_refused(version: Any):
    with pytest.raises(ConfigurationError, match="version= is an int of at least 1"):
        EventRegistry().register("shop.order-paid", version=version)


@pytest.mark.parametrize("cls", [Plain, int, dict, "OrderPaid", OrderPaid("1"), None])
def test_a_class_without_fields_is_refused(cls: Any):
    with pytest.raises(ConfigurationError, match=r"above @dataclass"):
        EventRegistry().register("shop.order-paid")(cls)


def test_the_same_name_and_version_are_refused_twice():
    events = make_registry()

    with pytest.raises(ConfigurationError, match=r"version 2 of 'shop.order-placed' is already registered"):
        events.register("shop.order-placed", version=2)(Struct)


def test_a_class_is_refused_twice():
    events = make_registry()

    with pytest.raises(ConfigurationError, match=r"already registered, as 'shop.order-placed'"):
        events.register("shop.other")(OrderPlaced)


def test_a_failed_registration_changes_nothing():
    events = EventRegistry()

    with pytest.raises(ConfigurationError):
        events.register("shop.plain")(Plain)

    assert events.types == ()
    events.register("shop.plain")(OrderPaid)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_a_size_limit_that_is_not_a_positive_int_is_refused(size: Any):
    with pytest.raises(ConfigurationError, match="max_bytes="):
        EventRegistry(max_bytes=size)


def test_a_key_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match="key= is a function"):
        EventRegistry().register("shop.order-paid", key="order_id")  # type: ignore[arg-type]


def test_a_field_that_cannot_be_encoded_is_found_before_the_first_event():
    events = EventRegistry()
    events.register("shop.plain")(WithPlain)

    with pytest.raises(ConfigurationError, match=r"field 'plain' of shop.plain has the type .*Plain"):
        events.check()


def test_an_annotation_may_name_a_class_that_is_defined_later():
    events = EventRegistry()
    events.register("shop.later")(WithLaterClass)

    events.check()

    assert encode(events, WithLaterClass(Later(1))) == b'{"later":{"number":1}}'


def test_an_annotation_that_cannot_be_resolved_is_reported_by_the_check():
    @dataclass
    class Lost:
        field: Missing  # noqa: F821

    events = EventRegistry()
    events.register("shop.lost")(Lost)

    with pytest.raises(ConfigurationError, match="Missing"):
        events.check()


# Encoding


@pytest.mark.parametrize("event", [WithAttrs(3), Struct(3)], ids=["attrs", "struct"])
def test_classes_of_attrs_and_structs_of_msgspec_cross(event: Any):
    events = EventRegistry()
    events.register("shop.number")(type(event))

    registered, data = events.encode(event)

    assert events.decode("shop.number", 1, data) == event
    assert registered.cls is type(event)


async def test_the_attributes_of_a_dispatch_are_not_encoded():
    event = OrderPaid("7")
    await AsyncEventDispatcher().adispatch("order.paid", event)

    assert encode(make_registry(), event) == b'{"order_id":"7"}'


def test_a_decimal_keeps_its_digits():
    events = make_registry()
    event = OrderPlaced("7", Decimal("1.10"))

    decoded = events.decode("shop.order-placed", 2, events.encode(event)[1])

    assert str(decoded.total) == "1.10"


@pytest.mark.parametrize("event", [OrderPaid(7), OrderPaid(None), OrderPlaced("7", "x")])  # type: ignore[arg-type]
def test_a_field_of_a_wrong_type_is_refused_at_publish(event: Any):
    with pytest.raises(CodecError, match="cannot be encoded"):
        make_registry().encode(event)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_express_is_refused(number: float):
    """msgspec would encode it as null, which the field allows."""
    with pytest.raises(CodecError, match="JSON cannot express"):
        make_registry().encode(PriceChanged("tea", number))


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_decimal_that_is_not_finite_is_refused(number: str):
    with pytest.raises(CodecError, match="JSON cannot express"):
        make_registry().encode(OrderPlaced("7", Decimal(number)))


@pytest.mark.parametrize("event", [OrderPlaced("NaN"), OrderPlaced("Infinity", Decimal("1e999"))], ids=str)
def test_a_text_that_looks_like_such_a_number_crosses(event: OrderPlaced):
    events = make_registry()

    assert events.decode("shop.order-placed", 2, events.encode(event)[1]) == event


def test_none_is_encoded_where_the_field_allows_it():
    assert encode(make_registry(), PriceChanged("tea", None)) == b'{"product":"tea","price":null}'


def test_a_subclass_that_is_not_registered_is_refused():
    with pytest.raises(CodecError, match=r"got Unregistered: decorate this very class"):
        make_registry().encode(Unregistered("7"))


def test_a_class_in_place_of_an_event_is_refused():
    with pytest.raises(CodecError, match="got the class OrderPlaced: create an object of it"):
        make_registry().encode(OrderPlaced)


@pytest.mark.parametrize("key", [7, b"7", "", ["7"]])
def test_a_key_that_is_not_a_string_is_refused(key: Any):
    events = EventRegistry()
    events.register("shop.order-paid", key=lambda event: key)(OrderPaid)

    with pytest.raises(CodecError, match="returns a string"):
        events.encode(OrderPaid("7"))[0].get_key(OrderPaid("7"))


def test_an_error_of_a_key_function_names_the_type():
    events = EventRegistry()
    events.register("shop.order-paid", key=lambda event: event.customer)(OrderPaid)

    with pytest.raises(CodecError, match=r"key= of 'shop.order-paid' raised AttributeError"):
        events.encode(OrderPaid("7"))[0].get_key(OrderPaid("7"))


# Decoding


def test_an_older_version_passes_through_its_upcasts():
    events = make_registry()
    events.upcast("shop.order-placed", 1, lambda data: {**data, "total": "0"})

    event = events.decode("shop.order-placed", 1, msgspec.Raw(b'{"order_id":"7"}'))

    assert event == OrderPlaced("7", Decimal(0))


def test_several_upcasts_are_chained():
    events = make_registry()
    events.register("shop.order-placed", version=4)(Struct)
    events.upcast("shop.order-placed", 2, lambda data: {"text": data["order_id"]})
    events.upcast("shop.order-placed", 3, lambda data: {"number": int(data["text"])})

    assert events.decode("shop.order-placed", 2, msgspec.Raw(b'{"order_id":"7"}')) == Struct(7)


def test_an_older_version_without_an_upcast_is_decoded_into_its_own_class():
    events = make_registry()
    events.register("shop.order-placed", version=3)(Struct)

    assert events.decode("shop.order-placed", 2, msgspec.Raw(b'{"order_id":"7"}')) == OrderPlaced("7")


def test_a_version_that_nothing_can_read_is_an_error():
    with pytest.raises(CodecError, match=r"version 1 of 'shop.order-placed' is not registered, and has no upcast"):
        make_registry().decode("shop.order-placed", 1, msgspec.Raw(b"{}"))


def test_an_upcast_that_raises_is_an_error_of_the_data():
    events = make_registry()
    events.upcast("shop.order-placed", 1, lambda data: {"order_id": data["missing"]})

    with pytest.raises(CodecError, match="missing"):
        events.decode("shop.order-placed", 1, msgspec.Raw(b"{}"))


def test_an_upcast_is_registered_once():
    events = make_registry()
    events.upcast("shop.order-placed", 1, dict)

    with pytest.raises(ConfigurationError, match="has an upcast"):
        events.upcast("shop.order-placed", 1, dict)
    with pytest.raises(ConfigurationError, match="takes a function"):
        events.upcast("shop.order-placed", 5, None)  # type: ignore[arg-type]


def test_unknown_fields_of_newer_programs_are_ignored():
    event = make_registry().decode("shop.order-paid", 1, msgspec.Raw(b'{"order_id":"7","note":"x"}'))

    assert event == OrderPaid("7")


def test_the_decoder_does_not_convert_types():
    with pytest.raises(CodecError, match="Expected `str`, got `int`"):
        make_registry().decode("shop.order-paid", 1, msgspec.Raw(b'{"order_id":7}'))


@given(data=st.binary(max_size=60))
def test_data_of_any_bytes_is_an_event_or_a_codec_error(data: bytes):
    try:
        event = make_registry().decode("shop.order-paid", 1, msgspec.Raw(data))
    except CodecError:
        return
    assert type(event) is OrderPaid


# JSON Schema


def test_the_schema_describes_the_newest_version():
    definition = make_registry().schema("shop.order-placed")["$defs"]["OrderPlaced"]

    assert definition["required"] == ["order_id"]
    assert definition["properties"]["total"]["format"] == "decimal"


def test_the_schema_of_an_unknown_type_or_version_is_an_error():
    with pytest.raises(ConfigurationError, match=r"version 1 of 'shop.order-placed' is not registered"):
        make_registry().schema("shop.order-placed", 1)
    with pytest.raises(
        ConfigurationError, match=r"the type 'shop.other' is not registered; registered are \['shop.order-paid', "
    ):
        make_registry().schema("shop.other")


# The core


def test_importing_antiphon_imports_neither_the_bridge_nor_its_libraries():
    code = "import antiphon, antiphon.instruments, antiphon.diagrams, sys; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    loaded = set(output.split())
    assert loaded.isdisjoint({"antiphon.bridges", "msgspec", "coredis"})
    assert "antiphon" in loaded


def test_look_ups_of_other_objects():
    registry = EventRegistry()

    assert registry.find([]) is None  # type: ignore[arg-type]
    for name, version in (([], None), (None, None), ("shop.order", [])):
        with pytest.raises(ConfigurationError):
            registry.schema(name, version)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the name of a type is"):
        registry.upcast([], 1, dict)  # type: ignore[arg-type]
