"""The tree: keys, and below each key its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from antiphon._introspection.description import Description, KeyDescription
from antiphon._util.columns import wrap
from antiphon.diagrams._text import (
    NO_LISTENERS,
    check_description,
    check_width,
    format_dispatcher,
    format_key,
    format_listener,
)

__all__ = ("format_listeners", "tree")


#: The columns before a listener: two branches.
_LISTENER_INDENT: Final = 8

#: The minimum number of columns of a line that is wrapped.
_MIN_WRAPPED: Final = 20


def tree(description: Description, *, width: int | None = None) -> str:
    """Return a description as a tree. Below each key are its listeners, in the order in which they run.

    Args:
        description: The description of a dispatcher.
        width: The number of columns of the terminal: longer lines on listeners are wrapped. None for lines of any
            length.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "tree")
    check_width(width)
    title = format_dispatcher(description)
    if not description.keys:
        return f"{title}: {NO_LISTENERS}"
    return "\n".join([title, *_indent_branches([_render_key(key, width) for key in description.keys])])


def _render_key(key: KeyDescription, width: int | None) -> list[str]:
    if not key.listeners:
        return [f"{format_key(key)}: {NO_LISTENERS}"]
    return [
        format_key(key),
        *_indent_branches(format_listeners(key, None if width is None else width - _LISTENER_INDENT)),
    ]


def format_listeners(key: KeyDescription, width: int | None = None) -> list[list[str]]:
    """Return one or two lines on each listener of a key, or more if they are wrapped to a width.

    The first line contains its priority, name and options, the second its location and docstring, if they are known.
    """
    digits = max((len(str(listener.priority)) for listener in key.listeners), default=0)
    return [
        [f"{listener.priority:{digits}}  {first}", *(f"{' ' * digits}  {line}" for line in others)]
        for listener in key.listeners
        for first, *others in [_wrap_lines(format_listener(key, listener), width, digits + 2)]
    ]


def _wrap_lines(lines: list[str], width: int | None, indent: int) -> list[str]:
    if width is None:
        return lines
    return [part for line in lines for part in wrap(line, max(width - indent, _MIN_WRAPPED))]


def _indent_branches(branches: Sequence[list[str]]) -> Iterator[str]:
    for number, (first, *others) in enumerate(branches, 1):
        is_last = number == len(branches)
        yield ("└── " if is_last else "├── ") + first
        for line in others:
            yield ("    " if is_last else "│   ") + line
