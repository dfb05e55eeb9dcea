"""What the tests of asyncio's own cancellation share."""

from __future__ import annotations

import asyncio
from typing import Any


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def end(task: asyncio.Task[Any]) -> BaseException | None:
    """Wait for a task. Returns what left it."""
    await asyncio.wait([task])
    try:
        return task.exception()
    except asyncio.CancelledError as exc:
        return exc


def assert_errors_and_cancellation(left: BaseException | None, errors: int = 1) -> None:
    """Check for one group of the numbered errors in order and the cancellation, which ``except Exception`` passes."""
    assert type(left) is BaseExceptionGroup
    assert [type(member) for member in left.exceptions] == [ValueError] * errors + [asyncio.CancelledError]
    assert [member.args for member in left.exceptions[:-1]] == [(number,) for number in range(errors)]
