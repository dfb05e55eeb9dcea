"""The workload: the event, the listeners, and the loop that repeats a statement.

Each of them is compiled separately for each candidate, because CPython specializes bytecode per code object. Candidates
that share code would be charged for each other, and listeners that share code make every loop 5 to 7 percent faster.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter_ns
from types import CodeType, FunctionType
from typing import Any, TypeAlias

__all__ = ("ARGUMENTS", "NAME", "Load", "compile_loop", "event_class", "is_listener", "listeners", "repeat")

Sampler: TypeAlias = Callable[[int], Awaitable[float]]
"""Does the work a number of times, and returns what all repetitions took together, in the unit of the row."""

#: The name under which events are dispatched.
NAME = "order.placed"

#: The parameters of a listener. Some libraries pass keyword arguments.
ARGUMENTS = "event"

LISTENER_PREFIX = "measured_listener_"

LISTENERS = {
    "synchronous": "def listener({arguments}): pass",
    "returning": "async def listener({arguments}): pass",
    "suspending": "async def listener({arguments}): await {suspend}",
    "failing": "async def listener({arguments}): raise ValueError",
}
"""The kinds of listeners, as source."""

MIXES = {"one in ten suspending": ("returning", "suspending"), "last failing": ("returning", "failing")}
"""The kind of most listeners in a mix, and the kind of the others."""

EVENT = """
class OrderPlaced(Base):
    {body}
    def __init__(self, order, customer):
        self.order = order
        self.customer = customer
"""

LOOP = """
async def loop(items, {names}):
    start = clock()
    for item in items:
{statement}
    return clock() - start
"""


def event_class(base: type = object, *, name: str | None = None) -> type[Any]:
    """Compile an event class with two attributes and an ``__init__`` of its own.

    Args:
        base: The event class of the library. Without one the class has only the mark that a loop would check.
        name: The class-level ``name`` of the class. None if it has none.
    """
    body = f"name = {name!r}" if name else "propagation_stopped = False" if base is object else ""
    namespace: dict[str, Any] = {"Base": base, "__name__": __name__}
    exec(EVENT.format(body=body), namespace)  # noqa: S102
    made: type[Any] = namespace["OrderPlaced"]
    return made


def listeners(
    kind: str, count: int, *, backend: str = "none", arguments: str = ARGUMENTS
) -> tuple[Callable[..., Any], ...]:
    """Make listeners with distinct code objects.

    Args:
        kind: A key of ``LISTENERS`` or ``MIXES``.
        count: The number of listeners.
        backend: The event loop that they run on.
        arguments: Their parameters.
    """
    return tuple(_rename(_compile_listener(_get_kind(kind, n, count), backend, arguments), n) for n in range(count))


def is_listener(code: CodeType) -> bool:
    """Return whether a code object belongs to a listener that ``listeners`` made."""
    return code.co_name.startswith(LISTENER_PREFIX)


def _get_kind(kind: str, index: int, count: int) -> str:
    if kind not in MIXES:
        return kind
    most, others = MIXES[kind]
    # The one in ten is in the middle, because a dispatch can treat the listeners before it and after it differently.
    return others if (index == count - 1 if others == "failing" else index % 10 == 5) else most


def _compile_listener(kind: str, backend: str, arguments: str) -> FunctionType:
    namespace: dict[str, Any] = {"__name__": __name__}
    if backend == "trio":
        from trio.lowlevel import checkpoint

        namespace["checkpoint"] = checkpoint
    elif backend != "none":
        from asyncio import sleep

        namespace["sleep"] = sleep
    suspend = "checkpoint()" if backend == "trio" else "sleep(0)"  # the cheapest one of the backend
    exec(LISTENERS[kind].format(arguments=arguments, suspend=suspend), namespace)  # noqa: S102
    listener: FunctionType = namespace["listener"]
    return listener


def _rename(function: FunctionType, number: int) -> FunctionType:
    name = f"{LISTENER_PREFIX}{number}"
    return FunctionType(function.__code__.replace(co_name=name), function.__globals__, name)


def compile_loop(statement: str, names: Iterable[str]) -> Callable[..., Awaitable[int]]:
    """Compile a loop that executes a statement for each of its items, and returns the nanoseconds that it took.

    The clock is read inside the coroutine, in the running event loop.

    Args:
        statement: Python source. It may ``await``, and it sees ``item`` and the names.
        names: The parameters of the loop beside the items. Its caller passes them as keyword arguments.
    """
    source = LOOP.format(names=", ".join(names), statement=textwrap.indent(statement, " " * 8))
    namespace: dict[str, Any] = {"clock": perf_counter_ns}
    exec(source, namespace)  # noqa: S102
    loop: Callable[..., Awaitable[int]] = namespace["loop"]
    return loop


def repeat(statement: str, values: Mapping[str, object], *, items: Sequence[object] = (None,)) -> Sampler:
    """Make a sampler that repeats a statement.

    Args:
        statement: Python source. It may ``await``, and it sees ``item`` and the names of the values.
        values: What the statement uses, by name.
        items: The values of ``item``, in turn.
    """
    loop = compile_loop(statement, values)

    def sampler(count: int) -> Awaitable[float]:
        return loop(islice(cycle(items), count), **values)

    return sampler


@dataclass(frozen=True, slots=True)
class Load:
    """What one dispatch has to do."""

    #: "sequential", "concurrent" or "sync": the kind of dispatch.
    group: str
    #: The number of listeners.
    size: int
    #: The kind of listeners: a key of ``LISTENERS`` or ``MIXES``.
    kind: str
    backend: str = "none"
    #: Whether the caller makes a new event for each dispatch, or passes the same one again.
    made: bool = False
    #: Whether the event class has a class-level ``name``.
    named: bool = False

    def make_sampler(self, statement: str, *, event_base: type = object, **values: object) -> Sampler:
        """Make a sampler that dispatches.

        Args:
            statement: The dispatch, as source. It sees ``name`` and the other values, and ``EVENT`` is the event.
            event_base: The base of the event class.
            **values: What else the statement uses.
        """
        order_placed = event_class(event_base, name=NAME if self.named else None)
        values |= {"OrderPlaced": order_placed, "event": order_placed(1, 2), "name": NAME}
        return repeat(statement.replace("EVENT", "OrderPlaced(1, 2)" if self.made else "event"), values)
