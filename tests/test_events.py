"""Rule 8: which dispatch attributes an event object has, and what a dispatch sets on it."""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from dataclasses import asdict, dataclass
from enum import Enum, StrEnum
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import MagicMock, Mock, create_autospec

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests.event_kinds import (
    BARE,
    DUCKS,
    EVENTS,
    NAMED,
    NARROW_DUCKS,
    UNUSUAL_LOOKUPS,
    WITH_NAME_AS_DATA,
    AnyAttribute,
    ByProperties,
    Duck,
    FailingLookup,
    Frozen,
    Minimal,
    NarrowDuck,
    PlainObject,
    SlottedObject,
    WithoutSubclassHook,
    kinds,
)
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

CPYTHON = pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")
STRATEGIES = [Sequential(), Concurrent(), Race()]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
UNDISPATCHED = (None, None, False)


def get_attributes(event: Any) -> tuple[Any, Any, Any]:
    return event.name, event.dispatcher, event.propagation_stopped


def stop_by_attribute(event: Any) -> None:
    event.propagation_stopped = True


async def dispatch_to(
    event: Any, *functions: Any, dispatcher: AnyDispatcher | None = None, name: Any = "order.paid"
) -> AnyDispatcher:
    """Dispatch an event to listeners of increasing priorities; return the dispatcher."""
    dispatcher = AsyncEventDispatcher() if dispatcher is None else dispatcher
    for priority, function in enumerate(functions):
        dispatcher.add_listener(name, make_listener(dispatcher, function), priority=priority)
    assert await dispatcher.adispatch(name, event) is event
    return dispatcher


# Before a dispatch


@kinds([Event, Minimal, *UNUSUAL_LOOKUPS])
def test_attributes_can_be_read_before_a_dispatch(kind: Any) -> None:
    assert get_attributes(kind()) == get_attributes(Event) == UNDISPATCHED


@kinds(NAMED)
async def test_the_name_of_a_class_shows_until_a_dispatch(kind: Any) -> None:
    event, seen = kind(), [kind().name]
    await dispatch_to(event, lambda event: seen.append(event.name))

    assert [*seen, event.name, kind().name] == ["order.placed", "order.paid", "order.paid", "order.placed"]


async def test_a_dispatch_does_not_change_the_class() -> None:
    class Placed(Event):
        name = "order.placed"

    await dispatch_to(Placed(), Event.stop_propagation)

    assert get_attributes(Placed) == ("order.placed", None, False)


@pytest.mark.skipif(find_spec("attrs") is None, reason="attrs is not installed")
@pytest.mark.parametrize("options", [{}, {"slots": False}, {"frozen": True}], ids=repr)
async def test_a_class_made_by_attrs_keeps_its_fields(options: dict[str, Any]) -> None:
    import attrs

    @attrs.define(**options)
    class Placed(Event):
        name: str = "order.placed"
        number: int = attrs.field(default=1)

    event = Placed("given", 2)
    before = (event.name, event.number, Placed().name)
    await dispatch_to(event)

    assert (before, event.name) == (("given", 2, "order.placed"), "given")


@pytest.mark.skipif(find_spec("pydantic") is None, reason="pydantic is not installed")
async def test_a_pydantic_event_is_stopped_by_assignment() -> None:
    import pydantic

    class Placed(pydantic.BaseModel, Event):
        number: int = 1

    event, log = Placed(), list[Any]()
    await dispatch_to(event, stop_by_attribute, log.append)

    assert (log, event.name, event.propagation_stopped) == ([], "order.paid", True)


@pytest.mark.skipif(find_spec("pydantic") is None, reason="pydantic is not installed")
async def test_a_pydantic_event_is_stopped_by_assignment_also_if_a_base_hides_its_creation() -> None:
    import pydantic

    class Placed(pydantic.BaseModel, WithoutSubclassHook):
        number: int = 1

    event, log = Placed(), list[Any]()
    await dispatch_to(event, stop_by_attribute, log.append)

    assert (log, event.propagation_stopped) == ([], True)


