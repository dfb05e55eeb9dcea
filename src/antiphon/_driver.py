"""Running a listener step by step, and knowing who cancels the task in which it runs.

asyncio counts the requests to cancel a task but does not tell who made them, and the count proves nothing: some
libraries leave it too high, and AnyIO's cancel scopes take back requests that are not theirs. A dispatch that runs
several listeners in its caller's task therefore looks at each request at the moment when it is made:

- A request by code of the listener that runs there (its ``asyncio.timeout``, its ``asyncio.TaskGroup``) is the affair
  of that listener. Such code runs in the listener's context, where `current_watch` says so.
- A request by AnyIO belongs to a cancel scope, which can be asked.
- Every other request is one to cancel the dispatch.

A task calls ``cancel()`` of the future for which it waits. The driver hands the listener's futures to the task within a
`WatchedFuture`, which looks at the context of that call. Trio has cancel scopes alone, and nothing to watch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar, copy_context
from types import CoroutineType, coroutine
from typing import Any, Final, TypeAlias

from antiphon._backend import WatchedFuture, is_cancellation, is_cancelled_by_scope, is_scope_message, make_cancellation

__all__ = ("MAX_NESTING_DEPTH", "CancellationWatch", "current_watch", "drive", "run_alone", "run_first_step")

#: How many concurrent dispatches may run within each other. More have no end in sight, and AnyIO cannot
#: cancel scopes that are nested as deeply as Python's stack.
MAX_NESTING_DEPTH: Final = 100

#: Runs a function in the context of a listener.
_Run: TypeAlias = Callable[..., Any]

_FINISHED: Final = object()


class CancellationWatch:
    """The requests to cancel a task while it runs listeners.

    Args:
        task: The asyncio task; None on Trio.
        outer: The watch of the listener in which the dispatch runs.

    Raises:
        RecursionError: If more than `MAX_NESTING_DEPTH` dispatches are nested.
    """

    __slots__ = (
        "_cancel_scope",
        "_is_coming",
        "_message",
        "_requests_before",
        "_runs_listener",
        "_task",
        "depth",
        "is_cancelled",
        "is_finished",
        "outer",
    )

    def __init__(self, task: Any, outer: CancellationWatch | None) -> None:
        while outer is not None and outer.is_finished:
            # Tasks that outlive their dispatch and dispatch again would build an ever-growing chain.
            outer = outer.outer
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        if self.depth > MAX_NESTING_DEPTH:
            raise RecursionError(
                f"{MAX_NESTING_DEPTH} dispatches are nested, each in a listener of the one before; a listener "
                f"probably dispatches an event that it listens to: dispatch it under another name or class, or from "
                f"outside of the listener (with a queue)"
            )
        #: Whether the listeners have finished. A context that outlives them still refers to the watch.
        self.is_finished = False
        #: Whether a request to cancel the dispatch has reached the task.
        self.is_cancelled = False
        # What to cancel when one does.
        self._cancel_scope: Any = None
        # Whether a listener runs in the task, and not only in tasks that it waits for.
        self._runs_listener = True
        self._task = task
        self._message: object = None
        # Whether such a request was made and has not reached the task. A task may be cancelled before it dispatches.
        self._is_coming = task is not None and _is_pending(task)
        self._requests_before: int = 0 if task is None else task.cancelling() - self._is_coming

    def start_listeners(self, cancel_scope: Any) -> None:
        """Note that the task runs listeners, and others are run by the tasks of a group: all end with the task."""
        self._cancel_scope = cancel_scope
        self._runs_listener = True

    def stop_listeners(self) -> None:
        """Note that the task now waits for the tasks of the group, which takes care of them."""
        self._cancel_scope = None
        self._runs_listener = False

    def is_pending(self) -> bool:
        """Return whether the task was cancelled while it ran, and has not waited for anything since."""
        return self._task is not None and _is_pending(self._task)

    def finish(self) -> None:
        """Release the task when all listeners have finished."""
        self.is_finished = True
        self._task = self._cancel_scope = None

    def is_requested(self) -> bool:
        """Return whether a cancellation that leaves a listener now was requested. In doubt it was."""
        task = self._task
        return (
            self.is_cancelled
            or (task is not None and task.cancelling() > self._requests_before)
            or is_cancelled_by_scope()
        )

    def settle(self) -> None:
        """Take back the requests that a listener made and handled itself, as if it had run in a task of its own."""
        task = self._task
        if task is None or task.cancelling() <= self._requests_before:
            return
        if self.is_cancelled or _is_pending(task) or is_cancelled_by_scope():
            return
        while task.cancelling() > self._requests_before:
            task.uncancel()

    def as_requested(self, exc: BaseException) -> BaseException:
        """Return what leaves for a cancellation: one that was requested of the task must not pass for one of a scope."""
        if self.is_cancelled and is_cancellation(exc) and is_scope_message(next(iter(exc.args), None)):
            return self.make_cancellation()
        return exc

    def make_cancellation(self) -> BaseException:
        """Return the cancellation that was requested, for a dispatch whose listener kept it."""
        return make_cancellation(self._message)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the listener in the current context."""
        token = current_watch.set(self)
        try:
            return function(*args)
        finally:
            current_watch.reset(token)
            # A frame that refers to an exception makes a cycle.
            del args

    def wrap(self, yielded: Any) -> Any:
        """Return what the task is to wait for in the place of what a listener yielded."""
        task = self._task
        if task is None:
            return yielded
        return WatchedFuture.wrap(yielded, task, self._on_request, _is_pending(task))

    def _on_request(self, message: object) -> None:
        if self._runs_listener:
            watch = current_watch.get()
            while watch is not None:
                if watch is self:
                    return
                watch = watch.outer
        self._is_coming = True
        self._message = message

    def on_resumed(self, thrown: BaseException | None) -> None:
        """Note that the task goes on, perhaps because of a request."""
        if not self._is_coming:
            return
        self._is_coming = False
        if thrown is not None and is_cancellation(thrown):
            self.is_cancelled = True
            if self._cancel_scope is not None:
                self._cancel_scope.cancel()


