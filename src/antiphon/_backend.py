"""Access to event loops: cancellations, task groups, checkpoints, native tasks, and calls from other threads.

AnyIO finds out which event loop runs in each of its calls, which takes longer than most of the calls themselves. The
functions here find it out once and call the backend of AnyIO, or Trio, directly.

Invariants:

- This is the only module that knows asyncio and Trio by name.
- It imports neither of them. An event loop that runs has imported its own module.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import cache
from types import coroutine
from typing import Any, Final, TypeAlias, cast

import anyio

__all__ = (
    "OwnerLoop",
    "checkpoint",
    "checkpoint_if_cancelled",
    "clear_async_library",
    "count_cancel_requests",
    "count_scope_requests",
    "count_scopes",
    "detect_backend",
    "drop_scope_requests",
    "get_asyncio_task",
    "get_first_leaf",
    "is_cancellation",
    "is_cancelled_by_scope",
    "is_scope_message",
    "leave_idle_task_group",
    "make_cancellation",
    "no_op",
    "open_task_group",
    "uncancel_all_requests",
    "unwrap_group",
)

_TaskFunction: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception is a cancellation of the running event loop."""
    try:
        return isinstance(exc, anyio.get_cancelled_exc_class())
    except Exception:
        # No event loop runs: the caller drives the coroutine manually, so no exception is a cancellation.
        return False


#: The effective deadline of a task in a cancelled scope. The import of `math` takes longer.
_CANCELLED: Final = float("-inf")
#: The beginning of the message with which AnyIO cancels a task on behalf of a cancel scope.
_SCOPE_MESSAGE: Final = "Cancelled via cancel scope "


def is_scope_message(message: object) -> bool:
    """Return whether a message is one with which AnyIO cancels an asyncio task on behalf of a cancel scope."""
    return isinstance(message, str) and message.startswith(_SCOPE_MESSAGE)


def is_cancelled_by_scope() -> bool:
    """Return whether a cancel scope around the running task has been cancelled.

    A scope whose deadline has passed is cancelled only when the event loop runs its timer.
    """
    trio, task = detect_backend()
    if trio is not None:
        return _is_cancelled_in_trio(trio.lowlevel.current_task())
    return task is not None and _is_cancelled_in_asyncio()


def _is_cancelled_in_trio(task_or_scope: Any) -> bool:
    # AnyIO reads it too, because there is no public way. The effective deadline is slow: it visits all cancel scopes.
    is_cancelled: bool = task_or_scope._cancel_status.effectively_cancelled  # noqa: SLF001
    return is_cancelled


def _is_cancelled_in_asyncio() -> bool:
    return bool(_get_asyncio_backend().current_effective_deadline() == _CANCELLED)


def make_cancellation(message: object = None) -> BaseException:
    """Return a new cancellation of the running asyncio task. The message is the argument of ``cancel()``, or None."""
    arguments = () if message is None else (message,)
    return anyio.get_cancelled_exc_class()(*arguments)


def open_task_group(
    trio: Any,
) -> tuple[AbstractAsyncContextManager[Any], Callable[[Any, _TaskFunction, Any, str], object], Callable[[Any], bool]]:
    """Make a new task group, which has a ``cancel_scope``.

    On Trio it is a nursery, because AnyIO's task group is a wrapper around one, and slower. On asyncio it is AnyIO's,
    because a native task group ignores the cancel scopes around it.

    Args:
        trio: The module `trio`, or None on asyncio.

    Returns:
        The task group; a function that starts a task of the entered group; and a function that returns whether a cancel
        scope, or one around it, has been cancelled. For the scope of the group, it answers as `is_cancelled_by_scope`.
    """
    if trio is None:
        return _get_asyncio_backend().create_task_group(), _start_asyncio_task, _is_asyncio_scope_cancelled
    return trio.open_nursery(strict_exception_groups=True), _start_trio_task, _is_cancelled_in_trio


def _start_asyncio_task(group: Any, function: _TaskFunction, argument: Any, name: str) -> None:
    # AnyIO's `start_soon` would check the coroutine once more.
    group.create_task(function(argument), name=name)


def _is_asyncio_scope_cancelled(scope: Any) -> bool:
    while scope is not None:
        if scope.cancel_called:
            return True
        scope = None if scope.shield else scope._parent_scope  # noqa: SLF001  there is no public way
    return False


def _start_trio_task(nursery: Any, function: _TaskFunction, argument: Any, name: str) -> None:
    nursery.start_soon(function, argument, name=name)


