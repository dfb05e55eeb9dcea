"""Who requested to cancel the task in which a listener runs.

asyncio counts the requests to cancel a task but does not tell who made them, and the count proves nothing: some
libraries leave it too high, and AnyIO's cancel scopes take back requests that are not theirs. A dispatch that runs
several listeners in its caller's task therefore looks at each request at the moment when it is made:

- A request by code of the listener that runs there (its ``asyncio.timeout``, its ``asyncio.TaskGroup``) is the affair
  of that listener. Such code runs in the listener's context, where `current_watch` says so.
- A request by AnyIO belongs to a cancel scope, which can be asked.
- Every other request is one to cancel the dispatch.

A task calls ``cancel()`` of the future for which it waits. `watch_future` puts a proxy in the place of that future,
which looks at the context of the call. Trio has cancel scopes alone, and nothing to watch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, Literal, cast

from antiphon._backend import (
    count_requests,
    count_scope_requests,
    count_scopes,
    is_cancellation,
    is_cancelled_by_scope,
    is_scope_message,
    make_cancellation,
    take_requests_back,
)

__all__ = ("MAX_NESTING_DEPTH", "CancellationWatch", "WorkerWatch", "current_watch", "watch_future")

#: How many concurrent dispatches may run within each other. More have no end in sight, and AnyIO cannot
#: cancel scopes that are nested as deeply as Python's stack.
MAX_NESTING_DEPTH: Final = 64


def _skip_finished(watch: CancellationWatch | None) -> CancellationWatch | None:
    while watch is not None and watch.is_finished:
        watch = watch.outer
    return watch


class CancellationWatch:
    """The requests to cancel a task while it runs listeners.

    Args:
        task: The asyncio task; None on Trio.
        outer: The watch of the listener in which the dispatch runs.

    Raises:
        RecursionError: If more than `MAX_NESTING_DEPTH` dispatches are nested.
    """

    # Most dispatches are not cancelled, and never change the defaults.

    #: Whether the listeners have finished. A context that outlives them still refers to the watch.
    is_finished = False
    #: Whether a request to cancel the dispatch has reached the task.
    is_cancelled = False
    #: Whether one was made and has not reached the task.
    is_coming = False
    #: The same of a request that the listener makes itself.
    is_own_coming = False

    # How many have reached it.
    _requests = 0
    # How many of those before the dispatch are requests of cancel scopes, which take them back.
    _scope_requests_before = 0
    # The last cancellation that was thrown into a listener because of a native request of its own.
    _own: BaseException | None = None
    # The count of requests at that moment.
    _requests_at_own = 0
    _message: object = None
    # The cancel scope of the tasks that run other listeners.
    _cancel_scope: Any = None
    # Whether the task only waits for them, and runs no listener itself.
    _only_waits = False

    #: The watch of the listener in which the dispatch runs.
    outer: CancellationWatch | None

    #: The asyncio task; None on Trio, and when the listeners have finished.
    task: Any

    def __init__(self, task: Any, outer: CancellationWatch | None) -> None:
        self.task = task
        if task is not None:
            self._requests_before: int = task.cancelling()
            if self._requests_before:
                self._scope_requests_before = count_scope_requests(task)
            if task._must_cancel:  # noqa: SLF001  AnyIO reads it too, because there is no public way
                # It was cancelled before it dispatched, and has not met the cancellation.
                self.is_coming = True
                self._requests_before -= 1
        self.outer = outer = _skip_finished(outer)
        if outer is None:
            return
        depth = 0
        watch: CancellationWatch | None = outer
        while watch is not None:
            # Tasks that outlive their dispatch and dispatch again would build an ever-growing chain.
            watch.outer = _skip_finished(watch.outer)
            watch, depth = watch.outer, depth + 1
        # A task that a listener only starts is in this chain too, but not in the scopes of the listener.
        if depth > MAX_NESTING_DEPTH and count_scopes() > MAX_NESTING_DEPTH:
            raise RecursionError(
                f"{MAX_NESTING_DEPTH} dispatches are nested, each in a listener of the one before; a listener "
                f"probably dispatches an event that it listens to: dispatch it under another name or class, or from "
                f"outside of the listener (with a queue)"
            )

    def start_tasks(self, cancel_scope: Any) -> None:
        """Note that tasks of a group run other listeners. A request that reaches this task cancels them."""
        self._cancel_scope = cancel_scope

    def wait_for_tasks(self) -> bool:
        """Note that the task waits for those tasks, which the group cancels. Returns whether there are any to watch."""
        if self.task is None:
            return False
        self._cancel_scope = None
        self._only_waits = True
        return True

    def stop_tasks(self) -> None:
        """Note that those tasks have finished."""
        self._cancel_scope = None
        self._only_waits = False

    def finish(self) -> None:
        """Release what the watch refers to when all listeners have finished: contexts may outlive them."""
        self.is_finished = True
        self.task = self._own = None

    def restart(self) -> None:
        """Forget the requests that came so far, for the next listener."""
        self.is_cancelled = False
        self._own = None
        if self.task is not None:
            self._requests_before = self.task.cancelling()

    def is_requested(self, exc: BaseException) -> bool:
        """Return whether a cancellation that leaves a listener now was requested. In doubt it was."""
        return self.is_cancelled or self.is_own(exc) or is_cancelled_by_scope()

    def is_own(self, exc: BaseException) -> bool:
        """Return whether a cancellation is one that the listener requested itself, and did not handle."""
        return self.has_own_request() and (self.is_pending() or self._is_hidden_in(exc))

    def is_of_scope(self, exc: BaseException) -> bool:
        """Return whether the cancellation that leaves a cancelled scope is one that the scope should have kept.

        AnyIO's scope lets its own cancellation out if the task has other requests, such as those that a listener
        left behind. And a failed `asyncio.TaskGroup` takes back the request of the scope and makes one of its own.
        """
        if self.is_cancelled or not is_cancellation(exc) or is_cancelled_by_scope():
            return False
        is_of_scope = is_scope_message(next(iter(exc.args), None))
        return is_of_scope or (not self.has_own_request() and _is_within(self._own, exc))

    def find_hidden_request(self, error: Exception) -> None:
        """Take a request for one to cancel the dispatch if a listener raised an error in the place of a cancellation.

        It was made by code in the listener's context, but not all such code is the listener's: an interrupt of the
        process may come there, and so may a timeout of the caller that the listener has rescheduled. A listener that
        handles its own requests raises no error of them, or takes them back.
        """
        if self._own is not None and self.has_own_request() and self._is_hidden_in(error):
            self._own = None
            self._cancel()

    def _is_hidden_in(self, exc: BaseException) -> bool:
        # A lower count shows that the request has been taken back, though others may be left.
        return self.task.cancelling() >= self._requests_at_own and _is_within(self._own, exc)

    def _cancel(self) -> None:
        self.is_cancelled = True
        self._requests += 1
        if self._cancel_scope is not None:
            self._cancel_scope.cancel()

    def has_own_request(self) -> bool:
        """Return whether the task has more requests than those that others made."""
        return self.task is not None and self.task.cancelling() > self._count_of_others()

    def is_pending(self) -> bool:
        """Return whether the task was cancelled while it ran, and has not waited for anything since."""
        return self.task is not None and self.task._must_cancel  # noqa: SLF001  see above

    def settle(self) -> None:
        """Take back the requests that a listener made and handled itself, as if it had run in a task of its own."""
        if self.task is None or self.task.cancelling() == self._requests_before or self.is_pending():
            return
        while self.has_own_request():
            self.task.uncancel()

    def _count_of_others(self) -> int:
        requests = self._requests_before - self._scope_requests_before + self._requests
        return requests + count_scope_requests(self.task)

    def look_at_pending(self) -> Literal["passed", "dropped"]:
        """Look at a request that was made while the task ran: it reaches the task as soon as that waits.

        A failed `asyncio.TaskGroup` takes a request back that is not its own, and makes it once more, because its task
        has it still. A listener that had a task of its own would not have it, so that request is dropped.
        """
        if self.is_coming or self.is_cancelled:
            return "passed"
        self.is_own_coming = self.has_own_request() or is_cancelled_by_scope()
        return "passed" if self.is_own_coming else "dropped"

    def make_cancellation(self) -> BaseException:
        """Return the cancellation that was requested, for a dispatch whose listener kept it."""
        return make_cancellation(self._message)

    def on_request(self, message: object) -> None:
        """Receive a request that no cancel scope made, in the context of the code that makes it."""
        if not self._only_waits:
            watch = current_watch.get()
            while watch is not None:
                if watch is self:
                    self.is_own_coming = True
                    return
                watch = watch.outer
        self.is_coming = True
        self._message = message

    def on_resumed(self, thrown: BaseException | None) -> None:
        """Note that a request has reached the task, if that is why it goes on."""
        is_own, self.is_own_coming = self.is_own_coming, False
        is_coming, self.is_coming = self.is_coming, False
        if thrown is None or not is_cancellation(thrown):
            return
        if is_own:
            self._own, self._requests_at_own = thrown, self.task.cancelling()
        if is_coming:
            self._cancel()


def _is_within(cancellation: BaseException | None, exc: BaseException) -> bool:
    """Return whether an exception is a cancellation, was raised while it was handled, or is a group with such a one."""
    if cancellation is None:
        return False
    if isinstance(exc, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        return any(_is_within(cancellation, member) for member in members)
    seen: set[int] = set()
    context: BaseException | None = exc
    while context is not None and context is not cancellation and id(context) not in seen:
        # Users may build a cycle.
        seen.add(id(context))
        context = context.__context__
    return context is cancellation


class WorkerWatch(CancellationWatch):
    """The requests to cancel the tasks that run the other listeners of a tier; one watch serves all of them.

    Such a task is new, and nothing else runs in it. So its count of requests is what its listener leaves behind.

    Args:
        caller: The watch of the caller's task.
    """

    def __init__(self, caller: CancellationWatch) -> None:
        self.task = None
        self.outer = caller.outer

    def is_own(self, exc: BaseException) -> bool:
        """Return whether the listener may have requested a cancellation itself."""
        return count_requests() > 0

    def settle(self) -> None:
        """Take back the requests that a listener made and handled itself, before the task runs another one."""
        if count_requests() and not is_cancelled_by_scope():
            take_requests_back()


#: The watch of the listener that runs in this context.
current_watch: Final[ContextVar[CancellationWatch | None]] = ContextVar("current_watch", default=None)


class _WatchedFuture:
    """A future as asyncio sees it, which reports the requests to cancel the task that waits for it.

    It stands for the future that a coroutine waits for. asyncio takes any object for a future that has
    the attribute ``_asyncio_future_blocking``.

    Args:
        future: The future.
        watch: Receives the requests.
    """

    __slots__ = ("_asyncio_future_blocking", "_future", "_pending", "_watch")

    def __init__(self, future: Any, watch: CancellationWatch) -> None:
        self._asyncio_future_blocking = True
        self._future = future
        self._watch = watch
        # Whether the task was cancelled while it ran. It passes that request on as soon as it waits.
        self._pending = watch.look_at_pending() if watch.task._must_cancel else None  # noqa: SLF001  see above

    @property  # type: ignore[misc]  # it can be read alone
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # AnyIO does not cancel a task whose future is done, but looks at real futures only.
        return self._future.__class__

    def get_loop(self) -> Any:
        """Return the event loop of the future."""
        return self._future.get_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call a function with the future when it is done."""
        self._future.add_done_callback(callback, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future, for the task that waits for it, and report the request."""
        pending, self._pending = self._pending, None
        if pending == "dropped":
            return True
        if pending is None and not is_scope_message(msg):
            self._watch.on_request(msg)
        return bool(self._future.cancel(msg=msg))

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._future, attribute)


class _WatchedTurn:
    """One turn of the event loop, as a future that reports the requests to cancel the task that takes it.

    Args:
        watch: Receives the requests.
    """

    __slots__ = ("_asyncio_future_blocking", "_pending", "_watch")

    def __init__(self, watch: CancellationWatch) -> None:
        self._asyncio_future_blocking = True
        self._watch = watch
        self._pending = watch.look_at_pending() if watch.task._must_cancel else None  # noqa: SLF001  see above

    def get_loop(self) -> Any:
        """Return the event loop."""
        return self._watch.task.get_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call a function in the next turn."""
        self._watch.task.get_loop().call_soon(callback, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Report the request. The task throws the cancellation into its coroutine in the next turn."""
        pending, self._pending = self._pending, None
        if pending is None and not is_scope_message(msg):
            self._watch.on_request(msg)
        return pending == "dropped"

    def done(self) -> bool:
        """Return True: a task that takes a turn is not blocked."""
        return True

    def result(self) -> None:
        """Return what the task goes on with."""


def watch_future(yielded: Any, watch: CancellationWatch) -> Any:
    """Return what the task is to wait for in the place of what its coroutine yielded."""
    if yielded is None:
        return _WatchedTurn(watch)
    if yielded is watch.task or not getattr(yielded, "_asyncio_future_blocking", False):
        # asyncio refuses it, and says why.
        return yielded
    yielded._asyncio_future_blocking = False  # noqa: SLF001  asyncio's own mark, which `_WatchedFuture` has now
    return _WatchedFuture(yielded, watch)
