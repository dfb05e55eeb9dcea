"""What `antiphon` shows: its names, their docstrings and signatures, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import antiphon

ROOT = Path(antiphon.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(ROOT)], "antiphon."))

#: Private packages, whose ``__init__`` is a docstring and nothing else.
FOLDERS = sorted(f"antiphon.{path.parent.name}" for path in ROOT.glob("_*/__init__.py") if path.parent.name != "_cli")

#: Documented by the comment above them, for a docstring they cannot have.
ALIASES = {"ErrorPolicy", "IListener"}

CLASSES = [name for name in antiphon.__all__ if inspect.isclass(getattr(antiphon, name))]

#: The names that the docs promise, all of them: a name comes or goes on purpose.
PROMISED = {
    "AsyncEventDispatcher",
    "AsyncScope",
    "Concurrent",
    "ErrorPolicy",
    "Event",
    "EventDispatcher",
    "Expectation",
    "IAsyncEventDispatcher",
    "IDispatchedEvent",
    "IEvent",
    "IEventDispatcher",
    "IListener",
    "ListenerCancelled",
    "Plan",
    "Queue",
    "QueueNotDrained",
    "QueueStatistics",
    "Race",
    "Registrar",
    "Scope",
    "Sequential",
    "Strategy",
    "Stream",
    "StreamLagged",
    "StreamStatistics",
    "Subscription",
    "Subscriptions",
    "in_thread",
    "inline",
    "listener_name",
    "listens_to",
}


# Names


def test_the_names_are_sorted() -> None:
    assert list(antiphon.__all__) == sorted(antiphon.__all__)


def test_no_name_is_there_twice() -> None:
    assert len(set(antiphon.__all__)) == len(antiphon.__all__)


def test_the_promised_names_are_public_and_no_others() -> None:
    assert set(antiphon.__all__) == PROMISED


@pytest.mark.parametrize("name", antiphon.__all__)
def test_the_public_name_is_there(name: str) -> None:
    assert hasattr(antiphon, name)


def test_what_can_be_seen_is_what_is_public() -> None:
    seen = {
        name
        for name in dir(antiphon)
        if not name.startswith("_") and not isinstance(getattr(antiphon, name), ModuleType) and name != "annotations"
    }

    assert seen == set(antiphon.__all__)


def test_a_star_import_gives_the_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from antiphon import *", namespace)

    assert set(namespace) - {"__builtins__"} == set(antiphon.__all__)


@pytest.mark.parametrize("name", sorted({*MODULES, "antiphon"}.difference(FOLDERS)))
def test_the_names_that_a_module_exports_are_there(name: str) -> None:
    module = importlib.import_module(name)

    assert [exported for exported in module.__all__ if not hasattr(module, exported)] == []


@pytest.mark.parametrize("name", sorted({*MODULES, "antiphon"}.difference(FOLDERS)))
def test_the_names_that_a_module_exports_are_sorted_by_kind(name: str) -> None:
    exported = list(importlib.import_module(name).__all__)

    def kind_then_name(text: str) -> tuple[int, str]:
        return (0 if text.isupper() else 1 if text[0].isupper() else 2), text

    assert exported == sorted(exported, key=kind_then_name)


@pytest.mark.parametrize("name", sorted(PROMISED - ALIASES))
def test_what_is_public_says_where_to_import_it_from(name: str) -> None:
    public = getattr(antiphon, name)

    assert public.__module__ == ("antiphon.typing" if name in antiphon.typing.__all__ else "antiphon")


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()


# Docstrings


@pytest.mark.parametrize("name", [*MODULES, "antiphon"])
def test_the_module_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", [name for name in antiphon.__all__ if name not in ALIASES])
def test_the_public_name_says_what_it_is(name: str) -> None:
    # Not inspect.getdoc, which would be content with the docstring of a base class.
    assert vars(getattr(antiphon, name)).get("__doc__") or getattr(antiphon, name).__doc__


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_the_public_alias_says_what_it_is_in_a_comment(name: str) -> None:
    sources = [path.read_text().splitlines() for path in ROOT.rglob("*.py")]

    above = [
        lines[number - 1] for lines in sources for number, line in enumerate(lines) if line.startswith(f"{name}: ")
    ]
    assert [line[:3] for line in above] == ["#: "]


@pytest.mark.parametrize("name", CLASSES)
def test_the_public_methods_say_what_they_do(name: str) -> None:
    cls = getattr(antiphon, name)
    members = {
        member: value
        for base in cls.__mro__
        if base.__module__.startswith("antiphon")
        for member, value in vars(base).items()
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }

    assert [member for member, value in members.items() if not value.__doc__] == []


# Signatures


@pytest.mark.parametrize(
    "kind", [antiphon.AsyncEventDispatcher, antiphon.EventDispatcher], ids=lambda kind: kind.__name__
)
def test_the_options_of_a_dispatcher_are_keyword_only(kind: Any) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}

    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("method", "positional", "keywords"),
    [
        ("add_listener", {"key", "listener"}, {"priority", "once"}),
        ("remove_listener", {"key", "listener"}, set()),
        ("get_listeners", {"name"}, set()),
        ("has_listeners", {"name"}, set()),
        ("listen", {"key"}, {"priority", "once"}),
        ("adispatch", {"name", "event"}, set()),
    ],
)
def test_a_method_takes_positional_subjects_and_keyword_options(
    method: str, positional: set[str], keywords: set[str]
) -> None:
    parameters = inspect.signature(getattr(antiphon.AsyncEventDispatcher, method)).parameters.values()

    assert {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY} >= positional
    assert {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} >= keywords


def test_adispatch_is_a_coroutine_function() -> None:
    assert inspect.iscoroutinefunction(antiphon.AsyncEventDispatcher.adispatch)


# What importing it costs


def modules_after(code: str) -> set[str]:
    """Tell which modules a fresh interpreter has after running some code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    environment.pop("COVERAGE_PROCESS_START", None)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=50,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["asyncio", "trio", "uvloop", "anyio._backends._asyncio", "anyio._backends._trio"])
