"""Recorded dispatches as text: listeners below their dispatch, and dispatches below the listener that started them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from antiphon import Event
from antiphon._util.naming import safe_repr, short_name
from antiphon.instruments import DispatchRecord, ListenerRecord, Outcome, SkipReason

__all__ = ("INDENT", "dispatch_label", "listener_label", "transcript")

INDENT: Final = "    "

#: The maximum length of the repr of an event.
_MAX_EVENT_LENGTH: Final = 80

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")

_UNFINISHED_TEXTS: Final[dict[Outcome, str]] = {"running": "still running", "cancelled": "cancelled"}

_SKIP_TEXTS: Final[dict[SkipReason, str]] = {
    "removed": "it was removed",
    "where": "its where= returned false",
    "once": "it is registered with once=True and was already called",
    "stopped": "the event was stopped",
    "failed": "the dispatch failed",
    "cancelled": "the dispatch was cancelled",
    "omitted": "the dispatch omitted it",
}


def transcript(dispatches: Mapping[DispatchRecord, ListenerRecord | None], listeners: Sequence[ListenerRecord]) -> str:
    """Return dispatches as an indented text.

    Args:
        dispatches: The dispatches in the order of their start. The value is the call that started the dispatch.
        listeners: The called and the skipped listeners of the dispatches, in order.
    """
    children: dict[DispatchRecord | ListenerRecord | None, list[DispatchRecord | ListenerRecord]] = {}
    for dispatch, parent in dispatches.items():
        children.setdefault(parent, []).append(dispatch)
    for call in listeners:
        children.setdefault(call.dispatch, []).append(call)
    show_dispatcher = len({id(dispatch.dispatcher) for dispatch in dispatches}) > 1

    lines: list[str] = []
    # Do not recurse: a chain of events that post events can be deeper than the recursion limit of Python.
    pending = [(record, 0) for record in reversed(children.get(None, []))]
    while pending:
        record, depth = pending.pop()
        line = (
            _format_dispatch(record, show_dispatcher=show_dispatcher)
            if isinstance(record, DispatchRecord)
            else _format_call(record)
        )
        lines.append(INDENT * depth + line)
        pending.extend((child, depth + 1) for child in reversed(children.get(record, [])))
    return "\n".join(lines)


def dispatch_label(dispatch: DispatchRecord, *, show_dispatcher: bool = False) -> str:
    """Return the name and the event of a dispatch, and its dispatcher if asked for."""
    parts: list[str] = []
    if dispatch.name is not None:
        parts.append(safe_repr(dispatch.name))
    if type(dispatch.event) is not Event or not parts:
        parts.append(_format_event(dispatch.event))
    if show_dispatcher:
        parts.append(f"on {_repr_without_address(dispatch.dispatcher)}")
    return " ".join(parts)


def listener_label(listener: object) -> str:
    """Return the name of a listener in transcripts and messages."""
    return short_name(listener)


def _format_event(event: object) -> str:
    cls = type(event)
    # The repr of `Event` shows the name once more, and values that may differ from run to run.
    if next(base for base in cls.__mro__ if "__repr__" in vars(base) and base is not Event) is object:
        return cls.__name__
    label = " ".join(_repr_without_address(event).split())
    return label if len(label) <= _MAX_EVENT_LENGTH else f"{label[: _MAX_EVENT_LENGTH - 3]}..."


def _repr_without_address(thing: object) -> str:
    return _ADDRESS.sub("", safe_repr(thing))


def _format_dispatch(dispatch: DispatchRecord, *, show_dispatcher: bool) -> str:
    label = dispatch_label(dispatch, show_dispatcher=show_dispatcher)
    results: list[str] = []
    if dispatch.stopped_by is not None:
        results.append(f"stopped by {listener_label(dispatch.stopped_by.listener)}")
    elif dispatch.outcome == "stopped":
        results.append("stopped")
    if dispatch.error is not None and dispatch.outcome == "failed":
        # The message is in the line of the listener.
        results.append(f"failed with {type(dispatch.error).__name__}")
    elif dispatch.outcome in _UNFINISHED_TEXTS:
        results.append(_UNFINISHED_TEXTS[dispatch.outcome])
    elif dispatch.nobody_listened:
        results.append("nobody listened")
    return f"{label}: {', '.join(results)}" if results else label


def _format_call(call: ListenerRecord) -> str:
    label = listener_label(call.listener)
    if call.subscription.priority:
        label += f" (priority {call.subscription.priority})"
    if call.skipped_because is not None:
        return f"{label}: not called, because {_SKIP_TEXTS[call.skipped_because]}"
    if call.outcome == "failed":
        return f"{label}: failed with {_repr_without_address(call.error)}"
    return f"{label}: {_UNFINISHED_TEXTS[call.outcome]}" if call.outcome in _UNFINISHED_TEXTS else label
