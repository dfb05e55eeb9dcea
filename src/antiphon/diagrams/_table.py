"""The table: one line for each listener."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from antiphon._description import Description, KeyDescription
from antiphon.diagrams._words import NOBODY, heading, printable, through

__all__ = ("COLUMNS", "rows_of", "table")

COLUMNS: Final = ("event", "priority", "listener", "through", "options", "defined in", "what it does")


def table(description: Description) -> str:
    """Write a description as a table of plain text, one line for each listener of each key."""
    if not description.keys:
        return NOBODY
    lines = [COLUMNS, *chain.from_iterable(rows_of(key) for key in description.keys)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("─" * width for width in widths))
    return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in lines)


def rows_of(key: KeyDescription) -> Iterator[tuple[str, ...]]:
    """Give the lines of one key, each a cell for each column; the key itself stands in the first."""
    shown = heading(key)
    if not key.listeners:
        yield shown, "", NOBODY, "", "", "", ""
    for listener in key.listeners:
        cells = (
            str(listener.priority),
            listener.name,
            through(key, listener),
            ", ".join(listener.options),
            listener.definition.place,
            listener.definition.doc,
        )
        yield shown, *map(printable, cells)
        shown = ""


def _aligned(cells: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for column, cell, width in zip(COLUMNS, cells, widths, strict=True):
        yield cell.rjust(width) if column == "priority" else cell.ljust(width)
