"""The catalogue: what it tells of names, classes and patterns, and where events are dispatched."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from antiphon import AsyncEventDispatcher, diagrams
from antiphon.diagrams._call_sites import dispatches_in
from antiphon.diagrams._catalogue_source import reference_of
from antiphon.diagrams._locate import NotFound
from antiphon.diagrams._source_code import sources_of

ROOT = Path(__file__).parent.parent.parent

EVENTS = """
    from enum import Enum, StrEnum
    from antiphon import Event
    from typing import Any
    from json import JSONDecoder

    #: The order is in.
    #: It may be large.
    EVENT_ORDER_PLACED = "order.placed"
    ORDER_PAID: str = "order.paid"
    \"\"\"The money | is there.\"\"\"
    ORDER_LOST = "order.lost"
    _HIDDEN = "order.hidden"
    TIMEOUT = 7
    lower = "order.lower"

    class Other(Enum):
        LATE = "late"

    class OrderEvent(Event):
        \"\"\"What all of them have.\"\"\"

        #: Its number.
        number: int
        _secret: int

    class OrderPlacedEvent(OrderEvent):
        \"\"\"An order `is` in.

        - one
        + two

        Args:
            number: Its number.
        \"\"\"

        #: What it costs.
        price: "int | None"

        def __init__(self, number, *others, price: int = object(), **more: Any): ...

    class Paid(OrderEvent):
        name = "order.paid"

    class Strange(Event):
        def __init__(self, number: "int", when: "datetime.datetime"): ...

    class _Private(Event): ...

    class NoEvent: ...

    class Foreign:
        name = "foreign"
"""

APP = """
    from antiphon import AsyncEventDispatcher
    from . import events
    from .events import EVENT_ORDER_PLACED as PLACED, OrderPlacedEvent, Paid, Strange, OrderEvent
    import shop.events as named
    import shop.events

    dispatcher = AsyncEventDispatcher(name="shop")

    @dispatcher.listen("order.placed")
    async def listen(event):
        \"\"\"Listen.\"\"\"

    dispatcher.add_listener("order.*", listen)
    dispatcher.add_listener(Strange, listen)
    dispatcher.add_listener(OrderEvent, listen, priority=1)
    dispatcher.add_listener("order.sent", listen)

    class Service:
        async def place(self):
            \"\"\"Place an order.

            More.
            \"\"\"
            await dispatcher.adispatch(PLACED, OrderPlacedEvent(1))

        def report(self, name, event): ...

        async def others(self, queue):
            self.report(named.ORDER_LOST, Strange(1, 2))
            await queue.post(shop.events.ORDER_LOST, event)
            await dispatcher.adispatch(events.Other.LATE, 7)
            await dispatcher.adispatch(Paid())
            await dispatcher.adispatch("order.sent", unknown.Event())
            await dispatcher.adispatch("order." + "sent")
            self.report(unknown, OrderEvent())
            self.report(named.ORDER_LOST, "no event")
            dispatcher.add_listener(named.ORDER_LOST, listen)
            dispatcher.dispatch()
            (lambda: None)()

    if False:
        dispatcher.adispatch("order.sent")
"""


@pytest.fixture
def shop(program):
    program(shop__init="", shop__events=EVENTS, shop__app=APP, shop__broken="def", shop__unloaded="A = 1\nadispatch(A)")
    return importlib.import_module("shop")


def section(page, name):
    return page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0].strip()


@pytest.fixture
def page(shop):
    return reference_of("shop.app:dispatcher").write()


def test_the_page_begins_with_what_it_is(page):
    assert page.splitlines()[:4] == [
        "# Events of shop (AsyncEventDispatcher)",
        "",
        "Listeners stand in the order in which they run.",
        "Where events are dispatched has been read in the sources of `shop`.",
    ]


def test_names_come_as_they_are_defined_then_other_names_classes_and_patterns(page):
    headings = [line.removeprefix("## `").removesuffix("`") for line in page.splitlines() if line.startswith("## ")]

    assert headings == [
        "order.placed", "order.paid", "order.lost", "Other.LATE", "foreign", "order.sent", "OrderEvent", "order.*",
    ]  # fmt: skip


def test_a_name_tells_its_constant_class_docstring_attributes_listeners_and_dispatches(page):
    assert (
        section(page, "order.placed")
        == """\
