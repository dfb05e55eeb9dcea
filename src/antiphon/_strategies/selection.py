"""The properties of a strategy that a dispatcher uses, and the check of the argument ``strategy=``.

Invariants:

- This module imports no strategy but `Sequential`, so that a program that uses only the default does not load the
  others. The class of each built-in strategy registers itself with `built_in_strategy`.
"""

from __future__ import annotations

from typing import cast

from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.base import BUILT_IN_STRATEGIES, BaseStrategy, Strategy
from antiphon._strategies.sequential import Sequential
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import safe_repr

__all__ = (
    "check_strategy",
    "drives_listeners",
    "is_default_behavior",
    "make_strategy_step",
    "skips_empty_plans",
)


def is_default_behavior(strategy: Strategy) -> bool:
    """Return whether a strategy does the same as the loop in ``adispatch``, which then replaces it."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def drives_listeners(strategy: Strategy) -> bool:
    """Return whether a strategy drives its listeners step by step, and sees each cancellation thrown into one."""
    return type(strategy) in BUILT_IN_STRATEGIES and not is_default_behavior(strategy)


def skips_empty_plans(strategy: Strategy) -> bool:
    """Return whether the strategy can be skipped for an empty plan. Custom strategies are always run."""
    return type(strategy) in BUILT_IN_STRATEGIES


def make_strategy_step(strategy: Strategy, plan: Plan) -> StrategyStep:
    """Return the step that runs a whole plan through a strategy."""
    if type(strategy) in BUILT_IN_STRATEGIES:
        # Private because users see the attributes of these classes.
        return cast("BaseStrategy", strategy)._make_step(plan)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    # Look `run` up in each dispatch: on a custom strategy it may be replaced.
    return StrategyStep(lambda event: strategy.run(plan, event))


def check_strategy(strategy: object) -> Strategy:
    """Check that an object is a strategy.

    Returns:
        The strategy.

    Raises:
        TypeError: If it has no async ``run`` method, or is a class.
    """
    if isinstance(strategy, type):
        raise TypeError(f"strategy= is an instance; write {strategy.__name__}() instead of {strategy.__name__}")
    if not is_async_callable(getattr(strategy, "run", None)):
        raise TypeError(
            f"strategy= is Sequential(), Concurrent(), Race() or an object with `async def run(plan, event)`; "
            f"got {safe_repr(strategy)} ({type(strategy).__name__})"
        )
    return cast(Strategy, strategy)
