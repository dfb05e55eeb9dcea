"""Fixtures of the tests of instruments."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher
from tests.helpers import BOTH
from tests.instruments.recording_instrument import RecordingInstrument


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request):
    """An empty dispatcher of either kind."""
    return request.param()


@pytest.fixture
def instrument():
    """An instrument that records what it sees."""
    return RecordingInstrument()


@pytest.fixture
def observed(dispatcher, instrument):
    """A dispatcher of either kind with the instrument."""
    dispatcher.add_instrument(instrument)
    return dispatcher


@pytest.fixture
def observed_async(instrument):
    """An async dispatcher with the instrument."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    return dispatcher