@pytest.mark.skipif(find_spec("pydantic") is None, reason="pydantic is not installed")
def test_the_mark_of_a_pydantic_event_can_be_assigned_before_its_first_dispatch() -> None:
    import pydantic

    class Placed(pydantic.BaseModel, Event):
        number: int = 1

    event = Placed()
    event.propagation_stopped = True

    assert event.propagation_stopped and not Placed().propagation_stopped
    assert not Placed.propagation_stopped


async def test_an_event_stopped_before_the_first_dispatch_of_its_class_stays_so() -> None:
    class Placed(Event):
        name = "order.placed"
        propagation_stopped = False

    event = Placed()
    event.stop_propagation()
    stopped = event.propagation_stopped
    await AsyncEventDispatcher().adispatch("order.placed", Placed())

    assert stopped and event.propagation_stopped and not Placed().propagation_stopped
    later = Placed()
    later.stop_propagation()
    assert (event.name, later.name, later.propagation_stopped) == ("order.placed", "order.placed", True)


async def test_a_mark_in_the_class_adds_no_data_to_its_events() -> None:
    class Placed(Event):
        propagation_stopped = False

    event = Placed()
    await dispatch_to(event, Event.stop_propagation)

    assert event.propagation_stopped
    assert "propagation_stopped" not in vars(event)
    assert repr(event) == "<Placed 'order.paid'>"


async def test_the_dispatcher_of_a_class_shows_until_a_dispatch() -> None:
    class Placed(Event):
        dispatcher = "shop"

    before, event = Placed().dispatcher, Placed()
    dispatcher = await dispatch_to(event)

    assert (before, Placed.dispatcher, Placed().dispatcher) == ("shop", "shop", "shop")
    assert event.dispatcher is dispatcher


async def test_events_that_compare_all_attributes_differ_by_their_dispatches() -> None:
    class Placed(Event):
        __hash__ = Event.__hash__

        def __eq__(self, other: object) -> bool:
            return vars(self) == vars(other)

    shop, web = AsyncEventDispatcher(), AsyncEventDispatcher()

    async def dispatch(dispatcher: AsyncEventDispatcher, name: str) -> Placed:
        return await dispatcher.adispatch(name, Placed())

    placed = await dispatch(shop, "order.placed")
    stopped = await dispatch(shop, "order.placed")
    stopped.stop_propagation()

    stopped_as_well = await dispatch(shop, "order.placed")
    stopped_as_well.stop_propagation()

    assert placed == await dispatch(shop, "order.placed")
    assert stopped == stopped_as_well
    assert placed not in [await dispatch(shop, "order.paid"), await dispatch(web, "order.placed"), stopped]


@pytest.mark.parametrize("strategy", [*STRATEGIES, Sequential(errors="collect")], ids=repr)
@pytest.mark.parametrize(
    "pretend",
    [
        lambda event: Mock(spec=Event),
        lambda event: MagicMock(spec=event),
        lambda event: create_autospec(Event, instance=True),
        weakref.proxy,
    ],
    ids=["Mock", "MagicMock", "autospec", "proxy"],
)
async def test_mocks_and_proxies_are_treated_as_events(pretend: Any, strategy: Any) -> None:
    event, log = Event(), list[Any]()
    pretended = pretend(event)
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener(Event, make_listener(dispatcher, stop_by_attribute), priority=1)
    dispatcher.add_listener("order.paid", make_recording_listener(dispatcher, log, "later"), priority=2)
    await dispatch_to(pretended, lambda event: log.append((event.name, event.dispatcher)), dispatcher=dispatcher)

    assert log == [("order.paid", dispatcher)]
    assert pretended.propagation_stopped is True


async def test_nothing_is_set_on_a_mock_of_a_bare_event() -> None:
    mock = Mock(spec=PlainObject)
    await dispatch_to(mock, lambda event: None)

    assert not any(hasattr(mock, attribute) for attribute in ("name", "dispatcher", "propagation_stopped"))


