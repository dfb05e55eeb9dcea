"""A picture in characters, for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from shutil import get_terminal_size
from typing import Final, NamedTuple

from antiphon.instruments import DispatchRecord, Outcome
from antiphon.instruments.timeline._chart import Bar, By, Picture, Row, paint
from antiphon.instruments.timeline._labels import columns, shortened
from antiphon.instruments.timeline._scale import duration, tick_labels, ticks

__all__ = ("NARROWEST", "as_text")

#: The least width of a picture, in columns.
NARROWEST: Final = 40

#: More deeply nested rows are indented no further.
DEEPEST: Final = 12


class _Pen(NamedTuple):
    """The characters that a picture is drawn with."""

    bars: dict[Outcome, str]
    #: What ran too shortly for a bar: in the left and in the right half of a column.
    marks: tuple[str, str]
    #: The halves of a bar; the whole, where there are none.
    halves: tuple[str, str]
    dispatch: str
    axis: str
    tick: str


_BLOCKS: Final = _Pen(
    {"finished": "█", "stopped": "█", "failed": "▓", "cancelled": "▒", "running": "░"},
    ("▏", "▕"),
    ("▌", "▐"),
    "─",
    "─",
    "┴",
)
_ASCII: Final = _Pen(
    {"finished": "#", "stopped": "#", "failed": "x", "cancelled": "~", "running": "?"},
    ("|", "|"),
    ("#", "#"),
    "-",
    "-",
    "+",
)


class _Columns(NamedTuple):
    """How wide each part of a line is."""

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
    ascii: bool = False,  # noqa: A002  the name says it best
    by: By | None = None,
    until: float | None = None,
    dropped: int = 0,
) -> str:
    """Draw dispatches as bars by time, in characters.

    Args:
        records: The dispatches.
        width: How many columns a line may have, at least 40; None for those of the terminal.
        ascii: Whether to use ASCII characters alone.
        by: ``"dispatch"`` for a row for each call of a listener, below its dispatch; ``"listener"`` for a
            row for each listener, with all of its calls. None chooses by their number.
        until: When it is, in seconds of ``time.perf_counter``, for what still runs; None for the last time known.
        dropped: How many dispatches there were of which there is no record any more.

    Returns:
        Lines of text, each with its end.

    Raises:
        ValueError: ``width`` is less than 40, or ``by`` is something else.
    """
    picture = paint(tuple(records), by, until, dropped)
    if width is None:
        width = max(NARROWEST, get_terminal_size().columns)
    elif width < NARROWEST:
        raise ValueError(f"width= is at least {NARROWEST} columns, or the bars would have no room; got {width}")
    text = "".join(f"{line.rstrip()}\n" for line in _lines(picture, width, _ASCII if ascii else _BLOCKS))
    return _in_ascii(text) if ascii else text


def _in_ascii(text: str) -> str:
    # As many columns as before, so that all stays where it is.
    known = text.replace("µ", "u").replace("…", "~")
    return known if known.isascii() else "".join(c if c.isascii() else "?" * columns(c) for c in known)


def _lines(picture: Picture, width: int, pen: _Pen) -> Iterable[str]:
    rows = [row for group in picture.groups for row in group.rows]
    if rows:
        layout = _layout(rows, width)
        for number, group in enumerate(picture.groups):
            if number > 0:
                yield ""
            if len(picture.groups) > 1:
                yield f"at {duration(group.start)}"
            for row in group.rows:
                yield _line(row, picture.span, layout, pen)
        yield from _axis(picture.span, layout, pen)
    else:
        yield f"{picture.title}."
    yield from picture.remarks


def _layout(rows: Sequence[Row], width: int) -> _Columns:
    priority = max((len(str(row.priority)) for row in rows if row.priority is not None), default=0)
    labels = min(max(columns(_label(row, priority)) for row in rows), width * 2 // 5)
    notes = min(max(columns(row.note) for row in rows), width * 2 // 3 - labels)
    return _Columns(labels, width - labels - notes - 4, notes, priority)


def _label(row: Row, priority: int) -> str:
    indent = "  " * min(row.depth, DEEPEST)
    if not row.label:
        return ""
    return f"{indent}{row.label}" if row.priority is None else f"{indent}{row.priority:>{priority}}  {row.label}"


def _line(row: Row, span: float, layout: _Columns, pen: _Pen) -> str:
    drawn = (
        _dispatches(row.bars, span, layout.bars, pen)
        if row.priority is None
        else _calls(row.bars, span, layout.bars, pen)
    )
    label = shortened(_label(row, layout.priority), layout.labels)
    return f"{label}{' ' * (layout.labels - columns(label))}  {drawn}  {shortened(row.note, layout.notes)}"


def _dispatches(bars: Iterable[Bar], span: float, width: int, pen: _Pen) -> str:
    cells = [" "] * width
    for bar in bars:
        first, last = _halves(bar, span, width)
        first = min(first // 2, width - 1)
        last = max(first + 1, (last + 1) // 2)
        cells[first:last] = [pen.dispatch] * (last - first)
    return "".join(cells)


def _calls(bars: Iterable[Bar], span: float, width: int, pen: _Pen) -> str:
    halves: list[Outcome | None] = [None] * (2 * width)
    marks: list[int] = []
    for bar in bars:
        first, last = _halves(bar, span, width)
        if last > first:
            halves[first:last] = repeat(bar.outcome, last - first)
        else:
            marks.append(min(first, 2 * width - 1))
    cells = [_cell(halves[2 * cell], halves[2 * cell + 1], pen) for cell in range(width)]
    for mark in marks:
        if cells[mark // 2] == " ":
            cells[mark // 2] = pen.marks[mark % 2]
    return "".join(cells)


def _halves(bar: Bar, span: float, width: int) -> tuple[int, int]:
    """Tell from which to which half column a bar reaches."""
    scale = 2 * width / span if span else 0.0
    return round(bar.start * scale), min(round(bar.end * scale), 2 * width)


def _cell(left: Outcome | None, right: Outcome | None, pen: _Pen) -> str:
    if left is None and right is None:
        return " "
    if left is not None and right is not None:
        # Two in one column: what went wrong shows.
        return pen.bars[left if left != "finished" else right]
    outcome = left or right or "finished"
    return pen.halves[0 if left else 1] if outcome in ("finished", "stopped") else pen.bars[outcome]


def _axis(span: float, layout: _Columns, pen: _Pen) -> Iterable[str]:
    times = ticks(span, max(3, layout.bars // 8))
    line, words = [pen.axis] * layout.bars, ""
    for time, label in zip(times, tick_labels(times), strict=True):
        column = min(round(time / span * layout.bars) if span else 0, layout.bars - 1)
        line[column] = pen.tick
        words = words.ljust(column) + label
    margin = " " * (layout.labels + 2)
    yield margin + "".join(line)
    yield margin + words
