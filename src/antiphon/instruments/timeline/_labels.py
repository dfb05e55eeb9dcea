"""Labels in charts. Each is a single line, and making one never raises."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from functools import partial
from typing import Any, Final

from antiphon._util.columns import truncate
from antiphon._util.naming import escape_unprintable, find_label, safe_repr, short_name, unwrap_proxy
from antiphon.instruments import DispatchRecord, ListenerRecord

__all__ = (
    "dispatch_label",
    "error_label",
    "listener_label",
    "name_label",
    "process_label",
    "qualified_label",
)

#: The maximum length of a label, in characters.
MAX_LABEL_LENGTH: Final = 200


def listener_label(listener: object) -> str:
    """Return the name of a listener, with the class of a method or the arguments of a partial."""
    try:
        return _to_single_line(_format_listener(listener))
    except Exception:  # accessing an attribute may raise
        return _to_single_line(object.__repr__(listener))


def qualified_label(record: ListenerRecord) -> str:
    """Return the name of a listener, including its module."""
    try:
        return _to_single_line(record.listener_name)
    except Exception:
        return listener_label(record.listener)


def _format_listener(listener: Any) -> str:
    listener = unwrap_proxy(listener)
    if isinstance(listener, partial) and find_label(listener) is None:
        arguments = list(map(_format_argument, listener.args))
        arguments += [f"{name}={_format_argument(value)}" for name, value in listener.keywords.items()]
        return f"{_format_listener(listener.func)}({', '.join(arguments)})"
    return short_name(listener)


def _format_argument(argument: object) -> str:
    return truncate(listener_label(argument) if callable(argument) else safe_repr(argument), 30)


def name_label(name: Hashable) -> str:
    """Return the label of a name or key."""
    if isinstance(name, Enum):
        return _to_single_line(f"{type(name).__qualname__}.{name.name}")
    if isinstance(name, type):
        return _to_single_line(name.__qualname__)
    return _to_single_line(name if isinstance(name, str) else safe_repr(name))


def dispatch_label(record: DispatchRecord) -> str:
    """Return the name of a dispatch, or the class of its event if it has no name."""
    return type(record.event).__qualname__ if record.name is None else name_label(record.name)


def process_label(dispatcher: object) -> str:
    """Return the label of a dispatcher."""
    return _to_single_line(safe_repr(dispatcher))


def error_label(error: BaseException) -> str:
    """Return the class and the first line of the message of an error."""
    try:
        message = str(error)
    except Exception:
        message = ""
    first = next(iter(message.splitlines()), "")
    return _to_single_line(f"{type(error).__qualname__}: {first}" if first else type(error).__qualname__)


def _to_single_line(text: str) -> str:
    # Convert an instance of a subclass of `str`, because its methods may raise.
    # Escape unprintable characters: they break lines, and XML and UTF-8 do not allow some of them.
    printable = escape_unprintable(str.__str__(text))
    return printable if len(printable) <= MAX_LABEL_LENGTH else f"{printable[: MAX_LABEL_LENGTH - 1]}…"
