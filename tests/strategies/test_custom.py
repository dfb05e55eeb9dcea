"""Rule 17: a strategy is any object with ``async def run(plan, event)``."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Plan, Race, Sequential, Subscription


class Recording:
    """Runs nothing, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Plan, Any]] = []
        self.views: list[tuple[Any, ...]] = []

    async def run(self, plan: Plan, event: Any) -> None:
        self.given.append((plan, event))
        self.views.append((event.name, event.dispatcher, event.propagation_stopped))


class Backwards:
    """Runs the last listener first."""

    async def run(self, plan: Plan, event: Any) -> None:
        for tier in reversed(plan):
            for record in reversed(tier):
                await record.call(event)
                if event.propagation_stopped:
                    return


class Choosing:
    async def run(self, plan: Plan, event: Any) -> None:
        await (Sequential() if len(plan) == 1 else Concurrent()).run(plan, event)


class Failing:
    async def run(self, plan: Plan, event: Any) -> None:
        raise LookupError("its own")


async def first(event: Event) -> None:
    event.log.append("first")


async def second(event: Event) -> None:
    event.log.append("second")


class Logged(Event):
    def __init__(self) -> None:
        self.log: list[str] = []


@pytest.mark.parametrize("where", ["dispatcher", "dispatch"])
async def test_it_gets_the_plan_and_the_event(where: str) -> None:
    strategy, event = Recording(), Logged()
    dispatcher = AsyncEventDispatcher(strategy=strategy if where == "dispatcher" else None)
    for listener, priority in ((second, 7), (first, 3)):
        dispatcher.add_listener("order.placed", listener, priority=priority)
    dispatcher.add_listener("order.placed", second, priority=3, once=True)
    given = strategy if where == "dispatch" else None

    assert await dispatcher.adispatch("order.placed", event, strategy=given) is event
    await dispatcher.adispatch("order.placed", event, strategy=given)
    dispatcher.add_listener("order.placed", first)
    await dispatcher.adispatch("order.placed", event, strategy=given)

    (plan, received), (again, _), (changed, _) = strategy.given
    assert received is event
    assert strategy.views[0] == ("order.placed", dispatcher, False)
    assert isinstance(plan, tuple)
    assert all(isinstance(tier, tuple) for tier in plan)
    assert all(isinstance(record, Subscription) for tier in plan for record in tier)
    assert [[(record.listener, record.priority) for record in tier] for tier in plan] == [
        [(first, 3), (second, 3)],
        [(second, 7)],
    ]
    # A record without options calls the function itself.
    ((plain, once), _) = plan
    assert plain.call is first
    assert once.call is not second
    # A plan is cached until a registration changes it.
    assert again is plan
    assert len(changed.listeners) == 4


async def test_it_runs_for_an_empty_plan_too() -> None:
    default, given = Recording(), Recording()
    dispatcher = AsyncEventDispatcher(strategy=default)

    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed", strategy=given)

    assert [plan for plan, _ in default.given + given.given] == [(), ()]


async def test_it_decides_on_order_and_stops() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Backwards())
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", second, priority=1)
    assert (await dispatcher.adispatch("order.placed", Logged())).log == ["second", "first"]

    @dispatcher.listen("order.placed", priority=2)
    async def stop(event: Event) -> None:
        event.stop_propagation()

    event = await dispatcher.adispatch("order.placed", Logged())
    assert event.log == []
    assert event.propagation_stopped


async def test_a_listener_removed_before_its_call_is_read_does_nothing() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Backwards())
    handle = dispatcher.add_listener("order.placed", first)

    @dispatcher.listen("order.placed", priority=1)
    async def remove(event: Event) -> None:
        handle.unsubscribe()

    assert (await dispatcher.adispatch("order.placed", Logged())).log == []


async def test_what_it_raises_leaves() -> None:
    dispatcher, event = AsyncEventDispatcher(), Logged()
    dispatcher.add_listener("order.placed", first)
    with pytest.raises(LookupError, match="its own"):
        await dispatcher.adispatch("order.placed", event, strategy=Failing())
    assert event.name == "order.placed"
    await dispatcher.adispatch("order.placed", event)
    assert event.log == ["first"]


async def test_it_may_pass_a_plan_to_another_strategy() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Choosing())
    dispatcher.add_listener("order.placed", first)
    assert (await dispatcher.adispatch("order.placed", Logged())).log == ["first"]
    dispatcher.add_listener("order.placed", second, priority=1)
    assert (await dispatcher.adispatch("order.placed", Logged())).log == ["first", "second"]


@pytest.mark.parametrize("wrong", [1, "concurrent", object(), Sequential, Concurrent, Race, lambda plan, event: None])
async def test_other_objects_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="strategy="):
        AsyncEventDispatcher(strategy=wrong)
    dispatcher, event = AsyncEventDispatcher(), Logged()
    dispatcher.add_listener("order.placed", first)
    with pytest.raises(TypeError, match="strategy="):
        await dispatcher.adispatch("order.placed", event, strategy=wrong)
    assert event.log == []


def test_strategies_are_compared_hashed_and_shown_by_their_options() -> None:
    assert Concurrent() == Concurrent(None, errors="raise") != Concurrent(1)
    assert Sequential() != Concurrent()
    assert Race() != Concurrent()
    assert Race(errors="log") == Race(errors="log") != Race()
    assert len({Race(), Race(), Race(errors="collect")}) == 2
    assert Sequential() == ANY, "other objects may compare themselves with a strategy"
    assert repr(Concurrent(8, errors="collect")) == "Concurrent(limit=8, errors='collect')"
    assert repr(Sequential()) == "Sequential()"
    assert (Concurrent(8).limit, Race(errors="collect").errors) == (8, "collect")


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(1), Race()], ids=repr)
def test_strategies_cannot_be_changed(strategy: Any) -> None:
    for attribute in ("errors", "limit"):
        with pytest.raises(AttributeError):
            setattr(strategy, attribute, 2)


def test_the_strategy_of_a_dispatcher_can_be_read() -> None:
    custom = Recording()

    assert AsyncEventDispatcher().strategy == Sequential()
    assert AsyncEventDispatcher(strategy=Concurrent(limit=2)).strategy == Concurrent(limit=2)
    with AsyncEventDispatcher(strategy=custom).scope() as scoped:
        assert scoped.strategy is custom
    with pytest.raises(AttributeError):
        AsyncEventDispatcher().strategy = Concurrent()  # type: ignore[misc]  # it is read-only


def test_the_error_policy_of_a_sync_dispatcher_can_be_read() -> None:
    assert EventDispatcher().errors == "raise"
    with EventDispatcher(errors="collect").scope() as scoped:
        assert scoped.errors == "collect"
