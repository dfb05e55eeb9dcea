"""Rule 8: the user's data wins. A dispatch never writes a ``name`` or ``dispatcher`` that is data of an event."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon._events.attributes import _external_infos
from tests.data_events import (
    DATA_EVENTS,
    FIELDS,
    REQUIRED,
    FrozenStruct,
    Model,
    Mutable,
    NamedByItsClass,
    Plain,
    StrictModel,
    Struct,
    get_fields,
)
from tests.event_kinds import kinds
from tests.helpers import AnyDispatcher, make_listener

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda event: pickle.loads(pickle.dumps(event)),
    "pickle, protocol 2": lambda event: pickle.loads(pickle.dumps(event, protocol=2)),
}
STRATEGIES = [Sequential(), Sequential(errors="collect"), Concurrent(), Race()]


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return COPIES[request.param]


@pytest.fixture(autouse=True)
def _no_shadow_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute in parent", category=UserWarning)
        yield


def make(kind: Any) -> Any:
    return kind(**FIELDS)


def is_hashable(kind: Any) -> bool:
    try:
        hash(make(kind))
    except TypeError:
        return False
    return True


async def expect_name(dispatcher: AnyDispatcher, event: Any, *arguments: Any) -> Any:
    """Dispatch an event; return the name under which a waiting task received it."""
    assert isinstance(dispatcher, AsyncEventDispatcher)
    async with dispatcher.expect("*") as expected:
        await dispatcher.adispatch(*arguments, event)
    assert expected.event is event
    return expected.name


# Fields


@kinds(REQUIRED)
@pytest.mark.parametrize("missing", FIELDS)
def test_a_field_without_a_default_is_required(kind: Any, missing: str) -> None:
    with pytest.raises((TypeError, ValueError), match=missing):
        kind(**{name: value for name, value in FIELDS.items() if name != missing})


@kinds(REQUIRED)
@pytest.mark.parametrize("missing", FIELDS)
async def test_a_subclass_requires_the_field_after_a_dispatch_too(kind: Any, missing: str) -> None:
    await AsyncEventDispatcher().adispatch("user.created", make(kind))
    subclass = type(kind)("Subclass", (kind,), {"__annotations__": {}, "__module__": __name__})

    with pytest.raises((TypeError, ValueError), match=missing):
        subclass(**{name: value for name, value in FIELDS.items() if name != missing})


@kinds(DATA_EVENTS)
async def test_a_dispatch_writes_no_data(dispatcher: AnyDispatcher, kind: Any) -> None:
    event, twin, seen = make(kind), make(kind), list[Any]()
    before = (repr(event), event == twin)
    dispatcher.add_listener("*", make_listener(dispatcher, lambda event: seen.append(get_fields(event))))

    for arguments in (("user.created", event), (event,), ("user.renamed", event)):
        await dispatcher.adispatch(*arguments)

    assert [*seen, get_fields(event)] == [FIELDS] * 4
    # The repr of a plain event has the name of the last dispatch.
    assert (repr(event).replace("'user.renamed' ", ""), event == twin) == before


@kinds([kind for kind in DATA_EVENTS if is_hashable(kind)])
async def test_a_dispatch_keeps_the_hash(kind: Any) -> None:
    event = make(kind)
    before = hash(event)

    await AsyncEventDispatcher().adispatch("user.created", event)

    assert hash(event) == before


@kinds(DATA_EVENTS)
async def test_nested_dispatches_write_no_data(dispatcher: AnyDispatcher, kind: Any) -> None:
    inner, event, seen = EventDispatcher(), make(kind), list[Any]()
    inner.add_listener("user.stored", Event.stop_propagation)

    def nest(event: Any) -> None:
        inner.dispatch("user.stored", event)
        seen.append((event.propagation_stopped, get_fields(event)))

    dispatcher.add_listener("user.created", make_listener(dispatcher, nest))
    await dispatcher.adispatch("user.created", event)

    assert seen == [(False, FIELDS)]
    assert get_fields(event) == FIELDS


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@kinds(DATA_EVENTS)
async def test_an_event_with_data_can_be_stopped(kind: Any, strategy: Any) -> None:
    dispatcher, log, event = AsyncEventDispatcher(strategy=strategy), list[str](), make(kind)

    @dispatcher.listen("user.created")
    async def stop(event: Event) -> None:
        log.append("called")
        event.stop_propagation()

    @dispatcher.listen("user.created", priority=1)
    async def never(event: Event) -> None:
        log.append("later")

    for _ in range(2):
        assert (await dispatcher.adispatch("user.created", event)).propagation_stopped is True
    assert log == ["called", "called"]


@kinds([Mutable, Model, Struct, Plain])
async def test_the_mark_can_be_assigned(kind: Any) -> None:
    dispatcher, log = EventDispatcher(), list[Any]()

    @dispatcher.listen("user.created")
    def stop(event: Any) -> None:
        event.propagation_stopped = True

    dispatcher.add_listener("user.created", log.append, priority=1)

    assert dispatcher.dispatch("user.created", make(kind)).propagation_stopped is True
    assert log == []


@kinds(DATA_EVENTS)
async def test_what_waits_receives_the_name_of_the_dispatch(kind: Any) -> None:
    dispatcher, event = AsyncEventDispatcher(), make(kind)

    assert await expect_name(dispatcher, event, "user.created") == "user.created"
    assert await expect_name(dispatcher, event) == ("order.placed" if kind is NamedByItsClass else None)


# Copies


@kinds(DATA_EVENTS)
async def test_copies_keep_the_data_and_the_mark(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher, event, twins = AsyncEventDispatcher(), make(kind), list[Any]()
    fresh = copied(event)

    @dispatcher.listen("user.created")
    async def stop(event: Any) -> None:
        twins.append(copied(event))
        event.stop_propagation()

    await dispatcher.adispatch("user.created", event)
    twins.append(copied(event))

    assert [get_fields(twin) for twin in (fresh, *twins)] == [FIELDS] * 3
    assert [twin.propagation_stopped for twin in (fresh, *twins)] == [False, False, True]
    assert all(type(twin) is kind and twin is not event for twin in (fresh, *twins))
    assert [await expect_name(AsyncEventDispatcher(), twin, "again") for twin in twins] == ["again"] * 2


class ModelWithoutName(pydantic.BaseModel, Event):
    number: int = 7


class StructWithoutName(msgspec.Struct, Event):
    number: int = 7


@attrs.define
class AttrsWithoutName(Event):
    number: int = 7


@dataclass(frozen=True, slots=True)
class FrozenWithoutName(Event):
    number: int = 7


class ErrorWithoutName(Event, ValueError): ...


WITHOUT_NAME: list[Any] = [ModelWithoutName, StructWithoutName, AttrsWithoutName, FrozenWithoutName, ErrorWithoutName]


@kinds(WITHOUT_NAME)
async def test_copies_keep_the_name_but_not_the_dispatcher(copied: Callable[[Any], Any], kind: Any) -> None:
    dispatcher, event, twins = AsyncEventDispatcher(), kind(), list[Any]()
    dispatcher.add_listener("user.created", make_listener(dispatcher, lambda event: twins.append(copied(event))))
    await dispatcher.adispatch("user.created", event)
    twins.append(copied(event))

    assert (event.name, event.dispatcher) == ("user.created", dispatcher)
    assert [(twin.name, twin.dispatcher) for twin in twins] == [("user.created", None)] * 2
    other = AsyncEventDispatcher()
    await other.adispatch("user.stored", twins[0])
    assert (twins[0].name, twins[0].dispatcher) == ("user.stored", other)


def test_a_copied_model_does_not_keep_the_dispatcher() -> None:
    event = EventDispatcher().dispatch("user.created", ModelWithoutName())

    assert event.model_copy().dispatcher is None
    assert event.model_copy(update={"number": 8}).dispatcher is None


def test_a_class_may_define_its_own_copy() -> None:
    class Copied(ModelWithoutName):
        def __copy__(self) -> Any:
            return "own"

    assert copy.copy(EventDispatcher().dispatch("user.created", Copied())) == "own"


# What models show


def test_a_model_shows_no_attribute_of_a_dispatch() -> None:
    event: Any = EventDispatcher().dispatch("user.created", make(Model))

    assert list(Model.model_fields) == [*FIELDS]
    assert (vars(event), dict(event), event.model_fields_set) == (FIELDS, FIELDS, set(FIELDS))
    assert json.loads(event.model_dump_json()) == FIELDS
    assert Model.model_json_schema()["required"] == [*FIELDS]
    assert event.__pydantic_private__ is None


def test_a_dispatched_model_can_be_validated_and_dumped_in_another() -> None:
    class Box(pydantic.BaseModel):
        content: int | StrictModel

    event = EventDispatcher().dispatch("user.created", make(StrictModel))
    box = Box(content=event)

    assert box.model_dump() == {"content": FIELDS}
    assert json.loads(box.model_dump_json()) == {"content": FIELDS}


def test_pydantic_warns_of_a_field_that_an_event_has_too() -> None:
    with pytest.warns(UserWarning, match='Field name "name" .* shadows an attribute in parent "Event"'):
        pydantic.create_model("Warned", __base__=(pydantic.BaseModel, Event), name=str)


@kinds([Struct, FrozenStruct])
def test_a_struct_is_encoded_without_the_attributes_of_a_dispatch(kind: Any) -> None:
    event = EventDispatcher().dispatch("user.created", make(kind))

    assert msgspec.json.decode(msgspec.json.encode(event)) == FIELDS
    assert msgspec.json.decode(msgspec.json.encode(event), type=kind) == event
    assert vars(event) == {}


def test_a_model_with_its_own_lookup_shows_a_dispatch() -> None:
    class Created(pydantic.BaseModel, Event):
        name: ClassVar[str] = "user.created"

        def __getattr__(self, attribute: str) -> Any:
            raise LookupError(attribute)

    event, dispatcher = Created(), EventDispatcher()
    before = (event.name, event.dispatcher, event.propagation_stopped)
    dispatcher.dispatch("user.stored", event)

    assert before == ("user.created", None, False)
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("user.stored", dispatcher, False)


def test_nothing_is_kept_of_a_model_that_was_dispatched() -> None:
    event = EventDispatcher().dispatch("user.created", make(Model))
    key = id(event)
    assert key in _external_infos
    del event
    gc.collect()

    assert key not in _external_infos


# The name of a class


class Unannotated(Event):
    name = "core.view"


class WithAnnotation(Event):
    name: str = "core.view"


class WithClassVar(Event):
    name: ClassVar[str] = "core.view"


@dataclass
class InDataclass(Event):
    number: int = 7
    name: ClassVar[str] = "core.view"


class InModel(pydantic.BaseModel, Event):
    name: ClassVar[str] = "core.view"
    number: int = 7


class InStruct(msgspec.Struct, Event):
    number: int = 7
    name: ClassVar[str] = "core.view"


@attrs.define(slots=False)
class InAttrs(Event):
    number: int = 7
    name: ClassVar[str] = "core.view"


NAMED: list[Any] = [Unannotated, WithAnnotation, WithClassVar, InDataclass, InModel, InStruct, InAttrs]


@kinds(NAMED)
async def test_the_name_of_a_class_names_its_dispatch(dispatcher: AnyDispatcher, kind: Any) -> None:
    seen: list[Any] = []
    for key in ("core.view", "core.other"):
        dispatcher.add_listener(key, make_listener(dispatcher, lambda event: seen.append(event.name)))
    event = kind()
    before = (event.name, kind.name)

    await dispatcher.adispatch(event)
    await dispatcher.adispatch("core.other", event)

    assert (before, seen, event.name) == (("core.view", "core.view"), ["core.view", "core.other"], "core.other")
    assert (kind.name, kind().name) == ("core.view", "core.view")


def test_an_annotation_alone_does_not_hide_the_name_of_the_dispatch() -> None:
    class Narrowed(Event):
        name: str

    class Abstract(Event):
        name: ClassVar[str]

    event = Narrowed()
    before = event.name

    assert (before, Abstract.name) == (None, None)
    assert EventDispatcher().dispatch("core.view", event).name == "core.view"


def test_the_name_of_an_instance_names_no_dispatch() -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    dispatcher.add_listener("bob", log.append)
    for kind in DATA_EVENTS:
        dispatcher.dispatch(make(kind))

    assert log == []


async def test_reading_the_class_of_a_field_raises_only_before_its_first_dispatch() -> None:
    @dataclass
    class UserCreated(Event):
        name: str

    with pytest.raises(AttributeError, match="type object 'UserCreated' has no attribute 'name'"):
        UserCreated.name
    dispatcher = AsyncEventDispatcher()
    assert dispatcher.get_listeners(UserCreated) == ()
    await dispatcher.adispatch(UserCreated("bob"))

    assert UserCreated.name is None  # type: ignore[comparison-overlap]  # the class has no value of the field


# Other ways to have a name


def test_an_assigned_name_stays() -> None:
    event, dispatcher = Event(), EventDispatcher()
    event.name = "bob"
    dispatcher.dispatch("user.created", event)
    first = event.name
    del event.name

    assert (first, event.name, event.dispatcher) == ("bob", "user.created", dispatcher)


class Row(NamedTuple):
    name: str
    dispatcher: str


class Described:
    @property
    def name(self) -> str:
        return "ann"

    @property
    def dispatcher(self) -> str:
        return "bob"


class RowEvent(Event, Row): ...


class DescribedEvent(Event, Described): ...


class Subclass(DescribedEvent): ...


class WithField(Event, Described):
    name: str

    def __init__(self) -> None:
        self.name = "ann"


@pytest.mark.parametrize("make", [lambda: RowEvent("ann", "bob"), DescribedEvent, Subclass, WithField])
def test_the_data_of_a_base_class_after_event_stays(make: Callable[[], Any]) -> None:
    event = EventDispatcher().dispatch("user.joined", make())

    assert (event.name, event.dispatcher) == ("ann", "bob")
    for copied in (copy.copy(event), pickle.loads(pickle.dumps(event))):
        assert (copied.name, copied.dispatcher) == ("ann", "bob")


def test_a_descriptor_of_the_class_stays() -> None:
    class Computed(Event):
        @cached_property
        def name(self) -> str:
            return "bob"

        def dispatcher(self) -> str:
            return "mail"

    read, unread = Computed(), Computed()
    assert read.name == "bob"
    for event in (read, unread):
        EventDispatcher().dispatch("user.created", event)

        assert (event.name, event.dispatcher()) == ("bob", "mail")


@pytest.mark.parametrize("bases", ["Event last", "Event first"])
async def test_a_model_inherits_fields_from_a_model_that_is_not_an_event(bases: str) -> None:
    class User(pydantic.BaseModel):
        name: str
        dispatcher: str = "mail"

    order: Any = (User, Event) if bases == "Event last" else (Event, User)
    created: Any = type(pydantic.BaseModel)("UserCreated", order, {"__module__": __name__})

    with pytest.raises(ValueError, match="name"):
        created()
    event = created(name="bob")
    await AsyncEventDispatcher().adispatch("user.created", event)
    assert (event.name, event.dispatcher) == ("bob", "mail")


def test_a_model_inherits_the_default_of_a_field() -> None:
    class Created(pydantic.BaseModel, Event):
        name: str = "bob"
        dispatcher: str = pydantic.Field(default_factory=lambda: "mail")

    class UserCreated(Created):
        number: int = 7

    assert (UserCreated().name, UserCreated().dispatcher) == ("bob", "mail")


async def test_a_field_called_propagation_stopped_is_false_in_a_model() -> None:
    class Data(pydantic.BaseModel):
        propagation_stopped: bool = False

    class Created(pydantic.BaseModel, Event):
        propagation_stopped: bool

    class Declared(Data, Event): ...

    class Inherited(Declared): ...

    dispatcher, log = AsyncEventDispatcher(), list[str]()
    dispatcher.add_listener("x", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("x", make_listener(dispatcher, lambda event: log.append("not stopped")))
    for kind in (Created, Declared, Inherited):
        for _ in range(2):
            event: Any = kind.model_validate({})
            assert event.model_dump() == {"propagation_stopped": False}
            await dispatcher.adispatch("x", event)
            assert event.propagation_stopped

    assert log == []


def test_a_class_variable_of_a_model_is_inherited() -> None:
    class Created(pydantic.BaseModel, Event):
        name: ClassVar[str] = "user.created"

    class UserCreated(Created):
        number: int = 7

    assert UserCreated.name == "user.created"
    assert [*UserCreated.model_fields] == ["number"]


def test_a_field_with_a_default_keeps_it() -> None:
    @dataclass
    class Defaults(Event):
        name: str = "bob"
        dispatcher: str = field(default="mail", init=False)

    @dataclass
    class Factory(Event):
        name: str = field(default_factory=lambda: "bob")
        dispatcher: str = "mail"

    for event in (Defaults(), Factory()):
        EventDispatcher().dispatch("user.created", event)

        assert (event.name, event.dispatcher, replace(event).name) == ("bob", "mail", "bob")


def test_an_argument_that_is_no_field_is_required() -> None:
    @dataclass
    class UserCreated(Event):
        name: InitVar[str]
        number: int

        def __post_init__(self, name: str) -> None:
            self.greeting = f"hello {name}"

    with pytest.raises(TypeError, match="name"):
        UserCreated(number=7)  # type: ignore[call-arg]  # that is its subject
    event = EventDispatcher().dispatch("user.created", UserCreated("bob", 7))

    assert (event.greeting, event.name) == ("hello bob", "user.created")


def make_undecorated() -> Any:
    class Created:
        name: str
        propagation_stopped: bool = False

        def stop_propagation(self) -> None:
            self.propagation_stopped = True

    return Created


class ForeignStruct(msgspec.Struct):
    name: str
    propagation_stopped: bool = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class ForeignModel(pydantic.BaseModel):
    name: str
    propagation_stopped: bool = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


@pytest.mark.parametrize(
    "make_class",
    [
        lambda: dataclass(make_undecorated()),
        lambda: dataclass(slots=True)(make_undecorated()),
        lambda: attrs.define(make_undecorated()),
        lambda: attrs.define(slots=False)(make_undecorated()),
        lambda: ForeignStruct,
        lambda: ForeignModel,
    ],
    ids=["dataclass", "dataclass with slots", "attrs", "attrs without slots", "msgspec", "pydantic"],
)
def test_a_field_of_an_event_of_another_class_is_not_written(make_class: Any) -> None:
    kind, dispatcher, log = make_class(), EventDispatcher(), list[Any]()
    dispatcher.add_listener("user.created", lambda event: event.stop_propagation())
    dispatcher.add_listener("user.created", log.append)
    event = dispatcher.dispatch("user.created", kind(name="bob"))

    assert (event.name, event.propagation_stopped, log) == ("bob", True, [])


@kinds([Mutable, Plain, Model])
def test_a_proxy_does_not_write_the_data_of_its_event(kind: Any) -> None:
    event = make(kind)
    EventDispatcher().dispatch("user.created", weakref.proxy(event))

    assert get_fields(event) == FIELDS


def test_an_event_shows_the_dispatch_after_that_of_its_proxy() -> None:
    event, seen = Event(), list[Any]()
    for dispatched, name in ((weakref.proxy(event), "first"), (event, "second")):
        EventDispatcher().dispatch(name, dispatched)
        seen.append(event.name)

    assert seen == ["first", "second"]


# Dispatchers


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_dispatcher_cannot_be_copied(dispatcher: AnyDispatcher, copier: Callable[[Any], Any]) -> None:
    for each in (dispatcher, dispatcher.scope()):
        with pytest.raises(TypeError, match=r"cannot be copied or pickled.*scope\(\)"):
            copier(each)
