"""The events of the tests of the bridge, and registries of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from antiphon import Event
from antiphon.bridges import EventRegistry


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
