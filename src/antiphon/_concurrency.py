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
from _thread import get_ident
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from operator import length_hint
from types import CoroutineType, coroutine
from typing import Any, Final, TypeAlias, cast

import anyio

from antiphon._backend import (
    is_cancellation,
    native_requests,
    open_task_group,
    pass_on_cancellation,
    scope_is_cancelled,
    ungrouped,
)
from antiphon._events import Event, StopObserver, stop_observer
from antiphon._listeners import Subscription
from antiphon._policies import Failures, as_error
from antiphon._services import Service

__all__ = ("RacingTier", "Tier", "begin", "take")

_Steps: TypeAlias = Coroutine[Any, Any, object]

_ENDED: Final = object()


class Tier:
    """The run of a tier.

    Args:
        event: What the listeners are given.
        failures: Takes their errors.
        requests: How many native requests to end there were before the dispatch.
        limit: How many listeners may run at a time; None for no limit.
    """

    def __init__(self, event: Any, failures: Failures, requests: int, limit: int | None = None) -> None:
        self._event = event
        self._failures = failures
        self._requests = requests
        # How many more tasks may run listeners; one is the caller's.
        self._free = sys.maxsize if limit is None else limit - 1
        # How many of them were started and have not had their first turn.
        self._coming = 0
        # Whether nobody starts any more.
        self._over = False
        # A native cancellation of one listener's own task, which a task group would take for one of its own.
        self._stray: BaseException | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has ended.

        Raises:
            BaseException: A cancellation or an interrupt.
        """
        self._unstarted = iter(listeners)
        self._context = copy_context()
        left: BaseException | None
        try:
            async with open_task_group() as self._group:
                await self._work()
        except BaseExceptionGroup as group:  # noqa: ASYNC103  raised below, where it gets no context
            left = ungrouped(group)
        else:
            left = self._stray
            if left is None and self._group.cancel_scope.cancel_called and not self._failures.ended:
                # A task was cancelled before its first step, or after its last one, where nobody could judge it.
                left = anyio.get_cancelled_exc_class()()  # noqa: ASYNC118  made to be raised, not compared with
        finally:
            # Of what outlives the dispatch, an observer of stops remembers the tier: not what the context knows, too.
            del self._context
        if left is not None:
            try:
                raise left
            finally:
                # A frame that keeps what leaves it makes a cycle.
                del left

    async def _work(self, *, joined: bool = False) -> None:
        event = self._event
        shared = joined
        for subscription in self._unstarted:
            context = self._context.copy()
            try:
                rest = begin(subscription, event, context)
                if rest is not None:
                    if not shared:
                        shared = True
                        self._share()
                    await rest
            except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
                self._judge(exc, subscription)
            if self._over:
                break
            if shared and not joined and native_requests() > self._requests:
                # asyncio delivers it once: a listener that keeps it to itself must not keep it from the others.
                await pass_on_cancellation(self._requests)

    async def _join(self) -> None:
        self._coming -= 1
        subscription = None if self._over else next(self._unstarted, None)
        if subscription is None:
            return
        self._share()
        # A new task has a copy of the context already.
        try:
            await subscription.call(self._event)
        except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
            self._judge(exc, subscription)
        if not self._over:
            await self._work(joined=True)

    def _share(self) -> None:
        # Two at a time: one alone would let each listener that waits delay all that come after it by a turn.
        for _ in range(min(2, length_hint(self._unstarted) - self._coming, self._free)):
            self._free -= 1
            self._coming += 1
            self._group.start_soon(self._join)

    def _judge(self, exc: BaseException, subscription: Subscription) -> None:
        try:
            if take(exc, subscription, self._failures):
                self._end()
        except BaseException as left:
            if is_cancellation(left) and not scope_is_cancelled():
                self._stray = left
                self._end()
            raise

    def _end(self) -> None:
        self._over = True
        self._group.cancel_scope.cancel()


class RacingTier(Tier):
    """The run of one tier in which the listener that stops the event wins.

    Two things tell that a listener stopped the event: its flag is up after a step of the listener (which sees every
    way to stop it), and `stop_observer` (which also sees helper tasks and worker threads of the listener).
    """

    def __init__(self, event: Any, failures: Failures, requests: int, service: Service) -> None:
        super().__init__(event, failures, requests)
        self._service = service
        # A stop speaks to the dispatch that runs: one in a dispatch of the same event by a listener is none of ours.
        self._depth = service.depth(event)
        self._thread = get_ident()
        self._token = anyio.lowlevel.current_token()
        self._running: set[_Contestant] = set()
        self.winner: _Contestant | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has ended.

        Raises:
            BaseException: A cancellation or an interrupt.
        """
        contestants = tuple(cast("Subscription", _Contestant(self, subscription)) for subscription in listeners)
        try:
            await super().run(contestants)
            if self.winner is not None:
                self._failures.ended = True
        finally:
            self._over = True
            # The contestants know the tier, which would make a cycle.
            self.winner = None
            self._unstarted = iter(())

    async def compete(self, contestant: _Contestant, subscription: Subscription) -> None:
        """Run a listener until it has ended, or another one has won."""
        if self._over:
            return
        # The context is the listener's own, so nobody else meets this there.
        stop_observer.set(_RaceObserver(self, contestant))
        with anyio.CancelScope() as contestant.scope:
            self._running.add(contestant)
            try:
                await self._step(contestant, subscription)
            except BaseException as exc:  # noqa: ASYNC103  _judge raises what is no error
                # Judged here, where the scope can still be asked.
                self._judge(exc, subscription)
            finally:
                self._running.discard(contestant)

    def is_over(self) -> bool:
        """Whether nobody can win any more."""
        return self._over

    def observe(self, contestant: _Contestant, event: Event) -> bool:
        """Hear that something was stopped in the context of a listener. Returns whether it decided the race."""
        if event is not self._event or self._over or self._service.depth(event) != self._depth:
            return False
        if get_ident() == self._thread:
            self._win(contestant)
        else:
            anyio.from_thread.run_sync(self._win, contestant, token=self._token)
        return True

    @coroutine
    def _step(self, contestant: _Contestant, subscription: Subscription) -> Generator[Any, Any, None]:
        event = self._event
        steps = _called(subscription, event)
        sent, thrown = None, None
        while True:
            stopped_before = event.propagation_stopped and self._service.depth(event) == self._depth
            try:
                yielded = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration:
                # By assignment in a helper task or a thread of it, between two steps.
                if event.propagation_stopped:
                    self._win(contestant)
                return
            finally:
                sent = thrown = None
                if event.propagation_stopped and not stopped_before and self._service.depth(event) == self._depth:
                    self._win(contestant)
            try:
                sent = yield yielded
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as exc:  # noqa: ASYNC103  thrown into the listener
                thrown = exc

    def _win(self, contestant: _Contestant) -> None:
        if not self._over:
            self.winner = contestant
            self._end()

    def _end(self) -> None:
        self._over = True
        for contestant in self._running:
            if contestant is not self.winner:
                contestant.scope.cancel()


