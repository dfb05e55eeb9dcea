"""A demonstration that needs nothing but antiphon: one event, in turn and together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Final, NamedTuple

import anyio

from antiphon import diagrams
from antiphon._dispatchers.asynchronous import AsyncEventDispatcher
from antiphon._events.event import Event
from antiphon._strategies.base import Strategy
from antiphon._strategies.concurrent import Concurrent
from antiphon._strategies.sequential import Sequential

__all__ = ("run_demo",)

#: How many seconds one character of a bar stands for.
_SECONDS_PER_CHARACTER: Final = 0.005


class OrderPlaced(Event):
    """Somebody has placed an order."""

    name = "order.placed"

    def __init__(self) -> None:
        #: When each listener began and ended, in seconds.
        self.ran: list[_Ran] = []


class _Ran(NamedTuple):
    listener: str
    began: float
    ended: float


async def _work(event: OrderPlaced, listener: str, seconds: float) -> None:
    began = perf_counter()
    await anyio.sleep(seconds)
    event.ran.append(_Ran(listener, began, perf_counter()))


async def validate(event: OrderPlaced) -> None:
    """Look whether it can be delivered."""
    await _work(event, "validate", 0.015)


async def reserve(event: OrderPlaced) -> None:
    """Take it from the shelf."""
    await _work(event, "reserve", 0.03)


async def charge(event: OrderPlaced) -> None:
    """Ask the bank."""
    await _work(event, "charge", 0.045)


async def receipt(event: OrderPlaced) -> None:
    """Write to the customer."""
    await _work(event, "receipt", 0.02)


def make_dispatcher() -> AsyncEventDispatcher:
    """Make the dispatcher of the demonstration: listeners of a name, a pattern and a class."""
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_listener("order.placed", validate, priority=-10)
    dispatcher.add_listener("order.placed", reserve)
    dispatcher.add_listener("order.*", charge, timeout=5)
    dispatcher.add_listener(OrderPlaced, receipt, priority=10)
    return dispatcher


def run_demo() -> Iterator[str]:
    """Tell who listens, then dispatch on each backend that is installed, and tell what ran when, line by line."""
    dispatcher = make_dispatcher()
    yield "Who listens, as `diagrams.tree(dispatcher.describe())` tells it:"
    yield ""
    yield diagrams.tree(dispatcher.describe())
    for backend in ("asyncio", "trio"):
        if find_spec(backend) is None:
            yield ""
            yield f"{backend} is not installed."
            continue
        for strategy in (Sequential(), Concurrent()):
            yield ""
            yield from _dispatch(dispatcher, strategy, backend)


def _dispatch(dispatcher: AsyncEventDispatcher, strategy: Strategy, backend: str) -> Iterator[str]:
    event = OrderPlaced()
    anyio.run(partial(dispatcher.adispatch, event, strategy=strategy), backend=backend)
    first, last = min(ran.began for ran in event.ran), max(ran.ended for ran in event.ran)
    yield f"{type(strategy).__name__} on {backend}: {(last - first) * 1000:.0f} ms"
    for ran in sorted(event.ran, key=lambda ran: ran.began):
        start, end = (round((moment - first) / _SECONDS_PER_CHARACTER) for moment in (ran.began, ran.ended))
        yield f"  {ran.listener:<8}  {' ' * start}{'█' * max(end - start, 1)}"
