"""What both programs must agree on: the events that cross, and the channels."""

from dataclasses import dataclass
from decimal import Decimal

from antiphon import Event
from antiphon.bridges import Channel, EventRegistry

events = EventRegistry()

ORDERS = Channel("orders")
PAYMENTS = Channel("payments")


@events.register("shop.order-placed", key=lambda event: event.order_id)
@dataclass
class OrderPlaced(Event):
    """A customer has placed an order."""

    order_id: str
    total: Decimal


@events.register("shop.order-paid", key=lambda event: event.order_id)
@dataclass
class OrderPaid(Event):
    """The bank has confirmed the payment of an order."""

    order_id: str
