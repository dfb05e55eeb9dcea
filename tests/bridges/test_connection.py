"""A lost connection: the bridge connects again, and no outcome is lost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from antiphon.bridges import BridgeUnavailable, ConnectionLost, PublishFailed, Retry
from antiphon.testing import settle
from tests.bridges.shop import ORDERS, OrderPaid, OrderPlaced, Shop, fail


async def test_the_bridge_connects_again_and_says_so(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        shop.broker.set_available(False)
        await anyio.sleep(10)
        (lost,) = (await billing.bridge.health()).receives
        shop.broker.set_available(True)
        await anyio.sleep(10)
        await shop.place("7")
        await anyio.sleep(1)
        (back,) = (await billing.bridge.health()).receives

    assert billing.log == ["7"]
    assert billing.kinds() == ["ConnectionLost", "ConnectionBack"]
    assert isinstance(billing.notices[0], ConnectionLost)
    assert "not available" in str(billing.notices[0].error)
    assert (lost.connected, lost.reconnects) == (False, 0)
    assert (back.connected, back.reconnects) == (True, 1)


@pytest.mark.parametrize("ordered", [False, True])
async def test_outcomes_are_settled_after_the_connection_is_back(shop: Shop, ordered: bool):
    billing = shop.billing(ordered=ordered, retry=Retry(2, first=1))

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(5)
        if event.order_id == "bad":
            raise ValueError

    billing.react = work
    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2", "bad")
        await anyio.sleep(1)
        shop.broker.set_available(False)
        # The listeners finish while there is no connection.
        await anyio.sleep(10)
        shop.broker.set_available(True)
        await anyio.sleep(30)
        (state,) = (await billing.bridge.health()).receives

    assert sorted(billing.log) == ["1", "2", "bad", "bad"]
    assert (state.pending, state.dead, state.handled) == (0, 1, 2)


@pytest.mark.parametrize(("method", "attempts", "dead"), [("ack", 1, 0), ("later", 2, 1), ("bury", 1, 1)])
async def test_an_outcome_that_the_broker_did_not_get_is_settled_again(
    shop: Shop, method: str, attempts: int, dead: int
):
    """An event that is forgotten before would stay pending until `claim_after` is over, and run again."""
    billing = shop.billing(retry=Retry(attempts, first=1), claim_after=60)
    billing.react = None if method == "ack" else fail

    async with shop.web.bridge, billing.bridge:
        source: Any = billing.bridge._running.receivers[0]._source  # type: ignore[union-attr]
        settle_outcome = getattr(source, method)

        async def lose_connection(*_: Any) -> None:
            setattr(source, method, settle_outcome)
            raise BridgeUnavailable("lost")

        setattr(source, method, lose_connection)
        await shop.place("7")
        await anyio.sleep(10)
        (state,) = (await billing.bridge.health()).receives

    assert len(billing.log) == attempts
    assert (state.pending, state.dead, state.reconnects) == (0, dead, 1)


async def test_a_slow_renewal_does_not_delay_the_next_delivery(shop: Shop):
    billing = shop.billing(retry=Retry(2, first=1), claim_after=60)

    async def fail_late(event: OrderPlaced) -> None:
        await anyio.sleep(21)
        raise ValueError

    billing.react = fail_late
    async with shop.web.bridge, billing.bridge:
        source: Any = billing.bridge._running.receivers[0]._source  # type: ignore[union-attr]
        renew = source.renew

        async def renew_slowly(positions: Any) -> Any:
            # The first renewal is sent before the listener fails, and arrives afterwards.
            await anyio.sleep(5)
            return await renew(positions)

        source.renew = renew_slowly
        await shop.place("7")
        await anyio.sleep(40)

    assert billing.log == ["7", "7"]


async def test_outcomes_of_one_moment_are_acknowledged_in_one_call(shop: Shop):
    billing = shop.billing(concurrency=50)
    billing.react = lambda event: anyio.sleep(1)
    calls: list[int] = []

    async with shop.web.bridge, billing.bridge:
        source: Any = billing.bridge._running.receivers[0]._source  # type: ignore[union-attr]
        ack = source.ack

        async def count(positions: Any) -> None:
            calls.append(len(positions))
            await ack(positions)

        source.ack = count
        await shop.place(*map(str, range(50)))
        await anyio.sleep(5)

    assert sum(calls) == 50
    assert len(calls) <= 5


async def test_a_reader_reads_for_all_deliveries_that_end_in_one_moment(shop: Shop):
    """If it read as soon as one place is free, it would read events singly."""
    billing = shop.billing(concurrency=8)

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(1)
        # Listeners that wait for the same thing need a different number of turns of the loop until they end.
        for _ in range(int(event.order_id) % 3):
            await checkpoint()

    billing.react = work
    reads: list[int] = []
    async with shop.web.bridge:
        async with billing.bridge:
            pass
        await shop.place(*map(str, range(80)))
        async with billing.bridge:
            source: Any = billing.bridge._running.receivers[0]._source  # type: ignore[union-attr]
            read = source.read

            async def count(limit: int) -> Any:
                entries = await read(limit)
                reads.append(len(entries))
                return entries

            source.read = count
            await anyio.sleep(60)

    assert sum(reads) >= 72
    assert len([number for number in reads if number]) <= 12


async def test_publishing_fails_without_a_connection_and_works_again(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge, billing.bridge:
        shop.broker.set_available(False)
        with pytest.raises(PublishFailed) as caught:
            await shop.place("lost")
        assert caught.value.id
        shop.broker.set_available(True)
        await shop.place("7")
        await anyio.sleep(10)

    assert billing.log == ["7"]


async def test_the_bridge_ends_without_a_connection(shop: Shop):
    billing = shop.billing()
    billing.react = lambda event: anyio.sleep(3)

    async with shop.web.bridge:
        async with billing.bridge:
            await shop.place("7")
            await settle()
            shop.broker.set_available(False)
            await anyio.sleep(1)
        ended = anyio.current_time()
        shop.broker.set_available(True)
        pending = (await shop.broker.health(ORDERS, 0, "billing")).pending

    assert ended <= 12
    assert pending == 1


async def test_a_connection_that_comes_back_during_the_end_still_settles(shop: Shop):
    billing = shop.billing()
    billing.react = lambda event: anyio.sleep(8)

    async def come_back() -> None:
        await anyio.sleep(5)
        shop.broker.set_available(True)

    async with shop.web.bridge, anyio.create_task_group() as tasks:
        async with billing.bridge:
            await shop.place("7")
            await settle()
            shop.broker.set_available(False)
            tasks.start_soon(come_back)
        pending = (await shop.broker.health(ORDERS, 0, "billing")).pending

    assert billing.log == ["7"]
    assert pending == 0


class CutOff:
    """A broker that this process cannot reach, while others can."""

    def __getattr__(self, name: str) -> Any:
        raise BridgeUnavailable("cut off")


async def test_an_owner_that_was_away_too_long_does_not_go_on(shop: Shop):
    """While it has no connection, another process can become the owner."""
    one = shop.billing("one", ordered=True, claim_after=5)
    two = shop.billing("two", ordered=True, claim_after=5)
    finished: list[Any] = []

    async def work(event: OrderPaid) -> None:
        await anyio.sleep(30)
        finished.append("one")

    one.react = work
    async with shop.web.bridge, one.bridge:
        await shop.web.bridge.publish(OrderPaid("7"), to=ORDERS)
        await anyio.sleep(1)
        source = one.bridge._running.receivers[0]._source  # type: ignore[union-attr]
        store = source._store  # type: ignore[attr-defined]
        source._store = CutOff()  # type: ignore[attr-defined]
        async with two.bridge:
            await anyio.sleep(15)
            assert two.log == ["7"]
            source._store = store  # type: ignore[attr-defined]
            await anyio.sleep(30)

    assert one.log == two.log == ["7"]
    assert finished == []
