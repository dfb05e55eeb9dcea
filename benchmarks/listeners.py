"""Listeners that do as little as possible, each with a code object of its own.

Listeners that share their code flatter every loop by 5 to 7 percent: CPython specialises a call for the one function
that it sees there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CodeType, FunctionType
from typing import Any, TypeAlias

__all__ = ("KINDS", "AsyncListener", "Failure", "Listener", "alike", "is_listener", "listeners")

Listener: TypeAlias = Callable[[Any], None]
AsyncListener: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]

PREFIX = "measured_listener_"

#: What a listener takes; some libraries also give it names.
ARGUMENTS = "event"

KINDS: dict[str, str] = {
    "synchronous": "def listener({arguments}): pass",
    "returning": "async def listener({arguments}): pass",
    "suspending": "async def listener({arguments}): await {suspend}",
    "sleeping": "async def listener({arguments}): await sleep(0.001)",
    "failing": "async def listener({arguments}): raise Failure",
}
"""Each kind, as one would write it."""

MIXED: dict[str, tuple[str, str]] = {
    "one in ten suspending": ("returning", "suspending"),
    "last failing": ("returning", "failing"),
}
"""What most listeners do, and what the others do."""


class Failure(Exception):
    """What a failing listener raises."""


def listeners(
    kind: str, count: int, *, backend: str = "none", arguments: str = ARGUMENTS
) -> tuple[Callable[[Any], Any], ...]:
    """Makes listeners with distinct code objects.

    Args:
        kind: One of ``KINDS``, or of ``MIXED``.
        count: How many.
        backend: The loop they will run on.
        arguments: What they take, where a library calls them otherwise.
    """
    return tuple(_distinct(_make(_kind_of(kind, n, count), backend, arguments), n) for n in range(count))


def alike(kind: str, count: int, *, arguments: str = ARGUMENTS) -> list[Callable[[Any], Any]]:
    """Makes listeners that are distinct objects but share their code: many, of which few are called or none."""
    one = _distinct(_make(kind, "none", arguments), "alike")
    return [FunctionType(one.__code__, one.__globals__) for _ in range(count)]


def is_listener(code: CodeType) -> bool:
    """Tells whether a code object is that of a listener made by ``listeners``."""
    return code.co_name.startswith(PREFIX)


def _kind_of(kind: str, index: int, count: int) -> str:
    if kind not in MIXED:
        return kind
    most, others = MIXED[kind]
    # In the middle of each ten, as work before it and work behind it may be done in other ways.
    return others if (index == count - 1 if others == "failing" else index % 10 == 5) else most


def _make(kind: str, backend: str, arguments: str) -> FunctionType:
    namespace: dict[str, Any] = {"__name__": __name__, "Failure": Failure, **_means(backend)}
    suspend = "checkpoint()" if backend == "trio" else "sleep(0)"  # the cheapest of the backend
    exec(KINDS[kind].format(arguments=arguments, suspend=suspend), namespace)  # noqa: S102
    made: FunctionType = namespace["listener"]
    return made


def _means(backend: str) -> dict[str, Any]:
    """Gives what a listener of the backend waits by."""
    if backend == "none":
        return {}
    if backend == "trio":
        import trio

        return {"sleep": trio.sleep, "checkpoint": trio.lowlevel.checkpoint}
    import asyncio

    return {"sleep": asyncio.sleep}


def _distinct(function: FunctionType, mark: object) -> FunctionType:
    name = f"{PREFIX}{mark}"
    return FunctionType(function.__code__.replace(co_name=name), function.__globals__, name)