async def test_mocks_are_treated_alike_before_and_after_their_class() -> None:
    first, second = Mock(spec=Minimal), Mock(spec=Minimal)
    for event in (first, Minimal(), second):
        await dispatch_to(event, lambda event: None)

    assert (first.name == "order.paid") == (second.name == "order.paid")


def test_an_event_and_its_proxy_are_two_events_for_nested_dispatches() -> None:
    outer, inner, log = EventDispatcher(), EventDispatcher(), list[str]()
    inner.add_listener("order.paid", Event.stop_propagation)

    @outer.listen("order.placed")
    def nest(event: Event) -> None:
        inner.dispatch("order.sent", weakref.proxy(event))
        inner.dispatch("order.paid", event)
        log.append("nested")

    outer.add_listener("order.placed", make_recording_listener(outer, log, "later"))
    outer.dispatch("order.placed", Event())

    assert log == ["nested", "later"]


def test_a_proxy_of_an_event_with_its_own_mark_is_stopped_in_each_dispatch() -> None:
    dispatcher, event, log = EventDispatcher(), ByProperties(), list[Any]()
    dispatcher.add_listener("order.paid", lambda event: log.append(event.propagation_stopped))
    dispatcher.add_listener("order.paid", Event.stop_propagation)
    dispatcher.add_listener("order.paid", make_recording_listener(dispatcher, log, "later"))

    for _ in range(2):
        dispatcher.dispatch("order.paid", weakref.proxy(event))

    assert (log, event.propagation_stopped) == ([False, False], True)


def test_an_event_whose_mark_cannot_be_set_is_dispatched() -> None:
    class Unstoppable(Event):
        @property
        def propagation_stopped(self) -> bool:
            return False

    dispatcher = EventDispatcher()

    event = dispatcher.dispatch("order.paid", Unstoppable())

    assert get_attributes(event) == ("order.paid", dispatcher, False)


def test_the_attributes_of_a_class_that_refuses_others_can_be_read_before_its_first_dispatch() -> None:
    class Failing(Event):
        def __getattr__(self, attribute: str) -> Any:
            raise LookupError(attribute)

    assert get_attributes(Failing()) == UNDISPATCHED


def test_the_attributes_of_an_unusual_class_can_be_read_if_a_base_hides_its_creation() -> None:
    class Failing(WithoutSubclassHook):
        def __getattr__(self, attribute: str) -> Any:
            raise LookupError(attribute)

    EventDispatcher().dispatch("order.paid", Failing())

    assert get_attributes(Failing()) == UNDISPATCHED


def test_a_class_is_changed_by_its_first_dispatch_only() -> None:
    seen: list[Any] = []

    class Listed(Event):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            seen.append(vars(cls).get("name"))

    class Placed(Listed):
        name = "order.placed"

    assert seen == ["order.placed"]
    assert EventDispatcher().dispatch("order.paid", Placed()).name == "order.paid"


def test_a_metaclass_may_guard_the_attributes_of_an_event() -> None:
    class Guarding(type):
        def __setattr__(cls, attribute: str, value: object) -> None:
            raise AttributeError(f"{attribute} is not to be set")

    class Naming(type):
        name = property(lambda cls: "of the class")

    for metaclass in (Guarding, Naming):
        kind = metaclass("Placed", (Event,), {"name": "order.placed"})
        assert EventDispatcher().dispatch("order.paid", kind()).name == "order.paid"


def test_an_event_that_could_be_a_name_is_an_event() -> None:
    class Text(str, Event): ...

    class Choice(Event, Enum):
        first = 1

    dispatcher, log = EventDispatcher(), list[Any]()
    dispatcher.add_listener(Event, log.append)

    for event in (Text("order.placed"), Choice.first):
        assert dispatcher.dispatch(event) is event

    assert log == [Text("order.placed"), Choice.first]


