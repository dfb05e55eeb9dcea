"""The end of a bridge: what runs may finish, the rest is handed back, and no exception is lost or added."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from antiphon.bridges import BridgeUnavailable, delivery
from tests.bridges.shop import ORDERS, OrderPlaced, Shop


async def test_deliveries_that_run_may_finish_within_the_grace(shop: Shop):
    billing = shop.billing()
    finished: list[str] = []

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(5)
        finished.append(event.order_id)

    billing.react = work
    async with shop.web.bridge:
        async with billing.bridge:
            await shop.place("7")
            await anyio.sleep(1)
        assert anyio.current_time() == 5
        assert (await shop.broker.health(ORDERS, 0, "billing")).pending == 0

    assert finished == ["7"]


async def test_events_that_are_not_finished_are_handed_to_another_program_within_a_second(shop: Shop):
    one, two = shop.billing("one", concurrency=1), shop.billing("two")
    one.react = lambda event: anyio.sleep(1000)
    ended: list[float] = []

    async def run_one() -> None:
        async with one.bridge:
            await shop.place("1")
            await anyio.sleep(1)
        ended.append(anyio.current_time())

    async with shop.web.bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(run_one)
        await anyio.sleep(2)
        async with two.bridge:
            await anyio.sleep(20)

    assert ended == [11]
    assert one.log == two.log == ["1"]
    assert two.times[0] <= ended[0] + 1
    assert two.deliveries[0] is not None
    assert two.deliveries[0].attempt == 1


async def test_events_that_wait_for_a_place_are_handed_back_at_once(shop: Shop):
    one, two = shop.billing("one", concurrency=1, ordered=False), shop.billing("two")
    one.react = lambda event: anyio.sleep(5)

    async with shop.web.bridge:
        async with one.bridge:
            await shop.place("1", "2", "3")
            await anyio.sleep(1)
        async with two.bridge:
            await anyio.sleep(5)

    assert one.log == ["1"]
    assert sorted(two.log) == ["2", "3"]
    assert {made.attempt for made in two.deliveries if made is not None} == {1}


async def test_without_grace_deliveries_are_cancelled_at_once(shop: Shop):
    billing = shop.program("billing", grace=0)
    billing.bridge.receive(ORDERS, group="billing")
    billing.listen(OrderPlaced, react=lambda event: anyio.sleep(1000))

    async with shop.web.bridge:
        async with billing.bridge:
            await shop.place("7")
            await anyio.sleep(1)
        assert anyio.current_time() == 1
        assert (await shop.broker.health(ORDERS, 0, "billing")).pending == 1


async def test_a_listener_that_finishes_although_it_is_cancelled_is_acknowledged(shop: Shop):
    billing = shop.program("billing", grace=1)
    billing.bridge.receive(ORDERS, group="billing")

    async def finish(event: OrderPlaced) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1.5)

    billing.listen(OrderPlaced, react=finish)
    async with shop.web.bridge:
        async with billing.bridge:
            await shop.place("7")
            await anyio.sleep(0.1)
        assert (await shop.broker.health(ORDERS, 0, "billing")).pending == 0


async def test_a_cancelled_body_ends_the_bridge_in_order(shop: Shop):
    billing = shop.billing()
    finished: list[str] = []

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(5)
        finished.append(event.order_id)

    billing.react = work
    async with shop.web.bridge:
        with anyio.move_on_after(1) as scope:
            async with billing.bridge:
                await shop.place("7")
                await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert finished == ["7"]
    assert anyio.current_time() == 5


async def test_an_error_of_the_body_leaves_unchanged(shop: Shop):
    error = ValueError("body")

    with pytest.raises(ValueError, match="body") as caught:
        async with shop.billing().bridge:
            raise error

    assert caught.value is error


async def test_an_unavailable_broker_is_one_plain_exception_at_entry(shop: Shop):
    shop.broker.set_available(False)

    with pytest.raises(BridgeUnavailable, match="not available"):
        await shop.billing().bridge.__aenter__()


async def test_a_bridge_can_be_entered_again(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge:
        for number in range(3):
            async with billing.bridge:
                await shop.place(str(number))
                await anyio.sleep(1)

    assert billing.log == ["0", "1", "2"]


async def test_a_bridge_is_entered_once_at_a_time(shop: Shop):
    async with shop.web.bridge:
        with pytest.raises(RuntimeError, match="is entered already"):
            await shop.web.bridge.__aenter__()


async def test_a_bridge_that_failed_to_start_can_be_entered_again(shop: Shop):
    billing = shop.billing()
    shop.broker.set_available(False)
    with pytest.raises(BridgeUnavailable):
        await billing.bridge.__aenter__()
    shop.broker.set_available(True)

    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(1)

    assert billing.log == ["7"]


async def test_a_bridge_without_receives_ends_at_once(shop: Shop):
    async with shop.web.bridge:
        pass

    assert anyio.current_time() == 0


async def test_a_listener_may_publish_while_the_bridge_ends(shop: Shop):
    billing, audit = shop.billing(only=(OrderPlaced,)), shop.billing("audit", group="audit")

    async def work(event: OrderPlaced) -> None:
        await anyio.sleep(5)
        await billing.bridge.publish(OrderPlaced("derived"), to=ORDERS)

    billing.react = lambda event: work(event) if event.order_id == "7" else None
    async with shop.web.bridge, audit.bridge:
        async with billing.bridge:
            await shop.place("7")
            await anyio.sleep(1)
        await anyio.sleep(1)

    assert audit.log == ["7", "derived"]


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancellation_at_any_moment_loses_nothing(shop: Shop, turns: int):
    """The bridge is cancelled at entry, while it reads, delivers, and ends; all events arrive in the end."""
    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place(*map(str, range(20)))
        logs: list[Any] = []
        for extra in range(3):
            billing = shop.billing(concurrency=4)
            billing.react = lambda event: anyio.sleep(0)
            async with anyio.create_task_group() as tasks:

                async def run(billing: Any = billing) -> None:
                    async with billing.bridge:
                        await anyio.sleep_forever()

                tasks.start_soon(run)
                for _ in range(turns * 4 + extra):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            logs += billing.log
        last = shop.billing()
        async with last.bridge:
            await anyio.sleep(30)
            (state,) = (await last.bridge.health()).receives

    assert sorted({*logs, *last.log}, key=int) == [str(number) for number in range(20)]
    assert (state.pending, state.lag) == (0, 0)


async def test_an_unexpected_error_of_the_broker_ends_the_body(shop: Shop):
    billing = shop.billing()
    error = OSError("broken")

    async def broken(*arguments: Any) -> Any:
        raise error

    with pytest.raises(OSError, match="broken") as caught:
        async with shop.web.bridge, billing.bridge:
            receiver = billing.bridge._running.receivers[0]  # type: ignore[union-attr]
            receiver._source.ack = broken  # type: ignore[method-assign]
            await shop.place("7")
            await anyio.sleep_forever()

    assert caught.value is error


async def test_no_task_and_no_object_outlives_the_block(shop: Shop):
    billing = shop.billing()
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(1)
        reference = weakref.ref(billing.bridge._running)  # type: ignore[arg-type]

    gc.collect()
    assert reference() is None
    assert delivery() is None
