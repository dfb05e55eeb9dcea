"""The events of the shop, and the names under which they are dispatched."""

from dataclasses import dataclass

from antiphon import Event

#: A customer has placed an order and has not paid yet.
ORDER_PLACED = "order.placed"

#: The bank has confirmed the payment.
ORDER_PAID = "order.paid"


@dataclass
class OrderEvent(Event):
    """The base class of all events of an order."""

    #: The number of the order.
    number: int


@dataclass
class OrderPlaced(OrderEvent):
    """An order was placed.

    If a listener rejects the order, it stops the propagation, and the order is not paid.
    """

    #: The price of each item, in cents.
    prices: list[int]


@dataclass
class OrderPaid(OrderEvent):
    """An order was paid and can be shipped."""
