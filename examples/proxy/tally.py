"""An instrument that counts dispatches for the report."""

from collections import Counter
from typing import Any

from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord


class Tally(Instrument):
    """Counts dispatches, listener calls, and stopped dispatches.

    Attributes:
        events: The number of dispatches of each name.
        listeners: The number of listener calls.
        stops: The number of stopped dispatches.
    """

    def __init__(self) -> None:
        self.events: Counter[Any] = Counter()
        self.listeners = 0
        self.stops = 0

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Count a dispatch."""
        self.events[record.name] += 1

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Count the call of a listener."""
        self.listeners += 1

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Count the dispatch if it was stopped."""
        self.stops += record.outcome == "stopped"