#: The watch of the listener that runs in this context.
current_watch: Final[ContextVar[CancellationWatch | None]] = ContextVar("current_watch", default=None)


def _is_pending(task: Any) -> bool:
    # AnyIO reads the same attribute, because there is no public one.
    return bool(getattr(task, "_must_cancel", False))


def run_first_step(
    listener: Callable[[Any], Any], event: Any, run: _Run, watch: CancellationWatch
) -> Awaitable[None] | None:
    """Call a listener and run it until it waits for something.

    Args:
        listener: The async callable.
        event: Its argument.
        run: Runs each step in the context of the listener.
        watch: The watch of the running task.

    Returns:
        An awaitable that runs the remainder in the same task, or None if the listener has finished.

    Raises:
        BaseException: If the listener raises it.
    """
    steps: Any = run(listener, event)
    if steps.__class__ is not CoroutineType:
        # A listener may return any awaitable, but only a coroutine can be run step by step.
        steps = _await(steps)
    # Unlike `send`, `next` with a default makes no StopIteration at the end.
    yielded = run(next, steps.__await__(), _FINISHED)
    return None if yielded is _FINISHED else _run_remainder(steps, yielded, run, watch)


def run_alone(
    listener: Callable[[Any], Any], event: Any, watch: CancellationWatch
) -> Awaitable[None] | None:
    """Call the only listener of a tier, in a copy of the context, and run it until it waits for something.

    Returns:
        As `run_first_step`.

    Raises:
        BaseException: If the listener raises it.
    """
    watch.start_listeners(None)
    context = copy_context()
    context.run(current_watch.set, watch)
    return run_first_step(listener, event, context.run, watch)


@coroutine
def drive(awaitable: Any, run: _Run, watch: CancellationWatch) -> Generator[Any, Any, Any]:
    """Run an awaitable, with a watch on the requests to cancel the task.

    Args:
        awaitable: The awaitable.
        run: Runs each step in the context that it belongs to.
        watch: The watch of the running task.

    Returns:
        The result.

    Raises:
        BaseException: If the awaitable raises it.
    """
    steps = awaitable if awaitable.__class__ is CoroutineType else _await(awaitable)
    try:
        yielded = run(steps.send, None)
    except StopIteration as end:
        return end.value
    return (yield from _run_remainder(steps, yielded, run, watch))


@coroutine
def _run_remainder(
    steps: Coroutine[Any, Any, Any], yielded: Any, run: _Run, watch: CancellationWatch
) -> Generator[Any, Any, Any]:
    while True:
        sent = thrown = None
        try:
            sent = yield watch.wrap(yielded)
        except GeneratorExit:
            run(steps.close)
            raise
        except BaseException as exc:  # noqa: ASYNC103  thrown into the coroutine
            thrown = exc
        watch.on_resumed(thrown)
        try:
            yielded = run(steps.send, sent) if thrown is None else run(steps.throw, thrown)
        except StopIteration as end:
            return end.value
        finally:
            # A frame that refers to an exception makes a cycle.
            sent = thrown = None


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
