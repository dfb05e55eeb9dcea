"""Draws a run: ``python -m benchmarks.charts RUN.json FOLDER``, one SVG for each stage and loop.

A chart has a block for each workload, in it a row for each candidate and a column for each size. Ratios are drawn from
the limit, which is a line: to the right what takes longer, to the left what takes less. Their scale is logarithmic, as
ten times as long and a tenth are as far from the limit; each block has its own. Values are drawn from nothing, and
each column has its own scale. A chart brings its own ground, and follows a light or dark page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from math import log
from pathlib import Path
from typing import TypeAlias

from benchmarks.report import figure
from benchmarks.results import Result
from benchmarks.runs import read
from benchmarks.stages import STAGES

__all__ = ("chart", "draw", "main", "title_of")

Lengths: TypeAlias = Callable[[Result], tuple[float, float]]
"""Tells where a bar begins and ends, as parts of what a column has room for."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.ground { fill: #ffffff; } .title { font-weight: 600; font-size: 16px; } .workload { font-weight: 600; }
.note { fill: #57606a; } .ours { font-weight: 600; }
.limit { fill: #8c959f; } .antiphon { fill: #0969da; } .peer { fill: #bc4c00; }
.line { stroke: #24292f; stroke-dasharray: 2 2; } .band { fill: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .ground { fill: #131416; } .note { fill: #9198a1; } .band { fill: #1d2025; }
  .limit { fill: #6e7681; } .antiphon { fill: #4493f8; } .peer { fill: #db6d28; } .line { stroke: #e6edf3; }
}
"""

WIDTH, LEFT, EDGE = 900, 200, 14
ROW, BAR = 20, 11
#: What a figure beside a bar needs.
FIGURE = 58

#: No ratio is drawn as if it were less than this from the limit, or the noise would look like something.
LEAST = 1.5


def main(run: str, folder: str) -> None:
    """Draws all charts of a run.

    Args:
        run: The JSON file that the benchmarks wrote.
        folder: Where the SVG files go.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for (stage, backend), group in groupby(read(Path(run)).results, lambda one: (one.stage, one.backend)):
        name = stage if backend == "none" else f"{stage}-{backend}"
        Path(folder, f"{name}.svg").write_text(chart(stage, backend, list(group)), encoding="utf-8")


def title_of(stage: str, backend: str) -> str:
    """Gives the title of a table or chart."""
    return STAGES[stage].title + ("" if backend == "none" else f" on {backend}")


def chart(stage: str, backend: str, results: list[Result]) -> str:
    """Draws the chart of a stage on a loop.

    Args:
        stage: The name of the stage.
        backend: The loop.
        results: What was measured there, or a part of it.
    """
    return draw(title_of(stage, backend), STAGES[stage].columns, results)


def draw(title: str, columns: str, results: list[Result]) -> str:
    """Draws one chart.

    Args:
        title: What stands above it.
        columns: What the sizes are.
        results: What to show.
    """
    marks: list[str] = []
    top = 56
    for workload, group in groupby(results, lambda one: one.workload):
        shown = list(group)
        marks += _block(workload, columns, shown, top)
        top += (len(_rows(shown)) + 2) * ROW + 16
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{top}"/>',
            _text(EDGE, 30, title, "title"),
            *_legend(),
            *marks,
            "</svg>\n",
        )
    )


def _legend() -> Iterator[str]:
    left = WIDTH - 330
    for role, words, width in (("antiphon", "antiphon", 90), ("peer", "other libraries", 125), ("limit", "by hand", 0)):
        yield f'<rect class="{role}" x="{left}" y="20" width="{BAR}" height="{BAR}" rx="2"/>'
        yield _text(left + 18, 30, words, "note")
        left += width


def _block(workload: str, columns: str, results: list[Result], top: int) -> Iterator[str]:
    sizes = sorted({one.size for one in results})
    step = (WIDTH - LEFT - EDGE) / len(sizes)
    names = _rows(results)
    limit = results[0].limit
    about = f" (x {limit}, logarithmic)" if results[0].shows == "ratio" else ""
    yield _text(EDGE, top + 14, workload + about, "workload")
    yield _text(EDGE, top + ROW + 13, columns, "note")
    first = top + 2 * ROW
    for row, name in enumerate(names):
        y = first + row * ROW
        ours = any(one.role == "antiphon" for one in results if one.candidate == name)
        if row % 2:
            yield f'<rect class="band" x="{EDGE - 6}" y="{y}" width="{WIDTH - 2 * EDGE + 12}" height="{ROW}"/>'
        yield _text(EDGE, y + 14, name, "ours" if ours else "")
    spans = _spans(results)
    room = step - FIGURE
    for column, size in enumerate(sizes):
        left = LEFT + column * step
        start, _ = spans.get((limit, size), (0, 0))
        yield _text(left + start * room, top + ROW + 13, f"{size:,}", "note")
        for row, name in enumerate(names):
            one = next((one for one in results if one.candidate == name and one.size == size), None)
            if one is not None and one.value is not None:
                yield from _bar(one, left, first + row * ROW, room, spans[name, size])
        if results[0].shows == "ratio":
            x = left + start * room
            yield f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{first}" y2="{first + len(names) * ROW}"/>'


def _bar(one: Result, left: float, y: float, room: float, span: tuple[float, float]) -> Iterator[str]:
    begin, end = sorted(span)
    width = max((end - begin) * room, 1)
    yield (
        f'<rect class="{one.role}" x="{left + begin * room:.1f}" y="{y + (ROW - BAR) / 2}" '
        f'width="{width:.1f}" height="{BAR}" rx="1.5"/>'
    )
    yield _text(left + end * room + 5, y + 14, figure(one))


def _rows(results: list[Result]) -> list[str]:
    """Gives the names of those that took part."""
    return list(dict.fromkeys(one.candidate for one in results if one.value is not None))


def _spans(results: list[Result]) -> dict[tuple[str, int], tuple[float, float]]:
    """Tells where each bar begins and ends."""
    present = [one for one in results if one.value is not None]
    if results[0].shows == "value":
        most = {one.size: max(other.value or 0 for other in present if other.size == one.size) for one in present}
        return {(one.candidate, one.size): (0, (one.value or 0) / (most[one.size] or 1)) for one in present}
    ratios = [one.ratio for one in present if one.ratio]
    low, high = log(min(*ratios, 1)), log(max(*ratios, LEAST))

    def place(ratio: float) -> float:
        return (log(ratio) - low) / (high - low)

    return {(one.candidate, one.size): (place(1), place(one.ratio or 1)) for one in present}


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


if __name__ == "__main__":
    main(*sys.argv[1:])
