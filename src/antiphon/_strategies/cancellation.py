"""Finding out who requested to cancel the task in which a listener runs.

asyncio counts the requests to cancel a task, but does not record who made them. The count alone proves nothing: some
libraries leave it too high, and the cancel scopes of AnyIO take back requests that they did not make. A dispatch that
runs several listeners in its caller's task therefore classifies each request at the moment when it is made:

- A request by code of the running listener (its ``asyncio.timeout`` or ``asyncio.TaskGroup``) concerns that listener
  alone. Such code runs in the listener's context, in which `current_watch` has the watch of the listener's task.
- A request by AnyIO belongs to a cancel scope. The state of the cancel scopes can be read.
- Every other request cancels the dispatch.

A request or a cancellation is called *native* if ``task.cancel()`` made it, and not a cancel scope. A request is
*undelivered* until its cancellation is thrown into the task.

A task passes a request on by calling ``cancel()`` on the future for which it waits. `watch_future` replaces that future
by a proxy whose ``cancel()`` runs in the context of the code that makes the request, and reports it to the watch.

Trio has cancel scopes only, so on Trio the watch has no task and observes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, Literal, cast

from antiphon._backend import (
    count_cancel_requests,
    count_scope_requests,
    count_scopes,
    is_cancellation,
    is_cancelled_by_scope,
    is_scope_message,
    make_cancellation,
    uncancel_all_requests,
)

__all__ = ("MAX_NESTING_DEPTH", "CancellationWatch", "WorkerWatch", "current_watch", "watch_future")

#: How many concurrent dispatches may be nested. A greater depth means endless recursion in practice, and AnyIO cannot
#: cancel scopes that are nested as deeply as Python's stack allows.
MAX_NESTING_DEPTH: Final = 64


def _find_unfinished(watch: CancellationWatch | None) -> CancellationWatch | None:
    """Return the watch, or the nearest outer one, whose listeners have not finished."""
    while watch is not None and watch.is_finished:
        watch = watch.outer
    return watch


class CancellationWatch:
    """The requests to cancel a task while it runs listeners.

    Args:
        task: The asyncio task, or None on Trio.
        outer: The watch of the listener in which the dispatch runs, or None.

    Raises:
        RecursionError: If more than `MAX_NESTING_DEPTH` dispatches are nested.
    """

    # Class attributes are the defaults, because most dispatches are not cancelled and never change them.

    #: Whether the listeners have finished. A context that outlives them still references the watch.
    is_finished = False
    #: Whether a request to cancel the dispatch has been delivered to the task.
    is_cancelled = False
    #: How many requests to cancel the dispatch were made, but not delivered to the task. One cancellation delivers all.
    undelivered_requests = 0
    #: Whether the listener made a request itself that was not delivered to the task.
    has_undelivered_own_request = False

    # The number of delivered requests to cancel the dispatch.
    _dispatch_requests = 0
    # The number of requests at the start of the dispatch that cancel scopes made and will take back.
    _scope_requests_before = 0
    # The last cancellation that was thrown into a listener because the listener made a native request.
    _own_cancellation: BaseException | None = None
    # The task's count of requests at that moment.
    _count_at_own_cancellation = 0
    # The message of the last request to cancel the dispatch.
    _message: object = None
    # The cancel scope of the tasks that run other listeners.
    _cancel_scope: Any = None
    # Whether the task only waits for those tasks, and runs no listener itself.
    _only_waits = False

    #: The watch of the listener in which the dispatch runs.
    outer: CancellationWatch | None

    #: The asyncio task. None on Trio, after the listeners have finished, and in a `WorkerWatch`, which tasks share.
    task: Any

    def __init__(self, task: Any, outer: CancellationWatch | None) -> None:
        self.task = task
        if task is not None:
            self._requests_before: int = task.cancelling()
            if self._requests_before:
                self._scope_requests_before = count_scope_requests(task)
            if task._must_cancel:  # noqa: SLF001  AnyIO reads it too, because there is no public way
                # The task was cancelled before the dispatch, and the cancellation has not been delivered.
                self.undelivered_requests = 1
                self._requests_before -= 1
        self.outer = outer
        if outer is None:
            return
        self.outer = watch = _find_unfinished(outer)
        depth = 0
        while watch is not None:
            # Tasks that outlive their dispatch and dispatch again would build an ever-growing chain.
            watch.outer = _find_unfinished(watch.outer)
            watch, depth = watch.outer, depth + 1
        # The chain also contains the tasks that listeners start in the background. They are not in the cancel scopes of
        # the listener, so the cancel scopes show whether the dispatches are really nested.
        if depth > MAX_NESTING_DEPTH and count_scopes() > MAX_NESTING_DEPTH:
            raise RecursionError(
                f"more than {MAX_NESTING_DEPTH} dispatches are nested, each in a listener of the previous one; a "
                f"listener probably dispatches an event that it listens to: dispatch it under another name or class, "
                f"or outside of the listener (with a queue)"
            )

    def on_tasks_started(self, cancel_scope: Any) -> None:
        """Note that tasks of a group run other listeners. A request that is delivered to this task cancels them."""
        self._cancel_scope = cancel_scope

    def on_wait_for_tasks(self) -> None:
        """Note that the caller's task only waits for those tasks."""
        # The task group now cancels its tasks itself.
        self._cancel_scope = None
        self._only_waits = True

    def on_tasks_finished(self) -> None:
        """Note that those tasks have finished."""
        self._cancel_scope = None
        self._only_waits = False

    def finish(self) -> None:
        """Drop the references of the watch, because contexts that outlive the listeners keep the watch alive."""
        self.is_finished = True
        self.task = None
        if self._own_cancellation is not None:
            self._own_cancellation = None

    def reset(self) -> None:
        """Ignore the requests that were made so far, for the next listener."""
        self.is_cancelled = False
        self._own_cancellation = None
        if self.task is not None:
            self._requests_before = self.task.cancelling()
            self._scope_requests_before = count_scope_requests(self.task) if self._requests_before else 0
            self._dispatch_requests = 0

    def is_requested(self, exc: BaseException) -> bool:
        """Return whether a cancellation that leaves a listener was requested. In doubt, return True."""
        return self.is_cancelled or self.is_own(exc) or is_cancelled_by_scope()

    def is_own(self, exc: BaseException) -> bool:
        """Return whether a cancellation is one that the listener requested itself, and did not handle."""
        return self.has_own_request() and (self.has_undelivered_cancellation() or self._is_hidden_in(exc))

    def is_of_scope(self, exc: BaseException) -> bool:
        """Return whether a cancellation that leaves a cancelled cancel scope is one that it should have caught.

        AnyIO's cancel scope does not catch its own cancellation if the task has other requests, such as those that a
        listener did not take back. And a failed `asyncio.TaskGroup` takes back the request of the cancel scope and
        makes a new one.
        """
        if self.is_cancelled or not is_cancellation(exc) or is_cancelled_by_scope():
            return False
        is_of_scope = is_scope_message(next(iter(exc.args), None))
        return is_of_scope or (not self.has_own_request() and _originates_from(exc, self._own_cancellation))

    def cancel_if_error_hides_request(self, error: Exception) -> None:
        """Treat a listener's own request as one to cancel the dispatch if the listener raised an error because of it.

        The error hides the request if the cancellation is in the context chain of the error. Code in the listener's
        context made the request, but not all such code belongs to the listener. A signal handler of the process may
        run there. So may a timeout of the caller, if the listener rescheduled it. A listener that handles its own
        requests raises no error because of them, or takes them back.
        """
        if self._own_cancellation is not None and self.has_own_request() and self._is_hidden_in(error):
            self._own_cancellation = None
            self._cancel(1)

    def _is_hidden_in(self, exc: BaseException) -> bool:
        # If the count is lower, the request has been taken back.
        count = self.task.cancelling()
        return count >= self._count_at_own_cancellation and _originates_from(exc, self._own_cancellation)

    def _cancel(self, requests: int) -> None:
        self.is_cancelled = True
        self._dispatch_requests += requests
        if self._cancel_scope is not None:
            self._cancel_scope.cancel()

    def has_own_request(self) -> bool:
        """Return whether the listener has made requests to cancel its task, and has not taken them back."""
        return self.task is not None and self.task.cancelling() > self._count_other_requests()

    def has_undelivered_cancellation(self) -> bool:
        """Return whether the task was cancelled while it ran. The cancellation is delivered when the task waits."""
        return self.task is not None and self.task._must_cancel  # noqa: SLF001  see above

    def uncancel_own_requests(self) -> None:
        """Take back the requests that a listener made and handled, as if it had run in a task of its own."""
        if self.task is None or self.task.cancelling() == self._requests_before or self.has_undelivered_cancellation():
            return
        while self.has_own_request():
            self.task.uncancel()

    def _count_other_requests(self) -> int:
        requests = self._requests_before - self._scope_requests_before + self._dispatch_requests
        return requests + count_scope_requests(self.task)

    def classify_undelivered_request(self) -> Literal["deliver", "drop"]:
        """Decide what to do with a request that was made while the task ran, now that the task waits.

        A failed `asyncio.TaskGroup` takes back a request that it did not make, and makes it again, because the task is
        still being cancelled. If the listener had its own task, this request would not exist. Drop it.
        """
        if self.undelivered_requests or self.is_cancelled:
            return "deliver"
        self.has_undelivered_own_request = self.has_own_request() or is_cancelled_by_scope()
        return "deliver" if self.has_undelivered_own_request else "drop"

    def make_cancellation(self) -> BaseException:
        """Return a new cancellation for the request, in case a listener has caught the original one."""
        return make_cancellation(self._message)

    def on_request(self, message: object) -> None:
        """Receive a request that no cancel scope made. This runs in the context of the code that makes it."""
        if not self._only_waits:
            watch = current_watch.get()
            while watch is not None:
                if watch is self:
                    self.has_undelivered_own_request = True
                    return
                watch = watch.outer
        self.undelivered_requests += 1
        self._message = message

    def on_resumed(self, thrown: BaseException | None) -> None:
        """Note that the task was resumed.

        Args:
            thrown: The exception that was thrown into the task, or None. A cancellation delivers the undelivered
                requests.
        """
        is_own, self.has_undelivered_own_request = self.has_undelivered_own_request, False
        requests, self.undelivered_requests = self.undelivered_requests, 0
        if thrown is None or not is_cancellation(thrown):
            return
        if is_own:
            self._own_cancellation, self._count_at_own_cancellation = thrown, self.task.cancelling()
        if requests:
            self._cancel(requests)


