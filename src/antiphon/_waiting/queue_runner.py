"""The inside of a queue that has been entered: its state, its buffer, and the workers that dispatch its items.

An item waits in the buffer until a worker dispatches it. Its dispatch is then done, or it has failed. An item whose
dispatch has not finished when the queue stops is unfinished. The queue is idle while no item waits or is in progress,
and no ``post`` waits for space.

Invariants:

- `state` changes once, in `stop`, which cancels all workers. If a cancellation leaves a dispatch after that, its item
  is unfinished. If one leaves a dispatch before that, it is a failure, because the queue did not request it.
- A worker never raises. The task that leaves the block of the queue collects the exceptions.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from enum import Enum
from threading import get_ident
from typing import Any, NoReturn
from weakref import ref

import anyio
import anyio.lowlevel

from antiphon._backend import count_cancel_requests, get_asyncio_task, is_cancellation
from antiphon._strategies.driver import run_first_step_in
from antiphon._strategies.errors import NOTE_PREFIX, ErrorPolicy, check_not_awaitable, log_error
from antiphon._util.naming import listener_name, safe_repr
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.queue_errors import mark_refusal, remove_refusals, split_exception, to_leak_error
from antiphon._waiting.queue_item import QueueItem, RunningDispatch, enter_dispatch, running_dispatch

__all__ = ("QueueRunner", "QueueState")


class QueueState(Enum):
    """The state of a queue that has been entered."""

    #: It accepts events, or drains.
    OPEN = "open"
    #: A dispatch or the error function stopped it.
    BROKEN = "broken"
    #: The end of its block stopped it.
    ENDED = "ended"


class QueueRunner:
    """Runs the dispatches of a queue.

    Args:
        queue: The queue, for error messages, and to recognize its own dispatches.
        dispatch: The async function that dispatches an item.
        buffer: The buffer of the items that wait.
        policy: The error policy for failed dispatches.
        max_workers: The maximum number of workers.
        group: The task group that owns the workers.
        body: The cancel scope of the body of the block.
    """

    def __init__(
        self,
        queue: object,
        *,
        dispatch: Callable[[QueueItem], Awaitable[object]],
        buffer: Buffer[QueueItem],
        policy: ErrorPolicy,
        max_workers: int,
        group: Any,
        body: anyio.CancelScope,
    ) -> None:
        # Weak, like the owner of a buffer.
        self._find_queue = ref(queue)
        self._dispatch = dispatch
        self.buffer = buffer
        self._policy = policy
        self._max_workers = max_workers
        self._group = group
        self._body = body
        #: The thread of the event loop of the queue.
        self.thread_id = get_ident()
        self.state = QueueState.OPEN
        #: The exception that broke the queue, or None.
        self.broken_by: BaseException | None = None
        #: The errors of dispatches that are raised at the end of the block.
        self.failures: list[Exception] = []
        self.done = self.failed = self.unfinished = 0
        #: The dispatches that were started and have not finished, in the order of their start.
        self.in_progress: dict[RunningDispatch, QueueItem] = {}
        self._worker_scopes: set[anyio.CancelScope] = set()
        # Exists only while a task waits for a change.
        self._change: anyio.Event | None = None

    @property
    def _queue(self) -> object:
        return self._find_queue()

    # Accepting items

    def refuse(self) -> NoReturn:
        """Raise the error for a use of the queue after it was stopped.

        Raises:
            anyio.BrokenResourceError: If a dispatch or the error function stopped the queue.
            anyio.ClosedResourceError: If the queue has ended.
        """
        error: Exception
        if self.state is QueueState.BROKEN:
            # Another policy would not help after an interrupt, or after an error of the error function.
            is_avoidable = self._policy == "raise" and isinstance(self.broken_by, Exception)
            remedy = "; to continue after errors, use errors='log' or a function" if is_avoidable else ""
            error = anyio.BrokenResourceError(
                f"{self._queue!r} accepts events until it stops; it has stopped because of "
                f"{safe_repr(self.broken_by)}{remedy}"
            )
        else:
            error = anyio.ClosedResourceError(
                f"{self._queue!r} accepts events within its `async with` block, which has ended; post earlier, or keep "
                f"the block open while something posts"
            )
        raise mark_refusal(error, self._queue) from self.broken_by

    def put_nowait(self, item: QueueItem) -> bool:
        """Put an item into the buffer without waiting. Return False if it has to wait for space."""
        try:
            return self.buffer.put_nowait(item)
        except anyio.ClosedResourceError:
            # Another thread may have ended the queue since the check.
            self.refuse()

    async def put(self, item: QueueItem) -> None:
        """Put an item into the buffer, and wait for space.

        Raises:
            anyio.BrokenResourceError: If a dispatch or the error function stops the queue.
            anyio.ClosedResourceError: If the queue ends.
            RuntimeError: If all workers would wait for space, or this is another event loop than the queue's.
        """
        running = self._find_blocked_dispatch()
        try:
            if running is not None:
                running.is_waiting = True
                self._check_no_deadlock()
            await self.buffer.put(item)
        except anyio.ClosedResourceError:
            self.refuse()
        finally:
            if running is not None:
                running.is_waiting = False

    def _find_blocked_dispatch(self) -> RunningDispatch | None:
        """Return the dispatch of this queue that cannot continue while the running code waits, or None."""
        running = running_dispatch.get()
        if running is None or running.queue is not self._queue or running.task_id != anyio.get_current_task().id:
            return None
        # A wait with a deadline ends by itself.
        return running if anyio.current_effective_deadline() == math.inf else None

    def _check_no_deadlock(self) -> None:
        if not all(running.is_waiting for running in self.in_progress):
            return
        if len(self.in_progress) < self._max_workers and self.buffer.has_next:
            return
        raise RuntimeError(
            f"{self._queue!r} is full, and each event that it dispatches waits in post() for space in it: they would "
            f"wait for each other. In a listener that a queue runs, use post_nowait() or a time limit "
            f"(anyio.move_on_after), or give the queue more workers or a larger max_buffer_size"
        )

    # Waiting until the queue is idle

    def has_work(self) -> bool:
        """Return whether an item waits or is in progress, or a ``post`` waits for space."""
        return bool(self.in_progress or len(self.buffer) or self.buffer.waiting_senders)

    async def wait_for_change(self) -> None:
        """Wait until the queue becomes idle or stops. It may be busy again when this returns."""
        if self._change is None:
            self._change = anyio.Event()
        await self._change.wait()

    def _notify_change(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set()

    async def drain(self) -> None:
        """Wait until there is no work, and close the buffer then."""
        while not self.buffer.closed:
            if self.has_work():
                await self.wait_for_change()
            else:
                # Another thread may have posted meanwhile.
                self.buffer.close(if_empty=True)

    # Dispatching

    def start_worker(self) -> None:
        """Start a task that dispatches items."""
        scope = anyio.CancelScope(shield=True)
        self._worker_scopes.add(scope)
        self._group.start_soon(self._run_worker, scope)

    async def _run_worker(self, scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.get_cancelled_exc_class()), scope:
            task_id = anyio.get_current_task().id
            # A listener may leave a native request (see `_strategies.cancellation`) on this task. It would cancel the
            # next dispatches.
            task = get_asyncio_task()
            while task is None or not task.cancelling():
                # `get` is a checkpoint, so other tasks run between two dispatches.
                await self._run_dispatch(await self.buffer.get(wake_next=False), task_id)
            # Receive the request here. At the end of the task, the group would mistake it for its own.
            await anyio.lowlevel.checkpoint()
        self._worker_scopes.discard(scope)
        if self.state is QueueState.OPEN and not self.buffer.closed:
            # The queue did not end this worker, so replace it.
            self.start_worker()

    async def _run_dispatch(self, item: QueueItem, task_id: int) -> None:
        running = RunningDispatch(self._queue, task_id)
        self.in_progress[running] = item
        item.context.run(enter_dispatch, running)
        try:
            remainder = run_first_step_in(item.context, self._dispatch, item, None)
            if remainder is not None:
                self._activate_other_worker()
                await remainder
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: ASYNC103  given to the policy, or to the task that leaves the block
            if not await self._handle_exception(exc, item):  # noqa: ASYNC102  it waits at most for a checkpoint
                # The item stays in progress, and is reported as unfinished.
                return  # noqa: ASYNC104  see above
        else:
            self.done += 1
        del self.in_progress[running]
        running.queue = None
        self.buffer.release(item)
        if self._change is not None and not self.has_work():
            self._notify_change()

    def _activate_other_worker(self) -> None:
        """Let another worker dispatch the next items, because the running one waits. Most dispatches never wait."""
        if len(self.in_progress) < len(self._worker_scopes):
            self.buffer.wake_receiver()
        elif len(self._worker_scopes) < self._max_workers:
            self.start_worker()

    async def _handle_exception(self, exc: BaseException, item: QueueItem) -> bool:
        """Give the exception that left a dispatch to the policy.

        Returns:
            Whether the dispatch has failed. Otherwise its item is unfinished.
        """
        cancellation, error = split_exception(exc, is_cancellation)
        if cancellation is not None and self.state is QueueState.OPEN and count_cancel_requests():
            # This task was cancelled. If all tasks were cancelled, the owner task stops the queue during this
            # checkpoint.
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.lowlevel.checkpoint()
        if self.state is not QueueState.OPEN:
            error = remove_refusals(error, self._queue)
        elif cancellation is not None:
            leak = to_leak_error(self._queue, cancellation)
            error = leak if error is None else BaseExceptionGroup("errors of a dispatch", [error, leak])
        if isinstance(error, Exception):
            self.failed += 1
            self._apply_policy(error, item)
            return True
        if error is not None:
            # An interrupt: the task that leaves the block raises it.
            self._break(error)
        return False

    def _apply_policy(self, error: Exception, item: QueueItem) -> None:
        policy = self._log if self._policy == "log" else self._policy
        if isinstance(policy, str):
            self.failures.append(error)
            if policy == "raise":
                self._break(error)
            return
        try:
            # In the context of the dispatch, so that a report or a log line belongs to the request that posted.
            check_not_awaitable(item.context.run(policy, error, item.event, item.name), policy)
        except Exception as raised:
            raised.add_note(
                f"{NOTE_PREFIX}raised by the error policy {listener_name(policy)} of {self._queue!r}, which handled "
                f"{safe_repr(error)}"
            )
            self.failures.append(raised)
            self._break(raised)

    def _log(self, error: Exception, event: Any, name: Hashable) -> None:
        label = "" if name is None else f"{safe_repr(name)}, "
        log_error(error, f"a dispatch failed, {self._queue!r} goes on: {label}{safe_repr(event)}")

    # Stopping

    def _break(self, cause: BaseException) -> None:
        if self.state is QueueState.OPEN:
            self.broken_by = cause
            self.stop(QueueState.BROKEN)
            self._body.cancel()

    def stop(self, state: QueueState) -> None:
        """Cancel all workers, and accept no further items.

        Args:
            state: BROKEN or ENDED.
        """
        self.state = state
        # Cancel before the buffer is closed, so that a listener that waits for space is cancelled, and not refused.
        for scope in self._worker_scopes:
            scope.cancel()
        self.buffer.close()
        self._notify_change()

    def discard_pending(self) -> list[QueueItem]:
        """Remove the items that wait, after the queue has stopped. Return them."""
        pending = self.buffer.clear()
        self.unfinished = len(pending)
        return pending

    def discard_in_progress(self) -> list[QueueItem]:
        """Remove the items whose dispatch was cancelled, after all workers have finished. Return them."""
        cancelled = list(self.in_progress.values())
        self.unfinished += len(cancelled)
        for running in self.in_progress:
            running.queue = None
        self.in_progress.clear()
        self._notify_change()
        return cancelled
