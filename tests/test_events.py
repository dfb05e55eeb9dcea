"""Rule 8: what an event object lets a dispatch do with it, and what is left of that in copies of it."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from collections import namedtuple
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, TypeVar
from unittest.mock import MagicMock, Mock, create_autospec

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests.helpers import make_listener, make_recording_listener

T = TypeVar("T")

CPYTHON = pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython frees objects at once")


# Before a dispatch


class Silent(Event):
    """Its constructor does not call the one of its base class."""

    def __init__(self, text: str = "") -> None:
        self.text = text


@dataclass
class Mutable(Event):
    number: int = 0


@dataclass(frozen=True)
class Frozen(Event):
    number: int = 0


@dataclass(slots=True)
class Slotted(Event):
    number: int = 0


@dataclass(frozen=True, slots=True)
class FrozenSlotted(Event):
    number: int = 0


@dataclass(frozen=True, kw_only=True, order=True, unsafe_hash=True)
class Hashed(Event):
    number: int = 0


class Guarded(Event):
    """Refuses attributes that it does not know."""

    def __init__(self) -> None:
        object.__setattr__(self, "number", 0)

    def __setattr__(self, attribute: str, value: object) -> None:
        raise AttributeError(f"{attribute} is not to be set")


class Generous(Event):
    """Has any attribute that one asks for."""

    def __getattr__(self, attribute: str) -> str:
        return attribute


class Strict(Event):
    """Looks up what it does not have, and fails in its own way."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def __getattr__(self, attribute: str) -> Any:
        return self.known[attribute]


class Signing(Event):
    """Says in each message who it is."""

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(f"{self.name} of {self.dispatcher} has no {attribute}")


class Attentive(Event):
    """Sees to each of its attributes."""

    def __getattribute__(self, attribute: str) -> Any:
        return object.__getattribute__(self, attribute)


