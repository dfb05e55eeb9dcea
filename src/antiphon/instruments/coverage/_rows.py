"""The counters of a listener and of an event. They contain numbers and text only, and can be pickled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any, TypeAlias

from antiphon._introspection.description import ListenerDescription, get_key_label, get_key_parts
from antiphon._util.arguments import hides_parameters
from antiphon.instruments import DispatchRecord, ListenerRecord, SkipReason

__all__ = ("CoverageRow", "EventCoverage", "ListenerCoverage", "Row", "make_event", "make_listeners")


class CoverageRow:
    """The numbers that the rows of events and of listeners have in common."""

    __slots__ = ("cancelled", "dispatcher", "failed", "finished", "longest", "total")

    #: The name of the dispatcher, or of its class.
    dispatcher: str
    #: How many of the dispatches or calls have finished, in any way.
    finished: int
    #: How many of them raised an error.
    failed: int
    #: How many of them were cancelled.
    cancelled: int
    #: The sum of the durations, in seconds.
    total: float
    #: The longest duration, in seconds.
    longest: float

    @hides_parameters
    def __init__(self, dispatcher: str) -> None:
        self.dispatcher = dispatcher
        self.finished = self.failed = self.cancelled = 0
        self.total = self.longest = 0.0

    @property
    def mean(self) -> float:
        """The mean duration, in seconds."""
        return self.total / self.finished if self.finished else 0.0

    def add(self, record: DispatchRecord | ListenerRecord) -> None:
        """Count a dispatch or a call that has finished."""
        duration = record.duration or 0.0
        self.finished += 1
        self.failed += record.outcome == "failed"
        self.cancelled += record.outcome == "cancelled"
        self.total += duration
        self.longest = max(self.longest, duration)

    def _merge(self, other: CoverageRow) -> None:
        self.finished += other.finished
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.total += other.total
        self.longest = max(self.longest, other.longest)


class ListenerCoverage(CoverageRow):
    """The calls of a listener. Registrations with the same listener, key and priority are one row."""

    __slots__ = ("calls", "key", "listener", "options", "place", "priority", "skipped")

    #: The key of the registration.
    key: str
    #: The name of the listener.
    listener: str
    #: The file and the line of its definition, or an empty string.
    place: str
    #: The priority.
    priority: int
    #: A text for each option of the registration.
    options: tuple[str, ...]
    #: How often it was called.
    calls: int
    #: How often it was skipped, by reason.
    skipped: Counter[SkipReason]

    @hides_parameters
    def __init__(
        self,
        dispatcher: str,
        key: str = "",
        listener: str = "",
        place: str = "",
        *,
        priority: int = 0,
        options: tuple[str, ...] = (),
    ) -> None:
        super().__init__(dispatcher)
        self.key = key
        self.listener = listener
        self.place = place
        self.priority = priority
        self.options = options
        self.calls = 0
        self.skipped = Counter()

    @property
    def identity(self) -> Hashable:
        """The values that make two registrations one row."""
        return self.dispatcher, self.key, self.listener, self.place, self.priority

    @property
    def flags(self) -> tuple[str, ...]:
        """The check boxes of the HTML page that select the row."""
        return _select({"uncalled": not self.calls, "failed": bool(self.failed)})

    def merge(self, other: ListenerCoverage) -> None:
        """Add the numbers of the same listener in another process."""
        self._merge(other)
        self.calls += other.calls
        self.skipped += other.skipped

    def __repr__(self) -> str:
        return f"<ListenerCoverage {self.listener!r} of {self.key!r}, calls: {self.calls}>"


class EventCoverage(CoverageRow):
    """The dispatches of a name, or of a class if its events have no name."""

    __slots__ = ("dispatches", "event", "event_class", "unreceived")

    #: The name of the event, or its class after the word ``class``.
    event: str
    #: The class of the first event, or an empty string.
    event_class: str
    #: How often it was dispatched; 0 if there are only listeners or a declaration.
    dispatches: int
    #: In how many dispatches no listener was called.
    unreceived: int

    @hides_parameters
    def __init__(self, dispatcher: str, event: str = "", event_class: str = "") -> None:
        super().__init__(dispatcher)
        self.event = event
        self.event_class = event_class
        self.dispatches = self.unreceived = 0

    @property
    def identity(self) -> Hashable:
        """The values that make two dispatches one row."""
        return self.dispatcher, self.event

    @property
    def flags(self) -> tuple[str, ...]:
        """The check boxes of the HTML page that select the row."""
        unreceived = 0 < self.dispatches == self.unreceived
        return _select({"unreceived": unreceived, "undispatched": not self.dispatches, "failed": bool(self.failed)})

    def merge(self, other: EventCoverage) -> None:
        """Add the numbers of the same event in another process."""
        self._merge(other)
        self.event_class = self.event_class or other.event_class
        self.dispatches += other.dispatches
        self.unreceived += other.unreceived

    def __repr__(self) -> str:
        return f"<EventCoverage {self.event!r}, dispatches: {self.dispatches}>"


Row: TypeAlias = ListenerCoverage | EventCoverage


def make_listeners(dispatcher: str, description: ListenerDescription) -> Iterator[ListenerCoverage]:
    """Make a row for each key of a listener."""
    for key in get_key_parts(description.key):
        # Whether a description is that of a scope makes no difference.
        options = description._replace(inherited=False).options
        place, priority = description.definition.place, description.priority
        yield ListenerCoverage(dispatcher, _label(key), description.name, place, priority=priority, options=options)


def make_event(dispatcher: str, name: Any, event_class: Any) -> EventCoverage:
    """Make a row for the events of a name, or of a class if the name is None. The class is None if it is unknown."""
    class_label = "" if event_class is None else get_key_label(event_class)
    return EventCoverage(dispatcher, _label(event_class if name is None else name), class_label)


def _label(key: Any) -> str:
    return f"class {get_key_label(key)}" if isinstance(key, type) else get_key_label(key)


def _select(flags: dict[str, bool]) -> tuple[str, ...]:
    return tuple(flag for flag, is_set in flags.items() if is_set)
