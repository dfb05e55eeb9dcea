"""The formats of `antiphon.diagrams`, for a small shop and for hostile names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, EventDispatcher, diagrams
from antiphon._util.columns import display_width
from examples.shop.app import dispatcher as shop

ROOT = Path(__file__).parent.parent.parent
FORMATS = [diagrams.table, diagrams.tree, diagrams.mermaid, diagrams.dot, diagrams.json, diagrams.markdown]


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def line_of(function):
    return function.__code__.co_firstlineno


async def listen(event):
    """Do | what `it` *does*."""


def described(*keys, **options):
    dispatcher = AsyncEventDispatcher(name="shop")
    for key in keys:
        dispatcher.add_listener(key, listen, **options)
    return dispatcher.describe()


# All formats

every_format = pytest.mark.parametrize("draw", FORMATS, ids=lambda draw: draw.__name__)


@every_format
def test_format_contains_priorities_options_and_places(draw):
    text = draw(shop.describe())

    for part in ("review_order", "is_large", "-5", "limit", "examples/shop/app.py", "OrderEvent", "in"):
        assert part in text.replace("\\_", "_")
    assert text == text.rstrip()
    assert [line for line in text.split("\n") if line != line.rstrip()] == []


@every_format
def test_format_is_the_same_for_the_same_registrations(draw):
    assert draw(described("b", "a", "*", dict)) == draw(described("b", "a", "*", dict))


@every_format
def test_format_without_listeners(draw):
    for description in (EventDispatcher().describe(), described("order").filter("order.lost")):
        text = draw(description)
        assert text
        assert ("o listeners" in text) == (draw in (diagrams.table, diagrams.tree, diagrams.markdown))


# In a notebook


def test_notebook_shows_a_table_with_all_cells():
    page = ET.fromstring(shop.describe()._repr_html_())

    titles, *rows = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    assert page.findtext("caption") == "shop (AsyncEventDispatcher)"
    assert titles[:3] == ["event", "priority", "listener"]
    assert rows[2] == ["", "10", "log", "order.*", "", "examples/shop/app.py:50", "Write a line to the accounting log."]
    assert ["class OrderEvent", "20", "count"] in [row[:3] for row in rows]
    assert len(rows) == sum(len(key.listeners) for key in shop.describe().keys)


@pytest.mark.parametrize(
    ("description", "page"),
    [
        (EventDispatcher(name="<b>").describe(), "<p>&lt;b&gt; (EventDispatcher): no listeners</p>"),
        (EventDispatcher(name="a").describe().filter("order"), "<td>order</td><td></td><td>no listeners</td>"),
        (described("<script>\0\ud800&'\""), r"<td>&lt;script&gt;\x00\ud800&amp;&#x27;&quot;</td>"),
    ],
    ids=["empty", "no listeners", "escaped"],
)
def test_notebook_shows_odd_descriptions(description, page):
    assert page in description._repr_html_()


# Each format


@given(
    st.lists(st.text("ab 日本.*é\u0301", min_size=1).filter(lambda key: "*" not in key), min_size=1, max_size=3),
    st.integers(50, 120),
)
@example(["注文.受付", "order.placed"], 80)
def test_table_keeps_its_width_and_its_columns(keys, width):
    description = described(*keys, timeout=5, where=line_of)

    lines = diagrams.table(description, width=width).splitlines()

    assert max(map(display_width, lines)) <= width
    starts = {display_width(line[: line.index("listen")]) for line in lines if "listen" in line and "lines" not in line}
    assert len(starts) == 1
    assert diagrams.table(description, width=10_000) == diagrams.table(description)


def test_narrow_table_wraps_all_texts():
    narrow, wide = (
        re.sub(r"[─\s\[\],]", "", diagrams.table(shop.describe(), width=width).partition("\norder")[2])
        for width in (50, 500)
    )

    assert sorted(narrow.replace("through", "")) == sorted(wide)


def test_table_has_a_line_for_each_listener():
    lines = diagrams.table(shop.describe().filter("order.placed")).splitlines()

    assert re.split(r"\s{2,}", lines[0]) == [
        "event", "priority", "listener", "through", "options", "defined in", "what it does",
    ]  # fmt: skip
    assert [re.split(r"\s{2,}", line.strip())[:3] for line in lines[2:4]] == [
        ["order.placed", "-10", "validate"],
        ["-5", "review_order", "where is_large, limit 1"],
    ]
    assert "  log            order.*  " in lines[5]


def test_narrow_tree_wraps_its_listeners():
    tree = diagrams.tree(shop.describe(), width=50)

    assert max(map(display_width, tree.splitlines())) <= 50
    assert sorted(re.sub(r"[│├└─\s]", "", tree)) == sorted(re.sub(r"[│├└─\s]", "", diagrams.tree(shop.describe())))
    assert diagrams.tree(shop.describe(), width=500) == diagrams.tree(shop.describe())


def test_tree_has_listeners_below_keys():
    tree = diagrams.tree(described("a", "*", priority=3))

    place = f"tests/seeing/test_diagrams.py:{line_of(listen)}"
    expected = f"""\
