"""What a dispatcher needs to know about a strategy."""

from __future__ import annotations

from functools import partial
from typing import Final, cast

from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.base import Strategy
from antiphon._strategies.concurrent import Concurrent
from antiphon._strategies.race import Race
from antiphon._strategies.sequential import Sequential
from antiphon._strategies.tiered import TieredStrategy, run_single_listener
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import safe_repr

__all__ = (
    "check_strategy",
    "drives_listeners",
    "is_default_behavior",
    "make_strategy_step",
    "skips_empty_plans",
)


#: The classes of which it is known what they do; a subclass may do something else.
_BUILT_IN_STRATEGIES: Final = frozenset((Sequential, Concurrent, Race))


def is_default_behavior(strategy: Strategy) -> bool:
    """Tell whether a strategy does no more than the loop that a dispatcher runs itself."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def drives_listeners(strategy: Strategy) -> bool:
    """Return whether a strategy runs the steps of its listeners, so that it knows what was thrown into them."""
    return type(strategy) in _BUILT_IN_STRATEGIES and not is_default_behavior(strategy)


def skips_empty_plans(strategy: Strategy) -> bool:
    """Tell whether a strategy need not be asked when nobody listens; one of the user's own may want to be."""
    return type(strategy) in _BUILT_IN_STRATEGIES


def make_strategy_step(strategy: Strategy, plan: Plan) -> StrategyStep:
    """Make the run of a plan one step of a dispatch; what is known of the plan is decided here, once."""
    if type(strategy) not in _BUILT_IN_STRATEGIES:
        # One of the user's own may change what its `run` is.
        return StrategyStep(lambda event: strategy.run(plan, event))
    if len(plan.listeners) == 1 and isinstance(strategy, TieredStrategy):
        return StrategyStep(partial(run_single_listener, strategy.errors, plan.listeners[0], plan))
    return StrategyStep(partial(strategy.run, plan))


def check_strategy(strategy: object) -> Strategy:
    """Refuse what is no strategy.

    Returns:
        The strategy.

    Raises:
        TypeError: It has no async ``run`` method, or is a class.
    """
    if isinstance(strategy, type):
        raise TypeError(f"strategy= is an instance; write {strategy.__name__}() instead of {strategy.__name__}")
    if not is_async_callable(getattr(strategy, "run", None)):
        raise TypeError(
            f"strategy= is Sequential(), Concurrent(), Race() or an object with `async def run(plan, event)`; "
            f"got {safe_repr(strategy)} ({type(strategy).__name__})"
        )
    return cast(Strategy, strategy)
