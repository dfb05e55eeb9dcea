"""The second program: it charges each order once, and publishes that it is paid. It runs on Trio.

``python -m examples.orders`` starts it, kills it, and starts it again.
"""

import signal
import sys
from contextlib import closing
from pathlib import Path

import anyio

from antiphon import AsyncEventDispatcher
from antiphon.bridges import Bridge, delivery
from antiphon.bridges.redis import RedisStreams
from examples.orders.events import ORDERS, PAYMENTS, OrderPaid, OrderPlaced, events
from examples.orders.ledger import Ledger
from examples.orders.reports import report

#: The seconds that the bank takes.
BANK = 0.02

#: How soon another process takes over the orders of one that has died. A real program waits for a minute.
CLAIM_AFTER = 1


def make_bridge(url: str, dispatcher: AsyncEventDispatcher) -> Bridge:
    """Return the bridge of this program."""
    bridge = Bridge(dispatcher, RedisStreams(url, prefix="shop"), events, source="/shop/billing")
    bridge.receive(ORDERS, group="billing", concurrency=8, claim_after=CLAIM_AFTER)
    return bridge


async def main(url: str, file: Path) -> None:
    """Charge orders until this process is told to end."""
    dispatcher = AsyncEventDispatcher(name="billing")
    bridge = make_bridge(url, dispatcher)
    with closing(Ledger(file)) as ledger:

        @dispatcher.listen(OrderPlaced)
        async def charge(event: OrderPlaced) -> None:
            received = delivery()
            report("delivered" if received is None or received.attempt == 1 else "redelivered", event.order_id)
            # The process can be killed after any of these lines. The order is then delivered again, and nothing is done
            # twice: the ledger knows the order, and the broker knows the id of the published event.
            if event.order_id not in ledger:
                await anyio.sleep(BANK)
                ledger.add(event.order_id, event.total)
                report("charged", event.order_id)
            await bridge.publish(OrderPaid(event.order_id), to=PAYMENTS, id=f"paid-{event.order_id}")

        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async with bridge:
                report("ready")
                async for _ in signals:
                    break


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]), backend="trio")
