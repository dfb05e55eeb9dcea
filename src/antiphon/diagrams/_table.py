"""The table: one row for each listener of each key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Final, NamedTuple, TypeAlias

from antiphon._introspection.description import Description, KeyDescription
from antiphon._util.columns import display_width, pad, wrap
from antiphon.diagrams._text import (
    NO_LISTENERS,
    check_description,
    check_width,
    escape_unprintable,
    format_key,
    format_listener,
    format_other_key,
)

__all__ = ("Layout", "make_layout", "table")

Row: TypeAlias = tuple[str, ...]

_COLUMNS: Final = ("event", "priority", "listener", "through", "options", "defined in", "what it does")

_NARROW_COLUMNS: Final = _COLUMNS[:3]

#: The text between two columns.
_GAP: Final = "  "

#: The minimum width of a column that is wrapped.
_MIN_COLUMN_WIDTH: Final = 16


class Layout(NamedTuple):
    """The cells of a table, and the widths of its columns."""

    #: The titles, then the cells of each row. A cell may contain line breaks.
    rows: list[Row]
    widths: list[int]


def table(description: Description, *, width: int | None = None) -> str:
    """Return a description as a table in plain text, with one row for each listener of each key.

    Args:
        description: The description of a dispatcher.
        width: The number of columns of the terminal. If the table is wider, options, location and docstring are below
            the name of the listener, and long texts are wrapped. None for a table of any width.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "table")
    check_width(width)
    if not description.keys:
        return NO_LISTENERS
    (titles, *rows), widths = make_layout(description, width)
    lines = [titles, tuple("─" * width for width in widths)]
    lines += chain.from_iterable(_wrap_row(row, widths) for row in rows)
    return "\n".join(_align_line(cells, titles, widths) for cells in lines)


def make_layout(description: Description, width: int | None) -> Layout:
    """Return the cells and the widths of the columns of a table. The arguments are those of `table`."""
    rows = _make_cells(description)
    widths = _measure_columns(rows)
    if width is None or _get_total_width(widths) <= width:
        return Layout(rows, widths)
    rows = [_NARROW_COLUMNS, *chain.from_iterable(map(_make_narrow_rows, description.keys))]
    return Layout(rows, _shrink(_measure_columns(rows), width))


def _make_cells(description: Description) -> list[Row]:
    # Empty columns are omitted.
    rows = list(chain.from_iterable(map(_make_rows, description.keys)))
    used_columns = [number for number in range(len(_COLUMNS)) if any(row[number] for row in rows)]
    return [tuple(row[number] for number in used_columns) for row in (_COLUMNS, *rows)]


def _measure_columns(rows: list[Row]) -> list[int]:
    columns = zip(*rows, strict=True)
    return [max(display_width(line) for cell in column for line in cell.split("\n")) for column in columns]


def _make_rows(key: KeyDescription) -> Iterator[Row]:
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


def _make_narrow_rows(key: KeyDescription) -> Iterator[Row]:
    label = format_key(key)
    if not key.listeners:
        yield label, "", NO_LISTENERS
    for listener in key.listeners:
        yield label, str(listener.priority), "\n".join(format_listener(key, listener))
        label = ""


def _get_total_width(widths: list[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shrink(widths: list[int], width: int) -> list[int]:
    """Shrink the columns of events and listeners so that the narrow table has a width, if possible."""
    event, priority, _ = widths
    available = width - _get_total_width([0, priority, 0])
    # A long name leaves the listeners two thirds of the space.
    event = min(event, max(available // 3, _MIN_COLUMN_WIDTH))
    return [event, priority, max(available - event, _MIN_COLUMN_WIDTH)]


def _wrap_row(row: Row, widths: list[int]) -> Iterator[Row]:
    cells = zip(row, widths, strict=True)
    wrapped = [[part for line in cell.split("\n") for part in wrap(line, width)] for cell, width in cells]
    return zip_longest(*wrapped, fillvalue="")


def _align_line(cells: Row, titles: Row, widths: list[int]) -> str:
    columns = zip(titles, cells, widths, strict=True)
    aligned = (cell.rjust(width) if title == "priority" else pad(cell, width) for title, cell, width in columns)
    return _GAP.join(aligned).rstrip()
