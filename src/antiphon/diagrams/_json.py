"""The JSON format, for other programs. The docs specify its structure, which has a version number."""

from __future__ import annotations

from math import isinf
from typing import Any, Final

from antiphon._introspection.description import Definition, Description, KeyDescription, ListenerDescription
from antiphon.diagrams._text import check_description

__all__ = ("FORMAT_VERSION", "json")

#: The version of the structure. Increment it if a field is renamed or removed, but not if one is added.
FORMAT_VERSION: Final = 1


def json(description: Description) -> str:
    """Return a description as JSON, in the documented structure.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "json")
    # Import the function only: the module has the same name as this function.
    from json import dumps

    return dumps(
        {
            "format": FORMAT_VERSION,
            "dispatcher": {"name": description.dispatcher, "class": description.dispatcher_class},
            "keys": [_key_to_dict(key) for key in description.keys],
        },
        indent=2,
        # Raise for infinity and NaN: JSON has no numbers for them.
        allow_nan=False,
    )


def _key_to_dict(key: KeyDescription) -> dict[str, Any]:
    return {
        "key": key.label,
        "kind": key.kind,
        **_definition_to_dict(key.definition),
        "listeners": [_listener_to_dict(listener) for listener in key.listeners],
    }


def _listener_to_dict(listener: ListenerDescription) -> dict[str, Any]:
    timeout = listener.timeout
    return {
        "name": listener.name,
        "class": listener.definition.owner,
        **_definition_to_dict(listener.definition),
        "key": listener.key_label,
        "priority": listener.priority,
        "once": listener.once,
        "where": listener.where,
        "timeout": None if timeout is None or isinf(timeout) else timeout,
        "limit": listener.limit,
        "adapter": listener.adapter,
        "inherited": listener.inherited,
    }


def _definition_to_dict(definition: Definition) -> dict[str, Any]:
    return {
        "module": definition.module,
        "file": definition.file,
        "line": definition.line,
        "doc": definition.doc,
    }
