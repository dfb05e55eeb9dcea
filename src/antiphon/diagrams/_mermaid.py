"""Mermaid's language."""

from __future__ import annotations

from typing import Final

from antiphon._introspection.description import Description, KeyKind
from antiphon.diagrams._graph import COLOURS, graph_of

__all__ = ("mermaid",)

#: How the node of a key is drawn, by its kind.
_SHAPES: Final = {"name": ("[", "]"), "other": ("[", "]"), "class": ("[[", "]]"), "pattern": ("{{", "}}")}

#: Beside letters and digits, what means nothing to Mermaid, nor to the Markdown in its labels.
_PLAIN: Final = frozenset(" .,:/()'*+-_=?!@…")


def mermaid(description: Description) -> str:
    """Write a description as a flowchart for Mermaid.

    Edges tell the order in which the listeners of a key run; a dashed one leads to a listener that matches the event
    through a pattern or a class, which stands on the edge.
    """
    graph = graph_of(description)
    lines = ["flowchart LR"]
    for key in graph.keys:
        before, after = _SHAPES[key.kind]
        lines.append(f"  {key.id}{before}{_quoted(key.label)}{after}:::{_style(key.kind)}")
    lines += [f"  {listener.id}({_quoted(*listener.lines)}):::{_style(None)}" for listener in graph.listeners]
    for edge in graph.edges:
        arrow, told = ("-.->", f"{edge.number} through {edge.through}") if edge.through else ("-->", f"{edge.number}")
        lines.append(f"  {edge.key} {arrow}|{_quoted(told)}| {edge.listener}")
    for kind, (fill, line) in COLOURS.items():
        lines.append(f"  classDef {_style(kind)} fill:{fill},stroke:{line},color:#1b1b1f")
    return "\n".join(lines)


def _style(kind: KeyKind | None) -> str:
    # Not "class" alone, which Mermaid takes for a statement.
    return f"{kind}Key" if kind else "listener"


def _quoted(*lines: str) -> str:
    return '"{}"'.format("<br/>".join("".join(map(_escaped, line)) for line in lines))


def _escaped(character: str) -> str:
    return character if character.isalnum() or character in _PLAIN else f"#{ord(character)};"
