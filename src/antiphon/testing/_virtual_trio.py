"""Options for a trio run in which nobody waits for a timer, and whose schedule can be repeated."""

# ruff: noqa: SLF001  trio has no public door to its scheduler
from __future__ import annotations

from importlib import import_module
from math import inf
from typing import Any

import trio
from trio.abc import Instrument
from trio.testing import MockClock

__all__ = ("virtual_trio_options",)

# Where hypothesis and pytest-trio enter, too.
_scheduler: Any = import_module("trio._core._run")


def virtual_trio_options(seed: int | None = None) -> dict[str, Any]:
    """Give fresh options for one ``trio.run``, or ``anyio.run(..., backend="trio", backend_options=...)``.

    The clock starts at 0 and jumps to the next deadline when all tasks are blocked. While a worker thread
    runs (with the default limiter), time passes as it really does.

    Args:
        seed: If given, tasks that are ready together take their steps in an order that depends on the seed alone.
    """
    clock = MockClock(autojump_threshold=0)
    instruments: list[Instrument] = [_HoldForThreads(clock)]
    if seed is not None:
        instruments.append(_SeededSchedule(seed))
    return {"clock": clock, "instruments": instruments}


class _HoldForThreads(Instrument):
    """Turns a jumping clock into one that goes like a real one, as long as a worker thread runs."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._held = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        held = trio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
        if held is not self._held:
            self._held = held
            self._clock.rate = 1.0 if held else 0.0
            self._clock.autojump_threshold = inf if held else 0


class _SeededSchedule(Instrument):
    """Seeds trio's scheduler for the length of a run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_run(self) -> None:
        self._before = (_scheduler._ALLOW_DETERMINISTIC_SCHEDULING, _scheduler._r.getstate())
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
        _scheduler._r.seed(self._seed)

    def after_run(self) -> None:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING, state = self._before
        _scheduler._r.setstate(state)
