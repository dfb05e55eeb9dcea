"""Running the listeners of one tier together.

Work comes first, and tasks only where there is something to wait for. The caller's task is the first worker: it takes
the first step of one listener after another, as long as each ends in it. When one has to wait, its worker stays
with it, and two more are started in a task group for those that are left. These start two more each before
they begin, as long as there are listeners for all, so that the last of a hundred starts after a few turns of the
event loop. Ten listeners that return at once take no task, and a hundred of which ten wait take about twenty.

Rules that its editors keep:

- Each listener runs in one task from start to end, in its own copy of the caller's context variables. One
  that has taken its first step never moves to another task: its cancel scopes belong to the first.
- The task group is open before the first step, so that a listener's own scopes lie within it.
- What leaves a listener is judged in its own task, where the scopes around it can still be asked. The task
  group never sees an error, only cancellations and interrupts.
- What a listener is called with is read when it starts, so that one removed meanwhile does not start.
- A tier returns only when all its listeners have ended.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from operator import length_hint
from types import TracebackType
from typing import Any, Final, cast

from antiphon._backend import (
    forget_requests,
    is_cancellation,
    is_cancelled_by_scope,
    make_cancellation,
    open_task_group,
    unwrap_group,
)
from antiphon._listeners.subscription import Subscription
from antiphon._strategies.cancellation import CancellationWatch, WorkerWatch, current_watch
from antiphon._strategies.driver import drive, run_first_step_in
from antiphon._strategies.errors import ErrorCollector, handle_exception

__all__ = ("TierRunner", "call_listener")


_EMPTY_CONTEXT: Final = Context()


class TierRunner:
    """The run of a tier.

    Args:
        event: The argument of the listeners.
        collector: Collects their errors.
        watch: The requests to cancel the caller's task.
        limit: How many listeners may run at a time; None for no limit.
    """

    _event: Any

    def __init__(
        self, event: Any, collector: ErrorCollector, watch: CancellationWatch, limit: int | None = None
    ) -> None:
        self._event = event
        self._collector = collector
        self._watch = watch
        # How many more tasks may run listeners; one is the caller's.
        self._available_tasks = sys.maxsize if limit is None else limit - 1
        # How many tasks were started and have not had their first turn.
        self._starting_tasks = 0
        self._worker_watch: WorkerWatch | None = None
        # Whether no further listener starts.
        self._is_finished = False
        #: Whether a listener had to wait, or raised an error. Only then the dispatch may have been cancelled meanwhile.
        self.has_waited = False
        # A native cancellation of one listener's own task, which a task group would take for one of its own.
        self._native_cancellation: BaseException | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has finished.

        Raises:
            BaseException: A cancellation or an interrupt.
        """
        self._pending = iter(listeners)
        # The caller's context, in which its task runs listeners, and the one in which other tasks do.
        self._context = self._worker_context = copy_context()
        self._context.run(current_watch.set, self._watch)
        left: BaseException | None = None
        try:
            async with _WatchedTaskGroup(self._watch) as self._group:
                await self._run_listeners(self._watch, self._context)
        except BaseException as exc:  # noqa: ASYNC103  raised below, where it gets no context
            left = unwrap_group(exc)
        finally:
            if self._worker_watch is not None:
                self._worker_watch.finish()
            # Stop observers keep the tier alive after the dispatch. They do not keep the values of the context alive.
            self._context = self._worker_context = _EMPTY_CONTEXT
        self._watch.stop_tasks()
        left, self._native_cancellation = self._find_cancellation(left), None
        self._watch.settle()
        if left is not None:
            try:
                raise left
            finally:
                # A frame that refers to an exception makes a cycle.
                del left

    def _find_cancellation(self, left: BaseException | None) -> BaseException | None:
        if left is not None and not is_cancellation(left):
            return left
        if self._watch.is_cancelled:
            return left or self._watch.make_cancellation()
        if self._native_cancellation is not None:
            return left or self._native_cancellation
        if self._collector.is_finished:
            # A listener may leave a request behind that is none: a failed `asyncio.TaskGroup` takes the request back
            # that cancelled its task for the error of another listener, and makes it once more.
            return left if self._watch.has_own_request() or is_cancelled_by_scope() else None
        if left is None and self._group.cancel_scope.cancel_called:
            # A task was cancelled before its first step or after its last one, where no listener could see it.
            return make_cancellation()
        return left

    async def _run_listeners(self, watch: CancellationWatch, context: Context) -> None:
        event = self._event
        is_shared = watch is not self._watch
        for subscription in self._pending:
            try:
                remainder = run_first_step_in(context.copy(), self._get_call(subscription, watch), event, watch)
                if remainder is None:
                    if self._is_finished:
                        break
                    continue
                self.has_waited = True
                if not is_shared:
                    is_shared = True
                    self._start_workers()
                await remainder
                watch.settle()
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises what is not an error
                try:
                    self._handle_exception(exc, subscription, watch)
                finally:
                    watch.settle()
            if self._can_start_no_more():
                break

    async def _run_worker(self) -> None:
        self._starting_tasks -= 1
        if self._can_start_no_more():
            return
        subscription = next(self._pending, None)
        if subscription is None:
            return
        self._spawn_workers()
        # A new task has a copy of the context already.
        watch = cast("WorkerWatch", self._worker_watch)
        try:
            try:
                await self._get_call(subscription, watch)(self._event)
                watch.settle()
                if not length_hint(self._pending):
                    return
            except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises what is not an error
                self._handle_exception(exc, subscription, watch)
                watch.settle()
            if not self._can_start_no_more():
                await self._run_listeners(watch, self._worker_context)
        except BaseException as exc:  # noqa: ASYNC103  a cancellation ends at the task that it was for
            # The caller's task meets a cancellation itself, or finds what was noted.
            if not is_cancellation(exc):
                raise
        finally:
            forget_requests()

    def _start_workers(self) -> None:
        if length_hint(self._pending) and self._available_tasks:
            self._watch.start_tasks(self._group.cancel_scope)
            self._worker_watch = WorkerWatch(self._watch)
            self._worker_context = self._context.copy()
            self._worker_context.run(current_watch.set, self._worker_watch)
            self._spawn_workers()

    def _spawn_workers(self) -> None:
        # Two at a time: one alone would let each listener that waits delay all that come after it by a turn.
        for _ in range(min(2, length_hint(self._pending) - self._starting_tasks, self._available_tasks)):
            self._available_tasks -= 1
            self._starting_tasks += 1
            # A copy, because an eager task takes its first step in it, and spawns others.
            self._worker_context.copy().run(self._group.start_soon, self._run_worker)

    def _can_start_no_more(self) -> bool:
        return self._is_finished or self._watch.is_cancelled or is_cancelled_by_scope()

    def _get_call(self, subscription: Subscription, watch: CancellationWatch) -> Callable[[Any], Any]:
        # Read when the listener starts: a listener that was removed has another one.
        return subscription.call

    def _handle_exception(self, exc: BaseException, subscription: Subscription, watch: CancellationWatch) -> None:
        try:
            if handle_exception(exc, subscription, self._collector, watch):
                self._cancel_tier()
            self.has_waited = True
        except BaseException as left:
            if is_cancellation(left) and not is_cancelled_by_scope():
                self._native_cancellation = left
                self._cancel_tier()
            raise
        finally:
            # A frame that refers to an exception makes a cycle.
            del exc

    def _cancel_tier(self) -> None:
        self._is_finished = True
        self._group.cancel_scope.cancel()


class _WatchedTaskGroup:
    """A task group that the caller's task leaves with a watch on the requests to cancel it."""

    def __init__(self, watch: CancellationWatch) -> None:
        self._manager: AbstractAsyncContextManager[Any] = open_task_group()
        self._watch = watch

    def __aenter__(self) -> Awaitable[Any]:
        return self._manager.__aenter__()

    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[bool | None]:
        leaving: Any = self._manager.__aexit__(exc_type, exc, traceback)
        return drive(leaving, self._watch) if self._watch.wait_for_tasks() else leaving


async def call_listener(subscription: Subscription, event: Any) -> None:
    await subscription.call(event)
