"""The records that instruments receive: one for a dispatch, and one for each call of a listener.

All methods of an instrument receive the same record of a dispatch or a call. The dispatch updates it, and nothing else
writes to it. An instrument can store a record, compare it with ``is``, and use it as a key of a dict.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias
from weakref import ref

from antiphon._listeners.subscription import Subscription
from antiphon._util.arguments import hides_parameters
from antiphon._util.naming import listener_name, safe_repr

__all__ = (
    "DispatchRecord",
    "ListenerRecord",
    "Outcome",
    "SkipReason",
    "current_call",
)

#: The state of a dispatch or of the call of a listener. It is ``"running"`` until it has finished; ``"finished"``
#: without an error; ``"stopped"`` by a listener (dispatches only); ``"failed"`` with an error; ``"cancelled"`` by a
#: cancellation or an interrupt; ``"skipped"`` if the listener was not called (listeners only).
Outcome: TypeAlias = Literal["running", "finished", "stopped", "failed", "cancelled", "skipped"]

#: The reason why a listener was not called. It was ``"removed"``; its ``"where"`` rejected the event; another dispatch
#: used its only call under ``"once"``; the event was ``"stopped"``; the dispatch ``"failed"`` or was ``"cancelled"``
#: before; or the code that runs the listeners (an overridden ``_adispatch``, a custom strategy) ``"omitted"`` it.
SkipReason: TypeAlias = Literal["removed", "where", "once", "stopped", "failed", "cancelled", "omitted"]


class DispatchRecord:
    """The record of one dispatch."""

    __slots__ = (
        "__weakref__",
        "_parent",
        "dispatcher",
        "error",
        "event",
        "finished",
        "listeners",
        "name",
        "outcome",
        "started",
        "stopped_by",
    )

    #: The event.
    event: Any
    #: The name under which the event is dispatched, or None.
    name: Hashable
    #: The dispatcher or the scope that dispatches the event.
    dispatcher: Any
    #: One record for each listener of the plan, in order. If a strategy calls a listener again, a record is appended.
    listeners: tuple[ListenerRecord, ...]
    #: The time when the dispatch started, in seconds of `time.perf_counter`.
    started: float
    #: The time when the dispatch finished, or None while it runs.
    finished: float | None
    #: The state of the dispatch.
    outcome: Outcome
    #: The exception that the dispatch raised, or None.
    error: BaseException | None
    #: The call of the listener that stopped the event, or None.
    stopped_by: ListenerRecord | None

    @hides_parameters
    def __init__(self, event: Any, name: Hashable, dispatcher: Any, parent: ListenerRecord | None) -> None:
        self.event = event
        self.name = name
        self.dispatcher = dispatcher
        self._parent = None if parent is None else ref(parent)
        self.listeners = ()
        self.started = 0.0
        self.finished = None
        self.outcome = "running"
        self.error = None
        self.stopped_by = None

    @property
    def parent(self) -> ListenerRecord | None:
        """The call of a listener that started this dispatch or posted its event to a queue, or None.

        After the dispatch it is None unless you stored the record of the parent. Otherwise events that post events
        would create an endless chain of records.
        """
        return None if self._parent is None else self._parent()

    @property
    def nobody_listened(self) -> bool:
        """Whether the plan has no listeners."""
        return not self.listeners

    @property
    def duration(self) -> float | None:
        """The duration of the dispatch in seconds, or None while it runs."""
        return None if self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<DispatchRecord {safe_repr(self.name)} ({type(self.event).__qualname__}), {self.outcome}>"


class ListenerRecord:
    """The record of one call of a listener in a dispatch."""

    __slots__ = (
        "__weakref__",
        "dispatch",
        "error",
        "finished",
        "outcome",
        "skipped_because",
        "started",
        "subscription",
    )

    #: The record of the dispatch.
    dispatch: DispatchRecord
    #: The registration, with its key, priority and options.
    subscription: Subscription
    #: The time when the listener was called, in seconds of `time.perf_counter`, or None if it was not.
    started: float | None
    #: The time when the call finished, or None if it has not.
    finished: float | None
    #: The state of the call.
    outcome: Outcome
    #: The reason why the listener was not called, or None if it was not skipped.
    skipped_because: SkipReason | None
    #: The exception that the listener raised, or None.
    error: BaseException | None

    @hides_parameters
    def __init__(self, dispatch: DispatchRecord, subscription: Subscription) -> None:
        self.dispatch = dispatch
        self.subscription = subscription
        self.started = None
        self.finished = None
        self.outcome = "running"
        self.skipped_because = None
        self.error = None

    @property
    def listener(self) -> Any:
        """The listener, as it was passed to the dispatcher."""
        return self.subscription.listener

    @property
    def listener_name(self) -> str:
        """The name of the listener, as `antiphon.listener_name` returns it."""
        return listener_name(self.subscription.listener)

    @property
    def duration(self) -> float | None:
        """The duration of the call in seconds, or None if it has not finished or was skipped."""
        return None if self.started is None or self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<ListenerRecord {safe_repr(self.listener)}, {self.outcome}>"


#: The innermost observed call of a listener that encloses the current code, or None.
current_call: Final[ContextVar[ListenerRecord | None]] = ContextVar("current_call", default=None)
