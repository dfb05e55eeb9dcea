"""Words that the formats share."""

from __future__ import annotations

from typing import Final

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._introspection.description import Description, KeyDescription, ListenerDescription, get_key_label

__all__ = ("NOBODY", "heading", "headline", "printable", "through", "told")

NOBODY: Final = "nobody listens"


def printable(text: str) -> str:
    """Give a text in one line in which every character can be seen: others are written as in Python."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def told(text: str) -> str:
    """Give a text as `printable` does; an empty one, and one that begins or ends with a blank, in quotes."""
    return printable(text) if text and text == text.strip() else f'"{printable(text)}"'


def headline(description: Description) -> str:
    """Name the dispatcher and, if it is called otherwise, its class."""
    name, cls = told(description.dispatcher), printable(description.dispatcher_class)
    return name if name == cls else f"{name} ({cls})"


def heading(key: KeyDescription) -> str:
    """Name a key; a class says that it is one, and the name that it gives to its events."""
    if not isinstance(key.key, type):
        return told(key.label)
    name = find_class_name_attribute(key.key)
    return f"class {printable(key.label)}" + ("" if name is None else f", as {told(get_key_label(name))}")


def through(key: KeyDescription, listener: ListenerDescription) -> str:
    """Name what a listener listens to, if that is another key."""
    return "" if listener.key == key.key else told(listener.key_label)
