"""What came from the broker does not go back to it, and chains of events end."""

from __future__ import annotations

import gc
from typing import Any

import anyio
import msgspec
import pytest

from antiphon.bridges import Bridge
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, PriceChanged, Program, Shop, make_registry


class Stock(msgspec.Struct):
    """An event without weak references, on which nothing can be set."""

    number: int


def make_program(shop: Shop, name: str) -> Program:
    """Return a program that receives and forwards prices and stock."""
    events = make_registry()
    events.register("shop.stock")(Stock)
    program = shop.program(name, events)
    program.bridge.receive(PRICES)
    program.bridge.forward(PriceChanged, to=PRICES)
    program.bridge.forward(Stock, to=PRICES)
    return program.listen(PriceChanged, Stock)


def count_stored(shop: Shop, channel: str = "prices") -> int:
    return shop.broker._store.partitions[channel, 0].added


@pytest.mark.parametrize("event", [PriceChanged("tea", 1), Stock(7)], ids=["event", "struct"])
async def test_a_received_event_is_not_published_again(shop: Shop, event: Any):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async with one.bridge, two.bridge:
        await one.dispatcher.adispatch("changed", event)
        await anyio.sleep(1)

    assert count_stored(shop) == 1
    assert len(one.log) == len(two.log) == 1


@pytest.mark.parametrize("event", [PriceChanged("tea", 1), Stock(7)], ids=["event", "struct"])
async def test_a_received_event_that_is_dispatched_again_is_not_published(shop: Shop, event: Any):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async def dispatch_again(received: Any) -> None:
        if len(two.log) < 3:
            await two.dispatcher.adispatch("again", received)

    two.react = dispatch_again
    async with one.bridge, two.bridge:
        await one.dispatcher.adispatch("changed", event)
        await anyio.sleep(1)

    assert count_stored(shop) == 1
    assert len(two.log) == 3


@pytest.mark.parametrize("event", [PriceChanged("tea", 1), Stock(7)], ids=["event", "struct"])
async def test_a_received_event_that_a_queue_dispatches_later_is_not_published(shop: Shop, event: Any):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async with one.bridge, two.bridge, two.dispatcher.queue() as queue:

        async def post(received: Any) -> None:
            if len(two.log) == 1:
                await queue.post("later", received)

        two.react = post
        await one.dispatcher.adispatch("changed", event)
        await anyio.sleep(1)

    assert count_stored(shop) == 1
    assert len(two.log) == 2


async def test_a_received_event_that_the_reader_of_a_stream_dispatches_is_not_published(shop: Shop):
    one, two = make_program(shop, "one"), make_program(shop, "two")

    async with one.bridge, two.bridge, two.dispatcher.stream(PriceChanged) as stream:
        await one.dispatcher.adispatch("changed", PriceChanged("tea", 1))
        received = await anext(aiter(stream))
        await anyio.sleep(10)
        await two.dispatcher.adispatch("again", received)
        await anyio.sleep(1)

    assert count_stored(shop) == 1
    assert len(two.log) == 2


async def test_received_events_are_forgotten_when_they_cease_to_exist(shop: Shop):
    one, two = shop.web, shop.program("two")
    two.bridge.receive(PRICES)

    async with one.bridge, two.bridge:
        for number in range(10):
            await one.bridge.publish(PriceChanged("tea", number), to=PRICES)
        await anyio.sleep(1)
        gc.collect()
        assert len(two.bridge._received) == 0


async def test_an_event_that_a_listener_derives_is_published_with_its_cause(shop: Shop):
    billing, shipping = shop.billing(only=(OrderPlaced,)), shop.billing("shipping", group="shipping")
    billing.bridge.forward(OrderPaid, to=ORDERS)

    async def pay(event: OrderPlaced) -> None:
        if isinstance(event, OrderPlaced):
            await billing.dispatcher.adispatch("order.paid", OrderPaid(event.order_id))

    billing.react = pay
    async with shop.web.bridge, billing.bridge, shipping.bridge:
        receipt = await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS)
        await anyio.sleep(1)

    hops = [(made.type, made.hops, made.cause) for made in shipping.deliveries if made is not None]
    assert sorted(hops) == [("shop.order-paid", 1, receipt.id), ("shop.order-placed", 0, None)]


async def test_two_programs_that_answer_each_other_come_to_an_end(shop: Shop):
    players: list[Program] = []
    for name in ("ping", "pong"):
        program = shop.program(name, max_hops=6)
        program.bridge.receive(PRICES)
        program.bridge.forward(PriceChanged, to=PRICES)
        players.append(program.listen(PriceChanged))

    def answer(program: Program, turn: int) -> Any:
        async def react(event: PriceChanged) -> None:
            assert event.price is not None
            if event.price % 2 == turn:
                await program.dispatcher.adispatch(PriceChanged("tea", event.price + 1))

        return react

    for number, program in enumerate(players):
        program.react = answer(program, 1 - number)
    async with players[0].bridge, players[1].bridge:
        await players[0].dispatcher.adispatch(PriceChanged("tea", 0))
        await anyio.sleep(100)

    assert count_stored(shop) == 7
    assert any("max_hops= is 6" in repr(notice) for program in players for notice in program.notices)


async def test_two_bridges_of_one_dispatcher_relay_an_event(shop: Shop):
    program = shop.program("relay")
    program.bridge.receive(ORDERS)
    other = Bridge(program.dispatcher, shop.broker, make_registry(), source="/shop/relay/2")
    other.forward(OrderPlaced, to=PRICES)

    async with shop.web.bridge, program.bridge, other:
        await shop.place("7")
        await anyio.sleep(1)

    assert count_stored(shop) == 1
