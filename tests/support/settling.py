"""Waiting for the other tasks without sleeping."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from anyio import lowlevel

__all__ = ("settle",)

#: The asyncio tasks that are in `settle`; for each other they count as blocked.
_settling: set[object] = set()


async def settle() -> None:
    """Wait until all other tasks are blocked; unlike anyio's own ``wait_all_tasks_blocked`` without sleeping."""
    if not issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        await anyio.wait_all_tasks_blocked()
        return
    this_task = asyncio.current_task()
    _settling.add(this_task)
    try:
        quiet = 0
        # A task that is blocked may be woken by a callback which already stands in the queue.
        while quiet < 5:
            await lowlevel.checkpoint()
            quiet = 0 if any(map(_is_busy, asyncio.all_tasks() - _settling)) else quiet + 1
    finally:
        _settling.discard(this_task)


def _is_busy(task: Any) -> bool:
    waiter = task._fut_waiter
    return waiter is None or waiter.done()
