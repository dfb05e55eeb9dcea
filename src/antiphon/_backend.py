"""What must be asked of the event loop itself: the only module that knows asyncio and trio by name."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import cache
from typing import Any, Final, cast

import anyio

__all__ = (
    "WatchedFuture",
    "belongs_anywhere",
    "checkpoint_if_cancelled",
    "first_leaf",
    "get_asyncio_task",
    "is_cancellation",
    "is_cancelled_by_scope",
    "is_scope_message",
    "make_cancellation",
    "open_task_group",
    "run_in_own_scope",
    "ungrouped",
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
    return anyio.current_effective_deadline() <= anyio.current_time()


def make_cancellation(message: object = None) -> BaseException:
    """Return a new cancellation of the running asyncio task.

    Args:
        message: What ``task.cancel()`` was called with.
    """
    cancelled: type[BaseException] = anyio.get_cancelled_exc_class()
    return cancelled() if message is None else cancelled(message)


def open_task_group() -> AbstractAsyncContextManager[Any]:
    """Open a task group, of which ``start_soon`` and ``cancel_scope.cancel`` are used.

    On trio it is a nursery: anyio's group is a thin wrapper around one, which takes twice the time. On asyncio it is
    anyio's: a native one knows nothing of the cancel scopes around it.
    """
    trio, _ = _running()
    group: AbstractAsyncContextManager[Any]
    group = _for_asyncio().create_task_group() if trio is None else trio.open_nursery(strict_exception_groups=True)
    return group


def _running() -> tuple[Any, Any]:
    """Tell whose task runs: give the module of trio if it is one of trio's, and the task if it is one of asyncio's."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None, _asyncio_task()
    sniffio = sys.modules.get("sniffio")
    # trio sets the name where it runs, also within an asyncio task. Without it trio takes ten times as long to say no.
    if (sniffio is None or sniffio.thread_local.name == "trio") and trio.lowlevel.in_trio_task():
        return trio, None
    task = _asyncio_task()
    return (trio if task is None and trio.lowlevel.in_trio_task() else None), task


def ungrouped(exc: BaseException) -> BaseException:
    """Take what left a task group out of the group around it, if it is one thing; many cancellations are one."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    if group.split(is_cancellation)[1] is None:
        return first_leaf(group)
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find the first exception in a group that is none itself."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return first_leaf(cast("BaseExceptionGroup[BaseException]", first))
    return first


def checkpoint_if_cancelled() -> tuple[Awaitable[None], Any]:
    """Start to look for a cancellation by a scope.

    Returns:
        An awaitable that raises the cancellation if there is one, and the running task if it is one of asyncio.
    """
    trio, task = _running()
    if trio is not None:
        # The same as anyio's, without the search for the backend that runs.
        return trio.lowlevel.checkpoint_if_cancelled(), None
    if task is None:
        # No event loop runs: the caller drives the coroutine itself.
        return _nothing(), None
    return _for_asyncio().checkpoint_if_cancelled(), task


async def _nothing() -> None:
    """Return at once."""


async def run_in_own_scope(function: Callable[[], Awaitable[None]]) -> None:
    """Run a function as a task of a group, so that AnyIO takes the requests to cancel the task back from that task.

    On asyncio, a cancel scope that ends within a cancelled scope leaves it to that one to take its requests back, also
    if another task entered the outer scope: requests to cancel the task of the group are lost (see
    docs/upstream/uncancel.md). A scope between the two that is cancelled itself settles the account.
    """
    if get_asyncio_task() is None:
        await function()
        return
    with anyio.CancelScope() as scope:
        try:
            await function()
        finally:
            if native_requests():
                scope.shield = True
                scope.cancel()


def native_requests() -> int:
    """Return how many calls of ``cancel()`` on the running asyncio task were not taken back; 0 on Trio."""
    task = get_asyncio_task()
    return 0 if task is None else int(task.cancelling())


def get_asyncio_task() -> Any:
    """Return the running asyncio task, None if none runs, as on Trio."""
    return _running()[1]


def _asyncio_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except RuntimeError:
        return None


class WatchedFuture:
    """A future as asyncio sees it, which reports the requests to cancel the task that waits for it.

    It stands for the future that a coroutine waits for, or for one turn of the event loop. asyncio takes any object for
    a future that has the attribute ``_asyncio_future_blocking``.

    Args:
        future: The future; None for one turn of the event loop.
        task: The task that waits.
        on_request: Called with the message of each request that no cancel scope made.
        is_pending: Whether the task was cancelled while it ran. It passes that request on as soon as it waits.
    """

    __slots__ = ("_asyncio_future_blocking", "_future", "_is_pending", "_on_request", "_task")

    def __init__(self, future: Any, task: Any, on_request: Callable[[object], None], is_pending: bool) -> None:
        self._asyncio_future_blocking = True
        self._future = future
        self._task = task
        self._on_request = on_request
        self._is_pending = is_pending

    @classmethod
    def wrap(cls, yielded: Any, task: Any, on_request: Callable[[object], None], is_pending: bool) -> Any:
        """Return what a task is to wait for in the place of what its coroutine yielded."""
        if yielded is not None:
            if yielded is task or not getattr(yielded, "_asyncio_future_blocking", False):
                # asyncio refuses it, and says why.
                return yielded
            yielded._asyncio_future_blocking = False
        return cls(yielded, task, on_request, is_pending)

    @property
    def __class__(self) -> Any:
        # AnyIO does not cancel a task whose future is done, but looks at real futures only.
        return WatchedFuture if self._future is None else self._future.__class__

    def get_loop(self) -> Any:
        """Return the event loop of the future."""
        return (self._task if self._future is None else self._future).get_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call a function with the future when it is done."""
        if self._future is not None:
            self._future.add_done_callback(callback, context=context)
            return
        loop = self._task.get_loop()
        turn = loop.create_future()
        turn.set_result(None)
        loop.call_soon(callback, turn, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future, for the task that waits for it, and report the request."""
        if self._is_pending:
            self._is_pending = False
        elif not is_scope_message(msg):
            self._on_request(msg)
        return self._future is not None and self._future.cancel(msg=msg)

    def done(self) -> bool:
        """Return whether the future is done."""
        return self._future is None or self._future.done()

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._future, attribute)


@cache
def _for_asyncio() -> Any:
    """Return AnyIO's backend for asyncio; the first call must run on asyncio.

    AnyIO looks for the running event loop whenever it is asked something, which takes longer than the answer.
    """
    return getattr(anyio.lowlevel.current_token(), "backend_class", _PublicBackend)


class _PublicBackend:
    """What a dispatch asks of a backend, asked of AnyIO; for a version whose token does not know its backend."""

    @staticmethod
    async def checkpoint_if_cancelled() -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()

    @staticmethod
    def create_task_group() -> AbstractAsyncContextManager[Any]:
        return anyio.create_task_group()


def belongs_anywhere(context: Context) -> None:
    """Take the name of its event loop out of a copy of a context, so that another kind of loop can run in it."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # None makes it look at what runs.
        context.run(sniffio.current_async_library_cvar.set, None)
