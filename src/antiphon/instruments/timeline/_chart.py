"""What a picture shows, before it is drawn as text or as SVG: rows with bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from antiphon.instruments import DispatchRecord, ListenerRecord, Outcome
from antiphon.instruments.timeline._labels import dispatch_label, error_label, listener_label, process_label
from antiphon.instruments.timeline._scale import duration
from antiphon.instruments.timeline._tracks import Lane, Record, end_of_all, lanes, span_of, start_of_all

__all__ = ("Bar", "By", "Group", "Picture", "Row", "paint")

#: What has a row: each call of a listener, below its ``"dispatch"``; or each ``"listener"``, with all of its calls.
By: TypeAlias = Literal["dispatch", "listener"]

#: A picture of more rows than these has a row for each listener, unless it is told otherwise.
MANY_ROWS: Final = 100


class Bar(NamedTuple):
    """Something that ran: from when to when, in seconds from the beginning of its group."""

    start: float
    end: float
    outcome: Outcome
    #: All about it, in one line.
    title: str


class Row(NamedTuple):
    """A line of the picture."""

    #: What it is of; empty if that is told by the row above.
    label: str
    #: How far it is nested.
    depth: int
    #: The priority of a listener; None in the row of a dispatch.
    priority: int | None
    bars: tuple[Bar, ...]
    #: What is to be said in words.
    note: str
    #: All about it, in one line.
    title: str


class Group(NamedTuple):
    """Rows that share a beginning: dispatches that overlap in time."""

    #: When it began, in seconds after the first one.
    start: float
    rows: tuple[Row, ...]


class Picture(NamedTuple):
    """All there is to draw."""

    #: What it shows, in one line.
    title: str
    groups: tuple[Group, ...]
    #: How long the longest group takes, in seconds.
    span: float
    #: What it does not show, a sentence for each thing.
    remarks: tuple[str, ...]


def paint(records: Sequence[DispatchRecord], by: By | None, until: float | None, dropped: int) -> Picture:
    """Make the picture of some dispatches.

    Args:
        records: The dispatches.
        by: What has a row; None to choose by their number.
        until: When it is, in seconds of ``perf_counter``, for what still runs; None for the last time in the records.
        dropped: How many more there were, of which nothing is known any more.

    Raises:
        ValueError: ``by`` is neither ``"dispatch"`` nor ``"listener"`` nor None.
    """
    if by not in (None, "dispatch", "listener"):
        raise ValueError(f'by= is "dispatch", "listener" or None; got {by!r}')
    remarks: list[str] = []
    if dropped:
        were = "dispatch was" if dropped == 1 else "dispatches were"
        remarks.append(f"{dropped} earlier {were} dropped: max_dispatches= tells how many are kept.")
    calls = sum(len(record.listeners) for record in records)
    if by is None:
        by = "listener" if len(records) + calls > MANY_ROWS else "dispatch"
        if by == "listener":
            remarks.append('One row for each listener, for there is much; by="dispatch" shows each call.')
    zero = start_of_all(records)
    until = end_of_all(records) if until is None else until
    groups = _by_listener(records, zero, until) if by == "listener" else _by_dispatch(records, zero, until)
    ran = sum(call.started is not None for record in records for call in record.listeners)
    span = max((bar.end for group in groups for row in group.rows for bar in row.bars), default=0.0)
    title = (
        f"{len(records)} {_plural(len(records), 'dispatch', 'es')}, {ran} {_plural(ran, 'call')} of listeners"
        if records
        else "No dispatch was seen"
    )
    return Picture(title, tuple(groups), span, tuple(remarks))


# A row for each call


class _Tree:
    """An outermost dispatch, with all that was dispatched within it."""

    __slots__ = ("end", "root", "start")

    def __init__(self, root: DispatchRecord, start: float, end: float) -> None:
        self.root = root
        self.start = start
        self.end = end


def _by_dispatch(records: Sequence[DispatchRecord], zero: float, until: float) -> list[Group]:
    within: dict[Hashable, list[DispatchRecord]] = {}
    callers = {call for record in records for call in record.listeners}
    for record in sorted(records, key=lambda record: record.started):
        # A parent that was dropped, or is not among the records, is none.
        within.setdefault(record.parent if record.parent in callers else None, []).append(record)
    trees = sorted((_tree(root, within, until) for root in within.get(None, ())), key=lambda tree: tree.start)
    groups: list[list[_Tree]] = []
    end = 0.0
    for tree in trees:
        if not groups or tree.start >= end:
            groups.append([])
        groups[-1].append(tree)
        end = max(end, tree.end)
    return [
        Group(
            group[0].start - zero,
            tuple(row for tree in group for row in _rows(tree.root, within, group[0].start, until)),
        )
        for group in groups
    ]


def _tree(root: DispatchRecord, within: dict[Hashable, list[DispatchRecord]], until: float) -> _Tree:
    start = end = root.started
    ahead = [root]
    while ahead:
        record = ahead.pop()
        start = min(start, record.started)
        end = max(end, until if record.finished is None else record.finished)
        ahead += [nested for call in record.listeners for nested in within.get(call, ())]
    return _Tree(root, start, end)


def _rows(
    root: DispatchRecord, within: dict[Hashable, list[DispatchRecord]], zero: float, until: float
) -> Iterator[Row]:
    # A stack of our own, for dispatches may be nested more deeply than Python calls.
    ahead: list[tuple[Record, int]] = [(root, 0)]
    while ahead:
        record, depth = ahead.pop()
        yield _row(record, depth, zero, until)
        inner: Sequence[Record] = record.listeners if isinstance(record, DispatchRecord) else within.get(record, ())
        ahead += [(each, depth + 1) for each in reversed(inner)]


def _row(record: Record, depth: int, zero: float, until: float) -> Row:
    note = _note(record, until)
    if isinstance(record, DispatchRecord):
        label, priority = dispatch_label(record), None
    else:
        label, priority = listener_label(record.listener), record.subscription.priority
    title = f"{_described(record)}: {note}"
    return Row(label, depth, priority, tuple(_bars([record], zero, until, [title])), note, title)


# A row for each listener


def _by_listener(records: Sequence[DispatchRecord], zero: float, until: float) -> list[Group]:
    rows: list[Row] = []
    for lane in lanes(records, zero, until):
        depth = 0 if lane.priority is None else 1
        for number, track in enumerate(lane.tracks or [[]]):
            shown = [record for _, record in track]
            titles = [f"{_described(record)}: {_note(record, until)}" for record in shown]
            bars = tuple(_bars(shown, zero, until, titles))
            # What overlaps goes into further rows, which belong to the one above.
            label, note = (lane.label, _count(lane)) if number == 0 else ("", "")
            rows.append(Row(label, depth, lane.priority, bars, note, f"{lane.label}: {_count(lane)}"))
    return [Group(0.0, tuple(rows))] if rows else []


#: The outcomes that are counted apart.
_TOLD: Final[tuple[Outcome, ...]] = ("stopped", "failed", "cancelled", "running", "skipped")


def _count(lane: Lane) -> str:
    outcomes: Counter[Outcome] = Counter(record.outcome for record in lane.records)
    number = sum(record.started is not None for record in lane.records)
    of_dispatches = lane.priority is None
    words = [f"{number} {_plural(number, 'dispatch', 'es') if of_dispatches else _plural(number, 'call')}"]
    words += [
        f"{outcomes[each]} {each}"
        for each in ("stopped", "failed", "cancelled", "running", "skipped")
        if outcomes[each]
    ]
    return ", ".join(words)


# In words


def _bars(records: Sequence[Record], zero: float, until: float, titles: Sequence[str]) -> Iterator[Bar]:
    for record, title in zip(records, titles, strict=True):
        span = span_of(record, zero, until)
        if span is not None:
            yield Bar(span[0] / 1e9, span[1] / 1e9, record.outcome, title)


def _note(record: Record, until: float) -> str:
    if record.started is None:
        return f"skipped: {record.skipped_because}" if record.outcome == "skipped" else "not started yet"
    words = [duration((until if record.finished is None else record.finished) - record.started)]
    if record.outcome != "finished":
        words.append(record.outcome)
    if isinstance(record, ListenerRecord):
        if record.error is not None and record.outcome == "failed":
            words[-1] = f"failed: {error_label(record.error)}"
        if record.dispatch.stopped_by is record:
            words.append("stopped the event")
    elif record.nobody_listened:
        words.append("nobody listened")
    return ", ".join(words)


def _described(record: Record) -> str:
    if isinstance(record, DispatchRecord):
        event, dispatcher = type(record.event).__qualname__, process_label(record.dispatcher)
        return f"{dispatch_label(record)} ({event}) on {dispatcher}"
    name, priority = dispatch_label(record.dispatch), record.subscription.priority
    return f"{listener_label(record.listener)}, priority {priority}, of {name}"


def _plural(number: int, word: str, ending: str = "s") -> str:
    return word if number == 1 else f"{word}{ending}"
