"""An asyncio event loop with virtual time and seeded schedules.

The selector of the loop advances a virtual clock instead of waiting for a timeout. Before each iteration of the loop,
a shuffler reorders the tasks in its queue of callbacks.

A cancelled scope of AnyIO cancels its tasks again in each iteration until they leave it. The queue of callbacks is then
never empty, and asyncio never asks the selector to wait. The loop counts these iterations, and after some of them the
selector waits for the next timer nevertheless.
"""

# ruff: noqa: SLF001  asyncio has no public access to its queue of callbacks
from __future__ import annotations

import asyncio
import math
import random
import selectors
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from itertools import count
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary

from anyio import CancelScope, to_thread

__all__ = ("VirtualTimeLoop",)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: The number of consecutive iterations that only repeat cancellations, after which the clock advances.
_MAX_CANCELLING_ITERATIONS: Final = 100

#: The longest wait in one iteration, in seconds, as in asyncio. The selectors of some systems allow little more.
_MAX_WAIT: Final = 24 * 3600.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer when all tasks wait.

    Code that sleeps or waits with a deadline does not wait in real time, and reads exact times.
    While a worker thread runs (``anyio.to_thread`` with the default limiter, ``run_in_executor``), the clock runs in
    real time, so that no deadline expires before the thread can finish. The loop reads sockets that are ready before
    the clock jumps, but it does not wait for data that another process or thread has not sent yet.

    Args:
        seed: If given, tasks that are ready in the same iteration of the loop run in a random order that only the seed
            determines. asyncio guarantees first in, first out, so a failure with a seed may be impossible in an
            unseeded loop. Callbacks that are not tasks keep their positions.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._now = 0.0
        self._running_executor_calls = 0
        self._cancelling_iterations = 0
        self._library_context = _make_library_context()
        self._shuffler = None if seed is None else _Shuffler(seed)
        super().__init__(_VirtualTimeSelector(self._choose_timeout, self._advance, self._has_running_threads))

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was created."""
        return self._now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread or process. The clock runs in real time until the function returns."""
        future = super().run_in_executor(executor, func, *args)
        self._running_executor_calls += 1
        future.add_done_callback(self._on_executor_call_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the threads of the default executor to end. The clock runs in real time meanwhile."""
        self._running_executor_calls += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._running_executor_calls -= 1

    def _on_executor_call_done(self, future: asyncio.Future[Any]) -> None:
        self._running_executor_calls -= 1

    def _choose_timeout(self, timeout: float | None) -> float | None:
        if self._cancelling_iterations < _MAX_CANCELLING_ITERATIONS:
            return timeout
        self._cancelling_iterations = 0
        loop: Any = self
        times = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
        return min(max(0.0, min(times) - self._now), _MAX_WAIT) if times else timeout

    def _advance(self, seconds: float) -> None:
        self._now += seconds
        # The loop runs the timers that are due before now + resolution. After some virtual months, floats are so coarse
        # that the sum would be equal to now, and no timer would ever be due.
        loop: Any = self
        loop._clock_resolution = max(loop._clock_resolution, math.ulp(self._now))

    def _has_running_threads(self) -> bool:
        if self._running_executor_calls:
            return True
        limiter = self._library_context.run(to_thread.current_default_thread_limiter)
        return limiter.borrowed_tokens > 0

    def _run_once(self) -> None:
        loop: Any = self
        if self._shuffler is not None:
            self._shuffler.shuffle(loop._ready)
        is_cancelling = bool(loop._ready) and all(map(_repeats_cancellation, loop._ready))
        self._cancelling_iterations = self._cancelling_iterations + 1 if is_cancelling else 0
        parent: Any = super()
        parent._run_once()


def _make_library_context() -> Context:
    """Return a context in which AnyIO detects asyncio although no task runs.

    AnyIO uses sniffio if it is installed, which detects asyncio only in tasks, and in loops that AnyIO started.
    """
    context = Context()
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class _VirtualTimeSelector(selectors.DefaultSelector):
    """A selector that advances the virtual clock instead of waiting for a timeout."""

    def __init__(
        self,
        choose_timeout: Callable[[float | None], float | None],
        advance: Callable[[float], None],
        has_running_threads: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._choose_timeout = choose_timeout
        self._advance = advance
        self._has_running_threads = has_running_threads

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        timeout = self._choose_timeout(timeout)
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self._has_running_threads():
            before = time.monotonic()
            ready = super().select(timeout)
            # Without a ready file, the whole timeout has passed. The measured time may differ by a rounding error.
            self._advance(min(time.monotonic() - before, timeout) if ready else timeout)
            return ready
        ready = super().select(0)
        if not ready:
            self._advance(timeout)
        return ready


class _Shuffler:
    """Shuffles the tasks in a queue of callbacks. Only the seed determines the order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  it must be repeatable, not secure
        #: A number for each task, in the order in which the loop first ran them.
        self._numbers: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._count = count()

    def shuffle(self, ready: Any) -> None:
        positions = [position for position, handle in enumerate(ready) if _is_step(handle)]
        handles = [ready[position] for position in positions]
        # Sort first: the order in the queue can differ between runs, because cancel scopes iterate over sets of tasks.
        handles.sort(key=self._get_number)
        self._random.shuffle(handles)
        for position, handle in zip(positions, handles, strict=True):
            ready[position] = handle

    def _get_number(self, handle: Any) -> int:
        return self._numbers.setdefault(handle._callback.__self__, next(self._count))


def _is_step(handle: Any) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def _repeats_cancellation(handle: Any) -> bool:
    """Return whether a callback belongs to a cancelled scope, or resumes a task in which an await was cancelled."""
    owner = getattr(handle._callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        # A library may let a task await an object of its own, which has only some methods of a future.
        return bool(handle._args) and isinstance(handle._args[0], asyncio.Future) and handle._args[0].cancelled()
    return isinstance(owner, CancelScope)
