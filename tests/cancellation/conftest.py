"""The tests of this package run on every event loop, and none leaves a task behind."""

from __future__ import annotations

from tests.cancellation.tasks import no_task_left_behind, tasks_before_and_after
from tests.loops import anyio_backend

__all__ = ("anyio_backend", "no_task_left_behind", "tasks_before_and_after")
