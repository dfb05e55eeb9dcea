"""Draws the pictures in the docs: ``python -m docs.pictures``.

Most of them are timelines; ``dispatch_picture`` draws the other one. The times of the dispatches are fixed, so that the
pictures are always the same. A test fails if they are out of date. Each picture has a file for the light and one for
the dark theme of the docs, because a picture that adapts to the system does not follow the switch of the page. Narrow
screens have files of their own, so that the text is readable.

This module is a Sphinx extension with one directive: ``picture`` shows the file for the theme and the screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon import AsyncEventDispatcher, Event
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline import as_svg, as_text
from docs.dispatch_picture import draw_dispatch

DOCS = Path(__file__).parent
FOLDER = DOCS / "pictures"
PAGE = DOCS / "timeline.md"
BEGIN_MARKER, END_MARKER = "<!-- written by `python -m docs.pictures`: begin -->", "<!-- end -->"

#: The start of all dispatches, in seconds of ``perf_counter``. The clock has an arbitrary start.
START = 1000.0


class OrderPlaced(Event):
    """The event of most dispatches."""


class TimelineBuilder:
    """Builds records of dispatches from times in milliseconds."""

    def __init__(self, name: str | None = "shop", dispatcher: Any = None) -> None:
        self.dispatcher: Any = (
            AsyncEventDispatcher(name=name, sync_listeners="inline") if dispatcher is None else dispatcher
        )
        self.records: list[DispatchRecord] = []
        self._listeners: dict[str, Callable[..., Any]] = {}

    def dispatch(
        self,
        name: Any,
        start: float,
        end: float | None,
        outcome: Any = "finished",
        *,
        event: Any = None,
        parent: ListenerRecord | None = None,
    ) -> DispatchRecord:
        """Add a dispatch."""
        record = DispatchRecord(OrderPlaced() if event is None else event, name, self.dispatcher, parent)
        record.started, record.finished, record.outcome = _to_seconds(start), _to_seconds_or_none(end), outcome
        self.records.append(record)
        return record

    def call(
        self,
        record: DispatchRecord,
        listener: Any,
        start: float,
        end: float | None,
        outcome: Any = "finished",
        *,
        priority: int = 0,
        error: BaseException | None = None,
        stops: bool = False,
    ) -> ListenerRecord:
        """Add the call of a listener to a dispatch. The listener is a callable, or the name of one to make."""
        call = self._add_call(record, listener, priority)
        call.started, call.finished = _to_seconds(start), _to_seconds_or_none(end)
        call.outcome, call.error = outcome, error
        if stops:
            record.stopped_by = call
        return call

    def skip(self, record: DispatchRecord, listener: Any, because: Any, *, priority: int = 0) -> ListenerRecord:
        """Add a listener that was not called to a dispatch."""
        call = self._add_call(record, listener, priority)
        call.outcome, call.skipped_because = "skipped", because
        return call

    def _add_call(self, record: DispatchRecord, listener: Any, priority: int) -> ListenerRecord:
        function = self._make_listener(listener) if isinstance(listener, str) else listener
        subscription = record.dispatcher.add_listener(record.name or Event, function, priority=priority)
        record._add_calls((subscription,))  # noqa: SLF001  only a dispatch adds calls otherwise
        return record.listeners[-1]

    def _make_listener(self, name: str) -> Callable[..., Any]:
        if name not in self._listeners:

            async def listener(event: object) -> None: ...

            listener.__qualname__ = name
            self._listeners[name] = listener
        return self._listeners[name]


def _to_seconds(milliseconds: float) -> float:
    return START + milliseconds / 1000


def _to_seconds_or_none(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else _to_seconds(milliseconds)


def in_turn_or_together() -> list[DispatchRecord]:
    """One order, dispatched sequentially and then concurrently."""
    builder = TimelineBuilder()
    return [*sequential(builder), *concurrent(builder, 40)]


def sequential(builder: TimelineBuilder | None = None) -> list[DispatchRecord]:
    """One order, dispatched sequentially."""
    builder = builder or TimelineBuilder()
    order = builder.dispatch("order.placed", 0, 22.4)
    builder.call(order, "validate", 0, 3.1, priority=-10)
    builder.call(order, "reserve", 3.1, 9.2)
    builder.call(order, "charge", 9.2, 18.3)
    builder.call(order, "receipt", 18.3, 22.4, priority=10)
    return [order]


def concurrent(builder: TimelineBuilder | None = None, start: float = 0) -> list[DispatchRecord]:
    """One order, dispatched concurrently."""
    builder = builder or TimelineBuilder()
    order = builder.dispatch("order.placed", start, start + 16.4)
    builder.call(order, "validate", start, start + 3.2, priority=-10)
    builder.call(order, "reserve", start + 3.2, start + 9.3)
    builder.call(order, "charge", start + 3.2, start + 12.3)
    builder.call(order, "receipt", start + 12.3, start + 16.4, priority=10)
    return [order]


def race() -> list[DispatchRecord]:
    """Three listeners look for a price, and one of them stops the event first."""
    builder = TimelineBuilder("catalogue")
    price = builder.dispatch("price.wanted", 0, 6.2, "stopped")
    builder.call(price, "authorize", 0, 1.4, priority=-10)
    builder.call(price, "read_cache", 1.4, 2.1)
    builder.call(price, "query_replica", 1.4, 5.8, stops=True)
    builder.call(price, "query_origin", 1.4, 6.2, "cancelled")
    builder.skip(price, "record_misses", "stopped", priority=10)
    return builder.records


def nested() -> list[DispatchRecord]:
    """A listener dispatches another event, and a listener of the other event fails."""
    builder = TimelineBuilder()
    order = builder.dispatch("order.placed", 0, 21.0, "failed")
    builder.call(order, "validate", 0, 2.0, priority=-10)
    builder.call(order, "reserve", 2.0, 14.5, "cancelled")
    charge = builder.call(order, "charge", 2.0, 14.2, "failed", error=RuntimeError("the card was refused"))
    builder.skip(order, "receipt", "failed", priority=10)
    payment = builder.dispatch("payment.wanted", 4.0, 13.9, "failed", parent=charge)
    builder.call(payment, "assess_risk", 4.0, 8.2)
    builder.call(payment, "Bank.pay", 8.2, 13.9, "failed", error=RuntimeError("the card was refused"))
    order.finished = _to_seconds(14.6)
    return builder.records


TIMELINES: dict[str, Callable[[], list[DispatchRecord]]] = {
    "in-turn-or-together": in_turn_or_together,
    "sequential": sequential,
    "concurrent": concurrent,
    "race": race,
    "nested": nested,
}
PICTURES = ("dispatch", *TIMELINES)

#: The pictures of ``docs/seeing.md``, which other tools have drawn for a page of any color.
DIAGRAMS = ("shop-dot", "shop-mermaid")
#: The colors of lines, texts and boxes in these pictures, and in those for one theme.
COLORS = {
    "light": {"#70777f": "#59636e"},
    "dark": {
        "#70777f": "#9198a1",
        "#1b1b1f": "#e6edf3",
        "#f3f3f5": "#22262c",
        "#dbe9ff": "#14274a",
        "#dcf3e2": "#10301b",
        "#fdebd3": "#3b2811",
    },
}

#: The width of the timelines for narrow screens, in pixels. A phone shows as many.
NARROW_WIDTH = 360

THEMES = ("light", "dark")
DARK_RULES = re.compile(r"@media \(prefers-color-scheme: dark\) \{\n(.*?\n)\}\n", re.DOTALL)


def draw(name: str, theme: str, *, narrow: bool = False) -> str:
    """Draw one picture as SVG, for one theme."""
    rules = r"\1" if theme == "dark" else ""
    if name == "dispatch":
        svg = draw_dispatch(narrow=narrow)
    else:
        svg = as_svg(TIMELINES[name](), width=NARROW_WIDTH if narrow else 760)
    svg, replaced = DARK_RULES.subn(rules, svg)
    if replaced != 1:
        msg = f"expected one block of rules for dark mode in the picture, found {replaced}"
        raise ValueError(msg)
    return svg.replace("color-scheme: light dark", f"color-scheme: {theme}")


def recolor(name: str, theme: str) -> str:
    """Return a picture of another tool in the colors of one theme."""
    svg = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    for color, themed in COLORS[theme].items():
        red, green, blue = bytes.fromhex(color[1:])
        # Mermaid writes both forms.
        svg = svg.replace(color, themed).replace(f"rgb({red}, {green}, {blue})", themed)
    return svg


def update_page(page: str) -> str:
    """Return the text of the page with the current picture in characters between the markers."""
    before, _, rest = page.partition(BEGIN_MARKER)
    _, _, after = rest.partition(END_MARKER)
    return f"{before}{BEGIN_MARKER}\n```text\n{as_text(in_turn_or_together(), width=76)}```\n{END_MARKER}{after}"


def main() -> None:
    """Draw all pictures and update the page."""
    PAGE.write_text(update_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        for theme in THEMES:
            for narrow in (False, True):
                path = get_path(FOLDER / name, theme, narrow=narrow)
                path.write_text(draw(name, theme, narrow=narrow), encoding="utf-8", newline="\n")
    for name in DIAGRAMS:
        for theme in THEMES:
            get_path(FOLDER / name, theme).write_text(recolor(name, theme), encoding="utf-8", newline="\n")


def get_path(picture: Path, theme: str, *, narrow: bool = False) -> Path:
    """Return the path of the file of a picture for one theme, and for narrow or wide screens."""
    return picture.with_name(f"{picture.name}-{'narrow-' if narrow else ''}{theme}.svg")


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst.directives import unchanged_required
    from sphinx.util.docutils import SphinxDirective

    class PictureDirective(SphinxDirective):
        required_arguments = 1
        option_spec = {"alt": unchanged_required}  # noqa: RUF012 - docutils reads it from the class

        def run(self) -> list[nodes.Node]:
            picture = Path(self.arguments[0])
            folder = Path(self.env.doc2path(self.env.docname)).parent
            if (folder / get_path(picture, "light", narrow=True)).exists():
                widths = {"wide": False, "narrow": True}
                return [self.make_image(picture, theme, width) for theme in THEMES for width in widths.items()]
            images = [self.make_image(picture, theme, ("", False)) for theme in THEMES]
            return [nodes.container("", *images, classes=["scrolled"])]

        def make_image(self, picture: Path, theme: str, width: tuple[str, bool]) -> nodes.image:
            name, narrow = width
            return nodes.image(
                uri=get_path(picture, theme, narrow=narrow).as_posix(),
                alt=self.options["alt"],
                classes=[f"only-{theme}", *filter(None, [name])],
            )

    app.add_directive("picture", PictureDirective)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    main()
