"""``python -m examples.proxy``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.proxy.__main__ import main
from examples.proxy.applications import Guard, HeaderFilter, default_applications
from examples.proxy.applications.storage import DROPPED, WRITTEN
from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
)
from examples.proxy.report import percentile
from tests.example_proxy.running_proxy import STRATEGIES

ROOT = Path(__file__).parent.parent.parent

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Listening:
    """An application of one listener."""

    def __init__(self, name, function):
        self.name, self.function = name, function

    def register(self, dispatcher):
        dispatcher.add_listener(self.name, self.listen, priority=100)

    def figures(self):
        return {}

    async def listen(self, event):
        self.function(event)


def run_main(arguments, *applications):
    return main(arguments.split(), lambda: [*default_applications(), *applications])


def read_table(text):
    """Return the numbers of each row by its first cell; two spaces or more separate columns."""
    rows = {}
    for line in text.splitlines()[3:]:
        word, *cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        rows[word] = [float(cell) for cell in cells]
    return rows


@pytest.mark.slow
def test_default_is_both_backends_with_both_strategies():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.proxy", "--requests", "27", "--clients", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    rows = read_table(done.stdout)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:8] == ["asyncio", "asyncio", "trio", "trio", *["sequential", "concurrent"] * 2]
    assert rows["requests"] == rows[TRANSACTION_STARTED] == rows[TRANSACTION_ENDED] == [27] * 4
    assert (rows[WRITTEN], rows[DROPPED]) == ([27] * 4, [0] * 4)
    assert done.stderr.count("100 %") == 4
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("name", STRATEGIES)
@on_both_backends
def test_figures_add_up(backend, name, capsys):
    assert run_main(f"--backend {backend} --strategy {name} --requests 27 --clients 4") == 0

    rows = {word: cells[0] for word, cells in read_table(capsys.readouterr().out).items()}
    requests, hits, refusals = rows["requests"], rows["cache hits"], rows["refusals"]

    assert requests == 27
    assert rows[TRANSACTION_STARTED] == rows[TRANSACTION_ENDED] == rows["lines in the access log"] == requests
    assert rows[FILTER_REQUEST] == rows[FILTER_RESPONSE] == requests
    assert rows[TRANSACTION_MESSAGE] == 2 * requests
    assert rows["audits"] == 3 * rows[TRANSACTION_MESSAGE]
    assert (hits, refusals, rows[PROXY_ERROR]) == (6, 2, 2)
    assert rows["stops"] == hits + refusals
    assert rows["latency p50, ms"] <= rows["latency p99, ms"]
    # Guard, cache and header filter run before the upstream, each of which may be the last; cache and header filter
    # run after it. Besides: three audits of each message, two listeners of the access log, and two of the storage.
    filters = 3 * requests - hits - 2 * refusals
    log = requests + rows[PROXY_ERROR]
    storage = requests + rows[WRITTEN]
    assert rows["listeners run"] == rows["audits"] + filters + 2 * requests + log + storage


@on_both_backends
@pytest.mark.parametrize(
    ("name", "spoil", "complaint"),
    [
        (FILTER_RESPONSE, lambda event: setattr(event.response, "body", event.response.body + b"!"), "a body of"),
        (FILTER_RESPONSE, lambda event: setattr(event.response, "status", 299), "status 299 instead of 200"),
        (FILTER_RESPONSE, lambda event: event.response.headers.remove("via"), "via: '' instead of"),
        (FILTER_RESPONSE, lambda event: event.response.headers.add("te", "x"), "te was forwarded to the client"),
        (FILTER_RESPONSE, lambda event: event.response.headers.add("connection", "close"), "was not kept"),
        (FILTER_RESPONSE, lambda event: event.response.headers.add("x", "two\nlines"), "RemoteProtocolError"),
        (FILTER_REQUEST, lambda event: event.request.headers.remove("via"), "the upstream did not receive the header"),
        (FILTER_REQUEST, lambda event: event.request.headers.add("te", "x"), "te was forwarded to the upstream"),
    ],
    ids=["body", "status", "no via", "te", "closed", "unsendable", "no via upstream", "te upstream"],
)
def test_wrong_response_is_status_1(backend, name, spoil, complaint, capsys):
    arguments = f"--backend {backend} --strategy concurrent --requests 9 --clients 1"

    assert run_main(arguments, Listening(name, spoil)) == 1
    assert complaint in capsys.readouterr().err


def test_uncached_response_is_status_1(capsys):
    assert main(["--backend", "asyncio", "--requests", "9"], lambda: [Guard(), HeaderFilter()]) == 1

    errors = capsys.readouterr().err
    assert "not the cached response" in errors
    assert "stops: 1 instead of" in errors


def test_raising_listener_is_status_1(capsys):
    def fail(event):
        raise RuntimeError("no stock")

    assert run_main("--requests 40 --backend trio", Listening(TRANSACTION_STARTED, fail)) == 1
    assert "more" in capsys.readouterr().err.splitlines()[-1]


def test_lost_row_is_status_1(capsys, caplog):
    def repeat_number(event):
        # The table accepts a number once.
        event.transaction.number = 1

    arguments = "--requests 9 --backend asyncio --strategy sequential"
    application = Listening(TRANSACTION_ENDED, repeat_number)
    application.register = lambda dispatcher: dispatcher.add_listener(TRANSACTION_ENDED, application.listen)

    assert run_main(arguments, application) == 1
    assert "1 rows written and 0 rows dropped of 9 transactions" in capsys.readouterr().err
    assert caplog.text.count("IntegrityError") == 8


@on_both_backends
@pytest.mark.parametrize("storage", ["suspend", "drop_oldest", "drop_newest"])
def test_each_transaction_is_written_or_dropped(backend, storage, capsys):
    assert run_main(f"--backend {backend} --strategy concurrent --requests 27 --storage {storage}") == 0

    rows = {word: cells[0] for word, cells in read_table(capsys.readouterr().out).items()}
    assert rows[WRITTEN] + rows[DROPPED] == 27


@pytest.mark.parametrize("arguments", ["--storage forget", "--requests 0", "--requests -1", "--requests many"])
def test_invalid_arguments_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        run_main(arguments)

    assert raised.value.code == 2
    assert arguments.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize("requests", [1, 2, 3, 4])
def test_smallest_workloads(requests):
    assert run_main(f"--requests {requests} --backend asyncio --strategy concurrent") == 0


@on_both_backends
def test_timeline_shows_concurrent_listeners(backend, tmp_path, capsys):
    path = tmp_path / "trace.json"

    assert run_main(f"--backend {backend} --strategy concurrent --requests 9 --timeline {path}") == 0

    assert f"the timeline is in {path}" in capsys.readouterr().err
    bars = [bar for bar in json.loads(path.read_text())["traceEvents"] if bar["name"].startswith("Auditor.audit(")]
    audits = sorted((bar["ts"], bar["ts"] + bar["dur"]) for bar in bars if bar["ph"] == "X")
    assert len(audits) == 3 * 2 * 9
    assert audits[2][0] < audits[0][1]


def test_each_run_has_its_own_timeline(tmp_path):
    assert run_main(f"--requests 4 --backend asyncio --timeline {tmp_path / 'trace.svg'}") == 0

    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["trace-asyncio-concurrent.svg", "trace-asyncio-sequential.svg"]


def test_percentile_is_the_nearest_rank():
    values = list(range(1, 101))

    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7], 0.5) == 7
