"""The strategy that awaits one listener after another."""

from __future__ import annotations

from typing import Any, Final

from antiphon._backend import (
    get_asyncio_task,
)
from antiphon._registry.plan import Plan
from antiphon._strategies.base import BaseStrategy, built_in_strategy
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.checkpoints import get_requested_cancellation, raise_if_cancelled
from antiphon._strategies.driver import reset_context_variable, run_first_step
from antiphon._strategies.errors import ErrorCollector, annotate_exception, handle_exception

__all__ = (
    "DEFAULT_STRATEGY",
    "Sequential",
)


@built_in_strategy
class Sequential(BaseStrategy):
    """One listener after another, in the caller's task and context. This is the default.

    It adds no checkpoint of its own. The stop is looked at after each listener.

    Args:
        errors: ``"raise"``: the first error leaves unchanged, and later listeners are not run. ``"collect"``: all run,
            and the errors leave in one ``ExceptionGroup`` in the order of the listeners, even a single one. A plain
            function: it is called with the exception, the event and the listener, and the dispatch
            goes on; what it raises leaves as an error under ``"raise"`` does.

    Raises:
        TypeError: ``errors`` is neither a string nor a plain function.
        ValueError: ``errors`` is another string.
    """

    __slots__ = ()

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the listeners of a plan one after another.

        Raises:
            Exception: What a listener raised, as the error policy has it.
            BaseExceptionGroup: Errors in hand, together with the cancellation or interrupt that ended the dispatch.
        """
        if self._errors == "raise":
            await _run_in_turn(plan, event)
        else:
            await _run_in_turn_under_policy(plan, event, ErrorCollector(self._errors, plan, event))


async def _run_in_turn(plan: Plan, event: Any) -> None:
    for subscription in plan.listeners:
        try:
            await subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break


async def _run_in_turn_under_policy(plan: Plan, event: Any, collector: ErrorCollector) -> None:
    watch = CancellationWatch(get_asyncio_task(), current_watch.get())
    # Nothing else runs in this context until the dispatch has finished.
    token = current_watch.set(watch)
    try:
        for subscription in plan.listeners:
            try:
                remainder = run_first_step(subscription.call, event, watch)
                if remainder is not None:
                    await remainder
                    # As in a loop: a listener may keep a request, and leave others behind.
                    watch.restart()
            except BaseException as exc:  # noqa: ASYNC103  handle_exception raises what is not an error
                handle_exception(exc, subscription, collector, watch)
                # The dispatch goes on, unless it was cancelled and the listener raised an error instead.
                await raise_if_cancelled(watch)  # noqa: ASYNC102  it raises the cancellation
                watch.restart()
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


#: The default.
DEFAULT_STRATEGY: Final = Sequential()
