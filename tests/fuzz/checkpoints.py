"""Counting the checkpoints of a part of a program, and cancelling the part at one of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import coroutine
from typing import Any

import anyio

from antiphon._waiting.queue_runner import QueueRunner
from tests.cancellation.tasks import is_cancellation
from tests.fuzz.accounting import LostError

__all__ = ("Part", "counted_workers", "drive", "drive_in_part")


class Part:
    """A part of a program: it runs in a scope of its own, and counts its checkpoints.

    Args:
        place: The checkpoint at which the scope is cancelled, or None.
    """

    def __init__(self, place: int | None) -> None:
        self.place = place
        self.scope = anyio.CancelScope()
        self.checkpoints = 0
        #: The tasks whose checkpoints are counted.
        self.tasks: set[int] = set()

    def count(self) -> None:
        """Count a checkpoint, and cancel the scope if it is the right one."""
        if self.checkpoints == self.place:
            self.scope.cancel()
        self.checkpoints += 1


#: The part to which the running code belongs. The tasks of concurrent listeners and the items of a queue inherit it.
_current_part: ContextVar[Part | None] = ContextVar("current_part", default=None)


async def drive(work: Any, part: Part) -> None:
    """Run the work of a part in its task.

    Raises:
        LostError: If the work has received the cancellation of its scope, and has returned nevertheless.
    """
    _current_part.set(part)
    if await _count_checkpoints(work, part):
        raise LostError("a part was cancelled, and has lost the cancellation")


async def drive_in_part(work: Any) -> None:
    """Await work, and count its checkpoints if its task does not count them already."""
    part = _current_part.get()
    if part is None or anyio.get_current_task().id in part.tasks:
        await work
    else:
        await _count_checkpoints(work, part)


@contextmanager
def counted_workers() -> Iterator[None]:
    """Count the checkpoints of the workers of queues as those of the part that has entered the queue."""
    run_worker = QueueRunner._run_worker

    async def run_counted(self: QueueRunner, scope: anyio.CancelScope) -> None:
        await drive_in_part(run_worker(self, scope))

    QueueRunner._run_worker = run_counted  # type: ignore[method-assign]  # restored below
    try:
        yield
    finally:
        QueueRunner._run_worker = run_worker  # type: ignore[method-assign]  # see above


@coroutine
def _count_checkpoints(work: Any, part: Part) -> Generator[Any, Any, bool]:
    """Drive a coroutine, and count its checkpoints. Return whether it has returned after a cancellation of the part."""
    task_id = anyio.get_current_task().id
    part.tasks.add(task_id)
    is_cancelled = False
    to_send: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                yielded = work.throw(error) if error is not None else work.send(to_send)
            except StopIteration:
                return is_cancelled
            part.count()
            error = None
            try:
                to_send = yield yielded
            except BaseException as exc:
                is_cancelled |= part.scope.cancel_called and is_cancellation(exc)
                error = exc
    finally:
        part.tasks.discard(task_id)
