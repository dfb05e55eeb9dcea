"""The instrument that counts dispatches and calls, and knows the listeners that were never called."""

# ruff: noqa: SLF001  it uses private attributes of dispatchers
from __future__ import annotations

from collections.abc import Hashable, Iterable
from copy import copy
from heapq import heappush, heappushpop
from itertools import count
from os import PathLike
from threading import RLock
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from antiphon._dispatchers.scope import ScopeMixin
from antiphon._introspection.description import describe_listener
from antiphon._util.arguments import hides_parameters
from antiphon._util.naming import safe_repr
from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments._block import AnyDispatcher, BlockInstrument, check_path
from antiphon.instruments._global import find_dispatchers
from antiphon.instruments.coverage._html import render_html
from antiphon.instruments.coverage._rows import EventCoverage, ListenerCoverage, make_event, make_listeners
from antiphon.instruments.coverage._text import render_text
from antiphon.instruments.timeline._chart import Group, make_chart

__all__ = ("Coverage", "coverage")

PartT = TypeVar("PartT")
RowT = TypeVar("RowT", EventCoverage, ListenerCoverage)

#: The maximum number of rows of events and of listeners. Programs may dispatch names that contain numbers.
_MAX_ROWS: Final = 10_000

#: How many dispatchers are kept until their listeners are described.
_MAX_DISPATCHERS: Final = 100

#: The label of rows beyond the maximum.
_OTHERS: Final = "(others)"


def coverage(
    path: str | PathLike[str] | None = None, /, *dispatchers: AnyDispatcher, max_slowest: int = 20
) -> Coverage:
    """Count the dispatches and calls in a ``with`` block, and write them to a file when the block ends.

    The file is an HTML page, or plain text if its name ends in ``.txt``. It is also written if the block raises, and
    the exception is raised unchanged.

    Args:
        path: The file; None to write no file.
        *dispatchers: The dispatchers to observe, including their scopes. By default all dispatchers of the process,
            including those that are created in the block.
        max_slowest: The number of slowest dispatches to keep for the timeline, with their events.

    Returns:
        A context manager that returns itself on entry.

    Raises:
        OSError: If the file cannot be written. Raised on entry, or when the block ends.
        TypeError: If ``path`` is not a path, another argument is not a dispatcher, or ``max_slowest`` is not an int.
        ValueError: If ``max_slowest`` is negative.
    """
    return Coverage(path, *dispatchers, max_slowest=max_slowest)


