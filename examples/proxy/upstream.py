"""The server behind the proxy. The path of a request selects its behavior."""

from collections import Counter
from http import HTTPStatus

import anyio

from examples.proxy.messages import Headers, Request, Response
from examples.proxy.server import Reply


def pattern(size: int) -> bytes:
    """Return the given number of bytes. The result is always the same, so that it can be compared."""
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


class Upstream:
    """A service with a path for each behavior of an upstream.

    Attributes:
        asked: The number of requests for each path.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer a request."""
        self.asked[request.path] += 1
        headers = Headers(
            [
                ("server", "upstream/1.0"),
                ("x-serial", str(self.asked.total())),
                ("x-seen", ", ".join(sorted(name for name, _ in request.headers))),
                # A proxy must not forward these three headers to its client.
                ("connection", "x-internal"),
                ("x-internal", "between the upstream and the proxy"),
                ("keep-alive", "timeout=5"),
            ]
        )

        match request.path.strip("/").split("/"):
            case ["hello", name]:
                await reply(Response(HTTPStatus.OK, headers, f"Hello, {name}!\n".encode()))
            case ["echo"]:
                await reply(Response(HTTPStatus.CREATED, headers, request.body))
            case ["chunked", size]:
                headers.add("transfer-encoding", "chunked")
                await reply(Response(HTTPStatus.OK, headers, pattern(int(size))))
            case ["cacheable", _]:
                headers.add("cache-control", "max-age=60")
                await reply(Response(HTTPStatus.OK, headers, f"made for you, {self.asked.total()}\n".encode()))
            case ["silent"]:
                await anyio.sleep_forever()
            case ["broken"]:
                return
            case _:
                await reply(Response(HTTPStatus.NOT_FOUND, headers, b"nothing here\n"))