def leave_idle_task_group(group: Any) -> bool:
    """Leave AnyIO's task group on asyncio without waiting for a turn of the event loop, if it is not cancelled.

    The ``__aexit__`` always waits for one. The ``__aenter__`` only enters the cancel scope of the group, so the group
    can be left through that scope. All code in its tasks must have finished.

    Return whether the group was left. If not, leave it as usual.
    """
    scope = group.cancel_scope
    if scope.cancel_called:
        return False
    scope.__exit__(None, None, None)
    return True


def detect_backend() -> tuple[Any, Any]:
    """Return the module `trio` if a Trio task runs, or else None, and the running asyncio task or None."""
    trio = sys.modules.get("trio")
    try:
        if trio is not None:
            sniffio = sys.modules.get("sniffio")
            # Read the name first, which Trio sets where it runs, also within an asyncio task: `in_trio_task` is slow if
            # no Trio task runs.
            if (sniffio is None or sniffio.thread_local.name == "trio") and trio.lowlevel.in_trio_task():
                return trio, None
        task = _get_current_task()
        return (trio if task is None and trio is not None and trio.lowlevel.in_trio_task() else None), task
    except AttributeError:
        # Another thread is importing Trio, so no Trio task runs yet.
        return None, _get_current_task()


def unwrap_group(exc: BaseException) -> BaseException:
    """Return the only exception in a group, or the first one if all are cancellations. Otherwise return the group."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    if group.split(is_cancellation)[1] is None:
        return get_first_leaf(group)
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def get_first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group, or in the groups within it, that is not a group."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return get_first_leaf(cast("BaseExceptionGroup[BaseException]", first))
    return first


def checkpoint_if_cancelled(trio: Any, task: Any) -> Awaitable[None] | None:
    """Prepare a checkpoint that raises the cancellation of a cancel scope, and does not yield to other tasks otherwise.

    Args:
        trio: The module `trio` on Trio, or else None.
        task: The running asyncio task, or None.

    Returns:
        The awaitable checkpoint, or None if it would do nothing.
    """
    if trio is not None:
        is_cancelled = _is_cancelled_in_trio(trio.lowlevel.current_task())
        return trio.lowlevel.checkpoint_if_cancelled() if is_cancelled else None
    # Without a task, no event loop runs: the caller drives the coroutine manually.
    return _get_asyncio_backend().checkpoint_if_cancelled() if task is not None and _is_in_scope(task) else None


def checkpoint() -> Awaitable[None]:
    """Return an awaitable that yields to other tasks, and raises the cancellation of the running task, if any."""
    trio = sys.modules.get("trio")
    if trio is not None and _is_in_trio(trio):
        return cast("Awaitable[None]", trio.lowlevel.checkpoint())
    return _yield_to_asyncio()


def _is_in_trio(trio: Any) -> bool:
    """Return whether the current code runs in Trio, in a task or in a callback. Faster than `detect_backend`."""
    sniffio = sys.modules.get("sniffio")
    try:
        if sniffio is not None and sniffio.thread_local.name == "trio":
            return True
        return _get_current_task() is None and bool(trio.lowlevel.in_trio_task())
    except AttributeError:
        # Another thread is importing Trio, so no Trio task runs yet.
        return False


@coroutine
def _yield_to_asyncio() -> Generator[None, None, None]:
    """Let an asyncio task continue in the next iteration of the event loop, as ``asyncio.sleep(0)`` does."""
    yield


async def no_op() -> None:
    """Return immediately."""


def count_cancel_requests() -> int:
    """Return how many calls of ``cancel()`` on the running asyncio task were not taken back. Return 0 on Trio."""
    task = detect_backend()[1]
    return 0 if task is None else int(task.cancelling())


def uncancel_all_requests() -> None:
    """Take back all requests to cancel the running asyncio task, unless one of them has not been delivered."""
    task = detect_backend()[1]
    if task is not None and not task._must_cancel:  # noqa: SLF001  AnyIO reads it too, because there is no public way
        while task.cancelling():
            task.uncancel()


def count_scope_requests(task: Any) -> int:
    """Return how many requests of cancel scopes to cancel an asyncio task have not been taken back."""
    scope = _get_scope(task)
    count = 0
    while scope is not None:
        if scope._host_task is task:  # noqa: SLF001  there is no public way
            count += scope._pending_uncancellations  # noqa: SLF001
        scope = scope._parent_scope  # noqa: SLF001
    return count


def count_scopes() -> int:
    """Return the number of cancel scopes (on Trio: nurseries) around the running task."""
    trio, task = detect_backend()
    count = 0
    if trio is not None:
        running = trio.lowlevel.current_task()
        while running is not None:
            count += len(running.child_nurseries)
            running = None if running.parent_nursery is None else running.parent_nursery.parent_task
        return count
    scope = _get_scope(task)
    while scope is not None:
        count, scope = count + 1, scope._parent_scope  # noqa: SLF001  there is no public way
    return count


def _get_scope(task: Any) -> Any:
    """Return the innermost cancel scope of an asyncio task, or None."""
    states = _get_task_states()
    return None if states is None else getattr(states.get(task), "cancel_scope", None)


def _is_in_scope(task: Any) -> bool:
    """Return whether an asyncio task is in a cancel scope. Return True if that cannot be found out."""
    states = _get_task_states()
    return states is None or getattr(states.get(task), "cancel_scope", None) is not None


def drop_scope_requests() -> bool:
    """Drop the requests to cancel the running asyncio task that AnyIO would take back from the parent task.

    When a cancel scope ends within a cancelled scope on asyncio, AnyIO moves its requests to the outer scope. If
    another task has entered the outer scope, that task then loses requests of its own (docs/upstream/uncancel.md).
    The task's own scope is the last place where they can be dropped. Return whether a request was not delivered, so
    that a task that returns now ends with a cancellation.
    """
    task = _get_current_task()
    if task is None or not task.cancelling():
        return False
    scope = _get_scope(task)
    if getattr(scope, "_host_task", None) is task:
        scope._pending_uncancellations = 0  # noqa: SLF001  there is no public way
    return bool(task._must_cancel)  # noqa: SLF001  see above


def get_asyncio_task() -> Any:
    """Return the running asyncio task, or None if none runs (as on Trio)."""
    return detect_backend()[1]


class OwnerLoop:
    """The event loop in which an object was created, for calls from other event loops and threads."""

    __slots__ = ("_loop", "_thread")

    def __init__(self) -> None:
        from threading import current_thread

        from anyio.lowlevel import current_token

        self._loop: Any = current_token().native_token
        self._thread = current_thread()

    def is_current(self) -> bool:
        """Return whether the current code runs in this event loop, in a task or in a callback."""
        trio, asyncio = sys.modules.get("trio"), sys.modules.get("asyncio")
        try:
            # Ask Trio first, because it can run as a guest in a thread of asyncio.
            if trio is not None and _is_in_trio(trio):
                return trio.lowlevel.current_trio_token() is self._loop
            return asyncio is not None and asyncio.get_running_loop() is self._loop
        except (AttributeError, RuntimeError):
            # No event loop runs here, or another thread is importing asyncio.
            return False

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in this event loop: immediately if it is the current one, otherwise soon. Does not wait."""
        if self.is_current():
            function()
            return
        # The first name is asyncio's, the second is Trio's.
        call_soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        try:
            call_soon(function)
        except RuntimeError:
            # The loop has finished, and so have the tasks that waited there. Trio's RunFinishedError is a RuntimeError.
            pass

    def __repr__(self) -> str:
        return f"{type(self._loop).__module__.partition('.')[0]}, thread {self._thread.name!r}"


