"""Running the listeners of one tier together, in the tasks of an anyio task group.

Rules that its editors keep:

- Each listener runs in one task from start to end, in its own copy of the caller's context variables.
- What leaves a listener is judged in its own task, where the scopes around it can still be asked. The task
  group never sees an error, only cancellations and interrupts.
- What a listener is called with is read when it starts, so that one removed meanwhile does not start.
- A tier returns only when all its tasks have ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from threading import get_ident
from types import coroutine
from typing import Any

import anyio

from antiphon._backend import is_cancellation, scope_is_cancelled
from antiphon._events import Event, Service, stop_observer
from antiphon._listeners import Subscription
from antiphon._policies import Failures, as_error

__all__ = ("RacingTier", "Tier")


class Tier:
    """The run of one tier, in a task group.

    Args:
        event: What the listeners are given.
        failures: Takes their errors.
        limit: How many listeners may run at a time; None for no limit.
    """

    def __init__(self, event: Any, failures: Failures, limit: int | None = None) -> None:
        self._event = event
        self._failures = failures
        self._limit = None if limit is None else anyio.Semaphore(limit, fast_acquire=True)
        # A native cancellation of one listener's own task, which a task group would take for one of its own.
        self._stray: BaseException | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Start the listeners together, and wait until the last has ended.

        Raises:
            BaseException: A cancellation or an interrupt, in a group with the errors in hand.
        """
        try:
            async with anyio.create_task_group() as group:
                self._scope = group.cancel_scope
                for subscription in listeners:
                    group.start_soon(self._attend, subscription)
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            self._failures.leave_with(exc)
        if self._stray is not None:
            self._failures.leave_with(self._stray)

    async def _attend(self, subscription: Subscription) -> None:
        if self._limit is None:
            await self._run_one(subscription)
        else:
            async with self._limit:
                # Judged before its place is given on, so that whom a failure cancels is not started.
                await self._run_one(subscription)

    async def _run_one(self, subscription: Subscription) -> None:
        try:
            await self._call(subscription)
        except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
            self._judge(exc, subscription)

    async def _call(self, subscription: Subscription) -> None:
        # An error may have ended the tier before this task got its turn: then nobody starts any more.
        if not self._failures.ended:
            await subscription.call(self._event)

    def _judge(self, exc: BaseException, subscription: Subscription) -> None:
        error = as_error(exc, subscription)
        if error is None:
            exc = self._failures.held_back(exc, subscription)
            if is_cancellation(exc) and not scope_is_cancelled():
                self._stray = exc
                self._end()
            raise exc
        if self._failures.take(error, subscription) is not None:
            self._end()

    def _end(self) -> None:
        self._scope.cancel()


class RacingTier(Tier):
    """The run of one tier in which the listener that stops the event wins.

    Two things tell that a listener stopped the event: its flag is up after a step of the listener (which sees every
    way to stop it), and `stop_observer` (which also sees helper tasks and worker threads of the listener).
    """

    def __init__(self, event: Any, failures: Failures, service: Service) -> None:
        super().__init__(event, failures)
        self._service = service
        # A stop speaks to the dispatch that runs: one in a dispatch of the same event by a listener is none of ours.
        self._depth = service.depth(event)
        self._scopes: dict[Subscription, anyio.CancelScope] = {}
        self._thread = get_ident()
        self._token = anyio.lowlevel.current_token()
        self._over = False
        self.winner: Subscription | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Start the listeners together, and wait until the last has ended."""
        try:
            await super().run(listeners)
        finally:
            self._over = True

    async def _call(self, subscription: Subscription) -> None:
        if self._over:
            return

        def observe(event: Event) -> None:
            if event is not self._event or self._over or self._service.depth(event) != self._depth:
                if outer is not None:
                    outer(event)
            elif get_ident() == self._thread:
                self._win(subscription)
            else:
                anyio.from_thread.run_sync(self._win, subscription, token=self._token)

        outer = stop_observer.get()
        stop_observer.set(observe)
        with anyio.CancelScope() as scope:
            self._scopes[subscription] = scope
            try:
                await self._step(subscription)
            except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
                # Judged here, where the scope can still be asked.
                self._judge(exc, subscription)
            finally:
                del self._scopes[subscription]

    @coroutine
    def _step(self, subscription: Subscription) -> Generator[Any, Any, None]:
        event = self._event
        steps = _as_coroutine(subscription.call, event)
        sent, thrown = None, None
        while True:
            stopped_before = event.propagation_stopped
            try:
                yielded = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration:
                # By assignment in a helper task or a thread of it, between two steps.
                if event.propagation_stopped:
                    self._win(subscription)
                return
            finally:
                sent = thrown = None
                if event.propagation_stopped and not stopped_before and self._service.depth(event) == self._depth:
                    self._win(subscription)
            try:
                sent = yield yielded
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as exc:  # noqa: ASYNC103  thrown into the listener
                thrown = exc

    def _win(self, subscription: Subscription) -> None:
        if not self._over:
            self.winner = subscription
            self._end()

    def _end(self) -> None:
        self._over = True
        for subscription, scope in self._scopes.items():
            if subscription is not self.winner:
                scope.cancel()


async def _as_coroutine(call: Callable[[Any], Awaitable[object]], event: Any) -> None:
    # A listener may give any awaitable; a coroutine is what can be run step by step.
    await call(event)
