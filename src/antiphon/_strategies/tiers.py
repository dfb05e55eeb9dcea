"""Running the listeners of one tier concurrently, with as few tasks as possible.

The caller's task is the first worker. A worker calls one listener after another, as long as they return without
suspending. When a listener has to wait, its worker stays with it, and two more workers are started in a task group for
the remaining listeners. Each of these starts two more workers before it calls its first listener, as long as there are
enough listeners. Such a tree of workers starts the last of a hundred listeners after a few iterations of the event
loop. Ten listeners that return without suspending need no additional task.

The module `driver` says what a step of a listener is, and the module `cancellation` what a native cancellation is.

Invariants:

- Each listener runs in one task from start to end, in its own copy of the caller's context. After its first step a
  listener never moves to another task, because its cancel scopes belong to the first one.
- The task group is open before the first step, so that the cancel scopes of a listener are nested in it.
- An exception is handled in the task of its listener, where the scopes around the listener can still be read. The task
  group never receives an error, only cancellations and interrupts.
- The ``call`` of a subscription is read when the listener starts, so that a removed listener does not start.
- A tier returns only when all its listeners have finished.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from operator import length_hint
from types import TracebackType
from typing import Any, Final, cast

from antiphon._backend import (
    drop_scope_requests,
    is_cancellation,
    is_cancelled_by_scope,
    leave_unused_task_group,
    make_cancellation,
    no_op,
    open_task_group,
    unwrap_group,
)
from antiphon._listeners.subscription import Subscription
from antiphon._strategies.cancellation import CancellationWatch, WorkerWatch, current_watch
from antiphon._strategies.driver import drive, run_first_step_in
from antiphon._strategies.errors import ErrorCollector, handle_exception

__all__ = ("TierRunner",)

_EMPTY_CONTEXT: Final = Context()
_WORKER_NAME: Final = f"{__name__}.TierRunner._run_worker"


class TierRunner:
    """Runs the listeners of one tier.

    Args:
        event: The argument of the listeners.
        collector: The collector of their errors.
        watch: The watch of the caller's task.
        limit: How many listeners may run at a time, or None for no limit.
    """

    _event: Any

    def __init__(
        self, event: Any, collector: ErrorCollector, watch: CancellationWatch, limit: int | None = None
    ) -> None:
        self._event = event
        self._collector = collector
        self._watch = watch
        # How many more tasks may be started. The caller's task also runs listeners, so subtract one.
        self._available_tasks = sys.maxsize if limit is None else limit - 1
        # How many tasks were started, but have not run yet.
        self._starting_tasks = 0
        self._worker_watch: CancellationWatch | None = None
        # Whether a race is closed: no further listener starts, and none can win any longer.
        self._is_closed = False
        #: Whether a listener waited or raised an error. Only then can a cancellation have arrived during the tier.
        self.may_be_cancelled = False
        # A native cancellation that left a listener. A task group would mistake it for its own, and drop it.
        self._native_cancellation: BaseException | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has finished.

        Raises:
            BaseException: If it is a cancellation or an interrupt.
        """
        self._pending = iter(listeners)
        # Listeners in the caller's task run in copies of `_context`. Listeners in other tasks run in copies of
        # `_worker_context`.
        self._context = self._worker_context = copy_context()
        self._context.run(current_watch.set, self._watch)
        exc: BaseException | None = None
        try:
            async with self as self._group:
                await self._run_listeners(self._watch, self._context)
        except BaseException as group:  # noqa: ASYNC103  raised below, where it gets no context
            exc = unwrap_group(group)
        finally:
            if self._worker_watch is not None and self._worker_watch is not self._watch:
                self._worker_watch.finish()
            # Stop observers keep the tier alive after the dispatch. They do not keep the values of the context alive.
            self._context = self._worker_context = _EMPTY_CONTEXT
        self._watch.on_tasks_finished()
        exc, self._native_cancellation = self._choose_exception(exc), None
        # A listener can request a cancellation of its task and return before it is delivered. Then the exit of the task
        # group has received the cancellation, and that request has not been taken back yet.
        self._watch.uncancel_own_requests()
        if exc is not None:
            try:
                raise exc
            finally:
                # A frame that references an exception creates a reference cycle.
                del exc

    def __aenter__(self) -> Awaitable[Any]:
        self._manager, self._start_task, self._is_cancelled = open_task_group(self._watch.trio)
        return self._manager.__aenter__()

    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[bool | None]:
        watch = self._watch
        # If no listener waited or failed, no task was started.
        is_unused = exc is None and not self.may_be_cancelled
        # A listener that has cancelled its own task is cancelled in `__aexit__`, as it would be in its own task.
        if is_unused and not watch.has_undelivered_cancellation() and leave_unused_task_group(self._manager):
            return no_op()
        coro: Any = self._manager.__aexit__(exc_type, exc, traceback)
        # Watch the requests to cancel the caller's task while that task waits for others.
        return drive(coro, watch) if watch.on_wait_for_tasks() else coro

    def _choose_exception(self, exc: BaseException | None) -> BaseException | None:
        """Choose what leaves the tier.

        Args:
            exc: The exception that left the task group, or None.
        """
        if exc is not None and not is_cancellation(exc):
            return exc
        if self._watch.is_cancelled:
            return exc or self._watch.make_cancellation()
        if self._native_cancellation is not None:
            return exc or self._native_cancellation
        if self._collector.is_finished:
            # Without a request, drop the cancellation. After the error of another listener, a failed
            # `asyncio.TaskGroup` took back the request that cancelled its task, and made it again.
            return exc if self._watch.has_own_request() or is_cancelled_by_scope() else None
        if exc is None and self._group.cancel_scope.cancel_called:
            # A task was cancelled before its first step or after its last one, so no listener received it.
            return make_cancellation()
        return exc

    async def _run_listeners(self, watch: CancellationWatch, context: Context) -> None:
        event = self._event
        has_waited = False
        for subscription in self._pending:
            if has_waited:
                if self._should_stop():
                    break
                has_waited = False
            try:
                remainder = run_first_step_in(context.copy(), self._get_call(subscription, watch), event, watch)
                if remainder is None:
                    if self._is_closed:
                        break
                    continue
                self.may_be_cancelled = has_waited = True
                if self._worker_watch is None:
                    self._start_workers()
                await remainder
                watch.uncancel_own_requests()
                # Tasks that are about to start need listeners.
                if length_hint(self._pending) <= self._starting_tasks:
                    break
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
                has_waited = True
                try:
                    self._handle_exception(exc, subscription, watch)
                finally:
                    watch.uncancel_own_requests()

    async def _run_worker(self) -> None:
        self._starting_tasks -= 1
        if self._should_stop():
            return
        subscription = next(self._pending, None)
        if subscription is None:
            return
        if self._available_tasks and length_hint(self._pending) > self._starting_tasks:
            self._spawn_workers()
        # A new task has a copy of the context already.
        watch = cast("CancellationWatch", self._worker_watch)
        try:
            try:
                await self._get_call(subscription, watch)(self._event)
                if length_hint(self._pending) <= self._starting_tasks:
                    return
                watch.uncancel_own_requests()
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
                self._handle_exception(exc, subscription, watch)
                watch.uncancel_own_requests()
            if not self._should_stop():
                await self._run_listeners(watch, self._worker_context)
        except BaseException as exc:  # noqa: ASYNC103  the caller's task raises the cancellation
            # The caller's task is cancelled as well, or finds `_native_cancellation`.
            if not is_cancellation(exc):
                raise
        finally:
            if self._watch.task is not None:
                drop_scope_requests()

    def _start_workers(self) -> None:
        if length_hint(self._pending) and self._available_tasks:
            self._watch.on_tasks_started(self._group.cancel_scope)
            self._worker_watch = self._watch
            # On Trio, the watch observes nothing, so all listeners can share it.
            if self._watch.task is not None:
                self._worker_watch = WorkerWatch(self._watch)
                self._worker_context = self._context.copy()
                self._worker_context.run(current_watch.set, self._worker_watch)
            self._worker_context.run(self._spawn_workers)

    def _spawn_workers(self) -> None:
        # This runs in the context of the workers, which each of them copies.
        # Start two. With one, each listener that waits would delay all later ones by an iteration of the event loop.
        count = min(2, length_hint(self._pending) - self._starting_tasks, self._available_tasks)
        self._available_tasks -= count
        self._starting_tasks += count
        for _ in range(count):
            self._start_task(self._group, self._run_worker, _WORKER_NAME)

    def _should_stop(self) -> bool:
        return self._is_closed or self._watch.is_cancelled or self._is_cancelled(self._group.cancel_scope)

    def _get_call(self, subscription: Subscription, watch: CancellationWatch) -> Callable[[Any], Any]:
        return subscription.call

    def _handle_exception(self, exc: BaseException, subscription: Subscription, watch: CancellationWatch) -> None:
        try:
            if handle_exception(exc, subscription, self._collector, watch):
                self._cancel_tier()
            self.may_be_cancelled = True
        except BaseException as raised:
            if is_cancellation(raised) and not is_cancelled_by_scope():
                self._native_cancellation = raised
                self._cancel_tier()
            raise
        finally:
            # A frame that references an exception creates a reference cycle.
            del exc

    def _cancel_tier(self) -> None:
        self._group.cancel_scope.cancel()
