"""Keys that no event can match, and names under which no listener could hear, are refused with the fix (rules 5, 7)."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, NamedTuple, NewType, TypedDict, TypeVar

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, event_name, listens_to
from antiphon._registry.refused_keys import REFUSALS, explain_refused_key
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address

T = TypeVar("T")


class OrderPlaced(Event): ...


class OrderPaid(Event): ...


class Box(Event, Generic[T]): ...


class Status(Enum):
    PAID = "paid"


class Text(StrEnum):
    EVERY_ORDER = "order.*"


class Point(NamedTuple):
    x: str
    y: str


@dataclass(frozen=True)
class Money:
    cents: int


UserId = NewType("UserId", int)


def function(event: Event) -> None: ...


REFUSED: list[tuple[Any, str]] = [
    (("order.placed", "order.paid"), 'listen("order.placed", "order.paid")'),
    (("order.placed",), 'listen("order.placed")'),
    ((OrderPlaced, OrderPaid), "listen(OrderPlaced, OrderPaid)"),
    ((OrderPlaced, "order.paid"), 'listen(OrderPlaced, "order.paid")'),
    ((list[int], "order.paid"), 'listen(list[int], "order.paid")'),
    (list[int], "use the class, list"),
    (Box[int], "use the class, Box"),
    (typing.List, "use the class, list"),  # noqa: UP006  the alias is the subject
    (Callable[[int], int], "use the class, Callable"),
    (typing.Annotated[OrderPlaced, "metadata"], "use the annotated class, OrderPlaced"),
    (typing.Literal["order.placed", "order.paid"], 'listen("order.placed", "order.paid")'),
    (typing.ClassVar[int], "use a class of events"),
    (typing.ClassVar, "use a class of events"),
    (typing.Any, 'use "*"'),
    (UserId, "use the class of its objects, int"),
    (T, "use a class"),
    (typing.ParamSpec("P"), "use a class"),
    (re.compile(r"order\..*"), '"order.*"'),
    (function, 'add_listener("order.placed", listener)'),
    (lambda event: None, "the key comes first"),
    (print, "the key comes first"),
    (partial(function), "the key comes first"),
    (EventDispatcher().dispatch, "the key comes first"),
    (re, "use a name or a class in it, such as re.ORDER_PLACED"),
    (OrderPlaced(), "use its class, OrderPlaced"),
    (type(None), "leave it out"),
]
if hasattr(typing, "TypeAliasType"):
    REFUSED.append((typing.TypeAliasType("Alias", int), "Alias.__value__"))

if find_spec("typing_extensions") is not None:
    import typing_extensions

    # Until Python 3.14, it has a class of aliases of its own.
    REFUSED.append((typing_extensions.TypeAliasType("Extended", int), "Extended.__value__"))

every_refused = pytest.mark.parametrize(("key", "fix"), REFUSED, ids=[without_address(key) for key, _ in REFUSED])

VALUES: list[Any] = [404, b"bytes", 1.5, True, Status.PAID, (), ("order", 1), (1, 2), frozenset({"order"}), Money(7)]


@every_refused
def test_a_key_that_no_event_can_match_is_refused_at_registration(
    dispatcher: AnyDispatcher, key: Any, fix: str
) -> None:
    listener = make_listener(dispatcher, print)
    registrations: list[Callable[[], object]] = [
        lambda: dispatcher.add_listener(key, listener),
        lambda: dispatcher.add_listener(key, listener, once=True),
        lambda: dispatcher.temporarily().add_listener(key, listener),
        lambda: dispatcher.scope().add_listener(key, listener),
        lambda: dispatcher.remove_listener(key, listener),
    ]
    if key is not function:
        # Without its key, `listen` has a message of its own.
        registrations += [lambda: dispatcher.listen(key), lambda: dispatcher.temporarily().listen(key)]
        registrations += [lambda: listens_to(key)] * (not callable(key) or isinstance(key, type))

    for register in registrations:
        with pytest.raises(TypeError) as caught:
            register()
        assert fix in str(caught.value) or "takes the key" in str(caught.value)

    assert not dispatcher.has_listeners()


@every_refused
def test_what_waits_refuses_it_at_the_call(key: Any, fix: str) -> None:
    dispatcher = AsyncEventDispatcher()
    for wait in (lambda: dispatcher.expect(key), lambda: dispatcher.stream(key)):
        with pytest.raises(TypeError) as caught:
            wait()
        assert fix in str(caught.value)


async def test_wait_for_refuses_it_too() -> None:
    with pytest.raises(TypeError, match=r'listen\("a", "b"\)'):
        await AsyncEventDispatcher().wait_for(("a", "b"))


@pytest.mark.parametrize("key", [*VALUES, Point("order", "placed")], ids=repr)
async def test_any_other_hashable_stays_an_exact_key(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[Any] = []
    dispatcher.add_listener(key, make_listener(dispatcher, log.append))

    event = await dispatcher.adispatch(key, Event())

    assert log == [event]


# Swapped arguments


@pytest.mark.parametrize(
    ("key", "shown"), [("order.placed", '"order.placed"'), (OrderPlaced, "OrderPlaced"), (404, "404")], ids=repr
)
@pytest.mark.parametrize("options", [{}, {"once": True}], ids=["plain", "once"])
def test_swapped_arguments_are_named_as_such(
    dispatcher: AnyDispatcher, key: Any, shown: str, options: dict[str, Any]
) -> None:
    add_listener: Any = dispatcher.add_listener

    with pytest.raises(TypeError, match="swapped") as caught:
        add_listener(make_listener(dispatcher, print), key, **options)

    assert f"add_listener({shown}, " in str(caught.value)
    assert not dispatcher.has_listeners()


# Dispatched patterns


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def listening(request: pytest.FixtureRequest) -> AnyDispatcher:
    """A dispatcher on which listeners listen to a pattern and to everything."""
    made: AnyDispatcher = request.param()
    for key in ("order.*", "*", 404, ("order", 1), Money(7)):
        made.add_listener(key, make_listener(made, pytest.fail))
    return made


@pytest.mark.parametrize("name", ["order.*", "*", "**", "**.placed", Text.EVERY_ORDER], ids=repr)
async def test_a_dispatched_pattern_is_refused(listening: AnyDispatcher, name: Any) -> None:
    with listening.scope() as scope:
        for dispatcher in (listening, scope):
            for arguments in ((name,), (name, Event()), (name, object())):
                with pytest.raises(TypeError, match="got the pattern"):
                    await dispatcher.adispatch(*arguments)
            with pytest.raises(TypeError, match="got the pattern"):
                dispatcher.prepare(name)


async def test_a_posted_pattern_is_refused() -> None:
    async with AsyncEventDispatcher().queue() as queue:
        for arguments in (("order.*",), ("order.*", Event())):
            with pytest.raises(TypeError, match="got the pattern"):
                await queue.post(*arguments)
            with pytest.raises(TypeError, match="got the pattern"):
                queue.post_nowait(*arguments)
        assert queue.statistics().posted == 0


async def test_a_pattern_in_the_class_is_refused(listening: AnyDispatcher) -> None:
    class EveryOrder(Event):
        name = "order.*"

    with pytest.raises(TypeError, match="got the pattern"):
        await listening.adispatch(EveryOrder())


def test_a_function_after_the_key_of_expect_is_an_option_by_position() -> None:
    dispatcher = AsyncEventDispatcher()
    with pytest.raises(TypeError, match=r'write expect\("order.placed", where=...\)'):
        dispatcher.expect("order.placed", lambda event: True)

    with pytest.raises(TypeError, match="a function: the key comes first"):
        dispatcher.stream("order.placed", lambda event: True)


@pytest.mark.parametrize(("name", "fix"), [(Event, ": the name comes first, then the class"), (404, "got 404 (int)")])
def test_the_name_of_event_name_is_a_string(name: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=r"event_name\(\) takes a string") as caught:
        event_name(name, Event)

    assert str(caught.value).endswith(fix)


@pytest.mark.parametrize("name", [key for key, _ in REFUSED if not isinstance(key, (type, Event))], ids=without_address)
async def test_a_name_that_cannot_be_a_key_is_refused(dispatcher: AnyDispatcher, name: Any) -> None:
    kind = explain_refused_key(name)
    assert kind is not None

    with pytest.raises(TypeError, match="a dispatch takes a name") as caught:
        await dispatcher.adispatch(name, Event())

    assert str(caught.value).endswith(f", {kind[0]}: pass a name and the event, or the event alone")


@pytest.mark.parametrize("union", [OrderPlaced | OrderPaid, typing.Union[OrderPlaced, OrderPaid]], ids=repr)  # noqa: UP007  the alias is the subject
async def test_a_union_is_not_a_name(listening: AnyDispatcher, union: Any) -> None:
    with pytest.raises(TypeError, match=r", a union: pass a name and the event, or the event alone$"):
        await listening.adispatch(union, OrderPlaced())
    with pytest.raises(TypeError, match=", a union: "):
        listening.prepare(union)
    assert listening.has_listeners(union)


def test_the_error_of_a_typed_dict_says_that_its_objects_are_dicts() -> None:
    class Order(TypedDict):
        number: int

    with pytest.raises(TypeError, match="got Order, which does not: its objects are plain dicts, so listen to a name"):
        AsyncEventDispatcher().listen(Order)


# Single arguments that somebody listens to


@pytest.mark.parametrize(
    ("value", "call"),
    [
        (404, "dispatch(404, Event())"),
        (("order", 1), "dispatch(('order', 1), Event())"),
        (Money(7), "(Money(cents=7),"),
    ],
    ids=repr,
)
async def test_a_single_value_that_is_a_key_is_refused(listening: AnyDispatcher, value: Any, call: str) -> None:
    with listening.scope() as scope:
        for dispatcher in (listening, scope):
            with pytest.raises(TypeError) as caught:
                await dispatcher.adispatch(value)
            assert call in str(caught.value)


async def test_the_message_shows_the_method_of_the_dispatcher() -> None:
    dispatcher, sync = AsyncEventDispatcher(), EventDispatcher()
    dispatcher.add_listener(404, make_listener(dispatcher, print))
    sync.add_listener(404, print)

    with pytest.raises(TypeError, match=r"in adispatch\(404, Event\(\)\)"):
        await dispatcher.adispatch(404)
    with pytest.raises(TypeError, match=r"in dispatch\(404, Event\(\)\)"):
        sync.dispatch(404)


async def test_a_posted_value_that_is_a_key_is_refused() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(404, make_listener(dispatcher, pytest.fail))
    async with dispatcher.queue() as queue:
        with pytest.raises(TypeError, match=r"adispatch\(404, Event\(\)\)"):
            await queue.post(404)
        with pytest.raises(TypeError, match=r"adispatch\(404, Event\(\)\)"):
            queue.post_nowait(404)


async def test_an_event_of_the_class_of_a_key_is_dispatched(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener(Money, make_listener(dispatcher, log.append))
    await dispatcher.adispatch(Money(1))
    handle = dispatcher.add_listener(Money(7), make_listener(dispatcher, pytest.fail))

    # Neither order of the two events must make a difference.
    for cents in (1, 7, 2, 7):
        if cents == 7:
            with pytest.raises(TypeError, match="pass the event as well"):
                await dispatcher.adispatch(Money(cents))
        else:
            await dispatcher.adispatch(Money(cents))
    handle.unsubscribe()
    await dispatcher.adispatch(Money(7))

    assert log == [Money(1), Money(1), Money(2), Money(7)]


async def test_a_key_of_the_parent_counts_on_a_scope_that_has_dispatched(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scope:
        await scope.adispatch(404)
        dispatcher.add_listener(404, make_listener(dispatcher, pytest.fail))

        with pytest.raises(TypeError, match="pass the event as well"):
            await scope.adispatch(404)


async def test_a_list_can_still_be_an_event(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []

    class Hashed(list[int]):
        __hash__ = object.__hash__  # type: ignore[assignment]  # a list has none

    dispatcher.add_listener(Hashed(), make_listener(dispatcher, pytest.fail))
    dispatcher.add_listener(list, make_recording_listener(dispatcher, log, "list"))

    await dispatcher.adispatch([1])
    await dispatcher.adispatch(Hashed())

    assert log == ["list", "list"]


async def test_a_dispatch_with_values_as_keys_stays_cached() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(404, make_listener(dispatcher, print))

    await dispatcher.adispatch(OrderPlaced())
    await dispatcher.adispatch("order.placed", Money(1))

    assert OrderPlaced in dispatcher._cached_plans[None]
    assert Money in dispatcher._cached_plans["order.placed"]


# The table in the documentation


def read_table() -> list[tuple[str, str]]:
    text = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    table = text.partition("| Refused key |")[2].partition("\n\n")[0]
    return re.findall(r"^\| ([^|`-]+) \| `([^|]+)` \|", table, re.MULTILINE)


def test_the_documentation_lists_each_kind_that_is_refused() -> None:
    namespace = {**vars(typing), "Event": Event, "re": re}
    if not hasattr(typing, "TypeAliasType"):
        import typing_extensions

        namespace["TypeAliasType"] = typing_extensions.TypeAliasType
    found: list[tuple[str, str]] = []
    for kind, example in read_table():
        explained = explain_refused_key(eval(example, namespace))
        assert explained is not None, example
        found.append((kind, explained[0]))

    assert [kind for kind, _ in found] == [explained for _, explained in found]
    assert [kind for kind, _ in found] == [kind for kind, *_ in REFUSALS]
