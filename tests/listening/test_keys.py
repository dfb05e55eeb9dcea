"""Rule 5: names, patterns and classes as keys, in one order, no registration twice."""

from __future__ import annotations

from abc import ABC
from collections.abc import Hashable, Sized
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon._registry.keys import get_matcher
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address
from tests.properties.reference import key_matches, pattern_matches


class OrderPlaced(Event): ...


class GiftOrderPlaced(OrderPlaced): ...


class Payment(Event): ...


def listening(dispatcher: AnyDispatcher, *keys: Hashable) -> list[Any]:
    """Register a listener for each key, and return the log in which each records its key."""
    log: list[Any] = []
    for key in keys:
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))
    return log


def find_matcher(pattern: str) -> Any:
    matches = get_matcher(pattern)
    assert matches is not None
    return matches


# Patterns against the reference


segments = st.sampled_from(["a", "b", "", "aa", "*", "**"])
patterns = st.lists(segments, min_size=1, max_size=6).map(".".join).filter(lambda pattern: "*" in pattern)
names = st.lists(st.sampled_from(["a", "b", "", "aa", "*", "**"]), min_size=1, max_size=6).map(".".join)
dispatched_names = st.lists(st.sampled_from(["a", "b", "", "aa", "a*"]), min_size=1, max_size=6).map(".".join)
ANY_NUMBER_OF_SEGMENTS = ("**", "**.**", "a.**", "**.a", "a.**.b", "**.a.**", "*.**", "**.*", "**.*.**", "a.*.**.b")


SHORT = [
    "",
    "a",
    "b",
    "a.a",
    "a.b",
    "b.a",
    "b.b",
    ".",
    "a.",
    ".a",
    "a.a.a",
    "a.b.a",
    "b.a.b",
    "a.x.y.b",
    "...",
    "b.b.b.a",
]


@settings(max_examples=200)
@given(pattern=patterns | st.sampled_from(ANY_NUMBER_OF_SEGMENTS), name=names)
def test_a_pattern_matches_as_the_reference_says(pattern: str, name: str) -> None:
    matches = find_matcher(pattern)

    for each in (name, *SHORT):
        assert matches(each, Event) == pattern_matches(pattern, each)


@pytest.mark.parametrize("pattern", [*ANY_NUMBER_OF_SEGMENTS, "*", "a.*"])
def test_a_pattern_matches_short_names(pattern: str) -> None:
    matches = find_matcher(pattern)

    assert [name for name in SHORT if matches(name, Event)] == [
        name for name in SHORT if pattern_matches(pattern, name)
    ]


def test_a_long_pattern_takes_no_exponential_time() -> None:
    dispatcher = EventDispatcher()
    log = listening(dispatcher, ".".join(["**", "a"] * 30) + ".b")

    for ending in ([], ["b"]):
        dispatcher.dispatch(".".join(["a"] * 300 + ending))

    assert len(log) == 1


@pytest.mark.parametrize("pattern", ["a*", "*a", "a.b*", "***", "a.***", "**a.b", "* ", "a.*.b*c"])
def test_a_star_within_a_segment_is_refused(dispatcher: AnyDispatcher, pattern: str) -> None:
    listener = make_listener(dispatcher, print)

    for register in (
        lambda: dispatcher.add_listener(pattern, listener),
        lambda: dispatcher.listen(pattern),
        lambda: dispatcher.remove_listener(pattern, listener),
        lambda: dispatcher.temporarily().add_listener(pattern, listener),
        lambda: dispatcher.temporarily().listen(pattern)(listener),
    ):
        with pytest.raises(ValueError, match="whole segment"):
            register()

    assert (dispatcher.has_listeners(), dispatcher.get_listeners(pattern)) == (False, ())


async def test_a_name_with_a_star_is_not_a_pattern(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "a.b", "a.*", "*")

    await dispatcher.adispatch("a*b", Event())
    await dispatcher.adispatch("a.b*", Event())

    assert log == ["*", "a.*", "*"]


async def test_a_star_alone_matches_every_dispatch(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "*", "**", "*.*")

    for name in (7, (1, "two"), None, b"bytes", object()):
        await (dispatcher.adispatch(Event()) if name is None else dispatcher.adispatch(name, Event()))

    assert log == ["*"] * 5


class State(StrEnum):
    PLACED = "state.placed"


async def test_a_member_of_a_string_enum_is_matched_by_its_value(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "state.*", State.PLACED, "state.placed")

    await dispatcher.adispatch(State.PLACED, Event())

    assert log == ["state.*", State.PLACED, "state.placed"]


# Classes


async def test_a_class_matches_its_events_and_those_of_subclasses(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, Event, OrderPlaced, GiftOrderPlaced, Payment, object)

    await dispatcher.adispatch(OrderPlaced())

    assert log == [Event, OrderPlaced, object]


@pytest.mark.parametrize("name", ["placed", 7, (1, 2), State.PLACED, Payment], ids=repr)
async def test_a_class_matches_under_any_name(dispatcher: AnyDispatcher, name: Any) -> None:
    log = listening(dispatcher, OrderPlaced)

    await dispatcher.adispatch(name, GiftOrderPlaced())

    assert log == [OrderPlaced]


