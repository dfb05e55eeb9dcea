"""The catalogue: entries of names, classes and patterns, and where events are dispatched."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from antiphon import AsyncEventDispatcher, diagrams
from antiphon.diagrams._call_sites import find_call_sites
from antiphon.diagrams._catalogue_source import find_catalogue_source
from antiphon.diagrams._locate import LocateError
from antiphon.diagrams._source_code import read_sources

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


@pytest.fixture
def page(shop):
    return find_catalogue_source("shop.app:dispatcher").render()


def section(page, name):
    return page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0].strip()


# A whole page


def test_page_starts_with_its_subject(page):
    assert page.splitlines()[:4] == [
        "# Events of shop (AsyncEventDispatcher)",
        "",
        "Listeners are listed in the order in which they run.",
        "The places that dispatch an event were found in the source code of `shop`.",
    ]


def test_entries_are_ordered_by_definition_and_kind(page):
    headings = [line.removeprefix("## `").removesuffix("`") for line in page.splitlines() if line.startswith("## ")]

    assert headings == [
        "order.placed", "order.paid", "order.lost", "Other.LATE", "foreign", "order.sent", "OrderEvent", "order.*",
    ]  # fmt: skip


def test_entry_of_a_name(page):
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


@pytest.mark.parametrize(
    ("name", "start", "parts"),
    [
        # The class has this name.
        (
            "order.paid",
            "`ORDER_PAID`, with `Paid()`",
            ["The money \\| is there.", "- `Service.others`, `shop/app.py:33`"],
        ),
        # The class is dispatched under this name.
        (
            "order.lost",
            "`ORDER_LOST`, with `Strange(number: int, when: datetime)`",
            ["| `Strange` |", "- `Service.others`, `shop/app.py:30`\n- `Service.others`, `shop/app.py:31`"],
        ),
        ("Other.LATE", "`Other.LATE`", ["No listeners.", "- `Service.others`, `shop/app.py:32`"]),
        ("foreign", "With `Foreign()`", ["No place was found that dispatches it."]),
        (
            "order.sent",
            "| Priority |",
            [
                "- `Service.others`, `shop/app.py:34`\n- `Service.others`, `shop/app.py:35`\n- `shop.app`, `shop/app.py:43`"
            ],
        ),
        (
            "OrderEvent",
            "A class: `OrderEvent()`.\n\nWhat all of them have.\n\n- `number`: `int` – Its number.",
            ["The base of `OrderPlacedEvent`, `Paid`."],
        ),
        ("order.*", "A pattern.\n\n| Priority | Listener |", []),
    ],
)
def test_entries(page, name, start, parts):
    entry = section(page, name)

    assert entry.startswith(start)
    for part in parts:
        assert part in entry
    assert ("No place was found" in entry) == (name == "foreign")
    assert entry.count("- `Service.others`") == sum(part.count("- `Service.others`") for part in parts)


def test_private_and_foreign_names_are_omitted(page):
    for hidden in ("HIDDEN", "TIMEOUT", "lower", "_Private", "_secret", "NoEvent", "JSONDecoder", "`shop/app.py:36`"):
        assert hidden not in page


def test_page_is_the_same_each_time_and_may_be_part_of_another(shop, page):
    source = find_catalogue_source("shop.app:dispatcher")

    assert source.render() == page
    lines = source.render(level=3).splitlines()
    assert lines[0] == "### Events of shop (AsyncEventDispatcher)"
    assert "#### `order.placed`" in lines


def test_files_of_a_page(shop):
    files = {file.name for file in find_catalogue_source("shop.app:dispatcher").find_files()}

    assert files == {"__init__.py", "events.py", "app.py", "broken.py", "unloaded.py"}


# Other programs

HEAD = "from antiphon import Event, EventDispatcher\ndispatcher = EventDispatcher()\n"


def test_class_of_another_module(program):
    program(
        other="class Letter:\n    'A `letter` | on paper.\\n\\n    More.'",
        app=HEAD + "from other import Letter\ndispatcher.add_listener(Letter, print)",
    )

    entry = section(find_catalogue_source("app:dispatcher").render(), "Letter")

    assert entry.startswith("A class.\n\nA `letter` \\| on paper.\n\nDefined in `other.py:1`.")


def test_classes_with_different_listeners_are_separate(program):
    program(
        app=HEAD
        + "PLACED = 'placed'\nclass Small(Event): ...\nclass Large(Event): ...\nclass Huge(Large): ...\n"
        + "def count(event): ...\ndispatcher.add_listener(Large, count)\n"
        + "".join(f"dispatcher.dispatch(PLACED, {name}())\n" for name in ("Small", "Large", "Huge"))
    )

    entry = section(find_catalogue_source("app:dispatcher").render(), "placed")

    assert "`PLACED`, with `Small()` or `Large()` or `Huge()`" in entry
    assert "With `Small`:\n\nNo listeners.\n\nWith `Large` or `Huge`:\n\n| Priority | Listener |" in entry


def test_event_class_outside_of_the_events_module(program):
    program(
        shop__init="",
        shop__events="SENT = 'sent'",
        shop__app=HEAD
        + "from shop.events import SENT\nclass Letter(Event):\n    'A letter.'\n"
        + "def send(): dispatcher.dispatch(SENT, Letter())",
    )

    entry = section(find_catalogue_source("shop.app:dispatcher").render(), "sent")

    assert entry.startswith("`SENT`, with `Letter()`\n\nA letter.")


def test_plain_event_has_a_place(program):
    program(app=HEAD + "dispatcher.add_listener('order.placed', print)\ndispatcher.dispatch('order.placed', Event())")

    entry = section(find_catalogue_source("app:dispatcher").render(), "order.placed")

    assert entry.startswith("With `Event()`")
    assert "Dispatched in:\n\n- `app`, `app.py:" in entry


@pytest.mark.parametrize(
    ("modules", "path"),
    [
        ({"app": HEAD + "SENT = 'sent'"}, "app:dispatcher"),
        ({"shop__init": HEAD, "shop__events": "SENT = 'sent'"}, "shop:dispatcher"),
    ],
    ids=["the module itself", "events of the package"],
)
def test_default_modules_of_events(program, modules, path):
    program(**modules)

    page = find_catalogue_source(path).render()

    assert "`SENT`" in page
    assert f"source code of `{path.partition(':')[0]}`." in page


def test_modules_of_events_and_sources_may_be_named(program):
    program(
        shop__init="",
        shop__app="from antiphon import EventDispatcher\nmake = EventDispatcher",
        one="A = 'a'",
        two="B = 'b'",
        three="from one import A\nfrom two import B\ndef run(d):\n    d.dispatch(A)\n    d.dispatch(B)",
    )

    page = find_catalogue_source("shop.app:make()", events=["one", "two"], sources=["three"]).render()

    assert "- `run`, `three.py:4`" in section(page, "a")
    assert "- `run`, `three.py:5`" in section(page, "b")


@pytest.mark.parametrize("options", [{"events": ["nowhere"]}, {"sources": ["nowhere"]}])
def test_missing_module_is_refused(shop, options):
    with pytest.raises(LocateError, match="there is no module nowhere"):
        find_catalogue_source("shop.app:dispatcher", **options)


def test_raising_events_module_is_refused(program):
    program(shop__init="", shop__events="1 / 0", shop__app="from antiphon import EventDispatcher as make")

    with pytest.raises(LocateError, match=r"importing shop\.events raises ZeroDivisionError"):
        find_catalogue_source("shop.app:make()")


def test_module_without_source_has_no_entries():
    page = diagrams.catalogue(AsyncEventDispatcher().describe(), events=[sys])

    assert page.splitlines() == [
        "# Events of AsyncEventDispatcher",
        "",
        "Listeners are listed in the order in which they run.",
    ]


def test_relative_imports_and_reexports_are_followed(program):
    program(
        shop__init="from .events import SENT\n" + HEAD,
        shop__events="SENT = 'sent'",
        shop__deep__init="from .. import SENT as S\nfrom ..events import SENT as T\n"
        "def a(d): d.dispatch(S)\ndef b(d): d.dispatch(T)\ndef c(d):\n    from shop import SENT\n    d.dispatch(SENT)",
    )
    shop = importlib.import_module("shop")

    found = [each.function for source in read_sources(shop) for each in find_call_sites(source) if each.name == "sent"]

    assert found == ["a", "b", "c"]


def test_sources_are_not_imported(program):
    program(shop__init=HEAD, shop__trap="raise SystemExit")
    find_catalogue_source("shop:dispatcher").render()

    assert "shop.trap" not in sys.modules


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


@pytest.mark.parametrize("source", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("where", ["events", "app"])
def test_odd_program_has_a_page(program, source, where):
    app = HEAD + "dispatcher.add_listener('order.placed', print)\n"
    events = source if source in ("", "'Events.'") else HEAD + source
    program(
        shop__init="",
        shop__events=events if where == "events" else "",
        shop__app=app + source if where == "app" else app,
    )

    for modules in ((), ("shop.app",)):
        assert "`order.placed`" in find_catalogue_source("shop.app:dispatcher", events=modules).render()


# Computed names

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


@pytest.fixture
def page_of(program):
    """Return the page of the program whose ``ship`` dispatches under a written name."""

    def make(written=WRITTEN[0]):
        program(app=COMPUTED.replace("WRITTEN", written))
        return find_catalogue_source("app:dispatcher").render()

    return make


def listeners_in(entry):
    return {name for name in ("by_name", "by_pattern", "by_other", "by_class") if f"`{name}`" in entry}


@pytest.mark.parametrize(
    ("written", "cls", "under", "listeners"),
    [
        *((each, "Shipped", "`order.{kind", {"by_name", "by_pattern"}) for each in WRITTEN),
        ('"order.cards"', "Shipped", "`order.cards`.", {"by_pattern"}),
        # The end of a computed name counts as well.
        (WRITTEN[0], "Paid", "`order.{kind}.paid`.", {"by_pattern", "by_class"}),
        # Nothing is known of the name.
        (WRITTEN[0], "Lost", "`{names.lost}`.", {"by_name", "by_pattern", "by_other"}),
    ],
)
def test_class_under_a_computed_name_has_its_possible_listeners(page_of, written, cls, under, listeners):
    entry = section(page_of(written), cls)

    assert f"Dispatched under {under}" in entry
    assert "No listeners." not in entry
    assert listeners_in(entry) == listeners
    assert f"- `{({'Shipped': 'ship', 'Paid': 'pay', 'Lost': 'lose'})[cls]}`, `app.py:" in entry


def test_name_lists_the_computed_names_that_may_be_it(page_of):
    page = page_of()

    assert "- `ship`, `app.py:" in section(page, "order.books")
    assert "- `ship`" not in section(page, "payment.books")
    assert "- `pay`" not in section(page, "order.books")
    assert "- `lose`" not in section(page, "order.books")


def test_f_string_of_constants_is_a_name(page_of):
    assert section(page_of('f"{PREFIX}.books"'), "order.books").startswith("With `Shipped()`")


VARIABLES = """
    from antiphon import AsyncEventDispatcher, Event

    PREFIX = "order"
    PLACED = f"{PREFIX}.placed"
    dispatcher = AsyncEventDispatcher()

    class Placed(Event):
        name = PLACED

    class Paid(Event): ...

    class Lost(Event): ...

    async def by_name(event): ...

    for key in ("order.placed", "order.paid", "order.lost"):
        dispatcher.add_listener(key, by_name)

    async def place():
        event = Placed()
        await dispatcher.adispatch(event)

    async def pay(kind):
        BODY
