"""A dispatch that instruments look at: its plan, with something around each listener that tells them.

Rules that its editors keep:

- A dispatch does under instruments what it does without them: what leaves a listener is what leaves its wrapper, in the
  same task and context.
- ``listener_started`` is told where the listener itself is called, within its options; ``listener_finished``
  when its options have ended, too. Each call has both, or ``listener_skipped`` alone.
- Who is told last of a beginning is told first of an end, so that what an instrument opens and closes is nested.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable
from functools import partial
from time import perf_counter
from types import TracebackType, coroutine
from typing import Any, cast

from antiphon._events.event import Event
from antiphon._events.stop_observer import StopObserver, stop_observer
from antiphon._instrumentation.attached import notify_all
from antiphon._instrumentation.records import DispatchRecord, ListenerRecord, Outcome, SkipReason, current_call
from antiphon._listeners.options import recompose, recompose_async
from antiphon._listeners.subscription import (
    Subscription,
    SubscriptionWithOptions,
    removed_async_listener,
    removed_listener,
)
from antiphon._registry.plan import CachedPlan, Plan, map_plan
from antiphon._strategies.cancellation import current_watch
from antiphon._strategies.driver import reset_context_variable
from antiphon._strategies.errors import to_listener_error

__all__ = ("AsyncObservedDispatch", "ObservedDispatch")


class ObservedDispatch:
    """One dispatch of a dispatcher with instruments, as a context manager that gives the plan to run."""

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any) -> None:
        self.plan = cached.plan
        self.event = event
        self.capabilities = cached.capabilities
        self.depth = cached.capabilities.get_nesting_depth(event)
        self.instruments = cached.instruments
        self.instruments_reversed = cached.instruments[::-1]
        self.record = DispatchRecord(event, name, cached.plan.dispatcher, current_call.get())

    def __enter__(self) -> Plan:
        observed = map_plan(self.plan, self._observe)
        self.record.listeners = tuple(
            cast("_ObservedSubscription", subscription).record for subscription in observed.listeners
        )
        self.record.started = perf_counter()
        try:
            notify_all(self.instruments, "dispatch_started", self.record)
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
        reason: SkipReason = _SKIP_REASON_BY_OUTCOME[record.outcome] if not stopped else "stopped"
        for listener in record.listeners:
            if listener.outcome == "running" and listener.started is None:
                self.skipped(listener, reason)
        notify_all(self.instruments_reversed, "dispatch_finished", record)

    def is_stopped(self) -> bool:
        """Whether the event shows that this dispatch was stopped, and not one of the same event by a listener."""
        try:
            return self.plan.stoppable and bool(self.event.propagation_stopped) and self.is_innermost()
        except Exception:
            # A property that raises. The dispatch reads it as well, and ends with that error.
            return False

    def is_innermost(self) -> bool:
        """Whether no listener dispatches the same event now."""
        return self.capabilities.get_nesting_depth(self.event) == self.depth

    def stopped_by(self, record: ListenerRecord) -> None:
        """Note who stopped the event, if it is the first."""
        if self.record.stopped_by is None:
            self.record.stopped_by = record

    def started(self, record: ListenerRecord) -> None:
        """A listener is called."""
        record.started = perf_counter()
        notify_all(self.instruments, "listener_started", record)

    def finished(self, record: ListenerRecord, outcome: Outcome, error: BaseException | None = None) -> None:
        """A call has ended."""
        record.finished = perf_counter()
        record.outcome = outcome
        record.error = error
        notify_all(self.instruments_reversed, "listener_finished", record)

    def skipped(self, record: ListenerRecord, reason: SkipReason) -> None:
        """A listener is not called."""
        record.outcome = "skipped"
        record.skipped_because = reason
        notify_all(self.instruments, "listener_skipped", record)

    def _observe(self, subscription: Subscription) -> Subscription:
        return cast("Subscription", _ObservedSyncSubscription(self, subscription))


class AsyncObservedDispatch(ObservedDispatch):
    """The same for async listeners.

    Args:
        cached: As for `ObservedDispatch`.
        name: As for `ObservedDispatch`.
        event: As for `ObservedDispatch`.
        drives_listeners: Whether a cancellation that nobody requested is an error for the strategy.
    """

    def __init__(self, cached: CachedPlan, name: Hashable, event: Any, drives_listeners: bool) -> None:
        super().__init__(cached, name, event)
        self.drives_listeners = drives_listeners

    def _observe(self, subscription: Subscription) -> Subscription:
        return cast("Subscription", _ObservedAsyncSubscription(self, subscription))


#: Why the listeners were not called that have not been called when a dispatch ends.
_SKIP_REASON_BY_OUTCOME: dict[Outcome, SkipReason] = {
    "finished": "omitted",
    "failed": "failed",
    "cancelled": "cancelled",
}


class _ObservedSubscription:
    """A registration in the plan of a dispatch with instruments: all that the registration is, with another call."""

    __slots__ = ("_observation", "_subscription", "record", "reported")

    def __init__(self, observation: ObservedDispatch, subscription: Subscription) -> None:
        self._observation = observation
        self._subscription = subscription
        #: The record of the next call.
        self.record = ListenerRecord(observation.record, subscription)
        #: A cancellation that nobody requested, and what the instruments have received in its place.
        self.reported: tuple[BaseException, Exception] | None = None

    def __getattr__(self, attribute: str) -> Any:
        if attribute in _ObservedSubscription.__slots__:
            # A copy in the making has nothing yet.
            raise AttributeError(attribute)
        return getattr(self._subscription, attribute)

    def __repr__(self) -> str:
        return repr(self._subscription)

    def _start_record(self) -> ListenerRecord:
        record = self.record
        if record.started is not None or record.outcome != "running":
            # A strategy that calls it once more.
            record = self.record = ListenerRecord(self._observation.record, self._subscription)
            self._observation.record.listeners += (record,)
        return record

    def _on_return(self, record: ListenerRecord, result: Any) -> None:
        if record.started is None:
            self._observation.skipped(record, result)
        else:
            self._observation.finished(record, "finished")

    def _on_exception(self, record: ListenerRecord, error: BaseException) -> None:
        outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
        if record.started is None:
            if outcome == "cancelled":
                self._observation.skipped(record, "cancelled")
                return
            # In one of its options.
            self._observation.started(record)
        self._observation.finished(record, outcome, error)


class _ObservedSyncSubscription(_ObservedSubscription):
    __slots__ = ()

    @property
    def call(self) -> Callable[[Any], object]:
        """Calls what the registration has to call at this moment."""
        return partial(self._attend, self._subscription.call)

    def _attend(self, call: Callable[[Any], object], event: Any) -> None:
        record = self._start_record()
        if call is removed_listener:
            self._observation.skipped(record, "removed")
            return
        if isinstance(self._subscription, SubscriptionWithOptions):
            call = recompose(self._subscription, partial(partial, self._listen, record))
        else:
            call = partial(self._listen, record, call)
        try:
            result = call(event)
        except BaseException as exc:
            self._on_exception(record, exc)
            raise
        self._on_return(record, result)

    def _listen(self, record: ListenerRecord, call: Callable[[Any], object], event: Any) -> object:
        observation = self._observation
        observation.started(record)
        token = current_call.set(record)
        try:
            return call(event)
        finally:
            reset_context_variable(current_call, token)
            if observation.is_stopped():
                observation.stopped_by(record)


class _ObservedAsyncSubscription(_ObservedSubscription):
    __slots__ = ()

    _observation: AsyncObservedDispatch

    @property
    def call(self) -> Callable[[Any], Awaitable[object]]:
        """Calls what the registration has to call at this moment."""
        return partial(self._attend, self._subscription.call)

    async def _attend(self, call: Callable[[Any], Awaitable[object]], event: Any) -> None:
        record = self._start_record()
        if call is removed_async_listener:
            self._observation.skipped(record, "removed")
            return
        if isinstance(self._subscription, SubscriptionWithOptions):
            call = recompose_async(self._subscription, partial(partial, self._listen, record))
        else:
            call = partial(self._listen, record, call)
        try:
            result = await call(event)
        except BaseException as exc:
            # Told here, where the scopes around the listener can still be asked whether it was cancelled.
            watch = current_watch.get() if self._observation.drives_listeners else None
            error = to_listener_error(exc, cast("Subscription", self), watch)
            if error is not None and error is not exc:
                self.reported = exc, error
            self._on_exception(record, exc if error is None else error)
            raise
        self._on_return(record, result)

    async def _listen(self, record: ListenerRecord, call: Callable[[Any], Awaitable[object]], event: Any) -> object:
        self._observation.started(record)
        token = current_call.set(record)
        try:
            if self._observation.plan.stoppable:
                return await self._watch(record, _as_coroutine(call, event))
            return await call(event)
        finally:
            reset_context_variable(current_call, token)

    async def _watch(self, record: ListenerRecord, steps: Coroutine[Any, Any, object]) -> object:
        token = stop_observer.set(_CallStopObserver(self._observation, record))
        try:
            return await self._step(record, steps)
        finally:
            reset_context_variable(stop_observer, token)

    @coroutine
    def _step(self, record: ListenerRecord, steps: Coroutine[Any, Any, object]) -> Generator[Any, Any, object]:
        # Listeners that run together share the event: only its mark before and after a step tells whose stop it was.
        observation = self._observation
        sent, thrown = None, None
        while True:
            stopped_before = observation.is_stopped()
            try:
                yielded = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                # By assignment in a helper task or a thread of it, between two steps.
                if observation.is_stopped():
                    observation.stopped_by(record)
                return end.value
            finally:
                sent = thrown = None
                if not stopped_before and observation.is_stopped():
                    observation.stopped_by(record)
            try:
                sent = yield yielded
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as exc:  # noqa: ASYNC103  thrown into the listener
                thrown = exc


class _CallStopObserver(StopObserver):
    """Told of what is stopped in a call, and in the tasks and threads that it starts."""

    __slots__ = ("_observation", "_record")

    def __init__(self, observation: ObservedDispatch, record: ListenerRecord) -> None:
        super().__init__()
        self._observation = observation
        self._record = record

    def is_finished(self) -> bool:
        return self._observation.record.finished is not None

    def __call__(self, event: Event) -> None:
        if event is self._observation.event and not self.is_finished() and self._observation.is_innermost():
            self._observation.stopped_by(self._record)
        if self.parent is not None:
            self.parent(event)


async def _as_coroutine(call: Callable[[Any], Awaitable[object]], event: Any) -> object:
    # A listener may give any awaitable; a coroutine is what can be run step by step.
    return await call(event)
