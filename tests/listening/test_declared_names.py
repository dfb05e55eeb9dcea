"""Names that a dispatcher declares: all others are refused, when listening and when dispatching (rule 7)."""

from __future__ import annotations

from enum import Enum, StrEnum
from types import ModuleType
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, event_name, listens_to
from antiphon.diagrams import catalogue, json, table, tree
from tests.helpers import BOTH, AnyDispatcher, make_listener


class OrderPlaced(Event):
    name = "order.placed"


class Unnamed(Event): ...


class Status(Enum):
    PAID = "order.paid"
    SHIPPED = "order.shipped"


class Text(StrEnum):
    CLOSED = "shop.closed"
    ALL = "shop.*"


SHOP_OPENED = event_name("shop.opened", Event)


def make_module(**attributes: Any) -> ModuleType:
    module = ModuleType("shop.events")
    vars(module).update(attributes)
    return module


EVENTS = make_module(
    SHOP_OPENED=SHOP_OPENED,
    EVERY_ORDER="order.*",
    Status=Status,
    Text=Text,
    OrderPlaced=OrderPlaced,
    Unnamed=Unnamed,
    Event=Event,
    Enum=Enum,
    lower="not a constant",
    _PRIVATE="private",
    LIMIT=7,
)
NAMES: list[Any] = ["shop.opened", Status.PAID, Status.SHIPPED, Text.CLOSED, "order.placed"]

TYPOS: list[tuple[Any, str]] = [
    ("order.plcaed", 'did you mean "order.placed"?'),
    ("Shop.opened", 'did you mean "shop.opened"?'),
    ("order.paid", "did you mean Status.PAID?"),
    ("PAID", "did you mean Status.PAID?"),
    ("entirely different", "it declares "),
    (404, "it declares "),
    (("order", 1), "it declares "),
]
WRONG_PATTERNS = [
    ("oder.*", 'did you mean "order.*"?'),
    ("shp.**", 'did you mean "shop.**"?'),
    ("*.opend", 'did you mean "*.opened"?'),
    ("*.*.*", "it declares "),
]


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    made: AnyDispatcher = request.param(names=EVENTS)
    return made


@pytest.mark.parametrize("source", [EVENTS, [EVENTS], tuple(NAMES), [Status, Text, OrderPlaced, SHOP_OPENED]], ids=str)
async def test_declared_names_are_dispatched_and_heard(source: Any) -> None:
    for kind in BOTH:
        dispatcher, log = kind(names=source), list[Any]()
        for key in [*NAMES, "order.*", "*", "**", Event, Unnamed]:
            dispatcher.add_listener(key, make_listener(dispatcher, lambda event: log.append(event.name)))

        for name in NAMES:
            log.clear()
            await dispatcher.adispatch(name, Event())
            assert set(log) == {name}
        await dispatcher.adispatch(OrderPlaced())
        await dispatcher.adispatch(Unnamed())


@pytest.mark.parametrize(("name", "hint"), TYPOS, ids=repr)
async def test_an_unknown_name_is_refused_with_a_suggestion(dispatcher: AnyDispatcher, name: Any, hint: str) -> None:
    class Named(Event): ...

    Named.name = name

    with dispatcher.scope() as scope:
        for where in (dispatcher, scope):
            calls: list[Any] = [
                lambda: where.add_listener(name, make_listener(where, print)),
                lambda: where.add_listener(name, make_listener(where, print), once=True),
                lambda: where.listen(name, "shop.opened"),
                lambda: where.temporarily().listen(name),
                lambda: where.prepare(name),
                lambda: where.has_listeners(name),
                lambda: where.get_listeners(name),
            ]
            if isinstance(where, AsyncEventDispatcher):
                calls += [lambda: where.expect(name), lambda: where.stream(name, Unnamed)]
            for call in calls:
                with pytest.raises(ValueError, match="names= declares") as caught:
                    call()
                assert hint in str(caught.value)
            # Twice, because nothing must be cached.
            for arguments in [(name, Event()), (name, object())] * 2 + [(Named(),)]:
                with pytest.raises(ValueError, match="names= declares") as caught:
                    await where.adispatch(*arguments)
                assert hint in str(caught.value)

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize(("count", "end"), [(5, '"name4"'), (6, '"name4", …')])
def test_an_error_lists_the_first_names(count: int, end: str) -> None:
    dispatcher = EventDispatcher(names=[f"name{number}" for number in range(count)])

    with pytest.raises(ValueError, match="it declares") as caught:
        dispatcher.has_listeners("entirely different")

    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(("pattern", "hint"), WRONG_PATTERNS)
