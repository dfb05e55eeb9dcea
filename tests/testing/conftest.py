"""Fixtures of the tests of recordings."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher


@pytest.fixture
def shop() -> AsyncEventDispatcher:
    return AsyncEventDispatcher(name="shop")
