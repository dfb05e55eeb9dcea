"""What must be asked of the event loop itself: the only module that knows asyncio and trio by name."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import cache
from typing import Any, Final, cast

import anyio

__all__ = (
    "checkpoint",
    "checkpoint_if_cancelled",
    "clear_async_library",
    "count_cancel_requests",
    "count_scope_requests",
    "count_scopes",
    "drop_scope_requests",
    "get_asyncio_task",
    "get_first_leaf",
    "is_cancellation",
    "is_cancelled_by_scope",
    "is_scope_message",
    "make_cancellation",
    "open_task_group",
    "uncancel_all_requests",
    "unwrap_group",
)


def is_cancellation(exc: BaseException) -> bool:
    """Tell whether an exception is the running event loop's cancellation."""
    try:
        return isinstance(exc, anyio.get_cancelled_exc_class())
    except Exception:
        # No event loop runs: somebody drives the coroutine by hand, and nothing can be a cancellation.
        return False


#: How the message begins with which AnyIO cancels a task on behalf of a scope.
_SCOPE_MESSAGE: Final = "Cancelled via cancel scope "


def is_scope_message(message: object) -> bool:
    """Return whether an asyncio task was cancelled with this message by a scope of AnyIO."""
    return isinstance(message, str) and message.startswith(_SCOPE_MESSAGE)


def is_cancelled_by_scope() -> bool:
    """Return whether a cancel scope around the running task has been cancelled, or its deadline has passed."""
    trio, task = _detect_backend()
    if trio is not None:
        return bool(trio.current_effective_deadline() <= trio.current_time())
    if task is None:
        return False
    deadline = _get_asyncio_backend().current_effective_deadline()
    return bool(deadline != math.inf and deadline <= _get_asyncio_backend().current_time())


def make_cancellation(message: object = None) -> BaseException:
    """Return a new cancellation of the running asyncio task.

    Args:
        message: What ``task.cancel()`` was called with.
    """
    arguments = () if message is None else (message,)
    return anyio.get_cancelled_exc_class()(*arguments)


def open_task_group() -> AbstractAsyncContextManager[Any]:
    """Open a task group, of which ``start_soon`` and ``cancel_scope.cancel`` are used.

    On trio it is a nursery: anyio's group is a thin wrapper around one, which takes twice the time. On asyncio it is
    anyio's: a native one knows nothing of the cancel scopes around it.
    """
    trio, _ = _detect_backend()
    group: AbstractAsyncContextManager[Any]
    group = (
        _get_asyncio_backend().create_task_group() if trio is None else trio.open_nursery(strict_exception_groups=True)
    )
    return group


def _detect_backend() -> tuple[Any, Any]:
    """Tell whose task runs: give the module of trio if it is one of trio's, and the task if it is one of asyncio's."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None, _get_current_task()
    sniffio = sys.modules.get("sniffio")
    # trio sets the name where it runs, also within an asyncio task. Without it trio takes ten times as long to say no.
    if (sniffio is None or sniffio.thread_local.name == "trio") and trio.lowlevel.in_trio_task():
        return trio, None
    task = _get_current_task()
    return (trio if task is None and trio.lowlevel.in_trio_task() else None), task


def unwrap_group(exc: BaseException) -> BaseException:
    """Take what left a task group out of the group around it, if it is one thing; many cancellations are one."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    if group.split(is_cancellation)[1] is None:
        return get_first_leaf(group)
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def get_first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find the first exception in a group that is none itself."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return get_first_leaf(cast("BaseExceptionGroup[BaseException]", first))
    return first


def checkpoint_if_cancelled() -> tuple[Awaitable[None], Any]:
    """Start to look for a cancellation by a scope.

    Returns:
        An awaitable that raises the cancellation if there is one, and the running task if it is one of asyncio.
    """
    trio, task = _detect_backend()
    if trio is not None:
        # The same as anyio's, without the search for the backend that runs.
        return trio.lowlevel.checkpoint_if_cancelled(), None
    if task is None:
        # No event loop runs: the caller drives the coroutine itself.
        return _no_op(), None
    return _get_asyncio_backend().checkpoint_if_cancelled(), task


async def checkpoint() -> None:
    """Let other tasks run, and raise the cancellation of the running task if there is one."""
    from anyio.lowlevel import checkpoint

    await checkpoint()


async def _no_op() -> None:
    """Return at once."""


def count_cancel_requests() -> int:
    """Return how many calls of ``cancel()`` on the running asyncio task were not taken back; 0 on Trio."""
    task = _detect_backend()[1]
    return 0 if task is None else int(task.cancelling())


def uncancel_all_requests() -> None:
    """Take all requests to cancel the running asyncio task back that it has met."""
    task = _detect_backend()[1]
    if task is not None and not task._must_cancel:  # noqa: SLF001  AnyIO reads it too, because there is no public way
        while task.cancelling():
            task.uncancel()


def count_scope_requests(task: Any) -> int:
    """Return how many requests to cancel an asyncio task the cancel scopes around it will take back."""
    scope = _get_scope(task)
    count = 0
    while scope is not None:
        if scope._host_task is task:  # noqa: SLF001  there is no public way
            count += scope._pending_uncancellations  # noqa: SLF001
        scope = scope._parent_scope  # noqa: SLF001
    return count


def count_scopes() -> int:
    """Return how many cancel scopes (on Trio: nurseries) there are around the running task."""
    trio, task = _detect_backend()
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
    states = getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", {})
    return getattr(states.get(task), "cancel_scope", None)


def drop_scope_requests() -> None:
    """Keep AnyIO from taking the requests to cancel the running task of a group back from the task that waits for it.

    On asyncio a cancel scope that ends within a cancelled scope hands its requests to that one, also if another task
    entered the outer scope, which then loses requests of its own (see docs/upstream/uncancel.md). The scope of the
    task itself is the last one in which they can be dropped, and there is no public way.
    """
    if count_cancel_requests():
        task = _detect_backend()[1]
        scope = _get_scope(task)
        if getattr(scope, "_host_task", None) is task:
            scope._pending_uncancellations = 0  # noqa: SLF001


def get_asyncio_task() -> Any:
    """Return the running asyncio task, None if none runs, as on Trio."""
    return _detect_backend()[1]


def _get_current_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except RuntimeError:
        return None


@cache
def _get_asyncio_backend() -> Any:
    """Return AnyIO's backend for asyncio; the first call must run on asyncio.

    AnyIO looks for the running event loop whenever it is asked something, which takes longer than the answer.
    """
    from anyio.lowlevel import current_token

    return getattr(current_token(), "backend_class", _PublicBackend)


class _PublicBackend:
    """What a dispatch asks of a backend, asked of AnyIO; for a version whose token does not know its backend."""

    @staticmethod
    async def checkpoint_if_cancelled() -> None:
        from anyio.lowlevel import checkpoint_if_cancelled

        await checkpoint_if_cancelled()

    @staticmethod
    def current_effective_deadline() -> float:
        return anyio.current_effective_deadline()

    @staticmethod
    def current_time() -> float:
        return anyio.current_time()

    @staticmethod
    def create_task_group() -> AbstractAsyncContextManager[Any]:
        return anyio.create_task_group()


def clear_async_library(context: Context) -> None:
    """Take the name of its event loop out of a copy of a context, so that another kind of loop can run in it."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # None makes it look at what runs.
        context.run(sniffio.current_async_library_cvar.set, None)
