"""``describe()``: the keys, the listeners in order, their options, and where each one is defined."""

from __future__ import annotations

import enum
import functools
import gc
import os
import pickle
import weakref
from abc import ABC
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread, inline, listens_to
from antiphon._introspection.description import get_key_parts
from antiphon._registry.keys import AnyOf, key_matches
from antiphon.diagrams import Description

HERE = Path(__file__)


async def charge(event):
    """Charge the card.

    And log it.
    """


async def receipt(event, *more, to=None): ...


def is_large(event):
    return True


def line_of(function):
    return function.__code__.co_firstlineno


class OrderEvent(Event):
    """An order for all."""


class OrderPaid(OrderEvent):
    name = "order.paid"


class Status(enum.Enum):
    PAID = "paid"


class Name(str, enum.Enum):  # noqa: UP042  str() of a StrEnum member is its value
    PLACED = "order.placed"


class Stock:
    async def reserve(self, event):
        """Reserve the goods."""

    @classmethod
    async def release(cls, event): ...

    @staticmethod
    async def count(event): ...

    async def move(self, name, event=None): ...

    async def __call__(self, event):
        """Update the stock."""


class Warehouse(Stock):
    async def reserve(self, event): ...


@pytest.fixture
def dispatcher():
    return AsyncEventDispatcher(name="shop")


def names(listeners):
    return [listener.name for listener in listeners]


def only_listener(dispatcher, listener, **options):
    dispatcher.add_listener("order", listener, **options)
    (described,) = dispatcher.describe().listeners
    return described


# Keys and order


def test_listeners_of_a_name_are_in_dispatch_order(dispatcher):
    dispatcher.add_listener("order.placed", receipt, priority=5)
    dispatcher.add_listener("order.*", charge)
    dispatcher.add_listener(Event, Stock().reserve)
    dispatcher.add_listener("*", Stock.release, priority=-5)
    dispatcher.add_listener("order.paid", Stock.count)

    described = dispatcher.describe().describe_key("order.placed").listeners

    assert [(one.priority, one.name, one.key_label) for one in described] == [
        (-5, "Stock.release", "*"),
        (0, "charge", "order.*"),
        (0, "Stock.reserve", "Event"),
        (5, "receipt", "order.placed"),
    ]


async def test_description_agrees_with_dispatches(dispatcher):
    ran = []

    def make(label):
        async def listener(event):
            ran.append(label)

        listener.__qualname__ = label
        return listener

    keys = ["order.placed", "order.*", OrderEvent, "*", Event, "**.placed", OrderPaid, "order.closed"]
    for number, key in enumerate(keys):
        dispatcher.add_listener(key, make(f"a{number}"), priority=-(number % 3))
        dispatcher.add_listener(key, make(f"b{number}"), priority=number % 2)
    description = dispatcher.describe()

    for name, event in [
        ("order.placed", OrderEvent()),
        ("order.placed", Event()),
        ("order.paid", OrderPaid()),
        (None, OrderEvent()),
    ]:
        ran.clear()
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
        assert names(description.listeners_for(name, type(event))) == ran


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (OrderPaid, ["receipt", "charge", "Stock.release", "Stock.count"]),
        (OrderEvent, ["Stock.release", "Stock.count"]),
        ("order.*", ["Stock.move"]),
        ("order.placed", ["Stock.move", "Stock.count", "Stock.count"]),
    ],
    ids=["class with a name", "class", "pattern", "same listener twice"],
)
def test_listeners_of_a_key(dispatcher, key, expected):
    """A class has the listeners of its name; a pattern has its own listeners alone."""
    if key in (OrderPaid, OrderEvent):
        dispatcher.add_listener("order.paid", receipt)
        dispatcher.add_listener(OrderPaid, charge)
        dispatcher.add_listener(OrderEvent, Stock.release)
    else:
        dispatcher.add_listener("order.*", Stock().move)
        dispatcher.add_listener("order.placed", Stock.count)
    dispatcher.add_listener("*", Stock.count)

    assert names(dispatcher.describe().describe_key(key).listeners) == expected


class Payable(ABC):
    """An abstract class: `Invoice` is a virtual subclass."""


@Payable.register
class Invoice(Event):
    name = "order.*"


