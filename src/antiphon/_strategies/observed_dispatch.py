"""A dispatch that instruments observe: who is notified when, and which call stops the event.

Invariants:

- ``listener_started`` is called immediately before the listener, inside its options. ``listener_finished`` is called
  after the options have finished. Each call of a listener has both, or only ``listener_skipped``.
- Instruments are notified in reverse order when something finishes, so that spans nest correctly.
- Listeners that run together share the event. The one that stops it is found through the context, so that the tasks and
  threads that a listener starts belong to its call.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter
from types import TracebackType
from typing import Any, Self
from weakref import ref

from antiphon._events.stop_observer import stop_recorders
from antiphon._instrumentation.attached import NO_OBSERVERS, Observers
from antiphon._instrumentation.records import DispatchRecord, ListenerRecord, Outcome, SkipReason, current_call, is_used
from antiphon._listeners.adapters import unbind_name
from antiphon._registry.plan import CachedPlan

__all__ = ("ObservedDispatch", "observe_unheard")

#: The reason why a listener was not called, by the outcome of the dispatch.
_SKIP_REASON_BY_OUTCOME: dict[Outcome, SkipReason] = {
    "finished": "omitted",
    "failed": "failed",
    "cancelled": "cancelled",
}


class ObservedDispatch(DispatchRecord):
    """A running dispatch: its record, and a context manager around the code that runs the listeners.

    Args:
        cached: The plan of the dispatch, with its observers.
        name: The name under which the event is dispatched.
        event: The event.
        nesting_depth: The number of running dispatches of the event around this one.
    """

    __slots__ = ("_capabilities", "_nesting_depth", "observers", "plan")

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any, nesting_depth: int = 0) -> None:
        # Not by `DispatchRecord.__init__`: this runs in each observed dispatch, and a call takes time.
        self.event = event
        self.name = name
        self.dispatcher = cached.info.dispatcher
        parent = current_call.get()
        self._parent = None if parent is None else ref(parent)
        self.finished = None
        self.outcome = "running"
        self.error = None
        self._calls = []
        self._stopping_index = None
        self._is_over = False
        self.plan = cached.plan
        self.observers: Observers = cached.observers or NO_OBSERVERS
        self._capabilities = cached.capabilities
        self._nesting_depth = nesting_depth
        subscriptions = cached.plan.listeners
        if subscriptions:
            self._add_calls(tuple(map(unbind_name, subscriptions)) if cached.binds_names else subscriptions)
        self.started = perf_counter()

    @property
    def calls(self) -> list[ListenerRecord]:
        """The records of the calls, for the code that runs the listeners."""
        return self._calls

    def repeat_call(self, call: ListenerRecord) -> ListenerRecord:
        """Add a record for another call of the same listener, and return it."""
        self._add_calls((call.subscription,))
        return self._calls[-1]

    def __enter__(self) -> Self:
        try:
            notify = self.observers.dispatch_started
            if notify is not None:
                notify(self)
        except BaseException as exc:
            self.finish(exc)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.finish(exc)

    def finish(self, exc: BaseException | None) -> None:
        """Record and notify that the dispatch has finished, with this exception or without one."""
        self.finished = perf_counter()
        if self.outcome == "running":
            self._set_outcome(exc)
        observers = self.observers
        notify = observers.dispatch_failed if self.outcome == "failed" else observers.dispatch_finished
        try:
            if notify is not None:
                notify(self)
        finally:
            self._is_over = True
            if self._calls and is_used(self._calls):
                self._keep()

    def _set_outcome(self, exc: BaseException | None) -> None:
        stopped = self._stopping_index is not None or self.is_stopped()
        if exc is None:
            self.outcome = "stopped" if stopped else "finished"
        else:
            self.error = exc
            self.outcome = "failed" if isinstance(exc, Exception) else "cancelled"
        for listener in self._calls:
            if listener.started is None and listener.outcome == "running":
                self.on_listener_skipped(listener, "stopped" if stopped else _SKIP_REASON_BY_OUTCOME[self.outcome])

    # Notifying the instruments

    def on_listener_started(self, record: ListenerRecord) -> None:
        """Record and notify that a listener is about to be called."""
        record.started = perf_counter()
        notify = self.observers.listener_started
        if notify is not None:
            notify(record)

    def on_listener_finished(self, record: ListenerRecord) -> None:
        """Record and notify that a call has returned."""
        record.finished = perf_counter()
        record.outcome = "finished"
        notify = self.observers.listener_finished
        if notify is not None:
            notify(record)

    def on_listener_raised(self, record: ListenerRecord, exc: BaseException) -> None:
        """Record and notify that a call has raised an exception."""
        record.finished = perf_counter()
        record.error = exc
        failed = isinstance(exc, Exception)
        record.outcome = "failed" if failed else "cancelled"
        notify = self.observers.listener_failed if failed else self.observers.listener_finished
        if notify is not None:
            notify(record)

    def on_listener_skipped(self, record: ListenerRecord, reason: SkipReason) -> None:
        """Record and notify that a listener was not called."""
        record.outcome = "skipped"
        record.skipped_because = reason
        notify = self.observers.listener_skipped
        if notify is not None:
            notify(record)

    # Finding the call that stops the event

    @property
    def polls(self) -> bool:
        """Whether to look after each step of a listener whether the event is stopped, because nothing reports it."""
        return self._capabilities.stoppable and not self._capabilities.reports_stops

    def is_stopped(self) -> bool:
        """Return whether this dispatch was stopped, and not a nested dispatch of the same event."""
        try:
            return self._capabilities.stoppable and bool(self.event.propagation_stopped) and self._is_innermost()
        except Exception:
            # The property of the event raises. The dispatch reads it as well, and raises the same error.
            return False

    def poll_stop(self, record: ListenerRecord) -> None:
        """Look whether the event is stopped, and record the call that stopped it."""
        if self._stopping_index is None and self.is_stopped():
            self.stopped_by = record

    def record_stop(self, event: Any, call: ListenerRecord) -> None:
        """Record the call that stops an event, if it is the one of this dispatch."""
        if event is self.event and self.finished is None and self._stopping_index is None and self._is_innermost():
            self.stopped_by = call

    def _is_innermost(self) -> bool:
        # No listener is dispatching the same event now.
        return self._capabilities.get_nesting_depth(self.event) == self._nesting_depth


def observe_unheard(cached: CachedPlan, name: Hashable, event: Any) -> None:
    """Notify the instruments of a dispatch without listeners."""
    with ObservedDispatch(cached, name, event) as dispatch:
        dispatch.outcome = "finished"


def _record_stop(event: Any) -> None:
    call = current_call.get()
    while call is not None:
        dispatch = call.dispatch
        if isinstance(dispatch, ObservedDispatch):
            dispatch.record_stop(event, call)
        call = dispatch.parent


stop_recorders.append(_record_stop)