def test_a_pattern_that_matches_no_name_is_refused(dispatcher: AnyDispatcher, pattern: str, hint: str) -> None:
    with pytest.raises(ValueError, match="matches no name") as caught:
        dispatcher.add_listener(pattern, make_listener(dispatcher, print))

    assert hint in str(caught.value)


async def test_a_single_name_with_a_typo_is_refused(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(ValueError, match=r'"order.plcaed" .* did you mean "order.placed"'):
        await dispatcher.adispatch("order.plcaed")


async def test_what_is_posted_or_waited_for_must_be_declared() -> None:
    dispatcher = AsyncEventDispatcher(names=EVENTS)
    async with dispatcher.queue() as queue:
        with pytest.raises(ValueError, match="did you mean"):
            await queue.post("order.plcaed")
        with pytest.raises(ValueError, match="did you mean"):
            queue.post_nowait("order.plcaed", Event())
    with pytest.raises(ValueError, match="did you mean"):
        await dispatcher.wait_for("order.plcaed")


def test_a_subscriber_with_an_unknown_name_registers_nothing() -> None:
    class Shop:
        @listens_to("order.placed")
        def first(self, event: Event) -> None: ...

        @listens_to("order.plcaed")
        def second(self, event: Event) -> None: ...

    dispatcher = EventDispatcher(names=EVENTS)
    with pytest.raises(ValueError, match="did you mean"):
        dispatcher.add_subscriber(Shop())

    assert not dispatcher.has_listeners()


class Plain(Enum):
    PAID = "paid"


class Text(StrEnum):
    PAID = "paid"


class Iterable(Enum):
    PAID = "paid"

    def __iter__(self) -> Any:
        return iter(self.value)


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        (7, TypeError, "names= takes a module"),
        ([Unnamed], TypeError, "Unnamed"),
        (["order.*"], TypeError, "pattern"),
        ([None], TypeError, "None"),
        ([("order.placed", "order.paid")], TypeError, "listen("),
        (ModuleType("empty"), ValueError, "empty has no constants"),
    ],
    ids=str,
)
def test_a_wrong_declaration_is_refused(source: Any, error: type[Exception], text: str) -> None:
    for kind in BOTH:
        with pytest.raises(error) as caught:
            kind(names=source)
        assert text in str(caught.value)


@pytest.mark.parametrize("name", ["order.placed", Plain.PAID, Text.PAID, Iterable.PAID, b"order"], ids=repr)
async def test_one_name_can_be_declared(dispatcher: AnyDispatcher, name: Any) -> None:
    declaring = type(dispatcher)(names=name)

    await declaring.adispatch(name, Event())
    for other in ("order", *b"order", "p"):
        with pytest.raises(ValueError, match="names= declares"):
            await declaring.adispatch(other, Event())


def test_clear_and_remove_listener_refuse_an_unknown_name(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.placed", make_listener(dispatcher, print))
    calls: list[Any] = [dispatcher.clear, dispatcher.temporarily().clear]
    calls.append(lambda key: dispatcher.remove_listener(key, print))

    for call in calls:
        with pytest.raises(ValueError, match=r'did you mean "order\.placed"'):
            call("order.plcaed")
    dispatcher.clear("shop.opened")

    assert dispatcher.has_listeners("order.placed")


def test_an_empty_declaration_refuses_every_name(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(ValueError, match="it declares no names"):
        type(dispatcher)(names=[]).has_listeners("order.placed")


def test_an_empty_declaration_accepts_a_listener_to_every_event(dispatcher: AnyDispatcher) -> None:
    declaring = type(dispatcher)(names=[])

    declaring.add_listener("*", make_listener(dispatcher, print))

    assert declaring.has_listeners()


async def test_without_declared_names_every_name_is_known() -> None:
    for kind in BOTH:
        await kind().adispatch("order.plcaed")
        assert not kind().has_listeners("order.plcaed")


def test_declared_names_without_listeners_are_described(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.placed", make_listener(dispatcher, print))
    assert dispatcher.has_listeners("order.placed") and not dispatcher.has_listeners("shop.opened")

    for where in (dispatcher, dispatcher.scope()):
        description = where.describe()
        assert {key.key: len(key.listeners) for key in description.keys} == {
            name: name == "order.placed" for name in NAMES
        }
        for render in (table, tree, json, catalogue):
            assert "shop.opened" in render(description)
        assert "no listeners" in table(description)
        assert [key.key for key in description.filter("order.placed").keys] == ["order.placed"]
