"""Coverage as tables in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

from antiphon._util.columns import display_width, pad
from antiphon._util.naming import escape_unprintable
from antiphon.instruments.coverage._columns import (
    EVENT_COLUMNS,
    LISTENER_COLUMNS,
    Column,
    choose_columns,
    summarize,
)
from antiphon.instruments.coverage._rows import EventCoverage, ListenerCoverage, Row

__all__ = ("render_text",)

#: The number of rows in the table of slow listeners.
_SLOWEST: Final = 10


def render_text(listeners: Sequence[ListenerCoverage], events: Sequence[EventCoverage]) -> str:
    """Return tables of what was not called, what was not received, and what is slow."""
    slowest = sorted((row for row in listeners if row.finished), key=lambda row: -row.total)[:_SLOWEST]
    tables = (
        ("Listeners that were never called", _select(listeners, "uncalled"), LISTENER_COLUMNS),
        ("Events that no listener received", _select(events, "unreceived"), EVENT_COLUMNS),
        ("Events that were never dispatched", _select(events, "undispatched"), EVENT_COLUMNS),
        ("Slowest listeners, by total time", slowest, LISTENER_COLUMNS),
    )
    blocks = [[*summarize(listeners, events)]]
    blocks += [[title, "", *_draw_table(rows, columns)] for title, rows, columns in tables if rows]
    return "\n".join(chain.from_iterable([*block, ""] for block in blocks))


def _select(rows: Iterable[Row], flag: str) -> list[Row]:
    return sorted((row for row in rows if flag in row.flags), key=attrgetter("identity"))


def _draw_table(rows: Sequence[Row], columns: Iterable[Column]) -> Iterator[str]:
    used = choose_columns(columns, rows)
    cells = [[column.title for column in used], *([escape_unprintable(c.get_text(row)) for c in used] for row in rows)]
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["─" * width for width in widths])
    for line in cells:
        aligned = (
            pad(cell, width) if column.format is None else " " * (width - display_width(cell)) + cell
            for cell, column, width in zip(line, used, widths, strict=True)
        )
        yield "  ".join(aligned).rstrip()
