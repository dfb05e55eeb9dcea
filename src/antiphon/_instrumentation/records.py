"""Instruments, and what they see of a dispatch: one record for it, and one for each of its listeners.

A record is made when its story begins, and the same object is filled in until it ends: an instrument may keep
it, compare it with ``is``, and use it as a key. Records are written by the dispatch alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias
from weakref import ref

from antiphon._listeners.subscription import Subscription
from antiphon._util.naming import listener_name as name_of
from antiphon._util.naming import safe_repr

__all__ = (
    "DispatchRecord",
    "ListenerRecord",
    "Outcome",
    "SkipReason",
    "current_call",
)

#: How a dispatch, or the call of a listener, ended: ``"running"`` until it has ended; ``"finished"``; ``"stopped"``
#: (a dispatch alone) if a listener stopped the event; ``"failed"`` with an error; ``"cancelled"`` by a cancellation
#: or an interrupt; ``"skipped"`` (a listener alone) if it was not called.
Outcome: TypeAlias = Literal["running", "finished", "stopped", "failed", "cancelled", "skipped"]

#: Why a listener was not called: it had been ``"removed"``; its ``"where"`` said no; its one call under ``"once"`` was
#: claimed by another dispatch; the event was ``"stopped"``; the dispatch ``"failed"`` or was ``"cancelled"``
#: before its turn; or whoever runs the listeners (an overridden ``_adispatch``, a strategy) ``"omitted"`` this one.
SkipReason: TypeAlias = Literal["removed", "where", "once", "stopped", "failed", "cancelled", "omitted"]


class DispatchRecord:
    """One dispatch, as instruments see it."""

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
    #: The name under which it is dispatched; None when it has none.
    name: Hashable
    #: The dispatcher, or the scope, that dispatches it.
    dispatcher: Any
    #: One record for each listener of the plan, in order; behind them one for each call that a strategy repeats.
    listeners: tuple[ListenerRecord, ...]
    #: When it began, in seconds of `time.perf_counter`.
    started: float
    #: When it ended, in the same seconds; None while it runs.
    finished: float | None
    #: How it ended.
    outcome: Outcome
    #: What left the dispatch; None if nothing did.
    error: BaseException | None
    #: The call of the listener that stopped the event; None if none did.
    stopped_by: ListenerRecord | None

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
        """The call of a listener in which this dispatch was started, or posted to a queue; None for an outermost one.

        It is there while the dispatch runs; afterwards only while somebody keeps the record of the parent, so
        that events which post events do not grow a chain of records without end.
        """
        return None if self._parent is None else self._parent()

    @property
    def nobody_listened(self) -> bool:
        """Whether there was no listener at all."""
        return not self.listeners

    @property
    def duration(self) -> float | None:
        """How long it took, in seconds; None while it runs."""
        return None if self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<DispatchRecord {safe_repr(self.name)} ({type(self.event).__qualname__}), {self.outcome}>"


class ListenerRecord:
    """The call of one listener in one dispatch, as instruments see it."""

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

    #: The dispatch that it is part of.
    dispatch: DispatchRecord
    #: The registration: its key, priority and options.
    subscription: Subscription
    #: When the listener was called, in seconds of `time.perf_counter`; None if it has not been.
    started: float | None
    #: When it ended, in the same seconds; None before.
    finished: float | None
    #: How it ended.
    outcome: Outcome
    #: Why it was not called; None unless it was skipped.
    skipped_because: SkipReason | None
    #: What left the listener; None if nothing did.
    error: BaseException | None

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
        """The listener, as it was given."""
        return self.subscription.listener

    @property
    def listener_name(self) -> str:
        """What the listener is called, as `antiphon.listener_name` gives it."""
        return name_of(self.subscription.listener)

    @property
    def duration(self) -> float | None:
        """How long the call took, in seconds; None before it has ended, or if it was skipped."""
        return None if self.started is None or self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<ListenerRecord {safe_repr(self.listener)}, {self.outcome}>"


#: The call of a listener that the running code is part of, under a dispatcher with instruments.
current_call: Final[ContextVar[ListenerRecord | None]] = ContextVar("current_call", default=None)
