"""The example proxy: its command, what it does with requests, and what it does with peers that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import anyio
import h11
import pytest
from anyio.abc import SocketAttribute
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, QueueNotDrained, Sequential
from examples.proxy.__main__ import main
from examples.proxy.applications import (
    AccessLog,
    Auditor,
    Cache,
    Guard,
    HeaderFilter,
    Storage,
    default_applications,
)
from examples.proxy.applications.storage import DROPPED, HELD, RECORD, WRITTEN
from examples.proxy.client import HttpClient
from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    NAMES,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
    FilterRequest,
    FilterResponse,
    TransactionEnded,
)
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Request, Response, Transaction
from examples.proxy.proxy import Proxy
from examples.proxy.report import percentile
from examples.proxy.rows import Row, Rows
from examples.proxy.run import run
from examples.proxy.server import serving
from examples.proxy.upstream import Upstream, pattern

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent}


@pytest.fixture(params=STRATEGIES)
def strategy(request):
    return STRATEGIES[request.param]()


class Stage:
    """A proxy before an upstream, and what its dispatcher dispatched."""

    def __init__(self, applications=(), strategy=None, limits=None, service=None):
        self.limits = limits or Limits()
        self.dispatcher = AsyncEventDispatcher(strategy=strategy)
        self.service = service or Upstream()
        self.heard = []

        for name in NAMES:
            self.dispatcher.add_listener(name, self.hear, priority=-1000)

        for application in applications:
            application.register(self.dispatcher)

    async def hear(self, event):
        self.heard.append(event)

    def names(self):
        return [event.name for event in self.heard]

    def errors(self):
        return [event.error for event in self.heard if event.name == PROXY_ERROR]

    def stops(self):
        return [event.name for event in self.heard if event.propagation_stopped]

    @asynccontextmanager
    async def up(self):
        async with serving(self.service, self.limits) as upstream_port, self.before(upstream_port):
            yield self

    @asynccontextmanager
    async def before(self, upstream_port):
        async with serving(Proxy(self.dispatcher, HOST, upstream_port, self.limits), self.limits) as self.port:
            yield self

    def client(self):
        return HttpClient.connect(HOST, self.port, self.limits)

    async def ask(self, method="GET", target="/hello/you", body=b"", **headers):
        async with self.client() as client:
            return await client.exchange(request(method, target, body, **headers))

    async def talk(self, text):
        """Send bytes as they stand and return all that comes until the proxy hangs up."""
        async with await anyio.connect_tcp(HOST, self.port) as stream:
            await stream.send(text)
            return b"".join([part async for part in stream])


def request(method="GET", target="/hello/you", body=b"", **headers):
    fields = [("host", "example"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Request(method, target, Headers(fields), body)


async def unused_port():
    async with await anyio.create_tcp_listener(local_host=HOST) as listener:
        return listener.extra(SocketAttribute.local_port)


class TestCommand:
    """``python -m examples.proxy``."""

    def test_default_runs_both_backends_with_both_strategies_and_all_is_well(self):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "examples.proxy", "--requests", "27", "--clients", "3"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        rows = read_table(ended.stdout)

        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[0].split() == ["asyncio", "asyncio", "trio", "trio"]
        assert ended.stdout.splitlines()[1].split() == ["sequential", "concurrent"] * 2
        assert rows["requests"] == rows[TRANSACTION_STARTED] == rows[TRANSACTION_ENDED] == [27] * 4
        assert (rows[WRITTEN], rows[DROPPED]) == ([27] * 4, [0] * 4)
        assert ended.stderr.count("100 %") == 4
        assert "Traceback" not in ended.stderr
        assert "Warning" not in ended.stderr

    @pytest.mark.parametrize("name", STRATEGIES)
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_figures_add_up(self, backend, name, capsys):
        assert main(["--backend", backend, "--strategy", name, "--requests", "27", "--clients", "4"]) == 0

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
        # Before the upstream: guard, cache, header filter, each of which may be the last. After it: cache and header
        # filter. Beside them three audits of each message, the access log's two, and the storage's two.
        filters = 3 * requests - hits - 2 * refusals
        log = requests + rows[PROXY_ERROR]
        storage = requests + rows[WRITTEN]
        assert rows["listeners run"] == rows["audits"] + filters + 2 * requests + log + storage

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @pytest.mark.parametrize(
        ("name", "spoil", "complaint"),
        [
            (FILTER_RESPONSE, lambda event: setattr(event.response, "body", event.response.body + b"!"), "a body of"),
            (FILTER_RESPONSE, lambda event: setattr(event.response, "status", 299), "status 299 instead of 200"),
            (FILTER_RESPONSE, lambda event: event.response.headers.remove("via"), "via: '' instead of"),
            (FILTER_RESPONSE, lambda event: event.response.headers.add("te", "x"), "te was forwarded to the client"),
            (FILTER_RESPONSE, lambda event: event.response.headers.add("connection", "close"), "was not kept"),
            (FILTER_RESPONSE, lambda event: event.response.headers.add("x", "two\nlines"), "RemoteProtocolError"),
            (
                FILTER_REQUEST,
                lambda event: event.request.headers.remove("via"),
                "the upstream did not receive the header via",
            ),
            (FILTER_REQUEST, lambda event: event.request.headers.add("te", "x"), "te was forwarded to the upstream"),
        ],
        ids=["body", "status", "no via", "te", "closed", "unsendable", "no via upstream", "te upstream"],
    )
    def test_any_wrong_response_ends_it_with_1(self, backend, name, spoil, complaint, capsys):
        class Spoiler:
            def register(self, dispatcher):
                dispatcher.add_listener(name, self.spoil, priority=100)

            def figures(self):
                return {}

            async def spoil(self, event):
                spoil(event)

        arguments = ["--backend", backend, "--strategy", "concurrent", "--requests", "9", "--clients", "1"]

        assert main(arguments, lambda: [*default_applications(), Spoiler()]) == 1
        assert complaint in capsys.readouterr().err

    def test_cached_answer_that_is_not_the_same_ends_it_with_1(self, capsys):
        assert main(["--backend", "asyncio", "--requests", "9"], lambda: [Guard(), HeaderFilter()]) == 1

        errors = capsys.readouterr().err
        assert "not the cached response" in errors
        assert "stops: 1 instead of" in errors

    def test_listener_that_raises_ends_it_with_1(self, capsys):
        class Broken:
            def register(self, dispatcher):
                dispatcher.add_listener(TRANSACTION_STARTED, self.fail)

            def figures(self):
                return {}

            async def fail(self, event):
                raise RuntimeError("I am broken")

        assert main(["--requests", "40", "--backend", "trio"], lambda: [*default_applications(), Broken()]) == 1
        assert "more" in capsys.readouterr().err.splitlines()[-1]

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @pytest.mark.parametrize("storage", ["suspend", "drop_oldest", "drop_newest"])
    def test_every_transaction_is_written_or_counted_as_dropped(self, backend, storage, capsys):
        arguments = ["--backend", backend, "--strategy", "concurrent", "--requests", "27", "--storage", storage]
        assert main(arguments) == 0

        rows = {word: cells[0] for word, cells in read_table(capsys.readouterr().out).items()}
        assert rows[WRITTEN] + rows[DROPPED] == 27

    def test_row_that_is_lost_ends_it_with_1(self, capsys, caplog):
        class Confuser:
            def register(self, dispatcher):
                dispatcher.add_listener(TRANSACTION_ENDED, self.confuse)

            def figures(self):
                return {}

            async def confuse(self, event):
                # The table takes a number once.
                event.transaction.number = 1

        arguments = ["--requests", "9", "--backend", "asyncio", "--strategy", "sequential"]

        assert main(arguments, lambda: [*default_applications(), Confuser()]) == 1
        assert "1 rows written and 0 rows dropped of 9 transactions" in capsys.readouterr().err
        assert caplog.text.count("IntegrityError") == 8

    def test_refuses_another_overflow(self, capsys):
        with pytest.raises(SystemExit) as raised:
            main(["--storage", "forget"])

        assert raised.value.code == 2

    @pytest.mark.parametrize("count", ["0", "-1", "many"])
    def test_refuses_to_send_no_requests(self, count, capsys):
        with pytest.raises(SystemExit) as raised:
            main(["--requests", count])

        assert raised.value.code == 2
        assert "--requests" in capsys.readouterr().err

    @pytest.mark.parametrize("requests", [1, 2, 3, 4])
    def test_smallest_workloads(self, requests, capsys):
        assert main(["--requests", str(requests), "--backend", "asyncio", "--strategy", "concurrent"]) == 0

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_timeline_shows_what_ran_together(self, backend, tmp_path, capsys):
        path = tmp_path / "trace.json"
        arguments = ["--backend", backend, "--strategy", "concurrent", "--requests", "9", "--timeline", str(path)]

        assert main(arguments) == 0

        assert f"the timeline is in {path}" in capsys.readouterr().err
        audits = [
            bar for bar in json.loads(path.read_text())["traceEvents"] if bar["name"].startswith("Auditor.audit(")
        ]
        audits = sorted((bar["ts"], bar["ts"] + bar["dur"]) for bar in audits if bar["ph"] == "X")
        assert len(audits) == 3 * 2 * 9
        assert audits[2][0] < audits[0][1]

    def test_timelines_of_several_runs_are_several_files(self, tmp_path):
        assert main(["--requests", "4", "--backend", "asyncio", "--timeline", str(tmp_path / "trace.svg")]) == 0

        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "trace-asyncio-concurrent.svg",
            "trace-asyncio-sequential.svg",
        ]

    def test_percentile_is_the_nearest_rank(self):
        values = list(range(1, 101))

        assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
        assert percentile([7], 0.5) == 7


def read_table(text):
    """Return the numbers of each row by its first cell; columns are set apart by two spaces or more."""
    rows = {}

    for line in text.splitlines()[3:]:
        word, *cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        rows[word] = [float(cell) for cell in cells]

    return rows


class TestTransaction:
    """The events of one transaction, and what listeners can do in each."""

    async def test_events_come_in_this_order(self, strategy):
        async with Stage(strategy=strategy).up() as stage:
            response = await stage.ask()

        first, second = (event.message for event in stage.heard if event.name == TRANSACTION_MESSAGE)

        assert (response.status, response.body) == (200, b"Hello, you!\n")
        assert stage.names() == [
            TRANSACTION_STARTED,
            TRANSACTION_MESSAGE,
            FILTER_REQUEST,
            FILTER_RESPONSE,
            TRANSACTION_MESSAGE,
            TRANSACTION_ENDED,
        ]
        assert len({event.transaction.number for event in stage.heard}) == 1
        assert (first.target, second.body) == ("/hello/you", response.body)

    async def test_listener_may_answer_instead_of_the_upstream(self, strategy):
        stage = Stage(strategy=strategy)

        @stage.dispatcher.listen(FILTER_REQUEST)
        async def answer(event):
            event.response = Response.text(418, "no coffee here")
            event.stop_propagation()

        @stage.dispatcher.listen(FILTER_REQUEST, priority=1)
        async def too_late(event):
            event.response = Response.text(200, "coffee")

        async with stage.up():
            response = await stage.ask()

        assert (response.status, response.body) == (418, b"no coffee here\n")
        assert stage.service.asked == {}

    async def test_listener_may_change_and_replace(self, strategy):
        stage = Stage(strategy=strategy)

        @stage.dispatcher.listen(FILTER_REQUEST)
        async def send_elsewhere(event):
            event.request = Request("POST", "/echo", event.request.headers, b"from the listener")

        @stage.dispatcher.listen(FILTER_RESPONSE)
        async def shout(event):
            event.response = Response(event.response.status, Headers(), event.response.body.upper())

        async with stage.up():
            response = await stage.ask()

        assert (response.status, response.body) == (201, b"FROM THE LISTENER")

    async def test_hop_by_hop_headers_are_left_behind_on_both_sides(self):
        async with Stage().up() as stage:
            response = await stage.ask(connection="x-mine", x_mine="1", te="trailers", x_yours="2")

        seen = response.headers.tokens("x-seen")

        assert not {"connection", "x-mine", "te"} & seen
        assert {"host", "x-yours"} <= seen
        assert not {name for name, _ in response.headers} & {"connection", "keep-alive", "x-internal"}

    async def test_listener_that_raises_fails_one_transaction_and_no_other(self, strategy):
        stage = Stage(strategy=strategy)

        @stage.dispatcher.listen(FILTER_RESPONSE)
        async def fail(event):
            if event.transaction.request.target == "/hello/bad":
                raise RuntimeError("I am broken")

        async with stage.up(), stage.client() as client:
            bad = await client.exchange(request(target="/hello/bad"))
            good = await client.exchange(request(target="/hello/good"))

        assert (bad.status, bad.body) == (500, b"the proxy failed\n")
        assert (good.status, good.body) == (200, b"Hello, good!\n")
        assert "I am broken" in repr(stage.errors())
        assert stage.names().count(TRANSACTION_ENDED) == 2

    @pytest.mark.parametrize("name", [FILTER_REQUEST, FILTER_RESPONSE])
    async def test_message_that_cannot_be_sent_fails_its_transaction_and_no_other(self, name):
        stage = Stage()

        @stage.dispatcher.listen(name)
        async def spoil(event):
            if event.transaction.request.target == "/hello/bad":
                message = event.request if name == FILTER_REQUEST else event.response
                message.headers.add("x-two", "lines\r\nof text")

        async with stage.up():
            if name == FILTER_REQUEST:
                assert (await stage.ask(target="/hello/bad")).status == 500
            else:
                with pytest.raises(h11.RemoteProtocolError):
                    await stage.ask(target="/hello/bad")

            assert (await stage.ask()).status == 200

        assert stage.names().count(TRANSACTION_ENDED) == 2

    async def test_listener_of_the_end_that_raises_is_logged(self, strategy, caplog):
        stage = Stage(strategy=strategy)

        @stage.dispatcher.listen(TRANSACTION_ENDED)
        async def fail(event):
            raise RuntimeError("I am broken")

        async with stage.up(), stage.client() as client:
            statuses = [(await client.exchange(request())).status for _ in range(2)]

        assert statuses == [200, 200]
        assert [record.getMessage() for record in caplog.records] == [f"a listener of {TRANSACTION_ENDED} failed"] * 2

    @pytest.mark.skipif(
        tuple(map(int, version("anyio").split(".")[:2])) < (4, 16),
        reason="before 4.16 a cancelled anyio.connect_tcp leaves its socket to the garbage collector",
    )
    async def test_cancelled_transaction_is_seen_to_end(self, strategy):
        stage = Stage(strategy=strategy, limits=Limits(shutdown_seconds=0))
        asked = anyio.Event()

        @stage.dispatcher.listen(FILTER_REQUEST)
        async def tell(event):
            asked.set()

        async with stage.up(), await anyio.connect_tcp(HOST, stage.port) as stream:
            await stream.send(b"GET /silent HTTP/1.1\r\nhost: example\r\n\r\n")
            await asked.wait()

        assert stage.names() == [TRANSACTION_STARTED, TRANSACTION_MESSAGE, FILTER_REQUEST, TRANSACTION_ENDED]
        assert stage.heard[-1].transaction.response is None


class TestApplications:
    """Each application alone before the proxy."""

    async def test_cache_answers_and_stops(self, strategy):
        async with Stage([Cache()], strategy).up() as stage:
            made = await stage.ask(target="/cacheable/bread")
            kept = [await stage.ask(target="/cacheable/bread") for _ in range(3)]

        assert [response.body for response in kept] == [made.body] * 3
        assert {response.headers.get("age") for response in kept} == {"0"}
        assert stage.service.asked == {"/cacheable/bread": 1}
        assert stage.stops() == [FILTER_REQUEST] * 3

    async def test_what_listeners_do_to_a_cached_response_stays_out_of_the_cache(self, strategy):
        async with Stage([Cache(), HeaderFilter()], strategy).up() as stage:
            responses = [await stage.ask(target="/cacheable/bread") for _ in range(3)]

        assert [response.headers.get("via") for response in responses] == ["1.1 antiphon"] * 3

    @pytest.mark.parametrize(
        ("method", "headers"),
        [("POST", {}), ("HEAD", {}), ("GET", {"authorization": "me"}), ("GET", {"cache-control": "no-cache"})],
    )
    async def test_cache_keeps_out_of_what_is_not_for_all(self, method, headers):
        async with Stage([Cache()]).up() as stage:
            for _ in range(2):
                await stage.ask(method, "/cacheable/bread", **headers)

        assert stage.service.asked == {"/cacheable/bread": 2}

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (200, {}),
            (404, {"cache-control": "max-age=9"}),
            (200, {"cache-control": "max-age=0"}),
            (200, {"cache-control": "max-age=soon"}),
            (200, {"cache-control": "private, max-age=9"}),
            (200, {"cache-control": "No-Store, max-age=9"}),
            (200, {"cache-control": "max-age=9", "vary": "accept"}),
            (200, {"cache-control": "max-age=9", "set-cookie": "a=b"}),
        ],
    )
    async def test_cache_keeps_nothing_that_it_may_not(self, status, headers):
        dispatcher, cache = AsyncEventDispatcher(), Cache()
        cache.register(dispatcher)
        await dispatcher.adispatch(
            FILTER_RESPONSE, FilterResponse(Transaction(request()), Response(status, Headers(headers.items())))
        )

        event = await dispatcher.adispatch(FILTER_REQUEST, FilterRequest(Transaction(request()), request()))

        assert event.response is None
        assert not event.propagation_stopped

    async def test_cache_forgets_what_is_old_and_what_is_least_used(self):
        now = 0.0
        dispatcher, cache = AsyncEventDispatcher(), Cache(capacity=2, clock=lambda: now)
        cache.register(dispatcher)

        async def keep(target):
            response = Response(200, Headers([("cache-control", "max-age=60")]))
            await dispatcher.adispatch(FILTER_RESPONSE, FilterResponse(Transaction(request(target=target)), response))

        async def knows(target):
            event = FilterRequest(Transaction(request(target=target)), request(target=target))
            return (await dispatcher.adispatch(FILTER_REQUEST, event)).propagation_stopped

        for target in ("/a", "/b"):
            await keep(target)

        assert await knows("/a")
        await keep("/c")
        assert [await knows(target) for target in ("/a", "/b", "/c")] == [True, False, True]
        now = 60.0
        assert [await knows(target) for target in ("/a", "/c")] == [False, False]
        assert cache.figures() == {"cache hits": 3}

    async def test_header_filter_signs_both_messages_and_hides_the_server(self, strategy):
        async with Stage([HeaderFilter()], strategy).up() as stage:
            response = await stage.ask()

        assert "via" in response.headers.tokens("x-seen")
        assert response.headers.get("via") == "1.1 antiphon"
        assert response.headers.get("x-content-type-options") == "nosniff"
        assert "server" not in response.headers

    @pytest.mark.parametrize(
        "target",
        [
            "/private",
            "/private/1",
            "/private?x",
            "//private/1",
            "/a/../private/1",
            "/%70rivate/1",
            "/a/%2e%2e/private",
            "http://example/private/1",
        ],
    )
    async def test_guard_refuses_and_stops_however_it_is_written(self, target, strategy):
        async with Stage([Guard(), Cache()], strategy).up() as stage:
            response = await stage.ask(target=target)

        assert (response.status, response.body) == (403, b"this is private\n")
        assert stage.stops() == [FILTER_REQUEST]
        assert stage.service.asked == {}

    async def test_guard_lets_others_pass(self):
        async with Stage([Guard()]).up() as stage:
            statuses = [(await stage.ask(target=target)).status for target in ("/privateer", "/hello/private", "/")]

        assert statuses == [404, 200, 404]

    async def test_access_log_writes_a_line_for_each_transaction_and_failure(self, caplog):
        caplog.set_level("INFO")

        async with Stage([AccessLog(), Guard()]).up() as stage:
            await stage.ask()
            await stage.ask(target="/private")
            await stage.ask(target="/broken")

        lines = [record.getMessage().partition(" ")[2] for record in caplog.records]

        assert lines[0].startswith("GET /hello/you -> 200 in ")
        assert lines[1].startswith("GET /private -> 403 in ")
        assert lines[1].endswith(" [refused]")
        assert lines[2].startswith("failed: RemoteProtocolError(")
        assert lines[3].startswith("GET /broken -> 502 in ")

    @pytest.mark.parametrize(("name", "together"), [("sequential", 1), ("concurrent", 3)])
    async def test_audits_of_a_message_run_together_only_in_a_concurrent_dispatch(self, name, together):
        class Watched(Auditor):
            running = most = 0

            async def audit(self, authority, event):
                self.running += 1
                self.most = max(self.most, self.running)
                await super().audit(authority, event)
                self.running -= 1

        auditor = Watched()
        result = await run(STRATEGIES[name](), [auditor, Cache(), Guard(), HeaderFilter()], 3, 1)

        assert (auditor.most, auditor.running) == (together, 0)
        assert result.figures["audits"] == 3 * 2 * 3
        assert result.problems == []

    async def test_sequential_transaction_takes_all_its_audits_in_turn(self):
        result = await run(Sequential(), [Auditor(seconds=0.005), Cache(), Guard(), HeaderFilter()], 3, 1)

        # Two messages, three audits each; the clock may be a little coarse.
        assert result.latencies[0] >= 0.029


class Archive:
    """A storage of which the writing can be held up, and what it was given to write."""

    def __init__(self, overflow, **options):
        self.dispatcher = AsyncEventDispatcher()
        self.storage = Storage(overflow, max_buffer_size=4, **options)
        self.storage.register(self.dispatcher)
        self.may_write = anyio.Event()
        self.written = []
        self.dispatcher.add_listener(RECORD, self.hold, priority=-1)

    async def hold(self, event):
        await self.may_write.wait()
        self.written.append(event.row.target)

    async def end(self, number):
        await self.dispatcher.adispatch(TRANSACTION_ENDED, TransactionEnded(Transaction(Request("GET", str(number)))))

    def held(self):
        now = self.storage.statistics()
        return now.running, now.current_buffer_used, now.posts_waiting


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class TestStorage:
    """The records of transactions: kept, or counted as dropped."""

    async def test_burst_waits_for_the_disk_and_nothing_is_lost(self):
        archive = Archive("suspend")

        async with archive.storage.lifespan(), anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(archive.end, number)

            await anyio.wait_all_tasks_blocked()
            # The buffer holds no more than it may; the others are the clients', each with the one record it waits for.
            assert archive.held() == (1, 4, 45)
            archive.may_write.set()

        assert sorted(archive.written, key=int) == [str(number) for number in range(50)]
        assert archive.storage.figures() == {WRITTEN: 50, DROPPED: 0, HELD: 50}
        assert archive.held() == (0, 0, 0)

    @pytest.mark.parametrize(
        ("overflow", "kept"), [("drop_oldest", [0, 46, 47, 48, 49]), ("drop_newest", [0, 1, 2, 3, 4])]
    )
    async def test_burst_waits_for_nothing_and_what_is_dropped_is_counted(self, overflow, kept):
        archive = Archive(overflow)

        async with archive.storage.lifespan():
            await archive.end(0)
            await anyio.wait_all_tasks_blocked()

            for number in range(1, 50):
                await archive.end(number)

            assert archive.held() == (1, 4, 0)
            archive.may_write.set()

        assert archive.written == [str(number) for number in kept]
        assert archive.storage.figures() == {WRITTEN: 5, DROPPED: 45, HELD: 6}

    @pytest.mark.parametrize("overflow", ["suspend", "drop_oldest", "drop_newest"])
    async def test_proxy_with_a_small_buffer_and_a_slow_disk(self, overflow):
        storage = Storage(overflow, max_buffer_size=2, stall_every=2, stall_seconds=0.005)
        result = await run(Concurrent(), [Auditor(seconds=0), Cache(), Guard(), HeaderFilter(), storage], 20, 4)

        assert result.problems == []
        assert result.figures[WRITTEN] + result.figures[DROPPED] == 20
        assert overflow != "suspend" or result.figures[DROPPED] == 0
        # One is being written, two wait in the buffer, and each client may have one in its hands.
        assert result.figures[HELD] <= 1 + 2 + 4

    async def test_rows_are_in_a_file_that_is_gone_at_the_end(self, folder):
        archive = Archive("suspend")
        archive.may_write.set()

        async with archive.storage.lifespan():
            await archive.end(1)
            assert len(list(folder.iterdir())) == 1

        assert list(folder.iterdir()) == []
        assert archive.storage.figures()[WRITTEN] == 1

    async def test_cancelled_storage_leaves_no_file(self, folder):
        archive = Archive("suspend", drain_timeout=0)

        with anyio.CancelScope() as scope:
            async with archive.storage.lifespan():
                await archive.end(1)
                scope.cancel()
                await checkpoint()

        assert scope.cancelled_caught
        assert list(folder.iterdir()) == []

    async def test_disk_that_never_answers_is_reported_with_what_it_owes(self, folder):
        archive = Archive("suspend", drain_timeout=0.01)

        with pytest.raises(QueueNotDrained) as raised:
            async with archive.storage.lifespan():
                await archive.end(1)
                await archive.end(2)

        assert [event.row.target for _, event in raised.value.unfinished] == ["1", "2"]
        assert list(folder.iterdir()) == []

    async def test_rows_may_be_added_by_many_tasks_at_the_same_time(self):
        async with Rows.temporary() as rows:
            async with anyio.create_task_group() as tasks:
                for number in range(30):
                    tasks.start_soon(rows.add, Row(number, "GET", "/", 200, 1.5, ""))

            assert await rows.count() == 30

    async def test_row_that_cannot_be_written_is_logged_and_the_next_one_is_written(self, caplog):
        archive = Archive("suspend")
        archive.may_write.set()
        transaction = Transaction(request())

        async with archive.storage.lifespan():
            for _ in range(2):
                await archive.dispatcher.adispatch(TransactionEnded(transaction))
            await archive.end(1)

        assert archive.storage.figures()[WRITTEN] == 2
        assert "IntegrityError" in caplog.records[0].getMessage()
        assert archive.storage.statistics().failed == 1


class TestUpstreamFails:
    """What the client gets, and what listeners hear, when the upstream does not do its part."""

    async def test_nobody_listens_there(self, strategy):
        async with Stage(strategy=strategy).before(await unused_port()) as stage:
            response = await stage.ask()

        assert (response.status, response.body) == (502, b"the upstream failed\n")
        assert [isinstance(error, OSError) for error in stage.errors()] == [True]
        assert stage.names()[2:] == [
            FILTER_REQUEST,
            PROXY_ERROR,
            FILTER_RESPONSE,
            TRANSACTION_MESSAGE,
            TRANSACTION_ENDED,
        ]

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 20_000,
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000,
        ],
        ids=["nothing", "not HTTP", "half", "no chunk", "another protocol", "long head", "long body"],
    )
    async def test_upstream_answers_badly(self, answer):
        async def say(stream):
            async with stream:
                await stream.receive()
                try:
                    await stream.send(answer)
                except anyio.BrokenResourceError:
                    pass  # The proxy hung up when it had heard enough.

        stage = Stage()
        listener = await anyio.create_tcp_listener(local_host=HOST)

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, say)
            async with stage.before(listener.extra(SocketAttribute.local_port)):
                response = await stage.ask()
            tasks.cancel_scope.cancel()

        assert response.status == 502
        assert len(stage.errors()) == 1

    async def test_upstream_is_silent(self, strategy):
        limits = Limits(upstream_seconds=0.02, shutdown_seconds=0)

        async with Stage(strategy=strategy, limits=limits).up() as stage:
            response = await stage.ask(target="/silent")

        assert (response.status, response.body) == (504, b"the upstream took too long\n")
        assert [type(error) for error in stage.errors()] == [TimeoutError]

    async def test_connection_of_the_client_survives(self):
        async with Stage().up() as stage, stage.client() as client:
            statuses = [(await client.exchange(request(target=target))).status for target in ("/broken", "/hello/you")]

        assert statuses == [502, 200]


class TestMessages:
    """Bodies, framing, and connections that are kept."""

    @pytest.mark.parametrize("headers", [{}, {"transfer_encoding": "chunked"}, {"expect": "100-continue"}])
    @pytest.mark.parametrize("size", [0, 1, 70_000])
    async def test_body_comes_back_as_it_was_sent(self, headers, size):
        async with Stage().up() as stage, stage.client() as client:
            for _ in range(2):
                response = await client.exchange(request("POST", "/echo", pattern(size), **headers))
                assert (response.status, response.body) == (201, pattern(size))
                assert client.is_reusable

    @pytest.mark.parametrize("size", [0, 1, 70_000])
    async def test_chunked_response_arrives_whole(self, size):
        async with Stage().up() as stage:
            response = await stage.ask(target=f"/chunked/{size}")

        assert response.body == pattern(size)
        assert response.headers.get("content-length") == str(size)
        assert "transfer-encoding" not in response.headers

    async def test_head_tells_the_length_and_sends_no_body(self):
        async with Stage().up() as stage, stage.client() as client:
            for _ in range(2):
                response = await client.exchange(request("HEAD"))
                assert (response.body, response.headers.get("content-length")) == (b"", "12")

    @pytest.mark.parametrize("status", [204, 304])
    async def test_response_without_a_body_keeps_the_connection(self, status):
        async def service(asked, reply):
            await reply(Response(status, Headers([("etag", '"1"')])))

        async with Stage(service=service).up() as stage, stage.client() as client:
            for _ in range(2):
                response = await client.exchange(request())
                assert (response.status, response.body, response.headers.get("etag")) == (status, b"", '"1"')

    async def test_connection_is_kept_until_the_client_says_close(self):
        async with Stage().up() as stage, stage.client() as client:
            await client.exchange(request())
            assert client.is_reusable
            await client.exchange(request(connection="close"))
            assert not client.is_reusable

    async def test_pipelined_requests_are_answered_in_their_order(self):
        async with Stage().up() as stage:
            text = await stage.talk(
                b"GET /hello/1 HTTP/1.1\r\nhost: a\r\n\r\nGET /hello/2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            )

        assert 0 < text.index(b"Hello, 1!") < text.index(b"Hello, 2!")
        assert stage.names().count(TRANSACTION_ENDED) == 2

    async def test_old_client_is_served_and_let_go(self):
        async with Stage().up() as stage:
            text = await stage.talk(b"GET /hello/old HTTP/1.0\r\n\r\n")

        assert text.startswith(b"HTTP/1.1 200 OK\r\n")
        assert text.endswith(b"Hello, old!\n")

    async def test_request_of_two_framings_reaches_the_upstream_as_one(self):
        async with Stage().up() as stage:
            text = await stage.talk(
                b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 50\r\n"
                b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )

        assert text.endswith(b"\r\n\r\nabc")
        assert stage.service.asked == {"/echo": 1}


class TestClientMisbehaves:
    """Peers that send too much, too little, too slowly, or nonsense; the proxy serves the next one."""

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            (b"nonsense\r\n\r\n", b"400 Bad Request"),
            (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
            (b"GET / HTTP/1.1\r\nhost: a\r\nx-long: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
            (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", b"501 Not Implemented"),
            (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", b"501 Not Implemented"),
            (b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n", b"413 "),
            (b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\nexpect: 100-continue\r\n\r\n", b"413 "),
        ],
        ids=["nonsense", "no host", "long head", "coding", "tunnel", "long body", "long body expected"],
    )
    async def test_refused_before_there_is_a_transaction(self, text, answer):
        async with Stage().up() as stage:
            refusal = await stage.talk(text)
            assert stage.names() == []
            assert (await stage.ask()).status == 200

        assert refusal.startswith(b"HTTP/1.1 " + answer)
        assert b"connection: close" in refusal.lower()

    async def test_refusal_reaches_a_client_that_is_still_sending(self):
        async with Stage().up() as stage:
            refusal = await stage.talk(
                b"PUT /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 20
            )

        assert refusal.startswith(b"HTTP/1.1 413 ")

    async def test_client_that_waits_to_continue_is_refused_before_it_sends(self):
        async with Stage().up() as stage, stage.client() as client:
            response = await client.exchange(request("PUT", "/echo", bytes(2_000_000), expect="100-continue"))

            assert response.status == 413
            assert not client.is_reusable

    async def test_half_a_request_that_stays_half_is_timed_out(self):
        limits = Limits(request_seconds=0.2)

        async with Stage(limits=limits).up() as stage:
            refusal = await stage.talk(b"GET / HTTP/1.1\r\nhost")

        assert refusal.startswith(b"HTTP/1.1 408 Request Timeout\r\n")

    async def test_idle_connection_is_closed_without_a_word(self):
        async with Stage(limits=Limits(request_seconds=0.02)).up() as stage:
            assert await stage.talk(b"") == b""

    @pytest.mark.parametrize(
        "text",
        [b"", b"GET / HT", b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf"],
        ids=["nothing", "half a head", "half a body"],
    )
    async def test_client_leaves_within_its_request(self, text, caplog):
        async with Stage().up() as stage:
            async with await anyio.connect_tcp(HOST, stage.port) as stream:
                await stream.send(text)

            assert (await stage.ask()).status == 200

        assert stage.names().count(TRANSACTION_STARTED) == 1
        assert caplog.records == []

    async def test_client_leaves_while_the_upstream_is_at_work(self, strategy, caplog):
        asked, may_answer = anyio.Event(), anyio.Event()

        async def service(asked_for, reply):
            asked.set()
            await may_answer.wait()
            await reply(Response.text(200, "too late"))

        async with Stage(strategy=strategy, service=service).up() as stage:
            async with await anyio.connect_tcp(HOST, stage.port) as stream:
                await stream.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                await asked.wait()

            may_answer.set()

        assert stage.names()[-1] == TRANSACTION_ENDED
        assert stage.heard[-1].transaction.response.body == b"too late\n"
        assert caplog.records == []

    async def test_client_that_does_not_read_is_let_go(self):
        limits = Limits(body_bytes=64 << 20, reply_seconds=0.05, shutdown_seconds=0.5)
        ended = anyio.Event()
        stage = Stage(limits=limits)

        @stage.dispatcher.listen(FILTER_REQUEST)
        async def answer_much(event):
            event.response = Response(200, Headers(), bytes(32 << 20))
            event.stop_propagation()

        @stage.dispatcher.listen(TRANSACTION_ENDED)
        async def tell(event):
            ended.set()

        async with stage.up(), await anyio.connect_tcp(HOST, stage.port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await ended.wait()

        assert stage.names()[-1] == TRANSACTION_ENDED

    async def test_service_that_breaks_loses_its_connection_only(self, caplog):
        async def service(asked, reply):
            raise RuntimeError("I am broken")

        async with Stage(service=service).up() as stage:
            statuses = [(await stage.ask()).status for _ in range(2)]

        assert statuses == [502, 502]
        assert [record.getMessage() for record in caplog.records] == ["a connection failed"] * 2
