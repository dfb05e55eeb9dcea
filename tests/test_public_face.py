"""The public names of `antiphon`, their docstrings and signatures, and what importing it costs."""

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

#: Documented by the comment above them, because they cannot have a docstring.
ALIASES = {"ErrorPolicy", "IListener"}

#: Private folders, whose ``__init__`` is a docstring and nothing else.
FOLDERS = {".".join(("antiphon", *path.parent.relative_to(ROOT).parts)) for path in ROOT.rglob("_*/__init__.py")} - {
    "antiphon._cli"
}

CLASSES = [name for name in antiphon.__all__ if inspect.isclass(getattr(antiphon, name))]

#: All names that the docs promise.
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
    "event_name",
    "in_thread",
    "inline",
    "listener_name",
    "listens_to",
    "named",
    "outside_dispatch",
    "resolved",
}


# Names


def test_the_promised_names_are_public_and_no_others() -> None:
    namespace: dict[str, Any] = {}
    exec("from antiphon import *", namespace)
    seen = {
        name
        for name in dir(antiphon)
        if not name.startswith("_") and not isinstance(getattr(antiphon, name), ModuleType) and name != "annotations"
    }

    assert list(antiphon.__all__) == sorted(PROMISED)
    assert seen == set(namespace) - {"__builtins__"} == PROMISED


def test_each_module_has_a_docstring_and_sorted_exports() -> None:
    def kind_then_name(text: str) -> tuple[int, str]:
        return (0 if text.isupper() and text[1:] else 1 if text[0].isupper() else 2), text

    for name in (*MODULES, "antiphon"):
        module = importlib.import_module(name)
        assert module.__doc__, name
        if name in FOLDERS:
            assert not hasattr(module, "__all__"), f"{name} holds more than its docstring"
            continue
        exported = list(module.__all__)
        assert [each for each in exported if not hasattr(module, each)] == [], name
        assert exported == sorted(exported, key=kind_then_name), name


def test_public_names_know_their_module() -> None:
    for name in sorted(PROMISED - ALIASES):
        expected = "antiphon.typing" if name in antiphon.typing.__all__ else "antiphon"
        assert getattr(antiphon, name).__module__ == expected, name


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()


# Docstrings


def test_public_names_are_documented() -> None:
    for name in sorted(PROMISED - ALIASES):
        # Not inspect.getdoc, which would be content with the docstring of a base class.
        assert vars(getattr(antiphon, name)).get("__doc__") or getattr(antiphon, name).__doc__, name
    lines = [line for path in ROOT.rglob("*.py") for line in path.read_text().splitlines()]
    for name in ALIASES:
        above = [lines[number - 1] for number, line in enumerate(lines) if line.startswith(f"{name}: ")]
        assert [line[:3] for line in above] == ["#: "], name


def test_public_methods_are_documented() -> None:
    undocumented = [
        f"{name}.{member}"
        for name in CLASSES
        for base in getattr(antiphon, name).__mro__
        if base.__module__.startswith("antiphon")
        for member, value in vars(base).items()
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
        if not getattr(getattr(antiphon, name), member).__doc__
    ]

    assert undocumented == []


# Signatures


@pytest.mark.parametrize("kind", [antiphon.AsyncEventDispatcher, antiphon.EventDispatcher])
def test_the_options_of_a_dispatcher_are_keyword_only(kind: Any) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}

    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.iscoroutinefunction(antiphon.AsyncEventDispatcher.adispatch)


@pytest.mark.parametrize(
    ("method", "positional", "keywords"),
    [
        ("add_listener", {"key", "listener"}, {"priority", "once"}),
        ("remove_listener", {"key", "listener"}, set()),
        ("get_listeners", {"name"}, set()),
        ("has_listeners", {"name"}, set()),
        ("listen", set(), {"priority", "once"}),
        ("adispatch", {"name", "event"}, set()),
    ],
)
def test_a_method_takes_positional_subjects_and_keyword_options(
    method: str, positional: set[str], keywords: set[str]
) -> None:
    parameters = inspect.signature(getattr(antiphon.AsyncEventDispatcher, method)).parameters.values()

    assert {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY} >= positional
    assert {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} >= keywords


