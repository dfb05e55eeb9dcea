"""Who runs: fixtures that look around each test for tasks left behind, and helpers to wait without sleeping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import anyio
import pytest

from antiphon.testing import settle

__all__ = (
    "Watch",
    "forever",
    "is_cancellation",
    "leaves",
    "left_by",
    "no_task_left_behind",
    "noting",
    "running_tasks",
    "settle",
    "tasks_before_and_after",
)


def running_tasks() -> set[tuple[int, str | None]]:
    """All tasks of the running loop, on trio the system tasks too, but for those that anyio's pytest plugin starts."""
    return {
        (task.id, task.name)
        for task in anyio.get_running_tasks()
        if "_call_in_runner_task" not in getattr(task.coro, "__qualname__", "")
    }


@pytest.fixture
async def tasks_before_and_after() -> AsyncIterator[None]:
    """Fails a test that leaves a task behind."""
    before = running_tasks()
    yield
    left = running_tasks() - before
    assert not left, f"left behind: {left}"


@pytest.fixture(autouse=True)
def no_task_left_behind(request: pytest.FixtureRequest) -> None:
    """Watches every test that runs on a backend."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("tasks_before_and_after")


class Watch:
    """What a block, and nothing but the block, left behind."""

    def __init__(self) -> None:
        self.before = running_tasks()

    def assert_alone(self) -> None:
        """Nothing that was started since then still runs."""
        left = running_tasks() - self.before
        assert not left, f"still running: {left}"


async def forever(*_: Any) -> NoReturn:
    """Wait until cancelled."""
    await anyio.Event().wait()
    raise AssertionError("nobody sets this event")


@contextmanager
def noting(**what: object) -> Iterator[None]:
    """Says on a failure in which round of a loop it happened."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(", ".join(f"{key}: {value}" for key, value in what.items()))
        raise


async def left_by(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    """What leaves a call, though it be a cancellation. (Nothing below the caller may need that cancellation.)"""
    try:
        await call()
    except BaseException as exc:
        return exc
    return None


def is_cancellation(exc: object) -> bool:
    """Whether this is the running backend's cancellation."""
    return isinstance(exc, anyio.get_cancelled_exc_class())


def leaves(exc: BaseException | None) -> list[BaseException]:
    """The exceptions of a group, however deep, in order."""
    if exc is None:
        return []
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for member in exc.exceptions for leaf in leaves(member)]
    return [exc]
