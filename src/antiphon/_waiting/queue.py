"""A queue of events that are dispatched later, by workers that the queue owns.

`Queue` checks arguments, and starts and ends the block. `QueueRunner` dispatches the events.

What stops a queue, and how:

=================================  ====================================================================
the body ends                      the queue drains for at most ``drain_timeout`` seconds; events that
                                   are posted meanwhile are dispatched, too
the body raises, or is cancelled   with a ``drain_timeout``, the queue drains, shielded from
                                   cancellation; without one, or after an interrupt, it stops
                                   immediately
a dispatch breaks the queue        the queue stops immediately, and cancels the body
=================================  ====================================================================

A dispatch breaks the queue if it fails under ``errors="raise"``, if the error function raises an error, or if an
interrupt leaves the dispatch.

Events whose dispatch has not finished when the queue stops are unfinished. If no other exception leaves the block,
`QueueNotDrained` contains them. Otherwise they are logged and counted.

The queue uses two cancel scopes, a task group, and one cancel scope per worker, from the outermost in:

- `_guard` is shielded during a drain after an exception, and always after the drain. While it is shielded, only
  ``task.cancel()`` reaches the task that leaves the block.
- `_group` is the task group of the workers. Each worker runs in its own shielded cancel scope.
- `_body` is the cancel scope of the body, which is cancelled after a failure.

A drain opens another cancel scope for its time limit.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from enum import Enum
from operator import attrgetter
from threading import get_ident
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

import anyio

from antiphon._backend import checkpoint, clear_async_library, unwrap_group
from antiphon._events.event import Event
from antiphon._exceptions import QueueNotDrained
from antiphon._strategies.errors import ErrorPolicy, check_error_policy
from antiphon._types import EventName, Name, Overflow, PlainString
from antiphon._util.arguments import MISSING, documented_by, hides_parameters
from antiphon._util.contexts import AsyncContext
from antiphon._util.naming import publish, safe_repr
from antiphon._util.validation import check_duration, check_limit
from antiphon._waiting.buffer import MAX_BUFFER_SIZE, Buffer, check_overflow
from antiphon._waiting.buffer_order import Fifo, KeyedFifo
from antiphon._waiting.queue_errors import combine_exceptions, is_interrupt, remove_refusals
from antiphon._waiting.queue_item import OrderedBy, QueueItem, QueueStatistics, running_dispatch
from antiphon._waiting.queue_runner import QueueRunner, QueueState

__all__ = ("Queue", "QueueStatistics")

E = TypeVar("E")


class SupportsADispatch(Protocol):
    """The part of a dispatcher that a queue needs."""

    @property
    def adispatch(self) -> Callable[..., Awaitable[Any]]:
        """Call the listeners of an event."""
        ...


class _Documentation:
    """The documented signatures of methods that accept keywords, as ``adispatch`` does."""

    async def post(self: Any, name: Any, event: Any = None, /) -> None:
        raise NotImplementedError

    def post_nowait(self: Any, name: Any, event: Any = None, /) -> None:
        raise NotImplementedError


class Queue(AsyncContext):
    """A queue of events. ``dispatcher.queue(...)`` returns it, and it is used with ``async with``."""

    _usage = "async with dispatcher.queue() as queue:"
    _fixes = MappingProxyType(
        {
            **dict.fromkeys(("put", "send", "adispatch"), "write `await queue.post(name, event)`"),
            **dict.fromkeys(("put_nowait", "send_nowait", "dispatch"), "write `queue.post_nowait(name, event)`"),
            **dict.fromkeys(("get", "get_nowait", "receive"), "the queue dispatches its events to the listeners"),
            **dict.fromkeys(("qsize", "empty", "full"), "write `queue.statistics()`"),
            **dict.fromkeys(("close", "aclose", "shutdown"), "the end of the `async with` block closes it"),
        }
    )

    @hides_parameters
    def __init__(
        self,
        dispatcher: SupportsADispatch,
        resolve_arguments: Callable[[Any, Any], tuple[Hashable, Any]],
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
        self._resolve_arguments = resolve_arguments
        self._options = options
        self._max_size = check_limit(max_buffer_size, MAX_BUFFER_SIZE)
        self._max_workers = check_limit(workers, "workers= is how many events may be dispatched at a time")
        self._overflow: Overflow = check_overflow(overflow)
        self._policy: ErrorPolicy = check_error_policy(errors, "name")
        self._ordered_by = OrderedBy(ordered_by)
        if drain_timeout is not None:
            meaning = "drain_timeout= is how long the end may take, in seconds"
            drain_timeout = check_duration(drain_timeout, meaning, zero=True)
        # Treat infinity like None, because the shielded drain after an error must end.
        self._drain_timeout = None if drain_timeout == math.inf else drain_timeout
        # None until the block is entered.
        self._runner: QueueRunner | None = None

    @overload
    async def post(self, name: PlainString | Enum | EventName[Event], event: None = None, /) -> None: ...
    @overload
    async def post(self, event: object, /) -> None: ...
    @overload
    async def post(self, name: EventName[E], event: E, /) -> None: ...
    @overload
    async def post(self, name: Name, event: object, /) -> None: ...
    @documented_by(_Documentation.post)
    async def post(self, name: Any = MISSING, event: Any = None) -> None:
        """Add an event, to be dispatched later. Wait while the queue is full, if ``overflow="suspend"``.

        This is always a checkpoint. The dispatch runs in a copy of the current context. If the call is cancelled, the
        event has not been added.

        Args:
            name: The same as for ``adispatch``.
            event: The same as for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: If a failed dispatch, the error function, or an interrupt has stopped the queue.
                That exception is the cause.
            anyio.ClosedResourceError: If the queue has ended.
            anyio.WouldBlock: If the queue is full, and its ``overflow`` is ``"raise"``.
            RuntimeError: If the queue has not been entered. If it is full, and ``post`` runs in another event loop than
                the queue, or would block the last free worker.
            TypeError: If ``adispatch`` would raise it, or ``ordered_by`` returned an invalid key.
        """
        await checkpoint()
        runner = self._get_runner()
        item = self._make_item(runner, name, event)
        if runner.put_nowait(item):
            return
        if self._overflow == "raise":
            raise self._make_full_error()
        await runner.put(item)

    @overload
    def post_nowait(self, name: PlainString | Enum | EventName[Event], event: None = None, /) -> None: ...
    @overload
    def post_nowait(self, event: object, /) -> None: ...
    @overload
    def post_nowait(self, name: EventName[E], event: E, /) -> None: ...
    @overload
    def post_nowait(self, name: Name, event: object, /) -> None: ...
    @documented_by(_Documentation.post_nowait)
    def post_nowait(self, name: Any = MISSING, event: Any = None) -> None:
        """Add an event without waiting, to be dispatched later. This can be called from any thread.

        Args:
            name: The same as for ``adispatch``.
            event: The same as for ``adispatch``.

        Raises:
            anyio.BrokenResourceError: If a failed dispatch, the error function, or an interrupt has stopped the queue.
                That exception is the cause.
            anyio.ClosedResourceError: If the queue has ended.
            anyio.WouldBlock: If the queue is full, and its ``overflow`` does not drop events.
            RuntimeError: If the queue has not been entered.
            TypeError: If ``adispatch`` would raise it, or ``ordered_by`` returned an invalid key.
        """
        runner = self._get_runner()
        if not runner.put_nowait(self._make_item(runner, name, event)):
            raise self._make_full_error()

    async def join(self) -> None:
        """Wait until all events have been dispatched, including those posted meanwhile. This is always a checkpoint.

        Raises:
            anyio.BrokenResourceError: If a failed dispatch, the error function, or an interrupt has stopped the queue.
                That exception is the cause.
            anyio.ClosedResourceError: If the queue has ended with unfinished events.
            RuntimeError: If the queue has not been entered. If ``join`` would wait in another event loop than the
                queue, or runs in a listener of the queue, where it would never return.
        """
        await checkpoint()
        running = running_dispatch.get()
        if running is not None and running.queue is self:
            raise RuntimeError(
                f"join() waits until {self!r} has dispatched all events; it was called in a listener that the queue "
                f"runs, or in a task of such a listener, and would never return: call it outside the listeners"
            )
        runner = self._get_runner()
        while True:
            if runner.unfinished or runner.state is QueueState.BROKEN:
                runner.refuse()
            if not runner.has_work():
                return
            runner.buffer.check_owner_loop("is busy", "post only")
            await runner.wait_for_change()

    def statistics(self) -> QueueStatistics:
        """Return the state and the counters of the queue.

        Raises:
            RuntimeError: If the queue has not been entered.
        """
        runner = self._get_runner()
        buffer = runner.buffer
        return QueueStatistics(
            posted=buffer.accepted,
            done=runner.done,
            failed=runner.failed,
            dropped=buffer.dropped,
            unfinished=runner.unfinished,
            running=len(runner.in_progress),
            current_buffer_used=len(buffer),
            max_buffer_size=buffer.max_size,
            posts_waiting=buffer.waiting_senders,
        )

    def _make_full_error(self) -> anyio.WouldBlock:
        return anyio.WouldBlock(
            f"{self!r} is full: {self._max_size} events wait; `await queue.post(...)` with overflow='suspend' "
            f"waits for space"
        )

    def _get_runner(self) -> QueueRunner:
        if self._runner is None:
            raise RuntimeError(f"{self!r} has not been entered; write `async with dispatcher.queue(...)`")
        return self._runner

    def _make_item(self, runner: QueueRunner, name: Any, event: Any) -> QueueItem:
        if runner.state is not QueueState.OPEN:
            runner.refuse()
        dispatch_name, dispatched = self._resolve_arguments(name, event)
        arguments = (dispatched,) if event is None and dispatch_name is None else (dispatch_name, dispatched)
        item = QueueItem(arguments, self._ordered_by.get_key(dispatched))
        if get_ident() != runner.thread_id:
            clear_async_library(item.context)
        return item

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError(f"{self!r} has been used; write a new `async with dispatcher.queue(...)`")
        # A single worker keeps the order of all events.
        has_keys = self._ordered_by.function is not None and self._max_workers > 1
        order: Fifo[QueueItem] | KeyedFifo[QueueItem] = KeyedFifo(attrgetter("key")) if has_keys else Fifo()
        # Under "raise", `post` raises the error itself.
        overflow: Overflow = "suspend" if self._overflow == "raise" else self._overflow
        buffer: Buffer[QueueItem] = Buffer(self, order, self._max_size, overflow)
        dispatcher, options = self._dispatcher, self._options

        def dispatch(item: QueueItem) -> Awaitable[Any]:
            # Not a method: the runner must not refer to the queue, which refers to it.
            return dispatcher.adispatch(*item.arguments, **options)

        self._guard, self._body = anyio.CancelScope(), anyio.CancelScope()
        self._group = anyio.create_task_group()
        self._guard.__enter__()
        await self._group.__aenter__()
        self._runner = QueueRunner(
            self,
            dispatch=dispatch,
            buffer=buffer,
            policy=self._policy,
            max_workers=self._max_workers,
            group=self._group,
            body=self._body,
        )
        self._runner.start_worker()
        self._body.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        runner = self._get_runner()
        exceptions = self._exit_body(exc, runner)
        await self._drain(exceptions, runner)  # noqa: ASYNC102  the end of the block waits for the drain
        if runner.state is QueueState.OPEN:
            runner.stop(QueueState.ENDED)
        pending = runner.discard_pending()
        try:
            await self._group.__aexit__(None, None, None)  # noqa: ASYNC102  the exit of a task group
        except BaseException as raised:  # noqa: ASYNC103  raised below, with the other exceptions
            exceptions.append(unwrap_group(raised))
        finally:
            self._guard.__exit__(None, None, None)
        if runner.broken_by is not None and not isinstance(runner.broken_by, Exception):
            exceptions.append(runner.broken_by)
        self._report_unfinished([*runner.discard_in_progress(), *pending], exceptions, runner.state)
        combined = combine_exceptions(f"{self!r} ended", runner.failures, exceptions)
        try:
            if combined is not None and combined is not exc:
                raise combined
            # If there is no exception, suppress the cancellation with which the queue has ended the body.
            return combined is None
        finally:
            # A frame that references an exception creates a reference cycle.
            del combined, exc
            exceptions.clear()
            runner.failures.clear()

    def _exit_body(self, exc: BaseException | None, runner: QueueRunner) -> list[BaseException]:
        """Exit the scope of the body, which catches its own cancellation. Return the exceptions that remain."""
        try:
            if self._body.__exit__(None if exc is None else type(exc), exc, None):
                return []
        except BaseException as raised:  # noqa: ASYNC103  the rest of a group
            remaining = [raised]
        else:
            remaining = [] if exc is None else [exc]
        if runner.state is not QueueState.BROKEN:
            return remaining
        # The body may have used the queue after a dispatch had stopped it.
        return [rest for raised in remaining if (rest := remove_refusals(raised, self)) is not None]

    async def _drain(self, exceptions: list[BaseException], runner: QueueRunner) -> None:
        """Wait until the queue is idle, as the table above says. Add the exceptions that are raised meanwhile."""
        deadline = math.inf if self._drain_timeout is None else anyio.current_time() + self._drain_timeout
        while not exceptions or (self._drain_timeout is not None and not any(map(is_interrupt, exceptions))):
            self._guard.shield = bool(exceptions)
            try:
                with anyio.CancelScope(deadline=deadline):
                    await runner.drain()
                break
            except BaseException as exc:  # noqa: ASYNC103  raised when the queue has ended
                exceptions.append(exc)
        self._guard.shield = True

    def _report_unfinished(
        self, unfinished: list[QueueItem], exceptions: list[BaseException], state: QueueState
    ) -> None:
        """Add a `QueueNotDrained` if there is no other exception. Otherwise log a warning."""
        if not unfinished:
            return
        if not exceptions and state is QueueState.ENDED:
            exceptions.append(QueueNotDrained([(item.name, item.event) for item in unfinished]))
        else:
            # Imported here, because it is rarely needed. Format the queue now: a stored log record would keep it alive.
            import logging

            logging.getLogger("antiphon").warning(
                "%s ended with %d of its events unfinished", repr(self), len(unfinished)
            )

    def __repr__(self) -> str:
        return f"<queue of {safe_repr(self._dispatcher)}>"


publish("antiphon", AsyncContext, Queue)
