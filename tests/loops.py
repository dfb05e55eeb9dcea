"""The event loops of tests that depend on when a task starts: also asyncio's debug mode, and its eager tasks (3.12+)."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import pytest

from tests.conftest import BACKENDS

__all__ = ("ASYNCIO", "EVERY_LOOP", "anyio_backend")


_MORE = [pytest.param(("asyncio", {"debug": True}), id="asyncio+debug")]

if sys.version_info >= (3, 12):

    def eager_loop() -> asyncio.AbstractEventLoop:
        """Make a loop whose tasks run at once, up to their first wait, where they are created."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    _MORE.append(pytest.param(("asyncio", {"loop_factory": eager_loop}), id="asyncio+eager"))

EVERY_LOOP: Final = [*BACKENDS, *_MORE]
#: For tests of what only asyncio has.
ASYNCIO: Final = [*BACKENDS[:2], *_MORE]


@pytest.fixture(params=EVERY_LOOP, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Every loop in turn, with its options. Import it where it is to replace the fixture of ``tests/conftest.py``."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend
