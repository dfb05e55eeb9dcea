"""The race: the listener that stops the event wins, and the others of its tier are cancelled."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any

import anyio

from antiphon._backend import (
    get_asyncio_task,
)
from antiphon._events.attributes import reports_stops
from antiphon._events.capabilities import EventCapabilities
from antiphon._events.event import Event
from antiphon._events.stop_observer import StopObserver, stop_observer
from antiphon._listeners.subscription import Subscription
from antiphon._registry.plan import Plan, get_plan_capabilities
from antiphon._strategies.base import built_in_strategy
from antiphon._strategies.cancellation import CancellationWatch, current_watch
from antiphon._strategies.driver import drive
from antiphon._strategies.errors import ErrorCollector
from antiphon._strategies.tiered import TieredStrategy
from antiphon._strategies.tiers import TierRunner, call_listener

__all__ = ("Race",)


@built_in_strategy
class Race(TieredStrategy):
    """As `Concurrent`, until a listener stops the event: it wins, and is the only one that finishes.

    At its call of ``stop_propagation()`` the other listeners of its priority are cancelled, those
    that have not started are skipped, and later priorities do not run. If nobody stops the event, all finish.

    Args:
        errors: As for `Concurrent`. An error of a cancelled listener counts too; it leaves when the winner has
            finished.

    Raises:
        TypeError: ``errors`` is neither a string nor a plain function.
        ValueError: ``errors`` is another string.
    """

    __module__ = "antiphon"
    __slots__ = ()

    def _make_tier_runner(
        self, plan: Plan, event: Any, collector: ErrorCollector, watch: CancellationWatch
    ) -> TierRunner:
        if not plan.stoppable:
            return super()._make_tier_runner(plan, event, collector, watch)
        return RaceRunner(event, collector, watch, get_plan_capabilities(plan))


class RaceRunner(TierRunner):
    """The run of one tier in which the listener that stops the event wins.

    A listener stops the event in its own context, also when a helper task or a worker thread of it does so: there
    `stop_observer` receives the stop. Events that do not report an assignment of ``propagation_stopped`` are
    compared before and after each step of a listener.
    """

    def __init__(
        self, event: Any, collector: ErrorCollector, watch: CancellationWatch, capabilities: EventCapabilities
    ) -> None:
        # Imported here, because many programs run no race.
        from antiphon._util.owner_loop import OwnerLoop

        super().__init__(event, collector, watch)
        self._capabilities = capabilities
        # A stop in a dispatch of the same event by a listener is none of this tier.
        self._depth = self._capabilities.get_nesting_depth(event)
        self._reports_stops = reports_stops(event.__class__)
        self._owner_loop = OwnerLoop()
        # Held to decide the race, which a thread may do at the same time.
        self._lock = allocate_lock()
        self._running: set[_RaceEntry] = set()
        self.winner: _RaceEntry | None = None

    async def run(self, listeners: tuple[Subscription, ...]) -> None:
        """Run the listeners, and wait until the last has finished.

        Raises:
            BaseException: A cancellation or an interrupt.
        """
        try:
            await super().run(listeners)
            if self.winner is not None:
                self._collector.is_finished = True
        finally:
            self._is_finished = True
            # Tasks that the listeners have started may keep the tier alive, but not what it ran.
            self.winner = self._event = None
            self._pending = iter(())
            del self._collector

    def is_finished(self) -> bool:
        """Return whether no listener can win any more."""
        return self._is_finished

    def on_stopped(self, entry: _RaceEntry, event: Event) -> bool:
        """Receive an event that was stopped in the context of a listener. Returns whether that decides the race."""
        if event is not self._event or self._is_finished or self._capabilities.get_nesting_depth(event) != self._depth:
            return False
        self._declare_winner(entry)
        return True

    def _get_call(self, subscription: Subscription, watch: CancellationWatch) -> Callable[[Any], Any]:
        return partial(self._run_entry, subscription, watch)

    async def _run_entry(self, subscription: Subscription, watch: CancellationWatch, event: Any) -> None:
        entry = _RaceEntry()
        # The context is the listener's own.
        stop_observer.set(_RaceStopObserver(self, entry))
        steps: Any = call_listener(subscription, event)
        if not self._reports_stops:
            steps = self._compare_steps(entry, steps)
        if watch is self._worker_watch and self._watch.task is not None:
            # To know the requests of its scope from others, which are repeated and left over on asyncio.
            watch = CancellationWatch(get_asyncio_task(), watch.outer)
            current_watch.set(watch)
            steps = drive(steps, watch)
        try:
            with entry.scope:
                self._running.add(entry)
                try:
                    await steps
                    if event.propagation_stopped:
                        # By something that is not of this race: no other listener may win any more.
                        self._declare_winner(entry)
                except BaseException as exc:  # noqa: ASYNC103  _handle_exception raises what is not an error
                    # Within the scope, which knows whether the listener was cancelled.
                    self._handle_exception(exc, subscription, watch)
                finally:
                    self._running.discard(entry)
        except BaseException as exc:  # noqa: ASYNC103  one of the scope ends there
            if not (entry.scope.cancel_called and watch.is_of_scope(exc)):
                raise
        else:
            watch.settle()
        finally:
            if watch not in (self._watch, self._worker_watch):
                # It refers to the task, whose context refers to it.
                watch.finish()

    @coroutine
    def _compare_steps(self, entry: _RaceEntry, steps: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        event = self._event
        sent, thrown = None, None
        while True:
            stopped_before = event.propagation_stopped and self._capabilities.get_nesting_depth(event) == self._depth
            try:
                yielded = steps.send(sent) if thrown is None else steps.throw(thrown)
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
                steps.close()
                raise
            except BaseException as exc:  # noqa: ASYNC103  thrown into the listener
                thrown = exc

    def _declare_winner(self, entry: _RaceEntry) -> None:
        with self._lock:
            if self._is_finished:
                return
            self._is_finished = True
            self.winner = entry
        # Without waiting for it: the event loop may wait for the thread that stopped the event.
        self._owner_loop.call(self._cancel_tier)

    def _cancel_tier(self) -> None:
        self._is_finished = True
        for entry in self._running:
            if entry is not self.winner:
                entry.scope.cancel()


class _RaceEntry:
    """A listener that runs in a race."""

    __slots__ = ("scope",)

    #: Is cancelled when another listener wins.
    scope: anyio.CancelScope

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()


class _RaceStopObserver(StopObserver):
    """Receives what is stopped in the context of a listener, and in the tasks and threads that it starts."""

    __slots__ = ("_entry", "_tier")

    def __init__(self, tier: RaceRunner, entry: _RaceEntry) -> None:
        super().__init__()
        self._tier = tier
        self._entry = entry

    def is_finished(self) -> bool:
        return self._tier.is_finished()

    def __call__(self, event: Event) -> None:
        if not self._tier.on_stopped(self._entry, event) and self.parent is not None:
            self.parent(event)
