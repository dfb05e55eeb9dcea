"""Ordered groups: events of one key are handled one after another, in one program at a time."""

from __future__ import annotations

from typing import Any

import anyio

from antiphon.bridges import Channel, Retry, SourceOptions, delivery
from tests.bridges.shop import ORDERS, OrderPaid, Program, Shop, fail, make_registry


def make_billing(shop: Shop, name: str = "billing", channel: Channel = ORDERS, **options: Any) -> Program:
    program = shop.program(name)
    program.bridge.receive(channel, group="billing", ordered=True, **options)
    return program.listen(OrderPaid)


async def pay(shop: Shop, *order_ids: str, channel: Channel = ORDERS) -> None:
    for number, order_id in enumerate(order_ids):
        await shop.web.bridge.publish(OrderPaid(order_id), to=channel, extensions={"number": number})


def numbers(program: Program) -> list[tuple[str, Any]]:
    return [(str(made.key), made.extensions["number"]) for made in program.deliveries if made is not None]


async def test_events_of_a_key_keep_their_order_and_other_keys_do_not_wait(shop: Shop):
    billing = make_billing(shop)
    finished: list[tuple[str, float]] = []

    async def react(event: OrderPaid) -> None:
        await anyio.sleep(10 if event.order_id == "slow" else 1)
        finished.append((event.order_id, anyio.current_time()))

    billing.react = react
    async with shop.web.bridge, billing.bridge:
        await pay(shop, "slow", "slow", "fast", "fast", "fast")
        await anyio.sleep(60)

    assert finished == [("fast", 1), ("fast", 2), ("fast", 3), ("slow", 10), ("slow", 20)]


async def test_events_that_are_read_together_keep_their_order(shop: Shop):
    """If each had a task that waits for the one before, Trio would start these tasks in random order."""
    async with make_billing(shop).bridge:
        pass
    billing = make_billing(shop)
    billing.react = lambda event: anyio.sleep(0.01)
    async with shop.web.bridge:
        await pay(shop, *["7", "8"] * 20)
        async with billing.bridge:
            await anyio.sleep(10)

    for key in ("7", "8"):
        handled = [number for found, number in numbers(billing) if found == key]
        assert len(handled) == 20
        assert handled == sorted(handled)


async def test_a_failed_event_is_retried_in_place(shop: Shop):
    billing = make_billing(shop, retry=Retry(3, first=2, factor=2))

    def react(event: OrderPaid) -> None:
        made = delivery()
        assert made is not None
        if made.extensions["number"] == 0 and made.attempt < 3:
            raise ValueError

    billing.react = react
    async with shop.web.bridge, billing.bridge:
        await pay(shop, "7", "7")
        await anyio.sleep(60)

    assert numbers(billing) == [("7", 0), ("7", 0), ("7", 0), ("7", 1)]
    assert billing.times == [0, 2, 6, 6]


async def test_a_buried_event_lets_the_next_one_of_its_key_pass(shop: Shop):
    billing = make_billing(shop, retry=Retry(2))
    billing.react = lambda event: fail(event) if billing.deliveries[-1].extensions["number"] == 0 else None  # type: ignore[union-attr]

    async with shop.web.bridge, billing.bridge:
        await pay(shop, "7", "7")
        await anyio.sleep(60)
        dead = await billing.dead()

    assert numbers(billing) == [("7", 0), ("7", 0), ("7", 1)]
    assert [letter.attempts for letter in dead] == [2]


async def test_one_program_at_a_time_reads_a_partition(shop: Shop):
    one, two = make_billing(shop, "one"), make_billing(shop, "two")

    async with shop.web.bridge, one.bridge, two.bridge:
        await anyio.sleep(1)
        await pay(shop, *"abcdef")
        await anyio.sleep(10)
        owners = [(await program.bridge.health()).receives[0].owner for program in (one, two)]

    assert sorted(owners) == [False, True]
    assert sorted(map(len, (one.log, two.log))) == [0, 6]


