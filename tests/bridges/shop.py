"""The events of the tests of the bridge, and programs that exchange them through a broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anyio

from antiphon import AsyncEventDispatcher, Event
from antiphon.bridges import (
    Bridge,
    Broker,
    Channel,
    DeadLetter,
    Delivery,
    EventRegistry,
    MemoryBroker,
    Notice,
    SourceOptions,
    delivery,
)

ORDERS = Channel("orders")
PRICES = Channel("prices")


@dataclass
class OrderPlaced(Event):
    order_id: str
    total: Decimal = Decimal(0)


@dataclass
class OrderPaid(Event):
    order_id: str


@dataclass
class PriceChanged(Event):
    product: str
    price: float | None


def make_registry(**options: int) -> EventRegistry:
    """Return a registry with the events of this module."""
    events = EventRegistry(**options)
    events.register("shop.order-placed", version=2, key=lambda event: event.order_id)(OrderPlaced)
    events.register("shop.order-paid", key=lambda event: event.order_id)(OrderPaid)
    events.register("shop.price-changed")(PriceChanged)
    return events


class Program:
    """A dispatcher with a bridge, as one process has it, and a log of what its listener has received."""

    def __init__(self, broker: Broker, name: str, events: EventRegistry, **options: Any) -> None:
        self.dispatcher = AsyncEventDispatcher(name=name)
        self.bridge = Bridge(self.dispatcher, broker, events, source=f"/shop/{name}", **options)
        self.log: list[Any] = []
        self.deliveries: list[Delivery | None] = []
        self.times: list[float] = []
        self.notices: list[Notice] = []
        #: Called by the listener with each event; may be async.
        self.react: Callable[[Any], Any] | None = None
        self.bridge.notices.add_listener(Notice, self._note)

    def listen(self, *keys: Any, react: Callable[[Any], Any] | None = None) -> Program:
        """Log the events of these keys."""
        self.react = react
        for key in keys:
            self.dispatcher.add_listener(key, self._receive)
        return self

    async def _receive(self, event: Any) -> None:
        self.log.append(getattr(event, "order_id", event))
        self.deliveries.append(delivery())
        self.times.append(anyio.current_time())
        if self.react is not None:
            result = self.react(event)
            if result is not None:
                await result

    async def _note(self, notice: Notice) -> None:
        self.notices.append(notice)

    def kinds(self) -> list[str]:
        """Return the classes of the notices."""
        return [type(notice).__name__ for notice in self.notices]

    async def dead(self, group: str = "billing", channel: Channel = ORDERS) -> list[DeadLetter]:
        """Return the dead letters of a group."""
        return [dead async for dead in self.bridge.dead_letters(channel, group)]


class Shop:
    """A broker, and programs that use it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.web = self.program("web")

    def program(self, name: str, events: EventRegistry | None = None, **options: Any) -> Program:
        """Add a program."""
        return Program(self.broker, name, events or make_registry(), **options)

    def billing(self, name: str = "billing", *, group: str = "billing", **options: Any) -> Program:
        """Add a program that receives the orders in a group and logs them."""
        program = self.program(name)
        program.bridge.receive(ORDERS, group=group, **options)
        return program.listen(OrderPlaced, OrderPaid)

    async def place(self, *order_ids: str) -> None:
        """Publish orders."""
        for order_id in order_ids:
            await self.web.bridge.publish(OrderPlaced(order_id), to=ORDERS, name="order.placed")

    async def abandon(self, *, group: str = "billing", claim_after: float = 60, attempts: int = 1) -> None:
        """Let a process read an event and die, several times."""
        options = SourceOptions(ORDERS, 0, group, "dead process", claim_after)
        source = self.broker.source(options)
        async with source.opened():
            await source.read(1)
            for _ in range(attempts - 1):
                await anyio.sleep(claim_after)
                await source.redelivered(1)


def fail(_: object) -> None:
    """Raise an error, for `react`."""
    raise ValueError("no")
