"""Waiting for the other tasks without sleeping."""

from __future__ import annotations

import sys
from typing import Any, Final

import anyio
from anyio import lowlevel

__all__ = ("settle",)

#: The asyncio tasks that are in `settle`; for each other they count as blocked.
_settling: Final[set[object]] = set()

#: A task that is blocked may be woken by a callback which already stands in the queue, and that one by another.
_QUIET_TURNS: Final = 5


async def settle() -> None:
    """Wait until all other tasks are blocked: until nothing more happens unless time passes or something comes in.

    Unlike ``anyio.wait_all_tasks_blocked`` it does not sleep on asyncio, where that one asks again every 0.1 s and so
    lets the deadlines of others pass. What runs in a worker thread is not waited for.
    """
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or not issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        await anyio.wait_all_tasks_blocked()
        return
    this_task = asyncio.current_task()
    _settling.add(this_task)
    try:
        quiet = 0
        while quiet < _QUIET_TURNS:
            await lowlevel.checkpoint()
            quiet = 0 if any(map(_is_busy, asyncio.all_tasks() - _settling)) else quiet + 1
    finally:
        _settling.discard(this_task)


def _is_busy(task: Any) -> bool:
    # anyio's own wait reads the same attribute, for there is no public one.
    waiter = task._fut_waiter  # noqa: SLF001
    return waiter is None or waiter.done()
