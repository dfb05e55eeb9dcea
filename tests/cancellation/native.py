"""What the tests of asyncio's own cancellation share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon import Event, Strategy
from tests.cancellation.listeners import of


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


def dispatch(strategy: Strategy, *listeners: Any, later: Any = None) -> Callable[[], Awaitable[Event]]:
    """Make a function that dispatches to the listeners. A dispatcher has other code for a single listener."""
    dispatcher = of(*listeners, later=later, strategy=strategy)
    return lambda: dispatcher.adispatch("order.placed")


async def handles_its_failed_group(event: Event) -> None:
    """Python 3.11 and 3.12 leave a request behind in the task."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    except* KeyError:
        pass


async def times_out_without_uncancel(event: Event) -> None:
    """Such a timeout cancels its task and takes nothing back."""
    asyncio.get_running_loop().call_later(0.01, this_task().cancel)
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        pass