async def test_the_next_owner_takes_over_within_two_seconds(shop: Shop):
    one, two = make_billing(shop, "one"), make_billing(shop, "two")
    one.react = lambda event: anyio.sleep(100)

    async def run_one() -> None:
        async with one.bridge:
            await pay(shop, "7", "7", "8")
            await anyio.sleep(2)

    async with shop.web.bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(run_one)
        await anyio.sleep(1)
        async with two.bridge:
            await anyio.sleep(14)

    # One ends after 2 seconds and its grace of 10.
    assert 12 <= two.times[0] <= 14
    assert sorted(numbers(two)) == [("7", 0), ("7", 1), ("8", 2)]
    assert numbers(two).index(("7", 0)) < numbers(two).index(("7", 1))
    assert {made.attempt for made in two.deliveries if made is not None} == {1}


async def test_what_a_dead_owner_has_left_comes_before_newer_events(shop: Shop):
    async with shop.web.bridge:
        async with make_billing(shop).bridge:
            pass
        await pay(shop, "7", "7", "7")
        source = shop.broker.source(SourceOptions(ORDERS, 0, "billing", "dead owner", 60, ordered=True))
        async with source.opened():
            assert await source.renew(())
            assert len(await source.read(2)) == 2
        # The process dies here: it does not give up the ownership.
        shop.broker._store.partitions["orders", 0].groups["billing"].owned_until = anyio.current_time() + 60
        billing = make_billing(shop)
        async with billing.bridge:
            await anyio.sleep(59)
            assert billing.log == []
            await anyio.sleep(10)

    assert numbers(billing) == [("7", 0), ("7", 1), ("7", 2)]
    assert [made.attempt for made in billing.deliveries if made is not None] == [2, 2, 1]


async def test_an_owner_that_loses_the_partition_stops_its_deliveries(shop: Shop):
    one, two = make_billing(shop, "one", claim_after=10), make_billing(shop, "two", claim_after=10)
    ends: list[str] = []

    async def react(event: OrderPaid) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            ends.append(event.order_id)

    one.react = react
    async with shop.web.bridge, one.bridge:
        await pay(shop, "7", "8")
        await anyio.sleep(1)
        group = shop.broker._store.partitions["orders", 0].groups["billing"]
        group.owner, group.owned_until = "another process", anyio.current_time() + 30
        # At the next renewal, not when its own lease would have ended.
        await anyio.sleep(4)
        assert sorted(ends) == ["7", "8"]
        async with two.bridge:
            await anyio.sleep(66)

    assert sorted(set(numbers(one) + numbers(two))) == [("7", 0), ("8", 1)]


async def test_attempts_in_place_count_after_a_crash(shop: Shop):
    billing = make_billing(shop, retry=Retry(5, first=50, factor=1))
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await pay(shop, "7")
        await anyio.sleep(60)
        pending = shop.broker._store.partitions["orders", 0].groups["billing"].pending[1]
        attempts = pending.attempts

    assert len(billing.log) == 2
    assert attempts == 2


async def test_partitions_are_read_independently(shop: Shop):
    channel = Channel("orders", partitions=4)
    billing = make_billing(shop, channel=channel)
    keys = [str(number) for number in range(20)] * 3

    async with shop.web.bridge, billing.bridge:
        await pay(shop, *keys, channel=channel)
        await anyio.sleep(10)
        health = await billing.bridge.health()

    assert sorted(billing.log) == sorted(keys)
    for key in set(keys):
        mine = [number for found, number in numbers(billing) if found == key]
        assert mine == sorted(mine)
    assert [state.partition for state in health.receives] == [0, 1, 2, 3]


async def test_a_version_that_is_too_new_leaves_the_partition_to_a_newer_program(shop: Shop):
    from tests.bridges.test_groups import Unknown, make_newer_registry

    older, newer = shop.program("older", make_newer_registry(1)), shop.program("newer", make_newer_registry(2))
    for program in (older, newer):
        program.bridge.receive(ORDERS, group="billing", ordered=True)
        program.listen(Unknown)

    async with shop.program("web", make_registry()).bridge, older.bridge:
        await older.bridge.send(newer.bridge.prepare(Unknown(7), to=ORDERS))
        await older.bridge.publish(Unknown(8), to=ORDERS)
        await anyio.sleep(1)
        assert not (await older.bridge.health()).receives[0].owner
        async with newer.bridge:
            await anyio.sleep(10)

    # Events without a key have no order: the older program may handle the second one.
    assert newer.log == [Unknown(7)]
    assert older.log in ([], [Unknown(8)])
