"""Rule 5: `has_listeners(name)` and `get_listeners(name)` answer from a cache, which stays bounded and right."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher
from antiphon._registry.caches import MAX_CACHED_ANSWERS, MAX_CACHED_NAMES_WITHOUT_LISTENERS
from antiphon._registry.registry import Registry
from tests.helpers import AnyDispatcher, make_listener


class OrderPlaced(Event): ...


class Paid:
    """An event on which nothing can be set."""

    __slots__ = ()


def answers_kept(dispatcher: AnyDispatcher) -> int:
    return sum(len(by_class) for by_class in dispatcher._registry.answers.values())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names for which a registry has searched its listeners."""
    names: list[Any] = []
    heard = Registry._collect_for_event

    def noting(self: Registry, name: Any, cls: type) -> Any:
        names.append(name)
        return heard(self, name, cls)

    monkeypatch.setattr(Registry, "_collect_for_event", noting)
    return names


ASKED: list[tuple[Any, ...]] = [("order.placed",), ("order.placed", OrderPlaced), (OrderPlaced,), (404,)]


@pytest.mark.parametrize("asked", ASKED, ids=["name", "name and class", "class", "other"])
@pytest.mark.parametrize("listening", [False, True], ids=["nobody", "listeners"])
def test_the_same_question_searches_once(
    dispatcher: AnyDispatcher, looks: list[Any], asked: tuple[Any, ...], listening: bool
) -> None:
    listeners = [make_listener(dispatcher, print) for _ in range(3)] if listening else []
    for listener in listeners:
        dispatcher.add_listener("*", listener)

    for _ in range(5):
        assert dispatcher.has_listeners(*asked) is listening
        assert dispatcher.get_listeners(*asked) == tuple(listeners)

    assert len(looks) == 1


async def test_a_question_about_a_dispatched_name_is_answered_from_its_plan(
    dispatcher: AnyDispatcher, looks: list[Any]
) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener("order.*", listener)
    await dispatcher.adispatch("order.placed", Event())
    await dispatcher.adispatch("order.placed", Paid())
    looks.clear()

    assert dispatcher.get_listeners("order.placed") == (listener,)
    assert dispatcher.get_listeners("order.placed", Paid) == (listener,)

    assert looks == []


@pytest.mark.parametrize("key", ["order.placed", "order.*", "*", Event, OrderPlaced], ids=str)
@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("remove", ["handle", "listener", "scope", "block"])
def test_an_answer_follows_what_is_registered(dispatcher: AnyDispatcher, key: Any, others: int, remove: str) -> None:
    listener, staying = make_listener(dispatcher, print), [make_listener(dispatcher, print) for _ in range(others)]
    for each in staying:
        dispatcher.add_listener(key, each)

    with dispatcher.scope() as scoped:

        def found() -> list[tuple[Any, ...]]:
            return [where.get_listeners("order.placed", OrderPlaced) for where in (dispatcher, scoped)]

        seen = [found(), found()]
        if remove == "handle":
            handle = dispatcher.add_listener(key, listener)
            seen.append(found())
            handle.unsubscribe()
        elif remove == "listener":
            dispatcher.add_listener(key, listener)
            seen.append(found())
            dispatcher.remove_listener(key, listener)
        elif remove == "scope":
            with dispatcher.scope() as outer, outer.scope() as inner:
                assert inner.has_listeners("order.placed", OrderPlaced) is bool(staying)
                outer.add_listener(key, listener)
                assert inner.get_listeners("order.placed", OrderPlaced) == (*staying, listener)
            assert inner.get_listeners("order.placed", OrderPlaced) == tuple(staying)
            seen.append([(*staying, listener)] * 2)
        else:
            with dispatcher.temporarily() as registrar:
                registrar.add_listener(key, listener)
                seen.append(found())
        seen.append(found())

    without = [tuple(staying)] * 2
    assert seen == [without, without, [(*staying, listener)] * 2, without]


async def test_a_once_listener_leaves_the_answer_with_its_call(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: None), once=True)
    assert dispatcher.has_listeners("order.placed")

    await dispatcher.adispatch("order.placed", Event())

    assert not dispatcher.has_listeners("order.placed")


