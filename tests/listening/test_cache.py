"""Rule 5: cached plans and cached answers to look-ups are right, kept, and bounded."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from antiphon._registry.caches import (
    MAX_CACHED_ANSWERS,
    MAX_CACHED_CLASSES_PER_NAME,
    MAX_CACHED_NAMES_WITHOUT_LISTENERS,
)
from antiphon._registry.keys import AnyOf
from antiphon._registry.registry import Registry
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

PLACED = "order.placed"


class OrderPlaced(Event): ...


class GiftOrderPlaced(OrderPlaced): ...


class Payment(Event): ...


class Slotted:
    """An event on which nothing can be set."""

    __slots__ = ()


def new_class(*bases: type) -> Any:
    return type("Ephemeral", bases or (Event,), {})


def count_plans(dispatcher: AnyDispatcher) -> int:
    return sum(len(by_class) for by_class in dispatcher._registry.cached_plans.values())


def count_answers(dispatcher: AnyDispatcher) -> int:
    return sum(len(by_class) for by_class in dispatcher._registry.answers.values())


# Plans are right


WIDE: list[Any] = [
    "order.*",
    "**",
    "*",
    OrderPlaced,
    Event,
    object,
    AnyOf((PLACED, Payment)),
    AnyOf(("other", "*.*")),
]


@pytest.mark.parametrize("key", [*WIDE, PLACED], ids=repr)
async def test_plans_made_before_follow_each_change(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "called")

    async def count() -> int:
        log.clear()
        await dispatcher.adispatch(PLACED, GiftOrderPlaced())
        return len(log)

    counts = [await count()]
    subscription = dispatcher.add_listener(key, listener)
    counts.append(await count())
    dispatcher.add_listener(key, listener)
    counts.append(await count())
    subscription.unsubscribe()
    counts.append(await count())
    dispatcher.remove_listener(key, listener)
    counts.append(await count())

    assert counts == [0, 1, 2, 1, 0]


@pytest.mark.parametrize("key", WIDE, ids=repr)
async def test_a_once_listener_leaves_the_plans_of_all_names(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    names = (PLACED, "other", "order.paid")
    for name in names:
        await dispatcher.adispatch(name, GiftOrderPlaced())
    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "called"), once=True)

    for name in names * 2:
        await dispatcher.adispatch(name, GiftOrderPlaced())

    assert log == ["called"]


async def test_dispatches_are_right_after_the_cache_was_emptied(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    await dispatcher.adispatch(PLACED, GiftOrderPlaced())
    for key in ("order.*", PLACED, OrderPlaced):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))
    await dispatcher.adispatch(PLACED, GiftOrderPlaced())
    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 2):
        dispatcher._get_cached_plan(number, Event())
    for _ in range(MAX_CACHED_CLASSES_PER_NAME * 2):
        dispatcher._get_cached_plan(PLACED, new_class()())

    await dispatcher.adispatch(PLACED, GiftOrderPlaced())

    assert log == ["order.*", PLACED, OrderPlaced] * 2


async def test_events_of_several_classes_reach_the_same_listeners(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: log.append(type(event))))

    for event in (Event(), OrderPlaced(), Event(), object()):
        await dispatcher.adispatch(PLACED, event)

    assert log == [Event, OrderPlaced, Event, object]


# Plans are bounded


@pytest.mark.parametrize("key", [None, "user.*.left", "user.*.joined", "*", Event], ids=str)
def test_new_names_do_not_fill_memory(dispatcher: AnyDispatcher, key: Any) -> None:
    if key is not None:
        dispatcher.add_listener(key, make_listener(dispatcher, print))

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 4):
        dispatcher._get_cached_plan(f"user.{number}.joined", Event())

    assert count_plans(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert len(dispatcher._registry._caches._names_without_listeners) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent()], ids=repr)
async def test_dispatched_names_do_not_fill_memory(strategy: Any) -> None:
    dispatcher, sync = AsyncEventDispatcher(strategy=strategy), EventDispatcher()

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 4):
        await dispatcher.adispatch(f"request.{number}")
        sync.dispatch(f"request.{number}")

    assert len(dispatcher._registry.cached_plans) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert len(sync._registry.cached_plans) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


@pytest.mark.parametrize("once", [False, True], ids=["removed", "once"])
def test_names_whose_listeners_leave_do_not_fill_memory(once: bool) -> None:
    dispatcher = EventDispatcher()

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 4):
        with dispatcher.add_listener(number, repr, once=once):
            dispatcher.dispatch(number, Event())
        if not once:
            dispatcher.dispatch(number, Event())

    assert len(dispatcher._registry.cached_plans) <= (0 if once else MAX_CACHED_NAMES_WITHOUT_LISTENERS)
    assert dispatcher.get_listeners() == {}


@pytest.mark.parametrize("name", [PLACED, None], ids=["under a name", "alone"])
@pytest.mark.parametrize("key", [PLACED, OrderPlaced])
def test_new_classes_do_not_fill_memory(dispatcher: AnyDispatcher, key: Any, name: Any) -> None:
    dispatcher.add_listener(key, make_listener(dispatcher, print))

    for _ in range(MAX_CACHED_CLASSES_PER_NAME * 2 + 10):
        dispatcher._get_cached_plan(name, new_class(OrderPlaced)())

    assert count_plans(dispatcher) <= MAX_CACHED_CLASSES_PER_NAME


def test_names_and_classes_do_not_fill_memory_together(dispatcher: AnyDispatcher) -> None:
    events = [new_class(OrderPlaced)() for _ in range(40)]

    for number, event in product(range(MAX_CACHED_NAMES_WITHOUT_LISTENERS // 4), events):
        dispatcher._get_cached_plan(f"user.{number}", event)

    assert count_plans(dispatcher) <= 4 * max(MAX_CACHED_CLASSES_PER_NAME, MAX_CACHED_NAMES_WITHOUT_LISTENERS)


@pytest.mark.parametrize("as_key", [False, True], ids=["event", "key"])
def test_a_class_is_not_kept_once_nothing_is_registered(dispatcher: AnyDispatcher, as_key: bool) -> None:
    kind = new_class()
    reference = weakref.ref(kind)
    with dispatcher.add_listener(kind if as_key else PLACED, make_listener(dispatcher, print)):
        dispatcher._get_cached_plan(PLACED, kind())
    del kind
    gc.collect()

    assert reference() is None


# Plans are kept


class Recording:
    """A strategy that records the plan of each dispatch, and runs no listener."""

    def __init__(self) -> None:
        self.plans: list[Any] = []

    async def run(self, plan: Any, event: Any, /) -> None:
        self.plans.append(plan)


class Plans:
    """A dispatcher, and the plans of its dispatches."""

    def __init__(self) -> None:
        self.strategy = Recording()
        self.dispatcher = AsyncEventDispatcher(strategy=self.strategy)

    async def get(self, name: Any) -> Any:
        await self.dispatcher.adispatch(name, Event())
        return self.strategy.plans.pop()

    async def fill(self, count: int) -> None:
        for number in range(count):
            await self.get(number)


async def book(event: Event) -> None: ...


@pytest.mark.parametrize("in_scope", [False, True], ids=["dispatcher", "scope"])
async def test_a_name_with_a_listener_keeps_its_plan(in_scope: bool) -> None:
    plans = Plans()
    with plans.dispatcher.scope() as scoped:
        plans.dispatcher = scoped if in_scope else plans.dispatcher
        await plans.get(PLACED)
        plans.dispatcher.add_listener(PLACED, book)
        plan = await plans.get(PLACED)

        await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 10)

        assert await plans.get(PLACED) is plan


async def test_plans_are_kept_again_after_the_cache_was_full() -> None:
    plans = Plans()
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 1)

    placed, paid = await plans.get(PLACED), await plans.get("order.paid")

    assert [await plans.get(PLACED), await plans.get("order.paid")] == [placed, paid]
    assert await plans.get(PLACED) is placed


@pytest.mark.parametrize("key", [Payment, "*"], ids=str)
async def test_dropping_all_plans_frees_the_whole_cache(key: Any) -> None:
    plans = Plans()
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)
    plans.dispatcher.add_listener(key, book).unsubscribe()

    plan = await plans.get(PLACED)
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)

    assert await plans.get(PLACED) is plan


async def test_a_new_name_drops_no_plan_of_events_without_a_name() -> None:
    plans = Plans()
    plan = await plans.get(None)

    plans.dispatcher.add_listener("order.paid", book)

    assert await plans.get(None) is plan


@pytest.mark.parametrize("in_scope", [False, True], ids=["dispatcher", "scope"])
async def test_a_pattern_drops_only_the_plans_that_it_matches(in_scope: bool) -> None:
    plans = Plans()
    root = plans.dispatcher
    with root.scope() as scoped:
        plans.dispatcher = scoped if in_scope else root
        placed, paid, number = await plans.get(PLACED), await plans.get("payment.made"), await plans.get(7)

        subscription = root.add_listener("order.*", book)

        assert [found.listener for found in (await plans.get(PLACED)).listeners] == [book]
        assert await plans.get("payment.made") is paid
        assert await plans.get(7) is number
        subscription.unsubscribe()
        assert await plans.get(PLACED) == placed == ()
        assert await plans.get("payment.made") is paid


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_a_name_that_a_pattern_cannot_read_drops_all_plans(error: type[BaseException]) -> None:
    class Unreadable(str):
        broken = False

        def split(self, *arguments: Any) -> Any:
            if self.broken:
                raise error
            return super().split(*arguments)

    plans, name = Plans(), Unreadable("order.unreadable")
    paid = await plans.get("payment.made")
    plans.dispatcher.add_listener(name, book)
    await plans.get(name)
    name.broken = True

    with pytest.raises(error) if error is KeyboardInterrupt else nullcontext():
        plans.dispatcher.add_listener("order.*", book)

    assert await plans.get("payment.made") is not paid


async def test_one_name_too_many_drops_the_oldest_plans() -> None:
    plans = Plans()
    plan = await plans.get(PLACED)
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 1)
    assert await plans.get(PLACED) is plan

    await plans.get("order.paid")

    again = await plans.get(PLACED)
    assert again is not plan
    await plans.fill(MAX_CACHED_NAMES_WITHOUT_LISTENERS - 2)
    assert await plans.get(PLACED) is again


def test_a_prepared_name_leaves_the_cache_bounded_and_keeps_its_plan(dispatcher: AnyDispatcher) -> None:
    dispatcher.prepare(PLACED)
    plan = dispatcher._get_cached_plan(PLACED, Event())

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 1):
        dispatcher._get_cached_plan(number, Event())

    assert count_plans(dispatcher) < MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert dispatcher._cached_plans[PLACED][Event] is plan


def test_one_class_too_many_drops_the_plans_of_its_name(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener(PLACED, make_listener(dispatcher, print))
    for _ in range(MAX_CACHED_CLASSES_PER_NAME):
        dispatcher._get_cached_plan(PLACED, new_class()())
    assert count_plans(dispatcher) == MAX_CACHED_CLASSES_PER_NAME

    dispatcher._get_cached_plan(PLACED, Event())

    assert count_plans(dispatcher) == 1


# Answers


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names for which a registry has searched its listeners."""
    names: list[Any] = []
    search = Registry._collect_for_event

    def recording(self: Registry, name: Any, cls: type) -> Any:
        names.append(name)
        return search(self, name, cls)

    monkeypatch.setattr(Registry, "_collect_for_event", recording)
    return names


