"""The event loops of tests that depend on when a task starts: also eager tasks, and asyncio's debug mode."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import pytest

from tests.conftest import BACKENDS

__all__ = ("ASYNCIO", "EVERY_LOOP", "anyio_backend")


def eager_loop() -> asyncio.AbstractEventLoop:
    """Make a loop whose tasks run at once, up to their first wait, where they are created."""
    loop = asyncio.new_event_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


_MORE: Final = [
    pytest.param(
        ("asyncio", {"loop_factory": eager_loop}),
        id="asyncio+eager",
        marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks need Python 3.12"),
    ),
    pytest.param(("asyncio", {"debug": True}), id="asyncio+debug"),
]

EVERY_LOOP: Final = [*BACKENDS, *_MORE]
#: For tests of what only asyncio has.
ASYNCIO: Final = [*BACKENDS[:2], *_MORE]


@pytest.fixture(params=EVERY_LOOP, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Every loop in turn, with its options. Import it where it is to replace the fixture of ``tests/conftest.py``."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend
