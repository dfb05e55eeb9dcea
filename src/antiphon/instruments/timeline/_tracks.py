"""Tracks: the calls of each listener in layers in which no two calls overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

from antiphon.instruments import DispatchRecord, ListenerRecord
from antiphon.instruments.timeline._labels import dispatch_label, listener_label, process_label

__all__ = ("Record", "Span", "Track", "get_end", "get_span", "get_start", "make_tracks")

Record: TypeAlias = DispatchRecord | ListenerRecord

#: The start and the end in nanoseconds. They are ints, so that rounding cannot make adjacent spans overlap.
Span: TypeAlias = tuple[int, int]


class Track:
    """The dispatches of one name, or the calls of one listener."""

    __slots__ = ("label", "layers", "priority", "process", "records")

    #: The label of the dispatcher.
    process: str
    #: The name of the dispatches, or the label of the listener.
    label: str
    #: The priority of the listener; None for a track of dispatches.
    priority: int | None
    #: All records of the track, including skipped calls.
    records: list[Record]
    #: The records that ran, with their spans. No two records in one layer overlap.
    layers: list[list[tuple[Span, Record]]]

    def __init__(self, process: str, label: str, priority: int | None = None) -> None:
        self.process = process
        self.label = label
        self.priority = priority
        self.records = []
        self.layers = []


def get_start(records: Sequence[DispatchRecord]) -> float:
    """Return the start of the first dispatch."""
    return min((record.started for record in records), default=0.0)


def get_end(records: Sequence[DispatchRecord]) -> float:
    """Return the latest time in any record."""
    all_records: list[Record] = [*records]
    all_records += [call for record in records for call in record.listeners]
    times = [time for record in all_records for time in (record.started, record.finished) if time is not None]
    return max(times, default=0.0)


def get_span(record: Record, zero: float, until: float) -> Span | None:
    """Return the span of a record relative to ``zero``, or None if it did not start.

    A record that still runs ends at ``until``.
    """
    if record.started is None:
        return None
    start = round((record.started - zero) * 1e9)
    finished = until if record.finished is None else record.finished
    return start, max(start, round((finished - zero) * 1e9))


def make_tracks(records: Iterable[DispatchRecord], zero: float, until: float) -> list[Track]:
    """Make a track for the dispatches of each name, followed by a track for each of its listeners.

    Listeners with the same name and priority share a track, unless they belong to the same dispatch. A listener that
    is registered in a scope for each request therefore has a single track.

    Args:
        records: The dispatches.
        zero: The time that the spans are relative to, in seconds of ``time.perf_counter``.
        until: The end of the records that still run.
    """
    tracks_by_name: dict[tuple[str, str], list[Track]] = {}
    listener_tracks: dict[Hashable, Track] = {}
    for record in sorted(records, key=lambda record: record.started):
        process, name = process_label(record.dispatcher), dispatch_label(record)
        tracks = tracks_by_name.setdefault((process, name), [])
        if not tracks:
            tracks.append(Track(process, name))
        tracks[0].records.append(record)
        occurrences: Counter[tuple[str, int]] = Counter()
        for call in record.listeners:
            label, priority = listener_label(call.listener), call.subscription.priority
            occurrences[label, priority] += 1
            key = (process, label, priority, occurrences[label, priority])
            if key not in listener_tracks:
                listener_tracks[key] = Track(process, label, priority)
                tracks.append(listener_tracks[key])
            listener_tracks[key].records.append(call)
    all_tracks = [track for tracks in tracks_by_name.values() for track in tracks]
    for track in all_tracks:
        track.layers = _make_layers(track.records, zero, until)
    return all_tracks


def _make_layers(records: Iterable[Record], zero: float, until: float) -> list[list[tuple[Span, Record]]]:
    spans = [(span, record) for record in records if (span := get_span(record, zero, until)) is not None]
    spans.sort(key=lambda each: each[0])
    layers: list[list[tuple[Span, Record]]] = []
    for span, record in spans:
        free_layer = next((layer for layer in layers if layer[-1][0][1] <= span[0]), None)
        if free_layer is None:
            layers.append([(span, record)])
        else:
            free_layer.append((span, record))
    return layers
