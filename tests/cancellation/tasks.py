"""Fixtures that look for tasks that a test left behind, and helpers to wait without sleeping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import anyio
import pytest
from anyio import CancelScope

from antiphon.testing import settle

__all__ = (
    "Watch",
    "cancel_when_blocked",
    "forever",
    "is_cancellation",
    "leaves",
    "left_by",
    "left_when_cancelled",
    "no_task_left_behind",
    "note_round",
    "running_tasks",
    "settle",
    "tasks_before_and_after",
)


def running_tasks() -> set[tuple[int, str | None]]:
    """Return the tasks of the running loop, also Trio's system tasks, but not those of AnyIO's pytest plugin."""
    return {
        (task.id, task.name)
        for task in anyio.get_running_tasks()
        if "_call_in_runner_task" not in getattr(task.coro, "__qualname__", "")
    }


@pytest.fixture
async def tasks_before_and_after() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind."""
    before = running_tasks()
    yield
    left = running_tasks() - before
    assert not left, f"left behind: {left}"


@pytest.fixture(autouse=True)
def no_task_left_behind(request: pytest.FixtureRequest) -> None:
    """Check every test that runs on a backend."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("tasks_before_and_after")


class Watch:
    """The tasks that a block started and did not end."""

    def __init__(self) -> None:
        self.before = running_tasks()

    def assert_alone(self) -> None:
        """Check that nothing that was started since then still runs."""
        left = running_tasks() - self.before
        assert not left, f"still running: {left}"


async def forever(*_: Any) -> NoReturn:
    """Wait until cancelled."""
    await anyio.Event().wait()
    raise AssertionError("this event is never set")


@contextmanager
def note_round(**what: object) -> Iterator[None]:
    """Add a note to a failure that says in which round of a loop it happened."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(", ".join(f"{key}: {value}" for key, value in what.items()))
        raise


async def left_by(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    """Return what leaves a call, also a cancellation, which no scope around the caller may then need."""
    try:
        await call()
    except BaseException as exc:
        return exc
    return None


async def cancel_when_blocked(scope: CancelScope) -> None:
    """Cancel a scope when all tasks wait."""
    await settle()
    scope.cancel()


async def left_when_cancelled(
    call: Callable[[], Awaitable[object]],
) -> tuple[BaseException | None, BaseException | None]:
    """Cancel a scope around a call when all tasks wait. Returns what left the call, and what left the scope."""
    inside: BaseException | None = None
    outside: BaseException | None = None
    watch = Watch()
    async with anyio.create_task_group() as group:
        try:
            with CancelScope() as scope:
                group.start_soon(cancel_when_blocked, scope)
                try:
                    await call()
                except BaseException as exc:
                    inside = exc
                    raise
        except BaseException as exc:
            outside = exc
        assert scope.cancel_called
    watch.assert_alone()
    return inside, outside


def is_cancellation(exc: object) -> bool:
    """Return whether this is the running backend's cancellation."""
    return isinstance(exc, anyio.get_cancelled_exc_class())


def leaves(exc: BaseException | None) -> list[BaseException]:
    """Return the exceptions of a group and its groups, in order; of another exception, itself."""
    if exc is None:
        return []
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for member in exc.exceptions for leaf in leaves(member)]
    return [exc]
