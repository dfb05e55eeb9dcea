"""The plan of an observed dispatch, for strategies, error policies and overrides that run the listeners.

Each subscription of the plan is replaced by a proxy. The ``call`` of the proxy runs the options and the listener, and
notifies the instruments.

Invariant: a listener behaves as without instruments. The proxy raises the same exception, in the same task and context.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import Any, cast

from antiphon._instrumentation.records import ListenerRecord, current_call
from antiphon._listeners.options import wrap_async_with_options, wrap_with_options
from antiphon._listeners.subscription import (
    Subscription,
    has_options,
    removed_async_listener,
    removed_listener,
)
from antiphon._registry.plan import Plan, map_plan
from antiphon._strategies.cancellation import current_watch
from antiphon._strategies.driver import drive, reset_context_variable
from antiphon._strategies.errors import to_listener_error
from antiphon._strategies.observed_dispatch import ObservedDispatch, observe_unheard
from antiphon._util.callables import to_coroutine

__all__ = (
    "AsyncObservedSubscription",
    "ObservedDispatch",
    "SyncObservedSubscription",
    "observe_async_plan",
    "observe_plan",
    "observe_unheard",
)


def observe_plan(dispatch: ObservedDispatch) -> Plan:
    """Return the plan of a dispatch with plain listeners, in which each call notifies the instruments."""
    records = iter(dispatch.calls)
    return map_plan(
        dispatch.plan,
        lambda subscription: cast("Subscription", SyncObservedSubscription(dispatch, subscription, next(records))),
    )


def observe_async_plan(dispatch: ObservedDispatch, *, drives_listeners: bool = False) -> Plan:
    """Return the plan of a dispatch with async listeners, in which each call notifies the instruments.

    Args:
        dispatch: The dispatch.
        drives_listeners: Whether the strategy turns a cancellation that was not requested into an error.
    """
    kind = _DrivenObservedSubscription if drives_listeners else AsyncObservedSubscription
    records = iter(dispatch.calls)
    return map_plan(
        dispatch.plan, lambda subscription: cast("Subscription", kind(dispatch, subscription, next(records)))
    )


class _ObservedSubscription:
    """A proxy of a subscription in an observed plan. Only its ``call`` differs.

    Args:
        dispatch: The dispatch.
        subscription: The subscription.
        record: The record of its next call.
    """

    __slots__ = ("_dispatch", "_record", "_subscription")

    def __init__(self, dispatch: ObservedDispatch, subscription: Subscription, record: ListenerRecord) -> None:
        self._dispatch = dispatch
        self._subscription = subscription
        self._record = record

    def __getattr__(self, attribute: str) -> Any:
        if attribute in _ObservedSubscription.__slots__:
            # `copy` creates the object without its attributes.
            raise AttributeError(attribute)
        return getattr(self._subscription, attribute)

    def __repr__(self) -> str:
        return repr(self._subscription)

    def _start_record(self) -> ListenerRecord:
        record = self._record
        if record.started is not None or record.outcome != "running":
            # A strategy calls the listener again.
            record = self._record = self._dispatch.repeat_call(record)
        return record

    def _on_return(self, record: ListenerRecord, result: Any) -> None:
        if record.started is None:
            # An option did not call the listener, and returned the reason.
            self._dispatch.on_listener_skipped(record, result)
        else:
            self._dispatch.on_listener_finished(record)

    def _on_exception(self, record: ListenerRecord, exc: BaseException) -> None:
        if record.started is None:
            if not isinstance(exc, Exception):
                self._dispatch.on_listener_skipped(record, "cancelled")
                return
            # An option raised the exception.
            self._dispatch.on_listener_started(record)
        self._dispatch.on_listener_raised(record, exc)


class SyncObservedSubscription(_ObservedSubscription):
    """The proxy of the subscription of a plain listener."""

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
        if has_options(subscription):
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
        self._dispatch.on_listener_started(record)
        token = current_call.set(record)
        try:
            return listener(event)
        finally:
            reset_context_variable(current_call, token)
            if self._dispatch.polls:
                self._dispatch.poll_stop(record)


class AsyncObservedSubscription(_ObservedSubscription):
    """The proxy of the subscription of an async listener."""

    __slots__ = ()

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
        if has_options(subscription):
            listener = partial(self._call_listener, record, subscription.listener_call)
            call = wrap_async_with_options(subscription, listener)
        else:
            call = partial(self._call_listener, record, call)
        try:
            result = await call(event)
        except BaseException as exc:
            self._on_exception(record, exc)
            raise
        self._on_return(record, result)

    async def _call_listener(
        self, record: ListenerRecord, listener: Callable[[Any], Awaitable[object]], event: Any
    ) -> object:
        self._dispatch.on_listener_started(record)
        token = current_call.set(record)
        try:
            if self._dispatch.polls:
                return await self._call_polling(record, listener, event)
            return await listener(event)
        finally:
            reset_context_variable(current_call, token)

    async def _call_polling(
        self, record: ListenerRecord, listener: Callable[[Any], Awaitable[object]], event: Any
    ) -> object:
        """Run a listener step by step, to see in which step of which listener the event is stopped."""
        run_step = partial(self._run_step, record)
        awaitable = run_step(listener, event)
        coroutine = awaitable if awaitable.__class__ is CoroutineType else to_coroutine(awaitable)
        return await drive(coroutine, None, run_step)

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
            if not was_stopped:
                dispatch.poll_stop(record)


class _DrivenObservedSubscription(AsyncObservedSubscription):
    """A proxy for a strategy that turns a cancellation that was not requested into an error."""

    __slots__ = ("reported",)

    #: A cancellation that was not requested, and the error that the instruments received instead.
    reported: tuple[BaseException, Exception]

    def _on_exception(self, record: ListenerRecord, exc: BaseException) -> None:
        # Decide it here, because the strategy is outside the scopes that know whether the listener was cancelled.
        error = to_listener_error(exc, cast("Subscription", self), current_watch.get())
        if error is not None and error is not exc:
            self.reported = exc, error
        super()._on_exception(record, exc if error is None else error)