def test_importing_antiphon_starts_no_backend(module: str) -> None:
    assert module not in modules_after("import antiphon")


def test_importing_antiphon_imports_hardly_more_than_its_own_modules_and_those_of_anyio() -> None:
    anyio_alone = modules_after(
        "import contextvars, enum, functools, itertools, operator, threading, types, typing\n"
        "import anyio, anyio.from_thread, anyio.lowlevel, anyio.to_thread\n"
        "anyio.CancelScope, anyio.Semaphore, anyio.create_task_group, anyio.current_time, anyio.get_cancelled_exc_class\n"
    )

    added = modules_after("import antiphon") - anyio_alone

    # heapq is a few functions in C.
    assert {module for module in added if module.partition(".")[0] != "antiphon"} <= {"heapq", "_heapq"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_of_the_house_makes_no_dataclasses(path: Path) -> None:
    """They are made by running generated code at import, and their module is slow to import by itself."""
    imported = {
        name
        for node in ast.parse(path.read_text()).body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert "dataclasses" not in imported


def test_a_sync_dispatcher_works_without_a_backend() -> None:
    modules = modules_after(
        "import antiphon\n"
        "dispatcher = antiphon.EventDispatcher()\n"
        "dispatcher.listen('hymn')(lambda event: event.stop_propagation())\n"
        "assert dispatcher.dispatch('hymn').propagation_stopped\n"
    )

    assert modules.isdisjoint({"asyncio", "trio"})


def test_an_async_dispatcher_is_made_and_filled_without_a_backend() -> None:
    modules = modules_after(
        "import antiphon\n"
        "dispatcher = antiphon.AsyncEventDispatcher(strategy=antiphon.Concurrent(limit=2))\n"
        "@dispatcher.listen('hymn', once=True)\n"
        "async def sing(event): pass\n"
        "assert dispatcher.has_listeners('hymn')\n"
    )

    assert modules.isdisjoint({"asyncio", "trio"})


@pytest.mark.parametrize(("used", "other"), [("asyncio", "trio"), ("trio", "asyncio")])
def test_a_dispatch_on_one_backend_does_not_import_the_other(used: str, other: str) -> None:
    modules = modules_after(
        "import anyio, antiphon\n"
        "dispatcher = antiphon.AsyncEventDispatcher(strategy=antiphon.Concurrent())\n"
        "@dispatcher.listen('hymn')\n"
        "async def sing(event): pass\n"
        f"anyio.run(dispatcher.adispatch, 'hymn', antiphon.Event(), backend={used!r})\n"
    )

    assert (used in modules, other in modules) == (True, False)


def test_a_name_that_is_not_there_is_an_attribute_error_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'antiphon' has no attribute 'Signal'"):
        antiphon.Signal


def test_what_waits_is_imported_when_it_is_asked_for() -> None:
    program = """
import sys, antiphon
lazy = [f"antiphon._waiting.{name}" for name in ("buffer", "expectation", "queue", "stream")]
assert not [name for name in (*lazy, "antiphon._introspection.description") if name in sys.modules]
from antiphon import Queue
assert antiphon.Queue is Queue and Queue.__module__ == "antiphon"
assert "antiphon._waiting.queue" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
