"""The HTTP client. The proxy sends requests to its upstream with it, and the workload sends requests to the proxy."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import h11
from anyio.abc import ByteStream

from examples.proxy.connection import HttpConnection, read_headers, write_body, write_headers
from examples.proxy.limits import Limits
from examples.proxy.messages import Headers, Request, Response


class HttpClient:
    """Sends one request after another on one connection."""

    def __init__(self, stream: ByteStream, limits: Limits) -> None:
        self._connection = HttpConnection(stream, h11.CLIENT, limits)
        self.is_reusable = True

    @classmethod
    @asynccontextmanager
    async def connect(cls, host: str, port: int, limits: Limits) -> AsyncGenerator["HttpClient", None]:
        """Open a connection, and close it at the end of the block.

        Raises:
            OSError: If no server listens on the port.
        """
        async with await anyio.connect_tcp(host, port) as stream:
            yield cls(stream, limits)

    async def exchange(self, request: Request) -> Response:
        """Send a request and return its response. A request that expects ``100-continue`` waits for it.

        Raises:
            h11.RemoteProtocolError: If the server does not use HTTP, sends too much, or closes the connection.
            anyio.BrokenResourceError: If the connection was lost.
        """
        headers = Headers(request.headers)

        if request.body and "transfer-encoding" not in headers:
            headers.set("content-length", str(len(request.body)))

        head = h11.Request(method=request.method, target=request.target, headers=write_headers(headers))
        body = write_body(headers, request.body)

        # Reusable only when the response has been read: a cancelled exchange leaves unread bytes on the connection.
        self.is_reusable = False

        if request.body and "expect" in headers:
            await self._connection.send(head)
            answer = await self._next_head()

            if isinstance(answer, h11.InformationalResponse):
                await self._connection.send(*body)
        else:
            await self._connection.send(head, *body)
            answer = await self._next_head()

        while isinstance(answer, h11.InformationalResponse):
            answer = await self._next_head()

        response = Response(answer.status_code, read_headers(answer), await self._connection.read_body())
        self.is_reusable = self._connection.start_next_cycle()
        return response

    async def _next_head(self) -> h11.InformationalResponse | h11.Response:
        event = await self._connection.next_event()

        # h11 accepts no other event here. The check is for readers and for the type checker.
        if not isinstance(event, h11.InformationalResponse | h11.Response):
            raise h11.RemoteProtocolError(f"expected a response, got {event!r}")

        return event
