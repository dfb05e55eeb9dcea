"""The table: one row for each listener of each key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from antiphon._introspection.description import Description, KeyDescription
from antiphon.diagrams._text import NO_LISTENERS, escape_unprintable, format_key, format_other_key

__all__ = ("make_cells", "table")

_COLUMNS: Final = ("event", "priority", "listener", "through", "options", "defined in", "what it does")


def table(description: Description) -> str:
    """Return a description as a table in plain text, with one row for each listener of each key."""
    if not description.keys:
        return NO_LISTENERS
    titles, *rows = make_cells(description)
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    rules = tuple("─" * width for width in widths)
    return "\n".join(_align_row(cells, titles, widths) for cells in (titles, rules, *rows))


def make_cells(description: Description) -> list[tuple[str, ...]]:
    """Return the titles of the columns, then the cells of each row. Empty columns are omitted."""
    rows = list(chain.from_iterable(map(_make_rows, description.keys)))
    used_columns = [number for number in range(len(_COLUMNS)) if any(row[number] for row in rows)]
    return [tuple(row[number] for number in used_columns) for row in (_COLUMNS, *rows)]


def _make_rows(key: KeyDescription) -> Iterator[tuple[str, ...]]:
    label = format_key(key)
    if not key.listeners:
        yield label, "", NO_LISTENERS, "", "", "", ""
    for listener in key.listeners:
        cells = (
            str(listener.priority),
            listener.name,
            format_other_key(key, listener),
            ", ".join(listener.options),
            listener.definition.place,
            listener.definition.doc,
        )
        yield label, *map(escape_unprintable, cells)
        label = ""


def _align_row(cells: tuple[str, ...], titles: tuple[str, ...], widths: list[int]) -> str:
    columns = zip(titles, cells, widths, strict=True)
    aligned = (cell.rjust(width) if title == "priority" else cell.ljust(width) for title, cell, width in columns)
    return "  ".join(aligned).rstrip()
