"""The content of a chart, independent of its format: groups of rows with bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from antiphon._util.naming import safe_repr
from antiphon.instruments import DispatchRecord, ListenerRecord, Outcome
from antiphon.instruments.timeline._labels import dispatch_label, error_label, listener_label, process_label
from antiphon.instruments.timeline._scale import format_duration
from antiphon.instruments.timeline._tracks import Record, Track, get_end, get_span, get_start, make_tracks

__all__ = ("Bar", "Chart", "Group", "GroupBy", "Row", "make_chart")

#: The rows of a chart: ``"dispatch"`` for each call below its dispatch, ``"listener"`` for one row per listener.
GroupBy: TypeAlias = Literal["dispatch", "listener"]

#: By default, a chart with more rows has one row for each listener.
MANY_ROWS: Final = 100

#: The outcomes that the rows of listeners count separately.
_COUNTED_OUTCOMES: Final[tuple[Outcome, ...]] = ("stopped", "failed", "cancelled", "running", "skipped")


class Bar(NamedTuple):
    """The time that a dispatch or a call took, in seconds from the start of its group."""

    start: float
    end: float
    outcome: Outcome
    #: A description in one line.
    title: str


class Row(NamedTuple):
    """A row of the chart."""

    #: The label, or an empty string if the row continues the one above.
    label: str
    #: The nesting depth.
    depth: int
    #: The priority of a listener; None in the row of a dispatch.
    priority: int | None
    bars: tuple[Bar, ...]
    #: The text to the right of the bars.
    note: str
    #: A description in one line.
    title: str


class Group(NamedTuple):
    """Rows with the same time axis: dispatches that overlap in time."""

    #: The start, in seconds after the start of the first dispatch.
    start: float
    rows: tuple[Row, ...]

    @property
    def duration(self) -> float:
        """The time from the start to the end of the last bar, in seconds."""
        return max((bar.end for row in self.rows for bar in row.bars), default=0.0)


class Chart(NamedTuple):
    """The content of a chart, without a layout."""

    #: A description in one line.
    title: str
    groups: tuple[Group, ...]
    #: The duration of the longest group, in seconds.
    span: float
    #: Sentences about what the chart omits.
    notes: tuple[str, ...]


def make_chart(records: Sequence[DispatchRecord], by: GroupBy | None, until: float | None, dropped: int) -> Chart:
    """Make the chart of some dispatches.

    Args:
        records: The dispatches.
        by: The kind of the rows; None to choose it by the number of records.
        until: The end of the records that still run, in seconds of ``time.perf_counter``. None stands for the latest
            time in the records.
        dropped: The number of earlier dispatches whose records were dropped.

    Raises:
        ValueError: If ``by`` is not ``"dispatch"``, ``"listener"`` or None.
    """
    if by not in (None, "dispatch", "listener"):
        raise ValueError(f'by= must be "dispatch", "listener" or None; got {safe_repr(by)}')
    notes: list[str] = []
    if dropped:
        dispatches_were = "dispatch was" if dropped == 1 else "dispatches were"
        notes.append(f"{dropped} earlier {dispatches_were} dropped: max_dispatches= sets how many are kept.")
    call_count = sum(len(record.listeners) for record in records)
    if by is None:
        by = "listener" if len(records) + call_count > MANY_ROWS else "dispatch"
        if by == "listener":
            notes.append('One row for each listener, because there are many calls; by="dispatch" shows each call.')
    zero = get_start(records)
    until = get_end(records) if until is None else until
    groups = _group_by_listener(records, zero, until) if by == "listener" else _group_by_dispatch(records, zero, until)
    started_count = sum(call.started is not None for record in records for call in record.listeners)
    span = max((group.duration for group in groups), default=0.0)
    title = "No dispatches were recorded"
    if records:
        dispatches = _pluralize(len(records), "dispatch", "es")
        title = f"{dispatches}, {_pluralize(started_count, 'call')} of listeners"
    return Chart(title, tuple(groups), span, tuple(notes))


# A row for each call


class _NestedDispatches(NamedTuple):
    """An outermost dispatch, with the start and the end of all dispatches that are nested in it."""

    root: DispatchRecord
    start: float
    end: float


def _group_by_dispatch(records: Sequence[DispatchRecord], zero: float, until: float) -> list[Group]:
    dispatches_by_caller: dict[Hashable, list[DispatchRecord]] = {}
    callers = {call for record in records for call in record.listeners}
    for record in sorted(records, key=lambda record: record.started):
        # A dispatch whose parent is not among the records is an outermost one.
        dispatches_by_caller.setdefault(record.parent if record.parent in callers else None, []).append(record)
    trees = sorted(
        (_measure_nested(root, dispatches_by_caller, until) for root in dispatches_by_caller.get(None, ())),
        key=lambda tree: tree.start,
    )
    groups: list[list[_NestedDispatches]] = []
    end = 0.0
    for tree in trees:
        if not groups or tree.start >= end:
            groups.append([])
        groups[-1].append(tree)
        end = max(end, tree.end)
    return [
        Group(
            group[0].start - zero,
            tuple(row for tree in group for row in _make_rows(tree.root, dispatches_by_caller, group[0].start, until)),
        )
        for group in groups
    ]


def _measure_nested(
    root: DispatchRecord, dispatches_by_caller: dict[Hashable, list[DispatchRecord]], until: float
) -> _NestedDispatches:
    start = end = root.started
    stack = [root]
    while stack:
        record = stack.pop()
        start = min(start, record.started)
        end = max(end, until if record.finished is None else record.finished)
        stack += [nested for call in record.listeners for nested in dispatches_by_caller.get(call, ())]
    return _NestedDispatches(root, start, end)


def _make_rows(
    root: DispatchRecord, dispatches_by_caller: dict[Hashable, list[DispatchRecord]], zero: float, until: float
) -> Iterator[Row]:
    # Do not recurse: dispatches may be nested more deeply than the recursion limit of Python allows.
    stack: list[tuple[Record, int]] = [(root, 0)]
    while stack:
        record, depth = stack.pop()
        yield _make_row(record, depth, zero, until)
        inner: Sequence[Record] = (
            record.listeners if isinstance(record, DispatchRecord) else dispatches_by_caller.get(record, ())
        )
        stack += [(child, depth + 1) for child in reversed(inner)]


def _make_row(record: Record, depth: int, zero: float, until: float) -> Row:
    note = _format_note(record, until)
    if isinstance(record, DispatchRecord):
        label, priority = dispatch_label(record), None
    else:
        label, priority = listener_label(record.listener), record.subscription.priority
    title = f"{_format_title(record)}: {note}"
    return Row(label, depth, priority, tuple(_make_bars([record], zero, until, [title])), note, title)


# A row for each listener


def _group_by_listener(records: Sequence[DispatchRecord], zero: float, until: float) -> list[Group]:
    rows: list[Row] = []
    for track in make_tracks(records, zero, until):
        depth = 0 if track.priority is None else 1
        counts = _format_counts(track)
        # Each further layer gets a row without a label below the first one.
        for number, layer in enumerate(track.layers or [[]]):
            layer_records = [record for _, record in layer]
            titles = [f"{_format_title(record)}: {_format_note(record, until)}" for record in layer_records]
            bars = tuple(_make_bars(layer_records, zero, until, titles))
            label, note = (track.label, counts) if number == 0 else ("", "")
            rows.append(Row(label, depth, track.priority, bars, note, f"{track.label}: {counts}"))
    return [Group(0.0, tuple(rows))] if rows else []


def _format_counts(track: Track) -> str:
    outcomes: Counter[Outcome] = Counter(record.outcome for record in track.records)
    started_count = sum(record.started is not None for record in track.records)
    is_of_dispatches = track.priority is None
    counts = [_pluralize(started_count, "dispatch", "es") if is_of_dispatches else _pluralize(started_count, "call")]
    counts += [f"{outcomes[outcome]} {outcome}" for outcome in _COUNTED_OUTCOMES if outcomes[outcome]]
    return ", ".join(counts)


# Bars and texts


def _make_bars(records: Sequence[Record], zero: float, until: float, titles: Sequence[str]) -> Iterator[Bar]:
    for record, title in zip(records, titles, strict=True):
        span = get_span(record, zero, until)
        if span is not None:
            yield Bar(span[0] / 1e9, span[1] / 1e9, record.outcome, title)


def _format_note(record: Record, until: float) -> str:
    if record.started is None:
        return f"skipped: {record.skipped_because}" if record.outcome == "skipped" else "not started yet"
    parts = [format_duration((until if record.finished is None else record.finished) - record.started)]
    if record.outcome != "finished":
        parts.append(record.outcome)
    if isinstance(record, ListenerRecord):
        if record.error is not None and record.outcome == "failed":
            parts[-1] = f"failed: {error_label(record.error)}"
        if record.dispatch.stopped_by is record:
            parts.append("stopped the event")
    elif record.nobody_listened:
        parts.append("nobody listened")
    return ", ".join(parts)


def _format_title(record: Record) -> str:
    if isinstance(record, DispatchRecord):
        event, dispatcher = type(record.event).__qualname__, process_label(record.dispatcher)
        return f"{dispatch_label(record)} ({event}) on {dispatcher}"
    name, priority = dispatch_label(record.dispatch), record.subscription.priority
    return f"{listener_label(record.listener)}, priority {priority}, of {name}"


def _pluralize(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"