`EVENT_ORDER_PLACED`, with `OrderPlacedEvent(number, *others, price: int = …, **more: Any)`

The order is in. It may be large.

An order `is` in.

- one
\\+ two

- `number`: `int` – Its number.
- `price`: `int | None` – What it costs.

| Priority | Listener | Through | What it does |
| --: | --- | --- | --- |
| 0 | `listen`<br>shop/app.py:10 |  | Listen. |
| 0 | `listen`<br>shop/app.py:10 | `order.*` | Listen. |
| 1 | `listen`<br>shop/app.py:10 | `OrderEvent` | Listen. |

Dispatched in:

- `Service.place`, `shop/app.py:25`: Place an order."""
    )


def test_a_class_belongs_to_the_name_that_it_has(page):
    told = section(page, "order.paid")

    assert "`ORDER_PAID`, with `Paid()`" in told
    assert "The money \\| is there." in told
    assert "- `Service.others`, `shop/app.py:33`" in told


def test_a_class_belongs_to_the_name_under_which_it_is_dispatched(page):
    told = section(page, "order.lost")

    assert "with `Strange(number: int, when: datetime)`" in told
    assert "| `Strange` |" in told
    assert [line for line in told.splitlines() if line.startswith("- `Service")] == [
        "- `Service.others`, `shop/app.py:30`",
        "- `Service.others`, `shop/app.py:31`",
    ]


def test_members_of_an_enumeration_are_names(page):
    assert "`Other.LATE`" in section(page, "Other.LATE")
    assert "Nobody listens." in section(page, "Other.LATE")
    assert "`shop/app.py:32`" in section(page, "Other.LATE")


def test_a_class_that_gives_a_name_makes_an_entry_without_a_constant(page):
    assert section(page, "foreign").startswith("with `Foreign()`")
    assert "No place was found that dispatches it." in section(page, "foreign")


def test_a_dispatch_at_the_top_of_a_module_is_found(page):
    assert "- `shop.app`, `shop/app.py:43`" in section(page, "order.sent")
    assert "- `Service.others`, `shop/app.py:34`" in section(page, "order.sent")
    assert "- `Service.others`, `shop/app.py:35`" in section(page, "order.sent")
    assert "`shop/app.py:36`" not in page


def test_a_base_class_tells_of_what_it_is_the_base(page):
    told = section(page, "OrderEvent")

    assert told.startswith("A class: `OrderEvent()`.\n\nWhat all of them have.\n\n- `number`: `int` – Its number.")
    assert "The base of `OrderPlacedEvent`, `Paid`." in told
    assert "No place" not in told
    assert "_secret" not in page


def test_a_class_of_another_module_tells_what_it_is(program):
    program(
        other="class Letter:\n    'A `letter` | on paper.\\n\\n    More.'",
        app="from antiphon import EventDispatcher\nfrom other import Letter\ndispatcher = EventDispatcher()\n"
        "dispatcher.add_listener(Letter, print)",
    )

    told = section(reference_of("app:dispatcher").write(), "Letter")

    assert told.startswith("A class.\n\nA `letter` \\| on paper.\n\nDefined in `other.py:1`.")


def test_a_pattern_tells_who_listens_to_it(page):
    assert section(page, "order.*").startswith("A pattern.\n\n| Priority | Listener |")


def test_what_was_not_asked_for_is_not_told(page):
    for hidden in ("HIDDEN", "TIMEOUT", "lower", "_Private", "NoEvent", "JSONDecoder"):
        assert hidden not in page


def test_the_same_program_has_the_same_page(shop, page):
    assert reference_of("shop.app:dispatcher").write() == page


def test_the_page_can_be_a_part_of_another(shop):
    lines = reference_of("shop.app:dispatcher").write(level=3).splitlines()

    assert lines[0] == "### Events of shop (AsyncEventDispatcher)"
    assert "#### `order.placed`" in lines


def test_classes_with_other_listeners_are_told_one_by_one(program):
    program(
        app="""
        from antiphon import EventDispatcher, Event
        PLACED = "placed"
        class Small(Event): ...
        class Large(Event): ...
        class Huge(Large): ...
        dispatcher = EventDispatcher()
        def count(event): ...
        dispatcher.add_listener(Large, count)
        dispatcher.dispatch(PLACED, Small())
        dispatcher.dispatch(PLACED, Large())
        dispatcher.dispatch(PLACED, Huge())
        """
    )

    told = section(reference_of("app:dispatcher").write(), "placed")

    assert "`PLACED`, with `Small()` or `Large()` or `Huge()`" in told
    assert "With `Small`:\n\nNobody listens.\n\nWith `Large` or `Huge`:\n\n| Priority | Listener |" in told


def test_an_event_class_from_elsewhere_is_told_where_it_is_dispatched(program):
    program(
        shop__init="",
        shop__events="SENT = 'sent'",
        shop__app="""
        from antiphon import EventDispatcher, Event
        from shop.events import SENT
        class Letter(Event):
            \"\"\"A letter.\"\"\"
        dispatcher = EventDispatcher()
        def send(): dispatcher.dispatch(SENT, Letter())
        """,
    )

    told = section(reference_of("shop.app:dispatcher").write(), "sent")

    assert told.startswith("`SENT`, with `Letter()`\n\nA letter.")


def test_without_an_events_module_the_names_are_looked_for_in_the_module_itself(program):
    program(app="from antiphon import EventDispatcher\nPLACED = 'placed'\ndispatcher = EventDispatcher()")

    page = reference_of("app:dispatcher").write()

    assert "`PLACED`" in page
    assert "sources of `app`." in page


def test_the_events_beside_a_package_are_its_own(program):
    program(
        shop__init="from antiphon import EventDispatcher\ndispatcher = EventDispatcher()", shop__events="SENT = 'sent'"
    )

    assert "`SENT`" in reference_of("shop:dispatcher").write()


def test_modules_of_events_and_sources_can_be_named(program):
    program(
        shop__init="", shop__app="from antiphon import EventDispatcher\nmake = EventDispatcher", one="A = 'a'",
        two="B = 'b'", three="from one import A\nfrom two import B\nimport shop\nshop.dispatch(A)\nshop.dispatch(B)",
    )  # fmt: skip
    program(three="from one import A\nfrom two import B\ndef run(d):\n    d.dispatch(A)\n    d.dispatch(B)")

    page = reference_of("shop.app:make()", events=["one", "two"], sources=["three"]).write()

    assert "- `run`, `three.py:4`" in section(page, "a")
    assert "- `run`, `three.py:5`" in section(page, "b")


@pytest.mark.parametrize("named", [{"events": ["nowhere"]}, {"sources": ["nowhere"]}])
def test_a_module_that_is_not_there_is_refused(shop, named):
    with pytest.raises(NotFound, match="there is no module nowhere"):
        reference_of("shop.app:dispatcher", **named)


def test_an_events_module_that_raises_is_refused(program):
    program(shop__init="", shop__events="1 / 0", shop__app="from antiphon import EventDispatcher as make")

    with pytest.raises(NotFound, match=r"importing shop\.events raises ZeroDivisionError"):
        reference_of("shop.app:make()")


def test_modules_without_source_have_nothing_to_tell():
    page = diagrams.catalogue(AsyncEventDispatcher().describe(), events=[importlib.import_module("sys")])

    assert page.splitlines() == [
        "# Events of AsyncEventDispatcher",
        "",
        "Listeners stand in the order in which they run.",
    ]


def test_relative_imports_and_reexports_are_followed(program):
    program(
        shop__init="from .events import SENT\nfrom antiphon import EventDispatcher\ndispatcher = EventDispatcher()",
        shop__events="SENT = 'sent'",
        shop__deep__init="from .. import SENT as S\nfrom ..events import SENT as T\n"
        "def a(d): d.dispatch(S)\ndef b(d): d.dispatch(T)\ndef c(d):\n    from shop import SENT\n    d.dispatch(SENT)",
    )
    shop = importlib.import_module("shop")

    found = [found.function for source in sources_of(shop) for found in dispatches_in(source) if found.name == "sent"]

    assert found == ["a", "b", "c"]


def test_the_files_that_a_page_is_made_of_are_known(shop):
    files = {file.name for file in reference_of("shop.app:dispatcher").files()}

    assert files == {"__init__.py", "events.py", "app.py", "broken.py", "unloaded.py"}


def test_reading_sources_imports_and_runs_nothing(program):
    import sys

    program(
        shop__init="from antiphon import EventDispatcher\ndispatcher = EventDispatcher()", shop__trap="raise SystemExit"
    )
    reference_of("shop:dispatcher").write()

    assert "shop.trap" not in sys.modules


# Odd programs

ODD = {
    "an empty module": "",
    "a docstring alone": "'Events.'",
    "a bare event": "dispatcher.dispatch('order.placed', Event())",
    "a class made by type": "Made = type('Made', (Event,), {})\ndispatcher.dispatch('order.placed', Made())",
    "a class of no module": "Made = type('M', (Event,), {'__module__': 7})\ndispatcher.dispatch('order.placed', Made())",
    "a class with an odd name": "Made = type('a b|`c`', (Event,), {})\ndispatcher.dispatch('order.placed', Made())",
    "a nested class": "class Outer:\n    class Made(Event):\n        price: int\nMade = Outer.Made",
    "a metaclass that raises": """