shop (AsyncEventDispatcher)
├── a
│   ├── 3  listen
│   │      {place}  Do | what `it` *does*.
│   └── 3  listen  [through *]
│          {place}  Do | what `it` *does*.
└── *
    └── 3  listen
           {place}  Do | what `it` *does*."""
    assert tree == expected


def test_tree_shows_the_name_of_a_class():
    class Placed:
        name = "order.placed"

    assert "class Placed, as order.placed" in diagrams.tree(described(Placed))


def test_json_has_the_documented_shape():
    data = json.loads(diagrams.json(described("order.*", where=len, timeout=2)))

    assert data == {
        "format": 1,
        "dispatcher": {"name": "shop", "class": "AsyncEventDispatcher"},
        "keys": [
            {
                "key": "order.*",
                "kind": "pattern",
                "module": None,
                "file": None,
                "line": None,
                "doc": "",
                "listeners": [
                    {
                        "name": "listen",
                        "class": None,
                        "module": __name__,
                        "file": "tests/seeing/test_diagrams.py",
                        "line": line_of(listen),
                        "doc": "Do | what `it` *does*.",
                        "key": "order.*",
                        "priority": 0,
                        "once": False,
                        "where": "len",
                        "timeout": 2,
                        "limit": None,
                        "adapter": None,
                        "inherited": False,
                    }
                ],
            }
        ],
    }


def test_json_has_no_infinity():
    (key,) = json.loads(diagrams.json(described("order", timeout=float("inf"))), parse_constant=pytest.fail)["keys"]

    assert key["listeners"][0]["timeout"] is None


def test_mermaid_numbers_the_order():
    lines = diagrams.mermaid(described("a", "b", "*")).splitlines()

    assert lines[0] == "flowchart LR"
    assert [line.strip() for line in lines if "key" in line and "classDef" not in line] == [
        'key1["a"]:::nameKey',
        'key2["b"]:::nameKey',
        'key3{{"*"}}:::patternKey',
        'key1 -->|"1"| listener1',
        'key1 -.->|"2 through *"| listener3',
        'key2 -->|"1"| listener2',
        'key2 -.->|"2 through *"| listener3',
        'key3 -->|"1"| listener3',
    ]


def test_dot_numbers_the_order():
    lines = diagrams.dot(described("a", "*")).splitlines()

    assert lines[0] == 'digraph "shop (AsyncEventDispatcher)" {'
    assert lines[-1] == "}"
    assert [line.strip() for line in lines if "->" in line] == [
        'key1 -> listener1 [label="1"]',
        'key1 -> listener2 [label="2 through *", style=dashed]',
        'key2 -> listener2 [label="1"]',
    ]


def test_lines_and_labels_of_edges_are_readable_on_white_and_on_black():
    (edge,) = re.findall(r"^  edge \[(.*)\]$", diagrams.dot(described("order.placed")), re.MULTILINE)
    colors = re.findall(r'color="#(\w{6})"', edge)

    assert len(colors) == 2
    for color in colors:
        shares = [channel / 255 for channel in bytes.fromhex(color)]
        red, green, blue = [(share + 0.055) ** 2.4 / 1.055**2.4 for share in shares]
        # The relative luminance of WCAG, for channels that are not almost black.
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        assert 1.05 / luminance >= 4.5
        assert luminance / 0.05 >= 4.5


def test_markdown_omits_empty_columns():
    assert "| Priority | Listener | What it does |" in diagrams.markdown(described("a"))
    assert "| Priority | Listener | Options | What it does |" in diagrams.markdown(described("a", once=True))


def test_markdown_keeps_code_and_escapes_the_rest():
    assert r"| Do \| what `it` \*does\*. |" in diagrams.markdown(described("a"))


@pytest.mark.parametrize(
    ("name", "written"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("a``b`", "``` a``b` ```"), ("`", "`` ` ``"), ("a\\", "`a\\`")],
)
def test_markdown_writes_names_with_backticks_as_code(name, written):
    assert f"\n### {written}\n" in diagrams.markdown(described(name))


def test_markdown_headings_may_be_deeper():
    headings = [line for line in diagrams.markdown(described("a"), level=3).splitlines() if line.startswith("#")]

    assert headings == ["### shop (AsyncEventDispatcher)", "#### Names", "##### `a`"]


# Hostile names

WEIRD = [
    '"', "\\", "|", "`", "``", "<b>", "&lt;", "#quot;", "]", "}}", ")", "\n", "\r\n", "\x00", "\u202e", "\ud800", "é", "注文",
    "🎶", "a b", " a ", "", "--", "- a", "1. a", "# a", "**a", "_a_", "$x$", "{role}`x`", "[a](b)", "<!--", "-->", "%%", ";",
    "\\N", "\\l", "end", "class", "graph", "a\\|b", "|", "||", ":::", "```", "~~~", "<br/>", "\u2028",
]  # fmt: skip

names = st.one_of(
    st.sampled_from(WEIRD), st.text(max_size=12), st.lists(st.sampled_from(WEIRD), max_size=4).map("".join)
)
names = names.filter(lambda name: "*" not in name)


def displayed(name):
    """Return what formats display of a name, computed independently."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return text if name.strip() and name == name.strip() else f'"{text}"'


