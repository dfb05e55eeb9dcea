"""Counts the bytecode instructions that are executed in this thread, by the code object they belong to.

From Python 3.12 by `sys.monitoring`, before by a trace function. Both see the instructions as they were compiled, not
as CPython specialises them while it runs, so that a count does not depend on what ran before.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from types import CodeType, FrameType
from typing import Any

import antiphon

__all__ = ("ANTIPHON", "Count", "Operation", "count")

#: Where antiphon's own code lies.
ANTIPHON = str(Path(antiphon.__file__).parent)

#: Enough for all caches of antiphon to be filled.
WARM_UPS = 20

#: How often an operation is counted; the figure is the median.
COUNTS = 5


def nothing() -> None:
    """Needs no preparing, or no undoing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is counted, and what is done around it without being counted."""

    run: Callable[[], Awaitable[object]]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing


@dataclass(frozen=True, slots=True)
class Count:
    """The instructions of one operation."""

    #: Those of antiphon's own code. The gate compares these.
    own: int
    #: Those of all code that ran meanwhile: the listeners, anyio, the event loop, this harness. To be read only.
    total: int


async def count(operation: Operation, *, own: Iterable[str] = (ANTIPHON,)) -> Count:
    """Counts an operation in the running loop.

    Args:
        operation: What is counted.
        own: The folders or files whose code counts as antiphon's own.
    """
    for _ in range(WARM_UPS):
        await _once(operation, [])
    traces: list[list[CodeType]] = []
    collecting = gc.isenabled()
    gc.disable()  # a collection may run finalizers in between
    try:
        for _ in range(COUNTS):
            traces.append([])
            await _once(operation, traces[-1])
    finally:
        if collecting:
            gc.enable()
    places = tuple(own)
    return Count(
        own=median_low(sum(code.co_filename.startswith(places) for code in trace) for trace in traces),
        total=median_low(len(trace) for trace in traces),
    )


async def _once(operation: Operation, trace: list[CodeType]) -> None:
    operation.before()
    _take_chance_out()
    stop = _start(trace)
    try:
        await operation.run()
    finally:
        stop()
    operation.after()


def _take_chance_out() -> None:
    """Lets trio run tasks in the same order each time: it tosses a coin for that, whose seed is nobody's to give."""
    trio_run = sys.modules.get("trio._core._run")
    if trio_run is not None:
        trio_run._r.seed(0)


if sys.version_info >= (3, 12):
    from sys import monitoring

    #: One that Python's documentation reserves for nobody, so that debuggers, coverage and profilers may run too.
    TOOL = 4

    def _start(trace: list[CodeType]) -> Callable[[], None]:
        append = trace.append

        def note(code: CodeType, _offset: int) -> None:
            append(code)

        def stop() -> None:
            monitoring.set_events(TOOL, monitoring.events.NO_EVENTS)
            monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(TOOL)

        monitoring.use_tool_id(TOOL, "antiphon instructions")
        monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, note)
        monitoring.set_events(TOOL, monitoring.events.INSTRUCTION)
        return stop

else:

    def _start(trace: list[CodeType]) -> Callable[[], None]:
        append = trace.append
        earlier = sys.gettrace()

        def note(frame: FrameType, what: str, _: Any) -> Callable[[FrameType, str, Any], Any]:
            if what == "opcode":
                append(frame.f_code)
            elif what == "call":
                frame.f_trace_opcodes = True
                frame.f_trace_lines = False
            return note

        def stop() -> None:
            sys.settrace(earlier)

        sys.settrace(note)
        return stop
