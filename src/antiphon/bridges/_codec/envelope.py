"""The envelope of a published event: CloudEvents 1.0, in the structured JSON format.

The attributes of CloudEvents are written out one by one. A msgspec struct with ``omit_defaults`` would omit
``specversion``, because its value is always the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from antiphon.bridges._checks import show
from antiphon.bridges._errors import CodecError

__all__ = ("Envelope", "check_extensions", "decode_envelope", "encode_envelope")

T = TypeVar("T")

#: The attributes of CloudEvents, its extensions for partitioning and tracing, and those of antiphon.
_OWN_ATTRIBUTES: Final = frozenset((
    "antiphoncause", "antiphonhops", "antiphonorigin", "data", "data_base64", "datacontenttype", "dataschema",
    "dataversion", "id", "partitionkey", "source", "specversion", "subject", "time", "traceparent", "tracestate",
    "type",
))  # fmt: skip

#: The names of extension attributes that CloudEvents allows, and the longest one that it recommends.
_EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,20}")
_MAX_INTEGER: Final = 2**31
_JSON_TYPE: Final = re.compile(r"application/([\w.-]+\+)?json\s*(;.*)?", re.IGNORECASE)


class Envelope(NamedTuple):
    """What crosses between processes beside the data of an event."""

    id: str
    source: str
    type: str
    #: The data as JSON.
    data: msgspec.Raw
    version: int = 1
    #: When it was published, in UTC.
    time: datetime | None = None
    #: The name of the dispatch.
    subject: str | None = None
    #: The key that selects the partition.
    key: str | None = None
    #: How many bridges the chain of events has passed before this one.
    hops: int = 0
    #: The id of the received event during whose delivery this one was published.
    cause: str | None = None
    #: The bridge that published it.
    origin: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    extensions: Mapping[str, str | int | bool] = {}


def check_extensions(extensions: Mapping[Any, object]) -> None:
    """Check the extension attributes of an event.

    Raises:
        CodecError: If they are not a mapping, if CloudEvents or antiphon does not allow a name, or if a value is not a
            string, a bool or an int of 32 bits.
    """
    if not isinstance(extensions, Mapping):
        raise CodecError(f"extensions= is a mapping of names to values; got {show(extensions)}")
    for name, value in extensions.items():
        if not isinstance(name, str) or not _EXTENSION_NAME.fullmatch(name) or name in _OWN_ATTRIBUTES:
            raise CodecError(
                f"the name of an extension is 1 to 20 lower-case letters and digits, and not an attribute of "
                f"CloudEvents or antiphon; got {show(name)}"
            )
        if not isinstance(value, str | int) or (
            not isinstance(value, str) and not -_MAX_INTEGER <= value < _MAX_INTEGER
        ):
            raise CodecError(f"an extension is a str, a bool or an int of 32 bits; {name!r} is {show(value)}")


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the bytes of an envelope."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "dataversion": envelope.version,
        "time": envelope.time,
        "datacontenttype": "application/json",
        "subject": envelope.subject,
        "partitionkey": envelope.key,
        "antiphonhops": envelope.hops,
        "antiphoncause": envelope.cause,
        "antiphonorigin": envelope.origin,
        "traceparent": envelope.traceparent,
        "tracestate": envelope.tracestate,
    }
    present = {name: value for name, value in attributes.items() if value is not None}
    try:
        return msgspec.json.encode({**present, **envelope.extensions, "data": envelope.data})
    except (TypeError, ValueError) as exc:
        raise CodecError(f"the attributes of the event {envelope.id!r} cannot be encoded: {exc}") from exc


_ATTRIBUTES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_envelope(data: bytes) -> Envelope:
    """Return the envelope in bytes that were received.

    Raises:
        CodecError: If they are not a CloudEvents 1.0 envelope whose data is JSON.
    """
    try:
        attributes = _ATTRIBUTES.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise CodecError(f"expected a JSON object, the structured format of CloudEvents; {exc}") from exc
    version = _get(attributes, "specversion", str)
    if version != "1.0":
        raise CodecError(f"expected CloudEvents 1.0; got specversion {version!r}")
    content_type = _find(attributes, "datacontenttype", str) or "application/json"
    raw = attributes.get("data")
    if raw is None or not _JSON_TYPE.fullmatch(content_type):
        raise CodecError(
            f"expected an attribute 'data' that is JSON; got datacontenttype {content_type!r} and the attributes "
            f"{sorted(attributes)}"
        )
    return Envelope(
        id=_get(attributes, "id", str),
        source=_get(attributes, "source", str),
        type=_get(attributes, "type", str),
        data=raw,
        version=_find(attributes, "dataversion", int) or 1,
        time=_as_utc(_find(attributes, "time", datetime)),
        subject=_find(attributes, "subject", str),
        key=_find(attributes, "partitionkey", str),
        hops=_find(attributes, "antiphonhops", int) or 0,
        cause=_find(attributes, "antiphoncause", str),
        origin=_find(attributes, "antiphonorigin", str),
        traceparent=_find(attributes, "traceparent", str),
        tracestate=_find(attributes, "tracestate", str),
        extensions={
            name: value
            for name in attributes.keys() - _OWN_ATTRIBUTES
            if (value := _find(attributes, name, _Extension)) is not None
        },
    )


_Extension: Any = str | int | bool
_DECODERS: Final[dict[Any, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (str, int, datetime, _Extension)
}


def _get(attributes: Mapping[str, msgspec.Raw], name: str, kind: type[T]) -> T:
    value = _find(attributes, name, kind)
    if not value:
        raise CodecError(f"expected the attribute {name!r} of CloudEvents; it is missing or empty")
    return value


def _find(attributes: Mapping[str, msgspec.Raw], name: str, kind: type[T]) -> T | None:
    raw = attributes.get(name)
    if raw is None or raw == b"null":
        return None
    try:
        value: T = _DECODERS[kind].decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CodecError(f"the attribute {name!r} of the event is not valid; {exc}") from exc
    return value


def _as_utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
