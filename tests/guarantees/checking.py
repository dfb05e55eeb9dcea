"""How a check is registered, and what it gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests.cancellation.tasks import left_by

STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent, "race": Race}
IN_TURN = ("sequential", "sync")
TOGETHER = ("concurrent", "race")
ASYNC = ("sequential", *TOGETHER)
ALL = (*ASYNC, "sync")

NAME = "order.placed"


@dataclass
class Subject:
    """What a check looks at: the dispatcher of one column, on one event loop."""

    column: str
    backend: tuple[str, dict[str, object]]

    def dispatcher(self, **options: Any) -> Any:
        """Make a dispatcher; the options are those of the strategy."""
        if self.column == "sync":
            return EventDispatcher(**options)
        return AsyncEventDispatcher(strategy=STRATEGIES[self.column](**options), sync_listeners="inline")

    def of(self, *listeners: Any, later: Any = None, **options: Any) -> Any:
        """Make a dispatcher with listeners of one priority, and one of a later priority."""
        dispatcher = self.dispatcher(**options)
        for listener in listeners:
            dispatcher.add_listener(NAME, listener)
        if later is not None:
            dispatcher.add_listener(NAME, later, priority=1)
        return dispatcher

    def dispatching(self, dispatcher: Any) -> Callable[..., Any]:
        """Return what a plain listener calls, and returns the result of, to dispatch within a dispatch."""
        return dispatcher.dispatch if self.column == "sync" else dispatcher.adispatch

    async def dispatch(self, dispatcher: Any, *arguments: Any) -> Any:
        result = self.dispatching(dispatcher)(*(arguments or (NAME,)))
        return await result if isinstance(result, Awaitable) else result

    async def left_by(self, dispatcher: Any, *arguments: Any) -> Any:
        """Return what leaves a dispatch."""
        return await left_by(lambda: self.dispatch(dispatcher, *arguments))

    def assert_grouped(self, left: BaseException, *errors: Exception) -> None:
        """Check that one error leaves unchanged in turn, and that others leave in an ExceptionGroup."""
        if self.column in IN_TURN and len(errors) == 1:
            assert left is errors[0]
        else:
            assert_group(left, *errors)


def assert_group(left: BaseException, *errors: Exception) -> None:
    assert type(left) is ExceptionGroup
    assert left.exceptions == errors


Check: TypeAlias = Callable[[Subject], Awaitable[None]]
CHECKS: dict[tuple[str, str], Check] = {}


def check(row: str, *columns: str) -> Callable[[Check], None]:
    """Register the decorated function as the check of these cells."""

    def register(function: Check) -> None:
        for column in columns:
            assert (row, column) not in CHECKS, f"{row}, {column}: checked twice"
            CHECKS[row, column] = function

    return register


def failing(error: BaseException) -> Callable[[Any], None]:
    def fail(event: Any) -> None:
        raise error

    return fail


def stop(event: Event) -> None:
    event.stop_propagation()


class Waiting:
    """A listener that waits until it is released, and keeps how it ended."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.released = anyio.Event()
        self.ended: str | None = None

    async def __call__(self, event: Any) -> None:
        self.started.set()
        try:
            await self.released.wait()
            self.ended = "finished"
        except anyio.get_cancelled_exc_class():
            self.ended = "cancelled"
            raise