class Meta(type):
    @property
    def name(cls):
        raise RuntimeError
class Made(Event, metaclass=Meta): ...
""",
    "a constant without a hash": "class Text(str):\n    __hash__ = None\nORDER = Text('order.placed')",
    "a constant that compares in its own way": """
class Text(str):
    def __eq__(self, other):
        raise RuntimeError
    __hash__ = str.__hash__
ORDER = Text('order.placed')
""",
    "a module that refuses attributes": "def __getattr__(name):\n    raise RuntimeError(name)",
    "a dispatch without arguments": "def never():\n    dispatcher.dispatch()\n    dispatcher.dispatch(*[], **{})",
}
WITHOUT_IMPORTS = ("", "'Events.'")


@pytest.mark.parametrize("source", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("where", ["events", "app"])
def test_an_odd_program_has_a_page(program, source, where):
    head = "from antiphon import Event, EventDispatcher\ndispatcher = EventDispatcher()\n"
    events = source if source in WITHOUT_IMPORTS else head + source
    app = head + "dispatcher.add_listener('order.placed', print)\n"
    program(
        shop__init="",
        shop__events=events if where == "events" else "",
        shop__app=app + source if where == "app" else app,
    )

    for modules in ((), ("shop.app",)):
        assert "`order.placed`" in reference_of("shop.app:dispatcher", events=modules).write()


def test_it_is_told_where_a_bare_event_is_dispatched(program):
    program(
        app="""
        from antiphon import Event, EventDispatcher
        dispatcher = EventDispatcher()
        dispatcher.add_listener("order.placed", print)
        dispatcher.dispatch("order.placed", Event())
        """
    )

    told = section(reference_of("app:dispatcher").write(), "order.placed")

    assert told.startswith("with `Event()`")
    assert "Dispatched in:\n\n- `app`, `app.py:" in told


# Names that are computed

COMPUTED = """
    from antiphon import Event, EventDispatcher

    PREFIX = "order"

    class Shipped(Event): ...
    class Paid(Event): ...
    class Lost(Event): ...

    dispatcher = EventDispatcher()

    def by_name(event): ...
    def by_pattern(event): ...
    def by_other(event): ...
    def by_class(event): ...

    dispatcher.add_listener("order.books", by_name)
    dispatcher.add_listener("order.**", by_pattern)
    dispatcher.add_listener("payment.*", by_other)
    dispatcher.add_listener("payment.books", by_other)
    dispatcher.add_listener(Paid, by_class)

    def ship(kind):
        dispatcher.dispatch(WRITTEN, Shipped())

    def pay(kind):
        dispatcher.dispatch("order." + kind + ".paid", Paid())

    def lose(names):
        dispatcher.dispatch(names.lost, Lost())
