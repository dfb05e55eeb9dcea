"""Draws the pictures of docs/timeline.md: ``python docs/pictures.py``.

They show plays, with times that are set here, so that they are the same whenever they are drawn; a test tells when to
draw them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon import AsyncEventDispatcher, Event
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline import as_svg, as_text

DOCS = Path(__file__).parent
FOLDER = DOCS / "pictures"
PAGE = DOCS / "timeline.md"
BEGIN, END = "<!-- written by `python docs/pictures.py`: begin -->", "<!-- end -->"

#: Milliseconds of the play, in seconds of ``perf_counter``, which begins anywhere.
BEGINNING = 1000.0


class OrderPlaced(Event):
    """What is dispatched in most of the plays."""


class TimelineBuilder:
    """Dispatches whose times are set by hand, in milliseconds."""

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
        record.started, record.finished, record.outcome = _seconds(start), _seconds_or_none(end), outcome
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
        """Add the call of a listener, given itself or by its name, to a dispatch."""
        call = self._planned(record, listener, priority)
        call.started, call.finished = _seconds(start), _seconds_or_none(end)
        call.outcome, call.error = outcome, error
        if stops:
            record.stopped_by = call
        return call

    def skip(self, record: DispatchRecord, listener: Any, because: Any, *, priority: int = 0) -> ListenerRecord:
        """Add a listener that was not called to a dispatch."""
        call = self._planned(record, listener, priority)
        call.outcome, call.skipped_because = "skipped", because
        return call

    def _planned(self, record: DispatchRecord, listener: Any, priority: int) -> ListenerRecord:
        function = self._named(listener) if isinstance(listener, str) else listener
        subscription = record.dispatcher.add_listener(record.name or Event, function, priority=priority)
        call = ListenerRecord(record, subscription)
        record.listeners = (*record.listeners, call)
        return call

    def _named(self, name: str) -> Callable[..., Any]:
        if name not in self._listeners:

            async def listener(event: object) -> None: ...

            listener.__qualname__ = name
            self._listeners[name] = listener
        return self._listeners[name]


def _seconds(milliseconds: float) -> float:
    return BEGINNING + milliseconds / 1000


def _seconds_or_none(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else _seconds(milliseconds)


def in_turn_or_together() -> list[DispatchRecord]:
    """One order, dispatched sequentially and then concurrently."""
    play = TimelineBuilder()
    order = play.dispatch("order.placed", 0, 22.4)
    play.call(order, "validate", 0, 3.1, priority=-10)
    play.call(order, "reserve", 3.1, 9.2)
    play.call(order, "charge", 9.2, 18.3)
    play.call(order, "receipt", 18.3, 22.4, priority=10)
    order = play.dispatch("order.placed", 40, 56.4)
    play.call(order, "validate", 40, 43.2, priority=-10)
    play.call(order, "reserve", 43.2, 49.3)
    play.call(order, "charge", 43.2, 52.3)
    play.call(order, "receipt", 52.3, 56.4, priority=10)
    return play.records


def race() -> list[DispatchRecord]:
    """Three caches are asked, and one answers first."""
    play = TimelineBuilder("catalogue")
    price = play.dispatch("price.wanted", 0, 6.2, "stopped")
    play.call(price, "authorize", 0, 1.4, priority=-10)
    play.call(price, "ask_memory", 1.4, 2.1)
    play.call(price, "ask_neighbour", 1.4, 5.8, stops=True)
    play.call(price, "ask_database", 1.4, 6.2, "cancelled")
    play.skip(price, "note_the_miss", "stopped", priority=10)
    return play.records


def nested() -> list[DispatchRecord]:
    """A listener dispatches another event, and a listener of that one fails."""
    play = TimelineBuilder()
    order = play.dispatch("order.placed", 0, 21.0, "failed")
    play.call(order, "validate", 0, 2.0, priority=-10)
    play.call(order, "reserve", 2.0, 14.5, "cancelled")
    charge = play.call(order, "charge", 2.0, 14.2, "failed", error=RuntimeError("the card was refused"))
    play.skip(order, "receipt", "failed", priority=10)
    payment = play.dispatch("payment.wanted", 4.0, 13.9, "failed", parent=charge)
    play.call(payment, "assess_risk", 4.0, 8.2)
    play.call(payment, "Bank.pay", 8.2, 13.9, "failed", error=RuntimeError("the card was refused"))
    order.finished = _seconds(14.6)
    return play.records


PICTURES: dict[str, Callable[[], list[DispatchRecord]]] = {
    "in-turn-or-together": in_turn_or_together,
    "race": race,
    "nested": nested,
}


def draw(name: str) -> str:
    """Draw one of them."""
    return as_svg(PICTURES[name](), width=760)


def with_text(page: str) -> str:
    """Draw the one in characters, in its place on the page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```text\n{as_text(in_turn_or_together(), width=76)}```\n{END}{after}"


def main() -> None:
    """Draw all of them."""
    PAGE.write_text(with_text(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(draw(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