@pytest.mark.parametrize("asked", [(PLACED,), (PLACED, OrderPlaced), (OrderPlaced,), (404,)], ids=str)
@pytest.mark.parametrize("listening", [False, True], ids=["no listener", "listeners"])
def test_the_same_question_searches_once(
    dispatcher: AnyDispatcher, searches: list[Any], asked: tuple[Any, ...], listening: bool
) -> None:
    listeners = [make_listener(dispatcher, print) for _ in range(3 * listening)]
    for listener in listeners:
        dispatcher.add_listener("*", listener)

    for _ in range(5):
        assert dispatcher.has_listeners(*asked) is listening
        assert dispatcher.get_listeners(*asked) == tuple(listeners)

    assert len(searches) == 1


async def test_a_question_is_answered_from_the_plan(dispatcher: AnyDispatcher, searches: list[Any]) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener("order.*", listener)
    await dispatcher.adispatch(PLACED, Event())
    await dispatcher.adispatch(PLACED, Slotted())
    searches.clear()

    assert dispatcher.get_listeners(PLACED) == dispatcher.get_listeners(PLACED, Slotted) == (listener,)
    assert searches == []


@pytest.mark.parametrize("key", [PLACED, "order.*", "*", Event, OrderPlaced], ids=str)
@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("remove", ["handle", "listener", "scope", "block"])
def test_an_answer_follows_each_change(dispatcher: AnyDispatcher, key: Any, others: int, remove: str) -> None:
    listener, staying = make_listener(dispatcher, print), [make_listener(dispatcher, print) for _ in range(others)]
    for each in staying:
        dispatcher.add_listener(key, each)

    with dispatcher.scope() as scoped, scoped.scope() as inner:

        def ask() -> list[tuple[Any, ...]]:
            asked = (inner,) if remove == "scope" else (dispatcher, scoped, inner)
            return [where.get_listeners(PLACED, OrderPlaced) for where in asked]

        answers = [ask(), ask()]
        if remove == "block":
            with dispatcher.temporarily() as registrar:
                registrar.add_listener(key, listener)
                answers.append(ask())
        else:
            handle = (scoped if remove == "scope" else dispatcher).add_listener(key, listener)
            answers.append(ask())
            if remove == "handle":
                handle.unsubscribe()
            elif remove == "listener":
                dispatcher.remove_listener(key, listener)
            else:
                scoped.__exit__(None, None, None)
        answers.append(ask())

    assert answers == [[tuple(each)] * len(answers[0]) for each in (staying, staying, [*staying, listener], staying)]