"""

WRITTEN = [
    'f"order.{kind}"',
    'f"{PREFIX}.{kind}"',
    '"order." + kind',
    'PREFIX + f".{kind!s:>3}"',
    'f"{PREFIX}" + "." + kind.name',
]


def listeners_in(told):
    return {name for name in ("by_name", "by_pattern", "by_other", "by_class") if f"`{name}`" in told}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_class_dispatched_under_a_computed_name_tells_who_may_listen(program, name):
    program(app=COMPUTED.replace("WRITTEN", name))

    told = section(reference_of("app:dispatcher").write(), "Shipped")

    assert "Dispatched under `order.{kind" in told
    assert "Nobody listens." not in told
    assert listeners_in(told) == {"by_name", "by_pattern"}
    assert "- `ship`, `app.py:" in told


def test_a_name_tells_of_the_computed_names_that_may_be_it(program):
    program(app=COMPUTED.replace("WRITTEN", WRITTEN[0]))
    page = reference_of("app:dispatcher").write()

    assert "- `ship`, `app.py:" in section(page, "order.books")
    assert "- `ship`" not in section(page, "payment.books")
    assert "- `lose`" not in section(page, "order.books"), "of which nothing is known"


def test_the_end_of_a_computed_name_counts_as_well(program):
    program(app=COMPUTED.replace("WRITTEN", WRITTEN[0]))
    page = reference_of("app:dispatcher").write()

    assert listeners_in(section(page, "Paid")) == {"by_pattern", "by_class"}
    assert "- `pay`" not in section(page, "order.books")


def test_under_a_name_of_which_nothing_is_known_all_may_listen(program):
    program(app=COMPUTED.replace("WRITTEN", WRITTEN[0]))

    told = section(reference_of("app:dispatcher").write(), "Lost")

    assert "Dispatched under `{names.lost}`." in told
    assert listeners_in(told) == {"by_name", "by_pattern", "by_other"}


def test_a_class_dispatched_under_a_name_without_an_entry_tells_who_listens(program):
    program(app=COMPUTED.replace("WRITTEN", '"order.cards"'))

    told = section(reference_of("app:dispatcher").write(), "Shipped")

    assert "Dispatched under `order.cards`." in told
    assert listeners_in(told) == {"by_pattern"}


def test_an_f_string_of_constants_is_a_name(program):
    program(app=COMPUTED.replace("WRITTEN", 'f"{PREFIX}.books"'))
    page = reference_of("app:dispatcher").write()

    assert section(page, "order.books").startswith("with `Shipped()`")


def test_the_example_proxy_has_a_place_for_each_of_its_events(monkeypatch):
    monkeypatch.chdir(ROOT)

    page = reference_of("examples.proxy.dispatcher:make_dispatcher()").write()

    assert page.count("\nDispatched in:\n") == 7
    assert "No place was found" not in page
    assert "| 10 | `Storage.post_record`<br>examples/proxy/applications/storage.py:96 | `TransactionEnded` |" in page