class Tagged(Generic[T], Event):
    """Is generic, and takes arguments of its class."""

    def __init_subclass__(cls, tag: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.tag = tag


class Tag(Tagged[int], tag="of a class"):
    pass


class Named(Event):
    name = "order.placed"


class Naming:
    """Names the events of those that mix it in."""

    name = "order.placed"


class NamedByAnother(Naming, Event):
    pass


class Reticent(Event):
    """Does not tell its base of its subclasses."""

    def __init_subclass__(cls) -> None:
        pass


class NamedInSilence(Reticent):
    name = "order.placed"


class NamedLater(Event):
    pass


NamedLater.name = "order.placed"


@dataclass
class WithName(Event):
    name: str = "order.placed"


@dataclass(frozen=True)
class FrozenWithName(Event):
    name: str = "order.placed"


@dataclass(slots=True)
class SlottedWithName(Event):
    name: str = "order.placed"


@dataclass
class WithNameField(Event):
    name: str = field(default="order.placed", repr=False)


class Uncomparable(Event):
    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __eq__(self, other: object) -> bool:
        raise TypeError("events are not compared")


class FalseEvent(Event):
    def __bool__(self) -> bool:
        return False


class ByProperties(Event):
    """Keeps the three attributes elsewhere."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {"name": None, "dispatcher": None, "stopped": False}

    @property
    def name(self) -> Any:
        return self.kept["name"]

    @name.setter
    def name(self, value: Any) -> None:
        self.kept["name"] = value

    @property
    def propagation_stopped(self) -> bool:
        return bool(self.kept["stopped"])

    @propagation_stopped.setter
    def propagation_stopped(self, value: bool) -> None:
        self.kept["stopped"] = value


class Quacking:
    """whistle's IEvent, written by hand."""

    name: Any = None
    dispatcher: Any = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class QuackingWithSlots:
    __slots__ = ("__weakref__", "dispatcher", "name", "propagation_stopped")

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


@dataclass(frozen=True)
class QuackingFrozen:
    number: int = 0

    def stop_propagation(self) -> None:
        object.__setattr__(self, "propagation_stopped", True)


class QuackingByProperty:
    def __init__(self) -> None:
        self.marks: list[bool] = []

    @property
    def propagation_stopped(self) -> bool:
        return bool(self.marks and self.marks[-1])

    @propagation_stopped.setter
    def propagation_stopped(self, value: bool) -> None:
        self.marks.append(value)

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


OURS: list[Callable[[], Any]] = [
    Event,
    Silent,
    Mutable,
    Frozen,
    Slotted,
    FrozenSlotted,
    Hashed,
    Guarded,
    Generous,
    Uncomparable,
    FalseEvent,
    ByProperties,
]
#: Their class says that their name is order.placed.
NAMED: list[Callable[[], Any]] = [
    Named,
    NamedByAnother,
    NamedInSilence,
    NamedLater,
    WithName,
    FrozenWithName,
    SlottedWithName,
    WithNameField,
]
OURS += [Strict, Signing, Attentive, Tag, *NAMED]
QUACKING: list[Callable[[], Any]] = [Quacking, QuackingWithSlots, QuackingFrozen, QuackingByProperty]


def kinds(events: list[Callable[[], Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", events, ids=lambda kind: getattr(kind, "__name__", repr(kind)))


def test_the_attributes_can_be_read_before_a_dispatch() -> None:
    event = Event()

    assert (event.name, event.dispatcher, event.propagation_stopped) == (None, None, False)


def test_the_attributes_can_be_read_without_the_constructor_of_the_base_class() -> None:
    event = Silent("text")

    assert (event.name, event.dispatcher, event.propagation_stopped) == (None, None, False)


def test_the_attributes_can_be_read_on_the_class() -> None:
    assert (Event.name, Event.dispatcher, Event.propagation_stopped) == (None, None, False)


def test_a_class_may_name_its_events() -> None:
    class Placed(Event):
        name = "order.placed"

    assert (Placed.name, Placed().name) == ("order.placed", "order.placed")


@kinds(NAMED)
async def test_a_name_of_the_class_is_shown_until_there_is_another(kind: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(), kind()
    heard: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: heard.append(event.name)))

    before = event.name
    await dispatcher.adispatch("hymn", event)

    assert (before, heard, event.name, kind().name) == ("order.placed", ["hymn"], "hymn", "order.placed")


@pytest.mark.skipif(find_spec("attrs") is None, reason="attrs is not installed")
@pytest.mark.parametrize("options", [{}, {"slots": False}, {"frozen": True}], ids=repr)
async def test_a_class_made_by_attrs_keeps_its_fields(options: dict[str, Any]) -> None:
    import attrs

    @attrs.define(**options)
    class Placed(Event):
        name: str = "order.placed"
        number: int = attrs.field(default=1)

    dispatcher, event = AsyncEventDispatcher(), Placed("hymn", 2)
    before = (event.name, event.number, Placed().name)
    await dispatcher.adispatch("psalm", event)

    assert (before, event.name) == (("hymn", 2, "order.placed"), "psalm")


@pytest.mark.skipif(find_spec("pydantic") is None, reason="pydantic is not installed")
async def test_a_model_that_is_an_event_is_stopped_by_assignment() -> None:
    import pydantic

    class Placed(pydantic.BaseModel, Event):
        number: int = 1

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []

    def stop(event: Any) -> None:
        event.propagation_stopped = True

    dispatcher.add_listener("hymn", make_listener(dispatcher, stop))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "later"))
    event = await dispatcher.adispatch("hymn", Placed())

    assert (log, event.name, event.propagation_stopped) == ([], "hymn", True)


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Race()], ids=repr)
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
async def test_a_mock_and_a_proxy_are_treated_as_what_they_stand_for(pretend: Any, strategy: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(strategy=strategy), Event()
    pretended = pretend(event)
    log: list[Any] = []

    def stop(event: Any) -> None:
        event.propagation_stopped = True

    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: log.append((event.name, event.dispatcher))))
    dispatcher.add_listener(Event, make_listener(dispatcher, stop), priority=1)
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "later"), priority=2)
    await dispatcher.adispatch("hymn", pretended)

    assert log == [("hymn", dispatcher)]
    assert pretended.propagation_stopped is True


async def test_a_property_is_not_asked_by_a_dispatch() -> None:
    class Failing(Event):
        @property
        def name(self) -> str:
            raise NotImplementedError

    dispatcher = AsyncEventDispatcher()
    event = await dispatcher.adispatch("hymn", Failing())

    assert event.dispatcher is dispatcher