def describe_name(name):
    async def odd(event): ...

    odd.__qualname__ = odd.__name__ = name or "odd"
    odd.__doc__ = name
    dispatcher = AsyncEventDispatcher(name=name or None)
    dispatcher.add_listener(name, odd)
    dispatcher.add_listener("*", odd)
    return dispatcher.describe()


@given(names)
@example(" a ")
def test_mermaid_is_well_formed_for_any_name(name):
    lines = diagrams.mermaid(describe_name(name)).split("\n")

    label = r"\"((?:[^\W]|[ .,:/()'*+\-_=?!@…]|#\d+;|<br/>)*)\""
    shapes = [
        rf"  key\d+\[{label}\]:::nameKey",
        rf"  key\d+\{{\{{{label}\}}\}}:::patternKey",
        rf"  listener\d+\({label}\)",
        rf"  key\d+ (?:-->|-\.->)\|{label}\| listener\d+",
        r"  classDef \w+ fill:#\w{6},stroke:#\w{6},color:#\w{6}()",
    ]
    assert lines[0] == "flowchart LR"
    labels = [next(m[1] for shape in shapes if (m := re.fullmatch(shape, line))) for line in lines[1:]]
    assert re.sub(r"#(\d+);", lambda m: chr(int(m[1])), labels[0]) == displayed(name)


@given(names)
@example("&lt;")
def test_dot_is_well_formed_for_any_name(name):
    lines = diagrams.dot(describe_name(name)).split("\n")

    quoted = r"\"((?:[^\"\\]|\\.)*)\""
    key = re.fullmatch(rf"  key1 \[label={quoted}, fillcolor=\"#\w+\", color=\"#\w+\"\]", lines[5])
    assert re.fullmatch(rf"digraph {quoted} {{", lines[0])
    assert all(re.fullmatch(rf"(?:[^\"\\]|{quoted})*", line) for line in lines)
    assert unescape(re.sub(r"\\(.)", r"\1", key[1]).replace("&amp;", "&amp;")) == displayed(name)


@given(names)
def test_markdown_rows_have_equal_cells_for_any_name(name):
    lines = diagrams.markdown(describe_name(name)).split("\n")

    rows = [line for line in lines if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert len(set(cells[:4])) == 1
    assert all(character.isprintable() for line in lines for character in line)


@given(names)
def test_json_preserves_any_name(name):
    assert json.loads(diagrams.json(describe_name(name)))["keys"][0]["key"] == name


@given(names)
def test_table_and_tree_are_printable_for_any_name(name):
    description = describe_name(name)

    assert len(diagrams.table(description).splitlines()) == 5
    for draw in (diagrams.table, diagrams.tree):
        assert all(character.isprintable() for line in draw(description).split("\n") for character in line)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_displays_the_names():
    printable = [name for name in WEIRD if name.isprintable() and name == name.strip() and name and "*" not in name]

    for name in printable:
        drawn = subprocess.run(
            ["dot", "-Tsvg"], input=diagrams.dot(describe_name(name)).encode(), capture_output=True, check=True
        )
        texts = [
            unescape(text).replace("\xa0", " ")
            for text in re.findall(r"<text [^>]*>(.*?)</text>", drawn.stdout.decode())
        ]
        assert name in texts
        assert not drawn.stderr


@pytest.mark.parametrize("name", ["table", "tree", "mermaid", "dot", "json", "markdown", "catalogue", "html"])
def test_a_dispatcher_in_place_of_its_description_is_refused_with_the_fix(name):
    with pytest.raises(TypeError) as caught:
        getattr(diagrams, name)(EventDispatcher(name="shop"))

    assert str(caught.value) == (
        f"{name}() takes a description; got <EventDispatcher 'shop'> (EventDispatcher): write "
        f"{name}(dispatcher.describe())"
    )


@pytest.mark.parametrize("function", [diagrams.table, diagrams.tree])
@pytest.mark.parametrize("width", ["80", 80.5, True])
def test_a_width_is_an_int(function, width):
    with pytest.raises(TypeError, match=rf"width= must be a number of columns, an int, or None; got {width!r} \("):
        function(EventDispatcher().describe(), width=width)


@pytest.mark.parametrize(("function", "most"), [(diagrams.markdown, 4), (diagrams.catalogue, 5)])
def test_all_headings_have_a_level_of_markdown(function, most):
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", print)
    page = function(dispatcher.describe(), level=most)

    assert re.findall(r"^#+", page, re.MULTILINE)[-1] == "######"
    for level, error in ((0, ValueError), (most + 1, ValueError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match=rf"level= must be an int from 1 to {most}, because .*; got {level!r}"):
            function(dispatcher.describe(), level=level)


@pytest.mark.parametrize("name", ["events", "sources"])
@pytest.mark.parametrize(
    "modules",
    [re, "shop.events", ["shop.events"], [EventDispatcher], None],
    ids=["module", "name", "names", "classes", "None"],
)
def test_a_catalogue_is_made_from_imported_modules(name, modules):
    with pytest.raises(
        TypeError, match=rf"{name}= must be a list of imported modules, such as {name}=\[shop\.events\]"
    ):
        diagrams.catalogue(EventDispatcher().describe(), **{name: modules})
