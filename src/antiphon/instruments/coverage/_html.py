"""Coverage as an HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from antiphon._introspection.page import Markup, element, render_page
from antiphon.instruments.coverage._columns import (
    EVENT_COLUMNS,
    LISTENER_COLUMNS,
    Column,
    choose_columns,
    summarize,
)
from antiphon.instruments.coverage._rows import EventCoverage, ListenerCoverage, Row
from antiphon.instruments.timeline._chart import Bar, Group
from antiphon.instruments.timeline._chart import Row as ChartRow
from antiphon.instruments.timeline._scale import format_duration

__all__ = ("render_html",)

_SLOWEST: Final = "Slowest dispatches"

_FLAGS: Final = {
    "uncalled": "never called",
    "unreceived": "not received",
    "undispatched": "never dispatched",
    "failed": "failed",
}


def render_html(
    listeners: Sequence[ListenerCoverage],
    events: Sequence[EventCoverage],
    timeline: Sequence[Group],
) -> str:
    """Return the text of the page.

    Args:
        listeners: The rows of listeners.
        events: The rows of events.
        timeline: The slowest dispatches.
    """
    rows: list[Row] = [*listeners, *events]
    flags = {flag for row in rows for flag in row.flags}
    links = [("events", "Events")] if events else []
    links += [("slowest", _SLOWEST)] if timeline else []
    return render_page(
        "Event coverage",
        _render_table("Listeners", listeners, LISTENER_COLUMNS),
        _render_table("Events", events, EVENT_COLUMNS, id_="events"),
        *_render_timeline(timeline),
        summary=[*summarize(listeners, events), *(element("a", title, href=f"#{id_}") for id_, title in links)],
        flags={flag: label for flag, label in _FLAGS.items() if flag in flags},
    )


def _render_table(title: str, rows: Sequence[Row], columns: Iterable[Column], id_: str | None = None) -> Markup:
    head = element("div", element("h2", title), element("span", str(len(rows)), class_="quiet"), class_="head")
    if not rows:
        return element("section", head, class_="group")
    # What needs attention comes first, then what takes the most time.
    ordered = sorted(rows, key=lambda row: (not row.flags, -row.total, row.identity))
    used = choose_columns(columns, rows)
    titles = (
        element("th", element("button", column.title, type="button"), class_="number" if column.format else None)
        for column in used
    )
    body = (
        element("tr", *(_render_cell(row, column) for column in used), class_="item", data_flags=" ".join(row.flags))
        for row in ordered
    )
    table = element("table", element("thead", element("tr", *titles)), element("tbody", *body))
    return element("section", head, table, class_="group", id_=id_)


def _render_cell(row: Row, column: Column) -> Markup:
    text, value = column.get_text(row), None if column.format is None else str(column.get(row))
    if column.title == "listener" and isinstance(row, ListenerCoverage):
        content: list[str] = [element("span", text, class_="code")]
        for option in row.options:
            content += [" ", element("span", option, class_="badge")]
    else:
        content = [text]
    is_failure = column.title == "failed" and bool(text)
    classes = f"{_get_class(column)} failed" if is_failure else _get_class(column)
    return element("td", *content, class_=classes, data_value=value, data_label=column.title)


def _get_class(column: Column) -> str:
    return "number" if column.format is not None else "code" if column.title in ("event", "key", "defined in") else ""


# The timeline


def _render_timeline(groups: Sequence[Group]) -> Iterator[Markup]:
    if not groups:
        return
    span = max(group.duration for group in groups)
    axis = element(
        "span",
        f"the axis is {format_duration(span)} long; times are from the start of the first of them in its process",
        class_="quiet",
    )
    head = element("div", element("h2", _SLOWEST), axis, class_="head")
    yield element("section", head, *(_render_group(group, span) for group in groups), class_="group", id_="slowest")


def _render_group(group: Group, span: float) -> Markup:
    start = element("div", f"at {format_duration(group.start)}", class_="quiet")
    return element("div", start, *(_render_row(row, span) for row in group.rows), class_="bars item")


def _render_row(row: ChartRow, span: float) -> Markup:
    indent = f"padding-left: {min(row.depth, 12) * 0.9}rem"
    label = row.label if row.priority is None else f"{row.priority}  {row.label}"
    kind = "dispatch" if row.priority is None else ""
    return element(
        "div",
        element("span", label, class_=f"code {kind}", style=indent, title=row.title),
        element("span", *(_render_bar(bar, span, kind) for bar in row.bars), class_="track"),
        element("span", row.note, class_="quiet"),
    )


def _render_bar(bar: Bar, span: float, kind: str) -> Markup:
    scale = 100 / span if span else 0.0
    place = f"left: {bar.start * scale:.2f}%; width: {(bar.end - bar.start) * scale:.2f}%"
    return element("i", class_=f"{kind} {bar.outcome}", style=place, title=bar.title)
