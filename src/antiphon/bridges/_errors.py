"""The exceptions of the bridge."""

from __future__ import annotations

__all__ = (
    "BridgeUnavailable",
    "CodecError",
    "ConfigurationError",
    "PublishFailed",
    "PublishUncertain",
    "Reject",
)


class ConfigurationError(Exception):
    """Raised if a bridge, a registry or a channel is configured wrongly. It is raised before the first event."""


class CodecError(Exception):
    """Raised if an event cannot be published as it is, or if received bytes are not an event of the registry."""


class BridgeUnavailable(Exception):
    """Raised if the broker cannot be reached, or refuses the connection."""


class PublishFailed(Exception):
    """Raised by a publish if the broker has not stored the event.

    Attributes:
        id: The id of the event.
    """

    def __init__(self, message: str, id: str) -> None:  # noqa: A002  the name of the attribute in CloudEvents
        super().__init__(message, id)
        self.id = id

    def __str__(self) -> str:
        return str(self.args[0])


class PublishUncertain(Exception):
    """Raised by a publish if the broker may have stored the event: the connection was lost before its answer.

    Publish again with ``id=exc.id``. Within the ``dedup`` time of the broker, the event is then stored only once.

    Attributes:
        id: The id of the event.
    """

    def __init__(self, message: str, id: str) -> None:  # noqa: A002  the name of the attribute in CloudEvents
        super().__init__(message, id)
        self.id = id

    def __str__(self) -> str:
        return str(self.args[0])


class Reject(Exception):
    """Raise this in a listener to move the received event to the dead letters at once, without another attempt.

    Args:
        reason: Why the event cannot be handled. The dead letter contains it.
    """

    def __init__(self, reason: str = "rejected by a listener") -> None:
        super().__init__(reason)
        self.reason = reason
