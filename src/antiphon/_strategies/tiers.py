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
from itertools import islice
from operator import length_hint
from types import TracebackType
from typing import Any, Final, cast

from antiphon._backend import (
    drop_scope_requests,
    is_cancellation,
    is_cancelled_by_scope,
    leave_idle_task_group,
    make_cancellation,
    no_op,
    open_task_group,
    unwrap_group,
)
from antiphon._listeners.subscription import Subscription
from antiphon._strategies.cancellation import CancellationWatch, WorkerWatch
from antiphon._strategies.driver import drive, run_first_step_in, set_current_watch
from antiphon._strategies.errors import ErrorCollector, handle_exception

__all__ = ("TierRunner",)

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
    # Whether a race is closed: no further listener starts, and none can win any longer.
    _is_closed = False
    # A native cancellation that left a listener. A task group would mistake it for its own, and drop it.
    _native_cancellation: BaseException | None = None

    def __init__(
        self, event: Any, collector: ErrorCollector, watch: CancellationWatch, limit: int | None = None
    ) -> None:
        self._event = event
        self._collector = collector
        self._watch = watch
        # How many more tasks may be started. The caller's task also runs listeners, so subtract one.
        self._available_tasks = sys.maxsize if limit is None else limit - 1
        # How many tasks were started, and have not finished.
        self._running_tasks = 0
        # On asyncio, the future for which the caller's task waits until they have finished.
        self._tasks_finished: Any = None
        self._worker_watch: Any = None
        # Whether a listener waited or raised an error. Only then can a cancellation have arrived during the tier.
        self._may_be_cancelled = False

    async def run(self, listeners: tuple[Subscription, ...], trio: Any) -> bool:
        """Run the listeners, and wait until the last has finished.

        Args:
            listeners: The subscriptions.
            trio: The module `trio`, or None on asyncio.

        Returns:
            Whether the dispatch may have been cancelled during the tier.

        Raises:
            BaseException: If it is a cancellation or an interrupt.
        """
        watch = self._watch
        self._pending = iter(listeners)
        # Listeners in the caller's task run in copies of this context.
        self._context = context = copy_context()
        context.run(set_current_watch, watch)
        self._manager, self._start_task, self._is_cancelled = open_task_group(trio)
        exc: BaseException | None = None
        try:
            async with self if trio is None else self._manager as self._group:
                await self._run_listeners(watch, context)
                if trio is None and self._running_tasks:
                    await self._wait_for_tasks()
        except BaseException as group:  # noqa: ASYNC103  raised below, where it gets no context
            exc = unwrap_group(group)
        if trio is None:
            watch.on_tasks_finished()
            if self._worker_watch is not None:
                self._worker_watch.finish()
        if exc is not None or trio is None:
            exc = self._choose_exception(exc)
            # A listener can request a cancellation of its task and return before it is delivered. Then the exit of the
            # task group has received the cancellation, and that request has not been taken back yet.
            watch.uncancel_own_requests()
        if exc is not None:
            try:
                raise exc
            finally:
                # A frame that references an exception creates a reference cycle.
                self._native_cancellation = None
                del exc
        # On Trio, only the cancel scopes around the task can be cancelled.
        return self._may_be_cancelled and (trio is None or self._is_cancelled(self._group.parent_task))

    def __aenter__(self) -> Awaitable[Any]:
        return self._manager.__aenter__()

    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[bool | None]:
        """Leave the task group on asyncio."""
        watch = self._watch
        if (
            exc is None
            and not self._running_tasks
            # A listener that has cancelled its own task is cancelled in `__aexit__`, as it would be in its own task.
            and not watch.has_undelivered_cancellation()
            and leave_idle_task_group(self._manager)
        ):
            return no_op()
        # Watch the requests to cancel the caller's task while that task waits for others.
        watch.on_wait_for_tasks()
        return drive(cast("Any", self._manager.__aexit__(exc_type, exc, traceback)), watch)

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
                self._may_be_cancelled = has_waited = True
                if self._worker_watch is None:
                    self._start_workers()
                await remainder
                watch.uncancel_own_requests()
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
                has_waited = True
                try:
                    self._handle_exception(exc, subscription, watch)
                finally:
                    watch.uncancel_own_requests()

    def _wait_for_tasks(self) -> Awaitable[None]:
        # The `__aexit__` of AnyIO's group opens another cancel scope, and returns an iteration of the event loop later.
        watch = self._watch
        watch.on_wait_for_tasks()
        self._tasks_finished = watch.task.get_loop().create_future()
        return drive(self._tasks_finished.__await__(), watch)

    async def _run_worker(self, subscription: Subscription) -> None:
        # A new task has a copy of the context already.
        watch = self._worker_watch
        try:
            # If the dispatch is cancelled, so is the group.
            if self._is_closed or self._is_cancelled(self._group.cancel_scope):
                return
            if length_hint(self._pending):
                self._spawn_workers()
            try:
                await self._get_call(subscription, watch)(self._event)
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
                self._handle_exception(exc, subscription, watch)
            if length_hint(self._pending):
                watch.uncancel_own_requests()
                if not self._should_stop():
                    await self._run_listeners(watch, self._worker_context)
        except BaseException as exc:  # noqa: ASYNC103  the caller's task raises the cancellation
            # The caller's task is cancelled as well, or finds `_native_cancellation`.
            if not is_cancellation(exc):
                # The task group cancels the caller's task, which must not return before.
                self._running_tasks += 1
                raise
        finally:
            if self._watch.task is not None:
                self._finish_asyncio_task()

    def _finish_asyncio_task(self) -> None:
        if drop_scope_requests():
            # The task ends with a cancellation. The task group then cancels the caller's task.
            return
        self._running_tasks -= 1
        if self._running_tasks:
            return
        finished = self._tasks_finished
        if finished is not None and not finished.done():
            finished.set_result(None)

    def _start_workers(self) -> None:
        if not (length_hint(self._pending) and self._available_tasks):
            return
        # On Trio, the watch observes nothing, so all listeners can share it.
        self._worker_watch = watch = self._watch
        # Listeners in other tasks run in copies of this context.
        self._worker_context = context = self._context
        if watch.task is not None:
            watch.on_tasks_started(self._group.cancel_scope)
            self._worker_watch = WorkerWatch(watch)
            self._worker_context = context = context.copy()
            context.run(set_current_watch, self._worker_watch)
        context.run(self._spawn_workers)

    def _spawn_workers(self) -> None:
        # This runs in the context of the workers, which each of them copies.
        # Start two. With one, each listener that waits would delay all later ones by an iteration of the event loop.
        count = min(2, self._available_tasks)
        self._available_tasks -= count
        for subscription in islice(self._pending, count):
            self._running_tasks += 1
            self._start_task(self._group, self._run_worker, subscription, _WORKER_NAME)

    def _should_stop(self) -> bool:
        return self._is_closed or self._watch.is_cancelled or self._is_cancelled(self._group.cancel_scope)

    def _get_call(self, subscription: Subscription, watch: CancellationWatch) -> Callable[[Any], Any]:
        return subscription.call

    def _handle_exception(self, exc: BaseException, subscription: Subscription, watch: CancellationWatch) -> None:
        try:
            if handle_exception(exc, subscription, self._collector, watch):
                self._cancel_tier()
            self._may_be_cancelled = True
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
