"""Rule 5: names, patterns and classes as keys, in one order, nobody twice, through a cache that stays small."""

from __future__ import annotations

import gc
import weakref
from abc import ABC
from collections.abc import Hashable, Sized
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon._registry.caches import MAX_CACHED_CLASSES_PER_NAME, MAX_CACHED_NAMES_WITHOUT_LISTENERS
from antiphon._registry.keys import AnyOf, get_matcher
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener
from tests.listening.reference_model import hears, hears_pattern
from tests.naming import without_address


class OrderPlaced(Event): ...


class Carol(OrderPlaced): ...


class Psalm(Event): ...


def listening(dispatcher: AnyDispatcher, *keys: Hashable) -> list[Any]:
    """Register a listener for each key, and give the log in which each notes its key."""
    log: list[Any] = []
    for key in keys:
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))
    return log


def plans_of(dispatcher: AnyDispatcher) -> int:
    return sum(len(by_class) for by_class in dispatcher._registry.cached_plans.values())


# Patterns against a naive matcher


segments = st.sampled_from(["a", "b", "", "aa", "*", "**"])
patterns = st.lists(segments, min_size=1, max_size=6).map(".".join).filter(lambda pattern: "*" in pattern)
names = st.lists(st.sampled_from(["a", "b", "", "aa", "*", "**"]), min_size=1, max_size=6).map(".".join)
ANY_NUMBER_OF_SEGMENTS = ("**", "**.**", "a.**", "**.a", "a.**.b", "**.a.**", "*.**", "**.*", "**.*.**", "a.*.**.b")


@settings(max_examples=200)
@given(patterns, names)
@example("a.**", "a")
@example("**.a", "a")
@example("a.**.b", "a.b")
@example("*.**", "a")
@example("*", "a.b")
@example("**", "")
@example("a.*", "a.")
@example("**.*.**", "")
def test_a_pattern_matches_as_a_naive_matcher_says(pattern: str, name: str) -> None:
    matches = get_matcher(pattern)
    assert matches is not None

    assert matches(name, Event) == hears_pattern(pattern, name)


@pytest.mark.parametrize("pattern", ANY_NUMBER_OF_SEGMENTS)
def test_a_pattern_matches_as_a_naive_matcher_says_for_all_short_names(pattern: str) -> None:
    matches = get_matcher(pattern)
    assert matches is not None
    short = ["", "a", "b", "a.a", "a.b", "b.a", "b.b", ".", "a.", ".a", "a.a.a", "a.b.a", "b.a.b", "a.x.y.b", "..."]

    assert [name for name in short if matches(name, Event)] == [name for name in short if hears_pattern(pattern, name)]


