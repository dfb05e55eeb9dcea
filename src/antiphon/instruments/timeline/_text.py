"""Charts as text, for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from shutil import get_terminal_size
from typing import Final, NamedTuple

from antiphon._util.columns import display_width, truncate
from antiphon.instruments import DispatchRecord, Outcome
from antiphon.instruments.timeline._chart import Bar, Chart, GroupBy, Row, make_chart
from antiphon.instruments.timeline._checks import check_records, check_width
from antiphon.instruments.timeline._scale import choose_ticks, format_duration, format_ticks

__all__ = ("MIN_WIDTH", "as_text")

#: The minimum width of a chart, in columns.
MIN_WIDTH: Final = 40

#: Rows at a greater depth are not indented further.
MAX_INDENT_DEPTH: Final = 12

#: The outcomes of calls in the order in which they are preferred for a column that two bars share.
_SHOWN_FIRST: Final[tuple[Outcome, ...]] = ("failed", "cancelled", "running", "stopped", "finished", "skipped")


class _CharacterSet(NamedTuple):
    """The characters of a chart."""

    bars: dict[Outcome, str]
    #: The marks for calls that are too short for a bar, in the left and in the right half of a column.
    marks: tuple[str, str]
    #: The left and the right half of a bar, or the full bar if there are no halves.
    halves: tuple[str, str]
    dispatch: str
    axis: str
    tick: str


_UNICODE_CHARACTERS: Final = _CharacterSet(
    {"finished": "█", "stopped": "█", "failed": "▓", "cancelled": "▒", "running": "░"},
    ("▏", "▕"),
    ("▌", "▐"),
    "─",
    "─",
    "┴",
)
_ASCII_CHARACTERS: Final = _CharacterSet(
    {"finished": "#", "stopped": "#", "failed": "x", "cancelled": "~", "running": "?"},
    ("|", "|"),
    ("#", "#"),
    "-",
    "-",
    "+",
)


class _Layout(NamedTuple):
    """The width of each part of a line, in columns."""

    labels: int
    bars: int
    notes: int
    #: The width of the widest priority.
    priority: int


def as_text(
    records: Iterable[DispatchRecord],
    /,
    *,
    width: int | None = None,
    ascii: bool = False,  # noqa: A002  the usual name of such an option
    by: GroupBy | None = None,
    until: float | None = None,
    dropped: int = 0,
) -> str:
    """Return a chart of dispatches as text, with a time axis and a bar for each call.

    Args:
        records: The dispatches.
        width: The maximum length of a line in columns, at least 40; None for the width of the terminal.
        ascii: Whether to use only ASCII characters.
        by: ``"dispatch"`` for a row for each call of a listener, below its dispatch. ``"listener"`` for a row for each
            listener, with all its calls. None chooses by the number of calls.
        until: The end of the records that still run, in seconds of ``time.perf_counter``. None stands for the latest
            time in the records.
        dropped: The number of earlier dispatches whose records were dropped.

    Returns:
        Lines of text, each with a line break at its end.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If ``width`` is less than 40 or more than 100,000, ``by`` is not one of the listed values,
            ``until`` is not finite, or ``dropped`` is negative.
    """
    if width is None:
        width = max(MIN_WIDTH, get_terminal_size().columns)
    else:
        check_width(width, MIN_WIDTH, "columns")
    chart = make_chart(check_records(records, until, dropped), by, until, dropped)
    characters = _ASCII_CHARACTERS if ascii else _UNICODE_CHARACTERS
    text = "".join(f"{line.rstrip()}\n" for line in _draw_lines(chart, width, characters))
    return _to_ascii(text) if ascii else text


def _to_ascii(text: str) -> str:
    # Keep the number of columns, so that the lines stay aligned.
    text = text.replace("µ", "u").replace("…", "~")
    return text if text.isascii() else "".join(c if c.isascii() else "?" * display_width(c) for c in text)


def _draw_lines(chart: Chart, width: int, characters: _CharacterSet) -> Iterable[str]:
    rows = [row for group in chart.groups for row in group.rows]
    if rows:
        layout = _compute_layout(rows, width)
        for number, group in enumerate(chart.groups):
            if number > 0:
                yield ""
            if len(chart.groups) > 1:
                yield f"at {format_duration(group.start)}"
            for row in group.rows:
                yield _draw_line(row, chart.span, layout, characters)
        yield from _draw_axis(chart.span, layout, characters)
    else:
        yield f"{chart.title}."
    yield from chart.notes


def _compute_layout(rows: Sequence[Row], width: int) -> _Layout:
    priority = max((len(str(row.priority)) for row in rows if row.priority is not None), default=0)
    labels = min(max(display_width(_format_label(row, priority)) for row in rows), width * 2 // 5)
    notes = min(max(display_width(row.note) for row in rows), width * 2 // 3 - labels)
    return _Layout(labels, width - labels - notes - 4, notes, priority)


def _format_label(row: Row, priority: int) -> str:
    indent = "  " * min(row.depth, MAX_INDENT_DEPTH)
    if not row.label:
        return ""
    return f"{indent}{row.label}" if row.priority is None else f"{indent}{row.priority:>{priority}}  {row.label}"


def _draw_line(row: Row, span: float, layout: _Layout, characters: _CharacterSet) -> str:
    draw = _draw_dispatches if row.priority is None else _draw_calls
    bars = draw(row.bars, span, layout.bars, characters)
    label = truncate(_format_label(row, layout.priority), layout.labels)
    return f"{label}{' ' * (layout.labels - display_width(label))}  {bars}  {truncate(row.note, layout.notes)}"


def _draw_dispatches(bars: Iterable[Bar], span: float, width: int, characters: _CharacterSet) -> str:
    cells = [" "] * width
    for bar in bars:
        first, last = _get_half_columns(bar, span, width)
        first = min(first // 2, width - 1)
        last = max(first + 1, (last + 1) // 2)
        cells[first:last] = [characters.dispatch] * (last - first)
    return "".join(cells)


def _draw_calls(bars: Iterable[Bar], span: float, width: int, characters: _CharacterSet) -> str:
    halves: list[Outcome | None] = [None] * (2 * width)
    marks: list[int] = []
    for bar in bars:
        first, last = _get_half_columns(bar, span, width)
        if last > first:
            halves[first:last] = repeat(bar.outcome, last - first)
        else:
            marks.append(min(first, 2 * width - 1))
    cells = [_draw_cell(halves[2 * cell], halves[2 * cell + 1], characters) for cell in range(width)]
    for mark in marks:
        if cells[mark // 2] == " ":
            cells[mark // 2] = characters.marks[mark % 2]
    return "".join(cells)


def _get_half_columns(bar: Bar, span: float, width: int) -> tuple[int, int]:
    """Return the first half column of a bar, and the one after its last."""
    scale = 2 * width / span if span else 0.0
    return round(bar.start * scale), min(round(bar.end * scale), 2 * width)


def _draw_cell(left: Outcome | None, right: Outcome | None, characters: _CharacterSet) -> str:
    if left is None and right is None:
        return " "
    if left is not None and right is not None:
        # Two bars share the column.
        return characters.bars[left if _SHOWN_FIRST.index(left) < _SHOWN_FIRST.index(right) else right]
    outcome = left or right or "finished"
    return characters.halves[0 if left else 1] if outcome in ("finished", "stopped") else characters.bars[outcome]


def _draw_axis(span: float, layout: _Layout, characters: _CharacterSet) -> Iterable[str]:
    times = choose_ticks(span, max(3, layout.bars // 8))
    line, labels = [characters.axis] * layout.bars, ""
    for time, label in zip(times, format_ticks(times), strict=True):
        column = min(round(time / span * layout.bars) if span else 0, layout.bars - 1)
        line[column] = characters.tick
        labels = labels.ljust(column) + label
    margin = " " * (layout.labels + 2)
    yield margin + "".join(line)
    yield margin + labels
