"""Limits on sizes and times, which users can change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each connection.

    Attributes:
        head_bytes: The maximum size of a request line (or status line) with its headers.
        body_bytes: The maximum size of a body. Bodies are kept in memory, so that filters see them complete.
        request_seconds: The time to receive one request, including the idle time of a kept connection.
        reply_seconds: The time for the client to receive one response.
        upstream_seconds: The time to connect to the upstream and to receive its complete response.
        linger_seconds: The time for a refused client to stop sending, so that it reads the refusal and not a reset.
        ending_seconds: The time for the listeners of the end of a transaction that was interrupted.
        shutdown_seconds: The time for open connections to end when the server accepts no new ones.
    """

    head_bytes: int = 16 * 1024
    body_bytes: int = 1024 * 1024
    request_seconds: float = 15.0
    reply_seconds: float = 10.0
    upstream_seconds: float = 5.0
    linger_seconds: float = 1.0
    ending_seconds: float = 1.0
    shutdown_seconds: float = 2.0