def test_a_class_says_what_it_was_written_with_until_its_first_event_is_dispatched() -> None:
    said: list[Any] = []

    class Listed(Event):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            said.append(vars(cls).get("name"))

    class Placed(Listed):
        name = "order.placed"

    assert said == ["order.placed"]
    assert EventDispatcher().dispatch("hymn", Placed()).name == "hymn"


def test_a_class_whose_metaclass_guards_its_attributes_is_an_event() -> None:
    class Guarding(type):
        def __setattr__(cls, attribute: str, value: object) -> None:
            raise AttributeError(f"{attribute} is not to be set")

    class Naming(type):
        name = property(lambda cls: "of the class")

    class First(Event, metaclass=Guarding):
        name = "order.placed"

    class Second(Event, metaclass=Naming):
        name = "order.placed"

    for kind in (First, Second):
        assert EventDispatcher().dispatch("hymn", kind()).name == "hymn"


def test_what_is_an_event_and_could_be_a_name_is_an_event() -> None:
    class Text(str, Event):
        pass

    class Choice(Event, Enum):
        first = 1

    dispatcher = EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener(Event, log.append)

    for event in (Text("hymn"), Choice.first):
        assert dispatcher.dispatch(event) is event

    assert log == [Text("hymn"), Choice.first]


@kinds([Strict, Signing, Generous, Attentive])
def test_no_class_is_asked_for_what_it_does_not_have(kind: Any) -> None:
    event = kind()

    assert (event.name, event.dispatcher, event.propagation_stopped) == (None, None, False)


@kinds([Event, Silent, Frozen, Generous, Strict, *(kind for kind in NAMED if kind is not SlottedWithName)])
def test_an_attribute_may_be_set_and_deleted_as_any_other(kind: Any) -> None:
    event = kind()
    default = event.name

    object.__setattr__(event, "name", "psalm")
    object.__setattr__(event, "propagation_stopped", True)
    shown = (event.name, event.dispatcher, event.propagation_stopped)
    object.__delattr__(event, "name")
    object.__delattr__(event, "propagation_stopped")

    assert shown == ("psalm", None, True)
    assert (event.name, event.propagation_stopped) == (default, False)


async def test_a_name_that_a_listener_sets_stays() -> None:
    dispatcher = AsyncEventDispatcher()
    seen: list[Any] = []

    def rename(event: Any) -> None:
        event.name = "psalm"

    dispatcher.add_listener("hymn", make_listener(dispatcher, rename))
    dispatcher.add_listener(
        "hymn", make_listener(dispatcher, lambda event: seen.append((event.name, event.dispatcher)))
    )

    event = await dispatcher.adispatch("hymn", Event())
    again = await dispatcher.adispatch("hymn", Event())

    assert (event.name, again.name, seen) == ("psalm", "psalm", [("psalm", dispatcher)] * 2)


async def test_equal_names_are_shown_as_they_were_given() -> None:
    class Names(StrEnum):
        hymn = "hymn"

    dispatcher = AsyncEventDispatcher()
    names = ["hymn", Names.hymn, "".join(["hy", "mn"])]
    shown = [(await dispatcher.adispatch(name, Event())).name for name in names]
    stopping = [(await dispatcher.adispatch(name, Event(), strategy=Concurrent())).name for name in names]

    assert [type(name) for name in shown + stopping] == [str, Names, str] * 2
    assert shown == names


@kinds(OURS)
def test_events_have_a_dict(kind: Any) -> None:
    assert isinstance(kind().__dict__, dict)


async def test_a_dispatch_does_not_touch_the_class() -> None:
    class Placed(Event):
        name = "order.placed"

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))

    await dispatcher.adispatch("hymn", Placed())

    assert (Placed.name, Placed.dispatcher, Placed.propagation_stopped) == ("order.placed", None, False)


# Full service


@kinds([*OURS, Quacking, QuackingWithSlots, QuackingFrozen])
async def test_it_is_named_and_knows_its_dispatcher(kind: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(), kind()

    await dispatcher.adispatch("hymn", event)

    assert (event.name, event.dispatcher, event.propagation_stopped) == ("hymn", dispatcher, False)


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
@kinds(OURS + QUACKING)
async def test_it_can_be_stopped(kind: Any, strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "later"), priority=1)

    event = await dispatcher.adispatch("hymn", kind())

    assert (log, event.propagation_stopped) == ([], True)


