"""Who listens in the shop, and who dispatches."""

from typing import Any

from antiphon import AsyncEventDispatcher, in_thread, listens_to
from examples.shop.events import ORDER_PAID, ORDER_PLACED, OrderEvent, OrderPaid, OrderPlaced

dispatcher = AsyncEventDispatcher(name="shop")


def is_large(event: OrderPlaced) -> bool:
    """Tell whether somebody should look at an order."""
    return sum(event.prices) > 100_00


class Stock:
    """Knows what is on the shelves."""

    @listens_to(ORDER_PLACED)
    async def reserve(self, event: OrderPlaced) -> None:
        """Take the items from the shelf."""
        if not event.prices:
            event.stop_propagation()

    @listens_to(ORDER_PAID, timeout=5)
    async def deliver(self, event: OrderPaid) -> None:
        """Send the items."""


@dispatcher.listen(ORDER_PLACED, priority=-10)
async def validate(event: OrderPlaced) -> None:
    """Look whether somebody can have meant this order."""


@dispatcher.listen(ORDER_PLACED, priority=-5, where=is_large, limit=1)
async def ask_the_boss(event: OrderPlaced) -> None:
    """Have a large order looked at."""


def print_label(event: OrderPaid) -> None:
    """Print what is glued to the parcel."""


@dispatcher.listen("order.*", priority=10)
async def log(event: Any) -> None:
    """Write a line for the book-keeper."""


@dispatcher.listen(OrderEvent, priority=20)
async def count(event: OrderEvent) -> None:
    """Count the orders of the day."""


dispatcher.add_subscriber(Stock())
dispatcher.add_listener(ORDER_PAID, in_thread(print_label), priority=5)


async def place(number: int, prices: list[int]) -> None:
    """Take an order."""
    placed = await dispatcher.adispatch(ORDER_PLACED, OrderPlaced(number, prices))
    if not placed.propagation_stopped:
        await dispatcher.adispatch(ORDER_PAID, OrderPaid(number))
