"""The strategy that runs the listeners of a tier concurrently."""

from __future__ import annotations

from typing import Any, Never

from antiphon._registry.plan import Plan
from antiphon._strategies.base import built_in_strategy
from antiphon._strategies.cancellation import CancellationWatch
from antiphon._strategies.errors import ErrorCollector, ErrorPolicy
from antiphon._strategies.tiered import TieredStrategy
from antiphon._strategies.tiers import TierRunner
from antiphon._util.arguments import hides_collected_arguments, make_argument_error
from antiphon._util.naming import publish
from antiphon._util.validation import check_limit

__all__ = ("Concurrent",)


@built_in_strategy
class Concurrent(TieredStrategy):
    """Runs the listeners of one priority concurrently, one priority after the other.

    Each listener runs in one task from start to end, in its own copy of the caller's context. The order within a
    priority is not defined. Before each priority, the strategy checks whether the event was stopped. Listeners
    that have started always finish.

    Args:
        limit: How many listeners of one dispatch may run at a time, or None for all listeners of a priority.
        errors: The error policy. Under ``"raise"``, the first error cancels the other listeners of its priority, later
            priorities do not run, and an ``ExceptionGroup`` is raised, also for a single error. The other policies are
            the same as for `Sequential`.

    Raises:
        TypeError: If ``limit`` is not an int, or ``errors`` is neither a string nor a plain function.
        ValueError: If ``limit`` is less than 1, or ``errors`` is a string that names no policy.
    """

    __slots__ = ("_limit",)

    @hides_collected_arguments
    def __init__(
        self, limit: int | None = None, *extra: Never, errors: ErrorPolicy = "raise", **unknown: Never
    ) -> None:
        if extra or unknown:
            raise make_argument_error(Concurrent.__init__, "Concurrent()", extra, unknown)
        super().__init__(errors=errors)
        meaning = "limit= is how many listeners may run at a time"
        self._limit = None if limit is None else check_limit(limit, meaning, optional=True)

    @property
    def limit(self) -> int | None:
        """How many listeners of one dispatch may run at a time, or None for all listeners of a priority."""
        return self._limit

    def _get_options(self) -> dict[str, Any]:
        return {**({} if self._limit is None else {"limit": self._limit}), **super()._get_options()}

    def _make_tier_runner(
        self, plan: Plan, event: Any, collector: ErrorCollector, watch: CancellationWatch
    ) -> TierRunner:
        return TierRunner(event, collector, watch, self._limit)


publish("antiphon", TieredStrategy, Concurrent)
