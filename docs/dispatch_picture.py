"""Draws the picture of a dispatch: its registrations, its plan and its calls, from left to right or top to bottom.

The registrations and the plan are those of a real dispatcher, so that the picture cannot contradict the library.
``python -m docs.pictures`` writes the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from typing import NamedTuple

from antiphon import AsyncEventDispatcher, Event

LINE = 22
MARGIN = 16
PADDING = 12
#: The width of an arrow between two panels.
ARROW = 28
#: The width of the picture for narrow screens.
NARROW = 360
#: The distance between the panels and the texts above and below them.
GAP = 16

STYLE = """
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #1f2328; white-space: pre; }
.page { fill: #ffffff; }
.name { font-weight: 700; }
.quiet { fill: #59636e; }
.panel { fill: none; stroke: #d1d9e0; }
.tier { fill: #ddf4ff; stroke: #0969da; }
.arrow { fill: none; stroke: #0969da; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .page { fill: #0d1117; }
  .quiet { fill: #9198a1; }
  .panel { stroke: #2f3742; }
  .tier { fill: #10233f; stroke: #4493f8; }
  .arrow { stroke: #4493f8; }
}
"""

#: What happens to one listener: a question or an action, and the effect.
STEPS = (
    ("is it removed?", "skip it"),
    ("where, once", "skip it"),
    ("limit", "wait"),
    ("await listener(event)", "timeout"),
    ("does it raise?", "error policy"),
    ("is the event stopped?", "end"),
)


class OrderPlaced(Event):
    """The event of the picture."""


def make_dispatcher() -> AsyncEventDispatcher:
    """Create the dispatcher of the picture. The page `how-a-dispatch-works` has the same listeners."""
    dispatcher = AsyncEventDispatcher(name="shop")

    @dispatcher.listen("order.placed", priority=10)
    async def thank(event: object) -> None: ...

    @dispatcher.listen("order.*")
    async def log(event: object) -> None: ...

    @dispatcher.listen("order.paid")
    async def ship(event: object) -> None: ...

    @dispatcher.listen(OrderPlaced)
    async def reserve(event: object) -> None: ...

    @dispatcher.listen("order.placed", priority=-10)
    async def validate(event: object) -> None: ...

    return dispatcher


class Panel(NamedTuple):
    """A box with a title, and what draws its content at a position and in a width."""

    title: str
    subtitle: str
    draw: Callable[[float, float, float], Iterator[str]]
    width: float
    rows: int

    @property
    def height(self) -> float:
        return LINE * (self.rows + 2) + 2 * PADDING + 8


def draw_dispatch(*, narrow: bool) -> str:
    """Draw the picture as SVG."""
    panels = make_panels()
    if narrow:
        panels = [panel._replace(width=NARROW - 2 * MARGIN) for panel in panels]
    else:
        panels = [panel._replace(rows=max(panel.rows for panel in panels)) for panel in panels]
    marks = [_draw_text(MARGIN, MARGIN, 'adispatch("order.placed", OrderPlaced())', "name")]
    x, y = float(MARGIN), float(MARGIN + LINE + GAP)
    for panel in panels:
        if panel is not panels[0] and narrow:
            marks.append(_draw_arrow(x + panel.width / 2, y - ARROW + 4, 0, ARROW - 8))
        elif panel is not panels[0]:
            marks.append(_draw_arrow(x - ARROW + 4, y + panel.height / 2, ARROW - 8, 0))
        marks += _draw_panel(panel, x, y)
        if narrow:
            y += panel.height + ARROW
        else:
            x += panel.width + ARROW
    bottom = y - ARROW if narrow else y + panels[0].height
    marks.append(_draw_text(MARGIN, bottom + GAP - 4, "returns the same event, or raises", "name"))
    width = NARROW if narrow else round(x - ARROW + MARGIN)
    height = round(bottom + GAP + LINE + MARGIN - 8)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} style="color-scheme: light dark">',
            "<title>How a dispatch works</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
            *marks,
            "</svg>\n",
        )
    )


def make_panels() -> list[Panel]:
    """Read the registrations and the plan of the dispatcher."""
    dispatcher = make_dispatcher()
    # The description of a name also has the listeners of the patterns that match it.
    registrations = [row for key in dispatcher.describe().keys for row in key.listeners if row.key == key.key]
    order = [listener.__name__ for listener in dispatcher.get_listeners("order.placed", OrderPlaced)]
    called = sorted(
        (row for row in registrations if row.definition.name in order), key=lambda row: order.index(row.definition.name)
    )

    def draw_registrations(x: float, y: float, width: float) -> Iterator[str]:
        for row in registrations:
            style = "" if row in called else "quiet"
            yield _draw_text(x, y, getattr(row.key, "__name__", str(row.key)), style)
            yield _draw_text(x + width * 0.63, y, str(row.priority), style, "end")
            yield _draw_text(x + width, y, row.definition.name, style, "end")
            y += LINE

    def draw_plan(x: float, y: float, width: float) -> Iterator[str]:
        for priority, tier in groupby(called, key=lambda row: row.priority):
            rows = list(tier)
            yield f'<rect class="tier" x="{x}" y="{y - 1}" width="{width}" height="{LINE * len(rows)}" rx="4"/>'
            yield _draw_text(x + 8, y, f"tier {priority}")
            for row in rows:
                yield _draw_text(x + width - 8, y, row.definition.name, "", "end")
                y += LINE
            y += 6

    def draw_steps(x: float, y: float, width: float) -> Iterator[str]:
        for step, effect in STEPS:
            yield _draw_text(x, y, step, "name" if step.startswith("await") else "")
            yield _draw_text(x + width, y, effect, "quiet", "end")
            y += LINE

    return [
        Panel("1. Registrations", "of the dispatcher", draw_registrations, 244, len(registrations)),
        Panel("2. Plan", "of the name and the class", draw_plan, 208, len(called) + 1),
        Panel("3. Each listener", "tier by tier", draw_steps, 260, len(STEPS)),
    ]


def _draw_panel(panel: Panel, x: float, y: float) -> Iterator[str]:
    yield f'<rect class="panel" x="{x}" y="{y}" width="{panel.width}" height="{panel.height}" rx="6"/>'
    top = y + PADDING - 4
    yield _draw_text(x + PADDING, top, panel.title, "name")
    yield _draw_text(x + PADDING, top + LINE, panel.subtitle, "quiet")
    yield from panel.draw(x + PADDING, top + 2 * LINE + 8, panel.width - 2 * PADDING)


def _draw_text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:g}" y="{y + 15:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _draw_arrow(x: float, y: float, right: float, down: float) -> str:
    head = "m-6 -5 l6 5 l-6 5" if right else "m-5 -6 l5 6 l5 -6"
    return f'<path class="arrow" d="M{x:g} {y:g} l{right} {down} {head}"/>'
