"""An instrument that counts what is dispatched, for the report."""

from collections import Counter
from typing import Any

from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord


class Tally(Instrument):
    """Counts dispatches, the listeners that they run, and those that a listener stopped.

    Attributes:
        events: How often each name was dispatched.
        listeners: How many listeners were run.
        stops: How many dispatches were stopped.
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
        """Count a stop, if it was one."""
        self.stops += record.outcome == "stopped"
