"""The graph that the Graphviz and Mermaid formats share. Its edges lead from keys to listeners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from antiphon._introspection.description import Description, KeyDescription, KeyKind, ListenerDescription
from antiphon.diagrams._text import escape_unprintable, format_key, format_other_key

__all__ = ("COLORS", "Edge", "Graph", "KeyNode", "ListenerNode", "build_graph")

#: The fill color and the line color of the nodes for each kind of key; None stands for listeners. The fill colors are
#: light in dark pages as well, because the text on them is always dark.
COLORS: dict[KeyKind | None, tuple[str, str]] = {
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
    """A subscription. It has one node, even if several keys reach it."""

    id: str
    lines: tuple[str, ...]


class Edge(NamedTuple):
    """A connection from a key to a listener that runs for it."""

    #: The id of the key node.
    key: str
    #: The id of the listener node.
    listener: str
    #: The position of the listener in the order of the key, from 1.
    number: int
    #: The label of the key of the listener if it is another key, such as a pattern; else empty.
    other_key: str


class Graph(NamedTuple):
    """The nodes and edges of a description."""

    keys: tuple[KeyNode, ...]
    listeners: tuple[ListenerNode, ...]
    edges: tuple[Edge, ...]


def build_graph(description: Description) -> Graph:
    """Build the graph of a description."""
    reached_orders = {listener.order for key in description.keys for listener in key.listeners}
    reached = [listener for listener in description.listeners if listener.order in reached_orders]
    node_ids = {listener.order: f"listener{number}" for number, listener in enumerate(reached, 1)}
    keys = {f"key{number}": key for number, key in enumerate(description.keys, 1)}
    return Graph(
        tuple(KeyNode(key_id, key.kind, format_key(key)) for key_id, key in keys.items()),
        tuple(_make_listener_node(node_ids[listener.order], listener) for listener in reached),
        tuple(edge for key_id, key in keys.items() for edge in _make_edges(key_id, key, node_ids)),
    )


def _make_listener_node(node_id: str, listener: ListenerDescription) -> ListenerNode:
    options = ", ".join((f"priority {listener.priority}", *listener.options))
    lines = (listener.name, options, listener.definition.place)
    return ListenerNode(node_id, tuple(escape_unprintable(line) for line in lines if line))


def _make_edges(key_id: str, key: KeyDescription, node_ids: dict[int, str]) -> Iterator[Edge]:
    for number, listener in enumerate(key.listeners, 1):
        yield Edge(key_id, node_ids[listener.order], number, format_other_key(key, listener))
