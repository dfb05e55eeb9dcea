"""What applications do, for the gate: requests, overrides as in HARP, instruments, prepared dispatches, and posts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from antiphon import AsyncEventDispatcher, Event
from antiphon.instruments import Instrument
from antiphon.instruments.logging import LoggingInstrument
from benchmarks.applications import (
    EVENTS,
    LISTENED,
    DoNothing,
    copy_name,
    make_event_classes,
    make_overriding,
    quiet_logger,
)
from benchmarks.instructions.counting import Operation
from benchmarks.workload import NAME, event_class, listeners

__all__ = ("make_operations",)

SIZES = (0, 1, 3, 10)

Build = Callable[[], Operation]

#: HARP's dispatcher on antiphon.
LoggingDispatcher = make_overriding(AsyncEventDispatcher)


class PassingDispatcher(AsyncEventDispatcher):
    """A dispatcher whose override runs the listeners by the method that it overrides."""

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        await super()._adispatch(listeners, event)


def make_operations() -> Iterator[tuple[str, int, Build]]:
    """Yield the name of each operation, the number of listeners, and what builds the operation."""
    yield "request", len(LISTENED), _request
    yield "request, equal names", len(LISTENED), partial(_request, make_name=copy_name)
    yield "request, prepared", len(LISTENED), partial(_request, is_prepared=True)
    yield "request, through a logging override", len(LISTENED), partial(_request, make=LoggingDispatcher)
    yield "request, logging instrument with its level off", len(LISTENED), partial(_request, make=_make_logged)
    for size in SIZES:
        yield "by an equal name", size, partial(_dispatch, size, name=copy_name(NAME))
        yield "through a logging override", size, partial(_dispatch, size, make=LoggingDispatcher)
        yield "through an override that calls super()", size, partial(_dispatch, size, make=PassingDispatcher)
    for size in (1, 3):
        yield "instrument that does nothing", size, partial(_dispatch, size, make=_make_observed)
    yield "logging instrument with its level off", 1, partial(_dispatch, 1, make=_make_logged)
    yield "post", 0, _post


def _make_observed(make: Callable[[], Instrument] = DoNothing) -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(make())
    return dispatcher


_make_logged = partial(_make_observed, partial(LoggingInstrument, quiet_logger))


def _request(
    *,
    make: Callable[[], Any] = AsyncEventDispatcher,
    make_name: Callable[[str], str] = str,
    is_prepared: bool = False,
) -> Operation:
    """Build the dispatches of a request.

    Args:
        make: Makes the dispatcher.
        make_name: Makes the name of a dispatch from the name of the listener.
        is_prepared: Whether the names are prepared.
    """
    dispatcher = make()
    for name, listener in zip(LISTENED, listeners("returning", len(LISTENED)), strict=True):
        dispatcher.add_listener(name, listener)

    def bind(name: str) -> Callable[[Any], Any]:
        return dispatcher.prepare(name) if is_prepared else partial(dispatcher.adispatch, name)

    # Lists, because each class is made once, and its dispatches are bound once.
    todo = [
        (made, [bind(make_name(name)) for name in names])
        for made, names in zip(make_event_classes(Event), EVENTS, strict=True)
    ]

    async def run() -> None:
        for made, dispatches in todo:
            event = made(1, 2)
            for dispatch in dispatches:
                await dispatch(event)

    return Operation(run)


def _dispatch(size: int, *, make: Callable[[], Any] = AsyncEventDispatcher, name: str = NAME) -> Operation:
    """Build a dispatch to listeners of `NAME`.

    Args:
        size: The number of listeners.
        make: Makes the dispatcher.
        name: The name of the dispatch, if it is not the same object.
    """
    dispatcher = make()
    for listener in listeners("returning", size):
        dispatcher.add_listener(NAME, listener)
    return Operation(partial(dispatcher.adispatch, name, event_class(Event)(1, 2)))


def _post() -> Operation:
    """Build a post to a queue whose worker does not run until the end."""
    queue = AsyncEventDispatcher().queue()
    event = event_class(Event)(1, 2)

    async def run() -> None:
        queue.post_nowait(NAME, event)

    return Operation(run, around=lambda: queue)
