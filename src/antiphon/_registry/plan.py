"""The plan of a dispatch: who runs, in which order, decided before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, Self

from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import EventCapabilities
from antiphon._instrumentation.attached import AttachedInstrument
from antiphon._listeners.subscription import Subscription

__all__ = ("CachedPlan", "Plan", "StrategyStep", "sort_subscriptions")

_by_order = attrgetter("order")
_by_priority = attrgetter("priority")


def sort_subscriptions(subscriptions: Iterable[Subscription]) -> tuple[Subscription, ...]:
    """Sort registrations as they run: by priority, then in the order of registration."""
    # Two stable sorts on ints are several times faster than one on pairs.
    ordered = sorted(subscriptions, key=_by_order)
    ordered.sort(key=_by_priority)
    return tuple(ordered)


class Plan(tuple[tuple[Subscription, ...], ...]):  # noqa: SLOT001  a tuple can have no slots but empty ones
    """An immutable tuple of tiers, each the tuple of the registrations of one priority, in order.

    Beside the tiers it knows what a strategy may want to know of the dispatch.
    """

    #: The registrations of all tiers in one tuple.
    listeners: tuple[Subscription, ...]
    #: The name under which the event is dispatched, or one that equals it; None when it has none.
    name: Hashable
    #: The dispatcher.
    dispatcher: Any
    #: What its events show of it.
    info: DispatchInfo
    #: What the class of the event allows.
    capabilities: EventCapabilities
    #: Whether a listener can stop the dispatch.
    stoppable: bool
    #: Whether it is not for the strategy alone: there are instruments, or a subclass runs the listeners itself.
    needs_slow_path: bool = False
    #: The listeners as a subclass that runs them itself gets them; empty for other dispatchers.
    override_listeners: tuple[Any, ...] = ()
    #: The instruments that are told of the dispatch.
    instruments: tuple[AttachedInstrument, ...] = ()

    def __new__(
        cls,
        listeners: tuple[Subscription, ...],
        *,
        name: Hashable,
        dispatcher: Any,
        capabilities: EventCapabilities,
    ) -> Self:
        """Group listeners that are in order into tiers."""
        if listeners and listeners[0].priority != listeners[-1].priority:
            plan = super().__new__(cls, (tuple(tier) for _, tier in groupby(listeners, key=_by_priority)))
        else:
            plan = super().__new__(cls, (listeners,) if listeners else ())
        plan.listeners = listeners
        plan.name = name
        plan.dispatcher = dispatcher
        plan.info = DispatchInfo(name, dispatcher)
        plan.capabilities = capabilities
        plan.stoppable = capabilities.stoppable
        return plan

    def map_subscriptions(self, wrap: Callable[[Subscription], Subscription]) -> Self:
        """Give the same plan with something around each of its registrations."""
        plan = super().__new__(type(self), (tuple(map(wrap, tier)) for tier in self))
        plan.__dict__.update(self.__dict__)
        plan.listeners = tuple(chain.from_iterable(plan))
        return plan


class StrategyStep:
    """What a dispatch runs in the place of the listeners when something else runs them: all of them in one step.

    Args:
        call: As that of a registration.
    """

    __slots__ = ("call",)

    call: Callable[[Any], Any]

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call


class CachedPlan:
    """Where a dispatch finds its plan, and what it has to know of it before all else.

    It is read in every dispatch, and the attributes of a tuple take long to read.
    """

    __slots__ = ("fast_steps", "info", "plan")

    #: What the dispatcher calls with the event, one after another: the registrations, or what runs all of them. None if
    #: it has more to do than that.
    fast_steps: tuple[Subscription | StrategyStep, ...] | None
    #: The plan.
    plan: Plan
    #: What the events show, as the plan has it.
    info: DispatchInfo

    def __init__(self, plan: Plan, fast_steps: tuple[Subscription | StrategyStep, ...] | None) -> None:
        self.fast_steps = fast_steps
        self.plan = plan
        self.info = plan.info
