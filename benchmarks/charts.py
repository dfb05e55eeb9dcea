"""Draws the ratios of a run: ``python -m benchmarks.charts RUN.json FOLDER``.

One SVG for each stage and loop whose tables show ratios. Colours come from a style sheet within, so that a chart
follows a light or dark page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.stages import STAGES

__all__ = ("draw", "main")

Row: TypeAlias = dict[str, Any]

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 15px; }
.limit { fill: #8c959f; } .antiphon { fill: #0969da; } .peer { fill: #bc4c00; }
.one { stroke: #24292f; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .limit { fill: #6e7681; } .antiphon { fill: #4493f8; } .peer { fill: #db6d28; }
  .one { stroke: #e6edf3; }
}
"""

BAR, GAP, LEFT, WIDTH = 16, 6, 250, 860


def main(run: str, folder: str) -> None:
    """Draws all charts of a run.

    Args:
        run: The JSON file that the benchmarks wrote.
        folder: Where the SVG files go.
    """
    rows: list[Row] = json.loads(Path(run).read_text(encoding="utf-8"))["results"]
    shown = [row for row in rows if row["shows"] == "ratio" and row["ratio"] is not None]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for (stage, backend), group in groupby(shown, lambda row: (row["stage"], row["backend"])):
        name = stage if backend == "none" else f"{stage}-{backend}"
        title = STAGES[stage].title + ("" if backend == "none" else f" on {backend}")
        Path(folder, f"{name}.svg").write_text(draw(title, STAGES[stage].columns, list(group)), encoding="utf-8")


def draw(title: str, columns: str, rows: list[Row]) -> str:
    """Draws one chart: a bar for each ratio, a dashed line at the limit.

    Args:
        title: What stands above it.
        columns: What the sizes are.
        rows: The results to show.
    """
    scale = (WIDTH - LEFT - 60) / max(row["ratio"] for row in rows)
    marks: list[str] = []
    top = 40
    for (workload, size, limit), group in groupby(rows, lambda row: (row["workload"], row["size"], row["limit"])):
        top += 3 * GAP + BAR
        marks.append(_text(12, top - GAP, f"{workload} ({columns}: {size:,}): x {limit}", "title"))
        first, one = top, LEFT + scale
        for row in group:
            marks += _bar(row, top, scale)
            top += BAR + GAP
        marks.append(f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{first}" y2="{top - GAP}"/>')
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + GAP}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            _text(12, 24, title, "title"),
            *marks,
            "</svg>\n",
        )
    )


def _bar(row: Row, top: int, scale: float) -> Iterator[str]:
    length = row["ratio"] * scale
    yield _text(12, top + BAR - 4, row["candidate"])
    yield f'<rect class="{row["role"]}" x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>'
    yield _text(LEFT + length + 6, top + BAR - 4, f"{row['ratio']:.2f}")


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


if __name__ == "__main__":
    main(*sys.argv[1:])
