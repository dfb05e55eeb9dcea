"""`describe()`: who listens to what, in which order, and where each listener is defined."""

from __future__ import annotations

import enum
import functools
import os
import pickle
from functools import partial
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread, inline, listens_to
from antiphon.diagrams import Description, ListenerDescription

HERE = Path(__file__)


async def sing(event):
    """Sing a line.

    And another one.
    """


async def hum(event): ...


def is_loud(event):
    return True


def line_of(function):
    return function.__code__.co_firstlineno


class OrderPlaced(Event):
    """A order.placed for all."""


class Carol(OrderPlaced):
    name = "carol"


class Status(enum.Enum):
    PAID = "paid"


class Name(str, enum.Enum):  # noqa: UP042  its str() is not its value, which a StrEnum's is
    SUNG = "hymn.sung"


class Singer:
    """Somebody who sings."""

    async def alto(self, event):
        """Sing below."""

    @classmethod
    async def tenor(cls, event): ...

    @staticmethod
    async def bass(event): ...

    async def part(self, name, event): ...

    async def __call__(self, event):
        """Sing alone."""


class Soprano(Singer):
    async def alto(self, event): ...


@pytest.fixture
def dispatcher():
    return AsyncEventDispatcher(name="choir")


def names(listeners):
    return [listener.name for listener in listeners]


def only_listener(dispatcher, listener, **options) -> ListenerDescription:
    dispatcher.add_listener("hymn", listener, **options)
    (described,) = dispatcher.describe().listeners
    return described


# The order


def test_the_listeners_of_a_name_come_in_the_order_in_which_they_run_through_whatever_key(dispatcher):
    dispatcher.add_listener("hymn.sung", hum, priority=5)
    dispatcher.add_listener("hymn.*", sing)
    dispatcher.add_listener(Event, Singer().alto)
    dispatcher.add_listener("*", Singer.tenor, priority=-5)
    dispatcher.add_listener("hymn.ended", Singer.bass)

    described = dispatcher.describe().describe_key("hymn.sung")

    assert names(described.listeners) == ["Singer.tenor", "sing", "Singer.alto", "hum"]
    assert [one.key_label for one in described.listeners] == ["*", "hymn.*", "Event", "hymn.sung"]
    assert [one.priority for one in described.listeners] == [-5, 0, 0, 5]


async def test_what_is_described_is_what_runs(dispatcher):
    ran = []

    def singer(label):
        async def sings(event):
            ran.append(label)

        sings.__qualname__ = label
        return sings

    keys = ["hymn.sung", "hymn.*", OrderPlaced, "*", Event, "**.sung", Carol, "hymn.ended"]
    for number, key in enumerate(keys):
        dispatcher.add_listener(key, singer(f"a{number}"), priority=-(number % 3))
        dispatcher.add_listener(key, singer(f"b{number}"), priority=number % 2)
    description = dispatcher.describe()

    for name, event in [
        ("hymn.sung", OrderPlaced()),
        ("hymn.sung", Event()),
        ("carol", Carol()),
        (None, OrderPlaced()),
    ]:
        ran.clear()
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
        assert names(description.listeners_for(name, type(event))) == ran


def test_a_class_tells_who_hears_its_events_under_the_name_that_it_has(dispatcher):
    dispatcher.add_listener("carol", hum)
    dispatcher.add_listener(Carol, sing)
    dispatcher.add_listener(OrderPlaced, Singer.tenor)

    description = dispatcher.describe()

    assert names(description.describe_key(Carol).listeners) == ["hum", "sing", "Singer.tenor"]
    assert names(description.describe_key(OrderPlaced).listeners) == ["Singer.tenor"]


def test_a_pattern_tells_who_listens_to_it(dispatcher):
    dispatcher.add_listener("hymn.*", sing)
    dispatcher.add_listener("*", hum)

    assert names(dispatcher.describe().describe_key("hymn.*").listeners) == ["sing"]


def test_keys_come_by_kind_and_then_by_their_text(dispatcher):
    for key in ["b", OrderPlaced, "*", "a.*", 7, "a", Status.PAID, Carol]:
        dispatcher.add_listener(key, sing)

    keys = dispatcher.describe().keys

    assert [(key.kind, key.label) for key in keys] == [
        ("name", "a"),
        ("name", "b"),
        ("other", "7"),
        ("other", "Status.PAID"),
        ("class", "Carol"),
        ("class", "OrderPlaced"),
        ("pattern", "*"),
        ("pattern", "a.*"),
    ]


