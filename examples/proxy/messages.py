"""Headers, requests, responses, and the transaction of one request and its response."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from posixpath import normpath
from time import perf_counter
from urllib.parse import unquote

# RFC 9110, 7.6.1: these headers describe one connection, not the message.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_numbers = count(1)


class Headers:
    """Header fields in their order. Names are stored in lower case, as h11 returns them."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = [(name.lower(), value) for name, value in fields]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __contains__(self, name: str) -> bool:
        return any(field_name == name for field_name, _ in self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"

    def get(self, name: str, default: str = "") -> str:
        """Return all values of a name, joined by commas as HTTP allows, or the default."""
        values = [value for field_name, value in self._fields if field_name == name]
        return ", ".join(values) if values else default

    def tokens(self, name: str) -> frozenset[str]:
        """Return the comma-separated values of a name, in lower case."""
        parts = (part.strip().lower() for part in self.get(name).split(","))
        return frozenset(part for part in parts if part)

    def add(self, name: str, value: str) -> None:
        """Append a field. Fields with the same name are kept."""
        self._fields.append((name.lower(), value))

    def set(self, name: str, value: str) -> None:
        """Append a field and remove all others with the same name."""
        self.remove(name)
        self.add(name, value)

    def remove(self, *names: str) -> None:
        """Remove every field that has one of these names."""
        self._fields = [item for item in self._fields if item[0] not in names]

    def end_to_end(self) -> "Headers":
        """Return the fields that a proxy forwards: all except those that describe the connection."""
        hop_by_hop = HOP_BY_HOP | self.tokens("connection")
        return Headers(item for item in self._fields if item[0] not in hop_by_hop)


@dataclass(slots=True)
class Request:
    """One complete request."""

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The normalized path of the target: for example, ``/a/b`` for ``http://host//a/%2E/b?c``."""
        path = self.target if self.target.startswith("/") else self.target.partition("://")[2].partition("/")[2]
        return normpath("/" + unquote(path.partition("?")[0]).lstrip("/"))


@dataclass(slots=True)
class Response:
    """One complete response. It needs no content-length, because the server adds it when it writes the response."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @classmethod
    def text(cls, status: int, text: str) -> "Response":
        """Make a response of plain text."""
        return cls(status, Headers([("content-type", "text/plain; charset=utf-8")]), f"{text}\n".encode())

    def copy(self) -> "Response":
        """Return an independent copy of the response."""
        return Response(self.status, Headers(self.headers), self.body)


@dataclass(slots=True)
class Transaction:
    """One request and its response.

    Attributes:
        request: The request as the client sent it.
        response: The response as the client receives it; None until it is known.
        marks: Words that applications add, for other applications and for the access log.
    """

    request: Request
    response: Response | None = None
    marks: set[str] = field(default_factory=set[str])
    number: int = field(default_factory=lambda: next(_numbers))
    started_at: float = field(default_factory=perf_counter)

    @property
    def seconds(self) -> float:
        """The time since the start of the transaction, in seconds."""
        return perf_counter() - self.started_at
