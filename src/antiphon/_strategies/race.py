"""The strategy in which the listener that stops the event cancels the other listeners of its tier.

Each listener has a `_RaceEntry` with a cancel scope. A stop observer is set in its context, and receives stops by the
listener, and by the tasks and threads that it starts. The first stop declares the winner and cancels the cancel scopes
of the others. Some classes of events do not report assignments of ``propagation_stopped``. For these, the runner
compares the attribute before and after each step of a listener (see the module `driver`).
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from types import coroutine
from typing import Any, Final

import anyio

from antiphon._backend import OwnerLoop, get_asyncio_task
from antiphon._events.attributes import reports_stops
from antiphon._events.capabilities import EventCapabilities
from antiphon._events.event import Event
from antiphon._events.stop_observer import StopObserver, find_stop_observer, stop_observer
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan, get_plan_capabilities
from antiphon._strategies.base import built_in_strategy
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.driver import drive
from antiphon._strategies.errors import ErrorCollector
from antiphon._strategies.tiered import TieredStrategy
from antiphon._strategies.tiers import TierRunner
from antiphon._util.naming import publish

__all__ = ("Race",)

_EMPTY_CONTEXT: Final = Context()


@built_in_strategy
class Race(TieredStrategy):
    """Runs listeners like `Concurrent`, until a listener stops the event and wins.

    When a listener calls ``stop_propagation()``, the other listeners of its priority are cancelled, listeners that have
    not started are skipped, and later priorities do not run. The winner finishes. If no listener stops the event, all
    listeners finish.

    Args:
        errors: The error policy, as for `Concurrent`. The policy also handles errors of cancelled listeners. The
            dispatch raises errors after the winner has finished.

    Raises:
        TypeError: If ``errors`` is neither a string nor a plain function.
        ValueError: If ``errors`` is a string that names no policy.
    """

    __slots__ = ()

    def _make_tier_runner(
        self, plan: Plan, event: Any, collector: ErrorCollector, watch: CancellationWatch
    ) -> TierRunner:
        if not plan.stoppable:
            return super()._make_tier_runner(plan, event, collector, watch)
        return RaceRunner(event, collector, watch, get_plan_capabilities(plan))


class RaceRunner(TierRunner):
    """Runs one tier in which the listener that stops the event wins.

    Args:
        event: The argument of the listeners.
        collector: The collector of their errors.
        watch: The watch of the caller's task.
        capabilities: The capabilities of the event.
    """

    def __init__(
        self, event: Any, collector: ErrorCollector, watch: CancellationWatch, capabilities: EventCapabilities
    ) -> None:
        super().__init__(event, collector, watch)
        self._capabilities = capabilities
        # Ignore stops from nested dispatches of the same event.
        self._depth = capabilities.get_nesting_depth(event)
        self._reports_stops = reports_stops(event.__class__)
        self._owner_loop = OwnerLoop()
        # Held while the winner is declared, because threads can stop the event at the same time.
        self._lock = allocate_lock()
        self._running: set[_RaceEntry] = set()
        self.winner: _RaceEntry | None = None

    async def run(self, listeners: tuple[Subscription, ...], trio: Any) -> bool:
        """Run the listeners as the base class does. If one has won, the dispatch is finished.

        Raises:
            BaseException: If it is a cancellation or an interrupt.
        """
        try:
            may_be_cancelled = await super().run(listeners, trio)
            if self.winner is not None:
                self._collector.is_finished = True
            return may_be_cancelled
        finally:
            self._is_closed = True
            # Tasks that the listeners have started may keep the runner alive. Drop its references to other objects.
            self.winner = self._event = None
            self._context = self._worker_context = _EMPTY_CONTEXT
            self._pending = iter(())
            del self._collector

    def is_closed(self) -> bool:
        """Return whether the tier is closed, so that no listener can win any longer."""
        return self._is_closed

    def on_stopped(self, entry: _RaceEntry, event: Event) -> None:
        """Receive an event that was stopped in the context of a listener."""
        if event is self._event and not self._is_closed and self._capabilities.get_nesting_depth(event) == self._depth:
            self._declare_winner(entry)

    def _get_call(self, subscription: Subscription, watch: CancellationWatch) -> Callable[[Any], Any]:
        return partial(self._run_entry, subscription, watch)

    async def _run_entry(self, subscription: Subscription, watch: CancellationWatch, event: Any) -> None:
        entry = _RaceEntry()
        # The variable needs no reset, because the context belongs to the listener alone.
        stop_observer.set(_RaceStopObserver(self, entry))
        coro: Any = _call_listener(subscription, event)
        if not self._reports_stops:
            coro = self._compare_steps(entry, coro)
        if watch is self._worker_watch and self._watch.task is not None:
            # On asyncio, a listener can leave requests behind. A separate watch distinguishes these requests from the
            # requests of the cancel scope.
            watch = CancellationWatch(get_asyncio_task(), watch.outer)
            current_watch.set(watch)
            coro = drive(coro, watch)
        try:
            with entry.scope:
                try:
                    self._running.add(entry)
                    try:
                        await coro
                    finally:
                        # On asyncio, the scope would otherwise schedule a callback if the error cancels the tier.
                        self._running.discard(entry)
                    if event.propagation_stopped:
                        # Code outside the race may have stopped the event. Then the first listener that returns wins.
                        self._declare_winner(entry)
                except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises all but errors
                    # Handle it within the scope, which shows whether the listener was cancelled.
                    self._handle_exception(exc, subscription, watch)
        except BaseException as exc:  # noqa: ASYNC103  the scope should have caught it
            if not (entry.scope.cancel_called and watch.is_of_scope(exc)):
                raise
        else:
            watch.uncancel_own_requests()
        finally:
            if watch not in (self._watch, self._worker_watch):
                # The watch references the task, and the context of the task references the watch.
                watch.finish()

    @coroutine
    def _compare_steps(self, entry: _RaceEntry, coro: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        event = self._event
        sent, thrown = None, None
        while True:
            stopped_before = event.propagation_stopped and self._capabilities.get_nesting_depth(event) == self._depth
            try:
                yielded = coro.send(sent) if thrown is None else coro.throw(thrown)
            except StopIteration:
                return
            finally:
                sent = thrown = None
                if (
                    event.propagation_stopped
                    and not stopped_before
                    and self._capabilities.get_nesting_depth(event) == self._depth
                ):
                    self._declare_winner(entry)
            try:
                sent = yield yielded
            except GeneratorExit:
                coro.close()
                raise
            except BaseException as exc:  # noqa: ASYNC103  thrown into the listener
                thrown = exc

    def _declare_winner(self, entry: _RaceEntry) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self.winner = entry
        # Do not wait for the call: the event loop may wait for the thread that stopped the event.
        self._owner_loop.call(self._cancel_tier)

    def _cancel_tier(self) -> None:
        self._is_closed = True
        for entry in self._running:
            if entry is not self.winner:
                entry.scope.cancel()


class _RaceEntry:
    """A running listener of a race."""

    __slots__ = ("scope",)

    #: The cancel scope of the listener, which is cancelled when another listener wins.
    scope: anyio.CancelScope

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()


async def _call_listener(subscription: Subscription, event: Any) -> None:
    await subscription.call(event)


class _RaceStopObserver(StopObserver):
    """Receives stops in the context of a listener, and in the tasks and threads that the listener starts."""

    __slots__ = ("_entry", "_runner", "enclosing")

    def __init__(self, runner: RaceRunner, entry: _RaceEntry) -> None:
        self.enclosing = find_stop_observer()
        self._runner = runner
        self._entry = entry

    def is_finished(self) -> bool:
        return self._runner.is_closed()

    def __call__(self, event: Event) -> None:
        self._runner.on_stopped(self._entry, event)
        if self.enclosing is not None:
            self.enclosing(event)


publish("antiphon", TieredStrategy, Race)
