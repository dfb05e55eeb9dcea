"""The listeners of the shop, and the code that dispatches its events."""

from typing import Any

from antiphon import AsyncEventDispatcher, in_thread, listens_to
from examples.shop.events import (
    ORDER_PAID,
    ORDER_PLACED,
    OrderEvent,
    OrderPaid,
    OrderPlaced,
)

dispatcher = AsyncEventDispatcher(name="shop")


def is_large(event: OrderPlaced) -> bool:
    """Return whether an order needs a review."""
    return sum(event.prices) > 100_00


class Stock:
    """The stock of the shop."""

    @listens_to(ORDER_PLACED)
    async def reserve(self, event: OrderPlaced) -> None:
        """Reserve the items of an order."""
        if not event.prices:
            event.stop_propagation()

    @listens_to(ORDER_PAID, timeout=5)
    async def deliver(self, event: OrderPaid) -> None:
        """Ship the items."""


@dispatcher.listen(ORDER_PLACED, priority=-10)
async def validate(event: OrderPlaced) -> None:
    """Check that the order is valid."""


@dispatcher.listen(ORDER_PLACED, priority=-5, where=is_large, limit=1)
async def review_order(event: OrderPlaced) -> None:
    """Ask an employee to review a large order."""


def print_label(event: OrderPaid) -> None:
    """Print the label of the parcel."""


@dispatcher.listen("order.*", priority=10)
async def log(event: Any) -> None:
    """Write a line to the accounting log."""


@dispatcher.listen(OrderEvent, priority=20)
async def count(event: OrderEvent) -> None:
    """Count the order events of the day."""


dispatcher.add_subscriber(Stock())
dispatcher.add_listener(ORDER_PAID, in_thread(print_label), priority=5)


async def place(number: int, prices: list[int]) -> None:
    """Place an order, and pay for it."""
    placed = await dispatcher.adispatch(ORDER_PLACED, OrderPlaced(number, prices))
    if not placed.propagation_stopped:
        await dispatcher.adispatch(ORDER_PAID, OrderPaid(number))
