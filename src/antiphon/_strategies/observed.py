"""The dispatches that instruments observe.

The loops in this module run the listeners under the default strategy and error policy. They do what the loops of the
dispatchers do, and notify the instruments. They call listeners with options through the proxies of an observed plan.
Whatever else runs listeners receives such a plan.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter
from typing import Any

from antiphon._instrumentation.attached import NO_OBSERVERS
from antiphon._instrumentation.records import DispatchRecord, current_call
from antiphon._listeners.subscription import Subscription, removed_async_listener, removed_listener
from antiphon._registry.plan import CachedPlan
from antiphon._strategies.driver import reset_context_variable
from antiphon._strategies.errors import annotate_exception
from antiphon._strategies.observed_dispatch import ObservedDispatch
from antiphon._strategies.observed_plan import (
    AsyncObservedSubscription,
    SyncObservedSubscription,
    observe_async_plan,
    observe_plan,
)

__all__ = ("ObservedDispatch", "observe_async_plan", "observe_plan", "observe_unheard", "run", "run_async")


def observe_unheard(cached: CachedPlan, name: Hashable, event: Any) -> None:
    """Notify the instruments of a dispatch without listeners."""
    observers = cached.observers or NO_OBSERVERS
    record = DispatchRecord(event, name, cached.plan.dispatcher, current_call.get())
    record.started = perf_counter()
    try:
        for notify in observers.dispatch_started:
            notify(record)
        record.outcome = "finished"
    except BaseException as exc:
        record.error = exc
        record.outcome = "cancelled"
        raise
    finally:
        record.finished = perf_counter()
        for notify in observers.dispatch_finished:
            notify(record)


async def run_async(dispatch: ObservedDispatch, event: Any) -> None:
    """Await the listeners of a dispatch one after another."""
    plan, observers = dispatch.plan, dispatch.observers
    if len(plan.listeners) > 1:
        dispatch.watch_stops()
    for subscription, record in zip(plan.listeners, dispatch.listeners, strict=True):
        call = subscription.call
        try:
            if type(subscription) is not Subscription or call is removed_async_listener:
                await AsyncObservedSubscription(dispatch, subscription, record).call(event)
            else:
                record.started = perf_counter()
                for notify in observers.listener_started:
                    notify(record)
                token = current_call.set(record)
                try:
                    await call(event)
                finally:
                    reset_context_variable(current_call, token)
                    if dispatch.polls:
                        dispatch.poll_stop(record)
                record.finished = perf_counter()
                record.outcome = "finished"
                for notify in observers.listener_finished:
                    notify(record)
        except BaseException as exc:
            if record.outcome == "running":
                dispatch.on_listener_raised(record, exc)
            annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break


def run(dispatch: ObservedDispatch, event: Any) -> None:  # noqa: C901  the loop is written out
    """Call the listeners of a dispatch one after another."""
    plan, observers = dispatch.plan, dispatch.observers
    if len(plan.listeners) > 1:
        dispatch.watch_stops()
    for subscription, record in zip(plan.listeners, dispatch.listeners, strict=True):
        call = subscription.call
        try:
            if type(subscription) is not Subscription or call is removed_listener:
                SyncObservedSubscription(dispatch, subscription, record).call(event)
            else:
                record.started = perf_counter()
                for notify in observers.listener_started:
                    notify(record)
                token = current_call.set(record)
                try:
                    call(event)
                finally:
                    reset_context_variable(current_call, token)
                    if dispatch.polls:
                        dispatch.poll_stop(record)
                record.finished = perf_counter()
                record.outcome = "finished"
                for notify in observers.listener_finished:
                    notify(record)
        except BaseException as exc:
            if record.outcome == "running":
                dispatch.on_listener_raised(record, exc)
            if isinstance(exc, Exception):
                annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break
