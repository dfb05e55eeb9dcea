"""Running listeners one after another under another error policy than ``"raise"``."""

from __future__ import annotations

from typing import Any

from antiphon._backend import get_asyncio_task
from antiphon._registry.plan import Plan
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.checkpoints import get_requested_cancellation, raise_if_cancelled
from antiphon._strategies.driver import reset_context_variable, run_first_step
from antiphon._strategies.errors import ErrorCollector, handle_exception

__all__ = ("run_with_policy",)


async def run_with_policy(plan: Plan, event: Any, collector: ErrorCollector) -> None:
    """Run the listeners of a plan one after another, and give their errors to the policy.

    Args:
        plan: The plan.
        event: The argument of the listeners.
        collector: The collector of their errors, which has the policy.
    """
    watch = CancellationWatch(get_asyncio_task(), current_watch.get())
    # Set the variable once: nothing else runs in this context until the dispatch has finished.
    token = current_watch.set(watch)
    try:
        for subscription in plan.listeners:
            try:
                remainder = run_first_step(subscription.call, event, watch)
                if remainder is not None:
                    await remainder
                    # As in a loop: requests that this listener has caught or made do not concern the next one.
                    watch.reset()
            except BaseException as exc:  # noqa: ASYNC103  handle_exception raises all but errors
                handle_exception(exc, subscription, collector, watch)
                # The dispatch continues, unless it was cancelled and the listener raised an error instead.
                await raise_if_cancelled(watch)  # noqa: ASYNC102  it raises the cancellation
                watch.reset()
            if collector.is_finished or (plan.stoppable and event.propagation_stopped):
                break
        if collector.errors:
            await raise_if_cancelled(watch)
    except BaseException as exc:  # noqa: ASYNC103  raise_with always raises
        collector.raise_with(await get_requested_cancellation(exc, watch))  # noqa: ASYNC102  it fetches the cancellation
    finally:
        watch.finish()
        reset_context_variable(current_watch, token)
    if collector.is_finished:
        raise collector.pop_error()
    collector.raise_errors()
