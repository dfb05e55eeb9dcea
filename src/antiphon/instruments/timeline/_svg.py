"""Charts as SVG files, in the light or dark color scheme of the reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from antiphon._util.columns import display_width, truncate
from antiphon.instruments import DispatchRecord, Outcome
from antiphon.instruments.timeline._chart import Bar, Chart, GroupBy, Row, make_chart
from antiphon.instruments.timeline._checks import check_records, check_width
from antiphon.instruments.timeline._scale import choose_ticks, format_duration, format_ticks

__all__ = ("as_svg",)

#: The minimum width of a chart, in pixels.
MIN_WIDTH: Final = 320
#: The width from which labels and notes are beside the bars. In a narrower chart, they are above the bars.
WIDE: Final = 480

# All sizes are in pixels. Labels use a monospaced font, so that their width is known. The widest of the fonts in the
# style below has characters of 7.23 pixels at a font size of 12.
CHARACTER: Final = 7.3
LINE: Final = 22
BAR: Final = 12
#: The height that bars below their label add to a row.
STACKED: Final = 18
MARGIN: Final = 16
GAP: Final = 12
INDENT: Final = 14
#: The minimum share of the bars in the width. Labels and notes share the rest.
MIN_CHART_SHARE: Final = 0.36
MAX_INDENT_DEPTH: Final = 12
#: The minimum width of a bar, so that short calls are visible.
MIN_BAR_WIDTH: Final = 1.5

_STYLE: Final = """
.antiphon-timeline { color-scheme: light dark; }
.antiphon-timeline text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #1f2328; white-space: pre; }
.antiphon-timeline .page { fill: #ffffff; }
.antiphon-timeline .name { font-weight: 700; }
.antiphon-timeline .quiet { fill: #59636e; }
.antiphon-timeline .grid { stroke: #d1d9e0; }
.antiphon-timeline .dispatch { stroke: #59636e; stroke-width: 1.5; fill: none; }
.antiphon-timeline .finished { fill: #0969da; }
.antiphon-timeline .failed { fill: #c4400a; }
.antiphon-timeline .cancelled { fill: #8c959f; }
.antiphon-timeline .running { fill: #ffffff; stroke: #0969da; stroke-width: 1.5; stroke-dasharray: 3 2; }
.antiphon-timeline .texture { stroke: #ffffff; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  .antiphon-timeline text { fill: #e6edf3; }
  .antiphon-timeline .page { fill: #0d1117; }
  .antiphon-timeline .quiet { fill: #9198a1; }
  .antiphon-timeline .grid { stroke: #2f3742; }
  .antiphon-timeline .dispatch { stroke: #9198a1; }
  .antiphon-timeline .finished { fill: #4493f8; }
  .antiphon-timeline .failed { fill: #f0883e; }
  .antiphon-timeline .cancelled { fill: #7d8590; }
  .antiphon-timeline .running { fill: #0d1117; stroke: #4493f8; }
  .antiphon-timeline .texture { stroke: #0d1117; }
}
"""

# Textures show outcomes without colors: crossed lines for failed calls, slanted lines for cancelled calls. A page with
# several inline charts contains these ids more than once, which is harmless because the definitions are equal.
_TEXTURES: Final = """<defs>
<pattern id="antiphon-failed" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="texture" d="M0 0 L6 6 M6 0 L0 6" style="stroke-width: 1.2"/></pattern>
<pattern id="antiphon-cancelled" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="texture" d="M-1 7 L7 -1 M-1 1 L1 -1 M5 7 L7 5"/></pattern>
</defs>"""

_TEXTURED_OUTCOMES: Final = ("failed", "cancelled")
#: The texts of the legend, in order.
_LEGEND: Final[dict[Outcome, str]] = {
    "finished": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "running": "still runs",
}


class _Layout(NamedTuple):
    """The positions of the columns, in pixels."""

    #: The left and the right edge of the bars.
    left: float
    right: float
    #: The width of the notes, to the right of the bars; None if labels and notes are above the bars.
    notes: float | None
    #: The number of characters of the widest priority.
    priority: int
    #: Pixels per second.
    scale: float

    def x(self, seconds: float) -> float:
        """Return the position of a time."""
        return self.left + seconds * self.scale

    def get_middle(self, x: float, label: str) -> float:
        """Return the middle of a label of the axis. In a narrow chart, the last label could leave the picture."""
        limit = self.right + MARGIN - CHARACTER * display_width(label) / 2
        return x if self.notes is not None else min(x, limit)

    def get_bar_top(self, top: float) -> float:
        """Return the top of the line of the bars in a row. They are nearer to their own label than to the next."""
        return top if self.notes is not None else top + STACKED - 3

    def get_height(self, row: Row) -> int:
        """Return the height of a row."""
        return LINE + STACKED if self.notes is None and row.bars else LINE


def as_svg(
    records: Iterable[DispatchRecord],
    /,
    *,
    width: int = 960,
    by: GroupBy | None = None,
    until: float | None = None,
    dropped: int = 0,
) -> str:
    """Return a chart of dispatches as an SVG file, with a time axis and a bar for each call.

    The chart has a light and a dark color scheme. Tooltips contain the full text of labels that are cut.

    Args:
        records: The dispatches.
        width: The width in pixels, at least 320. In a chart of less than 480 pixels, the labels are above the bars.
        by: As for `as_text`.
        until: As for `as_text`.
        dropped: As for `as_text`.

    Returns:
        The text of the file.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If ``width`` is less than 320 or more than 100,000, ``by`` is not one of the listed values,
            ``until`` is not finite, or ``dropped`` is negative.
    """
    check_width(width, MIN_WIDTH, "pixels")
    chart = make_chart(check_records(records, until, dropped), by, until, dropped)
    marks: list[str] = []
    top = float(MARGIN)
    if chart.groups:
        for part, height in _make_parts(chart, _compute_layout(chart, width), top):
            marks += part
            top += height
    else:
        marks.append(_draw_text(MARGIN, top, chart.title))
        top += LINE
    for note in chart.notes:
        marks.append(_draw_text(MARGIN, top, truncate(note, int((width - 2 * MARGIN) / CHARACTER)), "quiet"))
        top += LINE
    height = round(top + MARGIN)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="antiphon-timeline" role="img" {size}>',
            f"<title>{escape(chart.title)}</title>",
            f"<desc>Bars by time, {format_duration(chart.span)} from left to right.</desc>",
            f"<style>{_STYLE}</style>",
            _TEXTURES,
            f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
            *marks,
            "</svg>\n",
        )
    )


def _compute_layout(chart: Chart, width: int) -> _Layout:
    rows = [row for group in chart.groups for row in group.rows]
    priority = max((len(str(row.priority)) for row in rows if row.priority is not None), default=0)
    if width < WIDE:
        scale = (width - 2 * MARGIN) / chart.span if chart.span else 0.0
        return _Layout(MARGIN, width - MARGIN, None, priority, scale)
    labels = min(
        max(_get_indent(row) + CHARACTER * display_width(_format_label(row, priority)) for row in rows), width * 0.34
    )
    space = width * (1 - MIN_CHART_SHARE) - 2 * (MARGIN + GAP) - labels
    notes = min(max(CHARACTER * display_width(row.note) for row in rows), space)
    left, right = MARGIN + labels + GAP, width - MARGIN - notes - GAP
    return _Layout(left, right, notes, priority, (right - left) / chart.span if chart.span else 0.0)


def _make_parts(chart: Chart, layout: _Layout, top: float) -> Iterator[tuple[list[str], float]]:
    """Yield the parts of a chart from top to bottom, each with its height."""
    times = choose_ticks(chart.span, max(3, int((layout.right - layout.left) / 60)))
    axis = list(zip(map(layout.x, times), format_ticks(times), strict=True))
    labels = [(layout.get_middle(x, label), label) for x, label in axis]
    yield [_draw_text(x, top, label, "quiet", "middle") for x, label in labels], LINE
    top += LINE
    has_several_groups = len(chart.groups) > 1
    heights = [sum(map(layout.get_height, group.rows)) + LINE * has_several_groups for group in chart.groups]
    height = sum(heights) + GAP * (len(chart.groups) - 1)
    yield [f'<path class="grid" d="M{x:.1f} {top:.1f} v{height}"/>' for x, _ in axis], 0
    for number, group in enumerate(chart.groups):
        marks: list[str] = []
        group_top = top
        if has_several_groups:
            marks.append(_draw_text(MARGIN, top, f"at {format_duration(group.start)}", "quiet"))
            top += LINE
        for row in group.rows:
            marks += _draw_row(row, top, layout)
            top += layout.get_height(row)
        top += GAP if number < len(chart.groups) - 1 else 0
        yield marks, top - group_top
    yield [_draw_text(x, top, label, "quiet", "middle") for x, label in labels], LINE + GAP
    legend = list(
        _draw_legend(chart, top + LINE + GAP, layout.right + (GAP + layout.notes if layout.notes is not None else 0))
    )
    yield [mark for marks, _ in legend for mark in marks], legend[-1][1] - top - LINE - GAP if legend else -GAP


def _draw_row(row: Row, top: float, layout: _Layout) -> Iterator[str]:
    x, label = MARGIN + _get_indent(row), _format_label(row, layout.priority)
    style = "name" if row.priority is None else "" if row.bars else "quiet"
    if label:
        yield f"<g><title>{escape(row.title)}</title>"
        if layout.notes is not None:
            yield _draw_text(x, top, truncate(label, _count_characters(layout.left - GAP - x)), style)
            yield _draw_text(layout.right + GAP, top, truncate(row.note, _count_characters(layout.notes)), "quiet")
        else:
            # A label has at least half of the line, and what the note does not need.
            space = _count_characters(layout.right - x) - 2
            note = truncate(row.note, max(space // 2, space - display_width(label)))
            yield _draw_text(x, top, truncate(label, space - display_width(note)), style)
            yield _draw_text(layout.right, top, note, "quiet", "end")
        yield "</g>"
    bar_top = layout.get_bar_top(top)
    for bar in _skip_covered_bars(row.bars, layout):
        yield f"<g><title>{escape(bar.title)}</title>"
        yield from _draw_dispatch(bar, bar_top, layout) if row.priority is None else _draw_call(bar, bar_top, layout)
        yield "</g>"


def _skip_covered_bars(bars: Sequence[Bar], layout: _Layout) -> Iterator[Bar]:
    # Draw only one of the short bars that start at the same pixel, to keep the file of many dispatches small.
    drawn: set[tuple[int, Outcome]] = set()
    for bar in bars:
        position = int(layout.x(bar.start)), bar.outcome
        if (bar.end - bar.start) * layout.scale < MIN_BAR_WIDTH:
            if position in drawn:
                continue
            drawn.add(position)
        yield bar


def _draw_dispatch(bar: Bar, top: float, layout: _Layout) -> Iterator[str]:
    start, end, y = layout.x(bar.start), layout.x(bar.end), top + LINE / 2
    yield f'<path class="dispatch" d="M{start:.1f} {y - 4} v8 m0 -4 H{end:.1f} m0 -4 v8"/>'


def _draw_call(bar: Bar, top: float, layout: _Layout) -> Iterator[str]:
    length = max(MIN_BAR_WIDTH, (bar.end - bar.start) * layout.scale)
    yield from _draw_bar(bar.outcome, layout.x(bar.start), top + (LINE - BAR) / 2, length)


def _draw_bar(outcome: Outcome, x: float, y: float, length: float) -> Iterator[str]:
    geometry = f'x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" rx="{min(2.0, length / 2):.1f}"'
    yield f'<rect class="{outcome}" {geometry}/>'
    if outcome in _TEXTURED_OUTCOMES:
        yield f'<rect fill="url(#antiphon-{outcome})" {geometry}/>'


def _draw_legend(chart: Chart, top: float, right: float) -> Iterator[tuple[list[str], float]]:
    """Yield the marks and the bottom of each entry. An entry that does not fit starts a line."""
    outcomes = {
        bar.outcome for group in chart.groups for row in group.rows if row.priority is not None for bar in row.bars
    }
    if outcomes <= {"finished"}:
        return
    x = float(MARGIN)
    for outcome, label in _LEGEND.items():
        if outcome in outcomes:
            if x + 32 + display_width(label) * CHARACTER > right:
                x, top = float(MARGIN), top + LINE
            text = _draw_text(x + 32, top, label, "quiet")
            yield [*_draw_bar(outcome, x, top + (LINE - BAR) / 2, 24), text], top + LINE
            x += 32 + (display_width(label) + 3) * CHARACTER


def _count_characters(space: float) -> int:
    return int((space + 0.5) / CHARACTER)


def _get_indent(row: Row) -> int:
    return INDENT * min(row.depth, MAX_INDENT_DEPTH)


def _format_label(row: Row, priority: int) -> str:
    return row.label if row.priority is None or not row.label else f"{row.priority:>{priority}}  {row.label}"


def _draw_text(x: float, top: float, text: str, style: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{top + 15:.1f}" text-anchor="{anchor}" xml:space="preserve">'
        f"{escape(text)}</text>"
    )