def _get_current_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except (AttributeError, RuntimeError):
        # No event loop runs here, or another thread is importing asyncio.
        return None


@cache
def _get_asyncio_backend() -> Any:
    """Return AnyIO's backend for asyncio. The first call must run on asyncio."""
    from anyio.lowlevel import current_token

    return getattr(current_token(), "backend_class", _PublicBackend)


@cache
def _get_task_states() -> Any:
    """Return AnyIO's table of asyncio tasks with their cancel scopes, or None if this version of AnyIO has none."""
    # The backend imports the module.
    _get_asyncio_backend()
    return getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", None)


class _PublicBackend:
    """The same functions through AnyIO's public API, for versions of AnyIO whose token has no ``backend_class``."""

    @staticmethod
    async def checkpoint_if_cancelled() -> None:
        from anyio.lowlevel import checkpoint_if_cancelled

        await checkpoint_if_cancelled()

    @staticmethod
    def current_effective_deadline() -> float:
        return anyio.current_effective_deadline()

    @staticmethod
    def create_task_group() -> AbstractAsyncContextManager[Any]:
        return anyio.create_task_group()


def clear_async_library(context: Context) -> None:
    """Clear sniffio's library name in a copied context, so that another event loop can use the copy."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # With None, sniffio detects the running event loop.
        context.run(sniffio.current_async_library_cvar.set, None)
