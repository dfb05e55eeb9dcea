"""Tables and trees with colors, if `rich` is installed and the output is a terminal."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from antiphon.diagrams import Description
from antiphon.diagrams._table import make_cells
from antiphon.diagrams._text import NO_LISTENERS, format_dispatcher, format_key
from antiphon.diagrams._tree import format_listener

__all__ = ("print_with_rich",)

_STYLES: Final = {
    "event": "bold cyan",
    "priority": "yellow",
    "listener": "bold",
    "through": "dim",
    "options": "magenta",
    "defined in": "dim",
}


def print_with_rich(description: Description, format_name: str) -> bool:
    """Print a table or a tree with `rich`, if it is installed and the output is a terminal.

    Returns:
        Whether the description was printed.
    """
    if format_name not in ("table", "tree") or not description.keys or find_spec("rich") is None:
        return False
    console: Any = import_module("rich.console").Console()
    if not console.is_terminal:
        return False
    # Wrap all strings in `Text`: rich parses brackets in plain strings as markup.
    text: Any = import_module("rich.text").Text
    console.print(_make_table(description, text) if format_name == "table" else _make_tree(description, text))
    return True


def _make_table(description: Description, text: Any) -> Any:
    table = import_module("rich.table").Table(box=import_module("rich.box").SIMPLE_HEAD, pad_edge=False)
    titles, *rows = make_cells(description)
    for title in titles:
        table.add_column(
            title,
            style=_STYLES.get(title, ""),
            justify="right" if title == "priority" else "left",
            # Wrap the other columns first. Names break only if the table is still too wide.
            no_wrap=title in ("event", "priority", "listener"),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(text, row))
    return table


def _make_tree(description: Description, text: Any) -> Any:
    tree = import_module("rich.tree").Tree(text(format_dispatcher(description), style="bold"))
    for key in description.keys:
        branch = tree.add(text(format_key(key), style="bold cyan"))
        if not key.listeners:
            branch.add(text(NO_LISTENERS, style="dim"))
        for listener in key.listeners:
            first, *others = format_listener(key, listener)
            leaf = text(first)
            for line in others:
                leaf.append(f"\n{line}", style="dim")
            branch.add(leaf)
    return tree
