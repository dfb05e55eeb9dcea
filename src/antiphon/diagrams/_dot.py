"""Graphviz's language."""

from __future__ import annotations

from typing import Final

from antiphon._introspection.description import Description
from antiphon.diagrams._graph import COLOURS, graph_of
from antiphon.diagrams._text import headline

__all__ = ("dot",)

#: Grey enough for a white page and for a black one.
_LINES: Final = "#7f8690"

_FONT: Final = 'fontname="Helvetica,Arial,sans-serif"'

_SHAPES: Final = {"pattern": "hexagon", "class": "component"}


def dot(description: Description) -> str:
    """Write a description as a graph for Graphviz: ``dot -Tsvg``.

    Edges tell the order in which the listeners of a key run; a dashed one leads to a listener that matches the event
    through a pattern or a class, which stands on the edge.
    """
    graph = graph_of(description)
    lines = [
        f"digraph {_quoted(headline(description))} {{",
        "  rankdir=LR",
        '  bgcolor="transparent"',
        f'  node [shape=box, style="rounded,filled", {_FONT}, fontsize=11, fontcolor="#1b1b1f"]',
        f'  edge [color="{_LINES}", fontcolor="{_LINES}", {_FONT}, fontsize=10]',
    ]
    for key in graph.keys:
        shape = f"shape={_SHAPES[key.kind]}, style=filled, " if key.kind in _SHAPES else ""
        lines.append(f"  {key.id} [label={_quoted(key.label)}, {shape}{_colours(*COLOURS[key.kind])}]")
    colours = _colours(*COLOURS[None])
    lines += [f"  {listener.id} [label={_quoted(*listener.lines)}, {colours}]" for listener in graph.listeners]
    for edge in graph.edges:
        told = f"{edge.number} through {edge.through}" if edge.through else f"{edge.number}"
        dashed = ", style=dashed" if edge.through else ""
        lines.append(f"  {edge.key} -> {edge.listener} [label={_quoted(told)}{dashed}]")
    return "\n".join([*lines, "}"])


def _colours(fill: str, line: str) -> str:
    return f'fillcolor="{fill}", color="{line}"'


def _quoted(*lines: str) -> str:
    # Also what would be an entity of HTML is escaped, for Graphviz reads those in any label.
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"{}"'.format("\\n".join(escaped))
