"""The default strategy: it awaits one listener after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from antiphon._registry.plan import Plan
from antiphon._strategies.base import BaseStrategy, built_in_strategy
from antiphon._strategies.errors import ErrorCollector, annotate_exception
from antiphon._util.lazy_module import LazyModule

if TYPE_CHECKING:
    from antiphon._strategies import sequential_policies as _sequential_policies
else:
    # Many programs use no other policy than "raise".
    _sequential_policies = LazyModule("antiphon._strategies.sequential_policies")

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
            await _sequential_policies.run_with_policy(plan, event, ErrorCollector(self._errors, plan, event))


async def _run_and_raise(plan: Plan, event: Any) -> None:
    for subscription in plan.listeners:
        try:
            await subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, subscription, plan, event)
            raise
        if plan.stoppable and event.propagation_stopped:
            break


#: The strategy of dispatchers and dispatches that choose no other.
DEFAULT_STRATEGY: Final = Sequential()
