"""The HTTP server. The proxy and its upstream use it."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from examples.proxy.connection import HttpConnection, read_headers, write_body, write_response
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Request, Response

logger = logging.getLogger(__name__)

Reply = Callable[[Response], Awaitable[None]]
Service = Callable[[Request, Reply], Awaitable[None]]
"""Answers a request by calling ``reply`` once. If it returns without a reply, the connection is closed."""


@asynccontextmanager
async def serving(service: Service, limits: Limits, host: str = "127.0.0.1") -> AsyncGenerator[int, None]:
    """Serve on a free port of the host, and yield the port number.

    If the block ends normally, wait for the open connections within the limits. If it raises, close them.
    """

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                await _serve_connection(stream, service, limits)
            except anyio.BrokenResourceError:
                logger.debug("a client disconnected early, or stopped reading")
            except Exception:
                # A failed connection must not affect the others.
                logger.exception("a connection failed")

    listener = await anyio.create_tcp_listener(local_host=host)

    async with listener, anyio.create_task_group() as connections:
        async with anyio.create_task_group() as accepting:
            # Clients that connect before this task runs wait in the listener.
            accepting.start_soon(listener.serve, serve, connections)  # noqa: ASYNC113
            yield listener.extra(SocketAttribute.local_port)
            accepting.cancel_scope.cancel()

        connections.cancel_scope.deadline = anyio.current_time() + limits.shutdown_seconds


async def _serve_connection(stream: SocketStream, service: Service, limits: Limits) -> None:
    connection = HttpConnection(stream, h11.SERVER, limits)

    try:
        while request := await _read_request(connection, limits):
            await service(request, partial(_reply, connection, request, limits))

            if not connection.start_next_cycle():
                return
    except h11.RemoteProtocolError as error:
        await _refuse(stream, connection, error, limits)


async def _read_request(connection: HttpConnection, limits: Limits) -> Request | None:
    """Return the next request, or None if the client has finished.

    Raises:
        h11.RemoteProtocolError: If the request is not accepted. Its hint is the status of the response.
    """
    with anyio.move_on_after(limits.request_seconds):
        head = await connection.next_event()

        if not isinstance(head, h11.Request):
            return None

        if head.method == b"CONNECT":
            raise h11.RemoteProtocolError("tunnels are not supported", HTTPStatus.NOT_IMPLEMENTED)

        headers = read_headers(head)
        body = await connection.read_body(int(headers.get("content-length", "0")))
        return Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, body)

    if connection.is_idle:
        return None

    raise h11.RemoteProtocolError("the request is incomplete", HTTPStatus.REQUEST_TIMEOUT)


async def _reply(connection: HttpConnection, request: Request, limits: Limits, response: Response) -> None:
    headers = Headers(response.headers)
    has_body = request.method != "HEAD" and response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

    # Without a body, keep the header of the upstream: it states the body length of a GET.
    if "transfer-encoding" not in headers and (has_body or response.body):
        headers.set("content-length", str(len(response.body)))

    head = write_response(response.status, headers)

    try:
        with anyio.fail_after(limits.reply_seconds):
            await connection.send(head, *write_body(headers, response.body if has_body else b""))
    except TimeoutError as error:
        raise anyio.BrokenResourceError from error


async def _refuse(
    stream: SocketStream, connection: HttpConnection, error: h11.RemoteProtocolError, limits: Limits
) -> None:
    head = write_response(error.error_status_hint, Headers([("connection", "close"), ("content-length", "0")]))

    # If the client has disconnected, closing one direction raises OSError on Trio.
    with anyio.move_on_after(limits.linger_seconds), suppress(anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        await connection.send(head, h11.EndOfMessage())
        await stream.send_eof()

        # Closing with unread bytes would reset the connection, and the client would not receive the response.
        while True:
            await stream.receive()
