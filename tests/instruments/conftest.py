"""Fixtures of the tests of instruments."""

from __future__ import annotations

import pytest

from tests.helpers import BOTH, AnyDispatcher
from tests.instruments.recording_instrument import RecordingInstrument


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    """An empty dispatcher of either kind."""
    made: AnyDispatcher = request.param()
    return made


@pytest.fixture
def witness() -> RecordingInstrument:
    """An instrument that writes down what it sees."""
    return RecordingInstrument()