@given(st.lists(patterns, max_size=5), names)
async def test_a_dispatch_reaches_every_pattern_that_matches(registered: list[str], name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    log = listening(dispatcher, *registered)

    await dispatcher.adispatch(name)

    assert log == [pattern for pattern in registered if hears_pattern(pattern, name)]


def test_a_long_pattern_takes_no_exponential_time() -> None:
    dispatcher = EventDispatcher()
    log = listening(dispatcher, ".".join(["**", "a"] * 30) + ".b")

    dispatcher.dispatch(".".join(["a"] * 300))
    dispatcher.dispatch(".".join(["a"] * 300 + ["b"]))

    assert len(log) == 1


@pytest.mark.parametrize("pattern", ["a*", "*a", "a.b*", "***", "a.***", "**a.b", "* ", "a.*.b*c"])
def test_a_star_that_is_a_part_of_a_segment_is_refused_at_every_door(dispatcher: AnyDispatcher, pattern: str) -> None:
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

    assert not dispatcher.has_listeners()


async def test_a_name_may_contain_a_star_and_is_no_pattern_then(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "a.b", "a.*", "*")

    await dispatcher.adispatch("a*b", Event())
    await dispatcher.adispatch("a.*", Event())

    assert log == ["*", "a.*", "*"]


async def test_a_star_alone_hears_nameless_events_and_names_that_are_no_strings(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "*", "**", "*.*")

    for name in (7, (1, "two"), None, b"bytes", object()):
        await (dispatcher.adispatch(Event()) if name is None else dispatcher.adispatch(name, Event()))

    assert log == ["*"] * 5


class Part(StrEnum):
    SOPRANO = "part.soprano"


async def test_a_member_of_a_string_enum_is_matched_by_its_value(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "part.*", Part.SOPRANO, "part.soprano")

    await dispatcher.adispatch(Part.SOPRANO, Event())

    assert log == ["part.*", Part.SOPRANO, "part.soprano"]


# Classes


async def test_a_class_hears_events_of_itself_and_of_its_subclasses(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, Event, OrderPlaced, Carol, Psalm, object)

    await dispatcher.adispatch(OrderPlaced())

    assert log == [Event, OrderPlaced, object]


@pytest.mark.parametrize("name", ["hymn", 7, (1, 2), Part.SOPRANO, Psalm], ids=repr)
async def test_a_class_hears_its_events_under_any_name(dispatcher: AnyDispatcher, name: Any) -> None:
    log = listening(dispatcher, OrderPlaced)

    await dispatcher.adispatch(name, Carol())

    assert log == [OrderPlaced]


async def test_a_class_as_a_name_reaches_no_listener_of_that_class(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, OrderPlaced)

    await dispatcher.adispatch(OrderPlaced, Psalm())

    assert log == []


async def test_an_abstract_base_class_hears_what_is_registered_with_it(dispatcher: AnyDispatcher) -> None:
    class Sung(ABC): ...

    Sung.register(OrderPlaced)
    log = listening(dispatcher, Sung, Sized)

    await dispatcher.adispatch(Carol())
    await dispatcher.adispatch(Psalm())
    await dispatcher.adispatch("list", [1, 2])

    assert log == [Sung, Sized]


async def test_a_protocol_of_methods_hears_what_has_them(dispatcher: AnyDispatcher) -> None:
    @runtime_checkable
    class Singable(Protocol):
        def sing(self) -> None: ...

    class OrderPlaced(Event):
        def sing(self) -> None: ...

    log = listening(dispatcher, Singable)

    await dispatcher.adispatch(OrderPlaced())
    await dispatcher.adispatch(Psalm())

    assert log == [Singable]


def test_a_class_that_cannot_tell_its_subclasses_is_refused(dispatcher: AnyDispatcher) -> None:
    class NotChecked(Protocol):
        def sing(self) -> None: ...

    @runtime_checkable
    class WithData(Protocol):
        pitch: int

    for key in (NotChecked, WithData):
        with pytest.raises(TypeError, match="@runtime_checkable"):
            dispatcher.add_listener(key, make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


def test_a_refused_key_is_refused_before_anything_is_registered_under_it_and_can_be_looked_up(
    dispatcher: AnyDispatcher,
) -> None:
    assert dispatcher.get_listeners("a*") == ()
    assert dispatcher.has_listeners("a*") is False


@pytest.mark.parametrize("key", [None, [], {}, {1}], ids=repr)
def test_what_is_no_key_is_refused(dispatcher: AnyDispatcher, key: Any) -> None:
    for use in (
        lambda: dispatcher.add_listener(key, make_listener(dispatcher, print)),
        lambda: dispatcher.listen(key),
        lambda: dispatcher.remove_listener(key, print),
    ):
        with pytest.raises(TypeError, match="key"):
            use()


async def test_a_class_key_whose_hook_registers_listeners_does_not_disturb_the_dispatch() -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    late: list[type] = [type(f"Late{number}", (), {}) for number in range(50)]

    class Eager(ABC):
        @classmethod
        def __subclasshook__(cls, candidate: type) -> Any:
            if late:
                dispatcher.add_listener(late.pop(), log.append)
            return True

    dispatcher.add_listener(Eager, log.append)
    dispatcher.add_listener(Psalm, log.append)
    event = dispatcher.dispatch("hymn", OrderPlaced())

    assert log == [event]


# One order


async def test_all_that_match_form_one_order_of_priority_then_registration(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    keys: list[Hashable] = [OrderPlaced, "praise.*", "praise.hymn", "*", Event, "**", object, "*.hymn"]
    entries = [(priority, number, key) for number, key in enumerate(keys) for priority in (1, -1, 0)]
    for priority, number, key in entries:
        dispatcher.add_listener(
            key, make_recording_listener(dispatcher, log, (priority, number, key)), priority=priority
        )

    await dispatcher.adispatch("praise.hymn", Carol())

    assert log == sorted(entries, key=lambda entry: entry[:2])


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_nobody_runs_twice_in_a_dispatch(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[Any]()
    dispatcher.add_listener("*", make_recording_listener(dispatcher, log, "star"))
    dispatcher.add_listener("**", make_recording_listener(dispatcher, log, "stars"))
    dispatcher.add_listener("*.*", make_recording_listener(dispatcher, log, "pair"))

    await dispatcher.adispatch("*.*")
    await dispatcher.adispatch("*")
    await dispatcher.adispatch("**")

    assert sorted(log) == sorted(["star", "stars", "pair", "star", "stars", "star", "stars"])


async def test_one_listener_under_several_keys_that_match_runs_for_each_of_its_registrations(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    for key in ("hymn", "*", OrderPlaced):
        dispatcher.add_listener(key, listener)

    await dispatcher.adispatch("hymn", OrderPlaced())

    assert log == ["sung"] * 3


# Dispatch by class alone


async def test_an_event_alone_reaches_class_keys_and_the_star(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "OrderPlaced", "hymn", "**", OrderPlaced, "*")

    event = OrderPlaced()
    assert await dispatcher.adispatch(event) is event
    assert log == [OrderPlaced, "*"]
    assert event.name is None


class Named(Event):
    name = "praise.named"


async def test_an_event_whose_class_has_a_name_is_dispatched_under_it(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "praise.named", "praise.*", Named, Part.SOPRANO)

    event = await dispatcher.adispatch(Named())

    assert log == ["praise.named", "praise.*", Named]
    assert event.name == "praise.named"


async def test_a_subclass_inherits_the_name_of_its_class_or_takes_it_away(dispatcher: AnyDispatcher) -> None:
    class Inherits(Named): ...

    class Nameless(Named):
        name = None  # type: ignore[assignment]  # no name of its own

    log = listening(dispatcher, "praise.named", Named)

    await dispatcher.adispatch(Inherits())
    await dispatcher.adispatch(Nameless())

    assert log == ["praise.named", Named, Named]


async def test_the_name_of_an_earlier_dispatch_is_not_used_again(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "hymn", OrderPlaced)

    event = await dispatcher.adispatch("hymn", OrderPlaced())
    await dispatcher.adispatch(event)

    assert log == ["hymn", OrderPlaced, OrderPlaced]
    assert event.name is None


async def test_a_given_name_goes_before_that_of_the_class(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "praise.named", "other")

    await dispatcher.adispatch("other", Named())

    assert log == ["other"]


async def test_a_class_alone_is_no_event(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError, match=r"OrderPlaced\(\.\.\.\)"):
        await dispatcher.adispatch(OrderPlaced)


# Kinds of events


@dataclass(frozen=True)
class FrozenEvent(Event):
    pitch: int = 440


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    pitch: int = 440
    name: str = "data"


class Slotted:
    __slots__ = ("pitch",)


class Pair(NamedTuple):
    name: str = "data"
    pitch: int = 440


BARE: list[Any] = [FrozenSlotted(), Slotted(), Pair(), "a string", 7, KeyError("gone"), object()]


async def test_a_frozen_dataclass_of_events_gets_full_service(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, FrozenEvent)
    dispatcher.add_listener(FrozenEvent, make_listener(dispatcher, Event.stop_propagation), priority=-1)

    event = await dispatcher.adispatch("hymn", FrozenEvent())

    assert log == []
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("hymn", dispatcher, True)


@pytest.mark.parametrize("event", BARE, ids=without_address)
async def test_any_object_can_be_dispatched_under_a_name(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[Any] = []
    keys: list[Any] = [type(event), object, "hymn"]
    for key in keys:
        dispatcher.add_listener(key, make_listener(dispatcher, log.append))

    assert await dispatcher.adispatch("hymn", event) is event
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

    base = msgspec.defstruct("Base", [("pitch", int)], **options)
    derived = msgspec.defstruct("Derived", [("part", str)], bases=(base,))
    event = derived(pitch=440, part="soprano")
    log = listening(dispatcher, base, derived, Event, "hymn")

    assert await dispatcher.adispatch(event) is event
    assert await dispatcher.adispatch("hymn", event) is event
    assert log == [base, derived, base, derived, "hymn"]
    assert event == derived(pitch=440, part="soprano")


# Looking up


def test_get_listeners_of_a_name_tells_all_that_would_run(dispatcher: AnyDispatcher) -> None:
    listeners = {
        key: make_listener(dispatcher, print) for key in ("praise.*", "praise.hymn", "*", OrderPlaced, Event, "other")
    }
    for key, listener in listeners.items():
        dispatcher.add_listener(key, listener)

    def heard(*arguments: Any) -> list[Any]:
        found = dispatcher.get_listeners(*arguments)
        return [key for key, listener in listeners.items() if listener in found]

    assert heard("praise.hymn") == ["praise.*", "praise.hymn", "*", Event]
    assert heard("praise.hymn", OrderPlaced) == ["praise.*", "praise.hymn", "*", OrderPlaced, Event]
    assert heard("praise.hymn", object) == ["praise.*", "praise.hymn", "*"]
    assert heard(Carol) == ["*", OrderPlaced, Event]
    assert heard(Carol, Psalm) == ["*", Event]
    assert heard(7) == ["*", Event]
    assert heard("unknown", int) == ["*"]


def test_get_listeners_of_a_class_uses_the_name_that_the_class_has(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("praise.*", listener)

    assert dispatcher.get_listeners(Named) == (listener,)
    assert dispatcher.has_listeners(Named)
    assert not dispatcher.has_listeners(OrderPlaced)


@pytest.mark.parametrize("key", ["praise.*", "**", "*", Event, object])
def test_has_listeners_sees_wide_keys(dispatcher: AnyDispatcher, key: Any) -> None:
    dispatcher.add_listener(key, make_listener(dispatcher, print))

    assert dispatcher.has_listeners("praise.hymn")
    assert dispatcher.has_listeners()


def test_get_listeners_without_a_name_lists_wide_keys_as_they_are(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    keys = ("praise.*", OrderPlaced, "*", 7)
    for key in keys:
        dispatcher.add_listener(key, listener)

    assert dispatcher.get_listeners() == dict.fromkeys(keys, (listener,))


def test_removing_takes_the_key_it_was_registered_under_and_no_name_that_it_matches(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("praise.*", listener)

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("praise.hymn", listener)
    dispatcher.remove_listener("praise.*", listener)

    assert not dispatcher.has_listeners()


classes = st.sampled_from([Event, OrderPlaced, Carol, Psalm, Named, FrozenSlotted, object, int])
keys = st.one_of(names.filter(lambda name: "*" not in name), patterns, classes, st.integers(0, 2))


@given(st.lists(st.tuples(keys, st.integers(-1, 1)), max_size=8), st.one_of(names, st.integers(0, 2)), classes)
async def test_who_is_looked_up_is_who_runs(
    registered: list[tuple[Hashable, int]], name: Hashable, event_class: type[Any]
) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()
    for key, priority in registered:
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, (key, priority)), priority=priority)
    found = len(dispatcher.get_listeners(name, event_class))
    event = event_class()

    await dispatcher.adispatch(name, event)

    wanted = [(key, priority) for key, priority in registered if hears(key, name, event_class)]
    assert log == sorted(wanted, key=lambda entry: entry[1])
    assert found == len(log)
    assert dispatcher.has_listeners(name, event_class) is bool(log)


# Cached plans


WIDE: list[Any] = [
    "praise.*",
    "**",
    "*",
    OrderPlaced,
    Event,
    object,
    AnyOf(("praise.hymn", Psalm)),
    AnyOf(("other", "*.*")),
]


@pytest.mark.parametrize("key", [*WIDE, "praise.hymn"], ids=repr)
async def test_adding_and_removing_a_key_counts_at_once_for_plans_that_were_made_before(
    dispatcher: AnyDispatcher, key: Any
) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "heard")

    async def heard() -> int:
        log.clear()
        await dispatcher.adispatch("praise.hymn", Carol())
        return len(log)

    counts = [await heard()]
    subscription = dispatcher.add_listener(key, listener)
    counts.append(await heard())
    dispatcher.add_listener(key, listener)
    counts.append(await heard())
    subscription.unsubscribe()
    counts.append(await heard())
    dispatcher.remove_listener(key, listener)
    counts.append(await heard())

    assert counts == [0, 1, 2, 1, 0]


@pytest.mark.parametrize("key", WIDE, ids=repr)
async def test_a_once_listener_of_a_wide_key_is_called_once_over_all_names(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    for name in ("praise.hymn", "other", "praise.other"):
        await dispatcher.adispatch(name, Carol())
    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "heard"), once=True)

    for name in ("praise.hymn", "other", "praise.other") * 2:
        await dispatcher.adispatch(name, Carol())

    assert log == ["heard"]


def test_several_keys_as_one_are_not_the_name_that_is_a_tuple_of_them() -> None:
    dispatcher, log = EventDispatcher(), []
    dispatcher.add_listener(("hymn", "psalm"), lambda event: log.append("the tuple"))
    dispatcher.add_listener(AnyOf(("hymn", "psalm")), lambda event: log.append("any of them"))

    for name in ("hymn", ("hymn", "psalm"), "psalm"):
        dispatcher.dispatch(name, Event())

    assert log == ["any of them", "the tuple", "any of them"]


async def test_a_stream_of_two_names_hears_them_although_their_tuple_is_a_name_too() -> None:
    dispatcher = AsyncEventDispatcher()
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener(("hymn", "psalm"), listener)

    async with dispatcher.stream("hymn", "psalm", max_buffer_size=3) as stream:
        event = await dispatcher.adispatch("hymn")
        assert dispatcher.get_listeners(("hymn", "psalm")) == (listener,)
        assert dispatcher.has_listeners("hymn")
        assert await anext(stream) is event


@pytest.mark.parametrize("key", [None, "user.*.left", "user.*.joined", "*", Event], ids=str)
def test_ever_new_names_fill_no_memory(dispatcher: AnyDispatcher, key: Hashable) -> None:
    if key is not None:
        dispatcher.add_listener(key, make_listener(dispatcher, print))

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 4):
        dispatcher._get_cached_plan(f"user.{number}.joined", Event())

    assert plans_of(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert len(dispatcher._registry._caches._names_without_listeners) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


def test_twenty_thousand_names_that_a_pattern_hears_fill_no_memory() -> None:
    dispatcher, event = EventDispatcher(), Event()
    dispatcher.add_listener("user.*", id)

    for number in range(20_000):
        dispatcher.dispatch(f"user.{number}", event)

    assert plans_of(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


@pytest.mark.parametrize("name", ["hymn", None], ids=["under a name", "alone"])
def test_ever_new_classes_fill_no_memory(dispatcher: AnyDispatcher, name: Hashable) -> None:
    dispatcher.add_listener(OrderPlaced, make_listener(dispatcher, print))

    for number in range(MAX_CACHED_CLASSES_PER_NAME * 2 + 10):
        dispatcher._get_cached_plan(name, type(f"OrderPlaced{number}", (OrderPlaced,), {})())

    assert plans_of(dispatcher) <= MAX_CACHED_CLASSES_PER_NAME


def test_ever_new_names_of_many_classes_fill_no_memory(dispatcher: AnyDispatcher) -> None:
    many = [type(f"OrderPlaced{number}", (OrderPlaced,), {})() for number in range(40)]

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS // 4):
        for event in many:
            dispatcher._get_cached_plan(f"user.{number}", event)

    assert plans_of(dispatcher) <= 4 * max(MAX_CACHED_CLASSES_PER_NAME, MAX_CACHED_NAMES_WITHOUT_LISTENERS)


async def test_all_still_hear_after_the_cache_was_emptied(dispatcher: AnyDispatcher) -> None:
    log = listening(dispatcher, "praise.*", "praise.hymn", OrderPlaced)
    await dispatcher.adispatch("praise.hymn", Carol())
    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 2):
        dispatcher._get_cached_plan(number, Event())
    for number in range(MAX_CACHED_CLASSES_PER_NAME * 2):
        dispatcher._get_cached_plan("praise.hymn", type(f"Event{number}", (Event,), {})())

    await dispatcher.adispatch("praise.hymn", Carol())

    assert log == ["praise.*", "praise.hymn", OrderPlaced] * 2


def test_an_event_class_that_is_gone_is_not_kept_once_its_name_has_no_listener(dispatcher: AnyDispatcher) -> None:
    event = type("Ephemeral", (Event,), {})()
    witness = weakref.ref(type(event))
    with dispatcher.add_listener("hymn", make_listener(dispatcher, print)):
        dispatcher._get_cached_plan("hymn", event)
    del event
    gc.collect()

    assert witness() is None


def test_a_class_key_that_is_gone_is_not_kept(dispatcher: AnyDispatcher) -> None:
    key: Any = type("Ephemeral", (Event,), {})
    witness = weakref.ref(key)
    with dispatcher.add_listener(key, make_listener(dispatcher, print)):
        dispatcher._get_cached_plan("hymn", key())
    del key
    gc.collect()

    assert witness() is None
