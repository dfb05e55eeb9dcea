"""The columns of the tables of coverage, and its totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from antiphon.instruments.coverage._rows import EventCoverage, ListenerCoverage, Row
from antiphon.instruments.timeline._scale import format_duration

__all__ = ("EVENT_COLUMNS", "LISTENER_COLUMNS", "Column", "choose_columns", "summarize")


class Column(NamedTuple):
    """A column of a table."""

    title: str
    #: Returns the value of a row, by which a table is sorted.
    get: Callable[[Any], Any]
    #: Returns the text of a value. A column with it is one of numbers.
    format: Callable[[Any], str] | None = None

    def get_text(self, row: Row) -> str:
        """Return the text of a cell."""
        value = self.get(row)
        return value if self.format is None else self.format(value)


def _format_count(number: int) -> str:
    return str(number) if number else ""


def _format_time(seconds: float) -> str:
    return format_duration(seconds) if seconds else ""


def _format_skipped(row: ListenerCoverage) -> str:
    """Return how often a listener was skipped, by reason."""
    return ", ".join(f"{reason} {number}" for reason, number in row.skipped.most_common())


_DISPATCHER: Final = Column("dispatcher", attrgetter("dispatcher"))
_PRIORITY: Final = Column("priority", attrgetter("priority"), str)
_PLACE: Final = Column("defined in", attrgetter("place"))
_TIMES: Final = (
    Column("failed", attrgetter("failed"), _format_count),
    Column("cancelled", attrgetter("cancelled"), _format_count),
    Column("mean", attrgetter("mean"), _format_time),
    Column("longest", attrgetter("longest"), _format_time),
    Column("total", attrgetter("total"), _format_time),
)

LISTENER_COLUMNS: Final = (
    Column("listener", attrgetter("listener")),
    Column("key", attrgetter("key")),
    _DISPATCHER,
    _PRIORITY,
    Column("calls", attrgetter("calls"), str),
    Column("skipped", _format_skipped),
    *_TIMES,
    _PLACE,
)

EVENT_COLUMNS: Final = (
    Column("event", attrgetter("event")),
    Column("class", attrgetter("event_class")),
    _DISPATCHER,
    Column("dispatches", attrgetter("dispatches"), str),
    Column("unreceived", attrgetter("unreceived"), _format_count),
    *_TIMES,
)


def choose_columns(columns: Iterable[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns that are not empty. The dispatcher is omitted if there is only one."""
    has_one_dispatcher = len({row.dispatcher for row in rows}) == 1
    return [
        column
        for column in columns
        if any(map(column.get_text, rows)) and not (column is _DISPATCHER and has_one_dispatcher)
    ]


def summarize(listeners: Sequence[ListenerCoverage], events: Sequence[EventCoverage]) -> tuple[str, ...]:
    """Return the totals."""
    called = sum(bool(row.calls) for row in listeners)
    dispatched = sum(bool(row.dispatches) for row in events)
    received = sum(row.unreceived < row.dispatches for row in events)
    return (
        f"listeners: {called} of {len(listeners)} called",
        f"events: {dispatched} of {len(events)} dispatched, {received} received",
        f"dispatches: {sum(row.dispatches for row in events)}",
    )
