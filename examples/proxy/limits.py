"""How much a peer may send, and how long it may take: the numbers that a user tunes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that each connection keeps.

    Attributes:
        head_bytes: The longest request line (or status line) with its headers.
        body_bytes: The longest body; bodies are held in memory, so that filters see them whole.
        request_seconds: For one request to arrive, the idle time of a kept connection included.
        reply_seconds: For the client to take one response.
        upstream_seconds: For the upstream to be reached and to answer in full.
        linger_seconds: For a refused client to stop sending, so that it reads the refusal and not a reset.
        ending_seconds: For the listeners of the end of a transaction that was cut short.
        shutdown_seconds: For open connections to end once the server takes no new ones.
    """

    head_bytes: int = 16 * 1024
    body_bytes: int = 1024 * 1024
    request_seconds: float = 15.0
    reply_seconds: float = 10.0
    upstream_seconds: float = 5.0
    linger_seconds: float = 1.0
    ending_seconds: float = 1.0
    shutdown_seconds: float = 2.0
