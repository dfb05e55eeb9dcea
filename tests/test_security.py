"""docs/security.md: names in logs, long names and patterns, hostile events and hostile objects as names."""

from __future__ import annotations

import ast
import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest

import antiphon
from antiphon import AsyncEventDispatcher, Concurrent, Event, Sequential
from antiphon._events.capabilities import _depths_by_identity
from antiphon.instruments.logging import LoggingInstrument
from antiphon.instruments.timeline import timeline
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

FORGED = ["order\nERROR forged", "order\r\nforged", "\x1b[2Jorder", "\ud800", "order\x00", "\u202eredro", "<script>"]


# Names


@pytest.mark.parametrize(
    ("pattern", "matches"), [("order.*", False), ("order.**", True), ("**", True), ("*.x.*", False), ("*", True)]
)
async def test_most_patterns_read_only_the_beginning_of_a_name(dispatcher: AnyDispatcher, pattern: str, matches: bool):
    lengths: list[int] = []

    class Measured(str):
        __slots__ = ()

        def split(self, *arguments: Any) -> Any:
            parts = super().split(*arguments)
            lengths.append(len(parts))
            return parts

    log: list[str] = []
    dispatcher.add_listener(pattern, make_recording_listener(dispatcher, log, "called"))

    await dispatcher.adispatch(Measured("order" + "." * 10_000))

    assert log == ["called"] * matches
    assert max(lengths, default=0) <= 4


@pytest.mark.parametrize("name", FORGED, ids=ascii)
async def test_a_name_is_one_line_of_the_log_and_of_notes(
    dispatcher: AnyDispatcher, name: str, caplog: pytest.LogCaptureFixture
):
    def fail(what: Any) -> None:
        raise ValueError("no such card")

    caplog.set_level(logging.DEBUG)
    dispatcher.add_instrument(LoggingInstrument())
    log: Any = type("Failing", (), {"append": staticmethod(fail)})()
    dispatcher.add_listener("**", make_recording_listener(dispatcher, log, name))

    with pytest.raises(ValueError, match="no such card") as raised:
        await dispatcher.adispatch(name)

    logged = [record.getMessage() for record in caplog.records if record.name == "antiphon.dispatch"]
    lines = [*raised.value.__notes__, *logged]
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("suffix", ["svg", "txt", "json"])
async def test_a_timeline_escapes_names(suffix: str, tmp_path: Path):
    dispatcher, path = AsyncEventDispatcher(), tmp_path / f"timeline.{suffix}"

    with timeline(path):
        for name in FORGED:
            await dispatcher.adispatch(name)

    text = path.read_text(encoding="utf-8")
    assert not any(line.strip() == "forged" or line.startswith("ERROR") for line in text.splitlines())
    assert "\x1b" not in text
    assert suffix != "svg" or "<script" not in text


# Events and objects as names


def fail(*arguments: Any) -> Any:
    raise ZeroDivisionError


HARMLESS = ("__getattr__", "__setattr__", "__eq__", "__hash__", "__bool__", "__repr__", "__len__", "__str__")
RAISING: dict[str, type[Any]] = {
    "__class__": type("Hostile", (), {"__class__": property(fail)}),
    "__getattribute__": type("Hostile", (), {"__getattribute__": fail}),
    "__getattribute__ of an event": type("Hostile", (Event,), {"__getattribute__": fail}),
    "propagation_stopped": type("Hostile", (Event,), {"propagation_stopped": property(fail, fail)}),
}
IGNORED: dict[str, type[Any]] = {
    "all methods": type("Hostile", (), dict.fromkeys(HARMLESS, fail)),
    "all methods of an event": type("Hostile", (Event,), dict.fromkeys(HARMLESS, fail)),
    "name": type("Hostile", (Event,), {"name": property(fail)}),
    "__class__": type("Hostile", (), {"__class__": property(lambda self: Event)}),
}


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent()], ids=repr)
@pytest.mark.parametrize(
    ("cls", "raises"),
    [*((cls, True) for cls in RAISING.values()), *((cls, False) for cls in IGNORED.values())],
    ids=[*(f"{name} raises" for name in RAISING), *(f"{name} ignored" for name in IGNORED)],
)
async def test_a_hostile_event_cannot_damage_the_dispatcher(cls: type[Any], raises: bool, strategy: Any):
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []
    for key in ("order.placed", "order.*"):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))
    event = cls()
    reference = weakref.ref(event)

    try:
        await dispatcher.adispatch("order.placed", event)
    except ZeroDivisionError:
        assert raises
    else:
        assert not raises
    assert len(log) == (0 if raises else 2)

    await dispatcher.adispatch("order.placed")
    assert log[-2:] == ["order.placed", "order.*"]
    del event
    gc.collect()
    assert reference() is None
    assert not _depths_by_identity


@pytest.mark.parametrize("is_prepared", [False, True], ids=["by name", "prepared"])
async def test_a_listener_that_clears_the_dict_of_its_event_is_reported(dispatcher: AnyDispatcher, is_prepared: bool):
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: event.__dict__.clear()))
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "called"))
    prepared: Any = dispatcher.prepare("order.placed")

    async def dispatch(event: Event) -> None:
        result = prepared(event) if is_prepared else dispatcher.adispatch("order.placed", event)
        if not is_prepared or isinstance(dispatcher, AsyncEventDispatcher):
            await result

    with pytest.raises(AttributeError) as raised:
        await dispatch(Event())

    (note,) = raised.value.__notes__
    assert note.startswith("antiphon: a listener cleared the __dict__ of the event")
    assert "the dispatch ended at listener" in note
    assert log == []


async def test_an_attribute_that_a_listener_misses_is_its_own_error(dispatcher: AnyDispatcher):
    """Also if the attribute has the name of a private one, on another object."""
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: object()._antiphon_info))  # type: ignore[attr-defined]

    with pytest.raises(AttributeError) as raised:
        await dispatcher.adispatch("order.placed")

    assert raised.value.__notes__[0].startswith("antiphon: raised in listener")


async def test_an_event_of_another_class_reaches_the_listeners_that_isinstance_says(dispatcher: AnyDispatcher):
    log: list[str] = []
    dispatcher.add_listener(Event, make_recording_listener(dispatcher, log, "called"))
    event = IGNORED["__class__"]()
    assert isinstance(event, Event)

    await dispatcher.adispatch("order.placed", event)

    assert log == ["called"]


@pytest.mark.parametrize("method", ["__hash__", "__eq__"])
async def test_a_hostile_name_raises_its_error_and_changes_nothing(dispatcher: AnyDispatcher, method: str):
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "called"))
    await dispatcher.adispatch("order.placed")
    methods = {"__hash__": lambda self: hash("order.placed"), method: fail}
    name = type("Hostile", (), methods)()

    with pytest.raises((ZeroDivisionError, TypeError)):
        await dispatcher.adispatch(name, Event())

    await dispatcher.adispatch("order.placed")
    assert log == ["called"] * 2


# Code


def test_no_module_creates_code_or_objects_from_data():
    found = set()
    for path in Path(antiphon.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found |= {(path.name, node.func.id)} if node.func.id in ("eval", "exec", "__import__") else set()
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                found |= {(path.name, module) for module in modules & {"pickle", "marshal", "shelve"}}

    # The plugin for pytest sends its counts from one process of a test run to another.
    assert found == {("plugin.py", "pickle")}
