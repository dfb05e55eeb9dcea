"""Draws a run: ``python -m benchmarks.charts RUN.json FOLDER``, one SVG for each stage and loop.

A chart has a block for each workload, in it a row for each candidate and a column for each size. Ratios are drawn from
the limit, which is a line: to the right what takes longer, to the left what takes less. Their scale is logarithmic, as
ten times as long and a tenth are as far from the limit; each block has its own. Values have a scale for each column:
times are drawn from the least in it, logarithmic too, all else from nothing. A chart brings its own ground, and follows
a light or dark page.
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

Place: TypeAlias = Callable[[float], float]
"""Tells where something stands on a scale from 0 to 1."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.ground { fill: #ffffff; } .title { font-weight: 600; font-size: 16px; } .workload { font-weight: 600; }
.note { fill: #57606a; } .ours { font-weight: 600; }
.limit { fill: #8c959f; } .antiphon { fill: #0969da; } .peer { fill: #bc4c00; }
.line { stroke: #24292f; stroke-dasharray: 2 2; } .goal { stroke: #1a7f37; stroke-width: 3; } .band { fill: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .ground { fill: #131416; } .note { fill: #9198a1; } .band { fill: #1d2025; }
  .limit { fill: #6e7681; } .antiphon { fill: #4493f8; } .peer { fill: #db6d28; } .line { stroke: #e6edf3; }
  .goal { stroke: #3fb950; }
}
"""

WIDTH, LEFT, EDGE = 900, 226, 14
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
            *_legend(results),
            *marks,
            "</svg>\n",
        )
    )


def _legend(results: list[Result]) -> Iterator[str]:
    """Tells what the colours are of, as far as there is such a thing in the chart; from the right."""
    left = WIDTH - EDGE
    if any(one.goal is not None for one in results):
        left -= 48
        yield _vertical("goal", left + 8, 18, 15)
        yield _text(left + 17, 30, "goal", "note")
    present = {one.role for one in results if one.value is not None}
    for role, words, width in (("limit", "limits", 74), ("peer", "other libraries", 126), ("antiphon", "antiphon", 92)):
        if role in present:
            left -= width
            yield f'<rect class="{role}" x="{left}" y="20" width="{BAR}" height="{BAR}" rx="2"/>'
            yield _text(left + 18, 30, words, "note")


def _block(workload: str, columns: str, results: list[Result], top: int) -> Iterator[str]:
    sizes = sorted({one.size for one in results})
    step = (WIDTH - LEFT - EDGE) / len(sizes)
    names = _rows(results)
    first = results[0]
    as_ratios = first.shows == "ratio"
    yield _text(EDGE, top + 14, workload + _scale(first), "workload")
    yield _text(EDGE, top + ROW + 13, columns, "note")
    start = top + 2 * ROW
    for row, name in enumerate(names):
        y = start + row * ROW
        ours = any(one.role == "antiphon" for one in results if one.candidate == name)
        if row % 2:
            yield f'<rect class="band" x="{EDGE - 6}" y="{y}" width="{WIDTH - 2 * EDGE + 12}" height="{ROW}"/>'
        yield _text(EDGE, y + 14, name, "ours" if ours else "")
    for column, size in enumerate(sizes):
        here = [one for one in results if one.size == size]
        place = _places(results if as_ratios else here)
        left, room = LEFT + column * step, step - FIGURE
        line = left + (place(1) if as_ratios else 0) * room
        yield _text(line, top + ROW + 13, f"{size:,}", "note")
        for one in here:
            if _drawn(one) is not None:
                yield from _bar(one, line, left, room, start + names.index(one.candidate) * ROW, place)
        if as_ratios:
            yield _vertical("line", line, start, len(names) * ROW)


def _bar(one: Result, line: float, left: float, room: float, y: float, place: Place) -> Iterator[str]:
    """Draws a bar from the line, what it stands for, and the goal if there is one."""
    end = left + place(_drawn(one) or 0) * room
    begin, width = min(line, end), max(abs(end - line), 1)
    yield (
        f'<rect class="{one.role}" x="{begin:.1f}" y="{y + (ROW - BAR) / 2}" '
        f'width="{width:.1f}" height="{BAR}" rx="1.5"/>'
    )
    after = max(line, end)
    if one.role == "antiphon" and one.goal is not None:
        goal = left + place(one.goal) * room
        yield _vertical("goal", goal, y + 2, ROW - 4)
        if goal > after - 2:
            after = goal
    yield _text(after + 5, y + 14, figure(one))


def _rows(results: list[Result]) -> list[str]:
    """Gives the names of those that took part."""
    return list(dict.fromkeys(one.candidate for one in results if one.value is not None))


def _drawn(one: Result) -> float | None:
    return one.ratio if one.shows == "ratio" else one.value


def _places(results: list[Result]) -> Place:
    """Makes a scale on which all of the results have their place, and their goals."""
    goals = [one.goal for one in results if one.goal is not None]
    reached = [*goals, *(found for one in results if (found := _drawn(one)))]
    if _is_linear(results[0]):
        most = max(*reached, 1)
        return lambda value: value / most
    least, most = min(reached), max(reached)
    if results[0].shows == "ratio":
        least, most = min(least, 1), max(most, LEAST)
    low, high = log(least), log(max(most, least * LEAST))
    return lambda value: (log(value) - low) / (high - low)


def _is_linear(one: Result) -> bool:
    return one.shows == "value" and one.unit != "ns"


def _scale(one: Result) -> str:
    """Tells how a block is to be read."""
    if one.shows == "ratio":
        return f" (x {one.limit}, logarithmic)"
    return "" if _is_linear(one) else " (logarithmic)"


def _vertical(style: str, x: float, y: float, height: float) -> str:
    return f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + height}"/>'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


if __name__ == "__main__":
    main(*sys.argv[1:])
