"""The events of a transaction of the example proxy, and its messages."""

from __future__ import annotations

from importlib.metadata import version

import anyio
import h11
import pytest

from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
)
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Request, Response
from examples.proxy.upstream import pattern
from tests.example_proxy.running_proxy import HOST, RunningProxy, make_request


@pytest.fixture
def proxy(strategy):
    return RunningProxy(strategy=strategy)


# Events and listeners


async def test_order_of_events(proxy):
    async with proxy.run():
        response = await proxy.request()

    first, second = (event.message for event in proxy.events if event.name == TRANSACTION_MESSAGE)
    assert (response.status, response.body) == (200, b"Hello, you!\n")
    assert proxy.names() == [
        TRANSACTION_STARTED,
        TRANSACTION_MESSAGE,
        FILTER_REQUEST,
        FILTER_RESPONSE,
        TRANSACTION_MESSAGE,
        TRANSACTION_ENDED,
    ]
    assert len({event.transaction.number for event in proxy.events}) == 1
    assert (first.target, second.body) == ("/hello/you", response.body)


async def test_listener_may_answer_instead_of_the_upstream(proxy):
    @proxy.dispatcher.listen(FILTER_REQUEST)
    async def answer(event):
        event.response = Response.text(418, "no coffee here")
        event.stop_propagation()

    @proxy.dispatcher.listen(FILTER_REQUEST, priority=1)
    async def too_late(event):
        event.response = Response.text(200, "coffee")

    async with proxy.run():
        response = await proxy.request()

    assert (response.status, response.body) == (418, b"no coffee here\n")
    assert proxy.upstream.asked == {}


async def test_listener_may_replace_messages(proxy):
    @proxy.dispatcher.listen(FILTER_REQUEST)
    async def replace_request(event):
        event.request = Request("POST", "/echo", event.request.headers, b"from the listener")

    @proxy.dispatcher.listen(FILTER_RESPONSE)
    async def replace_response(event):
        event.response = Response(event.response.status, Headers(), event.response.body.upper())

    async with proxy.run():
        response = await proxy.request()

    assert (response.status, response.body) == (201, b"FROM THE LISTENER")


async def test_raising_listener_fails_one_transaction(proxy):
    @proxy.dispatcher.listen(FILTER_RESPONSE)
    async def fail(event):
        if event.transaction.request.target == "/hello/bad":
            raise RuntimeError("no stock")

    async with proxy.run(), proxy.connect() as client:
        bad = await client.exchange(make_request(target="/hello/bad"))
        good = await client.exchange(make_request(target="/hello/good"))

    assert (bad.status, bad.body) == (500, b"the proxy failed\n")
    assert (good.status, good.body) == (200, b"Hello, good!\n")
    assert "no stock" in repr(proxy.errors())
    assert proxy.names().count(TRANSACTION_ENDED) == 2


@pytest.mark.parametrize("name", [FILTER_REQUEST, FILTER_RESPONSE])
async def test_unsendable_message_fails_one_transaction(name):
    proxy = RunningProxy()

    @proxy.dispatcher.listen(name)
    async def spoil(event):
        if event.transaction.request.target == "/hello/bad":
            message = event.request if name == FILTER_REQUEST else event.response
            message.headers.add("x-two", "lines\r\nof text")

    async with proxy.run():
        if name == FILTER_REQUEST:
            assert (await proxy.request(target="/hello/bad")).status == 500
        else:
            with pytest.raises(h11.RemoteProtocolError):
                await proxy.request(target="/hello/bad")

        assert (await proxy.request()).status == 200

    assert proxy.names().count(TRANSACTION_ENDED) == 2


async def test_raising_listener_of_the_end_is_logged(proxy, caplog):
    @proxy.dispatcher.listen(TRANSACTION_ENDED)
    async def fail(event):
        raise RuntimeError("no stock")

    async with proxy.run(), proxy.connect() as client:
        statuses = [(await client.exchange(make_request())).status for _ in range(2)]

    assert statuses == [200, 200]
    assert [record.getMessage() for record in caplog.records] == [f"a listener of {TRANSACTION_ENDED} failed"] * 2


@pytest.mark.skipif(
    tuple(map(int, version("anyio").split(".")[:2])) < (4, 16),
    reason="before 4.16 a cancelled anyio.connect_tcp leaves its socket to the garbage collector",
)
async def test_cancelled_transaction_has_an_end(strategy):
    proxy, asked = RunningProxy(strategy=strategy, limits=Limits(shutdown_seconds=0)), anyio.Event()

    @proxy.dispatcher.listen(FILTER_REQUEST)
    async def notify(event):
        asked.set()

    async with proxy.run(), await anyio.connect_tcp(HOST, proxy.port) as stream:
        await stream.send(b"GET /silent HTTP/1.1\r\nhost: example\r\n\r\n")
        await asked.wait()

    assert proxy.names() == [TRANSACTION_STARTED, TRANSACTION_MESSAGE, FILTER_REQUEST, TRANSACTION_ENDED]
    assert proxy.events[-1].transaction.response is None


# Bodies, framing and kept connections


@pytest.mark.parametrize("headers", [{}, {"transfer_encoding": "chunked"}, {"expect": "100-continue"}])
@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_body_returns_unchanged(headers, size):
    async with RunningProxy().run() as proxy, proxy.connect() as client:
        for _ in range(2):
            response = await client.exchange(make_request("POST", "/echo", pattern(size), **headers))
            assert (response.status, response.body) == (201, pattern(size))
            assert client.is_reusable


@pytest.mark.parametrize("status", [204, 304])
async def test_response_without_a_body_keeps_the_connection(status):
    async def upstream(request, reply):
        await reply(Response(status, Headers([("etag", '"1"')])))

    async with RunningProxy(upstream=upstream).run() as proxy, proxy.connect() as client:
        for _ in range(2):
            response = await client.exchange(make_request())
            assert (response.status, response.body, response.headers.get("etag")) == (status, b"", '"1"')


async def test_client_closes_the_connection():
    async with RunningProxy().run() as proxy, proxy.connect() as client:
        await client.exchange(make_request())
        assert client.is_reusable
        await client.exchange(make_request(connection="close"))
        assert not client.is_reusable


async def test_pipelined_requests_are_answered_in_order():
    async with RunningProxy().run() as proxy:
        answer = await proxy.send(
            b"GET /hello/1 HTTP/1.1\r\nhost: a\r\n\r\nGET /hello/2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )

    assert 0 < answer.index(b"Hello, 1!") < answer.index(b"Hello, 2!")
    assert proxy.names().count(TRANSACTION_ENDED) == 2


async def test_http_1_0_client_is_served():
    async with RunningProxy().run() as proxy:
        answer = await proxy.send(b"GET /hello/old HTTP/1.0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Hello, old!\n")


async def test_two_framings_are_one_request_upstream():
    async with RunningProxy().run() as proxy:
        answer = await proxy.send(
            b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 50\r\n"
            b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )

    assert answer.endswith(b"\r\n\r\nabc")
    assert proxy.upstream.asked == {"/echo": 1}
