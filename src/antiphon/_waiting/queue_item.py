"""The records of a queue: its items, its running dispatches and its statistics, and the key function of its items."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, ContextVar, copy_context
from inspect import isasyncgen, isawaitable, isgenerator
from typing import Any, Final, NamedTuple, cast

from antiphon._events.stop_observer import stop_observer
from antiphon._listeners.limits import enclosing_calls
from antiphon._strategies.cancellation import current_watch
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import publish, safe_repr
from antiphon._util.validation import check_parameters

__all__ = ("OrderedBy", "QueueItem", "QueueStatistics", "RunningDispatch", "enter_dispatch", "running_dispatch")


class QueueStatistics(NamedTuple):
    """The state of a queue, and its counters since it was entered."""

    #: How many events were posted. Each of them is done, failed, dropped, unfinished, running or waiting.
    posted: int
    #: How many dispatches finished without an error.
    done: int
    #: How many dispatches failed.
    failed: int
    #: How many events were dropped because the buffer was full.
    dropped: int
    #: How many events were unfinished when the queue ended.
    unfinished: int
    #: How many dispatches run now.
    running: int
    #: How many events wait for a worker.
    current_buffer_used: int
    #: How many events can wait.
    max_buffer_size: int
    #: How many calls of ``post`` wait for space.
    posts_waiting: int


publish("antiphon", QueueStatistics)


class QueueItem:
    """An event in a queue, with the context of its ``post``.

    Args:
        arguments: The arguments of ``adispatch``: the name and the event, or only an event that has no name.
        key: The key of the event, or None.
    """

    __slots__ = ("arguments", "context", "key")

    def __init__(self, arguments: tuple[Any, ...], key: Hashable) -> None:
        self.arguments = arguments
        self.key = key
        self.context: Context = copy_context()

    @property
    def name(self) -> Hashable:
        """The name of the dispatch, or None."""
        return self.arguments[0] if self.arguments[1:] else None

    @property
    def event(self) -> Any:
        """The event."""
        return self.arguments[-1]


class RunningDispatch:
    """A dispatch of an item by a worker.

    Args:
        queue: The queue.
        task_id: The id of the worker's task.
    """

    __slots__ = ("is_waiting", "queue", "task_id")

    def __init__(self, queue: object, task_id: int) -> None:
        #: The queue, or None after the dispatch has finished, because contexts that reference this may live longer.
        self.queue: object | None = queue
        self.task_id = task_id
        #: Whether the dispatch waits, without a deadline, for space in its own queue.
        self.is_waiting = False


#: The dispatch of a queue in which the current code runs, or None.
running_dispatch: Final[ContextVar[RunningDispatch | None]] = ContextVar("running_dispatch", default=None)


def enter_dispatch(running: RunningDispatch) -> None:
    """Prepare the current context, which is the copy of the poster's, for a dispatch.

    Clear what belongs to the poster: nothing in this dispatch must reach the listener that posts, and chained posts
    must not build ever-growing chains. Most posters have nothing to clear, and reading a variable is cheaper than
    setting it.
    """
    running_dispatch.set(running)
    if stop_observer.get() is not None:
        stop_observer.set(None)
    if current_watch.get() is not None:
        current_watch.set(None)
    if enclosing_calls.get():
        enclosing_calls.set(())


#: The classes of most keys, which need no checks.
_PLAIN_KEYS: Final = frozenset({bool, bytes, float, int, str, type(None)})


class OrderedBy:
    """The key function of a queue. Events with equal keys are dispatched in order.

    Args:
        function: The function, or None if the events have no keys.

    Raises:
        TypeError: If the function is async, not callable, or cannot be called with one event.
    """

    def __init__(self, function: Callable[[Any], Hashable] | None) -> None:
        if function is not None and (is_async_callable(function) or not callable(function)):
            problem = ", which is async, and a post does not await it" if is_async_callable(function) else ""
            raise TypeError(
                f"ordered_by= is a plain function that returns the key of an event; got {safe_repr(function)}{problem}"
            )
        if function is not None:
            check_parameters(function, ("event",), "ordered_by= is a plain function that returns the key of an event")
        self.function = function

    def get_key(self, event: Any) -> Hashable:
        """Return the key of an event, or None if there is no function.

        Raises:
            TypeError: If the function returns an awaitable, a generator, or an unhashable object.
        """
        if self.function is None:
            return None
        key: Any = self.function(event)
        if type(key) in _PLAIN_KEYS:
            return cast("Hashable", key)
        if isawaitable(key) or isgenerator(key) or isasyncgen(key):
            got = safe_repr(key)
            if isinstance(key, Coroutine):
                # Otherwise Python would warn that it was never awaited.
                key.close()
            raise TypeError(
                f"ordered_by= returns the key of an event, and events with equal keys keep their order; "
                f"{safe_repr(self.function)} returned {got}, which is not equal to any other: return the key itself"
            )
        try:
            hash(key)
        except TypeError:
            raise TypeError(
                f"ordered_by= returns the key of an event, which must be hashable; {safe_repr(self.function)} "
                f"returned {safe_repr(key)} ({type(key).__name__})"
            ) from None
        return cast(Hashable, key)
