"""The DOT format of Graphviz."""

from __future__ import annotations

from typing import Final

from antiphon._introspection.description import Description
from antiphon.diagrams._graph import COLORS, build_graph
from antiphon.diagrams._text import check_description, format_dispatcher

__all__ = ("dot",)

#: A gray with enough contrast on white and on black pages.
_LINE_COLOR: Final = "#70777f"

_FONT: Final = 'fontname="Helvetica,Arial,sans-serif"'

_SHAPES: Final = {"pattern": "hexagon", "class": "component"}


def dot(description: Description) -> str:
    """Return a description as a graph for Graphviz (``dot -Tsvg``).

    The labels of the edges number the listeners of a key in the order in which they run.
    A dashed edge leads to a listener whose own key is a pattern or a class that matches the event. Its label contains
    that key.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "dot")
    graph = build_graph(description)
    lines = [
        f"digraph {_quote(format_dispatcher(description))} {{",
        "  rankdir=LR",
        '  bgcolor="transparent"',
        f'  node [shape=box, style="rounded,filled", {_FONT}, fontsize=11, fontcolor="#1b1b1f"]',
        f'  edge [color="{_LINE_COLOR}", fontcolor="{_LINE_COLOR}", {_FONT}, fontsize=10]',
    ]
    for key in graph.keys:
        shape = f"shape={_SHAPES[key.kind]}, style=filled, " if key.kind in _SHAPES else ""
        lines.append(f"  {key.id} [label={_quote(key.label)}, {shape}{_format_colors(*COLORS[key.kind])}]")
    colors = _format_colors(*COLORS[None])
    lines += [f"  {listener.id} [label={_quote(*listener.lines)}, {colors}]" for listener in graph.listeners]
    for edge in graph.edges:
        label = f"{edge.number} through {edge.other_key}" if edge.other_key else f"{edge.number}"
        style = ", style=dashed" if edge.other_key else ""
        lines.append(f"  {edge.key} -> {edge.listener} [label={_quote(label)}{style}]")
    return "\n".join([*lines, "}"])


def _format_colors(fill: str, line: str) -> str:
    return f'fillcolor="{fill}", color="{line}"'


def _quote(*lines: str) -> str:
    # Escape the ampersand as well: Graphviz replaces HTML entities in all labels.
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"{}"'.format("\\n".join(escaped))