class Coverage(BlockInstrument):
    """The calls of each listener and the dispatches of each event, and their tables.

    It is an instrument. To observe a running program, use ``dispatcher.add_instrument(Coverage())``, and `write` a file
    at any time. The arguments are those of `coverage`.

    Raises:
        OSError: As for `coverage`.
        TypeError: As for `coverage`.
        ValueError: As for `coverage`.
    """

    __slots__ = (
        "_events",
        "_listeners",
        "_lock",
        "_max_slowest",
        "_merged_timeline",
        "_numbers",
        "_rows_by_name",
        "_rows_by_order",
        "_slowest",
        "_undescribed",
        "_unidentified",
    )

    _name = "coverage"

    @hides_parameters
    def __init__(
        self, path: str | PathLike[str] | None = None, /, *dispatchers: AnyDispatcher, max_slowest: int = 20
    ) -> None:
        super().__init__(path, dispatchers)
        self._max_slowest = _check_max_slowest(max_slowest)
        self._events: dict[Any, EventCoverage] = {}
        self._listeners: dict[Any, ListenerCoverage] = {}
        # A cache of the rows. The order of a registration, which may have several keys, is unique in a process.
        self._rows_by_name: dict[tuple[str, Hashable, Any], EventCoverage] = {}
        self._rows_by_order: dict[tuple[int, Hashable], ListenerCoverage] = {}
        #: The listeners that have no description yet, each with a record of a call.
        self._unidentified: list[tuple[ListenerCoverage, ListenerRecord]] = []
        #: The dispatchers whose listeners are to be described, by id. They may have been removed from the program.
        self._undescribed: dict[int, Any] = {}
        #: A heap. The numbers decide between dispatches of the same duration.
        self._slowest: list[tuple[float, int, DispatchRecord]] = []
        self._merged_timeline: tuple[Group, ...] = ()
        self._numbers = count()
        # Threads may dispatch while another thread reads the rows. The lock is reentrant, because the finalizer of an
        # object that is garbage-collected meanwhile may dispatch.
        self._lock = RLock()

    # Counting

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """Count the dispatch."""
        root = _find_root(record.dispatcher)
        with self._lock:
            self._undescribed[id(root)] = root
            is_full = len(self._undescribed) > _MAX_DISPATCHERS
            event = self._find_event(record)
            event.dispatches += 1
        if is_full:
            self.collect()

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """Count the outcome and the duration of the dispatch."""
        with self._lock:
            event = self._find_event(record)
            event.add(record)
            event.unreceived += all(call.started is None for call in record.listeners)
            if self._max_slowest:
                push = heappush if len(self._slowest) < self._max_slowest else heappushpop
                push(self._slowest, (record.duration or 0.0, next(self._numbers), record))
            if self._unidentified:
                self._identify_listeners()

    def listener_started(self, record: ListenerRecord, /) -> None:
        """Count the call."""
        with self._lock:
            self._find_listener(record).calls += 1

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """Count the outcome and the duration of the call."""
        with self._lock:
            self._find_listener(record).add(record)

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """Count the reason."""
        if record.skipped_because is not None:
            with self._lock:
                self._find_listener(record).skipped[record.skipped_because] += 1

    def collect(self) -> None:
        """Add the listeners that the observed dispatchers have now, so that those that are never called are known.

        Reading a result does the same. Call it before you drop a dispatcher.
        """
        with self._lock:
            dispatchers = [*self._undescribed.values(), *self._dispatchers]
            self._undescribed.clear()
            self._identify_listeners()
        for dispatcher in dispatchers:
            self._describe(dispatcher)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if not self._dispatchers:
            with self._lock:
                roots = [found for found in find_dispatchers() if _find_root(found) is found]
                self._undescribed.update({id(root): root for root in roots})
        self.collect()
        super().__exit__(exc_type, exc, traceback)

    # The results

    @property
    def listeners(self) -> tuple[ListenerCoverage, ...]:
        """The listeners, including those that were never called."""
        self.collect()
        with self._lock:
            rows = [copy(row) for row in self._listeners.values()]
        for row in rows:
            row.skipped = row.skipped.copy()
        return tuple(rows)

    @property
    def events(self) -> tuple[EventCoverage, ...]:
        """The events, including names that have listeners or were declared, but were never dispatched."""
        self.collect()
        with self._lock:
            return tuple(map(copy, self._events.values()))

    @property
    def slowest(self) -> tuple[DispatchRecord, ...]:
        """The slowest dispatches, with the slowest one first."""
        with self._lock:
            return tuple(record for _, _, record in sorted(self._slowest, key=lambda each: (-each[0], each[1])))

    @property
    def timeline(self) -> tuple[object, ...]:
        """The slowest dispatches as the page draws them, without their events, so that they can be pickled."""
        return self._make_timeline()

    def text(self) -> str:
        """Return tables in plain text: what was not called, what was not received, and what is slow.

        Returns:
            Lines of text, each with a line break at its end.
        """
        return render_text(self.listeners, self.events)

    def html(self) -> str:
        """Return an HTML page, which is a single file: all listeners, all events and the slowest dispatches.

        Returns:
            The text of the file.
        """
        return render_html(self.listeners, self.events, self._make_timeline())

    def write(self, path: str | PathLike[str], /) -> None:
        """Write plain text if the path ends in ``.txt``, and an HTML page otherwise.

        Raises:
            OSError: If the file cannot be written.
            TypeError: If ``path`` is not a path.
            ValueError: If the operating system cannot have a file of this name, such as one with a null character.
        """
        path = check_path(path)
        text = self.text() if path.suffix.lower() == ".txt" else self.html()
        path.write_text(text, encoding="utf-8", newline="\n")

    def __repr__(self) -> str:
        return f"<Coverage, listeners: {len(self._listeners)}, events: {len(self._events)}>"

    # Other processes

    def merge(
        self, listeners: Iterable[ListenerCoverage], events: Iterable[EventCoverage], timeline: Iterable[object] = ()
    ) -> None:
        """Add the rows of another process, which can be pickled.

        Args:
            listeners: The `listeners` of the other coverage.
            events: Its `events`.
            timeline: Its `timeline`.

        Raises:
            TypeError: If one of them is not an iterable of such rows. Nothing is added then.
        """
        listeners = _check_rows(listeners, ListenerCoverage, "listeners")
        events = _check_rows(events, EventCoverage, "events")
        groups = _check_rows(timeline, Group, "timeline")
        with self._lock:
            self._merged_timeline += groups
            _merge(self._listeners, listeners)
            _merge(self._events, events)

    def _make_timeline(self) -> tuple[Group, ...]:
        groups = make_chart(self.slowest, "dispatch", self._until, 0).groups
        ordered = sorted((*groups, *self._merged_timeline), key=lambda group: -group.duration)
        return tuple(ordered[: self._max_slowest])

    # Rows

    def _find_event(self, record: DispatchRecord) -> EventCoverage:
        name = _find_root(record.dispatcher)._get_display_name()
        event: object = record.event
        key = (name, record.name, type(event))
        row = self._rows_by_name.get(key)
        if row is None:
            if len(self._rows_by_name) >= _MAX_ROWS:
                self._rows_by_name.clear()
            made = make_event(*key)
            row = self._rows_by_name[key] = _add(self._events, made)
            row.event_class = row.event_class or made.event_class
        return row

    def _find_listener(self, record: ListenerRecord) -> ListenerCoverage:
        key = (record.subscription.order, record.subscription.key)
        row = self._rows_by_order.get(key)
        if row is None:
            if len(self._rows_by_order) >= _MAX_ROWS:
                # Programs that register listeners for each request would fill the memory.
                self._rows_by_order.clear()
            row = self._rows_by_order[key] = ListenerCoverage("")
            # Describe the listener later, because the time would count as that of its first call.
            self._unidentified.append((row, record))
        return row

    def _identify_listeners(self) -> None:
        while self._unidentified:
            counted, record = self._unidentified.pop()
            dispatcher, subscription = record.dispatch.dispatcher, record.subscription
            # The owner decides only whether a description is that of a scope.
            description = describe_listener([subscription], dispatcher._unwrap_listener, None)
            name = _find_root(dispatcher)._get_display_name()
            row = _add(self._listeners, next(make_listeners(name, description)))
            row.merge(counted)
            self._rows_by_order[subscription.order, subscription.key] = row

    def _describe(self, dispatcher: AnyDispatcher) -> None:
        try:
            description = dispatcher.describe()
        except AttributeError:
            # Another thread is creating the dispatcher, or its `__init__` does not call that of its base class.
            return
        name = dispatcher._get_display_name()  # pyright: ignore[reportPrivateUsage]
        with self._lock:
            for listener in description.listeners:
                for row in make_listeners(name, listener):
                    _add(self._listeners, row)
            for key in description.keys:
                if key.kind in ("name", "other"):
                    _add(self._events, make_event(name, key.key, None))


