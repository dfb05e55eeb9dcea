"""The flowchart format of Mermaid."""

from __future__ import annotations

from typing import Final

from antiphon._introspection.description import Description, KeyKind
from antiphon.diagrams._graph import COLORS, build_graph
from antiphon.diagrams._text import check_description

__all__ = ("mermaid",)

#: The brackets around the label of a key, which determine the shape of its node.
_SHAPES: Final = {"name": ("[", "]"), "other": ("[", "]"), "class": ("[[", "]]"), "pattern": ("{{", "}}")}

#: The characters, besides letters and digits, that have no meaning in Mermaid or in the Markdown of its labels.
_SAFE_CHARACTERS: Final = frozenset(" .,:/()'*+-_=?!@…")


def mermaid(description: Description) -> str:
    """Return a description as a flowchart for Mermaid.

    The labels of the edges number the listeners of a key in the order in which they run.
    A dashed edge leads to a listener whose own key is a pattern or a class that matches the event. Its label contains
    that key.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "mermaid")
    graph = build_graph(description)
    lines = ["flowchart LR"]
    for key in graph.keys:
        opening, closing = _SHAPES[key.kind]
        lines.append(f"  {key.id}{opening}{_quote(key.label)}{closing}:::{_get_style_class(key.kind)}")
    lines += [f"  {listener.id}({_quote(*listener.lines)})" for listener in graph.listeners]
    for edge in graph.edges:
        arrow = "-.->" if edge.other_key else "-->"
        label = f"{edge.number} through {edge.other_key}" if edge.other_key else f"{edge.number}"
        lines.append(f"  {edge.key} {arrow}|{_quote(label)}| {edge.listener}")
    for kind, (fill, line) in COLORS.items():
        lines.append(f"  classDef {_get_style_class(kind)} fill:{fill},stroke:{line},color:#1b1b1f")
    return "\n".join(lines)


def _get_style_class(kind: KeyKind | None) -> str:
    # Add a suffix: "class" alone is a statement of Mermaid. "default" is the class of all nodes that name no other.
    return f"{kind}Key" if kind else "default"


def _quote(*lines: str) -> str:
    return '"{}"'.format("<br/>".join("".join(map(_escape_character, line)) for line in lines))


def _escape_character(character: str) -> str:
    return character if character.isalnum() or character in _SAFE_CHARACTERS else f"#{ord(character)};"
