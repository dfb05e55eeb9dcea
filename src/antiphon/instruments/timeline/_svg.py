"""A picture as an SVG file, which browsers show, light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from antiphon.instruments import DispatchRecord, Outcome
from antiphon.instruments.timeline._chart import Bar, By, Picture, Row, paint
from antiphon.instruments.timeline._labels import columns, shortened
from antiphon.instruments.timeline._scale import duration, tick_labels, ticks

__all__ = ("as_svg",)

#: The least width of a picture, in pixels.
NARROWEST: Final = 480

# All of it in pixels. Labels are in a font of one width, so that what they take is known without one; the widest
# of those that are named takes 7.23 at 12 pixels.
CHARACTER: Final = 7.3
LINE: Final = 22
BAR: Final = 12
MARGIN: Final = 16
GAP: Final = 12
INDENT: Final = 14
#: How much of the width the bars have at least; labels and notes share the rest.
LEAST_OF_BARS: Final = 0.36
DEEPEST: Final = 12
#: What ran more shortly is drawn as wide as this, so that it is seen.
THINNEST: Final = 1.5

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

# Whoever cannot tell the colours apart sees a texture: crossed lines for what failed, slanted ones for what was
# cancelled. Pages that show several pictures inline have these several times, and all of them are equal.
_TEXTURES: Final = """<defs>
<pattern id="antiphon-failed" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="texture" d="M0 0 L6 6 M6 0 L0 6" style="stroke-width: 1.2"/></pattern>
<pattern id="antiphon-cancelled" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="texture" d="M-1 7 L7 -1 M-1 1 L1 -1 M5 7 L7 5"/></pattern>
</defs>"""

_TEXTURED: Final = ("failed", "cancelled")
#: What the legend says of each outcome, in its order.
_LEGEND: Final[dict[Outcome, str]] = {
    "finished": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "running": "still runs",
}


class _Layout(NamedTuple):
    """Where things are, in pixels."""

    #: From where to where there are bars.
    left: float
    right: float
    #: The width of the notes, which stand to the right of the bars.
    notes: float
    #: How many characters the widest priority has.
    priority: int
    #: Pixels per second.
    scale: float

    def x(self, seconds: float) -> float:
        """Tell where a time is."""
        return self.left + seconds * self.scale


def as_svg(
    records: Iterable[DispatchRecord],
    /,
    *,
    width: int = 960,
    by: By | None = None,
    until: float | None = None,
    dropped: int = 0,
) -> str:
    """Draw dispatches as bars by time, as the text of an SVG file.

    It follows a light or dark page, and what is cut short is told in full where the pointer rests.

    Args:
        records: The dispatches.
        width: In pixels, at least 480.
        by: As for `as_text`.
        until: As for `as_text`.
        dropped: As for `as_text`.

    Returns:
        The text of the file.

    Raises:
        ValueError: ``width`` is less than 480, or ``by`` is something else.
    """
    if width < NARROWEST:
        raise ValueError(f"width= is at least {NARROWEST} pixels, or the bars would have no room; got {width}")
    picture = paint(tuple(records), by, until, dropped)
    marks: list[str] = []
    top = float(MARGIN)
    if picture.groups:
        for part, height in _parts(picture, _layout(picture, width), top):
            marks += part
            top += height
    else:
        marks.append(_text(MARGIN, top, picture.title))
        top += LINE
    for remark in picture.remarks:
        marks.append(_text(MARGIN, top, shortened(remark, int((width - 2 * MARGIN) / CHARACTER)), "quiet"))
        top += LINE
    height = round(top + MARGIN)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="antiphon-timeline" role="img" {size}>',
            f"<title>{escape(picture.title)}</title>",
            f"<desc>Bars by time, {duration(picture.span)} from left to right.</desc>",
            f"<style>{_STYLE}</style>",
            _TEXTURES,
            f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
            *marks,
            "</svg>\n",
        )
    )


def _layout(picture: Picture, width: int) -> _Layout:
    rows = [row for group in picture.groups for row in group.rows]
    priority = max((len(str(row.priority)) for row in rows if row.priority is not None), default=0)
    labels = min(max(_indent(row) + CHARACTER * columns(_label(row, priority)) for row in rows), width * 0.34)
    room = width * (1 - LEAST_OF_BARS) - 2 * (MARGIN + GAP) - labels
    notes = min(max(CHARACTER * columns(row.note) for row in rows), room)
    left, right = MARGIN + labels + GAP, width - MARGIN - notes - GAP
    return _Layout(left, right, notes, priority, (right - left) / picture.span if picture.span else 0.0)


def _parts(picture: Picture, layout: _Layout, top: float) -> Iterator[tuple[list[str], float]]:
    """Give the parts of a picture from above, each with its height."""
    times = ticks(picture.span, max(3, int((layout.right - layout.left) / 60)))
    axis = list(zip(map(layout.x, times), tick_labels(times), strict=True))
    yield [_text(x, top, label, "quiet", "middle") for x, label in axis], LINE
    top += LINE
    several = len(picture.groups) > 1
    height = sum(LINE * (len(group.rows) + several) for group in picture.groups) + GAP * (len(picture.groups) - 1)
    yield [f'<path class="grid" d="M{x:.1f} {top:.1f} v{height}"/>' for x, _ in axis], 0
    for number, group in enumerate(picture.groups):
        marks: list[str] = []
        first = top
        if several:
            marks.append(_text(MARGIN, top, f"at {duration(group.start)}", "quiet"))
            top += LINE
        for row in group.rows:
            marks += _row(row, top, layout)
            top += LINE
        top += GAP if number < len(picture.groups) - 1 else 0
        yield marks, top - first
    yield [_text(x, top, label, "quiet", "middle") for x, label in axis], LINE + GAP
    legend = list(_legend(picture, top + LINE + GAP))
    yield legend, LINE if legend else -GAP


def _row(row: Row, top: float, layout: _Layout) -> Iterator[str]:
    x, label = MARGIN + _indent(row), _label(row, layout.priority)
    room = int((layout.left - GAP - x + 0.5) / CHARACTER)
    style = "name" if row.priority is None else "" if row.bars else "quiet"
    if label:
        yield f"<g><title>{escape(row.title)}</title>"
        yield _text(x, top, shortened(label, room), style)
        yield _text(layout.right + GAP, top, shortened(row.note, int((layout.notes + 0.5) / CHARACTER)), "quiet")
        yield "</g>"
    for bar in _thinned(row.bars, layout):
        yield f"<g><title>{escape(bar.title)}</title>"
        yield from _dispatch(bar, top, layout) if row.priority is None else _call(bar, top, layout)
        yield "</g>"


def _thinned(bars: Sequence[Bar], layout: _Layout) -> Iterator[Bar]:
    # Of those that would cover each other to the pixel, one is drawn; else a file of many dispatches would be huge.
    drawn: set[tuple[int, Outcome]] = set()
    for bar in bars:
        place = int(layout.x(bar.start)), bar.outcome
        if (bar.end - bar.start) * layout.scale < THINNEST:
            if place in drawn:
                continue
            drawn.add(place)
        yield bar


def _dispatch(bar: Bar, top: float, layout: _Layout) -> Iterator[str]:
    start, end, y = layout.x(bar.start), layout.x(bar.end), top + LINE / 2
    yield f'<path class="dispatch" d="M{start:.1f} {y - 4} v8 m0 -4 H{end:.1f} m0 -4 v8"/>'


def _call(bar: Bar, top: float, layout: _Layout) -> Iterator[str]:
    length = max(THINNEST, (bar.end - bar.start) * layout.scale)
    yield from _box(bar.outcome, layout.x(bar.start), top + (LINE - BAR) / 2, length)


def _box(outcome: Outcome, x: float, y: float, length: float) -> Iterator[str]:
    where = f'x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" rx="{min(2.0, length / 2):.1f}"'
    yield f'<rect class="{outcome}" {where}/>'
    if outcome in _TEXTURED:
        yield f'<rect fill="url(#antiphon-{outcome})" {where}/>'


def _legend(picture: Picture, top: float) -> Iterator[str]:
    shown = {
        bar.outcome for group in picture.groups for row in group.rows if row.priority is not None for bar in row.bars
    }
    if shown <= {"finished"}:
        return
    x = float(MARGIN)
    for outcome, word in _LEGEND.items():
        if outcome in shown:
            yield from _box(outcome, x, top + (LINE - BAR) / 2, 24)
            yield _text(x + 32, top, word, "quiet")
            x += 32 + (columns(word) + 3) * CHARACTER


def _indent(row: Row) -> int:
    return INDENT * min(row.depth, DEEPEST)


def _label(row: Row, priority: int) -> str:
    return row.label if row.priority is None or not row.label else f"{row.priority:>{priority}}  {row.label}"


def _text(x: float, top: float, text: str, style: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{top + 15:.1f}" text-anchor="{anchor}" xml:space="preserve">'
        f"{escape(text)}</text>"
    )
