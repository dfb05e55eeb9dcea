"""The events that a bridge dispatches about itself, and the records of its health."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon import Event
from antiphon.bridges._delivery import Delivery

__all__ = (
    "BridgeHealth",
    "Buried",
    "ConnectionBack",
    "ConnectionLost",
    "Counters",
    "Lagging",
    "Notice",
    "ReceiveHealth",
    "Retried",
    "Trimmed",
)


@dataclass(eq=False)
class Notice(Event):
    """Base class of what a bridge dispatches on its ``notices``.

    Attributes:
        stream: The name of the channel.
        partition: The partition.
        group: The group; None in a fan-out.
    """

    stream: str
    partition: int
    group: str | None


@dataclass(eq=False)
class ConnectionLost(Notice):
    """The connection to the broker is lost. The bridge connects again.

    Attributes:
        error: The reason.
    """

    error: Exception


@dataclass(eq=False)
class ConnectionBack(Notice):
    """The connection to the broker is back."""


@dataclass(eq=False)
class Retried(Notice):
    """The listeners of a received event failed. It will be delivered again.

    Attributes:
        delivery: The delivery that failed.
        error: The error.
        delay: The seconds until the next delivery.
    """

    delivery: Delivery
    error: BaseException
    delay: float


@dataclass(eq=False)
class Buried(Notice):
    """A received event was moved to the dead letters, or failed in a fan-out, which has none.

    Attributes:
        delivery: The last delivery; None if the received bytes are not an event.
        reason: The reason as text.
        error: The error of the last delivery; None if there is none.
    """

    delivery: Delivery | None
    reason: str
    error: BaseException | None


@dataclass(eq=False)
class Trimmed(Notice):
    """The broker has removed events before the group has read them, because they were too old.

    Attributes:
        count: The number of these events.
    """

    count: int


@dataclass(eq=False)
class Lagging(Notice):
    """The oldest event that the group has not acknowledged is older than ``claim_after``.

    Attributes:
        lag: How many events the group has not read.
        oldest: The age of the oldest event, in seconds.
    """

    lag: int
    oldest: float


@dataclass(slots=True)
class Counters:
    """What a receive has done with the events of a partition since the bridge was entered."""

    #: Deliveries whose listeners have finished.
    handled: int = 0
    #: Deliveries whose listeners have failed.
    failed: int = 0
    #: Events that are older than the time for which the channel keeps them, and were not read.
    trimmed: int = 0
    #: Events of a type that is not registered.
    unknown: int = 0
    #: Events for which there was no listener.
    unheard: int = 0
    #: Deliveries of events that are newer than the registered versions.
    too_new: int = 0
    #: How often the connection was opened again.
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class ReceiveHealth:
    """The state of a receive in one partition.

    Attributes:
        stream: The name of the channel.
        partition: The partition.
        group: The group; None in a fan-out.
        connected: Whether it is connected to the broker.
        owner: Whether it reads the partition: False for an ordered receive while another process reads it.
        lag: How many events the group has not read; 0 in a fan-out.
        pending: How many events the group has read and not acknowledged.
        oldest: The age in seconds of the oldest event that is unread or pending; None if there is none.
        in_flight: How many events this process handles now.
        handled: How many deliveries succeeded here.
        failed: How many deliveries failed here.
        dead: How many dead letters the group has.
        trimmed: How many events the broker removed before the group has read them, as far as this process has seen it.
        unknown: How many events had a type that is not registered.
        unheard: How many events had no listener.
        too_new: How many deliveries had a version that is newer than the registered ones.
        reconnects: How often the connection was opened again.
    """

    stream: str
    partition: int
    group: str | None
    connected: bool
    owner: bool
    lag: int
    pending: int
    oldest: float | None
    in_flight: int
    handled: int
    failed: int
    dead: int
    trimmed: int
    unknown: int
    unheard: int
    too_new: int
    reconnects: int


@dataclass(frozen=True, slots=True)
class BridgeHealth:
    """The state of a bridge.

    Attributes:
        receives: The state of each receive in each of its partitions.
        warnings: Settings of the broker that may lose events.
    """

    receives: tuple[ReceiveHealth, ...]
    warnings: tuple[str, ...]
