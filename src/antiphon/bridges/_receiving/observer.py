"""What a receiver finds out about its group: its state, its lag, and the events that it has missed."""

from __future__ import annotations

from contextlib import suppress

from antiphon.bridges._brokers.protocol import Broker, GroupHealth
from antiphon.bridges._errors import BridgeUnavailable
from antiphon.bridges._notices import Counters, Lagging, ReceiveHealth, Trimmed
from antiphon.bridges._receiving.deliverer import Place
from antiphon.bridges._receiving.options import Receive

__all__ = ("Observer",)


class Observer:
    """Asks the broker about a group from time to time, and dispatches notices.

    Args:
        broker: The broker.
        place: What is the same for all deliveries of the bridge.
        receive: The options.
        partition: The partition.
        counters: The counters of the receiver.
    """

    def __init__(self, broker: Broker, place: Place, receive: Receive, partition: int, counters: Counters) -> None:
        self._broker = broker
        self._place = place
        self._receive = receive
        self._partition = partition
        self._counters = counters
        self._where = (receive.channel.name, partition, receive.group)
        #: How many events the broker had removed when this was last asked.
        self._removed = 0
        self._lagging = False

    async def observe(self, group: str) -> None:
        """Dispatch a notice if the broker has removed unread events, and if the group begins to lag.

        Raises:
            BridgeUnavailable: If the broker cannot be reached.
        """
        health = await self._broker.health(self._receive.channel, self._partition, group)
        lost = health.removed - max(health.read, self._removed)
        self._removed = max(health.removed, self._removed)
        if lost > 0:
            self._counters.trimmed += lost
            self._place.notify(Trimmed(*self._where, lost))
        if health.oldest is None or health.oldest <= self._receive.claim_after:
            self._lagging = False
        elif not self._lagging:
            self._lagging = True
            self._place.notify(Lagging(*self._where, health.lag, health.oldest))

    async def get_health(self, *, connected: bool, owner: bool, in_flight: int) -> ReceiveHealth:
        """Return the state of the receiver and of its group. That of the group is empty without a connection.

        Args:
            connected: Whether the receiver is connected.
            owner: Whether it reads the partition.
            in_flight: How many events it delivers.
        """
        found = GroupHealth()
        if self._receive.group is not None:
            with suppress(BridgeUnavailable):
                found = await self._broker.health(self._receive.channel, self._partition, self._receive.group)
        counters = self._counters
        return ReceiveHealth(
            *self._where,
            connected=connected,
            owner=owner,
            lag=found.lag,
            pending=found.pending,
            oldest=found.oldest,
            in_flight=in_flight,
            dead=found.dead,
            handled=counters.handled,
            failed=counters.failed,
            trimmed=counters.trimmed,
            unknown=counters.unknown,
            unheard=counters.unheard,
            too_new=counters.too_new,
            reconnects=counters.reconnects,
        )
