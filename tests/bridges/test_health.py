"""Health, notices and dead letters."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from antiphon.bridges import Buried, Channel, ConfigurationError, Lagging, Retried, Retry, Trimmed
from tests.bridges.shop import ORDERS, OrderPlaced, Shop, fail


async def test_health_tells_of_each_receive(shop: Shop):
    billing = shop.billing(concurrency=2, retry=Retry(1))
    billing.react = lambda event: fail(event) if event.order_id == "bad" else anyio.sleep(10)

    async with shop.web.bridge, billing.bridge:
        await shop.place("bad", "1", "2", "3")
        await anyio.sleep(5)
        health = await billing.bridge.health()

    (state,) = health.receives
    assert (state.stream, state.partition, state.group, state.connected, state.owner) == (
        "orders", 0, "billing", True, True,
    )  # fmt: skip
    assert (state.in_flight, state.pending, state.lag) == (2, 2, 1)
    assert (state.handled, state.failed, state.dead, state.oldest) == (0, 1, 1, 5)
    assert health.warnings == ()


async def test_health_of_a_bridge_that_is_not_entered_is_empty(shop: Shop):
    assert (await shop.billing().bridge.health()).receives == ()


async def test_notices_of_retries_and_dead_letters_contain_the_delivery_and_the_error(shop: Shop):
    billing = shop.billing(retry=Retry(2, first=3))
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)

    retried, buried = billing.notices
    assert isinstance(retried, Retried)
    assert (retried.stream, retried.group, retried.delay, retried.delivery.attempt) == ("orders", "billing", 3, 1)
    assert isinstance(buried, Buried)
    assert buried.delivery is not None
    assert (buried.delivery.attempt, buried.reason, repr(buried.error)) == (2, "ValueError('no')", "ValueError('no')")


async def test_a_failing_listener_of_notices_does_not_end_the_bridge(shop: Shop, caplog: pytest.LogCaptureFixture):
    billing = shop.billing(retry=Retry(1))
    billing.react = fail

    @billing.bridge.notices.listen(Buried)
    async def broken(notice: Buried) -> None:
        raise OSError("no pager")

    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2")
        await anyio.sleep(10)

    assert sorted(billing.log) == ["1", "2"]
    assert "no pager" in caplog.text


async def test_a_listener_of_notices_that_does_not_end_does_not_keep_the_bridge(shop: Shop):
    billing = shop.billing(retry=Retry(1))
    billing.react = fail

    @billing.bridge.notices.listen(Buried)
    async def slow(notice: Buried) -> None:
        await anyio.sleep_forever()

    async with shop.web.bridge, billing.bridge:
        await shop.place("1")
        await anyio.sleep(1)

    assert anyio.current_time() == 2


async def test_a_group_that_falls_behind_is_reported_once(shop: Shop):
    billing = shop.billing(concurrency=1, claim_after=30)
    billing.react = lambda event: anyio.sleep(45)

    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2", "3")
        await anyio.sleep(100)

    lagging = [notice for notice in billing.notices if isinstance(notice, Lagging)]
    assert len(lagging) == 1
    assert lagging[0].oldest > 30
    assert lagging[0].lag == 2


async def test_events_that_were_removed_before_they_were_read_are_counted(shop: Shop):
    channel = Channel("orders", retain=timedelta(seconds=100))
    billing = shop.program("billing")
    billing.bridge.receive(channel, group="billing")
    billing.listen(OrderPlaced)

    async with shop.web.bridge:
        async with billing.bridge:
            pass
        for order_id in ("1", "2", "3"):
            await shop.web.bridge.publish(OrderPlaced(order_id), to=channel)
        await anyio.sleep(200)
        await shop.web.bridge.publish(OrderPlaced("4"), to=channel)
        async with billing.bridge:
            await anyio.sleep(50)
            (state,) = (await billing.bridge.health()).receives

    assert billing.log == ["4"]
    assert state.trimmed == 3
    assert [notice.count for notice in billing.notices if isinstance(notice, Trimmed)] == [3]


# Dead letters


async def test_a_dead_letter_can_be_delivered_again_to_its_group_alone(shop: Shop):
    billing, audit = shop.billing(retry=Retry(1)), shop.billing("audit", group="audit")
    billing.react = lambda event: fail(event) if len(billing.log) == 1 else None

    async with shop.web.bridge, billing.bridge, audit.bridge:
        await shop.place("7")
        await anyio.sleep(1)
        (letter,) = await billing.dead()
        assert await letter.requeue()
        await anyio.sleep(1)
        assert not await letter.requeue()
        assert await billing.dead() == []

    assert billing.log == ["7", "7"]
    assert audit.log == ["7"]
    assert (letter.stream, letter.partition, letter.group, letter.type) == ("orders", 0, "billing", "shop.order-placed")


async def test_a_dead_letter_can_be_dropped(shop: Shop):
    billing = shop.billing(retry=Retry(1))
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2")
        await anyio.sleep(1)
        first, second = await billing.dead()
        assert await first.drop()
        assert not await first.drop()
        assert await billing.dead() == [second]


async def test_many_dead_letters_can_be_dropped_while_they_are_read(shop: Shop):
    billing = shop.billing(retry=Retry(1), concurrency=300)
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await shop.place(*map(str, range(250)))
        await anyio.sleep(5)
        count = 0
        async for letter in billing.bridge.dead_letters(ORDERS, "billing"):
            assert await letter.drop()
            count += 1

    assert count == 250


def test_the_group_of_dead_letters_is_checked(shop: Shop):
    with pytest.raises(ConfigurationError, match="the group of dead letters"):
        shop.web.bridge.dead_letters(ORDERS, "")


def test_the_repr_of_a_bridge_names_its_source(shop: Shop):
    assert repr(shop.web.bridge) == "<bridge /shop/web of <AsyncEventDispatcher 'web'>>"
    assert repr(shop.broker) == "MemoryBroker()"
