"""The events of the shop, and the names under which they are dispatched."""

from dataclasses import dataclass

from antiphon import Event

#: A customer has placed an order, and has not paid yet.
ORDER_PLACED = "order.placed"

#: The bank has said yes.
ORDER_PAID = "order.paid"


@dataclass
class OrderEvent(Event):
    """What all events of an order have."""

    #: The number on the bill.
    number: int


@dataclass
class OrderPlaced(OrderEvent):
    """An order has come in.

    A listener that finds something wrong with it stops the propagation, and the order is not taken.
    """

    #: What each of the items costs, in cents.
    prices: list[int]


@dataclass
class OrderPaid(OrderEvent):
    """An order can be delivered."""
