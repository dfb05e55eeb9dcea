"""An instrument that records what it sees, the listeners that it sees, and the strategies that run them."""

from __future__ import annotations

from inspect import isawaitable

import anyio
import pytest

from antiphon import Concurrent, EventDispatcher, Race, Sequential


class RecordingInstrument:
    """Keeps every record, and a line for each notification. It has no base class, because instruments need none."""

    def __init__(self, prefix="", lines=None):
        self.prefix = prefix
        self.lines = [] if lines is None else lines
        self.dispatches = []
        self.listeners = []

    def dispatch_started(self, record):
        self.dispatches.append(record)
        self._write(f"dispatch {record.name}")

    def dispatch_finished(self, record):
        self._write(f"dispatched {record.name}: {record.outcome}")

    def listener_started(self, record):
        self.listeners.append(record)
        self._write(f"call {name_of(record)}")

    def listener_finished(self, record):
        self._write(f"called {name_of(record)}: {record.outcome}")

    def listener_skipped(self, record):
        self.listeners.append(record)
        self._write(f"skip {name_of(record)}: {record.skipped_because}")

    def _write(self, line):
        self.lines.append(f"{self.prefix}{line}")

    def of(self, name):
        """Return the only dispatch of a name."""
        (record,) = (record for record in self.dispatches if record.name == name)
        return record

    def call_of(self, name):
        """Return the only call, or skip, of a listener."""
        (record,) = (record for record in self.listeners if name_of(record) == name)
        return record


def lines(*calls, outcome="finished"):
    """Return the lines of one dispatch of order.placed.

    Args:
        *calls: ``"charge"`` for a call that finished, ``"charge: failed"`` for another outcome, ``"skip charge: where"``.
        outcome: How the dispatch ended.
    """
    written = ["dispatch order.placed"]
    for call in calls:
        name, _, ending = call.partition(": ")
        written += [call] if call.startswith("skip ") else [f"call {name}", f"called {name}: {ending or 'finished'}"]
    return [*written, f"dispatched order.placed: {outcome}"]


def name_of(record):
    """Return the name of the listener of a record; None for no record."""
    return record and str(getattr(record.listener, "__name__", None) or repr(record.listener))


def named(name, listener):
    """Set the name of a function."""
    listener.__name__ = name
    return listener


def add(dispatcher, key, name, function=lambda event: None, **options):
    """Register a named listener that calls a function, and awaits an awaitable result. Return its subscription."""
    if isinstance(dispatcher, EventDispatcher):

        def listener(event):
            function(event)

    else:

        async def listener(event):
            result = function(event)
            if isawaitable(result):
                await result

    return dispatcher.add_listener(key, named(name, listener), **options)


def fail(error, event=None):
    """Raise an error."""
    raise error


async def pause(event=None):
    """Let other tasks run."""
    await anyio.lowlevel.checkpoint()


class CustomSequential:
    """A custom strategy that runs the listeners one by one."""

    async def run(self, plan, event):
        for tier in plan:
            for subscription in tier:
                await subscription.call(event)

    def __repr__(self):
        return "CustomSequential()"


class CustomConcurrent:
    """A custom strategy that runs all listeners of the plan at once, each in a task."""

    async def run(self, plan, event):
        async with anyio.create_task_group() as group:
            for subscription in plan.listeners:
                group.start_soon(subscription.call, event)

    def __repr__(self):
        return "CustomConcurrent()"


every_strategy = pytest.mark.parametrize(
    "strategy", [Sequential(), Concurrent(), Concurrent(1), Race(), CustomSequential(), CustomConcurrent()], ids=repr
)
