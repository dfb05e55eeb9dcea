"""An asyncio event loop in which nobody waits for a timer, and whose schedule can be shaken."""

# ruff: noqa: SLF001  asyncio has no public door to its queue of callbacks
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
    """An event loop whose clock starts at 0 and jumps to the next timer when nothing else can happen.

    Code that sleeps, or waits with a deadline, runs as fast as it can compute, and reads exact times.
    While a worker thread runs (``anyio.to_thread`` with the default limiter, ``run_in_executor``), time passes as it
    really does, so that no deadline expires around a thread that had no chance to finish. Bytes on a socket are seen
    before the clock jumps, but those that are still under way in another process or thread are not waited for.

    Args:
        seed: If given, the tasks that are ready in one turn of the loop take their steps in a random order that
            depends on the seed alone. asyncio promises that they take turns (first in, first out), so a failure found
            this way wants a second look: it may be one that no unseeded loop shows. Callbacks that are
            no tasks keep their places.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._now = 0.0
        self._executing = 0
        self._shuffler = None if seed is None else _Shuffler(seed)
        super().__init__(_JumpingSelector(self._pass_time, self._is_held))

    def time(self) -> float:
        """The virtual time, in seconds since the loop was made."""
        return self._now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread or process, and let time pass as it really does until it has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._executing += 1
        future.add_done_callback(self._executed)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the threads of the default executor to end; time passes as it really does."""
        self._executing += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._executing -= 1

    def _executed(self, future: asyncio.Future[Any]) -> None:
        self._executing -= 1

    def _pass_time(self, seconds: float) -> None:
        self._now += seconds

    def _is_held(self) -> bool:
        if self._executing:
            return True
        try:
            return to_thread.current_default_thread_limiter().borrowed_tokens > 0
        except NoEventLoopError:
            # anyio is told of a run by whoever starts it: it does not know of those it did not start.
            return False

    def _run_once(self) -> None:
        loop: Any = self
        if self._shuffler is not None:
            self._shuffler.shuffle(loop._ready)
        above: Any = super()
        above._run_once()


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for files as ever, but where it would wait for a time, it lets that time pass at once."""

    def __init__(self, pass_time: Callable[[float], None], is_held: Callable[[], bool]) -> None:
        super().__init__()
        self._pass_time = pass_time
        self._is_held = is_held

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self._is_held():
            before = time.monotonic()
            ready = super().select(timeout)
            # Without a file that is ready the whole of it has passed, whatever the clocks say about the last digit.
            self._pass_time(min(time.monotonic() - before, timeout) if ready else timeout)
            return ready
        ready = super().select(0)
        if not ready:
            self._pass_time(timeout)
        return ready


class _Shuffler:
    """Shuffles the tasks in a queue of callbacks, in a way that depends on a seed alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  it is to be repeated, not to be secret
        # In the order in which the loop met them first.
        self._numbers: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._count = count()

    def shuffle(self, ready: Any) -> None:
        places = [place for place, handle in enumerate(ready) if _is_step(handle)]
        handles = [ready[place] for place in places]
        # What is ready at once need not come in the same order each time: a scope cancels a set of tasks, for one.
        handles.sort(key=self._number)
        self._random.shuffle(handles)
        for place, handle in zip(places, handles, strict=True):
            ready[place] = handle

    def _number(self, handle: Any) -> int:
        return self._numbers.setdefault(handle._callback.__self__, next(self._count))


def _is_step(handle: Any) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)
