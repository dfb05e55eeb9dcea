"""The graph that the drawn formats share: keys on one side, listeners on the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from antiphon._introspection.description import Description, KeyDescription, KeyKind, ListenerDescription
from antiphon.diagrams._text import heading, printable, through

__all__ = ("COLOURS", "Edge", "Graph", "KeyNode", "ListenerNode", "graph_of")

#: For each kind of key, and for listeners, what fills a node and what draws its line. The text on it is dark, so that
#: it can be read where the page is dark, too.
COLOURS: dict[KeyKind | None, tuple[str, str]] = {
    "name": ("#dbe9ff", "#3b74c9"),
    "other": ("#dbe9ff", "#3b74c9"),
    "class": ("#dcf3e2", "#2f8f4e"),
    "pattern": ("#fdebd3", "#c9812b"),
    None: ("#f3f3f5", "#84848c"),
}


class KeyNode(NamedTuple):
    """A key."""

    id: str
    kind: KeyKind
    label: str


class ListenerNode(NamedTuple):
    """A registration; it is drawn once, however many keys reach it."""

    id: str
    lines: tuple[str, ...]


class Edge(NamedTuple):
    """That a listener runs for a key."""

    key: str
    listener: str
    #: Its place in the order of the key's listeners.
    number: int
    #: What it listens to, if that is another key.
    through: str


class Graph(NamedTuple):
    """What is to be drawn."""

    keys: tuple[KeyNode, ...]
    listeners: tuple[ListenerNode, ...]
    edges: tuple[Edge, ...]


def graph_of(description: Description) -> Graph:
    """Make the graph of a description."""
    reached = {listener.order for key in description.keys for listener in key.listeners}
    drawn = [listener for listener in description.listeners if listener.order in reached]
    numbers = {listener.order: number for number, listener in enumerate(drawn, 1)}
    keys = {f"key{number}": key for number, key in enumerate(description.keys, 1)}
    return Graph(
        tuple(KeyNode(id_, key.kind, heading(key)) for id_, key in keys.items()),
        tuple(_node(listener, numbers) for listener in drawn),
        tuple(edge for id_, key in keys.items() for edge in _edges(id_, key, numbers)),
    )


def _node(listener: ListenerDescription, numbers: dict[int, int]) -> ListenerNode:
    words = (f"priority {listener.priority}", *listener.options)
    lines = (listener.name, ", ".join(words), listener.definition.place)
    return ListenerNode(f"listener{numbers[listener.order]}", tuple(printable(line) for line in lines if line))


def _edges(id_: str, key: KeyDescription, numbers: dict[int, int]) -> Iterator[Edge]:
    for number, listener in enumerate(key.listeners, 1):
        yield Edge(id_, f"listener{numbers[listener.order]}", number, through(key, listener))
