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
from contextvars import Token
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from antiphon._events.stop_observer import StopObserver, find_stop_observer, stop_observer
from antiphon._instrumentation.attached import NO_OBSERVERS, Observers
from antiphon._instrumentation.records import DispatchRecord, ListenerRecord, Outcome, SkipReason, current_call
from antiphon._listeners.adapters import unbind_name
from antiphon._registry.plan import CachedPlan, get_plan_capabilities
from antiphon._strategies.driver import reset_context_variable

__all__ = ("ObservedDispatch",)

#: The reason why a listener was not called, by the outcome of the dispatch.
_SKIP_REASON_BY_OUTCOME: dict[Outcome, SkipReason] = {
    "finished": "omitted",
    "failed": "failed",
    "cancelled": "cancelled",
}


class ObservedDispatch(DispatchRecord, StopObserver):
    """A running dispatch: its record, and a context manager around the code that runs the listeners.

    Args:
        cached: The plan of the dispatch, with its observers.
        name: The name under which the event is dispatched.
        event: The event.
        outer: The saved state of the dispatch of the same event in which this one was started, or None.
    """

    __slots__ = ("_nesting_depth", "_token", "enclosing", "observers", "plan", "polls")

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any, outer: object) -> None:
        self.plan = plan = cached.plan
        DispatchRecord.__init__(self, event, name, plan.dispatcher, current_call.get())
        self.listeners = tuple([ListenerRecord(self, unbind_name(subscription)) for subscription in plan.listeners])
        self.observers: Observers = cached.observers or NO_OBSERVERS
        #: Whether to look after each call of a listener whether the event is stopped.
        self.polls = plan.stoppable
        self._nesting_depth = 0 if outer is None else cached.capabilities.get_nesting_depth(event)
        self._token: Token[Any] | None = None

    def __enter__(self) -> Self:
        self.started = perf_counter()
        try:
            for notify in self.observers.dispatch_started:
                notify(self)
        except BaseException as exc:
            self.__exit__(type(exc), exc, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.finished = perf_counter()
        if self._token is not None:
            reset_context_variable(stop_observer, self._token)
            # The token refers to the previous observer. Tasks that dispatch again would build an ever-growing chain.
            self._token = None
        stopped = self.stopped_by is not None or self.is_stopped()
        if exc is None:
            self.outcome = "stopped" if stopped else "finished"
        else:
            self.error = exc
            self.outcome = "failed" if isinstance(exc, Exception) else "cancelled"
        for listener in self.listeners:
            if listener.started is None and listener.outcome == "running":
                self.on_listener_skipped(listener, "stopped" if stopped else _SKIP_REASON_BY_OUTCOME[self.outcome])
        observers = self.observers
        for notify in observers.dispatch_failed if self.outcome == "failed" else observers.dispatch_finished:
            notify(self)

    # Notifying the instruments

    def on_listener_started(self, record: ListenerRecord) -> None:
        """Record and notify that a listener is about to be called."""
        record.started = perf_counter()
        for notify in self.observers.listener_started:
            notify(record)

    def on_listener_finished(self, record: ListenerRecord) -> None:
        """Record and notify that a call has returned."""
        record.finished = perf_counter()
        record.outcome = "finished"
        for notify in self.observers.listener_finished:
            notify(record)

    def on_listener_raised(self, record: ListenerRecord, exc: BaseException) -> None:
        """Record and notify that a call has raised an exception."""
        record.finished = perf_counter()
        record.error = exc
        failed = isinstance(exc, Exception)
        record.outcome = "failed" if failed else "cancelled"
        for notify in self.observers.listener_failed if failed else self.observers.listener_finished:
            notify(record)

    def on_listener_skipped(self, record: ListenerRecord, reason: SkipReason) -> None:
        """Record and notify that a listener was not called."""
        record.outcome = "skipped"
        record.skipped_because = reason
        for notify in self.observers.listener_skipped:
            notify(record)

    # Finding the call that stops the event

    def watch_stops(self) -> None:
        """Find the call that stops the event by its context, if the event reports stops."""
        if get_plan_capabilities(self.plan).reports_stops:
            self.polls = False
            self.enclosing = find_stop_observer()
            self._token = stop_observer.set(self)

    def __call__(self, event: Any) -> None:
        if event is self.event and not self.is_finished() and self._is_innermost():
            call = current_call.get()
            while call is not None and call.dispatch is not self:
                call = call.dispatch.parent
            if call is not None:
                self._on_stopped(call)
        if self.enclosing is not None:
            self.enclosing(event)

    def is_finished(self) -> bool:
        return self.finished is not None

    def is_stopped(self) -> bool:
        """Return whether this dispatch was stopped, and not a nested dispatch of the same event."""
        try:
            return self.plan.stoppable and bool(self.event.propagation_stopped) and self._is_innermost()
        except Exception:
            # The property of the event raises. The dispatch reads it as well, and raises the same error.
            return False

    def poll_stop(self, record: ListenerRecord) -> None:
        """Look whether the event is stopped, and if so, record the call that stopped it."""
        if self.is_stopped():
            self._on_stopped(record)

    def _on_stopped(self, record: ListenerRecord) -> None:
        if self.stopped_by is None:
            self.stopped_by = record

    def _is_innermost(self) -> bool:
        # No listener is dispatching the same event now.
        return get_plan_capabilities(self.plan).get_nesting_depth(self.event) == self._nesting_depth
