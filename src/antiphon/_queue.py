"""A queue of events that are dispatched later, in tasks that the queue owns.

The life of an event: posted (it waits in the buffer), out (a worker dispatches it), then done or failed.
Until then it is open; `Queue.join`, and the drain at the end, wait until nothing is open.

What ends a queue, and how:

=================================  ====================================================================
the body ended                     drains, also what is posted meanwhile, for ``drain_timeout`` seconds
the body raised, or was cancelled  with a ``drain_timeout`` the same, shielded; without one, at once
a dispatch failed under "raise"    cancels the body; at once
=================================  ====================================================================

What is still open then is undone: `QueueNotDrained` names it if nothing else leaves; else it is logged, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import anyio
import anyio.lowlevel

from antiphon._backend import belongs_anywhere
from antiphon._buffers import MAX_BUFFER_SIZE, Buffer, Fifo, Lanes, check_overflow
from antiphon._events import stop_observer
from antiphon._exceptions import QueueNotDrained
from antiphon._keys import check_name
from antiphon._listeners import check_limit, check_seconds, is_async_callable, safe_repr
from antiphon._options import outside_of_calls
from antiphon._policies import ErrorPolicy, check_policy, refuse_awaitable
from antiphon.typing import Overflow

__all__ = ("Queue", "QueueStatistics")


class QueueStatistics(NamedTuple):
    """What a queue has done so far, and what is in it."""

    #: How many events were handed over; each of them is done, failed, dropped, undone, running or waiting.
    posted: int
    #: How many dispatches ended well.
    done: int
    #: How many dispatches ended with an error.
    failed: int
    #: How many events were let go because the buffer was full.
    dropped: int
    #: How many events the end of the queue left undone.
    undone: int
    #: How many dispatches run now.
    running: int
    #: How many events wait for a worker.
    current_buffer_used: int
    #: How many events can wait.
    max_buffer_size: int
    #: How many calls of ``post`` wait for room.
    posts_waiting: int


QueueStatistics.__module__ = "antiphon"


class _Posted:
    """One event in the queue."""

    __slots__ = ("context", "event", "lane", "name")

    def __init__(self, name: Hashable, event: Any, lane: Hashable) -> None:
        self.name = name
        self.event = event
        self.lane = lane
        self.context: Context = copy_context()
        outside_of_calls(self.context)
        belongs_anywhere(self.context)
        # The poster is not who stops it; and events that post events would grow a chain of observers without end.
        self.context.run(stop_observer.set, None)


class Dispatching(Protocol):
    """What a queue needs of its dispatcher."""

    async def adispatch(self, name: Any, event: Any = None, /) -> Any:
        """Give an event to its listeners."""
        ...


class Queue:
    """A queue of events: made by ``dispatcher.queue(...)``, and used with ``async with``."""

    __module__ = "antiphon"

    def __init__(
        self,
        dispatcher: Dispatching,
        address: Callable[[Any], tuple[Hashable, Any]],
        *,
        max_buffer_size: int,
        workers: int,
        overflow: Overflow,
        errors: ErrorPolicy,
        ordered_by: Callable[[Any], Hashable] | None,
        drain_timeout: float | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._address = address
        self._max_size = check_limit(max_buffer_size, MAX_BUFFER_SIZE)
        self._workers = check_limit(workers, "workers= is how many events may be dispatched at a time")
        self._overflow: Overflow = check_overflow(overflow)
        self._policy: ErrorPolicy = check_policy(errors)
        if ordered_by is not None and (is_async_callable(ordered_by) or not callable(ordered_by)):
            raise TypeError(
                f"ordered_by= is a plain function that gives the key of an event; got {safe_repr(ordered_by)}"
            )
        self._ordered_by = ordered_by
        self._drain_timeout = drain_timeout
        if drain_timeout is not None and drain_timeout != 0:
            check_seconds(drain_timeout, "drain_timeout= is how long the end may take, in seconds")
        self._idle: anyio.Event
        self._entered = False
        self._broken = False
        self._failures: list[Exception] = []
        self._out: dict[_Posted, anyio.CancelScope | None] = {}
        self._done = self._failed = self._undone = 0

    # Posting

    async def post(self, name: Any, event: Any = None, /) -> None:
        """Hand an event over to be dispatched later; wait while the queue is full, if it suspends. Always a checkpoint.

        The dispatch runs in a copy of the context variables as they are now.

        Args:
            name: As for ``adispatch``.
            event: As for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``.
            anyio.ClosedResourceError: The queue has ended.
            anyio.WouldBlock: The queue is full, and its ``overflow`` is ``"raise"``.
            RuntimeError: The queue has not been entered; or it is full, and this is another event loop than its own.
            TypeError: As for ``adispatch``, or ``ordered_by`` gave an unhashable key.
        """
        await anyio.lowlevel.checkpoint()
        buffer = self._open_buffer()
        posted = self._posted(name, event)
        if self._overflow == "raise":
            self._put_nowait(buffer, posted)
            return
        try:
            await buffer.put(posted)
        except anyio.ClosedResourceError:
            self._open_buffer()
            raise

    def post_nowait(self, name: Any, event: Any = None, /) -> None:
        """Hand an event over to be dispatched later, from any thread, without waiting.

        Args:
            name: As for ``adispatch``.
            event: As for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``.
            anyio.ClosedResourceError: The queue has ended.
            anyio.WouldBlock: The queue is full, and its ``overflow`` drops nothing.
            RuntimeError: The queue has not been entered.
            TypeError: As for ``adispatch``, or ``ordered_by`` gave an unhashable key.
        """
        self._put_nowait(self._open_buffer(), self._posted(name, event))

    async def join(self) -> None:
        """Wait until nothing is left to dispatch, also of what is posted meanwhile. Always a checkpoint.

        A listener that the queue runs must not wait here: it would wait for itself.

        Raises:
            anyio.BrokenResourceError: A dispatch failed under ``errors="raise"``.
            anyio.ClosedResourceError: The queue has ended, and left something undone.
            RuntimeError: The queue has not been entered; or this is another event loop than its own.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            buffer = self._open_buffer(ended=True)
            if self._undone:
                raise anyio.ClosedResourceError
            if not self._is_open():
                return
            buffer.check_here("is busy", "post only")
            await self._idle.wait()

    def statistics(self) -> QueueStatistics:
        """Tell what the queue has done so far, and what is in it.

        Raises:
            RuntimeError: The queue has not been entered.
        """
        buffer = self._open_buffer(ended=True, broken=True)
        return QueueStatistics(
            posted=buffer.accepted,
            done=self._done,
            failed=self._failed,
            dropped=buffer.dropped,
            undone=self._undone,
            running=len(self._out),
            current_buffer_used=len(buffer),
            max_buffer_size=buffer.max_size,
            posts_waiting=buffer.waiting_senders,
        )

    def _posted(self, name: Any, event: Any) -> _Posted:
        if event is None:
            name, event = self._address(name)
        elif name is not None:
            check_name(name)
        lane = None if self._ordered_by is None else self._ordered_by(event)
        hash(lane)
        return _Posted(name, event, lane)

    def _put_nowait(self, buffer: Buffer[_Posted], posted: _Posted) -> None:
        try:
            taken = buffer.put_nowait(posted)
        except anyio.ClosedResourceError:
            # In another thread the queue may have ended meanwhile.
            self._open_buffer()
            raise
        if not taken:
            raise anyio.WouldBlock

    def _open_buffer(self, *, ended: bool = False, broken: bool = False) -> Buffer[_Posted]:
        if not self._entered:
            raise RuntimeError(f"{self!r} has not been entered; write `async with dispatcher.queue(...)`")
        if self._broken and not broken:
            raise anyio.BrokenResourceError
        if self._buffer.closed and not ended:
            raise anyio.ClosedResourceError
        return self._buffer

    # Dispatching

    async def _work(self) -> None:
        with self._taking:
            while True:
                await self._slots.acquire()
                try:
                    posted = await self._buffer.get()
                except anyio.EndOfStream:
                    return
                self._out[posted] = None
                # A task for each, since it is to run in the context of its poster.
                self._group.create_task(self._dispatch(posted), context=posted.context)
                # Or it would stay alive until the next one comes.
                del posted

    async def _dispatch(self, posted: _Posted) -> None:
        try:
            # What cancels the body does not cancel a dispatch: when that is to end is for the queue to say.
            with anyio.CancelScope(shield=True) as scope:
                if self._taking.cancel_called:
                    return
                self._out[posted] = scope
                if posted.name is None:
                    await self._dispatcher.adispatch(posted.event)
                else:
                    await self._dispatcher.adispatch(posted.name, posted.event)
            if scope.cancelled_caught:
                # It stays open, and is undone.
                return
        except Exception as exc:
            self._failed += 1
            self._fail(exc, posted)
        except BaseException:
            self._break()
            raise
        else:
            self._done += 1
        del self._out[posted]
        self._buffer.done(posted)
        self._slots.release()
        if not self._is_open():
            self._wake_idle()

    def _fail(self, exc: Exception, posted: _Posted) -> None:
        if not isinstance(self._policy, str):
            try:
                refuse_awaitable(self._policy(exc, posted.event, posted.name), self._policy)
            except Exception as raised:
                exc = raised
            else:
                return
        self._failures.append(exc)
        if self._policy != "collect":
            self._break()

    def _break(self) -> None:
        self._broken = True
        self._buffer.close()
        self._cut_off()

    def _cut_off(self) -> None:
        self._group.cancel_scope.cancel()
        self._taking.cancel()
        for scope in self._out.values():
            if scope is not None:
                scope.cancel()
        self._wake_idle()

    def _is_open(self) -> bool:
        return bool(self._out or len(self._buffer) or self._buffer.waiting_senders)

    def _wake_idle(self) -> None:
        idle = self._idle
        self._idle = anyio.Event()
        idle.set()

    # Beginning and end

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.queue(...)`")
        line: Fifo[_Posted] | Lanes[_Posted] = Fifo() if self._ordered_by is None else Lanes(_lane_of)
        full: Overflow = "suspend" if self._overflow == "raise" else self._overflow
        self._buffer: Buffer[_Posted] = Buffer(self, line, self._max_size, full)
        self._slots = anyio.Semaphore(self._workers)
        self._idle = anyio.Event()
        self._taking = anyio.CancelScope(shield=True)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._work)
        self._entered = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        ending = await self._drain(exc)  # noqa: ASYNC102  waiting for the drain is what the end is for
        leftover = self._close()
        # An error of the body is not shown to the group, which would wrap it.
        shown = None if isinstance(ending, Exception) else ending
        try:
            swallowed = await self._group.__aexit__(type(shown) if shown else None, shown, None)  # noqa: ASYNC102  a task group is left
        except BaseException as raised:  # noqa: ASYNC103  raised below, with the errors in hand
            leaving: list[BaseException] = [raised] if ending is None or shown is ending else [ending, raised]
        else:
            leaving = [] if ending is None or (shown is not None and swallowed) else [ending]
        undone = [*self._out, *leftover]
        self._undone = len(undone)
        self._out.clear()
        self._wake_idle()
        if undone and not leaving and not self._broken:
            leaving.append(QueueNotDrained([(posted.name, posted.event) for posted in undone]))
        elif undone:
            # Imported here, since it is needed here alone. The repr, or a kept record would keep the queue.
            import logging

            logging.getLogger("antiphon").warning("%s ended with %d of its events undone", repr(self), len(undone))
        if not self._failures and not leaving:
            return False
        if not self._failures and len(leaving) == 1:
            if leaving[0] is exc:
                return False
            raise leaving[0]
        raise BaseExceptionGroup(f"{self!r} ended", [*self._failures, *leaving]) from None

    async def _drain(self, ending: BaseException | None) -> BaseException | None:
        """Wait until nothing is open, as long as the rules above say. Returns what ends the queue."""
        if self._broken:
            return ending
        seconds = math.inf if self._drain_timeout is None else self._drain_timeout
        deadline = anyio.current_time() + seconds
        if ending is None:
            try:
                with anyio.CancelScope(deadline=deadline):
                    await self._drained()
                return None
            except BaseException as exc:  # noqa: ASYNC103  returned, and raised when the queue has ended
                ending = exc
        if self._drain_timeout is not None and not self._broken:
            with anyio.CancelScope(deadline=deadline, shield=True):
                await self._drained()
        return ending

    async def _drained(self) -> None:
        while not self._broken:
            while self._is_open() and not self._broken:
                await self._idle.wait()
            # Another thread may have posted meanwhile.
            if not self._is_open() and self._buffer.close(if_empty=True):
                return

    def _close(self) -> list[_Posted]:
        self._buffer.close()
        thrown = self._buffer.clear()
        self._undone = len(thrown)
        if thrown or self._out:
            self._cut_off()
        return thrown

    def __repr__(self) -> str:
        return f"<queue of {safe_repr(self._dispatcher)}>"


def _lane_of(posted: _Posted) -> Hashable:
    return posted.lane
