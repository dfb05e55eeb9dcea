"""The requests to the proxy, and the expected responses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle, islice

from examples.proxy.messages import HOP_BY_HOP, Headers, Request, Response
from examples.proxy.upstream import pattern

CACHEABLE = ("/cacheable/bread", "/cacheable/wine", "/cacheable/salt")
ADDED = {"via": "1.1 antiphon", "x-content-type-options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the expected response.

    Attributes:
        request: The request.
        status: The expected status.
        body: The expected body; None if it is unknown and must be the same each time.
        is_answered_upstream: Whether the response comes from the upstream, directly or from the cache.
    """

    request: Request
    status: int
    body: bytes | None
    is_answered_upstream: bool = True


def hello(number: int) -> Exchange:
    """Make a simple GET."""
    return Exchange(_request("GET", f"/hello/{number}"), HTTPStatus.OK, f"Hello, {number}!\n".encode())


def head(number: int) -> Exchange:
    """Make a HEAD."""
    return Exchange(_request("HEAD", f"/hello/{number}"), HTTPStatus.OK, b"")


def cacheable(number: int) -> Exchange:
    """Make a GET of a cacheable resource, which the upstream creates again for each request."""
    return Exchange(_request("GET", CACHEABLE[number % len(CACHEABLE)]), HTTPStatus.OK, None)


def echo(number: int) -> Exchange:
    """Make a POST whose body the upstream returns."""
    body = pattern(number * 97 % 20_000)
    return Exchange(_request("POST", "/echo", body), HTTPStatus.CREATED, body)


def echo_expecting(number: int) -> Exchange:
    """Make a POST that sends its body after ``100-continue``."""
    body = pattern(number * 53 % 9_000 + 1)
    return Exchange(_request("POST", "/echo", body, ("expect", "100-continue")), HTTPStatus.CREATED, body)


def echo_chunked(number: int) -> Exchange:
    """Make a PUT that sends its body in chunks, without a length."""
    body = pattern(number * 31 % 30_000)
    return Exchange(_request("PUT", "/echo", body, ("transfer-encoding", "chunked")), HTTPStatus.CREATED, body)


def chunked(number: int) -> Exchange:
    """Make a GET of a response that the upstream sends in chunks."""
    size = number * 41 % 40_000
    return Exchange(_request("GET", f"/chunked/{size}"), HTTPStatus.OK, pattern(size))


def private(number: int) -> Exchange:
    """Make a GET that the guard refuses."""
    return Exchange(_request("GET", f"/private/{number}"), HTTPStatus.FORBIDDEN, b"this is private\n", False)


def broken(number: int) -> Exchange:
    """Make a GET for which the upstream closes the connection."""
    del number
    return Exchange(_request("GET", "/broken"), HTTPStatus.BAD_GATEWAY, b"the upstream failed\n", False)


def missing(number: int) -> Exchange:
    """Make a GET of a resource that does not exist."""
    return Exchange(_request("GET", f"/nowhere/{number}"), HTTPStatus.NOT_FOUND, b"nothing here\n")


KINDS: Sequence[Callable[[int], Exchange]] = (
    hello, cacheable, echo, private, chunked, cacheable, echo_chunked, head, cacheable, echo_expecting, broken, missing,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """The exchanges of one run.

    Attributes:
        first: One exchange for each cacheable resource, to be sent in turn, so that the cache stores it.
        then: All other exchanges, to be sent by several clients at a time.
    """

    first: Sequence[Exchange]
    then: Sequence[Exchange]

    @classmethod
    def make(cls, requests: int) -> "Workload":
        """Make a workload with the given number of requests."""
        exchanges = islice(cycle(KINDS), max(0, requests - len(CACHEABLE)))
        return cls(
            [cacheable(number) for number in range(min(requests, len(CACHEABLE)))],
            [make_exchange(number) for number, make_exchange in enumerate(exchanges)],
        )

    def __len__(self) -> int:
        return len(self.first) + len(self.then)

    @property
    def hits(self) -> int:
        """The number of requests that the cache must answer."""
        return sum(exchange.body is None for exchange in self.then)

    def with_status(self, status: int) -> int:
        """Return the number of responses that must have a status."""
        return sum(exchange.status == status for exchange in (*self.first, *self.then))


class Checker:
    """Checks responses. It stores the first response of each resource whose later responses must be the same."""

    def __init__(self) -> None:
        self._known: dict[str, Response] = {}

    def check(self, exchange: Exchange, response: Response) -> Iterator[str]:
        """Yield a sentence for each problem."""
        if response.status != exchange.status:
            yield f"status {response.status} instead of {exchange.status}"

        yield from self._check_body(exchange, response)
        yield from self._check_headers(response.headers)

        if exchange.is_answered_upstream:
            yield from self._check_upstream_headers(response.headers.tokens("x-seen"))

    def _check_body(self, exchange: Exchange, response: Response) -> Iterator[str]:
        headers, body = response.headers, response.body

        if exchange.body is None:
            known = self._known.setdefault(exchange.request.target, response)

            if (body, headers.get("x-serial")) != (known.body, known.headers.get("x-serial")):
                yield "not the cached response"
        elif body != exchange.body:
            yield f"a body of {len(body)} bytes that is not the expected one of {len(exchange.body)}"

        # The response to a HEAD states the length of a body that it does not contain.
        if exchange.request.method != "HEAD" and headers.get("content-length") != str(len(body)):
            yield f"content-length {headers.get('content-length')!r} for {len(body)} bytes"

    def _check_headers(self, headers: Headers) -> Iterator[str]:
        for name, value in ADDED.items():
            if headers.get(name) != value:
                yield f"{name}: {headers.get(name)!r} instead of {value!r}"

        for name in sorted(HOP_BY_HOP | {"server", "x-internal"}):
            if name in headers:
                yield f"{name} was forwarded to the client"

    def _check_upstream_headers(self, seen: frozenset[str]) -> Iterator[str]:
        if "via" not in seen:
            yield "the upstream did not receive the header via"

        for name in sorted(seen & (HOP_BY_HOP | {"expect", "x-hop"})):
            yield f"{name} was forwarded to the upstream"


def _request(method: str, target: str, body: bytes = b"", *fields: tuple[str, str]) -> Request:
    headers = Headers([("host", "proxy.example"), ("connection", "x-hop"), ("x-hop", "for the proxy only"), *fields])
    return Request(method, target, headers, body)
