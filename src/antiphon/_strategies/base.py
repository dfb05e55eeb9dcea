"""The protocol of strategies, and the base class of the built-in ones."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Never, Protocol, TypeVar, cast

from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.errors import ErrorPolicy, check_error_policy
from antiphon._util.arguments import hides_collected_arguments, make_argument_error

__all__ = ("BUILT_IN_STRATEGIES", "BaseStrategy", "Strategy", "built_in_strategy")


class Strategy(Protocol):
    """Runs the listeners of a dispatch.

    A custom strategy runs the subscriptions in the plan. Read the ``call`` of a subscription when you start the
    listener, because a removed listener gets another one. Call it with the event, and await the result.
    """

    async def run(self, plan: Plan, event: Any, /) -> None:
        """Run the listeners of a plan.

        Args:
            plan: The tiers in the order in which they run, each a tuple of subscriptions.
            event: The argument of each listener.
        """
        ...


class BaseStrategy:
    """The base class of the built-in strategies, each of which defines ``run``."""

    __slots__ = ("_errors",)

    @hides_collected_arguments
    def __init__(self, *extra: Never, errors: ErrorPolicy = "raise", **unknown: Never) -> None:
        if extra or unknown:
            call = f"{type(self).__name__}()"
            raise make_argument_error(BaseStrategy.__init__, call, extra, unknown)
        self._errors: ErrorPolicy = check_error_policy(errors)

    @property
    def errors(self) -> ErrorPolicy:
        """The error policy."""
        return self._errors

    def _make_step(self, plan: Plan) -> StrategyStep:
        """Return the step that runs a plan in each of its dispatches."""
        return StrategyStep(partial(cast("Strategy", self).run, plan))

    def _get_options(self) -> dict[str, Any]:
        """Return the arguments that differ from their defaults, for comparison and the repr."""
        return {} if self._errors == "raise" else {"errors": self._errors}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseStrategy) or type(other) is not type(self):
            return NotImplemented
        return self._get_options() == other._get_options()

    def __hash__(self) -> int:
        return hash((type(self), *self._get_options().items()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._get_options().items())
        return f"{type(self).__name__}({arguments})"


#: The classes that `built_in_strategy` has registered.
BUILT_IN_STRATEGIES: Final[set[type]] = set()

S = TypeVar("S", bound=BaseStrategy)


def built_in_strategy(cls: type[S]) -> type[S]:
    """Register a strategy class whose behavior the dispatchers know. Its subclasses may behave differently."""
    BUILT_IN_STRATEGIES.add(cls)
    return cls
