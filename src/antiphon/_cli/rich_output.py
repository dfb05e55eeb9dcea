"""Colours and fitted columns, where `rich` is installed and somebody looks at a terminal."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from antiphon.diagrams import Description
from antiphon.diagrams._table import cells_of
from antiphon.diagrams._text import NOBODY, heading, headline
from antiphon.diagrams._tree import lines_of

__all__ = ("print_richly",)

_STYLES: Final = {
    "event": "bold cyan",
    "priority": "yellow",
    "listener": "bold",
    "through": "dim",
    "options": "magenta",
    "defined in": "dim",
}


def print_richly(description: Description, form: str) -> bool:
    """Print a table or a tree, if it can be done better than as plain text.

    Returns:
        Whether it has been printed.
    """
    if form not in ("table", "tree") or not description.keys or find_spec("rich") is None:
        return False
    console: Any = import_module("rich.console").Console()
    if not console.is_terminal:
        return False
    # Text, and not strings, in which brackets would be markup.
    text: Any = import_module("rich.text").Text
    console.print(_table(description, text) if form == "table" else _tree(description, text))
    return True


def _table(description: Description, text: Any) -> Any:
    table = import_module("rich.table").Table(box=import_module("rich.box").SIMPLE_HEAD, pad_edge=False)
    titles, *rows = cells_of(description)
    for title in titles:
        table.add_column(
            title,
            style=_STYLES.get(title, ""),
            justify="right" if title == "priority" else "left",
            # What is too wide is broken into lines, but names last.
            no_wrap=title in ("event", "priority", "listener"),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(text, row))
    return table


def _tree(description: Description, text: Any) -> Any:
    tree = import_module("rich.tree").Tree(text(headline(description), style="bold"))
    for key in description.keys:
        branch = tree.add(text(heading(key), style="bold cyan"))
        if not key.listeners:
            branch.add(text(NOBODY, style="dim"))
        for listener in key.listeners:
            first, *others = lines_of(key, listener)
            shown = text(first)
            for line in others:
                shown.append(f"\n{line}", style="dim")
            branch.add(shown)
    return tree