def test_a_string_that_is_a_member_of_an_enumeration_is_called_by_its_value(dispatcher):
    dispatcher.add_listener(Name.SUNG, sing)

    assert [key.label for key in dispatcher.describe().keys] == ["hymn.sung"]


def test_the_same_listener_added_twice_is_told_twice(dispatcher):
    dispatcher.add_listener("hymn", sing)
    dispatcher.add_listener("hymn", sing)

    assert names(dispatcher.describe().describe_key("hymn").listeners) == ["sing", "sing"]


def test_nobody_listens_to_an_empty_dispatcher(dispatcher):
    assert dispatcher.describe() == Description("choir", "AsyncEventDispatcher", (), ())


def test_a_dispatcher_without_a_name_is_called_by_its_class():
    assert EventDispatcher().describe()[:2] == ("EventDispatcher", "EventDispatcher")


# A record of the moment


def test_later_registrations_do_not_change_a_description(dispatcher):
    dispatcher.add_listener("hymn", sing)
    before = dispatcher.describe()
    dispatcher.remove_listener("hymn", sing)

    assert names(before.listeners) == ["sing"]
    assert dispatcher.describe().listeners == ()


def test_two_descriptions_of_the_same_registrations_are_equal(dispatcher):
    dispatcher.add_listener("hymn", sing)

    assert dispatcher.describe() == dispatcher.describe()


def test_a_description_cannot_be_changed(dispatcher):
    description = dispatcher.describe()

    with pytest.raises(AttributeError):
        description.dispatcher = "another"
    with pytest.raises(AttributeError):
        description.anything = "new"


def test_a_description_can_be_pickled(dispatcher):
    dispatcher.add_listener("hymn", sing, where=is_loud)
    description = dispatcher.describe()

    assert pickle.loads(pickle.dumps(description)) == description


def test_a_description_keeps_no_listener_alive(dispatcher):
    import gc
    import weakref

    singer = Singer()
    dispatcher.add_listener("hymn", singer.alto)
    description = dispatcher.describe()
    dispatcher.remove_listener("hymn", singer.alto)
    gone = weakref.ref(singer)
    del singer
    gc.collect()

    assert gone() is None
    assert names(description.listeners) == ["Singer.alto"]


# Where a listener is defined


def test_a_function_tells_its_name_file_line_and_the_first_line_of_its_docstring(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent.parent)

    definition = only_listener(dispatcher, sing).definition

    assert definition[1:] == (__name__, None, "seeing/test_describe.py", line_of(sing), "Sing a line.")
    assert definition.name == "sing"
    assert definition.place == f"seeing/test_describe.py:{line_of(sing)}"