@kinds([Event, Minimal, Frozen, AnyAttribute, FailingLookup, *NAMED])
def test_attributes_can_be_set_and_deleted(kind: Any) -> None:
    event = kind()
    default = event.name

    object.__setattr__(event, "name", "order.paid")
    object.__setattr__(event, "propagation_stopped", True)
    shown = get_attributes(event)
    object.__delattr__(event, "name")
    object.__delattr__(event, "propagation_stopped")

    assert shown == ("order.paid", None, True)
    assert (event.name, event.propagation_stopped) == (default, False)


@kinds([*EVENTS, *WITH_NAME_AS_DATA])
def test_events_have_a_dict(kind: Any) -> None:
    assert isinstance(kind().__dict__, dict)


def test_events_compare_by_identity_by_default() -> None:
    assert (Event() == Event(), Frozen(7) == Frozen(7)) == (False, True)


# In a dispatch


async def test_a_name_set_by_a_listener_stays() -> None:
    seen: list[Any] = []

    def rename(event: Any) -> None:
        event.name = "order.renamed"

    dispatcher = await dispatch_to(Event(), rename, lambda event: seen.append((event.name, event.dispatcher)))
    again = await dispatcher.adispatch("order.paid", Event())

    assert (again.name, seen) == ("order.renamed", [("order.renamed", dispatcher)] * 2)


async def test_equal_names_show_as_they_were_given() -> None:
    class Names(StrEnum):
        placed = "placed"

    dispatcher = AsyncEventDispatcher()
    names = ["placed", Names.placed, "".join(["pla", "ced"])]
    for strategy in (None, Concurrent()):
        shown = [(await dispatcher.adispatch(name, Event(), strategy=strategy)).name for name in names]
        assert [type(name) for name in shown] == [str, Names, str]
        assert shown == names


@kinds([*EVENTS, *DUCKS])
async def test_an_event_shows_its_dispatch_and_the_outer_one_again(kind: Any) -> None:
    dispatcher, event, seen = AsyncEventDispatcher(), kind(), []

    @dispatcher.listen("outer")
    async def nest(event: Any) -> None:
        await dispatcher.adispatch("inner", event)
        seen.append((event.name, event.propagation_stopped))

    dispatcher.add_listener("inner", make_listener(dispatcher, lambda event: event.stop_propagation()))
    await dispatcher.adispatch("outer", event)

    assert seen == [("outer", False)]
    assert get_attributes(event) == ("outer", dispatcher, False)


@every_strategy
@kinds([*EVENTS, *WITH_NAME_AS_DATA, *DUCKS, *NARROW_DUCKS])
async def test_an_event_can_be_stopped_in_each_dispatch(kind: Any, strategy: Any) -> None:
    event, log, dispatcher = kind(), list[Any](), AsyncEventDispatcher(strategy=strategy)
    functions = (
        lambda event: log.append("called"),
        lambda event: event.stop_propagation(),
        lambda event: log.append("later"),
    )
    await dispatch_to(event, *functions, dispatcher=dispatcher)
    first = event.propagation_stopped
    await dispatcher.adispatch("order.paid", event)

    assert (log, first, event.propagation_stopped) == (["called"] * 2, True, True)


@kinds([*EVENTS, *WITH_NAME_AS_DATA, *DUCKS, *NARROW_DUCKS])
def test_a_sync_dispatch_can_be_stopped(kind: Any) -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    dispatcher.add_listener("order.paid", lambda event: event.stop_propagation())
    dispatcher.add_listener("order.paid", log.append)

    event = dispatcher.dispatch("order.paid", kind())

    assert (log, event.propagation_stopped) == ([], True)


async def test_a_property_without_a_setter_is_not_touched() -> None:
    class ReadOnly(Event):
        @property
        def name(self) -> str:
            return "mine"

    class Failing(Event):
        @property
        def name(self) -> str:
            raise NotImplementedError

    read_only, failing, log = ReadOnly(), Failing(), list[Any]()
    dispatchers = [await dispatch_to(event) for event in (read_only, failing)]
    assert [read_only.name, read_only.dispatcher, failing.dispatcher] == ["mine", *dispatchers]

    dispatcher = EventDispatcher()
    dispatcher.add_listener("mine", log.append)
    dispatcher.dispatch(ReadOnly())

    assert log == [], "a property is not the name of a class"


