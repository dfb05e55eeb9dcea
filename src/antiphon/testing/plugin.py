"""Fixtures for pytest that run async tests with virtual time and seeded schedules.

pytest does not load this plugin automatically. Name it in a ``conftest.py``, and define the fixture ``anyio_backend``
of AnyIO's pytest plugin. It applies to all tests, or to those of the module or class in which you define it::

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

#: The seeds for tests without the marker ``seeds``.
_DEFAULT_SEEDS: Final = range(10)


@pytest.fixture(scope="module")
def virtual_backend(request: pytest.FixtureRequest) -> Backend:
    """Each installed backend, with virtual time."""
    backend: Backend = request.param
    return backend


@pytest.fixture(scope="module")
def seeded_backend(request: pytest.FixtureRequest) -> Backend:
    """Each installed backend, with virtual time and each of ten seeds.

    The marker ``@pytest.mark.seeds(range(100))`` sets other seeds for a test.
    """
    backend: Backend = request.param
    return backend


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``seeds``."""
    config.addinivalue_line("markers", "seeds(seeds): the seeds with which the fixture seeded_backend runs a test.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each backend and each seed."""
    mark = metafunc.definition.get_closest_marker("seeds")
    if "virtual_backend" in metafunc.fixturenames:
        metafunc.parametrize("virtual_backend", backends(), ids=str, indirect=True)
    if "seeded_backend" in metafunc.fixturenames:
        seeds = _DEFAULT_SEEDS if mark is None else _get_seeds(mark)
        metafunc.parametrize("seeded_backend", backends(seeds=seeds), ids=str, indirect=True)
    elif mark is not None:
        pytest.fail(
            "a test with the marker seeds requires the fixture seeded_backend: return seeded_backend.as_anyio() from "
            "the fixture anyio_backend",
            pytrace=False,
        )


def _get_seeds(mark: pytest.Mark) -> Iterable[int | None]:
    if len(mark.args) == 1 and isinstance(mark.args[0], Iterable):
        return cast("Iterable[int | None]", mark.args[0])
    pytest.fail(f"seeds requires an iterable, as in @pytest.mark.seeds(range(100)); got {mark.args}", pytrace=False)
