"""Helpers of the tests of waiting: orders, a shop that records them, virtual time, other event loops, and outcomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial, update_wrapper
from inspect import Parameter, signature
from typing import Any, TypeVar

import anyio
import pytest
from anyio import lowlevel, to_thread

from antiphon import AsyncEventDispatcher, Event, QueueNotDrained
from antiphon.testing import Backend, backends
from antiphon.testing import settle as settle
from tests.cancellation.tasks import Watch as Watch
from tests.cancellation.tasks import forever as forever
from tests.cancellation.tasks import is_cancellation as is_cancellation
from tests.cancellation.tasks import leaves as leaves
from tests.loops import ASYNCIO

T = TypeVar("T")

OVERFLOWS = ("raise", "suspend", "drop_oldest", "drop_newest")

#: For tests of native cancellations, which trio does not have.
asyncio_only = pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)


class Order(Event):
    def __init__(self, number: Any) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number!r})"


class Numbered(Order):
    """The order of ``tests/test_logged_errors.py``, which asserts this name."""


class Bare:
    """An event on which nothing can be set."""

    __slots__ = ("__weakref__",)


class BareWithName:
    """An event on which nothing can be set, with a name of its own."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return "what the user calls it"


class Shop:
    """A dispatcher with one listener, which records each order and does what the number of the order says.

    A number that is a float is a time to sleep, in seconds.
    """

    def __init__(self) -> None:
        self.dispatcher = AsyncEventDispatcher()
        self.started: list[Any] = []
        self.finished: list[Any] = []
        self.running = self.most = 0
        self.go = anyio.Event()
        self.dispatcher.add_listener("order.placed", self.store)
        self.listen, self.queue = self.dispatcher.listen, self.dispatcher.queue

    async def store(self, event: Order) -> None:
        number = event.number
        self.started.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if number == "forever":
                await forever()
            elif isinstance(number, float):
                await anyio.sleep(number)
            elif number in ("wait", "wait and fail"):
                await self.go.wait()
            elif number == "fail later":
                await anyio.sleep(1)
            elif number != "fail":
                await lowlevel.checkpoint()
            if "fail" in str(number):
                raise ValueError(number)
            self.finished.append(number)
        finally:
            self.running -= 1


async def post(queue: Any, *numbers: Any) -> None:
    """Post orders to a queue."""
    for number in numbers:
        await queue.post("order.placed", Order(number))


async def place(dispatcher: AsyncEventDispatcher, *numbers: Any) -> None:
    """Dispatch orders."""
    for number in numbers:
        await dispatcher.adispatch("order.placed", Order(number))


async def read_all(stream: Any) -> list[Any]:
    """Return the numbers of the orders that are read until the stream ends."""
    return [event.number async for event in stream]


def adds_up(queue: Any) -> bool:
    """Return whether each posted event is counted once, and nothing is left to run once the queue has ended."""
    found = queue.statistics()
    waiting = found.running + found.current_buffer_used
    is_over = "ENDED" not in str(queue._runner.state) or waiting + found.posts_waiting == 0
    return is_over and bool(found.posted == found.done + found.failed + found.dropped + found.unfinished + waiting)


def numbers_of(error: QueueNotDrained) -> list[Any]:
    return [event.number for _, event in error.unfinished]


def types_of(exc: BaseException | None) -> list[type[BaseException]]:
    """Return the types of the exceptions in a group, in order."""
    return [type(leaf) for leaf in leaves(exc)]


def in_virtual_time(*chosen: Backend) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make an async test run in virtual time, once on each of some backends: asyncio and trio, if none is given."""

    def decorate(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        def test(backend: Backend, **arguments: Any) -> None:
            backend.run(partial(function, **arguments))

        update_wrapper(test, function)
        own = signature(function)
        parameter = Parameter("backend", Parameter.POSITIONAL_OR_KEYWORD)
        test.__signature__ = own.replace(parameters=[parameter, *own.parameters.values()])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("backend", chosen or backends(), ids=str)(test)

    return decorate


async def elsewhere(function: Callable[[], Awaitable[T]], backend: str) -> T:
    """Run an async function in an event loop of the other kind, in a thread; this loop goes on meanwhile."""
    other = "trio" if backend == "asyncio" else "asyncio"
    with anyio.fail_after(10):
        return await to_thread.run_sync(lambda: anyio.run(function, backend=other), abandon_on_cancel=True)


async def outcome(call: Awaitable[Any]) -> Any:
    """Return what a call returns, or the error that it raises."""
    try:
        return await call
    except Exception as exc:
        return exc


async def record_outcome(call: Callable[[], Awaitable[Any]], log: list[Any]) -> None:
    """Append to a log what a call returns, or the error that it raises."""
    log.append(await outcome(call()))


async def turns(count: int) -> None:
    """Let the other tasks have some turns."""
    for _ in range(count):
        await lowlevel.checkpoint()


async def ending_of(block: AbstractAsyncContextManager[Any], body: Callable[[Any], Awaitable[object]]) -> Any:
    """Return what leaves an ``async with`` block, also a cancellation; None if nothing does."""
    try:
        async with block as entered:
            await body(entered)
    except BaseException as exc:
        return exc
    return None


def has_no_listeners(dispatcher: AsyncEventDispatcher) -> bool:
    return not dispatcher.has_listeners() and dispatcher.get_listeners() == {}
