"""The tree: keys, and below each its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon._introspection.description import Description, KeyDescription, ListenerDescription
from antiphon.diagrams._text import NOBODY, heading, headline, printable, through

__all__ = ("lines_of", "tree")


def tree(description: Description) -> str:
    """Write a description as a tree: below each key its listeners, in the order in which they run."""
    if not description.keys:
        return f"{headline(description)}: {NOBODY}"
    return "\n".join([headline(description), *_indented([_branch(key) for key in description.keys])])


def _branch(key: KeyDescription) -> list[str]:
    if not key.listeners:
        return [f"{heading(key)}: {NOBODY}"]
    return [heading(key), *_indented([lines_of(key, listener) for listener in key.listeners])]


def lines_of(key: KeyDescription, listener: ListenerDescription) -> list[str]:
    """Give what there is to say of a listener: how it runs, where it is, and what it does, if these are known."""
    width = max(len(str(one.priority)) for one in key.listeners)
    other = through(key, listener)
    notes = [*([f"through {other}"] if other else []), *map(printable, listener.options)]
    first = f"{listener.priority:{width}}  {printable(listener.name)}" + (f"  [{', '.join(notes)}]" if notes else "")
    second = "  ".join(printable(part) for part in (listener.definition.place, listener.definition.doc) if part)
    return [first, f"{' ' * width}  {second}"] if second else [first]


def _indented(branches: Sequence[list[str]]) -> Iterator[str]:
    for number, (first, *others) in enumerate(branches, 1):
        is_last = number == len(branches)
        yield ("└── " if is_last else "├── ") + first
        for line in others:
            yield ("    " if is_last else "│   ") + line
