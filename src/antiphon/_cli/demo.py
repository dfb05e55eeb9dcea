"""A demonstration without a program: one event, dispatched sequentially and concurrently."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Final, NamedTuple

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, Sequential, Strategy, diagrams

__all__ = ("run_demo",)

#: The number of seconds that one character of a bar represents, unless the bars would be too long.
_SECONDS_PER_CHARACTER: Final = 0.005
#: The number of columns beside the longest bar: the names, and one for a listener that takes no time at the end.
_MARGIN: Final = 13
#: The number of columns if the output is not a terminal.
_WIDTH: Final = 80


class OrderPlaced(Event):
    """An order was placed."""

    name = "order.placed"

    def __init__(self) -> None:
        self.spans: list[_Span] = []


class _Span(NamedTuple):
    """The start and the end of a listener, in seconds."""

    listener: str
    start: float
    end: float


async def _sleep_and_record(event: OrderPlaced, listener: str, seconds: float) -> None:
    start = perf_counter()
    await anyio.sleep(seconds)
    event.spans.append(_Span(listener, start, perf_counter()))


async def validate(event: OrderPlaced) -> None:
    """Check that the order can be delivered."""
    await _sleep_and_record(event, "validate", 0.015)


async def reserve(event: OrderPlaced) -> None:
    """Reserve the stock."""
    await _sleep_and_record(event, "reserve", 0.03)


async def charge(event: OrderPlaced) -> None:
    """Charge the payment card."""
    await _sleep_and_record(event, "charge", 0.045)


async def receipt(event: OrderPlaced) -> None:
    """Send a receipt to the customer."""
    await _sleep_and_record(event, "receipt", 0.02)


def make_dispatcher() -> AsyncEventDispatcher:
    """Create a dispatcher with listeners of a name, a pattern and a class."""
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_listener("order.placed", validate, priority=-10)
    dispatcher.add_listener("order.placed", reserve)
    dispatcher.add_listener("order.*", charge, timeout=5)
    dispatcher.add_listener(OrderPlaced, receipt, priority=10)
    return dispatcher


def run_demo(*, width: int | None = None) -> Iterator[str]:
    """Yield the listeners as a tree, then the times of a dispatch with each strategy on each installed backend.

    Args:
        width: The number of columns of the terminal, or None.
    """
    dispatcher = make_dispatcher()
    yield "The listeners, as `diagrams.tree(dispatcher.describe())` shows them:"
    yield ""
    yield diagrams.tree(dispatcher.describe(), width=width)
    for backend in ("asyncio", "trio"):
        if find_spec(backend) is None:
            yield ""
            yield f"{backend} is not installed."
            continue
        for strategy in (Sequential(), Concurrent()):
            yield ""
            yield from _dispatch(dispatcher, strategy, backend, max((width or _WIDTH) - _MARGIN, 1))


def _dispatch(dispatcher: AsyncEventDispatcher, strategy: Strategy, backend: str, columns: int) -> Iterator[str]:
    event = OrderPlaced()
    anyio.run(partial(dispatcher.adispatch, event, strategy=strategy), backend=backend)
    zero, last = min(span.start for span in event.spans), max(span.end for span in event.spans)
    yield f"{type(strategy).__name__} on {backend}: {(last - zero) * 1000:.0f} ms"
    scale = max(_SECONDS_PER_CHARACTER, (last - zero) / columns)
    for span in sorted(event.spans, key=lambda span: span.start):
        start, end = (round((time - zero) / scale) for time in (span.start, span.end))
        yield f"  {span.listener:<8}  {' ' * start}{'█' * max(end - start, 1)}"