async def test_a_dispatch_adds_no_other_attribute() -> None:
    frozen, duck, narrow = Frozen(7), Duck(), NarrowDuck()
    for event in (frozen, duck, narrow):
        await dispatch_to(event)

    assert (asdict(frozen), frozen == Frozen(7), hash(frozen)) == ({"number": 7}, True, hash(Frozen(7)))
    assert sorted(vars(duck)) == ["dispatcher", "name", "propagation_stopped"]
    assert not hasattr(narrow, "name")


# Bare events


@kinds(BARE)
async def test_any_object_reaches_its_listeners(kind: Any, dispatcher: AnyDispatcher) -> None:
    event, given = kind(), list[Any]()
    await dispatch_to(event, given.append, dispatcher=dispatcher)

    assert given[0] is event


@pytest.mark.parametrize("strategy", [*STRATEGIES, Sequential(errors="collect")], ids=repr)
@kinds(BARE)
async def test_nothing_is_set_on_a_bare_event(kind: Any, strategy: Any) -> None:
    event = kind()
    before = (copy.copy(getattr(event, "__dict__", None)), repr(event))
    await dispatch_to(event, lambda event: None, dispatcher=AsyncEventDispatcher(strategy=strategy))

    assert (getattr(event, "__dict__", None), repr(event)) == before


@every_strategy
async def test_a_mark_on_a_bare_event_does_not_stop_it(strategy: Any) -> None:
    log: list[Any] = []
    await dispatch_to(
        SimpleNamespace(), stop_by_attribute, log.append, dispatcher=AsyncEventDispatcher(strategy=strategy)
    )

    assert len(log) == 1


async def test_a_bare_event_can_be_dispatched_by_its_listener() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("outer")
    async def nest(event: Any) -> None:
        await dispatcher.adispatch("inner", event)
        log.append("outer")

    dispatcher.add_listener("inner", make_recording_listener(dispatcher, log, "inner"))
    await dispatcher.adispatch("outer", PlainObject())

    assert log == ["inner", "outer"]


class State(Enum):
    PLACED = "placed"


class DuckPlaced(Duck):
    name = "order.placed"


@dataclass(frozen=True, slots=True)
class FrozenPlaced:
    number: int = 7
    name: ClassVar[str] = "order.placed"


class StatePlaced:
    name = State.PLACED


@dataclass
class Person:
    name: str = "Ada"


class SlottedPerson:
    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "Ada"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(DuckPlaced, "order.placed"), (FrozenPlaced, "order.placed"), (StatePlaced, State.PLACED)]
    + [(Person, None), (SlottedPerson, None)],
)
async def test_only_the_class_names_a_foreign_event(kind: Any, name: Any) -> None:
    """A dataclass field or a slot called ``name`` is data."""
    dispatcher, log = AsyncEventDispatcher(), list[Any]()
    for key in ("order.placed", State.PLACED, "Ada"):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))

    await dispatcher.adispatch(kind())

    assert log == [name] * (name is not None)


# What is kept of an event


@CPYTHON
@kinds([Event, Frozen, Duck, SlottedObject])
async def test_an_event_is_not_kept_after_its_dispatch(kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: None))
    gc.disable()
    try:
        event = await dispatcher.adispatch("order.placed", kind())
        reference = weakref.ref(event)
        del event
        assert reference() is None
    finally:
        gc.enable()


@kinds([Event, Frozen, Duck])
async def test_an_event_is_not_kept_after_a_failed_dispatch(kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def fail(event: Any) -> None:
        raise LookupError

    event = kind()
    reference = weakref.ref(event)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed", event)
    del event
    gc.collect()

    assert reference() is None


def test_another_base_receives_the_arguments_of_the_class_statement():
    class Tagged:
        def __init_subclass__(cls, *, tag: str) -> None:
            cls.tag = tag

    class OrderTagged(Event, Tagged, tag="order"): ...

    assert OrderTagged.tag == "order"
