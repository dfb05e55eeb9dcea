"""Tables and trees with colors, if `rich` is installed and the output is a terminal."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from antiphon.diagrams import Description
from antiphon.diagrams._table import make_layout
from antiphon.diagrams._text import NO_LISTENERS, format_dispatcher, format_key
from antiphon.diagrams._tree import format_listeners

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
    make = _make_tree if format_name == "tree" else _make_table
    console.print(make(description, text, console.width))
    return True


def _make_table(description: Description, text: Any, width: int) -> Any:
    box: Any = import_module("rich.box").SIMPLE_HEAD
    table = import_module("rich.table").Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    (titles, *rows), widths = make_layout(description, width)
    for title, column_width in zip(titles, widths, strict=True):
        justify = "right" if title == "priority" else "left"
        style = _STYLES.get(title, "")
        table.add_column(title, style=style, justify=justify, width=column_width, overflow="fold")
    for row in rows:
        table.add_row(*(_make_cell(cell, text) for cell in row))
    return table


def _make_cell(cell: str, text: Any) -> Any:
    first, *others = cell.split("\n")
    made = text(first)
    for line in others:
        made.append(f"\n{line}", style="not bold dim")
    return made


def _make_tree(description: Description, text: Any, _width: int) -> Any:
    tree = import_module("rich.tree").Tree(text(format_dispatcher(description), style="bold"))
    for key in description.keys:
        branch = tree.add(text(format_key(key), style="bold cyan"))
        if not key.listeners:
            branch.add(text(NO_LISTENERS, style="dim"))
        for lines in format_listeners(key):
            branch.add(_make_cell("\n".join(lines), text))
    return tree
