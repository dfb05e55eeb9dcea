"""Counts the bytecode instructions that this thread executes, by the code object that they belong to.

From Python 3.12 `sys.monitoring` counts, before that a trace function. Both see the instructions as they were compiled,
and not as CPython specializes them, so a count does not depend on what ran before.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from types import CodeType, FrameType
from typing import Any

import antiphon

__all__ = ("Count", "Operation", "count")

#: The folder of antiphon's own code.
OWN = str(Path(antiphon.__file__).parent)

#: Enough to fill all caches of antiphon.
WARM_UPS = 20

#: How often an operation is counted. The figure is the median.
COUNTS = 5


@dataclass(frozen=True, slots=True)
class Operation:
    """What is counted, and what runs before it, after it and around all counts without being counted."""

    run: Callable[[], Awaitable[object]]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    around: Callable[[], AbstractAsyncContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Count:
    """The instructions of one operation."""

    #: The instructions of antiphon's own code, which the gate compares.
    own: int
    #: The instructions of all code that ran: also of listeners, AnyIO, the event loop and the counting itself.
    total: int


async def count(operation: Operation) -> Count:
    """Count an operation in the running event loop."""
    async with operation.around():
        return await _count(operation)


async def _count(operation: Operation) -> Count:
    for _ in range(WARM_UPS):
        await _run_traced(operation)
    is_collecting = gc.isenabled()
    gc.disable()  # a collection can run finalizers
    try:
        traces = [await _run_traced(operation) for _ in range(COUNTS)]
    finally:
        if is_collecting:
            gc.enable()
    return Count(
        own=median_low(sum(code.co_filename.startswith(OWN) for code in trace) for trace in traces),
        total=median_low(len(trace) for trace in traces),
    )


async def _run_traced(operation: Operation) -> list[CodeType]:
    trace: list[CodeType] = []
    operation.before()
    # Trio shuffles its tasks, with a random generator that is private.
    if trio_run := sys.modules.get("trio._core._run"):
        trio_run._r.seed(0)
    stop = _start(trace)
    try:
        await operation.run()
    finally:
        stop()
    operation.after()
    return trace


if sys.version_info >= (3, 12):
    from sys import monitoring

    #: An identifier that Python reserves for no tool, so that debuggers, coverage and profilers can run as well.
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
