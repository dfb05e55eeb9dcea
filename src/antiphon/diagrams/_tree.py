"""The tree: keys, and below each key its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon._introspection.description import Description, KeyDescription, ListenerDescription
from antiphon.diagrams._text import NO_LISTENERS, escape_unprintable, format_dispatcher, format_key, format_other_key

__all__ = ("format_listener", "tree")


def tree(description: Description) -> str:
    """Return a description as a tree. Below each key are its listeners, in the order in which they run."""
    title = format_dispatcher(description)
    if not description.keys:
        return f"{title}: {NO_LISTENERS}"
    return "\n".join([title, *_indent_branches([_render_key(key) for key in description.keys])])


def _render_key(key: KeyDescription) -> list[str]:
    if not key.listeners:
        return [f"{format_key(key)}: {NO_LISTENERS}"]
    return [format_key(key), *_indent_branches([format_listener(key, listener) for listener in key.listeners])]


def format_listener(key: KeyDescription, listener: ListenerDescription) -> list[str]:
    """Return one or two lines on a listener.

    The first line contains its priority, name and options, the second its location and docstring, if they are known.
    """
    width = max(len(str(other.priority)) for other in key.listeners)
    other_key = format_other_key(key, listener)
    notes = ", ".join([*([f"through {other_key}"] if other_key else []), *map(escape_unprintable, listener.options)])
    first = f"{listener.priority:{width}}  {escape_unprintable(listener.name)}" + (f"  [{notes}]" if notes else "")
    definition = listener.definition
    second = "  ".join(escape_unprintable(part) for part in (definition.place, definition.doc) if part)
    return [first, f"{' ' * width}  {second}"] if second else [first]


def _indent_branches(branches: Sequence[list[str]]) -> Iterator[str]:
    for number, (first, *others) in enumerate(branches, 1):
        is_last = number == len(branches)
        yield ("└── " if is_last else "├── ") + first
        for line in others:
            yield ("    " if is_last else "│   ") + line
