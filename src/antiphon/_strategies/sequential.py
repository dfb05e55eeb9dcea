"""The default strategy: it awaits one listener after another."""

from __future__ import annotations

from typing import Any, Final

from antiphon._backend import get_asyncio_task
from antiphon._registry.plan import Plan
from antiphon._strategies.base import BaseStrategy, built_in_strategy
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.checkpoints import get_requested_cancellation, raise_if_cancelled
from antiphon._strategies.driver import reset_context_variable, run_first_step
from antiphon._strategies.errors import ErrorCollector, annotate_exception, handle_exception

__all__ = ("DEFAULT_STRATEGY", "Sequential")


@built_in_strategy
class Sequential(BaseStrategy):
    """Awaits one listener after another, in the caller's task and context. This is the default.

    It adds no checkpoint of its own. After each listener it checks whether the event was stopped.

    Args:
        errors: The error policy. ``"raise"`` raises the first error unchanged, and does not run later listeners.
            ``"collect"`` runs all listeners, and then raises their errors in one ``ExceptionGroup`` in the order of the
            listeners, also for a single error. ``"log"`` logs each error, and the dispatch continues. A plain function
            is called with the exception, the event and the listener, and the dispatch continues; an error that the
            function raises is treated as under ``"raise"``.

    Raises:
        TypeError: If ``errors`` is neither a string nor a plain function.
        ValueError: If ``errors`` is a string that names no policy.
    """

    __slots__ = ()

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the listeners of a plan one after another.

        Raises:
            Exception: If a listener raises it, and the error policy does not handle it.
            BaseExceptionGroup: If a cancellation or an interrupt ends the dispatch after errors: all of them.
        """
        if self._errors == "raise":
            await _run_and_raise(plan, event)
        else:
            await _run_with_policy(plan, event, ErrorCollector(self._errors, plan, event))


async def _run_and_raise(plan: Plan, event: Any) -> None:
    for subscription in plan.listeners:
        try:
            await subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break


async def _run_with_policy(plan: Plan, event: Any, collector: ErrorCollector) -> None:
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


#: The strategy of dispatchers and dispatches that choose no other.
DEFAULT_STRATEGY: Final = Sequential()
