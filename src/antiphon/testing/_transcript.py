"""What was dispatched as text: each listener under its dispatch, each dispatch under the listener that started it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from antiphon._events.event import Event
from antiphon._util.naming import safe_repr, short_name
from antiphon.instruments import DispatchRecord, ListenerRecord, Outcome, SkipReason

__all__ = ("INDENT", "listener_label", "transcript")

INDENT: Final = "    "

#: An event's data are shown as long as they take less than a line.
_LONGEST: Final = 80

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")

_UNFINISHED: Final[dict[Outcome, str]] = {"running": "still running", "cancelled": "cancelled"}

_SKIPPED: Final[dict[SkipReason, str]] = {
    "removed": "it had been removed",
    "where": "its where= said no",
    "once": "its one call was taken",
    "stopped": "the event was stopped",
    "failed": "the dispatch had failed",
    "cancelled": "the dispatch was cancelled",
    "omitted": "it was left out",
}


def transcript(dispatches: Mapping[DispatchRecord, ListenerRecord | None], listeners: Sequence[ListenerRecord]) -> str:
    """Write dispatches as an indented text.

    Args:
        dispatches: All of them, in the order of their start, and under which call each is shown.
        listeners: What became of their listeners, called or not, in the order in which it became known.
    """
    below: dict[DispatchRecord | ListenerRecord | None, list[DispatchRecord | ListenerRecord]] = {}
    for dispatch, parent in dispatches.items():
        below.setdefault(parent, []).append(dispatch)
    for call in listeners:
        below.setdefault(call.dispatch, []).append(call)
    several = len({id(dispatch.dispatcher) for dispatch in dispatches}) > 1

    lines: list[str] = []
    # No recursion: events that post events make a tree that is as deep as it is long.
    pending = [(record, 0) for record in reversed(below.get(None, []))]
    while pending:
        record, depth = pending.pop()
        line = _dispatch_line(record, several=several) if isinstance(record, DispatchRecord) else _call_line(record)
        lines.append(INDENT * depth + line)
        pending.extend((each, depth + 1) for each in reversed(below.get(record, [])))
    return "\n".join(lines)


def dispatch_label(dispatch: DispatchRecord, *, several: bool = False) -> str:
    """Name a dispatch by its name and its event; and by its dispatcher, if there are several."""
    parts: list[str] = []
    if dispatch.name is not None:
        parts.append(safe_repr(dispatch.name))
    if type(dispatch.event) is not Event or not parts:
        parts.append(_event_label(dispatch.event))
    if several:
        parts.append(f"on {_short(dispatch.dispatcher)}")
    return " ".join(parts)


def listener_label(listener: object) -> str:
    """Name a listener as its code does."""
    return short_name(listener)


def _event_label(event: object) -> str:
    kind = type(event)
    if kind.__repr__ is object.__repr__:
        return kind.__name__
    label = " ".join(_short(event).split())
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 3]}..."


def _short(thing: object) -> str:
    return _ADDRESS.sub("", safe_repr(thing))


def _dispatch_line(dispatch: DispatchRecord, *, several: bool) -> str:
    label = dispatch_label(dispatch, several=several)
    ends: list[str] = []
    if dispatch.stopped_by is not None:
        ends.append(f"stopped by {listener_label(dispatch.stopped_by.listener)}")
    elif dispatch.outcome == "stopped":
        ends.append("stopped")
    if dispatch.error is not None and dispatch.outcome == "failed":
        # What it says stands at the listener.
        ends.append(f"failed with {type(dispatch.error).__name__}")
    elif dispatch.outcome in _UNFINISHED:
        ends.append(_UNFINISHED[dispatch.outcome])
    elif dispatch.nobody_listened:
        ends.append("nobody listened")
    return f"{label}: {', '.join(ends)}" if ends else label


def _call_line(call: ListenerRecord) -> str:
    label = listener_label(call.listener)
    if call.subscription.priority:
        label += f" (priority {call.subscription.priority})"
    if call.skipped_because is not None:
        return f"{label}: not called, because {_SKIPPED[call.skipped_because]}"
    if call.outcome == "failed":
        return f"{label}: failed with {_short(call.error)}"
    return f"{label}: {_UNFINISHED[call.outcome]}" if call.outcome in _UNFINISHED else label
