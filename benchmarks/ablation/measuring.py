"""Counts and times the variants: what leaving something out of a dispatch saves."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import median
from types import FunctionType
from typing import Any, TypeAlias, cast

from antiphon import AsyncEventDispatcher, Event
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import CachedPlan
from benchmarks import backends
from benchmarks.ablation import variants
from benchmarks.ablation.variants import FULL, VARIANTS, Variant
from benchmarks.cases import Candidate, Case
from benchmarks.events import NAME
from benchmarks.instructions.counting import ANTIPHON, count
from benchmarks.instructions.rows import dispatching
from benchmarks.loads import Load
from benchmarks.sampling import Samples, Settings, sample

__all__ = ("CONTROL", "FORMS", "SIZES", "Cost", "costs", "instructions", "real")

SIZES = (0, 1, 10)

#: Whether each dispatch makes a new event, by what the table calls it.
FORMS = {"given again": False, "new": True}

OWN = (ANTIPHON, variants.__file__)

#: The method itself in the place of a variant: what its times differ by from those of its copy is noise.
CONTROL = Variant("none: the method itself", cast(Any, AsyncEventDispatcher.adispatch))

Place: TypeAlias = tuple[str, int]
"""A form of the event, and a number of listeners."""


@dataclass(slots=True)
class Cost:
    """What a dispatch has less to do without something."""

    variant: Variant
    instructions: dict[Place, int] = field(default_factory=dict[Place, int])
    nanoseconds: dict[Place, float] = field(default_factory=dict[Place, float])


def costs(settings: Settings, seed: int = 0) -> tuple[Cost, list[Cost]]:
    """Measures all variants, in every form and at every size, interleaved.

    Args:
        settings: How much is measured.
        seed: What shuffles the variants starts from it.

    Returns:
        The whole of a dispatch, and what each variant saves of it; the last one is the control.
    """
    whole = Cost(FULL)
    saved = [Cost(variant) for variant in (*VARIANTS, CONTROL)]
    random = Random(seed)
    for form, size in ((form, size) for form in FORMS for size in SIZES):
        place = (form, size)
        load = Load(size, "returning", "asyncio", made=FORMS[form])
        whole.instructions[place] = instructions(FULL, load)
        samples = _timed(load, settings, random)
        whole.nanoseconds[place] = median(samples[FULL.rule])
        for cost in saved:
            cost.instructions[place] = whole.instructions[place] - instructions(cost.variant, load)
            pairs = zip(samples[FULL.rule], samples[cost.variant.rule], strict=True)
            cost.nanoseconds[place] = median(full - without for full, without in pairs)
    return whole, saved


def instructions(variant: Variant, load: Load) -> int:
    """Counts the instructions of a dispatch: those of the variant, and of antiphon's own code."""
    operation = dispatching(_dispatcher(variant, load).adispatch, made=load.made, named=load.named)
    return backends.run("none", partial(count, operation, own=OWN)).own


def real(load: Load) -> int:
    """Counts the instructions of `AsyncEventDispatcher.adispatch` as it is."""
    dispatcher = _listened_to(AsyncEventDispatcher(), load)
    return backends.run("none", partial(count, dispatching(dispatcher.adispatch, made=load.made, named=load.named))).own


def _timed(load: Load, settings: Settings, random: Random) -> Samples:
    samples: Samples = {}
    gc.disable()
    try:
        for _ in range(settings.passes):
            lineup = [FULL, *VARIANTS, CONTROL]
            random.shuffle(lineup)  # who is built first lies elsewhere
            candidates = [_candidate(variant, load) for variant in lineup]
            case = Case("ablation", load.workload, load.size, _nothing, FULL.rule)
            gc.collect()
            taken = backends.run(load.backend, partial(sample, case, candidates, settings, random))
            for name, values in taken.items():
                samples.setdefault(name, []).extend(values)
    finally:
        gc.enable()
    return samples


def _nothing() -> list[Any]:
    return []


def _candidate(variant: Variant, load: Load) -> Candidate:
    statement = "await dispatcher.adispatch(name, EVENT)"
    return load.candidate(variant.rule, statement, event_base=Event, dispatcher=_dispatcher(variant, load))


def _dispatcher(variant: Variant, load: Load) -> AsyncEventDispatcher:
    # A class and a code object for each pass, so that neither is specialised for another, nor always lies in the same
    # place in memory.
    base = _Bare if variant.bare else AsyncEventDispatcher
    made = cast("type[AsyncEventDispatcher]", type("Ablated", (base,), {"adispatch": _copy(variant.adispatch)}))
    return _listened_to(made(), load)


def _listened_to(dispatcher: AsyncEventDispatcher, load: Load) -> AsyncEventDispatcher:
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return dispatcher


def _copy(function: Callable[..., Any]) -> FunctionType:
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


class _Bare(AsyncEventDispatcher):
    """Keeps the listeners themselves in its plans."""

    def _make_route(self, name: Hashable, cls: type, listeners: tuple[Subscription, ...]) -> CachedPlan:
        route = super()._make_route(name, cls, listeners)
        route.steps = cast(Any, tuple(subscription.call for subscription in route.plan.listeners))
        return route
