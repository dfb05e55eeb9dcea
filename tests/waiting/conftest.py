"""The tests of this package run on every loop, and none leaves a task behind."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher
from tests.cancellation.tasks import no_task_left_behind, tasks_before_and_after
from tests.loops import anyio_backend
from tests.waiting.helpers import Shop

__all__ = ("anyio_backend", "no_task_left_behind", "tasks_before_and_after")


@pytest.fixture
def dispatcher() -> AsyncEventDispatcher:
    return AsyncEventDispatcher()


@pytest.fixture
def shop() -> Shop:
    return Shop()
