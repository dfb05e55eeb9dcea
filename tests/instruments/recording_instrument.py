"""An instrument that writes down what it sees, and the listeners that it sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from antiphon import AsyncEventDispatcher
from antiphon.instruments import DispatchRecord, ListenerRecord
from tests.helpers import AnyDispatcher, make_listener

__all__ = ("RecordingInstrument", "add_named_async_listener", "add_named_listener", "name_of", "named")


class RecordingInstrument:
    """Writes a line for all it is told, and keeps every record; it is no `Instrument`, since none has to be."""

    def __init__(self, prefix: str = "", lines: list[str] | None = None) -> None:
        self.prefix = prefix
        self.lines: list[str] = [] if lines is None else lines
        self.dispatches: list[DispatchRecord] = []
        self.listeners: list[ListenerRecord] = []

    def dispatch_started(self, record: DispatchRecord) -> None:
        self.dispatches.append(record)
        self._write(f"dispatch {record.name}")

    def dispatch_finished(self, record: DispatchRecord) -> None:
        self._write(f"dispatched {record.name}: {record.outcome}")

    def listener_started(self, record: ListenerRecord) -> None:
        self.listeners.append(record)
        self._write(f"call {name_of(record)}")

    def listener_finished(self, record: ListenerRecord) -> None:
        self._write(f"called {name_of(record)}: {record.outcome}")

    def listener_skipped(self, record: ListenerRecord) -> None:
        self.listeners.append(record)
        self._write(f"skip {name_of(record)}: {record.skipped_because}")

    def _write(self, line: str) -> None:
        self.lines.append(f"{self.prefix}{line}")

    def of(self, name: str) -> DispatchRecord:
        """The only dispatch under a name."""
        (record,) = (record for record in self.dispatches if record.name == name)
        return record

    def call_of(self, name: str) -> ListenerRecord:
        """The only call, or skip, of a listener."""
        (record,) = (record for record in self.listeners if name_of(record) == name)
        return record


def name_of(record: ListenerRecord | None) -> str | None:
    """What a listener is called in the tests."""
    if record is None:
        return None
    return str(getattr(record.listener, "__name__", None) or repr(record.listener))


def named(name: str, listener: Any) -> Any:
    """Give a function its name."""
    listener.__name__ = name
    return listener


def add_named_listener(
    dispatcher: AnyDispatcher,
    key: Any,
    name: str,
    function: Callable[[Any], object] = lambda event: None,
    **options: Any,
) -> Any:
    """Register a named listener that calls a function. Returns its subscription."""
    return dispatcher.add_listener(key, named(name, make_listener(dispatcher, function)), **options)


def add_named_async_listener(
    dispatcher: AsyncEventDispatcher, key: Any, name: str, function: Callable[[Any], Awaitable[object]], **options: Any
) -> Any:
    """Register a named listener that awaits a function. Returns its subscription."""

    async def listener(event: Any) -> None:
        await function(event)

    return dispatcher.add_listener(key, named(name, listener), **options)