@kinds(OURS + QUACKING)
def test_it_can_be_stopped_by_plain_functions(kind: Any) -> None:
    dispatcher = EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", lambda event: event.stop_propagation())
    dispatcher.add_listener("hymn", log.append)

    event = dispatcher.dispatch("hymn", kind())

    assert (log, event.propagation_stopped) == ([], True)


@kinds(OURS + QUACKING)
async def test_each_of_its_dispatches_starts_unstopped(kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))
    event = kind()

    for _ in range(2):
        await dispatcher.adispatch("hymn", event)

    assert log == ["heard", "heard"]


@kinds([*OURS, Quacking, QuackingWithSlots, QuackingFrozen])
async def test_a_nested_dispatch_of_it_puts_back_what_it_showed(kind: Any) -> None:
    dispatcher, seen = AsyncEventDispatcher(), []

    @dispatcher.listen("outer")
    async def nest(event: Any) -> None:
        await dispatcher.adispatch("inner", event)
        seen.append((event.name, event.propagation_stopped))

    dispatcher.add_listener("inner", make_listener(dispatcher, lambda event: event.stop_propagation()))
    await dispatcher.adispatch("outer", kind())

    assert seen == [("outer", False)]


async def test_a_property_without_a_setter_is_left_alone() -> None:
    class ReadOnly(Event):
        @property
        def name(self) -> str:
            return "mine"

    dispatcher = AsyncEventDispatcher()

    event = await dispatcher.adispatch("hymn", ReadOnly())

    assert (event.name, event.dispatcher) == ("mine", dispatcher)


def test_an_event_whose_name_is_a_property_has_no_name_of_its_class() -> None:
    class ReadOnly(Event):
        @property
        def name(self) -> str:
            return "mine"

    dispatcher = EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("mine", log.append)

    dispatcher.dispatch(ReadOnly())

    assert log == []


async def test_a_frozen_dataclass_stays_as_it_was_but_for_the_three() -> None:
    event = await AsyncEventDispatcher().adispatch("hymn", Frozen(7))

    assert (asdict(event), event == Frozen(7), hash(event)) == ({"number": 7}, True, hash(Frozen(7)))


async def test_a_duck_typed_event_gets_no_mark_beside_the_three() -> None:
    event = await AsyncEventDispatcher().adispatch("hymn", Quacking())

    assert sorted(vars(event)) == ["dispatcher", "name", "propagation_stopped"]


async def test_a_duck_typed_event_may_have_room_for_the_mark_alone() -> None:
    class Narrow:
        __slots__ = ("propagation_stopped",)

        def stop_propagation(self) -> None:
            self.propagation_stopped = True

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "later"))

    event = await dispatcher.adispatch("hymn", Narrow())

    assert (log, event.propagation_stopped, hasattr(event, "name")) == ([], True, False)


async def test_a_duck_typed_event_is_dispatched_alone_under_the_name_of_its_class() -> None:
    class Placed(Quacking):
        name = "order.placed"

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Placed())

    assert log == ["heard"]


# Bare


class SlottedObject:
    __slots__ = ("__weakref__", "number")


class PlainObject:
    pass


@dataclass(frozen=True)
class FrozenObject:
    number: int = 0


class QuackingInVain:
    """Can be told to stop, but has nowhere to remember it."""

    __slots__ = ()

    def stop_propagation(self) -> None: ...


class ReadOnlyMark:
    @property
    def propagation_stopped(self) -> bool:
        return False

    def stop_propagation(self) -> None: ...


Point = namedtuple("Point", "x y")

BARE: list[Any] = [
    SlottedObject,
    PlainObject,
    FrozenObject,
    QuackingInVain,
    ReadOnlyMark,
    lambda: Point(1, 2),
    object,
    SimpleNamespace,
    lambda: "text",
    lambda: {"key": "value"},
    lambda: [1, 2],
    lambda: 0,
    lambda: LookupError("an error"),
]

if find_spec("msgspec") is not None:
    import msgspec

    class Struct(msgspec.Struct):
        number: int = 0

    class FrozenStruct(msgspec.Struct, frozen=True):
        number: int = 0

    BARE += [Struct, FrozenStruct]
else:
    BARE.append(pytest.param(object, id="msgspec", marks=pytest.mark.skip("msgspec is not installed")))

if find_spec("pydantic") is not None:
    import pydantic

    class Model(pydantic.BaseModel):
        number: int = 0

    class FrozenModel(pydantic.BaseModel, frozen=True):
        number: int = 0

    BARE += [Model, FrozenModel]
