"""Programs that exchange events through a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from antiphon.bridges import PublishFailed, PublishUncertain
from antiphon.bridges.redis import RedisStreams
from tests.bridges.redis.server import Server
from tests.bridges.shop import ORDERS, OrderPaid, OrderPlaced, Program, make_registry

__all__ = ("is_settled", "make_billing", "make_program", "place", "place_surely", "until", "until_settled")


def make_program(server: Server, prefix: str, name: str = "web", **options: Any) -> Program:
    return Program(RedisStreams(server.url, prefix=prefix), name, make_registry(), **options)


def make_billing(server: Server, prefix: str, name: str = "billing", **options: Any) -> Program:
    program = make_program(server, prefix, name)
    program.bridge.receive(ORDERS, group="billing", **options)
    return program.listen(OrderPlaced, OrderPaid)


async def place(program: Program, *order_ids: str) -> None:
    for order_id in order_ids:
        await program.bridge.publish(OrderPlaced(order_id), to=ORDERS, name="order.placed")


async def place_surely(program: Program, order_id: str, stored: list[str]) -> None:
    """Publish until it is certain that the event is stored, as the docs recommend."""
    with anyio.fail_after(20):
        while True:
            try:
                await program.bridge.publish(OrderPlaced(order_id), to=ORDERS, id=f"id-{order_id}")
            except (PublishFailed, PublishUncertain):
                await anyio.sleep(0.05)
            else:
                stored.append(order_id)
                return


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


async def is_settled(program: Program) -> bool:
    """Return whether the groups of a program have neither pending nor unread events."""
    receives = (await program.bridge.health()).receives
    return all(state.connected and (state.pending, state.lag) == (0, 0) for state in receives)


async def until_settled(program: Program, seconds: float = 15) -> None:
    with anyio.fail_after(seconds):
        while not await is_settled(program):
            await anyio.sleep(0.02)
