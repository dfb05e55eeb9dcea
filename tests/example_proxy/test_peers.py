"""Upstreams and clients of the example proxy that fail, misbehave, or leave."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute

from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
)
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Response
from tests.example_proxy.running_proxy import HOST, RunningProxy, make_request

# Upstreams


async def test_upstream_refuses_connections(strategy):
    async with await anyio.create_tcp_listener(local_host=HOST) as listener:
        unused_port = listener.extra(SocketAttribute.local_port)

    async with RunningProxy(strategy=strategy).run_before(unused_port) as proxy:
        response = await proxy.request()

    assert (response.status, response.body) == (502, b"the upstream failed\n")
    assert [isinstance(error, OSError) for error in proxy.errors()] == [True]
    assert proxy.names()[2:] == [FILTER_REQUEST, PROXY_ERROR, FILTER_RESPONSE, TRANSACTION_MESSAGE, TRANSACTION_ENDED]


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
async def test_upstream_breaks_the_protocol(answer):
    async def send_answer(stream):
        async with stream:
            await stream.receive()
            try:
                await stream.send(answer)
            except anyio.BrokenResourceError:
                pass  # The proxy closed the connection before the end.

    proxy = RunningProxy()
    listener = await anyio.create_tcp_listener(local_host=HOST)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, send_answer)
        async with proxy.run_before(listener.extra(SocketAttribute.local_port)):
            response = await proxy.request()
        tasks.cancel_scope.cancel()

    assert response.status == 502
    assert len(proxy.errors()) == 1


async def test_silent_upstream_is_timed_out(strategy):
    limits = Limits(upstream_seconds=0.02, shutdown_seconds=0)

    async with RunningProxy(strategy=strategy, limits=limits).run() as proxy:
        response = await proxy.request(target="/silent")

    assert (response.status, response.body) == (504, b"the upstream took too long\n")
    assert [type(error) for error in proxy.errors()] == [TimeoutError]


async def test_raising_service_loses_its_connection_only(caplog):
    async def upstream(request, reply):
        raise RuntimeError("no stock")

    async with RunningProxy(upstream=upstream).run() as proxy:
        statuses = [(await proxy.request()).status for _ in range(2)]

    assert statuses == [502, 502]
    assert [record.getMessage() for record in caplog.records] == ["a connection failed"] * 2


# Clients


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx-long: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", b"501 Not Implemented"),
        (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", b"501 Not Implemented"),
        (b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n", b"413 "),
        (b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\nexpect: 100-continue\r\n\r\n", b"413 "),
        (
            b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % bytes(65536) * 20,
            b"413 ",
        ),
    ],
    ids=["nonsense", "no host", "long head", "coding", "tunnel", "long body", "long body expected", "still sending"],
)
async def test_request_is_refused_before_a_transaction(data, status):
    async with RunningProxy().run() as proxy:
        refusal = await proxy.send(data)
        assert proxy.names() == []
        assert (await proxy.request()).status == 200

    assert refusal.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in refusal.lower()


async def test_expected_body_is_refused_before_it_is_sent():
    async with RunningProxy().run() as proxy, proxy.connect() as client:
        response = await client.exchange(make_request("PUT", "/echo", bytes(2_000_000), expect="100-continue"))

        assert response.status == 413
        assert not client.is_reusable


@pytest.mark.parametrize(
    ("seconds", "data", "answer"),
    [(0.2, b"GET / HTTP/1.1\r\nhost", b"HTTP/1.1 408 Request Timeout"), (0.02, b"", b"")],
    ids=["half a request", "idle"],
)
async def test_slow_client_is_timed_out(seconds, data, answer):
    async with RunningProxy(limits=Limits(request_seconds=seconds)).run() as proxy:
        assert (await proxy.send(data)).partition(b"\r\n")[0] == answer


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HT", b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_client_leaves_within_its_request(data, caplog):
    async with RunningProxy().run() as proxy:
        async with await anyio.connect_tcp(HOST, proxy.port) as stream:
            await stream.send(data)

        assert (await proxy.request()).status == 200

    assert proxy.names().count(TRANSACTION_STARTED) == 1
    assert caplog.records == []


async def test_client_leaves_before_the_response(strategy, caplog):
    asked, may_answer = anyio.Event(), anyio.Event()

    async def upstream(request, reply):
        asked.set()
        await may_answer.wait()
        await reply(Response.text(200, "too late"))

    async with RunningProxy(strategy=strategy, upstream=upstream).run() as proxy:
        async with await anyio.connect_tcp(HOST, proxy.port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await asked.wait()

        may_answer.set()

    assert proxy.names()[-1] == TRANSACTION_ENDED
    assert proxy.events[-1].transaction.response.body == b"too late\n"
    assert caplog.records == []


async def test_client_that_does_not_read_is_disconnected():
    proxy = RunningProxy(limits=Limits(body_bytes=64 << 20, reply_seconds=0.05, shutdown_seconds=0.5))
    ended = anyio.Event()

    @proxy.dispatcher.listen(FILTER_REQUEST)
    async def answer(event):
        event.response = Response(200, Headers(), bytes(32 << 20))
        event.stop_propagation()

    @proxy.dispatcher.listen(TRANSACTION_ENDED)
    async def notify(event):
        ended.set()

    async with proxy.run(), await anyio.connect_tcp(HOST, proxy.port) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await ended.wait()

    assert proxy.names()[-1] == TRANSACTION_ENDED
