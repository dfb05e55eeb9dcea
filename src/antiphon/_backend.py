"""What must be asked of the event loop itself: the only module that knows asyncio and trio by name."""

from __future__ import annotations

import sys

import anyio
from anyio import lowlevel

__all__ = (
    "is_cancellation",
    "is_leaked_cancellation",
    "requested_cancellation",
    "scope_is_cancelled",
    "swallowed_cancellation",
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


def is_leaked_cancellation(exc: BaseException) -> bool:
    """Tell whether an exception is a cancellation that nobody asked of the running task.

    In doubt it is none: a cancellation that was asked for must never be taken for an error.
    """
    return is_cancellation(exc) and not scope_is_cancelled() and not _native_requests()


def swallowed_cancellation(error: BaseException) -> BaseException | None:
    """Find the native asyncio cancellation that a listener turned into an error.

    asyncio delivers ``task.cancel()`` once. If the listener raises something else while that
    cancellation passes through it (a failing clean-up, say), only the error's context still has it.
    (The cancellation of a scope needs no such search: it is delivered again at every checkpoint.)

    Returns:
        The cancellation, None if there is none or the task was not asked to end.
    """
    if not _native_requests():
        return None
    seen: set[int] = set()
    context = error.__context__
    while context is not None and id(context) not in seen:
        if is_cancellation(context):
            return context
        seen.add(id(context))
        context = context.__context__
    return None


async def requested_cancellation() -> BaseException | None:
    """Fetch the cancellation that waits for the running task, if a scope around it has been cancelled."""
    try:
        await lowlevel.checkpoint_if_cancelled()
    except BaseException as exc:
        if is_cancellation(exc):
            return exc
        if not isinstance(exc, Exception):
            raise
        # An Exception is anyio's word that no event loop runs: somebody drives the coroutine by hand.
    return None


def _native_requests() -> int:
    """How many calls of ``cancel()`` on the running asyncio task were not taken back; 0 on trio."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return 0
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else int(task.cancelling())