class _Contestant:
    """Stands for a listener in a race."""

    __slots__ = ("_subscription", "_tier", "listener", "order", "priority", "scope")

    #: What cancels it when another one wins.
    scope: anyio.CancelScope

    def __init__(self, tier: RacingTier, subscription: Subscription) -> None:
        self._tier = tier
        self._subscription = subscription
        self.listener = subscription.listener
        self.priority = subscription.priority
        self.order = subscription.order

    async def call(self, event: Any) -> None:
        await self._tier.compete(self, self._subscription)


class _RaceObserver(StopObserver):
    """Told of what is stopped in the context of a contestant, and in the tasks and threads that it starts."""

    __slots__ = ("_contestant", "_tier")

    def __init__(self, tier: RacingTier, contestant: _Contestant) -> None:
        super().__init__()
        self._tier = tier
        self._contestant = contestant

    def is_over(self) -> bool:
        return self._tier.is_over()

    def __call__(self, event: Event) -> None:
        if not self._tier.observe(self._contestant, event) and self.outer is not None:
            self.outer(event)


def take(exc: BaseException, subscription: Subscription, failures: Failures) -> bool:
    """Give an error that left a listener to the policy.

    Returns:
        Whether it ends the dispatch.

    Raises:
        BaseException: It is no error, but a cancellation or an interrupt.
    """
    error = as_error(exc, subscription)
    if error is None:
        raise failures.held_back(exc, subscription)
    return failures.take(error, subscription) is not None


def begin(subscription: Subscription, event: Any, context: Context) -> Awaitable[None] | None:
    """Call a listener and take its first step, both in a context.

    Args:
        subscription: Its registration.
        event: What it is given.
        context: Where it runs, a copy of its own.

    Returns:
        What has to be awaited for the rest, in the same task; None if it has ended already.

    Raises:
        BaseException: What left the listener, to be given to `take`. So does what is returned.
    """
    steps: Any = context.run(subscription.call, event)
    if steps.__class__ is not CoroutineType:
        # A listener may give any awaitable; a coroutine is what can be run step by step.
        steps = _awaited(steps)
    # Unlike `send`, this makes no StopIteration when it ends.
    waits_for = context.run(next, steps.__await__(), _ENDED)
    return None if waits_for is _ENDED else _rest(steps, waits_for, context)


@coroutine
def _rest(steps: _Steps, waits_for: Any, context: Context) -> Generator[Any, Any, None]:
    """Run a coroutine that has taken its first step to its end, in its context."""
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


async def _called(subscription: Subscription, event: Any) -> None:
    await subscription.call(event)


async def _awaited(awaitable: Awaitable[object]) -> None:
    await awaitable
