"""The envelope: CloudEvents 1.0 that the package `cloudevents` reads, and that reads what it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from antiphon.bridges import CodecError
from antiphon.bridges._codec.envelope import Envelope, check_extensions, decode_envelope, encode_envelope

TIME = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
ORDER = Envelope("1", "/shop/web", "shop.order-paid", msgspec.Raw(b'{"order_id":"7"}'), 2, TIME)
EVERYTHING = ORDER._replace(
    subject="order.paid",
    key="7",
    hops=3,
    cause="0",
    origin="a1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate="vendor=1",
    extensions={"tenant": "acme", "urgent": True, "rank": 3},
)
REQUIRED: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}}


def same(one: Envelope, other: Envelope) -> bool:
    return one._replace(data=msgspec.Raw()) == other._replace(data=msgspec.Raw()) and bytes(one.data) == bytes(
        other.data
    )


@pytest.mark.parametrize("envelope", [ORDER, EVERYTHING], ids=["order", "everything"])
def test_an_envelope_is_read_as_it_was_written(envelope: Envelope):
    assert same(decode_envelope(encode_envelope(envelope)), envelope)


def test_the_package_cloudevents_reads_our_bytes():
    event = JSONFormat().read(CloudEvent, encode_envelope(EVERYTHING))

    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_source(), event.get_type()) == ("1", "/shop/web", "shop.order-paid")
    assert event.get_time() == TIME
    assert event.get_subject() == "order.paid"
    assert event.get_data() == {"order_id": "7"}
    assert event.get_extension("partitionkey") == "7"
    assert event.get_extension("traceparent") == EVERYTHING.traceparent
    assert event.get_extension("tenant") == "acme"
    assert event.get_extension("rank") == 3


def test_we_read_the_bytes_of_the_package_cloudevents():
    attributes: dict[str, Any] = {
        "id": "1",
        "source": "/legacy",
        "type": "shop.order-paid",
        "time": TIME,
        "datacontenttype": "application/json",
        "subject": "order.paid",
        "partitionkey": "7",
        "dataversion": 2,
        "tenant": "acme",
    }

    envelope = decode_envelope(JSONFormat().write(CloudEvent(attributes, {"order_id": "7"})))

    assert (envelope.id, envelope.source, envelope.subject, envelope.key) == ("1", "/legacy", "order.paid", "7")
    assert (envelope.version, envelope.time, envelope.hops) == (2, TIME, 0)
    assert envelope.extensions == {"tenant": "acme"}
    assert json.loads(bytes(envelope.data)) == {"order_id": "7"}


def test_what_is_absent_is_not_written():
    assert json.loads(encode_envelope(ORDER)).keys() == {
        "specversion", "id", "source", "type", "dataversion", "time", "datacontenttype", "antiphonhops", "data",
    }  # fmt: skip


def test_times_of_other_zones_are_read_in_utc():
    zone = timezone(timedelta(hours=2))
    time = datetime(2026, 11, 29, 14, 30, tzinfo=zone).isoformat()

    assert decode_envelope(json.dumps({**REQUIRED, "time": time}).encode()).time == TIME


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"specversion": None},
        {"id": ""},
        {"id": 3},
        {"source": None},
        {"type": ["t"]},
        {"time": "yesterday"},
        {"dataversion": "2"},
        {"antiphonhops": "many"},
        {"datacontenttype": "text/plain"},
        {"tenant": {"name": "acme"}},
    ],
    ids=str,
)
def test_an_envelope_with_a_wrong_attribute_is_refused(change: dict[str, Any]):
    assert decode_envelope(json.dumps(REQUIRED).encode()).id == "1"

    with pytest.raises(CodecError):
        decode_envelope(json.dumps({**REQUIRED, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"\xff"', b"[" * 100_000])
def test_bytes_that_are_no_json_object_are_refused(data: bytes):
    with pytest.raises(CodecError, match="structured format of CloudEvents"):
        decode_envelope(data)


def test_binary_data_is_refused():
    attributes = {name: value for name, value in REQUIRED.items() if name != "data"}

    with pytest.raises(CodecError, match="attribute 'data' that is JSON"):
        decode_envelope(json.dumps({**attributes, "data_base64": "AAAA"}).encode())


@given(data=st.binary(max_size=80) | st.dictionaries(st.text(), st.none() | st.text()).map(json.dumps).map(str.encode))
def test_any_bytes_are_an_envelope_or_a_codec_error(data: bytes):
    try:
        assert decode_envelope(data).id
    except CodecError:
        pass


@pytest.mark.parametrize("name", ["Tenant", "tenant_id", "", "a" * 21, "id", "data", "antiphonhops", 3, "é"])
def test_an_extension_with_another_name_is_refused(name: Any):
    with pytest.raises(CodecError, match="the name of an extension"):
        check_extensions({name: "1"})


@pytest.mark.parametrize("value", [None, 1.5, b"1", [1], 2**31, -(2**31) - 1])
def test_an_extension_of_another_type_is_refused(value: Any):
    with pytest.raises(CodecError, match="an extension is a str, a bool or an int of 32 bits"):
        check_extensions({"tenant": value})


def test_a_text_that_is_not_unicode_is_refused_at_publish():
    with pytest.raises(CodecError, match="cannot be encoded"):
        encode_envelope(ORDER._replace(subject="\ud800"))
