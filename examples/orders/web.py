"""The first program: it places orders, and waits until all are paid. It runs on asyncio.

``python -m examples.orders`` starts it.
"""

import sys
from decimal import Decimal

import anyio

from antiphon import AsyncEventDispatcher
from antiphon.bridges import Bridge
from antiphon.bridges.redis import RedisStreams
from examples.orders.events import ORDERS, PAYMENTS, OrderPaid, OrderPlaced, events
from examples.orders.reports import report

#: The seconds between two orders.
PAUSE = 0.005


async def main(url: str, count: int) -> None:
    """Place orders, and wait until all are paid."""
    dispatcher = AsyncEventDispatcher(name="web")
    bridge = Bridge(dispatcher, RedisStreams(url, prefix="shop"), events, source="/shop/web")
    bridge.forward(OrderPlaced, to=ORDERS)
    bridge.receive(PAYMENTS, group="web")
    unpaid = {str(number) for number in range(1, count + 1)}
    all_paid = anyio.Event()

    @dispatcher.listen(OrderPaid)
    async def note(event: OrderPaid) -> None:  # noqa: ASYNC124  listeners are async
        unpaid.discard(event.order_id)
        report("paid", event.order_id)
        if not unpaid:
            all_paid.set()

    async with bridge:
        for order_id in sorted(unpaid, key=int):
            # Other listeners of this program would run first. Then the bridge publishes the event.
            await dispatcher.adispatch("order.placed", OrderPlaced(order_id, Decimal("9.90")))
            report("placed", order_id)
            await anyio.sleep(PAUSE)
        await all_paid.wait()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), backend="asyncio")
