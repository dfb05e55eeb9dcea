"""Compiled loops: how a statement is timed.

Each statement gets a loop of its own, compiled for one candidate, as ``timeit`` does. CPython specialises bytecode per
code object, so a shared loop would charge each candidate for the others, and calling a passed-in function would charge
each for one call more. The clock is read inside the coroutine, within the loop of the backend.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Any, TypeAlias

__all__ = ("TimedLoop", "timed", "timed_loop")

TimedLoop: TypeAlias = Callable[..., Awaitable[int]]
"""Called with items and the names of its statement; does the statement for each item and returns the nanoseconds."""

SOURCE = """
async def loop(items, {names}):
    start = clock()
    for item in items:
{statement}
    return clock() - start
"""


def timed_loop(statement: str, *names: str) -> TimedLoop:
    """Compiles a loop around a statement.

    Args:
        statement: Python source; it may ``await``, and sees ``item`` and the names.
        names: What else the statement uses. They become arguments of the loop, hence local variables.
    """
    source = SOURCE.format(names=", ".join(names), statement=textwrap.indent(statement, " " * 8))
    namespace: dict[str, Any] = {"clock": perf_counter_ns}
    exec(compile(source, "<benchmark>", "exec"), namespace)  # noqa: S102
    loop: TimedLoop = namespace["loop"]
    return loop


def timed(
    statement: str, names: Mapping[str, object], *, over: Sequence[object] = (None,)
) -> Callable[[int], Awaitable[int]]:
    """Makes a sampler that repeats a statement.

    Args:
        statement: Python source; it may ``await``, and sees ``item`` and the names.
        names: What else the statement uses, and its values.
        over: What ``item`` is in turn.
    """
    loop = timed_loop(statement, *names)

    def sampler(count: int) -> Awaitable[int]:
        return loop(islice(cycle(over), count), **names)

    return sampler
