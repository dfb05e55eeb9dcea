"""JSON: for programs. Its shape is in the docs, and has a number."""

from __future__ import annotations

from math import isinf
from typing import Any, Final

from antiphon._introspection.description import Definition, Description, KeyDescription, ListenerDescription

__all__ = ("FORMAT", "json")

#: The number of the shape; it grows when something is renamed or taken away, not when something comes to it.
FORMAT: Final = 1


def json(description: Description) -> str:
    """Write a description as JSON, in a documented shape."""
    # A module of this name is imported here, since the function has the name, too.
    from json import dumps

    return dumps(
        {
            "format": FORMAT,
            "dispatcher": {"name": description.dispatcher, "class": description.dispatcher_class},
            "keys": [_key(key) for key in description.keys],
        },
        indent=2,
        # inf and nan, which JSON does not know, are refused rather than written.
        allow_nan=False,
    )


def _key(key: KeyDescription) -> dict[str, Any]:
    return {
        "key": key.label,
        "kind": key.kind,
        **_definition(key.definition),
        "listeners": [_listener(listener) for listener in key.listeners],
    }


def _listener(listener: ListenerDescription) -> dict[str, Any]:
    timeout = listener.timeout
    return {
        "name": listener.name,
        "class": listener.definition.owner,
        **_definition(listener.definition),
        "key": listener.key_label,
        "priority": listener.priority,
        "once": listener.once,
        "where": listener.where,
        "timeout": None if timeout is None or isinf(timeout) else timeout,
        "limit": listener.limit,
        "adapter": listener.adapter,
        "inherited": listener.inherited,
    }


def _definition(definition: Definition) -> dict[str, Any]:
    return {
        "module": definition.module,
        "file": definition.file,
        "line": definition.line,
        "doc": definition.doc,
    }
