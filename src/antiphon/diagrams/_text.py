"""Helpers that several formats share: checks of arguments, labels of dispatchers and keys, and escaping."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._introspection.description import Description, KeyDescription, ListenerDescription, get_key_label
from antiphon._util.naming import describe_value, escape_unprintable

__all__ = (
    "NO_LISTENERS",
    "check_description",
    "check_level",
    "check_modules",
    "check_width",
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


def check_width(width: object) -> None:
    """Check a number of columns, which may be None.

    Raises:
        TypeError: If it is neither an int nor None.
    """
    if width is not None and (not isinstance(width, int) or isinstance(width, bool)):
        raise TypeError(f"width= must be a number of columns, an int, or None; got {describe_value(width)}")


def check_level(level: object, *, below: int) -> None:
    """Check the level of the first heading.

    Args:
        level: The level.
        below: The number of levels of headings below it.

    Raises:
        TypeError: If the level is not an int.
        ValueError: If the level or one below it is not a level of Markdown.
    """
    most = 6 - below
    expected = f"level= must be an int from 1 to {most}, because Markdown has six levels of headings"
    if not isinstance(level, int) or isinstance(level, bool):
        raise TypeError(f"{expected}; got {describe_value(level)}")
    if not 1 <= level <= most:
        raise ValueError(f"{expected}; got {level}")


def check_modules(modules: Any, name: str) -> tuple[ModuleType, ...]:
    """Return modules as a tuple.

    Raises:
        TypeError: If the argument is not an iterable of modules, such as a single module or the name of one.
    """
    checked: tuple[Any, ...] | None = tuple(modules) if hasattr(modules, "__iter__") else None
    if checked is None or not all(isinstance(module, ModuleType) for module in checked):
        raise TypeError(
            f"{name}= must be a list of imported modules, such as {name}=[shop.events]; got {describe_value(modules)}"
        )
    return checked


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
