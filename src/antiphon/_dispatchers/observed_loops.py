"""The loops that run the listeners of dispatches that instruments observe: async and sync.

They do what the loops of the module `loops` do, and notify the instruments. Where something else runs the listeners (a
strategy, an error policy or an override), it receives an observed plan, which notifies them. So does the dispatch of an
event that is in flight, or whose class needs more than plain assignments.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import Token
from time import perf_counter
from typing import Any

from antiphon._dispatchers.loops import change_running
from antiphon._instrumentation.attached import check_has_run
from antiphon._instrumentation.records import ListenerRecord, current_call
from antiphon._listeners.subscription import Subscription, removed_async_listener, removed_listener
from antiphon._registry.plan import CachedPlan
from antiphon._strategies.errors import annotate_exception
from antiphon._strategies.observed_dispatch import ObservedDispatch
from antiphon._strategies.observed_plan import AsyncObservedSubscription, SyncObservedSubscription

__all__ = ("adispatch", "dispatch")


async def adispatch(cached: CachedPlan, name: Hashable, event: Any) -> Any:  # noqa: C901, PLR0912, PLR0915  the loop is written out
    """Dispatch an event to async listeners, one after another."""
    change_running(1)
    event._antiphon_info = cached.info
    event._antiphon_in_flight = event
    try:
        dispatch = ObservedDispatch(cached, name, event)
        observers = dispatch.observers
        record: ListenerRecord | None = None
        token: Token[ListenerRecord | None] | None = None
        try:
            if observers.dispatch_started is not None:
                observers.dispatch_started(dispatch)
            guard = observers.loop_guard
            listener_started, listener_finished = observers.loop_listener_started, observers.loop_listener_finished
            for record in dispatch.calls:
                subscription = record.subscription
                call = subscription.call
                try:
                    if type(subscription) is not Subscription or call is removed_async_listener:
                        await AsyncObservedSubscription(dispatch, subscription, record).call(event)
                    else:
                        record.started = perf_counter()
                        if listener_started is not None and not guard.has_raised:
                            try:
                                result = listener_started(record)
                                if result is not None:
                                    check_has_run(result, listener_started)
                            except Exception as exc:
                                guard.on_exception("listener_started", exc)
                        token = current_call.set(record)
                        try:
                            await call(event)
                        finally:
                            try:
                                current_call.reset(token)
                            except ValueError:
                                # The coroutine was closed in another context. Do not use `reset_context_variable`,
                                # whose call takes as long as the reset.
                                pass
                            if event._antiphon_info.stopped:
                                dispatch.poll_stop(record)
                        record.finished = perf_counter()
                        record.outcome = "finished"
                        if listener_finished is not None and not guard.has_raised:
                            try:
                                result = listener_finished(record)
                                if result is not None:
                                    check_has_run(result, listener_finished)
                            except Exception as exc:
                                guard.on_exception("listener_finished", exc)
                except BaseException as exc:
                    if record.outcome == "running":
                        dispatch.on_listener_raised(record, exc)
                    annotate_exception(exc, subscription, cached.plan, event)
                    raise
                if event._antiphon_info.stopped:
                    break
            else:
                dispatch.outcome = "finished"
        except BaseException as exc:
            # The traceback refers to this function, and the records refer to the exception: a reference cycle.
            record = token = None
            dispatch.finish(exc)
            del dispatch
            raise
        record = None  # so that it does not count as used
        dispatch.finish(None)
    finally:
        event._antiphon_in_flight = None
        change_running(-1)
    return event


def dispatch(cached: CachedPlan, name: Hashable, event: Any) -> Any:  # noqa: C901, PLR0912, PLR0915  the loop is written out
    """Dispatch an event to plain listeners, one after another."""
    change_running(1)
    event._antiphon_info = cached.info
    event._antiphon_in_flight = event
    try:
        dispatch = ObservedDispatch(cached, name, event)
        observers = dispatch.observers
        record: ListenerRecord | None = None
        token: Token[ListenerRecord | None] | None = None
        try:
            if observers.dispatch_started is not None:
                observers.dispatch_started(dispatch)
            guard = observers.loop_guard
            listener_started, listener_finished = observers.loop_listener_started, observers.loop_listener_finished
            for record in dispatch.calls:
                subscription = record.subscription
                call = subscription.call
                try:
                    if type(subscription) is not Subscription or call is removed_listener:
                        SyncObservedSubscription(dispatch, subscription, record).call(event)
                    else:
                        record.started = perf_counter()
                        if listener_started is not None and not guard.has_raised:
                            try:
                                result = listener_started(record)
                                if result is not None:
                                    check_has_run(result, listener_started)
                            except Exception as exc:
                                guard.on_exception("listener_started", exc)
                        token = current_call.set(record)
                        try:
                            call(event)
                        finally:
                            current_call.reset(token)
                            if event._antiphon_info.stopped:
                                dispatch.poll_stop(record)
                        record.finished = perf_counter()
                        record.outcome = "finished"
                        if listener_finished is not None and not guard.has_raised:
                            try:
                                result = listener_finished(record)
                                if result is not None:
                                    check_has_run(result, listener_finished)
                            except Exception as exc:
                                guard.on_exception("listener_finished", exc)
                except BaseException as exc:
                    if record.outcome == "running":
                        dispatch.on_listener_raised(record, exc)
                    if isinstance(exc, Exception):
                        annotate_exception(exc, subscription, cached.plan, event)
                    raise
                if event._antiphon_info.stopped:
                    break
            else:
                dispatch.outcome = "finished"
        except BaseException as exc:
            # The traceback refers to this function, and the records refer to the exception: a reference cycle.
            record = token = None
            dispatch.finish(exc)
            del dispatch
            raise
        record = None  # so that it does not count as used
        dispatch.finish(None)
    finally:
        event._antiphon_in_flight = None
        change_running(-1)
    return event
