"""Fixtures for pytest that run async tests with virtual time and seeded schedules, and an option for coverage.

pytest does not load this plugin automatically. Name it in a ``conftest.py``, and define the fixture ``anyio_backend``
of AnyIO's pytest plugin. It applies to all tests, or to those of the module or class in which you define it::

    pytest_plugins = ["antiphon.testing.plugin"]


    @pytest.fixture
    def anyio_backend(virtual_backend):
        return virtual_backend.as_anyio()

Only AnyIO's plugin reads that fixture. An async test that pytest-asyncio or pytest-trio would run fails instead of
running in real time.

The option ``--antiphon-coverage=events.html`` writes a page about the listeners that the tests called, and those that
they did not call. See `antiphon.instruments.coverage`.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator, Iterable, Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final, cast

import pytest

from antiphon.instruments.coverage import Coverage
from antiphon.testing._backends import Backend, backends

__all__ = ("seeded_backend", "virtual_backend")

#: The seeds for tests without the marker ``seeds``.
_DEFAULT_SEEDS: Final = range(10)

_COVERAGE_OPTION: Final = "--antiphon-coverage"

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--antiphon-coverage``."""
    parser.getgroup("antiphon").addoption(
        _COVERAGE_OPTION,
        metavar="PATH",
        help="write which listeners the tests called, and which events no listener received: to an HTML page, to a "
        "text file if the path ends in .txt, or to the terminal if it is -",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``seeds``, and the report of the option ``--antiphon-coverage``."""
    config.addinivalue_line("markers", "seeds(seeds): the seeds with which the fixture seeded_backend runs a test.")
    path = config.getoption(_COVERAGE_OPTION)
    if path is not None:
        config.pluginmanager.register(_CoverageReport(path, config), "antiphon-coverage")


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
    if not _is_async(item):
        return
    fixtures = [name for name in _FIXTURES if name in getattr(item, "fixturenames", ())]
    for mark, plugin, option, names in _OTHER_PLUGINS:
        if item.get_closest_marker(mark) is None or not any(map(item.config.pluginmanager.hasplugin, names)):
            continue
        # Without the mark of AnyIO, a test does not use the fixture that its backend would come from.
        fixture = next(iter(fixtures), None) or (None if _is_marked(item, mark) else _find_backend_fixture(item))
        if fixture is not None:
            pytest.fail(
                f"{fixture} requires that AnyIO's pytest plugin runs the test; got a test that {plugin} would run "
                f"in an event loop of its own, in real time; remove `{option}` or the mark {mark}, and mark the test "
                f"with @pytest.mark.anyio",
                pytrace=False,
            )


class _CoverageReport:
    """Observes the dispatches of all tests, and writes a report.

    With pytest-xdist, each worker process sends its rows to the process that writes the report.

    Args:
        path: The path of the report, or ``-`` for the terminal.
        config: The configuration of pytest.

    Raises:
        pytest.UsageError: If the file cannot be written.
    """

    def __init__(self, path: str, config: pytest.Config) -> None:
        self._coverage = Coverage()
        self._is_worker = hasattr(config, "workerinput")
        self._path = None if path == "-" else Path(path)
        if self._path is not None and not self._is_worker:
            try:
                # Raise now, not after the tests.
                self._path.touch()
            except OSError as exc:
                raise pytest.UsageError(f"{_COVERAGE_OPTION}: {path} cannot be written: {exc.strerror}") from exc

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        with self._coverage:
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        # The listeners of the test are still registered.
        self._coverage.collect()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            output: dict[str, object] = cast("Any", session.config).workeroutput
            parts = (self._coverage.listeners, self._coverage.events, self._coverage.timeline)
            output[_COVERAGE_OPTION] = pickle.dumps(parts)
        elif self._path is not None:
            self._coverage.write(self._path)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker that crashed has no output.
        rows: bytes | None = getattr(node, "workeroutput", {}).get(_COVERAGE_OPTION)
        if rows is not None:
            self._coverage.merge(*pickle.loads(rows))  # noqa: S301  from a process of the same test run

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._is_worker:
            return
        terminalreporter.section("event coverage")
        text = self._coverage.text()
        if self._path is not None:
            # The totals.
            text = text.partition("\n\n")[0] + f"\nwritten to {self._path}\n"
        terminalreporter.write(text)


def _is_async(item: pytest.Item) -> bool:
    function = getattr(item, "function", None)
    hypothesis = getattr(function, "hypothesis", None)
    return iscoroutinefunction(getattr(hypothesis, "inner_test", function))


def _is_marked(item: pytest.Item, name: str) -> bool:
    """Return whether a test, its class or its module has a mark that a plugin did not add."""
    own = getattr(getattr(item, "function", None), "pytestmark", ())
    inherited = [mark for node in item.listchain()[:-1] for mark in node.own_markers]
    return any(mark.name == name for mark in (*own, *inherited))


def _find_backend_fixture(item: pytest.Item) -> str | None:
    """Return the fixture of this plugin that ``anyio_backend`` uses where the test is, or None."""
    # pytest has no public function that finds a fixture that a test does not use.
    find = getattr(getattr(item.session, "_fixturemanager", None), "getfixturedefs", None)
    definitions: Sequence[pytest.FixtureDef[Any]] = (find and find("anyio_backend", item)) or ()
    return next((name for name in _FIXTURES for used in definitions[-1:] if name in used.argnames), None)


def _get_seeds(mark: pytest.Mark) -> Iterable[int | None]:
    if len(mark.args) == 1 and isinstance(mark.args[0], Iterable):
        return cast("Iterable[int | None]", mark.args[0])
    pytest.fail(f"seeds requires an iterable, as in @pytest.mark.seeds(range(100)); got {mark.args}", pytrace=False)
