"""The applications of the example proxy, one by one."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher, Sequential
from examples.proxy.applications import AccessLog, Auditor, Cache, Guard, HeaderFilter
from examples.proxy.events import FILTER_REQUEST, FILTER_RESPONSE, FilterRequest, FilterResponse
from examples.proxy.messages import Headers, Response, Transaction
from examples.proxy.run import run
from tests.example_proxy.running_proxy import STRATEGIES, RunningProxy, make_request


async def test_cache_answers_and_stops(strategy):
    async with RunningProxy(Cache(), strategy=strategy).run() as proxy:
        first, *cached = [await proxy.request(target="/cacheable/bread") for _ in range(4)]

    assert [response.body for response in cached] == [first.body] * 3
    assert {response.headers.get("age") for response in cached} == {"0"}
    assert proxy.upstream.asked == {"/cacheable/bread": 1}
    assert proxy.stops() == [FILTER_REQUEST] * 3


@pytest.mark.parametrize(
    ("method", "headers"),
    [("POST", {}), ("HEAD", {}), ("GET", {"authorization": "me"}), ("GET", {"cache-control": "no-cache"})],
)
async def test_cache_ignores_requests_that_it_may_not_share(method, headers):
    async with RunningProxy(Cache()).run() as proxy:
        for _ in range(2):
            await proxy.request(method, "/cacheable/bread", **headers)

    assert proxy.upstream.asked == {"/cacheable/bread": 2}


class CacheAlone:
    """A cache on a dispatcher, without a proxy."""

    def __init__(self, **options):
        self.dispatcher, self.cache = AsyncEventDispatcher(), Cache(**options)
        self.cache.register(self.dispatcher)

    async def keep(self, target, status=200, **headers):
        transaction = Transaction(make_request(target=target))
        response = Response(status, Headers((name.replace("_", "-"), value) for name, value in headers.items()))
        await self.dispatcher.adispatch(FILTER_RESPONSE, FilterResponse(transaction, response))

    async def answers(self, target):
        request = make_request(target=target)
        event = await self.dispatcher.adispatch(FILTER_REQUEST, FilterRequest(Transaction(request), request))
        assert event.propagation_stopped == (event.response is not None)
        return event.propagation_stopped


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (404, {"cache_control": "max-age=9"}),
        (200, {"cache_control": "max-age=0"}),
        (200, {"cache_control": "max-age=soon"}),
        (200, {"cache_control": "private, max-age=9"}),
        (200, {"cache_control": "No-Store, max-age=9"}),
        (200, {"cache_control": "max-age=9", "vary": "accept"}),
        (200, {"cache_control": "max-age=9", "set_cookie": "a=b"}),
    ],
)
async def test_cache_does_not_keep_private_or_varying_responses(status, headers):
    cache = CacheAlone()
    await cache.keep("/a", status, **headers)

    assert not await cache.answers("/a")


async def test_cache_drops_old_and_least_used_responses():
    now = 0.0
    cache = CacheAlone(capacity=2, clock=lambda: now)
    for target in ("/a", "/b"):
        await cache.keep(target, cache_control="max-age=60")
    assert await cache.answers("/a")
    await cache.keep("/c", cache_control="max-age=60")

    assert [await cache.answers(target) for target in ("/a", "/b", "/c")] == [True, False, True]
    now = 60.0
    assert [await cache.answers(target) for target in ("/a", "/c")] == [False, False]
    assert cache.cache.figures() == {"cache hits": 3}


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
async def test_guard_refuses_private_targets(target, strategy):
    async with RunningProxy(Guard(), Cache(), strategy=strategy).run() as proxy:
        response = await proxy.request(target=target)

    assert (response.status, response.body) == (403, b"this is private\n")
    assert proxy.stops() == [FILTER_REQUEST]
    assert proxy.upstream.asked == {}


@pytest.mark.parametrize(("target", "status"), [("/privateer", 404), ("/hello/private", 200), ("/", 404)])
async def test_guard_accepts_other_targets(target, status):
    async with RunningProxy(Guard()).run() as proxy:
        assert (await proxy.request(target=target)).status == status


async def test_access_log_has_a_line_for_each_transaction_and_failure(caplog):
    caplog.set_level("INFO")

    async with RunningProxy(AccessLog(), Guard()).run() as proxy:
        for target in ("/hello/you", "/private", "/broken"):
            await proxy.request(target=target)

    lines = [record.getMessage().partition(" ")[2] for record in caplog.records]
    starts = (
        "GET /hello/you -> 200 in ",
        "GET /private -> 403 in ",
        "failed: RemoteProtocolError(",
        "GET /broken -> 502 in ",
    )
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert lines[1].endswith(" [refused]")


@pytest.mark.parametrize(("name", "together"), [("sequential", 1), ("concurrent", 3)])
async def test_audits_run_together_in_a_concurrent_dispatch_only(name, together):
    class CountingAuditor(Auditor):
        running = most = 0

        async def audit(self, authority, event):
            self.running += 1
            self.most = max(self.most, self.running)
            await super().audit(authority, event)
            self.running -= 1

    auditor = CountingAuditor()
    result = await run(STRATEGIES[name](), [auditor, Cache(), Guard(), HeaderFilter()], 3, 1)

    assert (auditor.most, auditor.running) == (together, 0)
    assert result.figures["audits"] == 3 * 2 * 3
    assert result.problems == []


async def test_sequential_audits_add_up():
    result = await run(Sequential(), [Auditor(seconds=0.005), Cache(), Guard(), HeaderFilter()], 3, 1)

    # Two messages with three audits each; the clock may be a little coarse.
    assert result.latencies[0] >= 0.029
