"""The plan of a dispatch: which listeners run and in which order, computed before the dispatch starts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from antiphon._events.attributes import IN_FLIGHT, DispatchInfo
from antiphon._events.capabilities import EventCapabilities
from antiphon._listeners.adapters import name_usage, unbind_name
from antiphon._listeners.subscription import Subscription
from antiphon._util.arguments import hides_parameters
from antiphon._util.lazy_module import LazyModule

if TYPE_CHECKING:
    from antiphon._instrumentation import attached as _attached
else:
    _attached = LazyModule("antiphon._instrumentation.attached")

__all__ = (
    "CachedPlan",
    "Plan",
    "PlanVariants",
    "StrategyStep",
    "get_plan_capabilities",
    "make_cached_plan_weakly",
    "map_plan",
    "sort_subscriptions",
)

_by_order = attrgetter("order")
_by_priority = attrgetter("priority")


def sort_subscriptions(subscriptions: Iterable[Subscription]) -> tuple[Subscription, ...]:
    """Sort subscriptions as they run: by priority, then by the order of registration."""
    # Two stable sorts on ints are several times faster than one on pairs.
    ordered = sorted(subscriptions, key=_by_order)
    ordered.sort(key=_by_priority)
    return tuple(ordered)


class Plan(tuple[tuple[Subscription, ...], ...]):  # noqa: SLOT001  a subclass of tuple can have empty slots only
    """An immutable tuple of tiers. A tier is the tuple of the subscriptions of one priority, in order."""

    #: The subscriptions of all tiers, in order.
    listeners: tuple[Subscription, ...]
    #: The name under which the event is dispatched, or an equal one. None if the event has no name.
    name: Hashable
    #: The dispatcher.
    dispatcher: Any
    #: Whether a listener can stop the dispatch.
    stoppable: bool
    # Private: it saves `CachedPlan` and races another look-up by the class of the event.
    _capabilities: EventCapabilities

    @hides_parameters
    def __new__(
        cls, listeners: tuple[Subscription, ...], *, name: Hashable, dispatcher: Any, capabilities: EventCapabilities
    ) -> Self:
        """Group sorted subscriptions into tiers."""
        if listeners and listeners[0].priority != listeners[-1].priority:
            plan = super().__new__(cls, (tuple(tier) for _, tier in groupby(listeners, key=_by_priority)))
        else:
            plan = super().__new__(cls, (listeners,) if listeners else ())
        plan.listeners = listeners
        plan.name = name
        plan.dispatcher = dispatcher
        plan.stoppable = capabilities.stoppable
        plan._capabilities = capabilities
        return plan


def get_plan_capabilities(plan: Plan) -> EventCapabilities:
    """Return which dispatch attributes can be set on the events of a plan."""
    return plan._capabilities  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def map_plan(plan: Plan, wrap: Callable[[Subscription], Subscription]) -> Plan:
    """Return a copy of a plan in which each subscription is wrapped."""
    new = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # not typed for subclasses
    mapped = new(type(plan), (tuple(map(wrap, tier)) for tier in plan))
    mapped.__dict__.update(plan.__dict__)
    mapped.listeners = tuple(chain.from_iterable(mapped))
    return mapped


class StrategyStep:
    """A single step that runs the whole plan under a strategy or an error policy.

    Args:
        call: Called with the event, like the ``call`` of a subscription.
    """

    __slots__ = ("call",)

    call: Callable[[Any], Any]

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call

    def find_raised(self, exc: BaseException, /) -> Iterable[tuple[BaseException, Subscription]]:
        """Return the exceptions that need a note, with the listeners that they left. A strategy adds notes itself."""
        return ()


class CachedPlan:
    """A plan in the cache, with everything that a dispatcher needs to run it.

    The loops of the dispatchers use `is_fast`, `info`, `first_step` and `later_steps` only. Their slots are read faster
    than attributes of a tuple subclass.

    Args:
        plan: The plan.
        steps: The steps that run it.
        instruments: The instruments that may observe its dispatches.
    """

    __slots__ = (
        "binds_names",
        "capabilities",
        "first_step",
        "info",
        "is_fast",
        "later_steps",
        "observers",
        "plan",
        "variants",
    )

    #: Whether the dispatcher runs the steps in its own loop. Otherwise the dispatch takes the slow path.
    is_fast: bool
    #: The name and the dispatcher that events of this plan have.
    info: DispatchInfo
    #: The first step that the dispatcher awaits or calls, or None if there are no listeners.
    first_step: Subscription | StrategyStep | None
    #: The other steps, or None if there are none. (A loop over an empty tuple takes longer than a check for None.)
    later_steps: tuple[Subscription | StrategyStep, ...] | None
    #: The plan that a strategy runs.
    plan: Plan
    #: Which dispatch attributes can be set on the events.
    capabilities: EventCapabilities
    #: Whether a listener of the plan is bound to the name.
    binds_names: bool
    #: Whom a dispatch notifies, or None.
    observers: _attached.Observers | None
    #: Selects the plan of a dispatch by asking the instruments. None if they need not be asked.
    variants: PlanVariants | None

    def __init__(
        self,
        plan: Plan,
        steps: tuple[Subscription | StrategyStep, ...],
        instruments: tuple[_attached.AttachedInstrument, ...] = (),
    ) -> None:
        self.capabilities = get_plan_capabilities(plan)
        self.is_fast = self.capabilities.is_fast and not instruments
        self.info = DispatchInfo(plan.name, plan.dispatcher)
        self.first_step = steps[0] if steps else None
        self.later_steps = steps[1:] or None
        self.plan = plan
        self.binds_names = name_usage.is_used and any(unbind_name(each) is not each for each in plan.listeners)
        self.observers = self.variants = None
        if instruments:
            if all(attached.is_always_interested for attached in instruments):
                self.observers = _attached.Observers([(attached, "all") for attached in instruments])
            else:
                self.variants = PlanVariants(plan, steps, instruments)

    def runs_in_observed_loop(self, name: Hashable, event: Any) -> bool:
        """Return whether a loop can run the listeners of a dispatch that instruments observe.

        Args:
            name: The name of the dispatch, which equals that of the plan.
            event: The event.
        """
        return (
            self.capabilities.is_fast
            and not isinstance(self.first_step, StrategyStep)
            and not self.binds_names
            and (self.info.name is name or (type(name) is str and type(self.info.name) is str))
            and getattr(event, IN_FLIGHT, None) is not event
        )


class PlanVariants:
    """The variants of a cached plan: one for each combination of answers of its instruments.

    Args:
        plan: The plan.
        steps: The steps that run it.
        instruments: The instruments that may observe its dispatches.
    """

    __slots__ = ("_by_interests", "_instruments", "_plan", "_steps")

    def __init__(
        self,
        plan: Plan,
        steps: tuple[Subscription | StrategyStep, ...],
        instruments: tuple[_attached.AttachedInstrument, ...],
    ) -> None:
        self._plan = plan
        self._steps = steps
        self._instruments = instruments
        self._by_interests: dict[tuple[_attached.Interest, ...], CachedPlan] = {}

    def select(self) -> CachedPlan:
        """Ask the instruments what they want to observe in a dispatch, and return its plan."""
        interests: tuple[_attached.Interest, ...] = tuple([attached.get_interest() for attached in self._instruments])
        try:
            return self._by_interests[interests]
        except KeyError:
            selected = self._by_interests[interests] = self._make_variant(interests)
            return selected

    def _make_variant(self, interests: tuple[_attached.Interest, ...]) -> CachedPlan:
        interested = [each for each in zip(self._instruments, interests, strict=True) if each[1] != "nothing"]
        variant = CachedPlan(self._plan, self._steps)
        if interested:
            variant.observers = _attached.Observers(interested)
            if self._steps or not variant.observers.want_only_failures:
                variant.is_fast = False
        return variant


def make_cached_plan_weakly(dispatcher: Callable[[], Any], *arguments: Any) -> Any:
    """Call ``_make_cached_plan`` of a dispatcher to which only a weak reference is left."""
    return dispatcher()._make_cached_plan(*arguments)  # noqa: SLF001 the registry has it from the dispatcher
