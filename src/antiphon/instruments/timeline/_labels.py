"""What things are called in a picture: in one line, and whatever their own ``__repr__`` does."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from functools import partial
from typing import Any, Final
from unicodedata import combining, east_asian_width

from antiphon._util.naming import short_name
from antiphon.instruments import DispatchRecord, ListenerRecord

__all__ = (
    "columns",
    "dispatch_label",
    "error_label",
    "listener_label",
    "name_label",
    "process_label",
    "qualified_label",
    "shortened",
)

#: No label is longer, in characters.
LONGEST: Final = 200


def listener_label(listener: object) -> str:
    """Give the name of a listener; a method comes with its class, a partial with its arguments."""
    try:
        return _one_line(_of_listener(listener))
    except Exception:  # an object that answers every question with an error
        return _one_line(object.__repr__(listener))


def qualified_label(record: ListenerRecord) -> str:
    """Give the name of a listener with that of its module."""
    try:
        return _one_line(record.listener_name)
    except Exception:
        return listener_label(record.listener)


def _of_listener(listener: Any) -> str:
    if isinstance(listener, partial):
        arguments = [*map(_of_argument, listener.args)]
        arguments += [f"{name}={_of_argument(value)}" for name, value in listener.keywords.items()]
        return f"{_of_listener(listener.func)}({', '.join(arguments)})"
    return short_name(listener)


def _of_argument(argument: object) -> str:
    return shortened(listener_label(argument) if callable(argument) else _repr(argument), 30)


def name_label(name: Hashable) -> str:
    """Give what an event is dispatched under."""
    if isinstance(name, Enum):
        return _one_line(f"{type(name).__qualname__}.{name.name}")
    if isinstance(name, type):
        return _one_line(name.__qualname__)
    return _one_line(name if isinstance(name, str) else _repr(name))


def dispatch_label(record: DispatchRecord) -> str:
    """Give the name of a dispatch; the class of its event, if it has none."""
    return type(record.event).__qualname__ if record.name is None else name_label(record.name)


def process_label(dispatcher: object) -> str:
    """Give the name of a dispatcher."""
    return _one_line(_repr(dispatcher))


def error_label(error: BaseException) -> str:
    """Give the class and the first line of an error."""
    try:
        message = str(error)
    except Exception:
        message = ""
    first = next(iter(message.splitlines()), "")
    return _one_line(f"{type(error).__qualname__}: {first}" if first else type(error).__qualname__)


def shortened(text: str, width: int) -> str:
    """Cut a text to a number of columns; the cut shows as an ellipsis."""
    if columns(text) <= width:
        return text
    kept, used = "", 1
    for character in text:
        used += _columns_of(character)
        if used > width:
            break
        kept += character
    return f"{kept}…" if width > 0 else ""


def columns(text: str) -> int:
    """Count the columns that a text takes where all characters are equally wide; East Asian ones take two."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _one_line(text: str) -> str:
    # Of a subclass of `str` the characters alone, because its methods may fail.
    text = str.__str__(text)
    # What cannot be printed would break a line of text, and is no part of an XML or a UTF-8 file.
    printable = text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return printable if len(printable) <= LONGEST else f"{printable[: LONGEST - 1]}…"


def _repr(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)
