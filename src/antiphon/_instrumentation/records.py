"""The records that instruments receive: one for a dispatch, and one for each call of a listener.

All methods of an instrument receive the same record of a dispatch or a call. The dispatch updates it, and nothing else
writes to it. An instrument can store a record, compare it with ``is``, and use it as a key of a dict.

A dispatch leaves no reference cycle, which only the garbage collector could free: the record of a dispatch holds those
of its calls, and they refer to it weakly. Something holds it while the dispatch runs. From its end on, the records of
calls that are used outside of it hold it. `is_used` finds them.
"""

# ruff: noqa: SLF001  the records use private attributes of each other
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
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
    "is_used",
)

#: The state of a dispatch or of the call of a listener. It is ``"running"`` until it has finished; ``"finished"``
#: without an error; ``"stopped"`` by a listener (dispatches only); ``"failed"`` with an error; ``"cancelled"`` by a
#: cancellation or an interrupt; ``"skipped"`` if the listener was not called (listeners only).
Outcome: TypeAlias = Literal["running", "finished", "stopped", "failed", "cancelled", "skipped"]

#: The reason why a listener was not called. It was ``"removed"``; its ``"where"`` rejected the event; another dispatch
#: used its only call under ``"once"``; the event was ``"stopped"``; the dispatch ``"failed"`` or was ``"cancelled"``
#: before; or the code that runs the listeners (an overridden ``_adispatch``, a custom strategy) ``"omitted"`` it.
SkipReason: TypeAlias = Literal["removed", "where", "once", "stopped", "failed", "cancelled", "omitted"]

#: Counts the references to an object. A Python that does not count them need not have it.
_count_references: Final[Callable[[object], int] | None] = getattr(sys, "getrefcount", None)

# The references are counted by C code alone, so that the result depends neither on the version of Python nor on a
# debugger: here and in `is_used`.
#: The count of an object to which only a list refers.
_UNUSED: Final[int] = max(map(_count_references, [object()])) if _count_references else -1


def is_used(calls: list[ListenerRecord]) -> bool:
    """Return whether something other than this list, which is not empty, refers to one of the records."""
    return _count_references is None or max(map(_count_references, calls)) > _UNUSED


class DispatchRecord:
    """The record of one dispatch."""

    __slots__ = (
        "__weakref__",
        "_calls",
        "_is_over",
        "_parent",
        "_stopping_index",
        "dispatcher",
        "error",
        "event",
        "finished",
        "name",
        "outcome",
        "started",
    )

    #: The event.
    event: Any
    #: The name under which the event is dispatched, or None.
    name: Hashable
    #: The dispatcher or the scope that dispatches the event.
    dispatcher: Any
    #: The time when the dispatch started, in seconds of `time.perf_counter`.
    started: float
    #: The time when the dispatch finished, or None while it runs.
    finished: float | None
    #: The state of the dispatch.
    outcome: Outcome
    #: The exception that the dispatch raised, or None.
    error: BaseException | None

    @hides_parameters
    def __init__(self, event: Any, name: Hashable, dispatcher: Any, parent: ListenerRecord | None) -> None:
        self.event = event
        self.name = name
        self.dispatcher = dispatcher
        self._parent = None if parent is None else ref(parent)
        self.started = 0.0
        self.finished = None
        self.outcome = "running"
        self.error = None
        self._calls: list[ListenerRecord] = []
        # Whether nothing holds this record on behalf of the dispatch any more.
        self._is_over = False
        # Not the record, because it would count as used.
        self._stopping_index: int | None = None

    @property
    def listeners(self) -> tuple[ListenerRecord, ...]:
        """One record for each listener of the plan, in order.

        If a strategy calls a listener again, a record is appended.
        """
        calls = tuple(self._calls)
        # Look after copying: if the dispatch ends in between, it finds that the records are used.
        if self._is_over:
            self._keep()
        return calls

    @property
    def stopped_by(self) -> ListenerRecord | None:
        """The call of the listener that stopped the event, or None."""
        return None if self._stopping_index is None else self.listeners[self._stopping_index]

    @stopped_by.setter
    def stopped_by(self, call: ListenerRecord) -> None:
        self._stopping_index = self._calls.index(call)

    @property
    def parent(self) -> ListenerRecord | None:
        """The call of a listener that started this dispatch or posted its event to a queue, or None.

        After the dispatch it is None unless you stored the record of the parent. Otherwise events that post events
        would create an endless chain of records.
        """
        parent = None if self._parent is None else self._parent()
        if parent is not None and parent.dispatch._is_over:
            parent.dispatch._keep()
        return parent

    @property
    def nobody_listened(self) -> bool:
        """Whether the plan has no listeners."""
        return not self._calls

    @property
    def duration(self) -> float | None:
        """The duration of the dispatch in seconds, or None while it runs."""
        return None if self.finished is None else self.finished - self.started

    def _add_calls(self, subscriptions: tuple[Subscription, ...]) -> None:
        """Make a record for the call of each subscription."""
        reference: ref[DispatchRecord] = ref(self)
        for subscription in subscriptions:
            # No `__init__`, whose call would take as long as the rest.
            call = ListenerRecord()
            call._dispatch = reference
            call.subscription = subscription
            call.started = call.finished = call._cause = None
            call.outcome = "running"
            self._calls.append(call)

    def _keep(self) -> None:
        """Let the records of the calls hold this record, because they are used outside of it."""
        for call in self._calls:
            call._dispatch = self

    def __repr__(self) -> str:
        return f"<DispatchRecord {safe_repr(self.name)} ({type(self.event).__qualname__}), {self.outcome}>"


class ListenerRecord:
    """The record of one call of a listener in a dispatch."""

    __slots__ = (
        "__weakref__",
        "_cause",
        "_dispatch",
        "finished",
        "outcome",
        "started",
        "subscription",
    )

    #: The registration, with its key, priority and options.
    subscription: Subscription
    #: The time when the listener was called, in seconds of `time.perf_counter`, or None if it was not.
    started: float | None
    #: The time when the call finished, or None if it has not.
    finished: float | None
    #: The state of the call.
    outcome: Outcome

    # No `__init__`: the record of the dispatch sets the attributes.
    _dispatch: DispatchRecord | ref[DispatchRecord]
    _cause: BaseException | SkipReason | None

    @property
    def dispatch(self) -> DispatchRecord:
        """The record of the dispatch."""
        dispatch = self._dispatch
        return dispatch() if type(dispatch) is ref else dispatch  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    @property
    def skipped_because(self) -> SkipReason | None:
        """The reason why the listener was not called, or None if it was not skipped."""
        cause = self._cause
        return None if cause is None or isinstance(cause, BaseException) else cause

    @skipped_because.setter
    def skipped_because(self, reason: SkipReason) -> None:
        self._cause = reason

    @property
    def error(self) -> BaseException | None:
        """The exception that the listener raised, or None."""
        cause = self._cause
        return cause if cause is not None and isinstance(cause, BaseException) else None

    @error.setter
    def error(self, error: BaseException | None) -> None:
        self._cause = error

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
