"""HTTP/1.1 on one byte stream: h11 implements the protocol, and AnyIO transfers the bytes."""

from collections.abc import Iterator
from http import HTTPStatus

import anyio
import h11
from anyio.abc import ByteStream

from examples.proxy.limits import Limits
from examples.proxy.messages import Headers

READ_SIZE = 64 * 1024
CHUNK_SIZE = 4 * 1024
REASONS: dict[int, bytes] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def read_headers(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    """Return the headers of an h11 event."""
    return Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)


def write_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers in the format of h11. This is the reverse of `read_headers`."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


def write_response(status: int, headers: Headers) -> h11.Response:
    """Return the h11 event that starts a response."""
    return h11.Response(status_code=status, headers=write_headers(headers), reason=REASONS.get(status, b""))


def write_body(headers: Headers, body: bytes) -> Iterator[h11.Data | h11.EndOfMessage]:
    """Return the h11 events of a body and of the end of its message. A chunked body has several events."""
    size = CHUNK_SIZE if "transfer-encoding" in headers else len(body) or 1

    for start in range(0, len(body), size):
        yield h11.Data(data=body[start : start + size])

    yield h11.EndOfMessage()


class HttpConnection:
    """An h11 state machine and the stream that it reads."""

    def __init__(self, stream: ByteStream, role: type[h11.CLIENT] | type[h11.SERVER], limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._state = h11.Connection(role, max_incomplete_event_size=limits.head_bytes)

    @property
    def is_idle(self) -> bool:
        """Whether the peer has not started its next message."""
        return self._state.their_state is h11.IDLE and not self._state.trailing_data[0]

    async def next_event(self) -> h11.Event:
        """Return the next event of the peer. Call this while the message of the peer is incomplete.

        Raises:
            h11.RemoteProtocolError: If the peer violates the protocol, or closes the connection within a message.
            anyio.BrokenResourceError: If the connection was lost.
        """
        while True:
            event = self._state.next_event()

            if isinstance(event, h11.Event):
                return event

            if self._state.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))

            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                data = b""

            self._state.receive_data(data)

    async def read_body(self, declared: int = 0) -> bytes:
        """Return the remaining body of the current message.

        Args:
            declared: The length that the peer declares. A body that is too long is refused before it is read, and
                before the peer is told to continue.

        Raises:
            h11.RemoteProtocolError: If the body is too long, or for the reasons of `next_event`.
        """
        body = bytearray()

        while max(declared, len(body)) <= self._limits.body_bytes:
            event = await self.next_event()

            if not isinstance(event, h11.Data):
                return bytes(body)

            body += event.data

        raise h11.RemoteProtocolError("the body is too long", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def send(self, *events: h11.Event) -> None:
        """Send events with one write, so that a small message is one packet.

        Raises:
            anyio.BrokenResourceError: If the connection was lost.
        """
        await self._stream.send(b"".join(self._state.send(event) or b"" for event in events))

    def start_next_cycle(self) -> bool:
        """Prepare the connection for another request. Return whether that is possible."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False

        self._state.start_next_cycle()
        return True
