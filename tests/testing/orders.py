"""Events and listeners of the tests of recordings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antiphon import Event

__all__ = ("BigOrderPlaced", "DeclinedError", "OrderPlaced", "Shipped", "charge", "decline", "ship", "stop", "validate")


class OrderPlaced(Event):
    def __init__(self, *items: int) -> None:
        self.items = items


class BigOrderPlaced(OrderPlaced):
    pass


@dataclass(frozen=True)
class Shipped:
    order: int


class DeclinedError(Exception):
    pass


async def validate(event: Any) -> None:
    pass


async def charge(event: Any) -> None:
    pass


async def ship(event: Any) -> None:
    pass


async def stop(event: Any) -> None:
    event.stop_propagation()


async def decline(event: Any) -> None:
    raise DeclinedError("no credit")