def _originates_from(exc: BaseException, cancellation: BaseException | None) -> bool:
    """Return whether an exception is the cancellation, has it in its context, or is a group with such an exception."""
    if cancellation is None:
        return False
    if isinstance(exc, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        return any(_originates_from(member, cancellation) for member in members)
    seen: set[int] = set()
    context: BaseException | None = exc
    while context is not None and context is not cancellation and id(context) not in seen:
        # Contexts can form a cycle.
        seen.add(id(context))
        context = context.__context__
    return context is cancellation


class WorkerWatch(CancellationWatch):
    """The requests to cancel the tasks that a tier starts for its listeners. All of them share one watch.

    Such a task runs nothing but listeners, so each request in its count was made by its listener or by a cancel scope.

    Args:
        caller: The watch of the caller's task.
    """

    def __init__(self, caller: CancellationWatch) -> None:
        self.task = None
        self.outer = caller.outer
        self._has_asyncio_tasks = caller.task is not None

    def is_own(self, exc: BaseException) -> bool:
        """Return whether the listener may have requested a cancellation itself."""
        return count_cancel_requests() > 0

    def uncancel_own_requests(self) -> None:
        """Take back the requests that a listener made and handled, before the task runs the next listener."""
        if self._has_asyncio_tasks and count_cancel_requests() and not is_cancelled_by_scope():
            uncancel_all_requests()


#: The watch of the task that runs the listener of this context.
current_watch: Final[ContextVar[CancellationWatch | None]] = ContextVar("current_watch", default=None)


class _WatchedFuture:
    """A proxy of the future for which a task waits, which reports the requests to cancel the task.

    asyncio treats any object with the attribute ``_asyncio_future_blocking`` as a future.

    Args:
        future: The future.
        watch: The watch that receives the requests.
    """

    __slots__ = ("_asyncio_future_blocking", "_decision", "_future", "_watch")

    def __init__(self, future: Any, watch: CancellationWatch) -> None:
        self._asyncio_future_blocking = True
        self._future = future
        self._watch = watch
        # The decision about a request that was made while the task ran, or None. The task passes it on now.
        self._decision = watch.classify_undelivered_request() if watch.task._must_cancel else None  # noqa: SLF001  see above

    @property  # type: ignore[misc]  # it is read-only
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # AnyIO does not cancel a task whose future is done, but checks that only for instances of `asyncio.Future`.
        return self._future.__class__

    def get_loop(self) -> Any:
        """Return the event loop of the future."""
        return self._future.get_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call a function with the future when the future is done."""
        self._future.add_done_callback(callback, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future on behalf of its task, and report the request."""
        decision, self._decision = self._decision, None
        if decision == "drop":
            return True
        if decision is None and not is_scope_message(msg):
            self._watch.on_request(msg)
        return bool(self._future.cancel(msg=msg))

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._future, attribute)


