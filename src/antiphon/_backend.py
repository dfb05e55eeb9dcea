"""What must be asked of the event loop itself: the only module that knows asyncio and trio by name."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import cache
from typing import Any, cast

import anyio

__all__ = (
    "belongs_anywhere",
    "check_in",
    "first_leaf",
    "is_cancellation",
    "is_leaked_cancellation",
    "native_requests",
    "open_task_group",
    "pass_on_cancellation",
    "scope_is_cancelled",
    "swallowed_cancellation",
    "ungrouped",
)


def is_cancellation(exc: BaseException) -> bool:
    """Tell whether an exception is the running event loop's cancellation."""
    try:
        return isinstance(exc, anyio.get_cancelled_exc_class())
    except Exception:
        # No event loop runs: somebody drives the coroutine by hand, and nothing can be a cancellation.
        return False


def scope_is_cancelled() -> bool:
    """Tell whether a cancel scope around the running task has been cancelled, or its deadline has passed."""
    return anyio.current_effective_deadline() <= anyio.current_time()


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


def is_leaked_cancellation(exc: BaseException) -> bool:
    """Tell whether an exception is a cancellation that nobody asked of the running task.

    In doubt it is none: a cancellation that was asked for must never be taken for an error.
    """
    return is_cancellation(exc) and not scope_is_cancelled() and not native_requests()


def swallowed_cancellation(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """Find the native asyncio cancellation that a listener turned into an error.

    asyncio delivers ``task.cancel()`` once. If the listener raises something else while that
    cancellation passes through it (a failing clean-up, say), only the error's context still has it.
    (The cancellation of a scope needs no such search: it is delivered again at every checkpoint.)

    Returns:
        The cancellation, None if there is none or the task was not asked to end.
    """
    if not native_requests():
        return None
    seen: set[int] = set()
    context = error.__context__
    while context is not None and context is not handled and id(context) not in seen:
        if is_cancellation(context):
            return context
        seen.add(id(context))
        context = context.__context__
    return None


def check_in() -> tuple[Awaitable[None], int]:
    """Begin what can be cancelled.

    Returns:
        What is to be awaited at once, and raises the cancellation that waits for the running task, if there is one;
        and how many native requests there were so far, to be told from later ones, 0 where there are none such.
    """
    trio, task = _running()
    if trio is not None:
        # The same as anyio's, without the search for the backend that runs.
        return trio.lowlevel.checkpoint_if_cancelled(), 0
    if task is None:
        # No event loop runs: somebody drives the coroutine by hand.
        return _nothing(), 0
    return _for_asyncio().checkpoint_if_cancelled(), task.cancelling()


async def _nothing() -> None:
    """Be awaited where there is nothing to wait for."""


async def pass_on_cancellation(requests: int | None = None) -> None:
    """Raise the cancellation that waits for the running task, if there is one; this is no checkpoint otherwise.

    Args:
        requests: How many native requests there were when the dispatch began; None where they need no search.

    Raises:
        BaseException: A scope around the task, or the task itself, was cancelled.
    """
    # The scopes come first: while one is cancelled it makes native requests too, and ends only what it asked for.
    checkpoint, _ = check_in()
    await checkpoint
    if requests is not None and native_requests() > requests:
        # The task group may have taken it for its own (anyio before 4.16 does).
        import asyncio

        await asyncio.sleep(0)
        raise asyncio.CancelledError


def native_requests() -> int:
    """How many calls of ``cancel()`` on the running asyncio task were not taken back; 0 on trio."""
    task = _asyncio_task()
    return 0 if task is None else int(task.cancelling())


def _asyncio_task() -> Any:
    """Give the asyncio task that runs, None if none does."""
    asyncio = sys.modules.get("asyncio")
    try:
        return None if asyncio is None else asyncio.current_task()
    except RuntimeError:
        return None


@cache
def _for_asyncio() -> Any:
    """Find anyio's backend for asyncio, on which this has to be called first.

    anyio looks for the event loop that runs each time it is asked something, which takes longer than to answer.
    """
    return getattr(anyio.lowlevel.current_token(), "backend_class", _Asked)


class _Asked:
    """What a dispatch asks of a backend, asked of anyio; for a version that does not tell its backend."""

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
