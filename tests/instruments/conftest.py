"""Fixtures of the tests of instruments."""

from __future__ import annotations

import pytest

from tests.instruments.witness import Witness
from tests.voices import BOTH, AnyDispatcher


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    """An empty dispatcher of either kind."""
    made: AnyDispatcher = request.param()
    return made


@pytest.fixture
def witness() -> Witness:
    """An instrument that writes down what it sees."""
    return Witness()