else:
    BARE.append(pytest.param(object, id="pydantic", marks=pytest.mark.skip("pydantic is not installed")))


@kinds(BARE)
async def test_it_is_given_to_its_listeners(kind: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(), kind()
    given: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, given.append))

    assert await dispatcher.adispatch("hymn", event) is event
    assert given[0] is event


@kinds(BARE)
def test_it_is_given_to_plain_functions(kind: Any) -> None:
    dispatcher, event = EventDispatcher(), kind()
    given: list[Any] = []
    dispatcher.add_listener("hymn", given.append)

    assert dispatcher.dispatch("hymn", event) is event
    assert given[0] is event


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Race()], ids=repr)
@kinds(BARE)
async def test_nothing_is_set_on_it(kind: Any, strategy: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(strategy=strategy), kind()
    before = (copy.copy(getattr(event, "__dict__", None)), repr(event))
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None))

    await dispatcher.adispatch("hymn", event)

    assert (getattr(event, "__dict__", None), repr(event)) == before


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_a_mark_on_a_bare_event_stops_nobody(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    log: list[Any] = []

    def mark(event: Any) -> None:
        event.propagation_stopped = True

    dispatcher.add_listener("hymn", make_listener(dispatcher, mark))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"), priority=1)

    await dispatcher.adispatch("hymn", SimpleNamespace())

    assert log == ["heard"]


async def test_a_bare_event_may_be_dispatched_again_by_its_listener() -> None:
    dispatcher, log, event = AsyncEventDispatcher(), [], PlainObject()

    @dispatcher.listen("outer")
    async def nest(event: Any) -> None:
        await dispatcher.adispatch("inner", event)
        log.append("outer")

    dispatcher.add_listener("inner", make_recording_listener(dispatcher, log, "inner"))
    await dispatcher.adispatch("outer", event)

    assert log == ["inner", "outer"]


async def test_a_bare_event_is_dispatched_alone_under_the_name_of_its_class() -> None:
    @dataclass(frozen=True, slots=True)
    class Placed:
        number: int
        name: ClassVar[str] = "order.placed"

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Placed(7))

    assert log == ["heard"]


async def test_a_bare_event_may_be_named_by_an_enum_member() -> None:
    class Signal(Enum):
        PLACED = "order.placed"

    class Placed:
        name = Signal.PLACED

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener(Signal.PLACED, make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Placed())

    assert log == ["heard"]


async def test_a_field_called_name_is_data_and_no_name() -> None:
    @dataclass
    class Person:
        name: str = "Hildegard"

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("Hildegard", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Person())

    assert log == []


async def test_a_slot_called_name_is_data_and_no_name() -> None:
    class Person:
        __slots__ = ("name",)

        def __init__(self) -> None:
            self.name = "Hildegard"

    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("Hildegard", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Person())

    assert log == []


async def test_an_event_that_passes_itself_off_as_one_is_treated_alike_in_every_dispatch() -> None:
    dispatcher, first, second = AsyncEventDispatcher(), Mock(spec=Silent), Mock(spec=Silent)
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None))

    await dispatcher.adispatch("hymn", first)
    await dispatcher.adispatch("hymn", Silent())
    await dispatcher.adispatch("hymn", second)

    assert (first.name == "hymn") == (second.name == "hymn")


# Copies and pickles


@dataclass
class Numbered(Event):
    number: int = 0
    more: list[int] = field(default_factory=list)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda event: pickle.loads(pickle.dumps(event)),
    "pickle, protocol 2": lambda event: pickle.loads(pickle.dumps(event, protocol=2)),
}


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


@pytest.mark.parametrize("kind", [Numbered, Frozen, Slotted, FrozenSlotted, Silent], ids=lambda kind: kind.__name__)
def test_an_event_can_be_copied_before_a_dispatch(copied: Callable[[Any], Any], kind: Any) -> None:
    event = kind(7)

    twin = copied(event)

    assert type(twin) is kind
    assert (twin.name, twin.dispatcher, twin.propagation_stopped) == (None, None, False)