# What importing it costs


def modules_after(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has after running some code."""
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


def test_importing_antiphon_starts_no_backend() -> None:
    backends = {"asyncio", "trio", "uvloop", "anyio._backends._asyncio", "anyio._backends._trio"}

    assert modules_after("import antiphon").isdisjoint(backends)


def test_importing_antiphon_imports_little_besides_anyio() -> None:
    anyio_alone = modules_after(
        "import contextvars, enum, functools, itertools, operator, threading, types, typing\n"
        "import anyio, anyio.from_thread, anyio.lowlevel, anyio.to_thread\n"
        "anyio.CancelScope, anyio.Semaphore, anyio.create_task_group, anyio.current_time, anyio.get_cancelled_exc_class\n"
    )

    added = modules_after("import antiphon") - anyio_alone

    # heapq is a few functions in C.
    assert {module for module in added if module.partition(".")[0] != "antiphon"} <= {"heapq", "_heapq"}


def test_no_module_makes_dataclasses() -> None:
    """They are made by running generated code at import, and their module is slow to import by itself.

    The bridge is imported by programs that use it only, with a broker's client that imports far more.
    """
    for path in sorted(set(ROOT.rglob("*.py")) - set((ROOT / "bridges").rglob("*.py"))):
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
        assert "dataclasses" not in names, path


def test_a_backend_is_imported_only_to_dispatch() -> None:
    modules = modules_after(
        "import antiphon\n"
        "dispatcher = antiphon.EventDispatcher()\n"
        "dispatcher.listen('order.placed')(lambda event: event.stop_propagation())\n"
        "assert dispatcher.dispatch('order.placed').propagation_stopped\n"
        "dispatcher = antiphon.AsyncEventDispatcher(strategy=antiphon.Concurrent(limit=2))\n"
        "@dispatcher.listen('order.placed', once=True)\n"
        "async def charge(event): pass\n"
        "assert dispatcher.has_listeners('order.placed')\n"
    )

    assert modules.isdisjoint({"asyncio", "trio"})


@pytest.mark.parametrize(("used", "other"), [("asyncio", "trio"), ("trio", "asyncio")])
def test_a_dispatch_on_one_backend_does_not_import_the_other(used: str, other: str) -> None:
    modules = modules_after(
        "import anyio, antiphon\n"
        "dispatcher = antiphon.AsyncEventDispatcher(strategy=antiphon.Concurrent())\n"
        "@dispatcher.listen('order.placed')\n"
        "async def charge(event): pass\n"
        f"anyio.run(dispatcher.adispatch, 'order.placed', antiphon.Event(), backend={used!r})\n"
    )

    assert (used in modules, other in modules) == (True, False)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'antiphon' has no attribute 'Signal'"):
        antiphon.Signal


def test_modules_that_few_programs_need_are_imported_on_demand() -> None:
    program = """
import sys, antiphon
lazy = [f"antiphon._waiting.{name}" for name in ("buffer", "expectation", "queue", "stream")]
lazy += [f"antiphon._dispatchers.{name}" for name in ("subscribers", "synchronous", "temporary")]
lazy += [f"antiphon._strategies.{name}" for name in ("cancellation", "race", "sequential_policies", "tiers")]
lazy += ["antiphon._instrumentation.attached", "antiphon._introspection.description", "antiphon._listeners.options"]
assert not [name for name in lazy if name in sys.modules]
from antiphon import Queue
assert antiphon.Queue is Queue and Queue.__module__ == "antiphon"
assert "antiphon._waiting.queue" in sys.modules
assert "antiphon.typing" not in sys.modules
assert antiphon.typing.IAsyncEventDispatcher is antiphon.IAsyncEventDispatcher
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_dispatch_that_is_closed_at_exit_prints_nothing() -> None:
    """It adds a note to the exception, when modules can no longer be imported."""
    program = """
import antiphon
class Never:
    def __await__(self):
        yield
async def listener(event):
    await Never()
dispatcher = antiphon.AsyncEventDispatcher()
dispatcher.add_listener("order.placed", listener)
dispatch = dispatcher.adispatch("order.placed")
dispatch.send(None)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert ended.stderr == ""