class _WatchedYield:
    """A future in place of a bare ``yield``, which reports the requests to cancel the task.

    A task that yields None continues in the next iteration of the event loop, and so does a task that waits for this.

    Args:
        watch: The watch that receives the requests.
    """

    __slots__ = ("_asyncio_future_blocking", "_decision", "_watch")

    def __init__(self, watch: CancellationWatch) -> None:
        self._asyncio_future_blocking = True
        self._watch = watch
        self._decision = watch.classify_undelivered_request() if watch.task._must_cancel else None  # noqa: SLF001  see above

    def get_loop(self) -> Any:
        """Return the event loop."""
        return self._watch.task.get_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call a function in the next iteration of the event loop."""
        self._watch.task.get_loop().call_soon(callback, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Report the request. The task throws the cancellation into its coroutine in the next iteration."""
        decision, self._decision = self._decision, None
        if decision is None and not is_scope_message(msg):
            self._watch.on_request(msg)
        return decision == "drop"

    def done(self) -> bool:
        """Return True, because the task is not blocked."""
        return True

    def result(self) -> None:
        """Return None, which the task sends into its coroutine."""


def watch_future(yielded: Any, watch: CancellationWatch) -> Any:
    """Return the object that a task must wait for instead of the one that its coroutine yielded."""
    if yielded is None:
        return _WatchedYield(watch)
    if yielded is watch.task or not getattr(yielded, "_asyncio_future_blocking", False):
        # asyncio raises an error for such an object.
        return yielded
    yielded._asyncio_future_blocking = False  # noqa: SLF001  asyncio's own mark, which is now on `_WatchedFuture`
    return _WatchedFuture(yielded, watch)
