"""A proxy between a client and a server, which can lose a reply or delay a command."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import SocketStream

__all__ = ("Proxy",)


class Proxy:
    """Forwards bytes to a server.

    Attributes:
        url: Its address.
        lose_reply_to: If this is in a command, the connection ends with the reply, which is not forwarded. Once.
        delay: Commands that contain these bytes are forwarded after so many seconds.
        seen: How many commands contained the bytes of `lose_reply_to` or `delay`.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = ""
        self.lose_reply_to: bytes | None = None
        self.delay: tuple[bytes, float] | None = None
        self.seen = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int) -> AsyncGenerator[Proxy]:
        """Listen on a free port, in front of the server with a port."""
        proxy = cls(port)
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tg:
            proxy.url = f"redis://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            tg.start_soon(listener.serve, proxy._serve)
            yield proxy
            tg.cancel_scope.cancel()

    async def _serve(self, client: SocketStream) -> None:
        closed = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
        async with client, await anyio.connect_tcp("127.0.0.1", self._port) as server:
            loses = [False]

            async def forward_commands() -> None:
                with suppress(*closed):
                    async for data in client:
                        if self.lose_reply_to is not None and self.lose_reply_to in data:
                            self.seen += 1
                            loses[0], self.lose_reply_to = True, None
                        if self.delay is not None and self.delay[0] in data:
                            self.seen += 1
                            await anyio.sleep(self.delay[1])
                        await server.send(data)
                tasks.cancel_scope.cancel()

            async def forward_replies() -> None:
                with suppress(*closed):
                    async for data in server:
                        if loses[0]:
                            break
                        await client.send(data)
                tasks.cancel_scope.cancel()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(forward_commands)
                tasks.start_soon(forward_replies)
