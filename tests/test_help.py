"""What ``help`` shows of public names: public modules, no constructors of what users never make, no dead options."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
import re
from pathlib import Path
from typing import Any

import pytest

import antiphon
from antiphon import AsyncEventDispatcher, EventDispatcher, Scope

#: The pages of the API.
API = sorted((Path(__file__).parents[1] / "docs" / "api").glob("*.md"))


def find_public_modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(antiphon.__path__, "antiphon.")]
    return ["antiphon", *(name for name in found if not re.search(r"\._", name))]


def find_public_names() -> dict[str, Any]:
    modules = [importlib.import_module(name) for name in find_public_modules() if name != "antiphon.testing.plugin"]
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in modules
        for name in getattr(module, "__all__", ())
    }


PUBLIC = find_public_names()

#: The classes that the pages show without a constructor.
MADE_BY_ANTIPHON = re.findall(
    r"autoclass:: (antiphon[\w.]*)\(\)|autoexception:: (antiphon[\w.]*)\(\)",
    "".join(page.read_text(encoding="utf-8") for page in API),
)

every_name = pytest.mark.parametrize("name", PUBLIC)


def render(thing: Any) -> str:
    return pydoc.render_doc(thing, renderer=pydoc.plaintext)


def is_value(thing: Any) -> bool:
    """Return whether a class is a plain value or an error, which have their fields, or a protocol, which has none."""
    return (
        issubclass(thing, (tuple, Exception))
        or hasattr(thing, "__dataclass_fields__")
        or getattr(thing, "_is_protocol", False)
    )


def test_all_public_names_are_looked_at() -> None:
    assert set(find_public_modules()) >= {
        "antiphon",
        "antiphon.testing",
        "antiphon.instruments.timeline",
        "antiphon.typing",
    }
    assert {f"antiphon.{name}" for name in antiphon.__all__} <= set(PUBLIC)


@every_name
def test_help_names_no_private_module(name: str) -> None:
    assert re.findall(r"\bantiphon(?:\.\w+)*\._[a-z]\w*.*|(?<![\w.])_[a-z]+\.[A-Z]\w*", render(PUBLIC[name])) == []


@every_name
def test_help_has_no_tags(name: str) -> None:
    assert re.findall(r"\(whistle.*?\)", render(PUBLIC[name])) == []


@every_name
def test_help_shows_the_module_from_which_a_name_is_imported(name: str) -> None:
    thing, module = PUBLIC[name], name.rpartition(".")[0]
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__module__ == module or thing is getattr(importlib.import_module(thing.__module__), thing.__name__)
        assert not re.search(r"\._", thing.__module__)


@pytest.mark.parametrize("name", [one or other for one, other in MADE_BY_ANTIPHON])
def test_help_shows_no_constructor_of_what_antiphon_makes(name: str) -> None:
    cls = PUBLIC[name]
    if is_value(cls) and cls is not antiphon.Plan:
        return
    text = render(cls)
    assert re.findall(rf"^ \|  {cls.__name__}\(.*", text, re.MULTILINE) == []
    for constructor in re.findall(r"^ \|  __(?:init|new)__\((.*)", text, re.MULTILINE):
        assert re.match(r"self\)|self, /, \*args, \*\*kwargs\)|\*args, \*\*kwargs\)", constructor), constructor


@pytest.mark.parametrize("kind", [EventDispatcher, Scope], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("method", ["add_listener", "listen"])
def test_help_of_the_sync_dispatcher_offers_no_option_that_it_refuses(kind: Any, method: str) -> None:
    function = getattr(kind, method)
    options = {name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY}

    assert options == {"priority", "once", "where"}
    assert not re.search(r"\b(timeout|limit)\b", render(function))
    assert re.search(r"\btimeout\b", render(getattr(AsyncEventDispatcher, method)))


@pytest.mark.parametrize("option", ["timeout", "limit"])
def test_the_sync_dispatcher_still_explains_the_options_of_async_listeners(option: str) -> None:
    for register in (
        lambda **options: EventDispatcher().add_listener("order.placed", print, **options),
        lambda **options: EventDispatcher().listen("order.placed", **options),
    ):
        with pytest.raises(TypeError, match=f"{option}= is for listeners of an AsyncEventDispatcher"):
            register(**{option: 3})
