"""Fan-out: each program receives each event of the others, from its start on."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from antiphon.bridges import ConfigurationError, Retry
from antiphon.testing import settle
from tests.bridges.shop import PRICES, OrderPaid, PriceChanged, Program, Shop, fail


def make_program(shop: Shop, name: str, **options: Any) -> Program:
    program = shop.program(name)
    program.bridge.receive(PRICES, **options)
    program.bridge.forward(PriceChanged, to=PRICES)
    return program.listen(PriceChanged)


async def test_all_programs_get_the_event_and_the_sender_gets_it_once(shop: Shop):
    one, two, three = (make_program(shop, name) for name in ("one", "two", "three"))
    event = PriceChanged("tea", 1.5)

    async with one.bridge, two.bridge, three.bridge:
        await one.dispatcher.adispatch("price.changed", event)
        await anyio.sleep(1)

    assert one.log == two.log == three.log == [event]
    assert one.deliveries == [None]
    assert two.deliveries[0] is not None
    assert two.deliveries[0].group is None


async def test_events_before_the_start_are_not_received(shop: Shop):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async with one.bridge:
        await one.dispatcher.adispatch(PriceChanged("before", 1))
        async with two.bridge:
            await one.dispatcher.adispatch(PriceChanged("after", 2))
            await anyio.sleep(1)

    assert [event.product for event in two.log] == ["after"]


async def test_events_during_a_lost_connection_are_received_afterwards(shop: Shop):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async with one.bridge, two.bridge:
        await one.bridge.publish(PriceChanged("before", 1), to=PRICES)
        await anyio.sleep(1)
        shop.broker.set_available(False)
        await settle()
        # The first connection that is back publishes, while the other one still pauses.
        shop.broker.set_available(True)
        await one.bridge.publish(PriceChanged("meanwhile", 2), to=PRICES)
        await anyio.sleep(30)

    assert [event.product for event in two.log] == ["before", "meanwhile"]
    assert two.kinds() == ["ConnectionLost", "ConnectionBack"]


async def test_a_failure_is_logged_and_not_repeated(shop: Shop, caplog: pytest.LogCaptureFixture):
    one, two = make_program(shop, "one"), make_program(shop, "two")
    two.react = fail

    async with one.bridge, two.bridge:
        await one.bridge.publish(PriceChanged("tea", 1), to=PRICES)
        await anyio.sleep(100)
        (state,) = (await two.bridge.health()).receives

    assert len(two.log) == 1
    assert (state.failed, state.handled) == (1, 0)
    assert two.kinds() == ["Buried"]
    (record,) = [record for record in caplog.records if record.name == "antiphon.bridges"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_ordered_keeps_the_order_of_a_key(shop: Shop):
    one, two = shop.program("one"), shop.program("two")
    two.bridge.receive(PRICES, ordered=True)
    two.listen(OrderPaid)
    finished: list[str] = []

    async def shorter_and_shorter(event: OrderPaid) -> None:
        await anyio.sleep(10 - len(two.log))
        finished.append(event.order_id)

    two.react = shorter_and_shorter
    async with one.bridge, two.bridge:
        for _ in range(5):
            await one.bridge.publish(OrderPaid("7"), to=PRICES)
            await one.bridge.publish(OrderPaid("8"), to=PRICES)
        await anyio.sleep(100)

    assert two.log.count("7") == two.log.count("8") == 5
    assert len(finished) == 10


@pytest.mark.parametrize("options", [{"retry": Retry(2)}, {"unknown": "bury"}, {"unknown": "wait"}], ids=str)
def test_options_of_groups_are_refused(shop: Shop, options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="needs a group="):
        shop.web.bridge.receive(PRICES, **options)


async def test_a_fan_out_does_not_read_more_than_it_can_deliver(shop: Shop):
    one, two = make_program(shop, "one"), make_program(shop, "two", concurrency=2)
    two.react = lambda event: anyio.sleep(1)

    async with one.bridge, two.bridge:
        for number in range(10):
            await one.bridge.publish(PriceChanged("tea", number), to=PRICES)
        await anyio.sleep(0.5)
        assert (await two.bridge.health()).receives[0].in_flight == 2
        await anyio.sleep(10)

    assert sorted(event.price for event in two.log) == list(range(10))
