"""What instruments see of a dispatch: one record for it, and one for each of its listeners.

A record is made when its story begins, and the same object is filled in until it ends: an instrument may keep
it, compare it with ``is``, and use it as a key. Records are written by the dispatch alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias

from antiphon._listeners import Subscription

__all__ = ("HOOKS", "DispatchRecord", "Instrument", "ListenerRecord", "Outcome", "SkipReason", "current_listener")

#: How a dispatch, or the call of a listener, ended: ``"running"`` until it has ended; ``"finished"``; ``"stopped"``
#: (a dispatch alone) if a listener stopped the event; ``"failed"`` with an error; ``"cancelled"`` by a cancellation
#: or an interrupt; ``"skipped"`` (a listener alone) if it was not called.
Outcome: TypeAlias = Literal["running", "finished", "stopped", "failed", "cancelled", "skipped"]

#: Why a listener was not called: it had been ``"removed"``; its ``"where"`` said no; its one call under ``"once"`` was
#: claimed by another dispatch; the event was ``"stopped"``; the dispatch ``"failed"`` or was ``"cancelled"``
#: before its turn; or whoever runs the listeners (an overridden ``_adispatch``, a strategy) ``"left out"`` this one.
SkipReason: TypeAlias = Literal["removed", "where", "once", "stopped", "failed", "cancelled", "left out"]


class DispatchRecord:
    """One dispatch, as instruments see it."""

    __slots__ = (
        "__weakref__",
        "dispatcher",
        "error",
        "event",
        "finished",
        "listeners",
        "name",
        "outcome",
        "parent",
        "started",
        "stopped_by",
    )

    #: The event.
    event: Any
    #: The name under which it is dispatched; None when it has none.
    name: Hashable
    #: The dispatcher, or the scope, that dispatches it.
    dispatcher: Any
    #: The call of a listener in which this dispatch was started, or posted to a queue; None for an outermost one.
    parent: ListenerRecord | None
    #: One record for each listener of the plan, in order.
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
        self.parent = parent
        self.listeners = ()
        self.started = 0.0
        self.finished = None
        self.outcome = "running"
        self.error = None
        self.stopped_by = None

    @property
    def nobody_listened(self) -> bool:
        """Whether there was no listener at all."""
        return not self.listeners

    @property
    def duration(self) -> float | None:
        """How long it took, in seconds; None while it runs."""
        return None if self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<DispatchRecord {self.name!r} ({type(self.event).__qualname__}), {self.outcome}>"


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
    def duration(self) -> float | None:
        """How long the call took, in seconds; None before it has ended, or if it was skipped."""
        return None if self.started is None or self.finished is None else self.finished - self.started

    def __repr__(self) -> str:
        return f"<ListenerRecord {self.listener!r}, {self.outcome}>"


class Instrument:
    """A base for instruments: override what is of interest; the rest is never called.

    An instrument may also be any other object that has one or more of these methods. They are plain functions, called
    where the dispatch runs: in its task, or in the worker thread from which a listener started another dispatch.
    What they raise is logged once, and the instrument is taken out; the dispatch goes on unharmed. (trio)
    """

    __slots__ = ()

    def dispatch_started(self, record: DispatchRecord, /) -> None:
        """A dispatch begins; its event carries name and dispatcher already."""

    def dispatch_finished(self, record: DispatchRecord, /) -> None:
        """A dispatch has ended, in whatever way."""

    def listener_started(self, record: ListenerRecord, /) -> None:
        """A listener is about to be called."""

    def listener_finished(self, record: ListenerRecord, /) -> None:
        """A call has ended, in whatever way: ``record.outcome`` tells, ``record.error`` is what left the listener."""

    def listener_skipped(self, record: ListenerRecord, /) -> None:
        """A listener of the plan was not called: ``record.skipped_because`` tells why."""


#: The methods that make an instrument.
HOOKS: Final = ("dispatch_started", "dispatch_finished", "listener_started", "listener_finished", "listener_skipped")

#: The call of a listener that the running code is part of, under a dispatcher with instruments.
current_listener: Final[ContextVar[ListenerRecord | None]] = ContextVar("current_listener", default=None)
