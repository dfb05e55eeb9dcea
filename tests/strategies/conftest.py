"""No test of this package leaves a task behind."""

from __future__ import annotations

from tests.cancellation.tasks import no_task_left_behind, tasks_before_and_after

__all__ = ("no_task_left_behind", "tasks_before_and_after")
