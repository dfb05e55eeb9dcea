"""Fixtures for pytest that run async tests with virtual time and seeded schedules.

pytest does not load this plugin automatically. Name it in a ``conftest.py``, and define the fixture ``anyio_backend``
of AnyIO's pytest plugin. It applies to all tests, or to those of the module or class in which you define it::

    pytest_plugins = ["antiphon.testing.plugin"]


    @pytest.fixture
    def anyio_backend(virtual_backend):
        return virtual_backend.as_anyio()

Only AnyIO's plugin reads that fixture. An async test that pytest-asyncio or pytest-trio would run fails instead of
running in real time.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Final, cast

import pytest

from antiphon.testing._backends import Backend, backends

__all__ = ("seeded_backend", "virtual_backend")

#: The seeds for tests without the marker ``seeds``.
_DEFAULT_SEEDS: Final = range(10)

#: The fixtures of this plugin.
_FIXTURES: Final = ("virtual_backend", "seeded_backend")

#: Other plugins that run async tests: the mark of their tests, the name of the plugin, the option for all tests, and
#: the names under which pytest may have registered the plugin.
_OTHER_PLUGINS: Final = (
    ("asyncio", "pytest-asyncio", "asyncio_mode = auto", ("asyncio", "pytest_asyncio", "pytest_asyncio.plugin")),
    ("trio", "pytest-trio", "trio_mode = true", ("trio", "pytest_trio", "pytest_trio.plugin")),
)


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an async test that would not run on the backend of its fixture."""
    fixtures = [name for name in _FIXTURES if name in getattr(item, "fixturenames", ())]
    if not fixtures or not _is_async(item):
        return
    for mark, plugin, option, names in _OTHER_PLUGINS:
        if item.get_closest_marker(mark) is not None and any(map(item.config.pluginmanager.hasplugin, names)):
            pytest.fail(
                f"{fixtures[0]} requires that AnyIO's pytest plugin runs the test; got a test that {plugin} would run "
                f"in an event loop of its own, in real time; remove `{option}` or the mark {mark}, and mark the test "
                f"with @pytest.mark.anyio",
                pytrace=False,
            )


def _is_async(item: pytest.Item) -> bool:
    function = getattr(item, "function", None)
    hypothesis = getattr(function, "hypothesis", None)
    return iscoroutinefunction(getattr(hypothesis, "inner_test", function))


def _get_seeds(mark: pytest.Mark) -> Iterable[int | None]:
    if len(mark.args) == 1 and isinstance(mark.args[0], Iterable):
        return cast("Iterable[int | None]", mark.args[0])
    pytest.fail(f"seeds requires an iterable, as in @pytest.mark.seeds(range(100)); got {mark.args}", pytrace=False)
