"""Publishing: what a dispatch forwards, and what `publish`, `prepare` and `send` do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import anyio.to_thread
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event
from antiphon.bridges import (
    Bridge,
    Channel,
    CodecError,
    ConfigurationError,
    MemoryBroker,
    PublishFailed,
)
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, PriceChanged, Shop, make_registry


@dataclass
class Customer(Event):
    name: str


# Forwarding


async def test_a_local_dispatch_goes_out_under_its_name(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        event = OrderPlaced("7")
        assert await shop.web.dispatcher.adispatch("order.placed", event) is event
        await anyio.sleep(1)

    assert billing.log == ["7"]
    (delivered,) = billing.deliveries
    assert delivered is not None
    assert (delivered.source, delivered.type, delivered.stream) == ("/shop/web", "shop.order-placed", "orders")
    assert (delivered.key, delivered.attempt, delivered.hops, delivered.cause) == ("7", 1, 0, None)


@pytest.mark.parametrize("name", ["order.placed", None])
async def test_the_other_side_dispatches_under_the_same_name(shop: Shop, name: str | None):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing = shop.billing()
    names: list[Any] = []
    billing.react = lambda event: names.append(event.name)

    async with shop.web.bridge, billing.bridge:
        event = OrderPlaced("7")
        await (shop.web.dispatcher.adispatch(event) if name is None else shop.web.dispatcher.adispatch(name, event))
        await anyio.sleep(1)

    assert names == [name]


async def test_the_name_of_a_dispatch_is_not_that_of_a_field(shop: Shop):
    events = make_registry()
    events.register("shop.customer")(Customer)
    web, billing = shop.program("web", events), shop.program("billing", events)
    web.bridge.forward(Customer, to=ORDERS)
    billing.bridge.receive(ORDERS, group="billing")
    names: list[str] = []
    billing.dispatcher.add_listener("customer.added", append_to(names, "customer.added"))

    async with web.bridge, billing.bridge:
        await web.dispatcher.adispatch("customer.added", Customer("alice"))
        await anyio.sleep(1)

    assert names == ["customer.added"]


async def test_forwarding_is_the_last_listener(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing = shop.billing()
    shop.web.dispatcher.add_listener("order.placed", append_to(billing.log, "local"), priority=10**9)

    async with shop.web.bridge, billing.bridge:
        await shop.web.dispatcher.adispatch("order.placed", OrderPlaced("7"))
        await anyio.sleep(1)

    assert billing.log == ["local", "7"]


def append_to(log: list[Any], what: Any) -> Any:
    async def append(event: Any) -> None:
        log.append(what)

    return append


@pytest.mark.parametrize("strategy", [None, Concurrent()], ids=["sequential", "concurrent"])
async def test_a_dispatch_that_is_stopped_or_fails_does_not_go_out(shop: Shop, strategy: Any):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing = shop.billing()

    async def validate(event: OrderPlaced) -> None:
        if event.order_id == "stopped":
            event.stop_propagation()
        if event.order_id == "failed":
            raise ValueError(event.order_id)

    shop.web.dispatcher.add_listener(OrderPlaced, validate)
    async with shop.web.bridge, billing.bridge:
        for order_id in ("stopped", "failed", "good"):
            try:
                await shop.web.dispatcher.adispatch(OrderPlaced(order_id), strategy=strategy)
            except (ValueError, ExceptionGroup):
                assert order_id == "failed"
        await anyio.sleep(1)

    assert billing.log == ["good"]


async def test_where_selects_what_goes_out(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS, where=lambda event: event.total > 10)
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        for total in (5, 50):
            await shop.web.dispatcher.adispatch(OrderPlaced(f"order of {total}", Decimal(total)))
        await anyio.sleep(1)

    assert billing.log == ["order of 50"]


async def test_a_failed_publish_is_an_error_of_the_dispatch(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)

    async with shop.web.bridge:
        labels = [each.definition.name for each in shop.web.dispatcher.describe().listeners]
        shop.broker.set_available(False)
        with pytest.raises(PublishFailed, match="not stored") as caught:
            await shop.web.dispatcher.adispatch("order.placed", OrderPlaced("7"))

    assert labels == ["forward to 'orders'"]
    assert any("forward to 'orders'" in note for note in caught.value.__notes__)


async def test_nothing_goes_out_before_and_after_the_block(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    billing = shop.billing()

    async with billing.bridge:
        await shop.web.dispatcher.adispatch(OrderPlaced("before"))
        async with shop.web.bridge:
            await shop.web.dispatcher.adispatch(OrderPlaced("within"))
        await shop.web.dispatcher.adispatch(OrderPlaced("after"))
        await anyio.sleep(1)

    assert billing.log == ["within"]
    assert not shop.web.dispatcher.has_listeners()


async def test_a_subclass_that_is_not_registered_is_an_error_of_the_dispatch(shop: Shop):
    class Special(OrderPlaced):
        pass

    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    async with shop.web.bridge:
        with pytest.raises(CodecError, match=r"got .*Special: decorate this very class"):
            await shop.web.dispatcher.adispatch(Special("7"))


async def test_a_name_that_is_not_a_string_is_an_error_of_the_dispatch(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    async with shop.web.bridge:
        with pytest.raises(CodecError, match="the name of an event that is published is a string"):
            await shop.web.dispatcher.adispatch(("order", 7), OrderPlaced("7"))


# Publishing


async def test_publish_does_not_dispatch_locally(shop: Shop):
    shop.web.listen(OrderPlaced)
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        receipt = await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="order-7")
        assert billing.log == []
        await anyio.sleep(1)

    assert (receipt.id, receipt.stream, receipt.partition, receipt.duplicate) == ("order-7", "orders", 0, False)
    assert (shop.web.log, billing.log) == ([], ["7"])


async def test_an_id_is_stored_once_within_the_dedup_time(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        first = await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="order-7")
        again = await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="order-7")
        await anyio.sleep(121)
        later = await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, id="order-7")
        await anyio.sleep(1)

    assert (again.position, again.duplicate) == (first.position, True)
    assert later.position != first.position
    assert not later.duplicate
    assert billing.log == ["7", "7"]


async def test_extensions_arrive(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, extensions={"tenant": "acme", "rank": 3})
        await anyio.sleep(1)

    (delivered,) = billing.deliveries
    assert delivered is not None
    assert delivered.extensions == {"tenant": "acme", "rank": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": 7}, "the name of an event"),
        ({"name": ""}, "the name of an event"),
        ({"id": 7}, "id= is a string"),
        ({"id": ""}, "id= is a string"),
        ({"extensions": {"Tenant": "acme"}}, "the name of an extension"),
        ({"extensions": {"tenant": 1.5}}, "an extension is"),
    ],
    ids=str,
)
async def test_what_cannot_cross_is_refused(shop: Shop, options: dict[str, Any], message: str):
    async with shop.web.bridge:
        with pytest.raises(CodecError, match=message):
            await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS, **options)


async def test_an_event_that_is_too_large_is_refused(shop: Shop):
    program = shop.program("small", make_registry(max_bytes=500))

    async with program.bridge:
        await program.bridge.publish(OrderPlaced("7"), to=ORDERS)
        with pytest.raises(CodecError, match="max_bytes= is 500"):
            await program.bridge.publish(OrderPlaced("7" * 500), to=ORDERS)


async def test_publishing_without_the_block_fails(shop: Shop):
    with pytest.raises(PublishFailed, match=r"is not entered: publish '.*' in its `async with`"):
        await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS)


async def test_publishing_in_another_event_loop_is_an_error(shop: Shop):
    async def publish() -> None:
        with pytest.raises(RuntimeError, match="was entered in another event loop"):
            await shop.web.bridge.publish(OrderPlaced("7"), to=ORDERS)

    async with shop.web.bridge:
        await anyio.to_thread.run_sync(anyio.run, publish)


async def test_a_message_can_be_prepared_and_sent_later_by_another_process(shop: Shop):
    billing = shop.billing()
    message = shop.web.bridge.prepare(OrderPlaced("7"), to=ORDERS, name="order.placed")
    mailer = shop.program("mailer")
    mailer.bridge.prepare(OrderPlaced("8"), to=ORDERS)

    async with mailer.bridge, billing.bridge:
        receipt = await mailer.bridge.send(message)
        await anyio.sleep(1)

    assert receipt.id == message.id == json.loads(message.data)["id"]
    assert (message.stream, message.key) == ("orders", "7")
    assert billing.log == ["7"]


async def test_a_message_of_an_unknown_channel_is_refused(shop: Shop):
    message = shop.web.bridge.prepare(PriceChanged("tea", 1.5), to=PRICES)

    async with shop.program("mailer").bridge as bridge:
        with pytest.raises(ConfigurationError, match="the channel 'prices' of the message is not known here"):
            await bridge.send(message)


async def test_the_time_of_an_event_is_that_of_its_publish(shop: Shop):
    message = shop.web.bridge.prepare(OrderPlaced("7"), to=ORDERS)

    published = datetime.fromisoformat(json.loads(message.data)["time"])
    assert abs(published - datetime.now(UTC)) < timedelta(minutes=1)


# Partitions


async def test_events_of_one_key_are_in_one_partition(shop: Shop):
    channel = Channel("orders", partitions=4)
    async with shop.web.bridge as bridge:
        placed = [await bridge.publish(OrderPlaced(str(number)), to=channel) for number in range(20)]
        paid = [await bridge.publish(OrderPaid(str(number)), to=channel) for number in range(20)]

    assert [receipt.partition for receipt in placed] == [receipt.partition for receipt in paid]
    assert {receipt.partition for receipt in placed} == {0, 1, 2, 3}


async def test_an_event_without_a_key_is_repeated_in_its_partition(shop: Shop):
    channel = Channel("prices", partitions=4)
    async with shop.web.bridge as bridge:
        for number in range(20):
            first = await bridge.publish(PriceChanged("tea", 1.5), to=channel, id=f"id-{number}")
            again = await bridge.publish(PriceChanged("tea", 1.5), to=channel, id=f"id-{number}")
            assert again.duplicate
            assert again.partition == first.partition


async def test_another_number_of_partitions_is_refused_at_entry():
    broker, events = MemoryBroker(), make_registry()
    first = Bridge(AsyncEventDispatcher(), broker, events, source="/one")
    first.forward(OrderPlaced, to=Channel("orders", partitions=4))
    other = Bridge(AsyncEventDispatcher(), broker, events, source="/two")
    other.receive(Channel("orders", partitions=8), group="billing")

    async with first:
        with pytest.raises(ConfigurationError, match="has 4 partitions in the broker, and this program declares 8"):
            await other.__aenter__()


# Events without weak references or attributes


async def test_a_dispatch_of_another_event_is_not_affected(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    async with shop.web.bridge:
        assert type(await shop.web.dispatcher.adispatch("other")) is Event


@pytest.mark.parametrize("message", [None, "order", OrderPlaced(1)])
async def test_only_messages_are_sent(shop: Shop, message: Any):
    with pytest.raises(TypeError, match=r"send\(\) takes a Message; got .* await publish\(event, to=channel\)"):
        await shop.web.bridge.send(message)


@pytest.mark.parametrize("extensions", [None, "region", ["region"]])
def test_extensions_are_a_mapping(shop: Shop, extensions: Any):
    with pytest.raises(CodecError, match="extensions= is a mapping of names to values; got"):
        shop.web.bridge.prepare(OrderPlaced("1"), to=ORDERS, extensions=extensions)
