"""Options for Trio with virtual time and seeded schedules."""

# ruff: noqa: SLF001  Trio has no public access to its scheduler
from __future__ import annotations

from importlib import import_module
from math import inf
from typing import Any

import trio
from trio.abc import Instrument
from trio.testing import MockClock

__all__ = ("virtual_trio_options",)

# Hypothesis and pytest-trio use the same private module.
_scheduler: Any = import_module("trio._core._run")


def virtual_trio_options(seed: int | None = None) -> dict[str, Any]:
    """Return new options for one ``trio.run``, or ``anyio.run(..., backend="trio", backend_options=...)``.

    The clock starts at 0 and jumps to the next deadline when all tasks are blocked. While a worker thread runs (with
    the default limiter), the clock runs in real time.

    Args:
        seed: If given, tasks that are ready at the same time run in an order that only the seed determines.
    """
    clock = MockClock(autojump_threshold=0)
    instruments: list[Instrument] = [_RealTimeWhileThreadsRun(clock)]
    if seed is not None:
        instruments.append(_SeededSchedule(seed))
    return {"clock": clock, "instruments": instruments}


class _RealTimeWhileThreadsRun(Instrument):
    """An instrument that makes the clock run in real time while a worker thread runs."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._is_real_time = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        has_threads = trio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
        if has_threads is not self._is_real_time:
            self._is_real_time = has_threads
            self._clock.rate = 1.0 if has_threads else 0.0
            self._clock.autojump_threshold = inf if has_threads else 0


class _SeededSchedule(Instrument):
    """An instrument that seeds the scheduler of Trio for a run, and restores it afterwards."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_run(self) -> None:
        self._saved_state = (_scheduler._ALLOW_DETERMINISTIC_SCHEDULING, _scheduler._r.getstate())
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
        _scheduler._r.seed(self._seed)

    def after_run(self) -> None:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING, state = self._saved_state
        _scheduler._r.setstate(state)
