"""What the tests of waiting share: other event loops, posters and readers that one can look at, and bare events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import anyio
import pytest
from anyio import lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Event

T = TypeVar("T")

#: For tests that run in a virtual clock, once on each backend.
BOTH = pytest.mark.parametrize("backend", ["asyncio", "trio"])

OVERFLOWS = ("raise", "suspend", "drop_oldest", "drop_newest")


class Numbered(Event):
    """An event that can be told from others."""

    def __init__(self, number: Any) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Numbered({self.number!r})"


class Bare:
    """An event on which nothing can be set."""

    __slots__ = ("__weakref__",)


class BareWithName:
    """An event on which nothing can be set, and whose name is a matter of its own."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return "what the user calls it"


async def elsewhere(function: Callable[[], Awaitable[T]], backend: str) -> T:
    """Run an async function in an event loop of the other kind, in a thread; this loop goes on meanwhile."""
    other = "trio" if backend == "asyncio" else "asyncio"
    return await to_thread.run_sync(lambda: anyio.run(function, backend=other), abandon_on_cancel=True)


async def outcome(call: Awaitable[Any]) -> Any:
    """What a call returns, or the error that it raises."""
    try:
        return await call
    except Exception as exc:
        return exc


async def noting_outcome(call: Callable[[], Awaitable[Any]], log: list[Any]) -> None:
    """Append to a log what a call returns, or the error that it raises."""
    log.append(await outcome(call()))


async def turns(count: int) -> None:
    """Let the others have some turns."""
    for _ in range(count):
        await lowlevel.checkpoint()


async def ending_of(block: AbstractAsyncContextManager[Any], body: Callable[[Any], Awaitable[object]]) -> Any:
    """What leaves an ``async with`` block, None if nothing does. A cancellation is caught too."""
    try:
        async with block as entered:
            await body(entered)
    except BaseException as exc:
        return exc
    return None


def nobody_listens(dispatcher: AsyncEventDispatcher) -> bool:
    """Whether nothing is registered any more."""
    return not dispatcher.has_listeners() and dispatcher.get_listeners() == {}
