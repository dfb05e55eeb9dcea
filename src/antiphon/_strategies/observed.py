"""A dispatch that notifies instruments: its plan, with a wrapper around each subscription.

`ObservedDispatch` replaces each subscription of a plan by a proxy. The ``call`` of the proxy runs the options and the
listener, and notifies the instruments.

Listeners that run together share the event. To find the one that stopped it, an async listener is run step by step, and
the event is checked before and after each step. A stop observer reports the stops in the tasks and threads that the
listener starts.

Invariants:

- A listener behaves as without instruments: the proxy raises the same exception, in the same task and context.
- ``listener_started`` is called immediately before the listener, inside its options. ``listener_finished`` is called
  after the options have finished. Each call of a listener has both, or only ``listener_skipped``.
- Instruments are notified in reverse order when something finishes, so that spans nest correctly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from time import perf_counter
from types import CoroutineType, TracebackType
from typing import Any, cast

from antiphon._events.event import Event
from antiphon._events.stop_observer import StopObserver, stop_observer
from antiphon._instrumentation.records import DispatchRecord, ListenerRecord, Outcome, SkipReason, current_call
from antiphon._listeners.options import wrap_async_with_options, wrap_with_options
from antiphon._listeners.subscription import (
    Subscription,
    SubscriptionWithOptions,
    removed_async_listener,
    removed_listener,
)
from antiphon._registry.plan import CachedPlan, Plan, map_plan
from antiphon._strategies.cancellation import current_watch
from antiphon._strategies.driver import drive, reset_context_variable
from antiphon._strategies.errors import to_listener_error
from antiphon._util.callables import to_coroutine

__all__ = ("AsyncObservedDispatch", "ObservedDispatch")


class ObservedDispatch:
    """One dispatch of a dispatcher with instruments: a context manager that returns the plan to run.

    Args:
        cached: The plan of the dispatch, with its instruments.
        name: The name under which the event is dispatched.
        event: The event.
    """

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any) -> None:
        self.plan = cached.plan
        self.event = event
        self.record = DispatchRecord(event, name, cached.plan.dispatcher, current_call.get())
        self._notify = cached.instruments_by_method.notify
        self._get_nesting_depth = cached.capabilities.get_nesting_depth
        self._nesting_depth = self._get_nesting_depth(event)

    def __enter__(self) -> Plan:
        observed = map_plan(self.plan, self._observe)
        self.record.listeners = tuple(
            cast("_ObservedSubscription", subscription).record for subscription in observed.listeners
        )
        self.record.started = perf_counter()
        try:
            self._notify("dispatch_started", self.record)
        except BaseException as exc:
            self.__exit__(type(exc), exc, None)
            raise
        return observed

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        record = self.record
        record.finished = perf_counter()
        record.error = exc
        stopped = record.stopped_by is not None or self.is_stopped()
        if exc is None:
            record.outcome = "stopped" if stopped else "finished"
        else:
            record.outcome = "failed" if isinstance(exc, Exception) else "cancelled"
        reason: SkipReason = "stopped" if stopped else _SKIP_REASON_BY_OUTCOME[record.outcome]
        for listener in record.listeners:
            if listener.outcome == "running" and listener.started is None:
                self.on_listener_skipped(listener, reason)
        self._notify("dispatch_finished", record)

    def is_stopped(self) -> bool:
        """Return whether this dispatch was stopped, and not a nested dispatch of the same event."""
        try:
            return self.plan.stoppable and bool(self.event.propagation_stopped) and self.is_innermost()
        except Exception:
            # The property of the event raises. The dispatch reads it as well, and raises the same error.
            return False

    def is_innermost(self) -> bool:
        """Return whether no listener is dispatching the same event now."""
        return self._get_nesting_depth(self.event) == self._nesting_depth

    def on_stopped(self, record: ListenerRecord) -> None:
        """Record the call that stopped the event, if it is the first."""
        if self.record.stopped_by is None:
            self.record.stopped_by = record

    def on_listener_started(self, record: ListenerRecord) -> None:
        """Record and notify that a listener is about to be called."""
        record.started = perf_counter()
        self._notify("listener_started", record)

    def on_listener_finished(
        self, record: ListenerRecord, outcome: Outcome, error: BaseException | None = None
    ) -> None:
        """Record and notify that a call has finished."""
        record.finished = perf_counter()
        record.outcome = outcome
        record.error = error
        self._notify("listener_finished", record)

    def on_listener_skipped(self, record: ListenerRecord, reason: SkipReason) -> None:
        """Record and notify that a listener was not called."""
        record.outcome = "skipped"
        record.skipped_because = reason
        self._notify("listener_skipped", record)

    def _observe(self, subscription: Subscription) -> Subscription:
        return cast("Subscription", _ObservedSyncSubscription(self, subscription))


class AsyncObservedDispatch(ObservedDispatch):
    """An observed dispatch with async listeners.

    Args:
        cached: The plan of the dispatch, with its instruments.
        name: The name under which the event is dispatched.
        event: The event.
        drives_listeners: Whether the strategy turns a cancellation that was not requested into an error.
    """

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any, drives_listeners: bool) -> None:
        super().__init__(cached, name, event)
        self.drives_listeners = drives_listeners

    def _observe(self, subscription: Subscription) -> Subscription:
        return cast("Subscription", _ObservedAsyncSubscription(self, subscription))


#: The reason why a listener was not called, by the outcome of the dispatch.
_SKIP_REASON_BY_OUTCOME: dict[Outcome, SkipReason] = {
    "finished": "omitted",
    "failed": "failed",
    "cancelled": "cancelled",
}


class _ObservedSubscription:
    """A proxy of a subscription in an observed plan. Only its ``call`` differs."""

    __slots__ = ("_dispatch", "_subscription", "record", "reported")

    def __init__(self, dispatch: ObservedDispatch, subscription: Subscription) -> None:
        self._dispatch = dispatch
        self._subscription = subscription
        #: The record of the next call.
        self.record = ListenerRecord(dispatch.record, subscription)
        #: A cancellation that was not requested, and the error that the instruments received instead.
        self.reported: tuple[BaseException, Exception] | None = None

    def __getattr__(self, attribute: str) -> Any:
        if attribute in _ObservedSubscription.__slots__:
            # `copy` creates the object without its attributes.
            raise AttributeError(attribute)
        return getattr(self._subscription, attribute)

    def __repr__(self) -> str:
        return repr(self._subscription)

    def _start_record(self) -> ListenerRecord:
        record = self.record
        if record.started is not None or record.outcome != "running":
            # A strategy calls the listener again.
            record = self.record = ListenerRecord(self._dispatch.record, self._subscription)
            self._dispatch.record.listeners += (record,)
        return record

    def _on_return(self, record: ListenerRecord, result: Any) -> None:
        if record.started is None:
            # An option did not call the listener, and returned the reason.
            self._dispatch.on_listener_skipped(record, result)
        else:
            self._dispatch.on_listener_finished(record, "finished")

    def _on_exception(self, record: ListenerRecord, error: BaseException) -> None:
        outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
        if record.started is None:
            if outcome == "cancelled":
                self._dispatch.on_listener_skipped(record, "cancelled")
                return
            # An option raised the exception.
            self._dispatch.on_listener_started(record)
        self._dispatch.on_listener_finished(record, outcome, error)


class _ObservedSyncSubscription(_ObservedSubscription):
    __slots__ = ()

    @property
    def call(self) -> Callable[[Any], object]:
        """The callable of the subscription at this moment, in a wrapper that notifies the instruments."""
        return partial(self._call, self._subscription.call)

    def _call(self, call: Callable[[Any], object], event: Any) -> None:
        record = self._start_record()
        if call is removed_listener:
            self._dispatch.on_listener_skipped(record, "removed")
            return
        subscription = self._subscription
        if isinstance(subscription, SubscriptionWithOptions):
            call = wrap_with_options(subscription, partial(self._call_listener, record, subscription.listener_call))
        else:
            call = partial(self._call_listener, record, call)
        try:
            result = call(event)
        except BaseException as exc:
            self._on_exception(record, exc)
            raise
        self._on_return(record, result)

    def _call_listener(self, record: ListenerRecord, listener: Callable[[Any], object], event: Any) -> object:
        dispatch = self._dispatch
        dispatch.on_listener_started(record)
        token = current_call.set(record)
        try:
            return listener(event)
        finally:
            reset_context_variable(current_call, token)
            if dispatch.is_stopped():
                dispatch.on_stopped(record)


class _ObservedAsyncSubscription(_ObservedSubscription):
    __slots__ = ()

    _dispatch: AsyncObservedDispatch

    @property
    def call(self) -> Callable[[Any], Awaitable[object]]:
        """The callable of the subscription at this moment, in a wrapper that notifies the instruments."""
        return partial(self._call, self._subscription.call)

    async def _call(self, call: Callable[[Any], Awaitable[object]], event: Any) -> None:
        record = self._start_record()
        if call is removed_async_listener:
            self._dispatch.on_listener_skipped(record, "removed")
            return
        subscription = self._subscription
        if isinstance(subscription, SubscriptionWithOptions):
            listener = partial(self._call_listener, record, subscription.listener_call)
            call = wrap_async_with_options(subscription, listener)
        else:
            call = partial(self._call_listener, record, call)
        try:
            result = await call(event)
        except BaseException as exc:
            # Decide it here, because the strategy is outside the scopes that know whether the listener was cancelled.
            watch = current_watch.get() if self._dispatch.drives_listeners else None
            error = to_listener_error(exc, cast("Subscription", self), watch)
            if error is not None and error is not exc:
                self.reported = exc, error
            self._on_exception(record, exc if error is None else error)
            raise
        self._on_return(record, result)

    async def _call_listener(
        self, record: ListenerRecord, listener: Callable[[Any], Awaitable[object]], event: Any
    ) -> object:
        self._dispatch.on_listener_started(record)
        token = current_call.set(record)
        try:
            if self._dispatch.plan.stoppable:
                return await self._call_watching_stop(record, listener, event)
            return await listener(event)
        finally:
            reset_context_variable(current_call, token)

    async def _call_watching_stop(
        self, record: ListenerRecord, listener: Callable[[Any], Awaitable[object]], event: Any
    ) -> object:
        run_step = partial(self._run_step, record)
        token = stop_observer.set(_CallStopObserver(self._dispatch, record))
        try:
            awaitable = run_step(listener, event)
            coroutine = awaitable if awaitable.__class__ is CoroutineType else to_coroutine(awaitable)
            return await drive(coroutine, None, run_step)
        finally:
            reset_context_variable(stop_observer, token)

    def _run_step(self, record: ListenerRecord, function: Callable[..., Any], *args: Any) -> Any:
        dispatch = self._dispatch
        was_stopped = dispatch.is_stopped()
        try:
            return function(*args)
        except StopIteration:
            # The listener has returned. A task or a thread of it may have stopped the event between two steps.
            was_stopped = False
            raise
        finally:
            # A frame that refers to an exception makes a cycle.
            del args
            if not was_stopped and dispatch.is_stopped():
                dispatch.on_stopped(record)


class _CallStopObserver(StopObserver):
    """Receives the stops of events in a call, and in the tasks and threads that it starts."""

    __slots__ = ("_dispatch", "_record")

    def __init__(self, dispatch: ObservedDispatch, record: ListenerRecord) -> None:
        super().__init__()
        self._dispatch = dispatch
        self._record = record

    def is_finished(self) -> bool:
        return self._dispatch.record.finished is not None

    def __call__(self, event: Event) -> None:
        dispatch = self._dispatch
        if event is dispatch.event and not self.is_finished() and dispatch.is_innermost():
            dispatch.on_stopped(self._record)
        if self.parent is not None:
            self.parent(event)