def test_each_key_has_the_listeners_that_match_it(dispatcher):
    names_of_keys = ["order.placed", "order.*", "**", Status.PAID, ("order", 7), Invoice, Payable, Event, object]
    for key in names_of_keys:
        dispatcher.add_listener(key, charge)
    dispatcher.add_listener(AnyOf((Invoice, Payable)), charge)
    dispatcher.add_listener(AnyOf(("order.placed", "order.**", ("order", 7))), charge)
    description = dispatcher.describe()

    for key in names_of_keys:
        name, cls = (getattr(key, "name", None), key) if isinstance(key, type) else (key, Event)
        found = next(each.listeners for each in description.keys if each.key == key)
        is_pattern = isinstance(key, str) and "*" in key
        expected = [
            each
            for each in description.listeners
            if (
                key in get_key_parts(each.key)
                if is_pattern
                else any(key_matches(part, name, cls) for part in get_key_parts(each.key))
            )
        ]
        assert list(found) == expected != []
        if not is_pattern:
            assert list(description.listeners_for(name, cls)) == expected


def test_number_of_comparisons_is_linear_in_the_number_of_keys(dispatcher):
    compared = 0

    class Key:
        def __init__(self, number):
            self.number = number

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return self is other

        def __hash__(self):
            return self.number

    for number in range(300):
        dispatcher.add_listener(Key(number), charge)
    compared = 0

    assert len(dispatcher.describe().keys) == 300
    assert compared < 10 * 300


def test_keys_are_sorted_by_kind_and_text(dispatcher):
    for key in ["b", OrderPaid, "*", "a.*", 7, Name.PLACED, "a", Status.PAID, OrderEvent]:
        dispatcher.add_listener(key, charge)

    assert [(key.kind, key.label) for key in dispatcher.describe().keys] == [
        ("name", "a"),
        ("name", "b"),
        ("name", "order.placed"),
        ("other", "7"),
        ("other", "Status.PAID"),
        ("class", "OrderEvent"),
        ("class", "OrderPaid"),
        ("pattern", "*"),
        ("pattern", "a.*"),
    ]


def test_description_of_an_empty_dispatcher(dispatcher):
    assert dispatcher.describe() == Description("shop", "AsyncEventDispatcher", (), ())
    assert EventDispatcher().describe() == Description("EventDispatcher", "EventDispatcher", (), ())


# Descriptions are values


def test_description_does_not_change(dispatcher):
    dispatcher.add_listener("order", charge, where=is_large)
    before = dispatcher.describe()

    assert before == dispatcher.describe()
    assert pickle.loads(pickle.dumps(before)) == before

    dispatcher.remove_listener("order", charge)
    assert names(before.listeners) == ["charge"]
    assert dispatcher.describe().listeners == ()
    for attribute in ("dispatcher", "new"):
        with pytest.raises(AttributeError):
            setattr(before, attribute, "another")


def test_description_keeps_no_listener_alive(dispatcher):
    stock = Stock()
    dispatcher.add_listener("order", stock.reserve)
    description = dispatcher.describe()
    dispatcher.remove_listener("order", stock.reserve)
    reference = weakref.ref(stock)
    del stock
    gc.collect()

    assert reference() is None
    assert names(description.listeners) == ["Stock.reserve"]


# Where a listener is defined


def test_definition_of_a_function(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent.parent)

    definition = only_listener(dispatcher, charge).definition

    file, line = "seeing/test_describe.py", line_of(charge)
    assert definition == ("charge", __name__, None, file, line, "Charge the card.")
    assert definition.place == f"{file}:{line}"


@pytest.mark.parametrize(
    "exists", [True, pytest.param(False, marks=pytest.mark.skipif(os.name == "nt", reason="Windows keeps it"))]
)
def test_file_outside_the_current_directory_is_absolute(dispatcher, monkeypatch, tmp_path, exists):
    monkeypatch.chdir(tmp_path)
    if not exists:
        tmp_path.rmdir()

    assert only_listener(dispatcher, charge).definition.file == str(HERE)


def decorated(function):
    @functools.wraps(function)
    async def wrapper(event): ...

    return wrapper


def make_nested():
    async def nested(event): ...

    return nested


nested = make_nested()


