"""An empty dispatcher of each kind."""

from __future__ import annotations

import pytest

from tests.helpers import BOTH, AnyDispatcher


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    made: AnyDispatcher = request.param()
    return made
