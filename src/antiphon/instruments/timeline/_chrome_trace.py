"""The trace of some dispatches in Chrome's format, which Perfetto opens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeAlias

from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline._labels import (
    dispatch_label,
    error_label,
    listener_label,
    name_label,
    process_label,
    qualified_label,
)
from antiphon.instruments.timeline._tracks import Record, Span, end_of_all, lanes, span_of, start_of_all

__all__ = ("as_chrome_trace",)

#: An entry of ``traceEvents``.
TraceEvent: TypeAlias = dict[str, Any]


def as_chrome_trace(records: Iterable[DispatchRecord], /, *, until: float | None = None, dropped: int = 0) -> str:
    """Write dispatches as a trace in Chrome's trace event format, which https://ui.perfetto.dev opens.

    A dispatcher is shown as a process. Each name has a lane for its dispatches, and each listener one for its calls, or
    several where calls overlap. Arrows lead from a listener to what it dispatched.

    Args:
        records: The dispatches.
        until: When it is, in seconds of ``time.perf_counter``, for what still runs; None for the last time known.
        dropped: How many dispatches there were of which there is no record any more.

    Returns:
        The text of a JSON file, in ASCII.
    """
    records = tuple(records)
    trace = {
        "displayTimeUnit": "ms",
        "otherData": {"dispatches": len(records), "dropped": dropped},
        "traceEvents": _Trace(records, until).events(),
    }
    return json.dumps(trace, separators=(",", ":")) + "\n"


class _Trace:
    """The entries of a trace, gathered lane by lane."""

    def __init__(self, records: Sequence[DispatchRecord], until: float | None) -> None:
        self._records = records
        self._zero = start_of_all(records)
        self._until = end_of_all(records) if until is None else until
        self._names: list[TraceEvent] = []
        self._timed: list[tuple[int, TraceEvent]] = []
        #: Where each record stands: its process and its thread.
        self._places: dict[Record, dict[str, int]] = {}

    def events(self) -> list[TraceEvent]:
        """Give the names of all lanes, then all that has a time, in order."""
        self._add_lanes()
        self._add_skipped()
        self._add_arrows()
        self._timed.sort(key=lambda each: each[0])
        return [*self._names, *(event for _, event in self._timed)]

    def _add_lanes(self) -> None:
        all_lanes = lanes(self._records, self._zero, self._until)
        processes = {name: number for number, name in enumerate(dict.fromkeys(lane.process for lane in all_lanes), 1)}
        for name, number in processes.items():
            self._name("process", {"pid": number}, name)
        # Not the numbers of the processes again: viewers show a thread that has the one of its process apart.
        threads = count(len(processes) + 1)
        for lane in all_lanes:
            # One that has only been skipped has a lane, too.
            for number, track in enumerate(lane.tracks or [[]], start=1):
                place = {"pid": processes[lane.process], "tid": next(threads)}
                self._name("thread", place, lane.label if number == 1 else f"{lane.label} ({number})")
                for record in lane.records if number == 1 else ():
                    self._places[record] = place
                for span, record in track:
                    self._places[record] = place
                    self._add(record, span)

    def _name(self, what: str, place: dict[str, int], name: str) -> None:
        order = place.get("tid", place["pid"])
        self._names += [
            {"ph": "M", "name": f"{what}_name", **place, "args": {"name": name}},
            {"ph": "M", "name": f"{what}_sort_index", **place, "args": {"sort_index": order}},
        ]

    def _add(self, record: Record, span: Span) -> None:
        start, end = span
        if isinstance(record, DispatchRecord):
            what = {"cat": "dispatch", "name": dispatch_label(record)}
        else:
            what = {"cat": "listener", "name": listener_label(record.listener)}
        # Times are in microseconds, and have their nanoseconds behind the point.
        times = {"ts": start / 1000, "dur": (end - start) / 1000}
        self._timed.append((start, {"ph": "X", **what, **times, **self._places[record], "args": _arguments(record)}))
        self._add_mark(record, end)

    def _add_mark(self, record: Record, time: int) -> None:
        """Mark how something ended, unless it ended well."""
        if isinstance(record, ListenerRecord) and record.dispatch.stopped_by is record:
            self._mark(record, time, "stopped the event")
        if record.outcome == "failed":
            self._mark(record, time, "failed" if record.error is None else f"failed: {error_label(record.error)}")
        elif record.outcome == "cancelled":
            self._mark(record, time, "cancelled")

    def _add_skipped(self) -> None:
        for record in self._records:
            span = span_of(record, self._zero, self._until)
            for call in record.listeners:
                if call.outcome == "skipped" and span is not None:
                    self._mark(call, span[1], f"skipped: {call.skipped_because}")

    def _mark(self, record: Record, time: int, name: str) -> None:
        mark = {"ph": "i", "s": "t", "cat": "outcome", "name": name, "ts": time / 1000, **self._places[record]}
        self._timed.append((time, mark))

    def _add_arrows(self) -> None:
        identities = count(1)
        for record in self._records:
            caller = record.parent
            if caller is None or caller not in self._places:
                continue
            outer, inner = (span_of(each, self._zero, self._until) for each in (caller, record))
            if outer is None or inner is None:
                continue
            # An arrow begins within the bar that it leaves; one to what was posted to a queue may arrive later.
            start = inner[0] if outer[0] <= inner[0] < outer[1] else outer[0]
            arrow = {"cat": "nested", "name": "dispatched", "id": next(identities)}
            self._timed += [
                (start, {"ph": "s", **arrow, "ts": start / 1000, **self._places[caller]}),
                (inner[0], {"ph": "f", "bp": "e", **arrow, "ts": inner[0] / 1000, **self._places[record]}),
            ]


def _arguments(record: Record) -> dict[str, Any]:
    return {name: value for name, value in _told(record) if value is not None}


def _told(record: Record) -> Iterator[tuple[str, Any]]:
    yield "outcome", record.outcome
    yield "error", None if record.error is None else error_label(record.error)
    if isinstance(record, DispatchRecord):
        yield "event", f"{type(record.event).__module__}.{type(record.event).__qualname__}"
        yield "name", None if record.name is None else name_label(record.name)
        yield "dispatcher", process_label(record.dispatcher)
        yield "listeners", len(record.listeners)
        yield "stopped by", None if record.stopped_by is None else listener_label(record.stopped_by.listener)
    else:
        yield "listener", qualified_label(record)
        yield "key", name_label(record.subscription.key)
        yield "priority", record.subscription.priority
        yield "of", dispatch_label(record.dispatch)
