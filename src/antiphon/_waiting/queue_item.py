"""What a queue keeps of each event, and of the dispatch that runs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, ContextVar, copy_context
from inspect import isasyncgen, isawaitable, isgenerator
from typing import Any, Final, NamedTuple, cast

from antiphon._backend import clear_async_library
from antiphon._events.stop_observer import stop_observer
from antiphon._listeners.limits import clear_enclosing_calls
from antiphon._strategies.cancellation import current_watch
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import safe_repr

__all__ = ("OrderedBy", "QueueItem", "QueueStatistics", "Running", "running_dispatch")


class QueueStatistics(NamedTuple):
    """What a queue has done so far, and what is in it."""

    #: How many events were handed over; each of them is done, failed, dropped, unfinished, running or waiting.
    posted: int
    #: How many dispatches ended well.
    done: int
    #: How many dispatches ended with an error.
    failed: int
    #: How many events were let go because the buffer was full.
    dropped: int
    #: How many events the end of the queue left unfinished.
    unfinished: int
    #: How many dispatches run now.
    running: int
    #: How many events wait for a worker.
    current_buffer_used: int
    #: How many events can wait.
    max_buffer_size: int
    #: How many calls of ``post`` wait for room.
    posts_waiting: int


QueueStatistics.__module__ = "antiphon"


class QueueItem:
    """One event in the queue."""

    __slots__ = ("arguments", "context", "event", "lane", "name")

    def __init__(self, arguments: tuple[Any, ...], name: Hashable, event: Any, lane: Hashable) -> None:
        #: What the dispatch is called with.
        self.arguments = arguments
        self.name = name
        self.event = event
        self.lane = lane
        self.context: Context = copy_context()
        clear_enclosing_calls(self.context)
        clear_async_library(self.context)
        # A stop in this dispatch must not reach the listener that posts, and chained posts must not build an
        # ever-growing chain of observers.
        self.context.run(stop_observer.set, None)
        self.context.run(current_watch.set, None)


class Running:
    """The dispatch of one event by a worker.

    Args:
        queue: The queue that runs it.
        task: The id of the worker's task.
    """

    __slots__ = ("queue", "task", "waits")

    def __init__(self, queue: object, task: int) -> None:
        #: None when the dispatch has ended, which contexts may outlive.
        self.queue: object | None = queue
        self.task = task
        #: Whether it waits, without a bound, for room in the queue that runs it.
        self.waits = False


#: The dispatch of a queue that the running code is part of.
running_dispatch: Final[ContextVar[Running | None]] = ContextVar("running", default=None)


class OrderedBy:
    """The key function of a queue, whose events of one key keep their order.

    Args:
        function: What the user gave; None for no keys.

    Raises:
        TypeError: It is not a plain function.
    """

    def __init__(self, function: Callable[[Any], Hashable] | None) -> None:
        if function is not None and (is_async_callable(function) or not callable(function)):
            raise TypeError(
                f"ordered_by= is a plain function that gives the key of an event; got {safe_repr(function)}"
            )
        self.function = function

    def key(self, event: Any) -> Hashable:
        """Give the key of an event, None without a function.

        Raises:
            TypeError: The function gave something that does not order.
        """
        if self.function is None:
            return None
        lane: Any = self.function(event)
        if isawaitable(lane) or isgenerator(lane) or isasyncgen(lane):
            got = safe_repr(lane)
            if isinstance(lane, Coroutine):
                # Or Python would warn that nothing awaits it.
                lane.close()
            raise TypeError(
                f"ordered_by= gives the key of an event, and events of equal keys keep their order; "
                f"{safe_repr(self.function)} returned {got}, which equals no other: return the key itself"
            )
        try:
            hash(lane)
        except TypeError:
            raise TypeError(
                f"ordered_by= gives the key of an event, which must be hashable; {safe_repr(self.function)} "
                f"returned {safe_repr(lane)} ({type(lane).__name__})"
            ) from None
        return cast(Hashable, lane)