def test_equal_listeners_leave_the_answer_together() -> None:
    dispatcher = EventDispatcher()

    class Equal:
        __hash__ = None  # type: ignore[assignment]  # that is its subject

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        def __call__(self, event: Event) -> None: ...

    dispatcher.add_listener("order.placed", Equal())
    dispatcher.add_listener("order.placed", Equal())
    assert len(dispatcher.get_listeners("order.placed")) == 2

    dispatcher.remove_listener("order.placed", Equal())

    assert dispatcher.get_listeners("order.placed") == ()


def test_the_whole_dispatcher_is_another_question_than_an_event_without_a_name(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.placed", make_listener(dispatcher, print))

    assert [dispatcher.has_listeners(Event), dispatcher.has_listeners()] == [False, True]


@pytest.mark.parametrize("ask", [AsyncEventDispatcher.has_listeners, AsyncEventDispatcher.get_listeners])
def test_a_question_about_an_unhashable_name_is_an_error_also_when_asked_again(ask: Callable[..., Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    for _ in range(2):
        with pytest.raises(TypeError, match="must be hashable"):
            ask(dispatcher, ["order.placed"])

    assert answers_kept(dispatcher) == 0


def test_names_that_are_only_asked_about_fill_no_memory(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.*", make_listener(dispatcher, print))

    for number in range(MAX_CACHED_ANSWERS * 3):
        assert dispatcher.has_listeners(f"order.{number}")
        dispatcher.get_listeners(f"payment.{number}")

    assert answers_kept(dispatcher) <= MAX_CACHED_ANSWERS
    assert len(dispatcher._registry.answers) <= MAX_CACHED_ANSWERS


def test_classes_that_are_only_asked_about_fill_no_memory(dispatcher: AnyDispatcher) -> None:
    for _ in range(MAX_CACHED_ANSWERS + 100):
        dispatcher.has_listeners("order.placed", type("Ephemeral", (Event,), {}))

    assert answers_kept(dispatcher) <= MAX_CACHED_ANSWERS


def test_after_many_names_an_answer_is_kept_again(dispatcher: AnyDispatcher, looks: list[Any]) -> None:
    for number in range(MAX_CACHED_ANSWERS + 1):
        dispatcher.has_listeners(number)
    looks.clear()

    for _ in range(3):
        dispatcher.has_listeners("order.placed")
        dispatcher.has_listeners("order.paid")

    assert looks == ["order.placed", "order.paid"]


async def test_names_that_are_only_asked_about_push_no_plan_out(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.*", make_listener(dispatcher, lambda event: None))
    names = ("order.placed", "payment.received")
    for name in names:
        await dispatcher.adispatch(name, Event())
    plans = [dispatcher._registry.cached_plans[name][Event] for name in names]

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 3):
        dispatcher.has_listeners(number)

    assert [dispatcher._registry.cached_plans[name][Event] for name in names] == plans


def test_an_answer_keeps_no_removed_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    staying = dispatcher.add_listener("order.placed", make_listener(dispatcher, print))
    handle = dispatcher.add_listener("order.placed", listener)
    assert listener in dispatcher.get_listeners("order.placed")
    reference = weakref.ref(listener)

    handle.unsubscribe()
    del listener, handle
    gc.collect()

    assert reference() is None
    assert staying.unsubscribe()


def test_what_a_question_registers_counts_for_the_next_one() -> None:
    dispatcher = EventDispatcher()

    class Meta(type):
        """A class that registers when it is asked for its subclasses."""

        def __subclasscheck__(cls, other: type) -> bool:
            if registering:
                registering.clear()
                dispatcher.add_listener("order.placed", print)
            return False

    class Key(metaclass=Meta): ...

    registering: list[bool] = []
    dispatcher.add_listener(Key, repr)
    registering.append(True)
    dispatcher.get_listeners("order.placed", OrderPlaced)

    assert dispatcher.get_listeners("order.placed", OrderPlaced) == (print,)
