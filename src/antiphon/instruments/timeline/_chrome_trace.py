"""Traces in Chrome's trace event format, which Perfetto opens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeAlias

from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline._checks import check_records
from antiphon.instruments.timeline._labels import (
    dispatch_label,
    error_label,
    listener_label,
    name_label,
    process_label,
    qualified_label,
)
from antiphon.instruments.timeline._tracks import Record, Span, get_end, get_span, get_start, make_tracks

__all__ = ("as_chrome_trace",)

#: An entry of ``traceEvents``.
TraceEvent: TypeAlias = dict[str, Any]


def as_chrome_trace(records: Iterable[DispatchRecord], /, *, until: float | None = None, dropped: int = 0) -> str:
    """Return dispatches as a trace in Chrome's trace event format, which https://ui.perfetto.dev opens.

    Each dispatcher is a process of the trace. Each name has a track for its dispatches, and each listener has a track
    for its calls, or several if calls overlap. Arrows lead from a listener to the dispatches that it starts.

    Args:
        records: The dispatches.
        until: The end of the records that still run, in seconds of ``time.perf_counter``. None stands for the latest
            time in the records.
        dropped: The number of earlier dispatches whose records were dropped.

    Returns:
        The text of a JSON file, in ASCII.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If ``until`` is not finite, or ``dropped`` is negative.
    """
    records = check_records(records, until, dropped)
    trace = {
        "displayTimeUnit": "ms",
        "otherData": {"dispatches": len(records), "dropped": dropped},
        "traceEvents": _Trace(records, until).make_events(),
    }
    return json.dumps(trace, separators=(",", ":")) + "\n"


class _Trace:
    """The entries of a trace, collected track by track."""

    def __init__(self, records: Sequence[DispatchRecord], until: float | None) -> None:
        self._records = records
        self._zero = get_start(records)
        self._until = get_end(records) if until is None else until
        self._metadata: list[TraceEvent] = []
        #: Entries with their times in nanoseconds, to sort by.
        self._timed: list[tuple[int, TraceEvent]] = []
        #: The process and the thread of each record.
        self._locations: dict[Record, dict[str, int]] = {}

    def make_events(self) -> list[TraceEvent]:
        """Return the metadata of the tracks, followed by all other entries in order of time."""
        self._add_tracks()
        self._add_skipped()
        self._add_arrows()
        self._timed.sort(key=lambda timed: timed[0])
        return [*self._metadata, *(event for _, event in self._timed)]

    def _add_tracks(self) -> None:
        tracks = make_tracks(self._records, self._zero, self._until)
        processes = {name: number for number, name in enumerate(dict.fromkeys(track.process for track in tracks), 1)}
        for name, number in processes.items():
            self._add_metadata("process", {"pid": number}, name)
        # Do not reuse the numbers of processes: viewers treat a thread with the number of its process as a main thread.
        threads = count(len(processes) + 1)
        for track in tracks:
            # A listener that was only skipped has no layers, but needs a thread for its marks.
            for number, layer in enumerate(track.layers or [[]], start=1):
                location = {"pid": processes[track.process], "tid": next(threads)}
                self._add_metadata("thread", location, track.label if number == 1 else f"{track.label} ({number})")
                for record in track.records if number == 1 else ():
                    self._locations[record] = location
                for span, record in layer:
                    self._locations[record] = location
                    self._add_bar(record, span)

    def _add_metadata(self, kind: str, location: dict[str, int], name: str) -> None:
        order = location.get("tid", location["pid"])
        self._metadata += [
            {"ph": "M", "name": f"{kind}_name", **location, "args": {"name": name}},
            {"ph": "M", "name": f"{kind}_sort_index", **location, "args": {"sort_index": order}},
        ]

    def _add_bar(self, record: Record, span: Span) -> None:
        start, end = span
        if isinstance(record, DispatchRecord):
            labels = {"cat": "dispatch", "name": dispatch_label(record)}
        else:
            labels = {"cat": "listener", "name": listener_label(record.listener)}
        # The unit of the format is microseconds. Decimals are allowed.
        times = {"ts": start / 1000, "dur": (end - start) / 1000}
        self._timed.append(
            (start, {"ph": "X", **labels, **times, **self._locations[record], "args": _make_arguments(record)})
        )
        self._add_outcome_marks(record, end)

    def _add_outcome_marks(self, record: Record, time: int) -> None:
        """Add marks for a record that stopped the event, failed, or was cancelled."""
        if isinstance(record, ListenerRecord) and record.dispatch.stopped_by is record:
            self._add_mark(record, time, "stopped the event")
        if record.outcome == "failed":
            self._add_mark(record, time, "failed" if record.error is None else f"failed: {error_label(record.error)}")
        elif record.outcome == "cancelled":
            self._add_mark(record, time, "cancelled")

    def _add_skipped(self) -> None:
        for record in self._records:
            span = get_span(record, self._zero, self._until)
            for call in record.listeners:
                if call.outcome == "skipped" and span is not None:
                    self._add_mark(call, span[1], f"skipped: {call.skipped_because}")

    def _add_mark(self, record: Record, time: int, name: str) -> None:
        mark = {"ph": "i", "s": "t", "cat": "outcome", "name": name, "ts": time / 1000, **self._locations[record]}
        self._timed.append((time, mark))

    def _add_arrows(self) -> None:
        arrow_ids = count(1)
        for record in self._records:
            caller = record.parent
            if caller is None or caller not in self._locations:
                continue
            outer, inner = (get_span(each, self._zero, self._until) for each in (caller, record))
            if outer is None or inner is None:
                continue
            # An arrow must start within the bar of the caller, which may end before a posted dispatch starts.
            start = inner[0] if outer[0] <= inner[0] < outer[1] else outer[0]
            arrow = {"cat": "nested", "name": "dispatched", "id": next(arrow_ids)}
            self._timed += [
                (start, {"ph": "s", **arrow, "ts": start / 1000, **self._locations[caller]}),
                (inner[0], {"ph": "f", "bp": "e", **arrow, "ts": inner[0] / 1000, **self._locations[record]}),
            ]


def _make_arguments(record: Record) -> dict[str, Any]:
    return {name: value for name, value in _collect_arguments(record) if value is not None}


def _collect_arguments(record: Record) -> Iterator[tuple[str, Any]]:
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
