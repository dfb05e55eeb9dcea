"""Rule 5: a plan is made once, and kept until something changes it or the cache is full."""

from __future__ import annotations

from typing import Any

from antiphon import AsyncEventDispatcher, Event
from antiphon._registry.caches import MAX_CACHED_NAMES_WITHOUT_LISTENERS


class Noting:
    """A strategy that notes the plan of each dispatch, as any strategy may, and runs nobody."""

    def __init__(self) -> None:
        self.plans: list[Any] = []

    async def run(self, plan: Any, event: Any, /) -> None:
        self.plans.append(plan)


class Plans:
    """A dispatcher, and the plans of its dispatches."""

    def __init__(self) -> None:
        self.strategy = Noting()
        self.dispatcher = AsyncEventDispatcher(strategy=self.strategy)

    async def of(self, name: Any) -> Any:
        await self.dispatcher.adispatch(name, Event())
        return self.strategy.plans.pop()

    async def fill(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            await self.of(number)


async def book(event: Event) -> None: ...


async def test_a_name_that_gained_a_listener_keeps_its_plan_while_unheard_names_fill_the_cache() -> None:
    plans = Plans()
    await plans.of("order.placed")
    plans.dispatcher.add_listener("order.placed", book)
    plan = await plans.of("order.placed")

    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 10)

    assert await plans.of("order.placed") is plan


async def test_a_name_that_gained_a_listener_in_the_parent_keeps_its_plan_in_a_scope() -> None:
    plans = Plans()
    parent = plans.dispatcher
    with parent.scope() as plans.dispatcher:
        await plans.of("order.placed")
        plans.dispatcher.add_listener("order.placed", book)
        plan = await plans.of("order.placed")
        await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 10)

        assert await plans.of("order.placed") is plan


async def test_after_the_cache_was_full_plans_are_kept_again() -> None:
    plans = Plans()
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 1)

    placed = await plans.of("order.placed")
    paid = await plans.of("order.paid")

    assert await plans.of("order.placed") is placed
    assert await plans.of("order.paid") is paid


async def test_after_a_pattern_has_dropped_all_plans_the_cache_has_all_its_room_again() -> None:
    plans = Plans()
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)
    plans.dispatcher.add_listener("payment.*", book).unsubscribe()

    plan = await plans.of("order.placed")
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)

    assert await plans.of("order.placed") is plan


async def test_one_name_more_than_there_is_room_for_makes_the_oldest_plans_anew() -> None:
    plans = Plans()
    plan = await plans.of("order.placed")
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)
    assert await plans.of("order.placed") is plan

    await plans.of("order.paid")

    assert await plans.of("order.placed") is not plan
