"""Event loops with virtual time: asyncio, asyncio in debug mode, asyncio with eager tasks, uvloop, and trio.

A cancelled anyio scope calls ``cancel()`` on its tasks in every turn of an asyncio loop, so such a loop may never become idle.
The clocks here therefore also advance after many turns at one instant.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Literal, TypeAlias

import anyio
import trio
from trio.testing import MockClock

from antiphon.testing import Backend
from antiphon.testing._virtual_asyncio import VirtualTimeLoop

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # it is optional

__all__ = ("LOOPS", "NEVER", "TURNS_AT_ONCE", "CountingTask", "LoopName", "TooManyTurnsError", "is_available", "run")

LoopName: TypeAlias = Literal["asyncio", "debug", "uvloop", "eager", "trio"]
LOOPS: tuple[LoopName, ...] = ("asyncio", "debug", "uvloop", "eager", "trio")

#: A duration, in seconds, that no program lasts.
NEVER = 10**8

#: Turns at one instant after which time passes although the loop is not idle.
TURNS_AT_ONCE = 300
#: Turns, and seconds of real time, after which a run has no end.
_MAX_TURNS = 60_000
_MAX_SECONDS = 10


class TooManyTurnsError(BaseException):
    """A run that does not end."""


class CountingTask(asyncio.Task[Any]):
    """A task that remembers which cancel scopes have cancelled it."""

    #: The messages of the cancellations, which name the scopes.
    reasons: tuple[str, ...] = ()

    def cancel(self, msg: Any = None) -> bool:
        if msg is not None:
            self.reasons = (*self.reasons, msg)
        return super().cancel(msg) if msg is not None else super().cancel()


class _Patience:
    """Counts the turns of a loop."""

    def __init__(self) -> None:
        self._turns = 0
        self._until = time.monotonic() + _MAX_SECONDS

    def is_over(self) -> bool:
        """Count a turn, and return whether there were too many."""
        self._turns += 1
        return self._turns > _MAX_TURNS or time.monotonic() > self._until


class _Virtual(VirtualTimeLoop):
    def __init__(self, seed: int | None, turns_at_once: int) -> None:
        super().__init__(seed)
        # asyncio adds it to the time, and a nanosecond is lost in a time of many days: no timer would be due.
        self._clock_resolution = 0.001
        self._patience = _Patience()
        self._most_at_once = turns_at_once
        self._turns_at_once = 0
        self._last = 0.0

    def _run_once(self) -> None:
        if self._patience.is_over():
            raise TooManyTurnsError
        if self._now != self._last:
            self._last = self._now
            self._turns_at_once = 0
        self._turns_at_once += 1
        if self._turns_at_once > self._most_at_once:
            scheduled: Any = self._scheduled  # type: ignore[attr-defined]  # asyncio's own
            while scheduled and scheduled[0]._cancelled:
                scheduled[0]._scheduled = False
                heapq.heappop(scheduled)
                self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)  # type: ignore[has-type]  # asyncio's own
            if scheduled:
                self._now = max(self._now, scheduled[0]._when)
        super()._run_once()


if uvloop is not None:

    class _VirtualUvloop(uvloop.Loop):
        """A uvloop with timers of its own, which fire when a whole turn of the loop has scheduled nothing."""

        def __init__(self, turns_at_once: int) -> None:
            super().__init__()
            self._patience = _Patience()
            self._most_at_once = turns_at_once
            self._now = 0.0
            self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
            self._numbers = count()
            self._activity = 0
            self._seen = -1
            self._turns_at_once = 0
            self._ticking = False
            self._endless = False

        def time(self) -> float:
            return self._now

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]  # Any will do
            self._activity += 1
            return super().call_soon(callback, *args, context=context)

        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
            return self.call_at(self._now + delay, callback, *args, context=context)

        def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
            handle = asyncio.TimerHandle(when, callback, args, self, context)
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
            return handle

        def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
            pass

        def run_forever(self) -> None:
            if not self._ticking:
                self._ticking = True
                super().call_soon(self._tick)
            super().run_forever()
            if self._endless:
                raise TooManyTurnsError

        def _tick(self) -> None:
            self._turns_at_once += 1
            if self._patience.is_over():
                self._endless = True
                self._ticking = False
                self.stop()
                return
            if self._activity == self._seen or self._turns_at_once > self._most_at_once:
                self._advance()
            self._seen = self._activity
            super().call_soon(self._tick)

        def _advance(self) -> None:
            timers = self._timers
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                return
            self._turns_at_once = 0
            self._now = max(self._now, timers[0][0])
            while timers and timers[0][0] <= self._now:
                _, _, handle = heapq.heappop(timers)
                if not handle.cancelled():
                    super().call_soon(_run_handle, handle)


class _TrioTurns(trio.abc.Instrument):
    """Lets trio's time pass after many turns at one instant."""

    def __init__(self, clock: MockClock, turns_at_once: int) -> None:
        self._clock = clock
        self._patience = _Patience()
        self._most_at_once = turns_at_once
        self._turns_at_once = 0
        self._last = -1.0

    def before_io_wait(self, timeout: float) -> None:
        now = self._clock.current_time()
        if now != self._last:
            self._last = now
            self._turns_at_once = 0
        self._turns_at_once += 1
        if self._patience.is_over():
            # All deadlines pass, among them that of the run itself.
            self._clock.jump(NEVER)
        elif self._turns_at_once > self._most_at_once:
            seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if 0 < seconds < NEVER:
                self._clock.jump(seconds)


