"""Fixtures of the tests of the example proxy."""

from __future__ import annotations

import pytest

from tests.example_proxy.running_proxy import STRATEGIES


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    """Each strategy that the proxy may run with."""
    return STRATEGIES[request.param]()
