"""The base class of the strategies that run one tier after another, and the listeners of a tier concurrently.

A tier of one listener needs no task group: the listener runs in the caller's task, in a copy of its context. A plan of
one listener, the usual case, has its own `StrategyStep`, which creates an `ErrorCollector` only for an exception.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import Any

from antiphon._backend import checkpoint_if_cancelled, detect_backend, is_cancelled_by_scope
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.base import BaseStrategy
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.checkpoints import get_requested_cancellation, raise_if_cancelled
from antiphon._strategies.driver import run_first_step_in, set_current_watch
from antiphon._strategies.errors import ErrorCollector, ErrorPolicy, handle_exception
from antiphon._strategies.tiers import TierRunner

__all__ = ("TieredStrategy",)


class TieredStrategy(BaseStrategy):
    """Base class of strategies that run one tier after another. The listeners of a tier run concurrently."""

    __slots__ = ()

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the tiers of a plan one after another, and the listeners of each tier concurrently.

        Raises:
            ExceptionGroup: If listeners raise errors that the error policy does not handle.
            BaseExceptionGroup: If a cancellation or an interrupt ends the dispatch after errors: all of them.
        """
        if not plan:
            return
        trio, task = detect_backend()
        scope_checkpoint = checkpoint_if_cancelled(trio, task)
        if scope_checkpoint is not None:
            await scope_checkpoint
        is_in_scope = trio is not None or scope_checkpoint is not None
        watch = CancellationWatch(task, current_watch.get())
        # As in `raise_if_cancelled`.
        del task
        collector = ErrorCollector(self._errors, plan, event)
        try:
            for number, listeners in enumerate(plan):
                if number:
                    if collector.is_finished or (plan.stoppable and event.propagation_stopped):
                        break
                    await raise_if_cancelled(watch, trio, is_in_scope)
                if len(listeners) == 1:
                    may_be_cancelled = await _run_single_listener_tier(listeners[0], event, collector, watch)
                else:
                    tier = self._make_tier_runner(plan, event, collector, watch)
                    may_be_cancelled = await tier.run(listeners, trio)
                if may_be_cancelled:
                    await raise_if_cancelled(watch, trio, is_in_scope)
            if watch.is_cancelled or collector.errors:
                await raise_if_cancelled(watch, trio, is_in_scope)
        except BaseException as exc:  # noqa: ASYNC103  raise_with always raises
            collector.raise_with(await get_requested_cancellation(exc, watch))  # noqa: ASYNC102  it fetches the cancellation
        finally:
            watch.finish()
        collector.raise_errors()

    def _make_step(self, plan: Plan) -> StrategyStep:
        if len(plan.listeners) == 1:
            return StrategyStep(partial(_run_single_listener_plan, self._errors, plan.listeners[0], plan))
        return super()._make_step(plan)

    def _make_tier_runner(
        self, plan: Plan, event: Any, collector: ErrorCollector, watch: CancellationWatch
    ) -> TierRunner:
        return TierRunner(event, collector, watch)


async def _run_single_listener_tier(
    subscription: Subscription, event: Any, collector: ErrorCollector, watch: CancellationWatch
) -> bool:
    """Run the only listener of a tier. Return whether it waited or raised an error."""
    try:
        context = copy_context()
        context.run(set_current_watch, watch)
        remainder = run_first_step_in(context, subscription.call, event, watch)
        if remainder is None:
            return False
        await remainder
        watch.uncancel_own_requests()
    except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
        _handle_exception(exc, subscription, collector, watch)
    return True


async def _run_single_listener_plan(errors: ErrorPolicy, subscription: Subscription, plan: Plan, event: Any) -> None:
    """Do the same as `TieredStrategy.run` for a plan of one listener."""
    trio, task = detect_backend()
    scope_checkpoint = checkpoint_if_cancelled(trio, task)
    if scope_checkpoint is not None:
        await scope_checkpoint
    watch = CancellationWatch(task, current_watch.get())
    del task  # as in `raise_if_cancelled`
    collector: ErrorCollector | None = None
    try:
        try:
            context = copy_context()
            context.run(set_current_watch, watch)
            remainder = run_first_step_in(context, subscription.call, event, watch)
            if remainder is None:
                return
            await remainder
            watch.uncancel_own_requests()
            if not (watch.is_cancelled or watch.has_undelivered_cancellation() or is_cancelled_by_scope()):
                return
        except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
            collector = ErrorCollector(errors, plan, event)
            _handle_exception(exc, subscription, collector, watch)
        await raise_if_cancelled(watch)
    except BaseException as exc:  # noqa: ASYNC103  raise_with always raises
        collector = collector or ErrorCollector(errors, plan, event)
        collector.raise_with(await get_requested_cancellation(exc, watch))  # noqa: ASYNC102  it fetches the cancellation
    finally:
        watch.finish()
    if collector is not None:
        collector.raise_errors()


def _handle_exception(
    exc: BaseException, subscription: Subscription, collector: ErrorCollector, watch: CancellationWatch
) -> None:
    try:
        handle_exception(exc, subscription, collector, watch)
    finally:
        watch.uncancel_own_requests()
        # A frame that references an exception creates a reference cycle.
        del exc