@pytest.mark.parametrize(
    ("listener", "name", "owner", "line"),
    [
        (Stock().reserve, "Stock.reserve", "Stock", line_of(Stock.reserve)),
        (Warehouse().reserve, "Warehouse.reserve", "Warehouse", line_of(Warehouse.reserve)),
        (Warehouse().move, "Warehouse.move", "Warehouse", line_of(Stock.move)),
        (Stock.release, "Stock.release", "Stock", line_of(Stock.release.__func__)),
        (Warehouse.release, "Warehouse.release", "Warehouse", line_of(Stock.release.__func__)),
        (Stock.count, "Stock.count", None, line_of(Stock.count)),
        (Stock(), "Stock", "Stock", line_of(Stock.__call__)),
        (partial(Stock().move, "box"), "Stock.move('box')", "Stock", line_of(Stock.move)),
        (partial(partial(charge)), "charge()", None, line_of(charge)),
        (
            partial(receipt, 1, None, Status.PAID, "x" * 30, Stock(), to="me"),
            "receipt(1, None, Status.PAID, …, …, to='me')",
            None,
            line_of(receipt),
        ),
        (inline(is_large), "is_large", None, line_of(is_large)),
        (in_thread(is_large), "is_large", None, line_of(is_large)),
        (inline(inline(charge)), "charge", None, line_of(charge)),
        (inline(partial(is_large)), "is_large()", None, line_of(is_large)),
        (decorated(charge), "charge", None, line_of(charge)),
        (nested, "nested", None, line_of(nested)),
        (inline(unnamed := lambda event: None), "<lambda>", None, line_of(unnamed)),
        (inline(len), "len", None, None),
        (AsyncMock(), "AsyncMock", None, None),
        (inline(MagicMock()), "MagicMock", None, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_definition_of_listeners_of_all_kinds(dispatcher, listener, name, owner, line):
    definition = only_listener(dispatcher, listener).definition

    assert (definition.name, definition.owner, definition.line) == (name, owner, line)
    assert (definition.file is None) == (line is None)


def test_definition_without_a_file(dispatcher):
    namespace = {}
    exec("async def made(event): 'Made up.'", namespace)

    definition = only_listener(dispatcher, namespace["made"]).definition

    assert (definition.name, definition.file, definition.line, definition.place) == ("made", None, None, "")
    assert definition.doc == "Made up."


def test_method_inherits_its_docstring(dispatcher):
    assert only_listener(dispatcher, Warehouse().reserve).definition.doc == "Reserve the goods."


class Raising:
    """An object whose attributes raise once they are read for a description."""

    is_raising = False

    def __getattribute__(self, name):
        if Raising.is_raising:
            raise RuntimeError(name)
        return super().__getattribute__(name)

    def __repr__(self):
        raise RuntimeError

    def __call__(self, event): ...


class OddlyNamed:
    async def __call__(self, event): ...


OddlyNamed.__call__.__doc__ = 7
OddlyNamed.__call__.__module__ = 7
OddlyNamed.__call__.__wrapped__ = OddlyNamed.__call__


def test_odd_listeners_are_described(dispatcher, monkeypatch):
    sync = EventDispatcher()
    sync.add_listener("order", Raising(), where=Raising())
    sync.add_listener("order", partial(Raising()))

    monkeypatch.setattr(Raising, "is_raising", True)
    first, second = sync.describe().listeners

    assert (first.name, first.where, second.name) == ("Raising", "Raising", "partial")
    assert only_listener(dispatcher, OddlyNamed()).name == "OddlyNamed"


def test_definition_of_a_class_as_key(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    dispatcher.add_listener(OrderEvent, charge)
    dispatcher.add_listener(dict, charge)

    order, builtin = dispatcher.describe().keys

    line = HERE.read_text().splitlines().index("class OrderEvent(Event):") + 1
    assert order.definition == ("OrderEvent", __name__, None, HERE.name, line, "An order for all.")
    assert (builtin.label, builtin.definition.file, builtin.definition.line) == ("dict", None, None)


# Options


def test_options_of_a_listener(dispatcher):
    described = only_listener(dispatcher, charge, once=True, where=is_large, timeout=2.5, limit=3)

    assert (described.once, described.where, described.timeout, described.limit) == (True, "is_large", 2.5, 3)
    assert described.options == ("once", "where is_large", "timeout 2.5 s", "limit 3")


def test_lambda_in_where_is_shown_with_its_place(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    where = lambda event: True

    assert only_listener(dispatcher, charge, where=where).where == f"lambda at {HERE.name}:{line_of(where)}"


@pytest.mark.parametrize(
    ("sync_listeners", "listener", "adapter"),
    [
        ("refuse", inline(is_large), "inline"),
        ("refuse", in_thread(is_large), "in_thread"),
        ("refuse", in_thread(is_large, abandon_on_cancel=True), "in_thread, abandon_on_cancel"),
        ("refuse", charge, None),
        ("inline", is_large, "inline"),
        ("thread", is_large, "in_thread"),
        ("thread", charge, None),
    ],
)
def test_adapter_of_a_listener(sync_listeners, listener, adapter):
    described = only_listener(AsyncEventDispatcher(sync_listeners=sync_listeners), listener)

    assert described.name in ("is_large", "charge")
    assert described.adapter == adapter
    assert described.options == ((adapter,) if adapter else ())


# Streams, subscribers, scopes


async def test_streams_and_expectations_are_described(dispatcher):
    async with dispatcher.stream("order", "payment.*") as stream:
        description = dispatcher.describe()
        listeners = description.describe_key("order").listeners
        assert names(listeners) == [repr(stream)] == ["<stream of 'order' | 'payment.*'>"]
        assert [key.label for key in description.keys] == ["order", "payment.*"]
        assert listeners == description.describe_key("payment.*").listeners
        assert listeners[0].key_label == "order | payment.*"

    async with anyio.create_task_group() as tasks:
        async with dispatcher.expect("order"):
            assert names(dispatcher.describe().listeners) == ["<expected 'order'>"]
            tasks.start_soon(dispatcher.adispatch, "order")
    assert dispatcher.describe().keys == ()


def test_subscriber_is_described_by_its_methods(dispatcher):
    class Audit:
        @listens_to("order")
        async def write(self, event): ...

    dispatcher.add_subscriber(Audit())

    assert names(dispatcher.describe().listeners) == ["Audit.write"]


def test_scope_describes_its_own_and_inherited_listeners(dispatcher):
    dispatcher.add_listener("order", charge)
    with dispatcher.scope() as scoped, scoped.scope() as inner:
        scoped.add_listener("order", receipt, priority=-1)
        inner.add_listener("order.*", receipt)
        description = scoped.describe()

        assert description[:2] == ("scope of shop", "AsyncScope")
        assert [(one.name, one.inherited) for one in description.listeners] == [("receipt", False), ("charge", True)]
        assert description.listeners[1].options == ("of the parent",)
        assert inner.describe().dispatcher == "scope of scope of shop"
        assert len(inner.describe().listeners) == 3
        assert names(dispatcher.describe().listeners) == ["charge"]


# Filtered by a pattern


@pytest.fixture
def shop(dispatcher):
    for key in ["order.placed", "order.sent", "stock.low", "order.*", "**", OrderPaid, OrderEvent, Status.PAID]:
        dispatcher.add_listener(key, charge)
    return dispatcher.describe()


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("order.*", ["order.placed", "order.sent", "OrderPaid", "order.*"]),
        ("order.placed", ["order.placed"]),
        ("order.lost", ["order.lost"]),
        ("order.paid", ["order.paid", "OrderPaid"]),
        ("OrderEvent", ["OrderEvent"]),
        ("Status.PAID", ["Status.PAID"]),
        ("nothing.*", []),
    ],
)
def test_description_of_some_keys(shop, pattern, kept):
    assert [key.label for key in shop.filter(pattern).keys] == kept


def test_description_of_an_unknown_name_and_of_all(shop):
    (key,) = shop.filter("order.lost").keys

    assert [listener.key_label for listener in key.listeners] == ["order.*", "**"]
    assert shop.filter("*") == shop


def test_invalid_pattern_is_refused(shop):
    with pytest.raises(ValueError, match="whole segment"):
        shop.filter("order.pl*")


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda description: description.filter(None), r'filter\(\) takes a pattern such as "order.\*", .* got None'),
        (lambda description: description.filter(Event), r"the label of a key; got <class .* \(type\)"),
        (lambda description: description.listeners_for([]), r"a key or a name is hashable; got \[\] \(list\)"),
        (lambda description: description.listeners_for("order", Event()), "and the class of the event; got"),
        (lambda description: description.describe_key([]), r"a key or a name is hashable; got \[\] \(list\)"),
    ],
)
def test_wrong_arguments_of_look_ups_are_refused(dispatcher, look_up, message):
    with pytest.raises(TypeError, match=message):
        look_up(dispatcher.describe())
