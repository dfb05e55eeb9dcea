"""The tree: keys, and below each key its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon._introspection.description import Description, KeyDescription
from antiphon.diagrams._text import NO_LISTENERS, format_dispatcher, format_key, format_listener

__all__ = ("format_listeners", "tree")


def tree(description: Description) -> str:
    """Return a description as a tree. Below each key are its listeners, in the order in which they run."""
    title = format_dispatcher(description)
    if not description.keys:
        return f"{title}: {NO_LISTENERS}"
    return "\n".join([title, *_indent_branches([_render_key(key) for key in description.keys])])


def _render_key(key: KeyDescription) -> list[str]:
    if not key.listeners:
        return [f"{format_key(key)}: {NO_LISTENERS}"]
    return [format_key(key), *_indent_branches(format_listeners(key))]


def format_listeners(key: KeyDescription) -> list[list[str]]:
    """Return one or two lines on each listener of a key.

    The first line contains its priority, name and options, the second its location and docstring, if they are known.
    """
    width = max((len(str(listener.priority)) for listener in key.listeners), default=0)
    return [
        [f"{listener.priority:{width}}  {first}", *(f"{' ' * width}  {line}" for line in others)]
        for listener in key.listeners
        for first, *others in [format_listener(key, listener)]
    ]


def _indent_branches(branches: Sequence[list[str]]) -> Iterator[str]:
    for number, (first, *others) in enumerate(branches, 1):
        is_last = number == len(branches)
        yield ("└── " if is_last else "├── ") + first
        for line in others:
            yield ("    " if is_last else "│   ") + line