async def test_a_once_listener_leaves_the_answer_with_its_call(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: None), once=True)
    assert dispatcher.has_listeners(PLACED)

    await dispatcher.adispatch(PLACED, Event())

    assert not dispatcher.has_listeners(PLACED)


def test_an_answer_about_all_keys_is_another_one(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener(PLACED, make_listener(dispatcher, print))

    assert [dispatcher.has_listeners(Event), dispatcher.has_listeners()] == [False, True]


@pytest.mark.parametrize("ask", [AsyncEventDispatcher.has_listeners, AsyncEventDispatcher.get_listeners])
def test_a_question_about_an_unhashable_name_is_an_error(ask: Callable[..., Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    for _ in range(2):
        with pytest.raises(TypeError, match="must be hashable"):
            ask(dispatcher, [PLACED])

    assert count_answers(dispatcher) == 0


async def test_questions_fill_no_memory_and_drop_no_plan(dispatcher: AnyDispatcher, searches: list[Any]) -> None:
    dispatcher.add_listener("order.*", make_listener(dispatcher, lambda event: None))
    names = (PLACED, "payment.received")
    for name in names:
        await dispatcher.adispatch(name, Event())
    plans = [dispatcher._registry.cached_plans[name][Event] for name in names]

    for number in range(MAX_CACHED_ANSWERS * 3):
        assert dispatcher.has_listeners(f"order.{number}")
        dispatcher.get_listeners(number)
    for _ in range(MAX_CACHED_ANSWERS + 1):
        dispatcher.has_listeners("other", new_class())

    assert count_answers(dispatcher) <= MAX_CACHED_ANSWERS
    assert len(dispatcher._registry.answers) <= MAX_CACHED_ANSWERS
    assert [dispatcher._registry.cached_plans[name][Event] for name in names] == plans
    searches.clear()
    for name in ("other", "order.paid") * 3:
        dispatcher.has_listeners(name)
    assert searches == ["other", "order.paid"]


def test_one_question_too_many_drops_all_answers(dispatcher: AnyDispatcher) -> None:
    for number in range(MAX_CACHED_ANSWERS):
        dispatcher.has_listeners(number)
    assert count_answers(dispatcher) == MAX_CACHED_ANSWERS

    dispatcher.has_listeners(PLACED)

    assert count_answers(dispatcher) == 1
    for number in range(MAX_CACHED_ANSWERS - 1):
        dispatcher.has_listeners(number)
    assert count_answers(dispatcher) == MAX_CACHED_ANSWERS


def test_as_many_answers_are_kept_after_all_were_dropped(dispatcher: AnyDispatcher) -> None:
    for number in range(MAX_CACHED_ANSWERS // 2):
        dispatcher.has_listeners(number)
    dispatcher.add_listener(Payment, make_listener(dispatcher, print))

    for number in range(MAX_CACHED_ANSWERS):
        dispatcher.has_listeners(number)

    assert count_answers(dispatcher) == MAX_CACHED_ANSWERS


def test_an_answer_keeps_no_removed_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    staying = dispatcher.add_listener(PLACED, make_listener(dispatcher, print))
    handle = dispatcher.add_listener(PLACED, listener)
    assert listener in dispatcher.get_listeners(PLACED)
    reference = weakref.ref(listener)

    handle.unsubscribe()
    del listener, handle
    gc.collect()

    assert reference() is None
    assert staying.unsubscribe()


def test_a_registration_made_by_a_question_counts_for_the_next() -> None:
    dispatcher = EventDispatcher()

    class Meta(type):
        """A class that registers when it is asked for its subclasses."""

        def __subclasscheck__(cls, other: type) -> bool:
            if registering:
                registering.clear()
                dispatcher.add_listener(PLACED, print)
            return False

    class Key(metaclass=Meta): ...

    registering: list[bool] = []
    dispatcher.add_listener(Key, repr)
    registering.append(True)
    dispatcher.get_listeners(PLACED, OrderPlaced)

    assert dispatcher.get_listeners(PLACED, OrderPlaced) == (print,)
