"""What is dispatched, under which name, and what the event shows (rules 7 and 8)."""

from __future__ import annotations

import asyncio
import inspect
from enum import Enum, StrEnum
from typing import Any
from unittest.mock import Mock

import pytest

from antiphon import AsyncEventDispatcher, Event
from tests.dispatching.conftest import fail
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address


class Name(Enum):
    PLACED = "order.placed"


class StrName(StrEnum):
    PLACED = "order.placed"


class Placed(Event):
    name = "order.placed"


class PlacedAgain(Placed): ...


class PlacedByEnum(Event):
    name = Name.PLACED


class Unnamed(Event): ...


async def test_listeners_get_the_event_and_the_dispatch_returns_it(dispatcher: AnyDispatcher, event: Any) -> None:
    seen: list[Any] = []
    # What listeners return is ignored.
    for returned in (False, event):
        look = Mock(side_effect=lambda event: seen.append((event, event.name, event.dispatcher)), return_value=returned)
        dispatcher.add_listener("order.placed", make_listener(dispatcher, look))

    assert await dispatcher.adispatch("order.placed", event) is event

    assert seen == [(event, "order.placed", dispatcher)] * 2
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, False)


async def test_without_listeners_the_event_shows_the_dispatch_too(dispatcher: AnyDispatcher, event: Any) -> None:
    await AsyncEventDispatcher().adispatch("order.paid", event)

    assert await dispatcher.adispatch("order.placed", event) is event

    # The last dispatch counts.
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, False)


async def test_the_event_shows_the_dispatch_after_an_error(sequential: AnyDispatcher, event: Any) -> None:
    sequential.add_listener("order.placed", make_listener(sequential, fail))
    with pytest.raises((LookupError, ExceptionGroup)):
        await sequential.adispatch("order.placed", event)

    assert (event.name, event.dispatcher) == ("order.placed", sequential)


async def test_the_name_is_the_given_one_and_not_an_equal_one(dispatcher: AnyDispatcher, event: Any) -> None:
    await dispatcher.adispatch(StrName.PLACED, type(event)())

    await dispatcher.adispatch("order.placed", event)

    assert type(event.name) is str


# One argument


@pytest.mark.parametrize("name", ["order.placed", StrName.PLACED, Name.PLACED], ids=repr)
@pytest.mark.parametrize("arguments", [(), (None,)], ids=["alone", "with None"])
async def test_a_single_name_makes_a_new_event(dispatcher: AnyDispatcher, name: Any, arguments: Any) -> None:
    given: list[Event] = []
    dispatcher.add_listener(name, make_listener(dispatcher, given.append))

    first, second = await dispatcher.adispatch(name, *arguments), await dispatcher.adispatch(name, *arguments)

    assert given == [first, second]
    assert first is not second
    assert (type(first), first.name, second.name) == (Event, name, name)


@pytest.mark.parametrize(
    ("event", "name"),
    [(Placed(), "order.placed"), (PlacedAgain(), "order.placed"), (PlacedByEnum(), Name.PLACED)],
    ids=["class", "base", "enum"],
)
async def test_a_single_event_has_the_name_of_its_class(dispatcher: AnyDispatcher, event: Any, name: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener(name, make_recording_listener(dispatcher, log, "of the class"))
    dispatcher.add_listener("order.again", make_recording_listener(dispatcher, log, "given"))

    await dispatcher.adispatch(event)
    # Also after a dispatch under another name, which comes before that of the class.
    await dispatcher.adispatch("order.again", event)
    await dispatcher.adispatch(event)

    assert (log, event.name) == (["of the class", "given", "of the class"], name)


async def test_a_single_event_without_a_name_reaches_no_name(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    for key in ("", "None", "Unnamed", "order.placed"):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))

    event = await dispatcher.adispatch(Unnamed())
    assert (log, event.name) == ([], None)

    # The name of an earlier dispatch is not one of the event.
    await dispatcher.adispatch("order.placed", event)
    await dispatcher.adispatch(event)
    assert (log, event.name) == (["order.placed"], None)


@pytest.mark.parametrize("single", [7, (1, "two"), b"bytes", object()], ids=without_address)
async def test_any_other_single_argument_is_an_event(dispatcher: AnyDispatcher, single: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener(str(single), make_recording_listener(dispatcher, log, "ran"))

    assert await dispatcher.adispatch(single) is single
    assert log == []


class Amount:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amount)

    def __hash__(self) -> int:
        return 7


class Payment(Event, Amount): ...


class WithoutHash:
    def __hash__(self) -> int:
        raise LookupError


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("event", [Payment(), WithoutHash()], ids=["equals a key", "raises"])
async def test_an_event_is_not_compared_with_the_keys(kind: Any, event: Any) -> None:
    dispatcher, log = kind(), list[Any]()
    dispatcher.add_listener(Amount(), make_listener(dispatcher, print))
    dispatcher.add_listener("*", make_listener(dispatcher, log.append))

    await dispatcher.adispatch(event)

    assert log == [event]


async def test_an_unhashable_object_of_the_class_of_a_key_is_an_event(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener((1, "two"), make_recording_listener(dispatcher, log, "ran"))
    unhashable = (1, ["two"])

    assert await dispatcher.adispatch(unhashable) is unhashable
    assert log == []


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_swapped_arguments_and_classes_are_refused(kind: Any) -> None:
    for arguments in [("order.placed", Event), (Event,)]:
        with pytest.raises(TypeError, match=r"Event\(\.\.\.\)"):
            await kind().adispatch(*arguments)
    with pytest.raises(TypeError, match="the name comes first"):
        await kind().adispatch(Event(), "order.placed")


# Two arguments


@pytest.mark.parametrize("name", [7, (1, "two"), frozenset({1}), Event], ids=repr)
async def test_other_hashables_are_names_beside_an_event(dispatcher: AnyDispatcher, name: Any) -> None:
    assert (await dispatcher.adispatch(name, Event())).name == name


async def test_a_false_event_is_an_event(dispatcher: AnyDispatcher) -> None:
    class Empty(Event):
        def __len__(self) -> int:
            return 0

    given: list[Any] = []
    dispatcher.add_listener("order.placed", make_listener(dispatcher, given.append))

    await dispatcher.adispatch("order.placed", event := Empty())

    assert given[0] is event


async def test_a_longer_name_does_not_reach_an_exact_one(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order", make_recording_listener(dispatcher, log, "order"))

    await dispatcher.adispatch("order.placed", Event())

    assert log == []


async def test_adispatch_is_a_coroutine_that_starts_when_awaited(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "ran"))

    coroutine: Any = dispatcher.adispatch("order.placed", Event())
    assert inspect.iscoroutine(coroutine)
    coroutine.close()

    assert log == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_adispatch_may_be_an_asyncio_task(dispatcher: AnyDispatcher) -> None:
    event = Event()

    assert await asyncio.create_task(dispatcher.adispatch("order.placed", event)) is event


# The name of the dispatcher


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_the_repr_of_a_dispatcher(kind: Any) -> None:
    assert repr(kind(name="orders")) == f"<{kind.__name__} 'orders'>"
    assert repr(kind()) == f"<{kind.__name__} without listeners>"
