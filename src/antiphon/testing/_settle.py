"""Waiting until all other tasks are blocked."""

from __future__ import annotations

import sys
from typing import Any, Final

import anyio
from anyio import lowlevel

__all__ = ("settle",)

#: The asyncio tasks that wait in `settle`. They count as blocked for each other.
_settling_tasks: Final[set[object]] = set()

#: The number of consecutive turns of the loop in which all tasks must be blocked. One turn is not enough: a callback
#: that is already scheduled may unblock a task, or schedule another callback that does.
_REQUIRED_IDLE_TURNS: Final = 5


async def settle() -> None:
    """Wait until all other tasks are blocked, that is, until they wait for time to pass or for input.

    Unlike ``anyio.wait_all_tasks_blocked``, it does not sleep on asyncio, so the deadlines of other tasks do not
    expire meanwhile. It does not wait for worker threads.
    """
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or not issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        await anyio.wait_all_tasks_blocked()
        return
    this_task = asyncio.current_task()
    _settling_tasks.add(this_task)
    try:
        idle_turns = 0
        while idle_turns < _REQUIRED_IDLE_TURNS:
            await lowlevel.checkpoint()
            idle_turns = 0 if any(map(_is_busy, asyncio.all_tasks() - _settling_tasks)) else idle_turns + 1
    finally:
        _settling_tasks.discard(this_task)


def _is_busy(task: Any) -> bool:
    # There is no public attribute. AnyIO reads the same one in `wait_all_tasks_blocked`.
    waiter = task._fut_waiter  # noqa: SLF001
    return waiter is None or waiter.done()
