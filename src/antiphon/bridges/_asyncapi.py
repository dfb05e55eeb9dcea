"""The AsyncAPI document of a bridge: what it publishes and receives, for other programs and their authors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from antiphon.bridges._channel import Channel
from antiphon.bridges._codec.registry import EventRegistry, RegisteredType
from antiphon.bridges._configuration import Configuration

__all__ = ("make_asyncapi",)

_VERSION: Final = "3.0.0"

_CONTENT_TYPE: Final = "application/cloudevents+json"


def make_asyncapi(configuration: Configuration, events: EventRegistry, *, title: str, version: str) -> dict[str, Any]:
    """Return an AsyncAPI document.

    Args:
        configuration: What the bridge forwards and receives.
        events: The registry of its events.
        title: The title of the document.
        version: The version of the document.
    """
    types = {registered.cls: registered for registered in events.types}
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    messages = {
        _get_message_name(registered): _make_message(registered, schema)
        for registered, schema in zip(types.values(), schemas, strict=True)
    }
    channels: dict[str, Any] = {name: {"address": name, "messages": {}} for name in sorted(configuration.channels)}
    operations: dict[str, Any] = {}

    def add(name: str, action: str, channel: Channel, used: Iterable[RegisteredType]) -> None:
        made = operations.setdefault(
            name, {"action": action, "channel": {"$ref": f"#/channels/{channel.name}"}, "messages": []}
        )
        for registered in used:
            message = _get_message_name(registered)
            channels[channel.name]["messages"][message] = {"$ref": f"#/components/messages/{message}"}
            made["messages"].append({"$ref": f"#/channels/{channel.name}/messages/{message}"})

    for forward in configuration.forwards:
        forwarded = [registered for cls, registered in types.items() if issubclass(cls, forward.cls)]
        add(f"send.{forward.channel.name}", "send", forward.channel, forwarded)
    for receive in configuration.receives:
        received = [registered for cls, registered in types.items() if issubclass(cls, receive.only or object)]
        name = ".".join(filter(None, ("receive", receive.channel.name, receive.group)))
        add(name, "receive", receive.channel, received)
    return {
        "asyncapi": _VERSION,
        "info": {"title": title, "version": version},
        "defaultContentType": _CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": components},
    }


def _get_message_name(registered: RegisteredType) -> str:
    # AsyncAPI allows no slashes in the names of components.
    return f"{registered.name.replace('/', '_')}.v{registered.version}"


def _make_message(registered: RegisteredType, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": registered.name,
        "title": registered.cls.__name__,
        "payload": {
            "type": "object",
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string"},
                "source": {"type": "string", "format": "uri-reference"},
                "type": {"const": registered.name},
                # A message without this attribute has version 1.
                "dataversion": {"const": registered.version},
                "data": schema,
            },
            "required": ["specversion", "id", "source", "type", "data", *(["dataversion"] * (registered.version > 1))],
        },
    }
