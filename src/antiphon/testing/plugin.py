"""Fixtures that give async tests virtual time, and schedules that a seed orders.

pytest does not load them by itself: name this module in a ``conftest.py``. Then a fixture ``anyio_backend``, which is
what anyio's pytest plugin asks for, opts in: all tests, or those of one module or class, as you place it::

    pytest_plugins = ["antiphon.testing.plugin"]


    @pytest.fixture
    def anyio_backend(virtual_backend):
        return virtual_backend.as_anyio()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import pytest

from antiphon.testing._backends import Backend, backends

__all__ = ("seeded_backend", "virtual_backend")

#: The schedules of tests that are not marked with seeds of their own.
_SEEDS: Final = range(10)


@pytest.fixture(scope="module")
def virtual_backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is installed in turn, with virtual time."""
    backend: Backend = request.param
    return backend


@pytest.fixture(scope="module")
def seeded_backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is installed in turn, with virtual time and under each of ten seeds.

    A test that is marked with ``@pytest.mark.seeds(range(100))`` runs under those.
    """
    backend: Backend = request.param
    return backend


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "seeds(seeds): under which seeds the fixture seeded_backend runs a test.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each backend, and for each seed."""
    mark = metafunc.definition.get_closest_marker("seeds")
    if "virtual_backend" in metafunc.fixturenames:
        metafunc.parametrize("virtual_backend", backends(), ids=str, indirect=True)
    if "seeded_backend" in metafunc.fixturenames:
        seeds = _SEEDS if mark is None else _seeds_of(mark)
        metafunc.parametrize("seeded_backend", backends(seeds=seeds), ids=str, indirect=True)
    elif mark is not None:
        pytest.fail(
            "a test that is marked with seeds needs the fixture seeded_backend: let its anyio_backend return "
            "seeded_backend.as_anyio()",
            pytrace=False,
        )


def _seeds_of(mark: pytest.Mark) -> Iterable[int | None]:
    if len(mark.args) == 1 and isinstance(mark.args[0], Iterable):
        return cast("Iterable[int | None]", mark.args[0])
    pytest.fail(f"seeds takes the seeds, as in @pytest.mark.seeds(range(100)); got {mark.args}", pytrace=False)
