"""The tests of the bridge run in virtual time, on asyncio and on Trio, in plain and in shuffled order."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.testing import Backend, backends
from tests.bridges.shop import Shop


@pytest.fixture(params=backends(seeds=(None, 1)), ids=str)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each backend with virtual time."""
    backend: Backend = request.param
    return backend.as_anyio()


@pytest.fixture
def shop() -> Shop:
    """A broker in memory, and programs that use it."""
    return Shop()
