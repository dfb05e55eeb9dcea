"""``find_dispatcher()``: from a path to a dispatcher, or to one line that explains why there is none."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon.diagrams._locate import LocateError, find_dispatcher

APP = """
    from antiphon import AsyncEventDispatcher, EventDispatcher

    dispatcher = AsyncEventDispatcher(name="shop")
    sync = EventDispatcher(name="sync")
    number = 7
    long = "x" * 100

    def make():
        print("making")
        return AsyncEventDispatcher(name="made")

    def make_with(what): ...

    async def make_async(): ...

    def make_nothing(): ...

    def fail():
        raise ValueError("no luck\\ntoday")

    def leave():
        raise SystemExit(3)

    def skip():
        raise Skipped("not today")

    class Skipped(BaseException): ...

    class Shop:
        def __init__(self):
            self.dispatcher = AsyncEventDispatcher(name="of the shop")

        @property
        def broken(self):
            raise LookupError("lost")

        def make(self):
            return self.dispatcher

    class Own(AsyncEventDispatcher): ...

    shop = Shop()

    class Site:
        def __init__(self, shop):
            self.shop = shop

        def __call__(self): ...

    site = Site(shop)
    print("imported")
"""


@pytest.fixture
def app(program):
    return program(app=APP)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("app:dispatcher", "shop"),
        ("app:sync", "sync"),
        ("app:make()", "made"),
        ("app:shop.dispatcher", "of the shop"),
        ("app:Shop().dispatcher", "of the shop"),
        ("app:Shop().make()", "of the shop"),
        ("app:shop.make()", "of the shop"),
        ("app:Own()", "Own"),
        ("app:AsyncEventDispatcher()", "AsyncEventDispatcher"),
    ],
)
def test_dispatcher_is_found(app, path, name):
    module, dispatcher = find_dispatcher(path)

    assert module.__name__ == "app"
    assert isinstance(dispatcher, (AsyncEventDispatcher, EventDispatcher))
    assert dispatcher.describe().dispatcher == name


def test_printed_text_goes_to_stderr(app, capsys):
    find_dispatcher("app:make()")

    assert capsys.readouterr() == ("", "imported\nmaking\n")


def test_dispatcher_in_a_package_is_found(program):
    program(shop__init="", shop__app="from antiphon import EventDispatcher\ndispatcher = EventDispatcher()")

    assert find_dispatcher("shop.app:dispatcher")[0].__name__ == "shop.app"


def message_of(path):
    """Return the message for a path that leads to no dispatcher."""
    with pytest.raises(LocateError) as raised:
        find_dispatcher(path)

    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("app.dispatcher", "'app.dispatcher' has no module and attribute: write module:attribute, such as"),
        ("app", "'app' has no module and attribute"),
        ("", "'' has no module and attribute"),
        (":dispatcher", "':dispatcher' has no module and attribute"),
        ("app:", "'app:' has no module and attribute"),
        ("app.py:dispatcher", "app.py is a file: write app:dispatcher"),
        ("src/shop/app.py:make()", "src/shop/app.py is a file: write src.shop.app:make()"),
        ("./app:dispatcher", "'./app' is not the name of a module"),
        (".app:dispatcher", "'.app' is not the name of a module"),
        ("app:dispatcher..x", "'app:dispatcher..x' has '' in place of an attribute name"),
        ("app:make(1)", "'app:make(1)' has 'make(1)' in place of an attribute name"),
        ("ap:dispatcher", "there is no module ap"),
        ("shop.ap:dispatcher", "there is no module shop, so there is no shop.ap"),
        ("app:dispacher", "app has no dispacher; did you mean dispatcher?"),
        ("app:zebra", "app has no zebra; it has the dispatchers dispatcher, sync"),
        ("app:shop.zebra", "app:shop has no zebra; it has the dispatchers dispatcher"),
        ("app:number.zebra", "app:number has no zebra"),
        ("app:make", "app:make is the function make: write make() if it returns the dispatcher"),
        ("app:shop.make", "app:shop.make is the method Shop.make: write shop.make() if it returns the dispatcher"),
        ("app:Own", "app:Own is a class: write Own() for an instance of it"),
        (
            "app:number",
            (
                "app:number is 7 (int), not an EventDispatcher or AsyncEventDispatcher: "
                "write app:dispatcher or app:sync or app:shop.dispatcher"
            ),
        ),
        (
            "app:site",
            (
                "app:site is an instance of app.Site, not an EventDispatcher or AsyncEventDispatcher: "
                "write app:site.shop.dispatcher"
            ),
        ),
        (
            "app:Site",
            "app:Site is the class Site, not an EventDispatcher or AsyncEventDispatcher: write app:dispatcher",
        ),
        ("app:number()", "app:number is 7 (int), and cannot be called: write it without ()"),
        ("app:dispatcher()", "app:dispatcher is <AsyncEventDispatcher 'shop'> (AsyncEventDispatcher), and cannot be"),
        ("app:make_nothing()", "app:make_nothing() is None (NoneType), not an EventDispatcher"),
        ("app:make_async()", "app:make_async() is async, but the command runs no event loop: name a sync function"),
        ("app:make_with()", "app:make_with() raises TypeError: make_with() missing 1 required positional argument"),
        ("app:fail()", "app:fail() raises ValueError: no luck (app.py:20)"),
        ("app:leave()", "app:leave() ends the program"),
        ("app:skip()", "app:skip() raises Skipped: not today (app.py:26)"),
        ("app:shop.broken", "app:shop.broken raises LookupError: lost (app.py:36)"),
        ("app:long", f"app:long is '{'x' * 59}… (str), not an EventDispatcher"),
    ],
)
def test_wrong_path_is_explained_in_one_line(app, path, start):
    assert message_of(path).startswith(start)


def test_private_attributes_are_not_suggested(app):
    assert message_of("app:dispatcher.registr") == "app:dispatcher has no registr"


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("import nowhere", "importing bad raises ModuleNotFoundError: No module named 'nowhere' (bad.py:1)"),
        ("from json import nothing", "importing bad raises ImportError: cannot import name 'nothing' from 'json'"),
        ("1 / 0", "importing bad raises ZeroDivisionError: division by zero (bad.py:1)"),
        ("import json\n\njson.loads('')", "importing bad raises JSONDecodeError: Expecting value"),
        ("raise RuntimeError", "importing bad raises RuntimeError (bad.py:1)"),
        ("def", "importing bad raises SyntaxError: "),
        ("import sys\nsys.exit(1)", "importing bad ends the program: move the code that exits into a function"),
    ],
)
def test_raising_module_is_explained_in_one_line(program, source, start):
    program(bad=source)

    message = message_of("bad:dispatcher")

    assert message.startswith(start)
    # The place is in the program, and not in the library that it calls.
    assert "json.loads" not in source or message.endswith("(bad.py:3)")


def test_place_is_not_in_an_environment_of_the_project(program, monkeypatch):
    folder = program(bad="import fragile\n\n\nfragile.fail()")
    library = folder / ".venv" / "site-packages" / "fragile.py"
    library.parent.mkdir(parents=True)
    library.write_text("def fail():\n    raise ValueError\n")
    monkeypatch.syspath_prepend(library.parent)

    assert message_of("bad:dispatcher").endswith("(bad.py:4)")


def test_missing_module_differs_from_a_missing_import(program):
    program(shop__init="", shop__app="import shop.nowhere")

    assert message_of("shop.ap:dispatcher") == "there is no module shop.ap; did you mean shop.app?"
    message = message_of("shop.app:dispatcher")
    assert message.startswith("importing shop.app raises ModuleNotFoundError: ")
    assert message.endswith(" (shop/app.py:1)")


def test_object_without_dispatchers_is_explained(program):
    program(bare="class App: ...\napp = App()")

    assert message_of("bare:app") == (
        "bare:app is an instance of bare.App, not an EventDispatcher or AsyncEventDispatcher: "
        "no dispatcher was found in it or in bare"
    )


def test_package_in_a_folder_src_is_found_by_a_hint(program):
    program(src__shop__init="", src__shop__app="", src__store="")

    hint = "exists: install the project, or set the variable PYTHONPATH=src"
    assert message_of("shop.app:d") == f"there is no module shop, so there is no shop.app; src/shop {hint}"
    assert message_of("store:d") == f"there is no module store; src/store {hint}"
    assert message_of("src/shop/app.py:d") == "src/shop/app.py is a file: write shop.app:d"


def test_mistyped_module_has_a_suggestion(program):
    program(warehouses="", shop__init="")

    assert message_of("warehoses:d") == "there is no module warehoses; did you mean warehouses?"
    assert message_of("warehouses.stock:d") == "there is no module warehouses.stock"


def test_ctrl_c_during_an_import_is_raised(program):
    program(bad="raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        find_dispatcher("bad:dispatcher")
