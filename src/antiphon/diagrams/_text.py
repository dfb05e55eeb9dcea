"""Text helpers that several formats share: labels of dispatchers and keys, and escaping."""

from __future__ import annotations

from typing import Final

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._introspection.description import Description, KeyDescription, ListenerDescription, get_key_label
from antiphon._util.naming import describe_value, escape_unprintable

__all__ = (
    "NO_LISTENERS",
    "check_description",
    "escape_unprintable",
    "format_dispatcher",
    "format_key",
    "format_listener",
    "format_other_key",
    "quote_if_needed",
)

NO_LISTENERS: Final = "no listeners"


def check_description(description: object, function: str) -> None:
    """Check that an object is a description.

    Raises:
        TypeError: If it is not, such as a dispatcher.
    """
    if not isinstance(description, Description):
        raise TypeError(
            f"{function}() takes a description; got {describe_value(description)}: write "
            f"{function}(dispatcher.describe())"
        )


def quote_if_needed(text: str) -> str:
    """Escape unprintable characters. Put an empty text, or one with outer whitespace, in quotes."""
    escaped = escape_unprintable(text)
    return escaped if text and text == text.strip() else f'"{escaped}"'


def format_dispatcher(description: Description) -> str:
    """Return the name of the dispatcher, followed by its class if the class has another name."""
    name, cls = quote_if_needed(description.dispatcher), escape_unprintable(description.dispatcher_class)
    return name if name == cls else f"{name} ({cls})"


def format_key(key: KeyDescription) -> str:
    """Return the label of a key. A class is marked as such, and its ``name`` is added if it has one."""
    if not isinstance(key.key, type):
        return quote_if_needed(key.label)
    label = f"class {escape_unprintable(key.label)}"
    name = find_class_name_attribute(key.key)
    return label if name is None else f"{label}, as {quote_if_needed(get_key_label(name))}"


def format_other_key(key: KeyDescription, listener: ListenerDescription) -> str:
    """Return the label of the key of a listener if it is not the given key, else an empty string."""
    return "" if listener.key == key.key else quote_if_needed(listener.key_label)


def format_listener(key: KeyDescription, listener: ListenerDescription) -> list[str]:
    """Return one or two lines on a listener: its name and options, then its location and docstring if it has them."""
    other_key = format_other_key(key, listener)
    notes = ", ".join([*([f"through {other_key}"] if other_key else []), *map(escape_unprintable, listener.options)])
    first = escape_unprintable(listener.name) + (f"  [{notes}]" if notes else "")
    second = "  ".join(
        escape_unprintable(part) for part in (listener.definition.place, listener.definition.doc) if part
    )
    return [first, second] if second else [first]