"""

BODIES = {
    "a variable": ['name = "order.paid"', "await dispatcher.adispatch(name, Paid())"],
    "an f-string in a variable": ['name = f"{PREFIX}.paid"', "await dispatcher.adispatch(name, Paid())"],
    "a variable in an f-string": ['last: str = "paid"', 'await dispatcher.adispatch(f"{PREFIX}.{last}", Paid())'],
    "a sum of variables": ['a = b = PREFIX + "."', 'last = "paid"', "await dispatcher.adispatch(a + last, Paid())"],
    "a variable of a variable": ['first = "order.paid"', "name = first", "await dispatcher.adispatch(name, Paid())"],
    "an event in a variable": ["event = Paid()", 'await dispatcher.adispatch("order.paid", event)'],
    "both in variables": ["event, = [1]", "paid = Paid()", 'n = "order.paid"', "await dispatcher.adispatch(n, paid)"],
    "a nested function": ['name = "order.paid"', "async def inner():", "    await dispatcher.adispatch(name, Paid())"],
}

UNKNOWN_BODIES = {
    "a parameter": ["await dispatcher.adispatch(kind, Paid())"],
    "a parameter with the name of a constant": [
        "async def inner(PLACED):",
        "    await dispatcher.adispatch(PLACED, Paid())",
    ],
    "two assignments": ['name = "order.paid"', 'name = "order.lost"', "await dispatcher.adispatch(name, Paid())"],
    "a loop": ['for name in ("order.paid",):', "    await dispatcher.adispatch(name, Paid())"],
    "a circle": ["a = b", "b = a", "await dispatcher.adispatch(a, Paid())"],
    "a sum of itself": ['a = a + "paid"', "await dispatcher.adispatch(a, Paid())"],
}


def page_of_body(program, body):
    program(app=VARIABLES.replace("BODY", "\n        ".join(body)))
    return find_catalogue_source("app:dispatcher").render()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_class_that_reaches_its_name_through_a_variable_belongs_to_it(program, body):
    page = page_of_body(program, body)

    assert section(page, "order.paid").startswith("With `Paid()`")
    assert "with `Placed()`" in section(page, "order.placed")
    assert "- `place`, `app.py:" in section(page, "order.placed")
    assert "`Lost()`" not in section(page, "order.lost")


@pytest.mark.parametrize("body", UNKNOWN_BODIES.values(), ids=UNKNOWN_BODIES)
def test_class_under_an_unknown_name_says_so(program, body):
    entry = section(page_of_body(program, body), "Paid")

    assert "Dispatched under `" in entry and "The listeners that may run:" in entry
    assert "`by_name`" in entry


def test_each_event_of_the_example_proxy_has_a_place(monkeypatch):
    monkeypatch.chdir(ROOT)

    page = find_catalogue_source("examples.proxy.dispatcher:make_dispatcher()").render()

    assert page.count("\nDispatched in:\n") == 7
    assert "No place was found" not in page
    assert "| 10 | `Storage.post_record`<br>examples/proxy/applications/storage.py:96 | `TransactionEnded` |" in page
