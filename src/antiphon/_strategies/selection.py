"""What a dispatcher needs to know about a strategy."""

from __future__ import annotations

from functools import partial
from typing import Final, cast

from antiphon._registry.plan import Plan, Whole
from antiphon._strategies.base import Strategy
from antiphon._strategies.concurrent import Concurrent
from antiphon._strategies.race import Race
from antiphon._strategies.sequential import Sequential
from antiphon._strategies.tiered import TieredStrategy, run_single_listener
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import safe_repr

__all__ = (
    "as_step",
    "check_strategy",
    "does_nothing_for_nobody",
    "drives_listeners",
    "is_plain",
)


#: The classes of which it is known what they do; a subclass may do something else.
_OURS: Final = frozenset((Sequential, Concurrent, Race))


def is_plain(strategy: Strategy) -> bool:
    """Tell whether a strategy does no more than the loop that a dispatcher runs itself."""
    return type(strategy) is Sequential and strategy.errors == "raise"


def drives_listeners(strategy: Strategy) -> bool:
    """Return whether a strategy runs the steps of its listeners, so that it knows what was thrown into them."""
    return type(strategy) in _OURS and not is_plain(strategy)


def does_nothing_for_nobody(strategy: Strategy) -> bool:
    """Tell whether a strategy need not be asked when nobody listens; one of the user's own may want to be."""
    return type(strategy) in _OURS


def as_step(strategy: Strategy, plan: Plan) -> Whole:
    """Make the run of a plan one step of a dispatch; what is known of the plan is decided here, once."""
    if type(strategy) not in _OURS:
        # One of the user's own may change what its `run` is.
        return Whole(lambda event: strategy.run(plan, event))
    if len(plan.listeners) == 1 and isinstance(strategy, TieredStrategy):
        return Whole(partial(run_single_listener, strategy.errors, plan.listeners[0], plan))
    return Whole(partial(strategy.run, plan))


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