def test_a_file_elsewhere_is_told_in_full(dispatcher, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert only_listener(dispatcher, sing).definition.file == str(HERE)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the current directory")
def test_a_current_directory_that_is_gone_does_no_harm(dispatcher, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert only_listener(dispatcher, sing).definition.file == str(HERE)


@pytest.mark.parametrize(
    ("listener", "name", "owner", "line"),
    [
        (Singer().alto, "Singer.alto", "Singer", line_of(Singer.alto)),
        (Soprano().alto, "Soprano.alto", "Soprano", line_of(Soprano.alto)),
        (Soprano().part, "Soprano.part", "Soprano", line_of(Singer.part)),
        (Singer.tenor, "Singer.tenor", "Singer", line_of(Singer.tenor.__func__)),
        (Soprano.tenor, "Soprano.tenor", "Soprano", line_of(Singer.tenor.__func__)),
        (Singer.bass, "Singer.bass", None, line_of(Singer.bass)),
        (Singer(), "Singer", "Singer", line_of(Singer.__call__)),
        (partial(Singer().part, "alto"), "Singer.part('alto')", "Singer", line_of(Singer.part)),
        (partial(partial(sing)), "sing()", None, line_of(sing)),
        (inline(is_loud), "is_loud", None, line_of(is_loud)),
        (in_thread(is_loud), "is_loud", None, line_of(is_loud)),
        (inline(inline(sing)), "sing", None, line_of(sing)),
        (inline(partial(is_loud)), "is_loud()", None, line_of(is_loud)),
        (inline(lambda event: None), "<lambda>", None, None),
        (inline(len), "len", None, None),
        (AsyncMock(), "AsyncMock", None, None),
        (inline(MagicMock()), "MagicMock", None, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_listeners_of_all_kinds_tell_what_they_are_and_where(dispatcher, listener, name, owner, line):
    definition = only_listener(dispatcher, listener).definition

    assert (definition.name, definition.owner) == (name, owner)
    if name == "<lambda>":
        assert definition.line is not None
    else:
        assert definition.line == line
        assert (definition.file is None) == (line is None)


def test_arguments_of_a_partial_that_are_long_or_no_plain_values_are_left_out(dispatcher):
    async def part(*arguments, **named): ...

    described = only_listener(dispatcher, partial(part, 1, None, Status.PAID, "x" * 30, Singer(), voice="alto"))

    assert described.name == "part(1, None, Status.PAID, …, …, voice='alto')"


def test_a_decorated_function_is_where_the_function_is(dispatcher):
    def decorate(function):
        @functools.wraps(function)
        async def wrapper(event): ...

        return wrapper

    definition = only_listener(dispatcher, decorate(sing)).definition

    assert (definition.name, definition.line) == ("sing", line_of(sing))


def test_the_functions_around_a_listener_are_not_part_of_its_name(dispatcher):
    async def nested(event): ...

    assert only_listener(dispatcher, nested).name == "nested"


def test_what_was_not_read_from_a_file_has_none(dispatcher):
    namespace = {}
    exec("async def made(event): 'Made up.'", namespace)

    definition = only_listener(dispatcher, namespace["made"]).definition

    assert (definition.name, definition.file, definition.line, definition.place) == ("made", None, None, "")
    assert definition.doc == "Made up."


def test_an_inherited_docstring_counts_for_a_method(dispatcher):
    assert only_listener(dispatcher, Soprano().alto).definition.doc == "Sing below."


class Odd:
    """An object that has come to mind being looked at."""

    minds = False

    def __getattribute__(self, name):
        if Odd.minds:
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


def test_odd_listeners_do_no_harm(monkeypatch):
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", Odd(), where=Odd())
    dispatcher.add_listener("hymn", partial(Odd()))

    monkeypatch.setattr(Odd, "minds", True)
    first, second = dispatcher.describe().listeners

    assert (first.name, first.where, second.name) == ("Odd", "Odd", "partial")


def test_a_listener_that_wraps_itself_does_no_harm(dispatcher):
    assert only_listener(dispatcher, OddlyNamed()).name == "OddlyNamed"


def test_a_class_as_a_key_tells_where_it_is(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    dispatcher.add_listener(OrderPlaced, sing)

    (key,) = dispatcher.describe().keys

    lines = HERE.read_text().splitlines()
    assert key.definition == (
        "OrderPlaced",
        __name__,
        None,
        HERE.name,
        lines.index("class OrderPlaced(Event):") + 1,
        "A order.placed for all.",
    )


def test_a_builtin_class_as_a_key_is_nowhere(dispatcher):
    dispatcher.add_listener(dict, sing)

    (key,) = dispatcher.describe().keys

    assert (key.label, key.definition.file, key.definition.line) == ("dict", None, None)


# Options


def test_options_are_told(dispatcher):
    described = only_listener(dispatcher, sing, once=True, where=is_loud, timeout=2.5, limit=3)

    assert (described.once, described.where, described.timeout, described.limit) == (True, "is_loud", 2.5, 3)
    assert described.options == ("once", "where is_loud", "timeout 2.5 s", "limit 3")


def test_a_listener_without_options_has_nothing_to_tell(dispatcher):
    assert only_listener(dispatcher, sing).options == ()


def test_a_lambda_that_is_asked_tells_where_it_is(dispatcher, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    where = lambda event: True

    assert only_listener(dispatcher, sing, where=where).where == f"lambda at {HERE.name}:{line_of(where)}"


@pytest.mark.parametrize(
    ("listener", "adapter"),
    [
        (inline(is_loud), "inline"),
        (in_thread(is_loud), "in_thread"),
        (in_thread(is_loud, abandon_on_cancel=True), "in_thread, abandon_on_cancel"),
        (sing, None),
    ],
)
def test_what_makes_a_plain_function_a_listener_is_told(dispatcher, listener, adapter):
    described = only_listener(dispatcher, listener)

    assert described.adapter == adapter
    assert described.options == ((adapter,) if adapter else ())


@pytest.mark.parametrize(("way", "adapter"), [("inline", "inline"), ("thread", "in_thread")])
def test_what_the_dispatcher_makes_of_plain_functions_is_told(way, adapter):
    dispatcher = AsyncEventDispatcher(sync_listeners=way)
    dispatcher.add_listener("hymn", is_loud)
    dispatcher.add_listener("hymn", sing)

    assert [(one.name, one.adapter) for one in dispatcher.describe().listeners] == [
        ("is_loud", adapter),
        ("sing", None),
    ]


# Who else listens


async def test_streams_and_expectations_that_listen_now_are_told_by_their_repr(dispatcher):
    async with dispatcher.stream("hymn", "carol.*") as stream:
        listeners = dispatcher.describe().describe_key("hymn").listeners
        assert names(listeners) == [repr(stream)] == ["<stream of 'hymn' | 'carol.*'>"]
        assert [key.label for key in dispatcher.describe().keys] == ["hymn", "carol.*"]
        assert listeners == dispatcher.describe().describe_key("carol.*").listeners
        assert listeners[0].key_label == "hymn | carol.*"

    async with anyio.create_task_group() as tasks:
        async with dispatcher.expect("hymn"):
            assert names(dispatcher.describe().listeners) == ["<expected 'hymn'>"]
            tasks.start_soon(dispatcher.adispatch, "hymn")
    assert dispatcher.describe().keys == ()


def test_a_subscriber_is_told_by_its_methods(dispatcher):
    class Choir:
        @listens_to("hymn")
        async def rise(self, event): ...

    dispatcher.add_subscriber(Choir())

    assert names(dispatcher.describe().listeners) == ["Choir.rise"]


def test_a_scope_tells_its_own_listeners_and_those_of_its_parent_which_are_marked(dispatcher):
    dispatcher.add_listener("hymn", sing)
    with dispatcher.scope() as scoped, scoped.scope() as inner:
        scoped.add_listener("hymn", hum, priority=-1)
        inner.add_listener("hymn.*", hum)
        description = scoped.describe()

        assert description.dispatcher == "scope of choir"
        assert description.dispatcher_class == "AsyncScope"
        assert [(one.name, one.inherited) for one in description.listeners] == [("hum", False), ("sing", True)]
        assert description.listeners[1].options == ("of the parent",)
        assert inner.describe().dispatcher == "scope of scope of choir"
        assert len(inner.describe().listeners) == 3
        assert names(dispatcher.describe().listeners) == ["sing"]


# A part of it


@pytest.fixture
def shop(dispatcher):
    for key in ["order.placed", "order.paid", "stock.low", "order.*", "**", Carol, OrderPlaced, Status.PAID]:
        dispatcher.add_listener(key, sing)
    return dispatcher.describe()


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("order.*", ["order.paid", "order.placed", "order.*"]),
        ("order.placed", ["order.placed"]),
        ("order.lost", ["order.lost"]),
        ("carol", ["carol", "Carol"]),
        ("OrderPlaced", ["OrderPlaced"]),
        ("Status.PAID", ["Status.PAID"]),
        ("nothing.*", []),
    ],
)
def test_a_description_can_be_of_some_keys_only(shop, pattern, kept):
    assert [key.label for key in shop.filter(pattern).keys] == kept


def test_a_star_keeps_all(shop):
    assert shop.filter("*") == shop


def test_a_name_that_nobody_registered_for_tells_who_hears_it(shop):
    (key,) = shop.filter("order.lost").keys

    assert [listener.key_label for listener in key.listeners] == ["order.*", "**"]


def test_what_is_no_pattern_is_refused(shop):
    with pytest.raises(ValueError, match="whole segment"):
        shop.filter("order.pl*")