def _add(rows: dict[Any, RowT], row: RowT) -> RowT:
    """Add a row, unless it is there. Return the row that is there."""
    if row.identity not in rows and len(rows) >= _MAX_ROWS:
        row = type(row)(_OTHERS)
    return rows.setdefault(row.identity, row)


def _merge(rows: dict[Any, RowT], others: Iterable[RowT]) -> None:
    for other in others:
        row = _add(rows, other)
        if row is not other:
            row.merge(other)


def _check_rows(rows: Any, cls: type[PartT], what: str) -> tuple[PartT, ...]:
    checked: tuple[Any, ...] | None = tuple(rows) if hasattr(rows, "__iter__") else None
    if checked is None or not all(isinstance(row, cls) for row in checked):
        raise TypeError(f"merge() takes the {what} of another coverage: other.{what}; got {safe_repr(rows)}")
    return checked


def _find_root(dispatcher: Any) -> Any:
    """Return the dispatcher of a scope, or the dispatcher itself."""
    while isinstance(dispatcher, ScopeMixin):
        dispatcher = cast("Any", dispatcher)._parent
    return dispatcher


def _check_max_slowest(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"max_slowest= must be an int; got {safe_repr(number)}")
    if number < 0:
        raise ValueError(f"max_slowest= must be at least 0; got {number}")
    return number
