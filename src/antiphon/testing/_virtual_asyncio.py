"""An asyncio event loop with virtual time and seeded schedules.

The selector of the loop advances a virtual clock instead of waiting for a timeout. Before each iteration of the loop,
a shuffler reorders the tasks in its queue of callbacks.
"""

# ruff: noqa: SLF001  asyncio has no public access to its queue of callbacks
from __future__ import annotations

import asyncio
import random
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary

from anyio import NoEventLoopError, to_thread

__all__ = ("VirtualTimeLoop",)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


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
        self._shuffler = None if seed is None else _Shuffler(seed)
        super().__init__(_VirtualTimeSelector(self._advance, self._has_running_threads))

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

    def _advance(self, seconds: float) -> None:
        self._now += seconds

    def _has_running_threads(self) -> bool:
        if self._running_executor_calls:
            return True
        try:
            return to_thread.current_default_thread_limiter().borrowed_tokens > 0
        except NoEventLoopError:
            # AnyIO knows only the loops that it started. In other loops, its threads are not detected.
            return False

    def _run_once(self) -> None:
        loop: Any = self
        if self._shuffler is not None:
            self._shuffler.shuffle(loop._ready)
        parent: Any = super()
        parent._run_once()


class _VirtualTimeSelector(selectors.DefaultSelector):
    """A selector that advances the virtual clock instead of waiting for a timeout."""

    def __init__(self, advance: Callable[[float], None], has_running_threads: Callable[[], bool]) -> None:
        super().__init__()
        self._advance = advance
        self._has_running_threads = has_running_threads

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
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
