"""A lane for each listener, in which no two bars overlap; of such is a trace, and the picture of many dispatches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline._labels import dispatch_label, listener_label, process_label

__all__ = ("Lane", "Record", "Span", "end_of_all", "lanes", "span_of", "start_of_all")

Record: TypeAlias = DispatchRecord | ListenerRecord

#: From when to when, in nanoseconds. StrategyStep numbers, so that what touches does not come to overlap by rounding.
Span: TypeAlias = tuple[int, int]


class Lane:
    """The dispatches of one name, or the calls of one listener."""

    __slots__ = ("label", "priority", "process", "records", "tracks")

    #: What its dispatcher is called.
    process: str
    #: What it is called.
    label: str
    #: The priority of the listener; None for a lane of dispatches.
    priority: int | None
    #: All that belongs to it, also what was skipped.
    records: list[Record]
    #: The same in time, without what was skipped: a second track if two would overlap in one, and so on.
    tracks: list[list[tuple[Span, Record]]]

    def __init__(self, process: str, label: str, priority: int | None = None) -> None:
        self.process = process
        self.label = label
        self.priority = priority
        self.records = []
        self.tracks = []


def start_of_all(records: Sequence[DispatchRecord]) -> float:
    """Tell when the first dispatch began."""
    return min((record.started for record in records), default=0.0)


def end_of_all(records: Sequence[DispatchRecord]) -> float:
    """Tell the latest time that any record knows."""
    everything: list[Record] = [*records]
    everything += [call for record in records for call in record.listeners]
    times = [time for each in everything for time in (each.started, each.finished) if time is not None]
    return max(times, default=0.0)


def span_of(record: Record, zero: float, until: float) -> Span | None:
    """Tell when something ran, counted from a time; None if it did not. What still runs does so until then."""
    if record.started is None:
        return None
    start = round((record.started - zero) * 1e9)
    finished = until if record.finished is None else record.finished
    return start, max(start, round((finished - zero) * 1e9))


def lanes(records: Iterable[DispatchRecord], zero: float, until: float) -> list[Lane]:
    """Sort records into lanes: for each name its dispatches, and below them those who listen.

    Listeners with one name and priority share a lane, unless one dispatch has several of them. So a listener that is
    registered anew for each request, in a scope, has one lane and not a thousand.

    Args:
        records: The dispatches.
        zero: What the times of the lanes are counted from, in seconds of ``perf_counter``.
        until: When it is, for what still runs.
    """
    blocks: dict[tuple[str, str], list[Lane]] = {}
    known: dict[Hashable, Lane] = {}
    for record in sorted(records, key=lambda record: record.started):
        process, name = process_label(record.dispatcher), dispatch_label(record)
        block = blocks.setdefault((process, name), [])
        if not block:
            block.append(Lane(process, name))
        block[0].records.append(record)
        equals: Counter[tuple[str, int]] = Counter()
        for call in record.listeners:
            label, priority = listener_label(call.listener), call.subscription.priority
            equals[label, priority] += 1
            key = (process, label, priority, equals[label, priority])
            if key not in known:
                known[key] = Lane(process, label, priority)
                block.append(known[key])
            known[key].records.append(call)
    everything = [lane for block in blocks.values() for lane in block]
    for lane in everything:
        lane.tracks = _tracks(lane.records, zero, until)
    return everything


def _tracks(records: Iterable[Record], zero: float, until: float) -> list[list[tuple[Span, Record]]]:
    timed = [(span, record) for record in records if (span := span_of(record, zero, until)) is not None]
    timed.sort(key=lambda each: each[0])
    tracks: list[list[tuple[Span, Record]]] = []
    for span, record in timed:
        free = next((track for track in tracks if track[-1][0][1] <= span[0]), None)
        if free is None:
            tracks.append([(span, record)])
        else:
            free.append((span, record))
    return tracks