def _run_handle(handle: Any) -> None:
    if not handle._cancelled:
        handle._run()


def is_available(loop: LoopName) -> bool:
    """Return whether a loop is installed and supported by this Python."""
    if loop == "uvloop":
        return uvloop is not None
    return loop != "eager" or hasattr(asyncio, "eager_task_factory")


def run(
    loop: LoopName,
    main: Callable[[], Awaitable[None]],
    *,
    counting: bool = False,
    seed: int | None = None,
    turns_at_once: int = TURNS_AT_ONCE,
) -> None:
    """Run a main function in a fresh loop.

    Args:
        loop: The name of the loop.
        main: The async function.
        counting: Whether asyncio's tasks are `CountingTask`.
        seed: The order of the tasks, if the loop can be ordered.
        turns_at_once: How many turns there may be at one instant before time passes.

    Raises:
        TooManyTurnsError: If the run has no end.
    """
    if loop == "trio":
        options = Backend("trio", seed or 0).options()
        options["instruments"].append(_TrioTurns(options["clock"], turns_at_once))
        anyio.run(main, backend="trio", backend_options=options)
        return

    def factory() -> asyncio.AbstractEventLoop:
        made: Any = _VirtualUvloop(turns_at_once) if loop == "uvloop" else _Virtual(seed, turns_at_once)
        made.set_exception_handler(_ignore)
        if loop == "debug":
            made.set_debug(True)
            # Otherwise a slow machine would add messages to the log.
            made.slow_callback_duration = NEVER
        if loop == "eager":
            made.set_task_factory(
                asyncio.create_eager_task_factory(CountingTask) if counting else asyncio.eager_task_factory
            )
        elif counting:
            made.set_task_factory(lambda loop, coro, **options: CountingTask(coro, loop=loop, **options))
        loop_made: asyncio.AbstractEventLoop = made
        return loop_made

    made = factory()
    try:
        made.run_until_complete(main())
        left = asyncio.all_tasks(made)
        if left:
            # A faulty dispatch left them. End them here, because their destruction would print warnings.
            for task in left:
                task.cancel()
            made.run_until_complete(asyncio.wait(left, timeout=10))
    finally:
        made.close()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # The traces of a program compare what was raised; a report at destruction has no fixed time.
    pass
