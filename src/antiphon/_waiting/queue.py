"""A queue of events that are dispatched later, by workers that the queue owns.

The life of an event: posted (it waits in the buffer), running (a worker dispatches it), then done or failed.
Until then it is open. `Queue.join`, and the drain at the end, wait until nothing is open.

What ends a queue, and how:

=================================  ====================================================================
the body ended                     drains, also what is posted meanwhile, for ``drain_timeout`` seconds
the body raised, or was cancelled  with a ``drain_timeout`` the same, shielded; without one, at once
a dispatch failed under "raise"    cancels the body; at once
=================================  ====================================================================

Events that are open then are unfinished: `QueueNotDrained` has them if nothing else leaves. Otherwise they are logged
and counted.

Three cancel scopes and a task group hold it together, from the outermost in: `_guard` is shielded once the body has
ended, so that from there on only a native cancellation reaches the task that leaves the block; the group owns the
workers; `_body` ends the body after a failure. Each worker runs in a shielded scope of its own.

Invariants:

- `_state` leaves OPEN once, in `_cut_off`, which cancels all workers. A dispatch that a cancellation leaves after
  that is unfinished; one that a cancellation leaves before is a failure, because the queue has not asked for it.
- A worker never raises. The task that leaves the block collects what ended it; `what_leaves` combines that.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import anyio.lowlevel

from antiphon._backend import count_cancel_requests, is_cancellation, unwrap_group
from antiphon._exceptions import QueueNotDrained
from antiphon._strategies.driver import drive
from antiphon._strategies.errors import ErrorPolicy, check_error_policy, check_not_awaitable, log_error
from antiphon._util.naming import safe_repr
from antiphon._util.validation import check_duration, check_limit
from antiphon._waiting.buffer import MAX_BUFFER_SIZE, Buffer, Fifo, KeyedFifo, check_overflow
from antiphon._waiting.queue_errors import as_leak, is_interrupt, mark_refusal, split, what_leaves, without_refusals
from antiphon._waiting.queue_item import OrderedBy, QueueItem, QueueStatistics, Running, running_dispatch
from antiphon.typing import Overflow

__all__ = ("Queue", "QueueStatistics")


class _State(Enum):
    """Where a queue stands."""

    NEW = "not entered"
    OPEN = "entered, or draining"
    BROKEN = "a dispatch ended it"
    ENDED = "its block ended it"


class SupportsADispatch(Protocol):
    """What a queue needs of its dispatcher."""

    @property
    def adispatch(self) -> Callable[..., Awaitable[Any]]:
        """Give an event to its listeners."""
        ...


class Queue:
    """A queue of events: made by ``dispatcher.queue(...)``, and used with ``async with``."""

    __module__ = "antiphon"

    def __init__(
        self,
        dispatcher: SupportsADispatch,
        address: Callable[[Any, Any], tuple[Hashable, Any]],
        *,
        max_buffer_size: int,
        workers: int,
        overflow: Overflow,
        errors: ErrorPolicy,
        ordered_by: Callable[[Any], Hashable] | None,
        drain_timeout: float | None,
        options: dict[str, Any],
    ) -> None:
        self._dispatcher = dispatcher
        self._address = address
        self._options = options
        self._max_size = check_limit(max_buffer_size, MAX_BUFFER_SIZE)
        self._max_workers = check_limit(workers, "workers= is how many events may be dispatched at a time")
        self._overflow: Overflow = check_overflow(overflow)
        self._policy: ErrorPolicy = check_error_policy(errors)
        self._ordered_by = OrderedBy(ordered_by)
        if drain_timeout is not None:
            meaning = "drain_timeout= is how long the end may take, in seconds"
            drain_timeout = check_duration(drain_timeout, meaning, zero=True)
        # An infinite time is no bound: a shielded grace must have one.
        self._drain_timeout = None if drain_timeout == math.inf else drain_timeout
        self._state = _State.NEW
        self._idle: anyio.Event
        # What broke it, and the errors of dispatches that leave at the end.
        self._broken_by: BaseException | None = None
        self._failures: list[Exception] = []
        # In the order in which they started. What is here when the queue is cut off stays, and is unfinished.
        self._running: dict[Running, QueueItem] = {}
        self._workers: set[anyio.CancelScope] = set()
        self._done = self._failed = self._undone = 0

    # Posting

    async def post(self, name: Any, event: Any = None, /) -> None:
        """Hand an event over to be dispatched later; wait while the queue is full, if it suspends. Always a checkpoint.

        The dispatch runs in a copy of the context variables as they are now. A call that is cancelled has posted
        nothing.

        Args:
            name: As for ``adispatch``.
            event: As for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``; that failure is its cause.
            anyio.ClosedResourceError: The queue has ended.
            anyio.WouldBlock: The queue is full, and its ``overflow`` is ``"raise"``.
            RuntimeError: The queue has not been entered; or it is full, and this is another event loop than its own;
                or this is a listener that the queue runs, and all its workers would wait for room in it.
            TypeError: As for ``adispatch``, or ``ordered_by`` gave something that does not order.
        """
        await anyio.lowlevel.checkpoint()
        posted = self._posted(name, event)
        if self._put_nowait(posted):
            return
        if self._overflow == "raise":
            raise anyio.WouldBlock
        running = self._running_here()
        try:
            if running is not None:
                running.waits = True
                self._refuse_deadlock()
            await self._buffer.put(posted)
        except anyio.ClosedResourceError:
            raise self._refusal() from self._broken_by
        finally:
            if running is not None:
                running.waits = False

    def post_nowait(self, name: Any, event: Any = None, /) -> None:
        """Hand an event over to be dispatched later, from any thread, without waiting.

        Args:
            name: As for ``adispatch``.
            event: As for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``; that failure is its cause.
            anyio.ClosedResourceError: The queue has ended.
            anyio.WouldBlock: The queue is full, and its ``overflow`` drops nothing.
            RuntimeError: The queue has not been entered.
            TypeError: As for ``adispatch``, or ``ordered_by`` gave something that does not order.
        """
        if not self._put_nowait(self._posted(name, event)):
            raise anyio.WouldBlock

    async def join(self) -> None:
        """Wait until nothing is left to dispatch, also of what is posted meanwhile. Always a checkpoint.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``; that failure is its cause.
            anyio.ClosedResourceError: The queue has ended, and left something unfinished.
            RuntimeError: The queue has not been entered; or this is another event loop than its own, or a listener
                that the queue runs, which would wait for itself.
        """
        await anyio.lowlevel.checkpoint()
        running = running_dispatch.get()
        if running is not None and running.queue is self:
            raise RuntimeError(
                f"join() waits until {self!r} has nothing left to dispatch; this is a listener that it runs, or a task "
                f"of one, and would wait for itself: join where the queue was entered"
            )
        while True:
            if self._undone or self._state in (_State.NEW, _State.BROKEN):
                raise self._refusal() from self._broken_by
            if not self._is_open():
                return
            self._buffer.check_owner_loop("is busy", "post only")
            await self._idle.wait()

    def statistics(self) -> QueueStatistics:
        """Tell what the queue has done so far, and what is in it.

        Raises:
            RuntimeError: The queue has not been entered.
        """
        if self._state is _State.NEW:
            raise self._refusal()
        buffer = self._buffer
        return QueueStatistics(
            posted=buffer.accepted,
            done=self._done,
            failed=self._failed,
            dropped=buffer.dropped,
            unfinished=self._undone,
            running=len(self._running),
            current_buffer_used=len(buffer),
            max_buffer_size=buffer.max_size,
            posts_waiting=buffer.waiting_senders,
        )

    def _posted(self, name: Any, event: Any) -> QueueItem:
        if self._state is not _State.OPEN:
            raise self._refusal() from self._broken_by
        under, found = self._address(name, event)
        arguments = (found,) if event is None and under is None else (under, found)
        return QueueItem(arguments, under, found, self._ordered_by.key(found))

    def _put_nowait(self, posted: QueueItem) -> bool:
        try:
            return self._buffer.put_nowait(posted)
        except anyio.ClosedResourceError:
            # In another thread the queue may have ended meanwhile.
            raise self._refusal() from self._broken_by

    def _refusal(self) -> Exception:
        """Make the error for a use of the queue that its state does not allow."""
        if self._state is _State.NEW:
            return RuntimeError(f"{self!r} has not been entered; write `async with dispatcher.queue(...)`")
        error: Exception
        if self._state is _State.BROKEN:
            error = anyio.BrokenResourceError(
                f"{self!r} takes events until a dispatch fails under errors='raise'; one failed with "
                f"{safe_repr(self._broken_by)}: to keep a queue going, give it errors='log' or a function"
            )
        else:
            error = anyio.ClosedResourceError(
                f"{self!r} takes events within its `async with` block, which has ended; post before, or keep the "
                f"block open as long as something posts"
            )
        return mark_refusal(error, self)

    def _running_here(self) -> Running | None:
        """Find the dispatch that cannot go on before the running code does, if it is one of this queue's."""
        running = running_dispatch.get()
        if running is None or running.queue is not self or running.task != anyio.get_current_task().id:
            return None
        # A wait with a bound ends by itself.
        return running if anyio.current_effective_deadline() == math.inf else None

    def _refuse_deadlock(self) -> None:
        if not all(running.waits for running in self._running):
            return
        if len(self._running) < self._max_workers and self._buffer.has_next:
            return
        raise RuntimeError(
            f"{self!r} is full, and each event that it dispatches waits in post() for room in it: they would wait for "
            f"each other. In a listener that a queue runs, use post_nowait() or a bound on the time "
            f"(anyio.move_on_after), or give the queue more workers or a larger max_buffer_size"
        )

    # SupportsADispatch

    def _start_worker(self) -> None:
        scope = anyio.CancelScope(shield=True)
        self._workers.add(scope)
        self._group.start_soon(self._work, scope)

    async def _work(self, scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.get_cancelled_exc_class()), scope:
            # A native request that a listener left on this task would reach the dispatches that come after it.
            task = anyio.get_current_task().id
            while not count_cancel_requests():
                await self._dispatch(await self._buffer.get(), task)
            # Let asyncio deliver it here, not at the end of the task, where the group would take it for its own.
            await anyio.lowlevel.checkpoint()
        self._workers.discard(scope)
        if self._state is _State.OPEN and not self._buffer.closed:
            # It was not the queue that ended this worker.
            self._start_worker()

    async def _dispatch(self, posted: QueueItem, task: int) -> None:
        running = Running(self, task)
        self._running[running] = posted
        if len(self._running) == len(self._workers) < self._max_workers:
            # There is always one that waits for an event, so that no more of them are started than are needed.
            self._start_worker()
        posted.context.run(running_dispatch.set, running)
        try:
            await drive(self._call(posted.arguments), None, posted.context.run)
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: ASYNC103  given to the policy, or to the task that leaves the block
            if not await self._took(exc, posted):  # noqa: ASYNC102  it waits for nothing but its own turn
                # It stays, and is unfinished.
                return  # noqa: ASYNC104  see above
        else:
            self._done += 1
        del self._running[running]
        running.queue = None
        self._buffer.done(posted)
        if not self._is_open():
            self._wake_idle()

    async def _call(self, arguments: tuple[Any, ...]) -> None:
        await self._dispatcher.adispatch(*arguments, **self._options)

    async def _took(self, exc: BaseException, posted: QueueItem) -> bool:
        """Give what left a dispatch to the policy. Returns whether it is an error: if not, the event is unfinished."""
        cancellation, error = split(exc, is_cancellation)
        if cancellation is not None and self._state is _State.OPEN and count_cancel_requests():
            # This task was cancelled. If all tasks of the loop were, the one that owns the queue ends it in this turn.
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.lowlevel.checkpoint()
        if self._state is not _State.OPEN:
            error = without_refusals(error, self)
        elif cancellation is not None:
            leak = as_leak(self, cancellation)
            error = leak if error is None else BaseExceptionGroup("errors of a dispatch", [error, leak])
        if isinstance(error, Exception):
            self._failed += 1
            self._fail(error, posted)
            return True
        if error is not None:
            # An interrupt is no error: the task that leaves the block raises it.
            self._break(error)
        return False

    def _fail(self, error: Exception, posted: QueueItem) -> None:
        policy = self._log if self._policy == "log" else self._policy
        if isinstance(policy, str):
            self._failures.append(error)
            if policy == "raise":
                self._break(error)
            return
        try:
            check_not_awaitable(policy(error, posted.event, posted.name), policy)
        except Exception as raised:
            self._failures.append(raised)
            self._break(raised)

    def _log(self, error: Exception, event: Any, name: Hashable) -> None:
        under = "" if name is None else f"{safe_repr(name)}, "
        log_error(error, f"a dispatch failed, {self!r} goes on: {under}{safe_repr(event)}")

    def _break(self, cause: BaseException) -> None:
        if self._state is _State.OPEN:
            self._broken_by = cause
            self._cut_off(_State.BROKEN)
            self._body.cancel()

    def _cut_off(self, state: _State) -> None:
        self._state = state
        # Before the buffer is closed, so that a listener that waits for room is cancelled, and not refused.
        for scope in self._workers:
            scope.cancel()
        self._buffer.close()
        self._wake_idle()

    def _is_open(self) -> bool:
        return bool(self._running or len(self._buffer) or self._buffer.waiting_senders)

    def _wake_idle(self) -> None:
        idle = self._idle
        self._idle = anyio.Event()
        idle.set()

    # Beginning and end

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.queue(...)`")
        line: Fifo[QueueItem] | KeyedFifo[QueueItem] = (
            Fifo() if self._ordered_by.function is None else KeyedFifo(_lane_of)
        )
        full: Overflow = "suspend" if self._overflow == "raise" else self._overflow
        self._buffer: Buffer[QueueItem] = Buffer(self, line, self._max_size, full)
        self._idle = anyio.Event()
        self._guard, self._body = anyio.CancelScope(), anyio.CancelScope()
        self._group = anyio.create_task_group()
        self._guard.__enter__()
        await self._group.__aenter__()
        self._state = _State.OPEN
        self._start_worker()
        self._body.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        ends = self._leave_body(exc)
        await self._drain(ends)  # noqa: ASYNC102  waiting for the drain is what the end is for
        if self._state is _State.OPEN:
            self._cut_off(_State.ENDED)
        leftover = self._buffer.clear()
        self._undone = len(leftover)
        try:
            await self._group.__aexit__(None, None, None)  # noqa: ASYNC102  a task group is left
        except BaseException as raised:  # noqa: ASYNC103  raised below, with the errors in hand
            ends.append(unwrap_group(raised))
        finally:
            self._guard.__exit__(None, None, None)
        if self._broken_by is not None and not isinstance(self._broken_by, Exception):
            ends.append(self._broken_by)
        self._report(leftover, ends)
        leaving = what_leaves(f"{self!r} ended", self._failures, ends)
        try:
            if leaving is not None and leaving is not exc:
                raise leaving
            # If nothing leaves, the body may still have been cancelled: by the queue.
            return leaving is None
        finally:
            # A frame that keeps what leaves it makes a cycle.
            del leaving, exc
            ends.clear()
            self._failures.clear()

    def _leave_body(self, exc: BaseException | None) -> list[BaseException]:
        """Leave the scope of the body, which keeps the queue's own cancellation. Returns what ended the body."""
        try:
            if self._body.__exit__(None if exc is None else type(exc), exc, None):
                return []
        except BaseException as left:  # noqa: ASYNC103  what is left of a group
            ended_by = [left]
        else:
            ended_by = [] if exc is None else [exc]
        if self._state is not _State.BROKEN:
            return ended_by
        return [rest for end in ended_by if (rest := without_refusals(end, self)) is not None]

    async def _drain(self, ends: list[BaseException]) -> None:
        """Wait until nothing is open, as long as the table above says; note what ends the block meanwhile."""
        deadline = math.inf if self._drain_timeout is None else anyio.current_time() + self._drain_timeout
        while not ends or (self._drain_timeout is not None and not any(map(is_interrupt, ends))):
            self._guard.shield = bool(ends)
            try:
                with anyio.CancelScope(deadline=deadline):
                    await self._drained()
                break
            except BaseException as exc:  # noqa: ASYNC103  raised when the queue has ended
                ends.append(exc)
        self._guard.shield = True

    async def _drained(self) -> None:
        while not self._buffer.closed:
            if self._is_open():
                await self._idle.wait()
            else:
                # Another thread may have posted meanwhile.
                self._buffer.close(if_empty=True)

    def _report(self, leftover: list[QueueItem], ends: list[BaseException]) -> None:
        """Tell of the events that are unfinished: by an error if nothing else leaves, else in the log."""
        unfinished = [*self._running.values(), *leftover]
        self._undone = len(unfinished)
        for running in self._running:
            running.queue = None
        self._running.clear()
        self._wake_idle()
        if not unfinished:
            return
        if not ends and self._state is _State.ENDED:
            ends.append(QueueNotDrained([(posted.name, posted.event) for posted in unfinished]))
        else:
            # Imported here, since it is needed here alone. The repr, or a kept record would keep the queue.
            import logging

            logging.getLogger("antiphon").warning(
                "%s ended with %d of its events unfinished", repr(self), len(unfinished)
            )

    def __repr__(self) -> str:
        return f"<queue of {safe_repr(self._dispatcher)}>"


def _lane_of(posted: QueueItem) -> Hashable:
    return posted.lane
