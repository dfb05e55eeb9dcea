"""Running the listeners of one tier together.

Work comes first, and tasks only where there is something to wait for. The caller's task is the first worker: it
takes the first step of one listener after another, as long as each ends in it. When one has to wait, its worker
stays with it, and starts two more in a task group for those that are left, which do the same. So only a listener
that waits costs a task, and the last of a hundred starts after a few turns of the event loop.

Rules that its editors keep:

- Each listener runs in one task from start to end, in its own copy of the caller's context variables. One
  that has taken its first step never moves to another task: its cancel scopes belong to the first.
- The task group is open before the first step, so that a listener's own scopes lie within it.
- A task in which a listener has waited starts no other one.
- What leaves a listener is judged in its own task, where the scopes around it can still be asked. The task
  group never sees an error, only cancellations and interrupts.
- What a listener is called with is read when it starts, so that one removed meanwhile does not start.
- A tier returns only when all its listeners have ended.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from threading import get_ident
from types import CoroutineType, coroutine
from typing import Any, TypeAlias, cast

import anyio

from antiphon._backend import is_cancellation, open_task_group, scope_is_cancelled, ungrouped
from antiphon._events import Event, Service, stop_observer
from antiphon._listeners import Subscription
from antiphon._policies import Failures, as_error

__all__ = ("RacingTier", "Tier")

_Steps: TypeAlias = Coroutine[Any, Any, object]

#: A coroutine that has taken its first step, and what it waits for.
_Begun: TypeAlias = tuple[_Steps, Any]


class Tier:
    """The run of one tier.

    Args:
        event: What the listeners are given.
        failures: Takes their errors.
        limit: How many listeners may run at a time; None for no limit.
    """

    def __init__(self, event: Any, failures: Failures, limit: int | None = None) -> None:
        self._event = event
        self._failures = failures
        self._limit = sys.maxsize if limit is None else limit
        #: The task group; a listener that is alone needs none.
        self._group: Any = None
        #: How many tasks run a listener or are about to; the caller's is the first.
        self._workers = 1
        #: How many of them have not got their first turn.
        self._coming = 0
        #: Whether nobody starts any more.
        self._over = False
        # A native cancellation of one listener's own task, which a task group would take for one of its own.
        self._stray: BaseException | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has ended.

        Raises:
            BaseException: A cancellation or an interrupt, in a group with the errors in hand.
        """
        self._unstarted = iter(listeners)
        self._left = len(listeners)
        try:
            if self._left == 1:
                await self._work()
            else:
                async with open_task_group() as self._group:
                    await self._work()
        except BaseException as exc:  # noqa: ASYNC103  leave_with always raises
            self._failures.leave_with(exc if self._group is None else ungrouped(exc))
        if self._stray is not None:
            self._failures.leave_with(self._stray)

    async def _work(self) -> None:
        for subscription in self._unstarted:
            self._left -= 1
            context = copy_context()
            begun = None
            try:
                begun = context.run(_begin, self._call, subscription)
                if begun is not None:
                    self._share()
                    await _rest(begun, context)
            except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
                self._judge(exc, subscription)
            if self._over:
                return
            if begun is not None:
                # Its place is given on after the judgement, so that whom a failure cancels is not started.
                self._workers -= 1
                self._share()
                return

    def _share(self) -> None:
        # Two at a time: one alone would let each listener that waits delay all that come after it by a turn.
        for _ in range(min(2, self._left - self._coming, self._limit - self._workers)):
            self._workers += 1
            self._coming += 1
            self._group.start_soon(self._join)

    async def _join(self) -> None:
        self._coming -= 1
        if not self._over:
            await self._work()

    def _call(self, subscription: Subscription) -> Any:
        return subscription.call(self._event)

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
        self._over = True
        if self._group is not None:
            self._group.cancel_scope.cancel()


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


def _begin(call: Callable[[Any], Any], argument: Any) -> _Begun | None:
    """Call an async callable, and take the first step of what it returns.

    Returns:
        What has begun, None if it has ended already.
    """
    awaitable: Any = call(argument)
    # A listener may give any awaitable; a coroutine is what can be run step by step.
    steps = cast("_Steps", awaitable if isinstance(awaitable, CoroutineType) else _awaited(awaitable))
    try:
        return steps, steps.send(None)
    except StopIteration:
        return None


@coroutine
def _rest(begun: _Begun, context: Context) -> Generator[Any, Any, None]:
    """Run a coroutine that has begun to its end, in its context."""
    steps, waits_for = begun
    while True:
        sent = thrown = None
        try:
            sent = yield waits_for
        except GeneratorExit:
            context.run(steps.close)
            raise
        except BaseException as exc:  # noqa: ASYNC103  thrown into the coroutine
            thrown = exc
        try:
            waits_for = context.run(steps.send, sent) if thrown is None else context.run(steps.throw, thrown)
        except StopIteration:
            return
        finally:
            # A frame that keeps an exception makes a cycle.
            sent = thrown = None


async def _as_coroutine(call: Callable[[Any], Awaitable[object]], event: Any) -> None:
    await call(event)


async def _awaited(awaitable: Awaitable[object]) -> None:
    await awaitable