async def test_a_class_as_a_name_is_not_a_key_of_that_class(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, OrderPlaced)

    await dispatcher.adispatch(OrderPlaced, Payment())

    assert log == []


async def test_a_virtual_base_class_matches_what_it_says(dispatcher: AnyDispatcher) -> None:
    class Registered(ABC): ...

    @runtime_checkable
    class Billable(Protocol):
        def bill(self) -> None: ...

    class Order(Event):
        def bill(self) -> None: ...

    Registered.register(OrderPlaced)
    log = listening(dispatcher, Registered, Sized, Billable)

    for name, event in ((None, GiftOrderPlaced()), (None, Payment()), ("list", [1, 2]), (None, Order())):
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))

    assert log == [Registered, Sized, Billable]


async def test_a_class_can_be_the_name_of_a_dispatch(dispatcher: AnyDispatcher) -> None:
    @runtime_checkable
    class Billable(Protocol):
        def bill(self) -> None: ...

    for name in (OrderPlaced, Billable):
        assert (await dispatcher.adispatch(name, Payment())).name is name


def test_a_class_without_a_subclass_check_is_refused(dispatcher: AnyDispatcher) -> None:
    class NotChecked(Protocol):
        def bill(self) -> None: ...

    @runtime_checkable
    class WithData(Protocol):
        amount: int

    for key in (NotChecked, WithData):
        with pytest.raises(TypeError, match="@runtime_checkable"):
            dispatcher.add_listener(key, make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


async def test_a_subclass_hook_may_register() -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    late: list[type] = [type(f"Late{number}", (), {}) for number in range(50)]

    class Eager(ABC):
        @classmethod
        def __subclasshook__(cls, candidate: type) -> Any:
            if late:
                dispatcher.add_listener(late.pop(), log.append)
            return True

    dispatcher.add_listener(Eager, log.append)
    dispatcher.add_listener(Payment, log.append)
    event = dispatcher.dispatch("placed", OrderPlaced())

    assert log == [event]


# One order


async def test_matching_keys_form_one_order(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    keys: list[Hashable] = [OrderPlaced, "order.*", "order.placed", "*", Event, "**", object, "*.placed"]
    entries = [(priority, number) for number in range(len(keys)) for priority in (1, -1, 0)]
    for entry in entries:
        listener = make_recording_listener(dispatcher, log, entry)
        dispatcher.add_listener(keys[entry[1]], listener, priority=entry[0])

    await dispatcher.adispatch("order.placed", GiftOrderPlaced())

    assert log == sorted(entries)


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_no_registration_runs_twice_in_a_dispatch(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[Any]()
    dispatcher.add_listener("*", make_recording_listener(dispatcher, log, "star"))
    dispatcher.add_listener("**", make_recording_listener(dispatcher, log, "stars"))
    dispatcher.add_listener("*.*", make_recording_listener(dispatcher, log, "pair"))

    await dispatcher.adispatch("a.b")
    await dispatcher.adispatch("a")

    assert sorted(log) == sorted(["star", "stars", "pair", "star", "stars"])


async def test_a_listener_runs_for_each_matching_key(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "called")
    for key in ("placed", "*", OrderPlaced):
        dispatcher.add_listener(key, listener)

    await dispatcher.adispatch("placed", OrderPlaced())

    assert log == ["called"] * 3


# Dispatch by class alone


async def test_an_event_alone_reaches_class_keys_and_the_star(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "OrderPlaced", "placed", "**", OrderPlaced, "*")

    event = OrderPlaced()
    assert await dispatcher.adispatch(event) is event
    assert log == [OrderPlaced, "*"]
    assert event.name is None


class Named(Event):
    name = "order.named"


async def test_an_event_is_dispatched_under_the_name_of_its_class(dispatcher: AnyDispatcher) -> None:
    class Inherits(Named): ...

    class Nameless(Named):
        name = None  # type: ignore[assignment]  # removes the name

    log = listening(dispatcher, "order.named", "order.*", Named, "other", State.PLACED)

    names = [(await dispatcher.adispatch(kind())).name for kind in (Named, Inherits, Nameless)]
    await dispatcher.adispatch("other", Named())

    assert names == ["order.named", "order.named", None]
    assert log == ["order.named", "order.*", Named] * 2 + [Named] + [Named, "other"]


async def test_the_name_of_an_earlier_dispatch_is_not_used_again(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "placed", OrderPlaced)

    event = await dispatcher.adispatch("placed", OrderPlaced())
    await dispatcher.adispatch(event)

    assert log == ["placed", OrderPlaced, OrderPlaced]
    assert event.name is None


# Kinds of events


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    amount: int = 440
    name: str = "data"


class Slotted:
    __slots__ = ("amount",)


class Pair(NamedTuple):
    name: str = "data"
    amount: int = 440


BARE: list[Any] = [FrozenSlotted(), Slotted(), Pair(), "a string", 7, KeyError("gone"), object()]


@pytest.mark.parametrize("event", BARE, ids=without_address)
async def test_any_object_can_be_dispatched_under_a_name(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[Any] = []
    keys: list[Any] = [type(event), object, "placed"]
    for key in keys:
        dispatcher.add_listener(key, make_listener(dispatcher, log.append))

    assert await dispatcher.adispatch("placed", event) is event
    assert log == [event] * 3


@pytest.mark.parametrize("event", [event for event in BARE if not isinstance(event, str)], ids=without_address)
async def test_any_object_but_a_name_can_be_dispatched_alone(dispatcher: AnyDispatcher, event: Any) -> None:
    kind: Any = type(event)
    log = listening(dispatcher, kind, "*", "data", "**")

    assert await dispatcher.adispatch(event) is event
    assert log == [kind, "*"]


@pytest.mark.skipif(find_spec("msgspec") is None, reason="msgspec is not installed")
@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"gc": False}, {"weakref": True}], ids=repr)
async def test_msgspec_structs_are_dispatched_by_class(dispatcher: AnyDispatcher, options: dict[str, Any]) -> None:
    import msgspec

    base = msgspec.defstruct("Base", [("amount", int)], **options)
    derived = msgspec.defstruct("Derived", [("card", str)], bases=(base,))
    event = derived(amount=440, card="visa")
    log = listening(dispatcher, base, derived, Event, "placed")

    assert await dispatcher.adispatch(event) is event
    assert await dispatcher.adispatch("placed", event) is event
    assert log == [base, derived, base, derived, "placed"]
    assert event == derived(amount=440, card="visa")


# Looking up


def test_lookups_include_all_matching_keys(dispatcher: AnyDispatcher) -> None:
    listeners = {
        key: make_listener(dispatcher, print) for key in ("order.*", "order.placed", "*", OrderPlaced, Event, "other")
    }
    for key, listener in listeners.items():
        dispatcher.add_listener(key, listener)

    def find(*arguments: Any) -> list[Any]:
        found = dispatcher.get_listeners(*arguments)
        return [key for key, listener in listeners.items() if listener in found]

    assert find("order.placed") == ["order.*", "order.placed", "*", Event]
    assert find("order.placed", OrderPlaced) == ["order.*", "order.placed", "*", OrderPlaced, Event]
    assert find("order.placed", object) == ["order.*", "order.placed", "*"]
    assert find(GiftOrderPlaced) == ["*", OrderPlaced, Event]
    assert find(GiftOrderPlaced, Payment) == ["*", Event]
    assert find(7) == ["*", Event]
    assert find("unknown", int) == ["*"]


def test_looking_up_a_class_uses_its_name(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("order.*", listener)

    assert dispatcher.get_listeners(Named) == (listener,)
    assert [dispatcher.has_listeners(Named), dispatcher.has_listeners(OrderPlaced)] == [True, False]


def test_removing_takes_the_key_and_not_a_matching_name(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    keys = ("order.*", OrderPlaced, "*", 7)
    for key in keys:
        dispatcher.add_listener(key, listener)
    assert dispatcher.get_listeners() == dict.fromkeys(keys, (listener,))

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("order.placed", listener)
    for key in keys:
        dispatcher.remove_listener(key, listener)

    assert not dispatcher.has_listeners()


classes = st.sampled_from([Event, OrderPlaced, GiftOrderPlaced, Payment, Named, FrozenSlotted, object, int])
keys = st.one_of(names.filter(lambda name: "*" not in name), patterns, classes, st.integers(0, 2))


@given(
    st.lists(st.tuples(keys, st.integers(-1, 1)), max_size=8), st.one_of(dispatched_names, st.integers(0, 2)), classes
)
async def test_lookups_and_dispatches_are_as_the_reference_says(
    registered: list[tuple[Hashable, int]], name: Hashable, event_class: type[Any]
) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()
    for key, priority in registered:
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, (key, priority)), priority=priority)
    found = len(dispatcher.get_listeners(name, event_class))
    event = event_class()

    await dispatcher.adispatch(name, event)

    wanted = [(key, priority) for key, priority in registered if key_matches(key, name, event_class)]
    assert log == sorted(wanted, key=lambda entry: entry[1])
    assert found == len(log)
    assert dispatcher.has_listeners(name, event_class) is bool(log)


# Several keys as one


def test_several_keys_are_not_the_tuple_of_them() -> None:
    dispatcher, log = EventDispatcher(), []
    dispatcher.add_listener(("placed", 7), lambda event: log.append("the tuple"))
    dispatcher.listen(7, "placed")(lambda event: log.append("any of them"))

    for name in ("placed", ("placed", 7), 7):
        dispatcher.dispatch(name, Event())

    assert log == ["any of them", "the tuple", "any of them"]


async def test_a_stream_of_two_names_differs_from_their_tuple() -> None:
    dispatcher = AsyncEventDispatcher()
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener(("placed", 7), listener)

    async with dispatcher.stream(7, "placed", max_buffer_size=3) as stream:
        event = await dispatcher.adispatch("placed")
        assert dispatcher.get_listeners(("placed", 7)) == (listener,)
        assert dispatcher.has_listeners("placed")
        assert await anext(stream) is event
