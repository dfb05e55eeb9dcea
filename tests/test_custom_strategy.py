"""Rule 17: a strategy is any object with ``async def run(plan, event)``."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, Plan, Race, Sequential, Strategy, Subscription
from tests.cancellation.tasks import no_task_left_behind, tasks_before_and_after

__all__ = ("no_task_left_behind", "tasks_before_and_after")


class Recording:
    """Runs nothing, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Plan, Any]] = []

    async def run(self, plan: Plan, event: Any) -> None:
        self.given.append((plan, event))


class Backwards:
    """Runs the last listener first."""

    async def run(self, plan: Plan, event: Any) -> None:
        for tier in reversed(plan):
            for record in reversed(tier):
                await record.call(event)
                if event.propagation_stopped:
                    return


async def first(event: Event) -> None:
    event.log.append("first")  # type: ignore[attr-defined]  # the tests' events have one


async def second(event: Event) -> None:
    event.log.append("second")  # type: ignore[attr-defined]  # the tests' events have one


class Logged(Event):
    def __init__(self) -> None:
        self.log: list[str] = []


@pytest.mark.parametrize("where", ["dispatcher", "dispatch"])
async def test_it_is_given_the_plan_and_the_event(where: str) -> None:
    strategy: Strategy = Recording()
    dispatcher = AsyncEventDispatcher(strategy=strategy if where == "dispatcher" else None)
    dispatcher.add_listener("order.placed", second, priority=1)
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", second)
    event = Logged()
    assert (
        await dispatcher.adispatch("order.placed", event, strategy=strategy if where == "dispatch" else None) is event
    )
    assert isinstance(strategy, Recording)
    ((plan, given),) = strategy.given
    assert given is event
    assert [[record.listener for record in tier] for tier in plan] == [[first, second], [second]]


async def test_the_plan_is_an_immutable_tuple_of_tiers_of_records() -> None:
    strategy = Recording()
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener("order.placed", first, priority=3)
    dispatcher.add_listener("order.placed", second, priority=7)
    await dispatcher.adispatch("order.placed", Logged())
    ((plan, _),) = strategy.given
    assert isinstance(plan, tuple)
    assert all(isinstance(tier, tuple) for tier in plan)
    assert all(isinstance(record, Subscription) for tier in plan for record in tier)
    assert [record.priority for tier in plan for record in tier] == [3, 7]


async def test_the_call_of_a_record_without_options_is_the_users_function_itself() -> None:
    strategy = Recording()
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", second, once=True)
    await dispatcher.adispatch("order.placed", Logged())
    (((plain, once),), _) = strategy.given[0]
    assert plain.call is first
    assert once.call is not second


async def test_it_decides_on_order_and_stops() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Backwards())
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", second, priority=1)
    event = await dispatcher.adispatch("order.placed", Logged())
    assert event.log == ["second", "first"]

    @dispatcher.listen("order.placed", priority=2)
    async def stop(event: Event) -> None:
        event.stop_propagation()

    event = await dispatcher.adispatch("order.placed", Logged())
    assert event.log == []
    assert event.propagation_stopped


async def test_the_event_has_its_view_while_it_runs_and_gets_the_outer_one_back() -> None:
    views: list[Any] = []

    class Viewing:
        async def run(self, plan: Plan, event: Any) -> None:
            views.append((event.name, event.dispatcher, event.propagation_stopped))

    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("outer")
    async def again(event: Event) -> None:
        await dispatcher.adispatch("inner", event, strategy=Viewing())
        views.append((event.name, event.dispatcher, event.propagation_stopped))

    dispatcher.add_listener("inner", first)
    await dispatcher.adispatch("outer")
    assert views == [("inner", dispatcher, False), ("outer", dispatcher, False)]


async def test_the_strategy_of_a_dispatch_overrides_the_dispatchers_for_that_dispatch() -> None:
    default, given = Recording(), Recording()
    dispatcher = AsyncEventDispatcher(strategy=default)
    dispatcher.add_listener("order.placed", first)
    await dispatcher.adispatch("order.placed", Logged(), strategy=given)
    assert (len(default.given), len(given.given)) == (0, 1)
    await dispatcher.adispatch("order.placed", Logged())
    assert (len(default.given), len(given.given)) == (1, 1)


async def test_a_listener_removed_before_its_call_is_read_does_nothing() -> None:
    dispatcher = AsyncEventDispatcher(strategy=Backwards())
    handle = dispatcher.add_listener("order.placed", first)

    @dispatcher.listen("order.placed", priority=1)
    async def remove(event: Event) -> None:
        handle.unsubscribe()

    event = await dispatcher.adispatch("order.placed", Logged())
    assert event.log == []


async def test_what_it_raises_leaves() -> None:
    class Failing:
        async def run(self, plan: Plan, event: Any) -> None:
            raise LookupError("its own")

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", first)
    event = Logged()
    with pytest.raises(LookupError, match="its own"):
        await dispatcher.adispatch("order.placed", event, strategy=Failing())
    assert event.name == "order.placed"
    await dispatcher.adispatch("order.placed", event)
    assert event.log == ["first"]


async def test_it_may_hand_a_plan_on_to_a_strategy_of_ours() -> None:
    class Choosing:
        async def run(self, plan: Plan, event: Any) -> None:
            await (Sequential() if len(plan) == 1 else Concurrent()).run(plan, event)

    dispatcher = AsyncEventDispatcher(strategy=Choosing())
    dispatcher.add_listener("order.placed", first)
    assert (await dispatcher.adispatch("order.placed", Logged())).log == ["first"]
    dispatcher.add_listener("order.placed", second, priority=1)
    assert (await dispatcher.adispatch("order.placed", Logged())).log == ["first", "second"]


@pytest.mark.parametrize("wrong", [1, "concurrent", object(), Sequential, Concurrent, Race, lambda plan, event: None])
async def test_what_is_no_strategy_is_refused_where_it_is_given(wrong: Any) -> None:
    with pytest.raises(TypeError, match="strategy="):
        AsyncEventDispatcher(strategy=wrong)
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", first)
    event = Logged()
    with pytest.raises(TypeError, match="strategy="):
        await dispatcher.adispatch("order.placed", event, strategy=wrong)
    assert event.log == []


def test_ours_are_compared_hashed_and_shown_by_their_options() -> None:
    assert Concurrent() == Concurrent(None, errors="raise") != Concurrent(1)
    assert Sequential() != Concurrent()
    assert Race() != Concurrent()
    assert len({Race(), Race(), Race(errors="collect")}) == 2
    assert repr(Concurrent(8, errors="collect")) == "Concurrent(limit=8, errors='collect')"
    assert repr(Sequential()) == "Sequential()"
    assert (Concurrent(8).limit, Race(errors="collect").errors) == (8, "collect")


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(1), Race()], ids=repr)
def test_ours_cannot_be_changed(strategy: Any) -> None:
    with pytest.raises(AttributeError):
        strategy.errors = "collect"
    with pytest.raises(AttributeError):
        strategy.limit = 2
