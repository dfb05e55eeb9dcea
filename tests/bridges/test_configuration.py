"""The configuration of a bridge: mistakes are found before the first event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, EventDispatcher, Sequential
from antiphon.bridges import Bridge, Channel, ConfigurationError, EventRegistry, MemoryBroker, Retry
from tests.bridges.shop import ORDERS, PRICES, OrderPaid, OrderPlaced, Shop, make_registry


@pytest.mark.parametrize("source", ["", "a b", None, 7])
def test_a_source_that_is_no_uri_reference_is_refused(source: Any):
    with pytest.raises(ConfigurationError, match="source= is a URI reference"):
        Bridge(AsyncEventDispatcher(), MemoryBroker(), EventRegistry(), source=source)


@pytest.mark.parametrize(
    "options", [{"grace": -1}, {"grace": None}, {"grace": float("inf")}, {"max_hops": 0}, {"max_hops": 1.5}], ids=str
)
def test_limits_of_a_bridge_are_checked(options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))}= is"):
        Bridge(AsyncEventDispatcher(), MemoryBroker(), EventRegistry(), source="/shop", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"claim_after": 0},
        {"claim_after": float("nan")},
        {"retry": 5},
        {"unknown": "ignore"},
        {"around": 7},
        {"group": ""},
        {"group": "a b"},
        {"group": 7},
        {"only": (int,)},
        {"only": ()},
        {"only": OrderPlaced},
        {"strategy": 7},
    ],
    ids=str,
)
def test_options_of_a_receive_are_checked(shop: Shop, options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        shop.web.bridge.receive(ORDERS, **{"group": "billing", **options})


@pytest.mark.parametrize("options", [{"attempts": 0}, {"first": 0}, {"first": -1}, {"factor": 0.5}], ids=str)
def test_options_of_a_retry_are_checked(options: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Retry(**options)


def test_the_delays_of_a_retry_grow_by_its_factor():
    retry = Retry(5, first=2, factor=3)

    assert [retry.get_delay(attempt) for attempt in (1, 2, 3)] == [2, 6, 18]
    assert retry.get_delay(10_000) == float("inf")


def test_an_unregistered_class_is_refused(shop: Shop):
    class Other:
        pass

    with pytest.raises(ConfigurationError, match="is not registered; decorate it"):
        shop.web.bridge.forward(Other, to=ORDERS)


async def is_paid(event: object) -> bool:
    return True


@pytest.mark.parametrize("where", [5, lambda: True, is_paid], ids=["int", "no parameter", "async"])
def test_a_predicate_of_a_forward_is_checked_before_the_first_event(shop: Shop, where: Any):
    with pytest.raises(ConfigurationError, match="where= is a plain function of the event"):
        shop.web.bridge.forward(OrderPlaced, to=ORDERS, where=where)


@pytest.mark.parametrize("channel", ["orders", None, OrderPlaced])
def test_a_channel_is_a_channel(shop: Shop, channel: Any):
    with pytest.raises(ConfigurationError, match="Channel"):
        shop.web.bridge.forward(OrderPlaced, to=channel)
    with pytest.raises(ConfigurationError, match="Channel"):
        shop.web.bridge.receive(channel)


def test_two_channels_of_one_name_are_refused(shop: Shop):
    shop.web.bridge.receive(ORDERS, group="billing")

    with pytest.raises(ConfigurationError, match="the channel 'orders' is declared as Channel"):
        shop.web.bridge.receive(Channel("orders", retain=timedelta(days=1)), group="other")


def test_a_class_is_forwarded_to_a_channel_once(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)
    shop.web.bridge.forward(OrderPlaced, to=PRICES)

    with pytest.raises(ConfigurationError, match="would be published twice"):
        shop.web.bridge.forward(OrderPlaced, to=ORDERS)


def test_a_group_is_received_once(shop: Shop):
    shop.web.bridge.receive(ORDERS, group="billing")
    shop.web.bridge.receive(ORDERS, group="audit")
    shop.web.bridge.receive(ORDERS)

    with pytest.raises(ConfigurationError, match="is received with group='billing' already"):
        shop.web.bridge.receive(ORDERS, group="billing")
    with pytest.raises(ConfigurationError, match="is received with group=None already"):
        shop.web.bridge.receive(ORDERS)


def test_an_event_is_not_both_forwarded_and_received_by_a_group(shop: Shop):
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)

    with pytest.raises(ConfigurationError, match=r"its listeners would run twice; say only="):
        shop.web.bridge.receive(ORDERS, group="billing")
    shop.web.bridge.receive(ORDERS, group="billing", only=(OrderPaid,))
    shop.web.bridge.receive(ORDERS)


def test_the_same_is_found_in_the_other_order(shop: Shop):
    shop.web.bridge.receive(ORDERS, group="billing", only=(OrderPaid,))
    shop.web.bridge.forward(OrderPlaced, to=ORDERS)

    with pytest.raises(ConfigurationError, match=r"its listeners would run twice; say only="):
        shop.web.bridge.forward(OrderPaid, to=ORDERS)


async def test_a_bridge_is_configured_before_it_is_entered(shop: Shop):
    async with shop.web.bridge:
        with pytest.raises(ConfigurationError, match="before `async with`"):
            shop.web.bridge.forward(OrderPlaced, to=ORDERS)
        with pytest.raises(ConfigurationError, match="before `async with`"):
            shop.web.bridge.receive(ORDERS)


@pytest.mark.parametrize("errors", ["log", lambda error, event, listener: None], ids=["log", "function"])
def test_a_policy_that_handles_errors_is_refused_for_a_group(errors: Any):
    """A failed event would be acknowledged."""
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(errors=errors))
    bridge = Bridge(dispatcher, MemoryBroker(), make_registry(), source="/shop")

    with pytest.raises(ConfigurationError, match="a failed event would be acknowledged"):
        bridge.receive(ORDERS, group="billing")
    bridge.receive(ORDERS, group="billing", strategy=Sequential())
    bridge.receive(PRICES)


@pytest.mark.parametrize("errors", ["raise", "collect"])
def test_a_policy_that_raises_errors_is_accepted(errors: Any):
    bridge = Bridge(
        AsyncEventDispatcher(strategy=Sequential(errors=errors)), MemoryBroker(), make_registry(), source="/shop"
    )

    bridge.receive(ORDERS, group="billing")


async def test_a_field_that_cannot_be_encoded_is_found_at_entry():
    from tests.bridges.test_registry import WithPlain

    events = EventRegistry()
    events.register("shop.plain")(WithPlain)
    bridge = Bridge(AsyncEventDispatcher(), MemoryBroker(), events, source="/shop")

    with pytest.raises(ConfigurationError, match="which cannot be encoded"):
        await bridge.__aenter__()


@pytest.mark.parametrize("dedup", [0, -1, None, "120"])
def test_the_dedup_time_of_a_broker_is_checked(dedup: Any):
    with pytest.raises(ConfigurationError, match="dedup="):
        MemoryBroker(dedup=dedup)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("shop", MemoryBroker(), EventRegistry()), "a bridge takes an AsyncEventDispatcher; got 'shop'"),
        ((EventDispatcher(), MemoryBroker(), EventRegistry()), "a bridge takes an AsyncEventDispatcher; got"),
        ((AsyncEventDispatcher(), "redis://", EventRegistry()), "a bridge takes a broker, .* got 'redis://'"),
        ((AsyncEventDispatcher(), MemoryBroker, EventRegistry()), "a bridge takes a broker, .* got <class"),
        (
            (AsyncEventDispatcher(), MemoryBroker(), [OrderPlaced]),
            "a bridge takes the EventRegistry of its events; got",
        ),
    ],
)
def test_the_parts_of_a_bridge_are_checked(parts: Any, message: str):
    with pytest.raises(ConfigurationError, match=message):
        Bridge(*parts, source="/shop")


@pytest.mark.parametrize("attempt", [None, "1", 1.5])
def test_the_number_of_an_attempt_is_an_int(attempt: Any):
    with pytest.raises(TypeError, match="an attempt is the number of a delivery, an int; got"):
        Retry().get_delay(attempt)