@pytest.mark.parametrize("kind", [Numbered, Frozen, Slotted, FrozenSlotted], ids=lambda kind: kind.__name__)
async def test_the_data_of_an_event_is_copied_after_a_dispatch(copied: Callable[[Any], Any], kind: Any) -> None:
    event = await AsyncEventDispatcher().adispatch("hymn", kind(7))

    assert copied(event) == event


async def test_a_copy_keeps_name_and_mark_and_leaves_the_dispatcher_behind(copied: Callable[[Any], Any]) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", make_listener(dispatcher, Event.stop_propagation))

    twin = copied(await dispatcher.adispatch("hymn", Numbered(7)))

    assert (twin.name, twin.dispatcher, twin.propagation_stopped) == ("hymn", None, True)


@pytest.mark.parametrize("kind", [Numbered, Frozen, Slotted, FrozenSlotted], ids=lambda kind: kind.__name__)
async def test_an_event_can_be_copied_by_its_listener(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher, twins = AsyncEventDispatcher(), []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: twins.append(copied(event))))

    event = await dispatcher.adispatch("hymn", kind(7))

    assert twins == [event]
    assert twins[0] is not event


async def test_a_copy_that_a_listener_dispatches_is_an_event_of_its_own(copied: Callable[[Any], Any]) -> None:
    dispatcher, twins = AsyncEventDispatcher(), []

    @dispatcher.listen("hymn")
    async def pass_on(event: Event) -> None:
        twins.append(await dispatcher.adispatch("psalm", copied(event)))

    dispatcher.add_listener("psalm", make_listener(dispatcher, Event.stop_propagation))
    event = await dispatcher.adispatch("hymn", Numbered(7))

    assert (event.name, event.propagation_stopped) == ("hymn", False)
    # Were it taken for an event under way, what it showed before would have been put back.
    assert (twins[0].name, twins[0].propagation_stopped) == ("psalm", True)


def test_a_state_of_its_own_is_left_to_the_class(copied: Callable[[Any], Any]) -> None:
    assert copied(WithState(7)).number == 8


class WithState(Event):
    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> int:
        return self.number

    def __setstate__(self, number: int) -> None:
        self.number = number + 1


async def test_a_state_that_a_class_gives_of_all_its_attributes_can_be_copied(copied: Callable[[Any], Any]) -> None:
    dispatcher = AsyncEventDispatcher(name="choir")

    event = await dispatcher.adispatch("hymn", WithAll())

    assert copied(event).name == "hymn"


class WithAll(Event):
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "dispatcher"}


@pytest.mark.parametrize("kind", [WithNameField, WithName, NamedLater], ids=lambda kind: kind.__name__)
async def test_a_name_that_a_listener_gave_is_copied(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    def rename(event: Any) -> None:
        event.name = "psalm"

    dispatcher.add_listener("hymn", make_listener(dispatcher, rename))
    event = await dispatcher.adispatch("hymn", kind())

    assert copied(event).name == "psalm"


def test_a_copy_of_a_duck_typed_event_in_flight_is_an_event_of_its_own() -> None:
    dispatcher, twins = EventDispatcher(), []
    dispatcher.add_listener("hymn", lambda event: twins.append(dispatcher.dispatch("psalm", copy.copy(event))))
    dispatcher.add_listener("psalm", lambda event: event.stop_propagation())

    event = dispatcher.dispatch("hymn", Quacking())

    assert (event.name, event.propagation_stopped) == ("hymn", False)
    assert (twins[0].name, twins[0].propagation_stopped) == ("psalm", True)


# What is kept of an event


@CPYTHON
@pytest.mark.parametrize("kind", [Event, Frozen, Quacking, SlottedObject], ids=lambda kind: kind.__name__)
async def test_nothing_of_the_house_keeps_an_event_after_its_dispatch(kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None))
    gc.disable()
    try:
        event = await dispatcher.adispatch("hymn", kind())
        reference = weakref.ref(event)
        del event
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [Event, Frozen, Quacking], ids=lambda kind: kind.__name__)
async def test_nothing_of_the_house_keeps_an_event_whose_dispatch_failed(kind: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn")
    async def fail(event: Any) -> None:
        raise LookupError

    event = kind()
    reference = weakref.ref(event)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("hymn", event)
    del event
    gc.collect()

    assert reference() is None


def test_events_compare_by_identity_unless_their_class_says_otherwise() -> None:
    assert (Event() == Event(), Frozen(7) == Frozen(7)) == (False, True)
