"""The dispatchers that keep one contract: whistle's, antiphon's, and HARP's own on both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import whistle  # type: ignore[import-untyped]  # whistle has no types

import antiphon

#: Why HARP's own classes are not tested, if they are not.
MISSING = (
    "HARP needs Python 3.13"
    if sys.version_info < (3, 13)
    else "harp-proxy is not installed"
    if find_spec("harp") is None or find_spec("harp_apps") is None
    else ""
)


class Lines:
    """A logger that keeps its lines, without the symbols before the ``[``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, line: str) -> None:
        self.lines.append(line[line.index("[") :])

    info = error = debug


def make_logging_class(base: Any) -> Any:
    """Make a subclass in the shape of HARP's, which logs what HARP's logs."""

    class LoggingDispatcher(base):
        def __init__(self, *, logger: Any) -> None:
            self.logger = logger
            super().__init__()

        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> None:
            self.logger.debug(f"[Add] {event_id} ({listener})")  # noqa: G004
            super().add_listener(event_id, listener, priority=priority)

        async def adispatch(self, event_id: str, event: Any = None, /) -> Any:
            self.logger.info(f"[Dispatch] {event_id} ({type(event).__name__})")  # noqa: G004
            try:
                return await super().adispatch(event_id, event)
            except Exception as e:
                self.logger.error(f"[Error] {event_id} ({type(event).__name__}) failed: {type(e).__name__}: {e}")  # noqa: G004
                raise

        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                self.logger.debug(f"[DispatchOne] listener: {listener}")  # noqa: G004
                await listener(event)
                if event.propagation_stopped:
                    break

    return LoggingDispatcher


@dataclass(frozen=True)
class Implementation:
    """A dispatcher, its class of events, and listeners that fit it."""

    dispatcher: Any
    Event: Any
    is_async: bool
    lines: Lines

    def listener(self, function: Callable[[Any], object]) -> Any:
        """Make a listener that calls the function; each call makes a new one."""

        def listener(event: Any) -> None:
            function(event)

        async def async_listener(event: Any) -> None:
            function(event)

        return async_listener if self.is_async else listener

    def recorder(self, log: list[Any], what: Any) -> Any:
        return self.listener(lambda event: log.append(what))

    def mock(self, **options: Any) -> Any:
        return AsyncMock(**options) if self.is_async else Mock(**options)


SYNC = ["whistle.EventDispatcher", "antiphon.EventDispatcher"]
ASYNC = ["whistle.AsyncEventDispatcher", "antiphon.AsyncEventDispatcher"]
LOGGING = ["HARP's shape on whistle", "HARP's shape on antiphon", *([] if MISSING else ["HARP's own"])]

on_async = pytest.mark.parametrize("implementation", [*ASYNC, *LOGGING], indirect=True)
on_logging = pytest.mark.parametrize("implementation", LOGGING, indirect=True)


@pytest.fixture(params=[*SYNC, *ASYNC, *LOGGING])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """Each implementation of the contract; nothing but the import differs."""
    name, lines = request.param, Lines()
    if name == "HARP's own":
        cls = request.getfixturevalue("harp").dispatcher.LoggingAsyncEventDispatcher
        return Implementation(cls(logger=lines), antiphon.Event, True, lines)
    package = whistle if "whistle" in name else antiphon
    if name in LOGGING:
        made = make_logging_class(package.AsyncEventDispatcher)(logger=lines)
    else:
        made = getattr(package, name.partition(".")[2])()
    return Implementation(made, package.Event, name not in SYNC, lines)


def _modules() -> dict[str, ModuleType]:
    families = ("whistle", "harp", "harp_apps")
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in families}


#: HARP's modules between two uses, because they cannot be imported twice.
_kept: dict[str, ModuleType] = {}


@pytest.fixture(scope="module")
def harp() -> Iterator[SimpleNamespace]:
    """HARP's modules, imported while ``whistle`` means antiphon; other tests find the modules as they were."""
    before = _modules()
    for name in before:
        del sys.modules[name]
    replacement = ModuleType("whistle")
    vars(replacement).update({name: getattr(antiphon, name) for name in antiphon.__all__})
    sys.modules.update(_kept or {"whistle": replacement})
    try:
        yield SimpleNamespace(
            dispatcher=import_module("harp.event_dispatcher"),
            asgi=import_module("harp.asgi"),
            events=import_module("harp.asgi.events"),
            views=import_module("harp.views.json"),
            controllers=import_module("harp.controllers"),
            health=import_module("harp.controllers.default"),
            builder=import_module("harp.config.builders.system"),
            config=import_module("harp.config"),
            services=import_module("harp.services"),
        )
    finally:
        _kept.update(_modules())
        for name in _kept:
            del sys.modules[name]
        sys.modules.update(before)
