"""What a program that may write to the broker can do: the claims of docs/security.md."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import msgspec
import pytest

from antiphon.bridges import Retry
from antiphon.bridges._brokers.protocol import Message
from tests.bridges.shop import ORDERS, OrderPaid, Shop


def make_message(**attributes: Any) -> Message:
    """Return a message that another program has made manually."""
    envelope = {
        "specversion": "1.0",
        "id": "1",
        "source": "/evil",
        "type": "shop.order-paid",
        "data": {"order_id": "7"},
    }
    return Message("orders", "1", msgspec.json.encode({**envelope, **attributes}))


async def deliver(shop: Shop, message: Message) -> Any:
    """Let billing receive a message. Return the program, and its dead letters."""
    billing = shop.billing(retry=Retry(2, first=0.1))
    async with billing.bridge:
        await shop.broker.publish(ORDERS, 0, message)
        await anyio.sleep(5)
        return billing, await billing.dead()


async def test_a_name_from_the_broker_reaches_its_listeners_with_a_registered_class(shop: Shop):
    billing = shop.billing(only=(OrderPaid,))
    received: list[Any] = []

    @billing.dispatcher.listen("admin.refund")
    async def refund(event: Any) -> None:
        received.append(event)

    async with billing.bridge:
        await shop.broker.publish(ORDERS, 0, make_message(subject="admin.refund"))
        await anyio.sleep(1)

    assert received == [OrderPaid("7")]


async def test_a_pattern_as_a_name_becomes_a_dead_letter(shop: Shop):
    billing, dead = await deliver(shop, make_message(subject="order.*"))

    assert billing.log == []
    assert len(dead) == 1
    assert "patterns are for listeners" in dead[0].reason


@pytest.mark.parametrize("data", [{"order_id": ["7"]}, {"order_id": None}, {}, "7"], ids=str)
async def test_data_of_wrong_types_becomes_a_dead_letter(shop: Shop, data: Any):
    billing, dead = await deliver(shop, make_message(data=data))

    assert billing.log == []
    assert len(dead) == 1


async def test_deep_data_becomes_a_dead_letter(shop: Shop):
    data = make_message().data.replace(b'"7"', b"[" * 100_000 + b"]" * 100_000)

    billing, dead = await deliver(shop, Message("orders", "1", data))

    assert billing.log == []
    assert [letter.data for letter in dead] == [data]


@pytest.mark.parametrize("kind", ["os.system", "antiphon:Event", "shop.order-placed:OrderPaid", "this"])
async def test_a_type_that_is_not_registered_is_skipped_and_nothing_is_imported(shop: Shop, kind: str):
    modules = set(sys.modules)

    billing, dead = await deliver(shop, make_message(type=kind))

    assert billing.log == dead == []
    assert not {name for name in set(sys.modules) - modules if name.split(".")[0] in ("this", "shop")}


async def test_fields_that_a_class_does_not_have_are_ignored(shop: Shop):
    fields = {"order_id": "7", "__class__": "os.system", "_antiphon_info": 1, "propagation_stopped": True}

    billing, dead = await deliver(shop, make_message(data=fields))

    assert (billing.log, dead) == (["7"], [])
