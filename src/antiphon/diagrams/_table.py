"""The table: one line for each listener."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from antiphon._introspection.description import Description, KeyDescription
from antiphon.diagrams._text import NOBODY, heading, printable, through

__all__ = ("cells_of", "table")

_COLUMNS: Final = ("event", "priority", "listener", "through", "options", "defined in", "what it does")


def table(description: Description) -> str:
    """Write a description as a table of plain text, one line for each listener of each key."""
    if not description.keys:
        return NOBODY
    titles, *rows = cells_of(description)
    lines = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rules = tuple("─" * width for width in widths)
    return "\n".join(_aligned(line, titles, widths) for line in (titles, rules, *rows))


def cells_of(description: Description) -> list[tuple[str, ...]]:
    """Give the titles of the columns, and the cells of each line below them, without columns that would be empty."""
    rows = list(chain.from_iterable(map(_rows_of, description.keys)))
    kept = [number for number in range(len(_COLUMNS)) if any(row[number] for row in rows)]
    return [tuple(row[number] for number in kept) for row in (_COLUMNS, *rows)]


def _rows_of(key: KeyDescription) -> Iterator[tuple[str, ...]]:
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


def _aligned(cells: tuple[str, ...], titles: tuple[str, ...], widths: list[int]) -> str:
    columns = zip(titles, cells, widths, strict=True)
    aligned = (cell.rjust(width) if title == "priority" else cell.ljust(width) for title, cell, width in columns)
    return "  ".join(aligned).rstrip()
