"""A server for all tests of a process, with a prefix for each test."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bridges.redis.figures import Figures
from tests.bridges.redis.server import Server, find_server
from tests.conftest import BACKENDS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("server")
            # coredis does not close the streams of a connection that has failed while it was opened.
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject(Send|Receive)Stream:ResourceWarning")
            )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the fault tests."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "when")]
    lines = [
        f"{report.nodeid.partition('::')[2]}: {figures}"
        for report in reports
        if report.when == "teardown"
        for name, figures in report.user_properties
        if name == "figures"
    ]
    if lines:
        terminalreporter.section(f"figures of the faults, on {find_server()}")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Each backend in real time, because another process does not know virtual time."""
    return request.param


@pytest.fixture(scope="module", autouse=True)
def collect_garbage() -> Iterator[None]:
    """Find the unclosed streams of coredis here, where the filter for their warnings applies."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.end()


@pytest.fixture
def own_server(tmp_path: Any) -> Iterator[Server]:
    """A server for one test, which may end it."""
    if find_server() is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    server = Server(tmp_path)
    server.start()
    yield server
    server.end()


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def rounds() -> Callable[[int, int], int]:
    """Choose a number: the first one, or the second one in the short form."""
    is_short = os.environ.get("ANTIPHON_FAULTS") == "short"
    return lambda full, short: short if is_short else full


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Iterator[Figures]:
    """What a fault test counts. It is printed at the end of the run."""
    made = Figures()
    yield made
    record_property("figures", str(made))
