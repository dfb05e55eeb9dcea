"""Groups: each event is delivered at least once, to one program, and again if its listeners fail."""

from __future__ import annotations

import functools
import operator
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, Sequential
from antiphon.bridges import Bridge, Delivery, EventRegistry, Message, Reject, Retry, delivery
from tests.bridges.shop import ORDERS, OrderPaid, OrderPlaced, Shop, fail, make_registry


async def test_each_event_goes_to_one_program_of_the_group(shop: Shop):
    programs = [shop.billing(f"billing-{number}", concurrency=1, claim_after=600) for number in range(3)]
    for program in programs:
        program.react = lambda event: anyio.sleep(1)

    async with shop.web.bridge, programs[0].bridge, programs[1].bridge, programs[2].bridge:
        await shop.place(*map(str, range(30)))
        await anyio.sleep(60)

    assert sorted(functools.reduce(operator.iadd, (program.log for program in programs), []), key=int) == [
        str(number) for number in range(30)
    ]
    assert all(len(program.log) >= 5 for program in programs)


async def test_each_group_gets_each_event(shop: Shop):
    billing, shipping = shop.billing(), shop.billing("shipping", group="shipping")

    async with shop.web.bridge, billing.bridge, shipping.bridge:
        await shop.place("1", "2")
        await anyio.sleep(1)

    assert sorted(billing.log) == sorted(shipping.log) == ["1", "2"]


async def test_the_first_event_after_the_entry_is_not_missed(shop: Shop):
    billing = shop.billing()

    async with shop.web.bridge:
        await shop.place("before")
        async with billing.bridge:
            await shop.place("after")
            await anyio.sleep(1)

    assert billing.log == ["after"]


async def test_a_group_keeps_its_place_while_no_program_runs(shop: Shop):
    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place("1")
        billing = shop.billing()
        async with billing.bridge:
            await anyio.sleep(1)

    assert billing.log == ["1"]


# Failures


async def test_a_failed_event_is_delivered_again_after_growing_delays(shop: Shop):
    billing = shop.billing(retry=Retry(4, first=2, factor=3))
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(100)
        dead = await billing.dead()

    assert billing.times == [0, 2, 8, 26]
    assert [delivered and delivered.attempt for delivered in billing.deliveries] == [1, 2, 3, 4]
    assert [(letter.reason, letter.attempts, letter.type) for letter in dead] == [
        ("ValueError('no')", 4, "shop.order-placed")
    ]
    assert billing.kinds() == ["Retried", "Retried", "Retried", "Buried"]


async def test_a_delay_is_not_longer_than_claim_after(shop: Shop):
    billing = shop.billing(retry=Retry(3, first=100), claim_after=9)
    billing.react = fail

    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(100)

    assert billing.times == [0, 9, 18]


async def test_the_delay_survives_the_program(shop: Shop):
    failing, billing = shop.billing("failing", retry=Retry(first=30)), shop.billing()
    failing.react = fail

    async with shop.web.bridge:
        async with failing.bridge:
            await shop.place("7")
            await anyio.sleep(1)
        async with billing.bridge:
            await anyio.sleep(100)

    assert failing.times == [0]
    assert billing.times == [30]
    assert billing.deliveries[0] is not None
    assert billing.deliveries[0].attempt == 2


async def test_all_listeners_of_the_group_run_again(shop: Shop):
    billing = shop.billing()
    attempts: list[int] = []

    async def second(event: OrderPlaced) -> None:
        current = delivery()
        assert current is not None
        attempts.append(current.attempt)
        if current.attempt == 1:
            raise ValueError

    billing.dispatcher.add_listener(OrderPlaced, second)
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)

    assert billing.log == ["7", "7"]
    assert attempts == [1, 2]


@pytest.mark.parametrize("strategy", [None, Concurrent(), Sequential(errors="collect")], ids=str)
async def test_a_rejected_event_is_buried_at_once(shop: Shop, strategy: Any):
    billing = shop.billing(strategy=strategy)

    def reject(event: Any) -> None:
        raise Reject("unknown customer")

    billing.react = reject
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)
        dead = await billing.dead()

    assert billing.log == ["7"]
    assert [(letter.reason, letter.attempts) for letter in dead] == [("unknown customer", 1)]


async def test_a_cancellation_that_leaks_from_a_listener_is_a_failure(shop: Shop, anyio_backend_name: str):
    if anyio_backend_name != "asyncio":
        pytest.skip("on Trio nothing else can be cancelled")
    import asyncio

    billing = shop.billing(retry=Retry(1))

    async def wait_for_a_cancelled_task(event: Any) -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    billing.react = wait_for_a_cancelled_task
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)
        dead = await billing.dead()

    assert len(dead) == 1
    assert dead[0].reason.startswith("ListenerCancelled")


async def test_other_events_do_not_wait_for_a_failing_one(shop: Shop):
    billing = shop.billing(concurrency=1, retry=Retry(2, first=20))
    billing.react = lambda event: fail(event) if event.order_id == "1" else None

    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2", "3")
        await anyio.sleep(100)

    assert billing.log == ["1", "2", "3", "1"]


# Processes that die


async def test_the_event_of_a_dead_process_is_claimed(shop: Shop):
    billing = shop.billing(claim_after=60)

    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place("7")
        await shop.abandon()
        async with billing.bridge:
            await anyio.sleep(59)
            assert billing.log == []
            await anyio.sleep(3)

    assert billing.log == ["7"]
    assert billing.deliveries[0] is not None
    assert billing.deliveries[0].attempt == 2


async def test_an_event_that_kills_every_process_is_buried(shop: Shop):
    billing = shop.billing(retry=Retry(3))

    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place("7")
        await shop.abandon(attempts=3)
        async with billing.bridge:
            await anyio.sleep(100)
            dead = await billing.dead()

    assert billing.log == []
    assert [(letter.reason, letter.attempts) for letter in dead] == [("no process has finished any of its attempts", 3)]


async def test_one_redelivered_event_is_delivered_at_a_time(shop: Shop):
    """One of them may end the process: the others must not lose an attempt with it."""
    billing = shop.billing(concurrency=16)
    running: list[int] = []

    async def count(event: Any) -> None:
        current = delivery()
        assert current is not None
        if current.attempt > 1:
            running.append(billing.log.count("in") - billing.log.count("out"))
            billing.log.append("in")
            await anyio.sleep(5)
            billing.log.append("out")

    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place(*map(str, range(10)))
        for _ in range(10):
            await shop.abandon()
        billing.react = count
        async with billing.bridge:
            await anyio.sleep(200)

    assert running == [0] * 10


async def test_the_event_of_a_slow_listener_is_not_claimed(shop: Shop):
    billing, other = shop.billing(claim_after=10), shop.billing("other", claim_after=10)
    for program in (billing, other):
        program.react = lambda event: anyio.sleep(50)

    async with shop.web.bridge, billing.bridge, other.bridge:
        await shop.place("7")
        await anyio.sleep(100)

    assert billing.log + other.log == ["7"]


async def test_an_event_is_renewed_also_while_it_waits_for_a_place(shop: Shop):
    billing, other = shop.billing(claim_after=10, concurrency=1), shop.billing("other", claim_after=10)
    billing.react = lambda event: anyio.sleep(25)

    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2")
        await anyio.sleep(1)
        async with other.bridge:
            await anyio.sleep(100)

    assert sorted(billing.log + other.log) == ["1", "2"]


# Concurrency


@pytest.mark.parametrize("concurrency", [1, 3, 16])
async def test_no_more_events_than_concurrency_are_in_flight(shop: Shop, concurrency: int):
    billing = shop.billing(concurrency=concurrency)
    running = 0
    seen: list[int] = []

    async def count(event: Any) -> None:
        nonlocal running
        running += 1
        seen.append(running)
        await anyio.sleep(1)
        running -= 1

    billing.react = count
    async with shop.web.bridge:
        async with shop.billing().bridge:
            pass
        await shop.place(*map(str, range(40)))
        async with billing.bridge:
            await anyio.sleep(0.5)
            (state,) = (await billing.bridge.health()).receives
            assert (state.in_flight, state.pending, state.lag) == (concurrency, concurrency, 40 - concurrency)
            await anyio.sleep(100)

    assert max(seen) == concurrency
    assert len(billing.log) == 40


# What is not delivered


@pytest.mark.parametrize("data", [b"\x00rubbish", b"{}", b'{"specversion":"1.0"}'])
async def test_rubbish_is_buried_with_its_bytes(shop: Shop, data: bytes):
    billing = shop.billing()

    async with billing.bridge:
        await shop.broker.publish(ORDERS, 0, Message("orders", "1", data))
        await anyio.sleep(1)
        dead = await billing.dead()

    assert [(letter.data, letter.id, letter.type) for letter in dead] == [(data, None, None)]
    assert billing.kinds() == ["Buried"]


async def test_wrong_data_is_buried_at_the_first_attempt(shop: Shop):
    class OtherOrder(msgspec.Struct):
        number: int

    others = EventRegistry()
    others.register("shop.order-placed", version=2)(OtherOrder)
    legacy, billing = shop.program("legacy", others), shop.billing()

    async with legacy.bridge, billing.bridge:
        await legacy.bridge.publish(OtherOrder(7), to=ORDERS)
        await anyio.sleep(1)
        dead = await billing.dead()

    assert [(letter.type, letter.attempts) for letter in dead] == [("shop.order-placed", 1)]
    assert "order_id" in dead[0].reason


class Unknown(msgspec.Struct):
    number: int


def make_newer_registry(version: int = 1) -> EventRegistry:
    events = EventRegistry()
    events.register("shop.unknown", version=version)(Unknown)
    return events


@pytest.mark.parametrize(("unknown", "pending", "dead"), [("skip", 0, 0), ("bury", 0, 1), ("wait", 1, 0)])
async def test_an_unknown_type_is_treated_as_configured(shop: Shop, unknown: Any, pending: int, dead: int):
    newer, billing = shop.program("newer", make_newer_registry()), shop.billing(unknown=unknown)

    async with newer.bridge, billing.bridge:
        await newer.bridge.publish(Unknown(7), to=ORDERS)
        await anyio.sleep(1)
        (state,) = (await billing.bridge.health()).receives

    assert (state.unknown, state.pending, state.dead) == (1, pending, dead)


async def test_a_newer_version_waits_for_a_program_that_knows_it(shop: Shop):
    newer = shop.program("newer", make_newer_registry(2))
    older = shop.program("older", make_newer_registry(1))
    for program in (newer, older):
        program.bridge.receive(ORDERS, group="billing", retry=Retry(2))
        program.listen(Unknown)

    async with newer.bridge:
        async with older.bridge:
            pass
        await anyio.sleep(0)
    async with older.bridge:
        message = newer.bridge.prepare(Unknown(7), to=ORDERS)
        await older.bridge.send(message)
        await anyio.sleep(600)
        (state,) = (await older.bridge.health()).receives
        async with newer.bridge:
            await anyio.sleep(100)

    assert older.log == []
    assert state.too_new > 5
    assert newer.log == [Unknown(7)]
    assert newer.deliveries[0] is not None
    assert newer.deliveries[0].attempt == 1


async def test_only_the_chosen_classes_are_dispatched(shop: Shop):
    billing = shop.billing(only=(OrderPaid,))

    async with shop.web.bridge, billing.bridge:
        await shop.place("1")
        await shop.web.bridge.publish(OrderPaid("2"), to=ORDERS)
        await anyio.sleep(1)
        (state,) = (await billing.bridge.health()).receives

    assert billing.log == ["2"]
    assert (state.handled, state.pending) == (1, 0)


async def test_an_event_without_listeners_is_acknowledged_and_counted(shop: Shop):
    billing = shop.program("billing")
    billing.bridge.receive(ORDERS, group="billing")

    async with shop.web.bridge, billing.bridge:
        await shop.place("1")
        await anyio.sleep(1)
        (state,) = (await billing.bridge.health()).receives

    assert (state.unheard, state.handled, state.pending) == (1, 1, 0)


# Around a delivery


async def test_a_context_manager_runs_around_each_delivery(shop: Shop):
    log: list[Any] = []

    @asynccontextmanager
    async def transaction(current: Delivery) -> AsyncGenerator[str]:
        log.append(("begin", current.attempt))
        try:
            yield "a connection"
        except ValueError:
            log.append("rollback")
            raise
        log.append("commit")

    billing = shop.billing(around=transaction)
    billing.react = lambda event: fail(event) if len(billing.log) == 1 else None
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)

    assert log == [("begin", 1), "rollback", ("begin", 2), "commit"]


async def test_the_event_is_dispatched_on_the_scope_that_the_manager_returns(shop: Shop):
    dispatchers: list[Any] = []

    @asynccontextmanager
    async def scoped(current: Delivery) -> AsyncGenerator[AsyncEventDispatcher]:
        with billing.dispatcher.scope() as scope:
            yield scope

    billing = shop.billing(around=scoped)
    billing.react = lambda event: dispatchers.append(event.dispatcher)
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(1)

    assert len(dispatchers) == 1
    assert dispatchers[0] is not billing.dispatcher


async def test_an_inbox_skips_events_that_it_knows(shop: Shop):
    known: set[str] = set()

    @asynccontextmanager
    async def inbox(current: Delivery) -> AsyncGenerator[bool]:
        yield current.id not in known
        known.add(current.id)

    billing = shop.billing(around=inbox)
    async with shop.web.bridge, billing.bridge:
        message = shop.web.bridge.prepare(OrderPlaced("7"), to=ORDERS)
        await shop.web.bridge.send(message)
        await anyio.sleep(200)
        await shop.web.bridge.send(message)
        await anyio.sleep(1)

    assert billing.log == ["7"]


async def test_an_error_of_the_manager_is_a_failure(shop: Shop):
    @asynccontextmanager
    async def broken(current: Delivery) -> AsyncGenerator[None]:
        if current.attempt == 1:
            raise OSError("no database")
        yield

    billing = shop.billing(around=broken)
    async with shop.web.bridge, billing.bridge:
        await shop.place("7")
        await anyio.sleep(10)

    assert billing.times == [1]


# The context of a listener


async def test_context_variables_do_not_leak_between_deliveries(shop: Shop):
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen: list[str] = []
    billing = shop.billing(concurrency=1)

    def react(event: Any) -> None:
        seen.append(user.get())
        user.set(event.order_id)

    billing.react = react
    async with shop.web.bridge, billing.bridge:
        await shop.place("1", "2")
        await anyio.sleep(1)

    assert seen == ["nobody", "nobody"]
    assert delivery() is None


async def test_events_of_any_class_that_can_be_encoded_are_delivered(shop: Shop):
    events = make_registry()
    events.register("shop.struct")(Unknown)
    web, billing = shop.program("web", events), shop.program("billing", events)
    billing.bridge.receive(ORDERS, group="billing")
    billing.listen(Unknown)

    async with web.bridge, billing.bridge:
        await web.bridge.publish(Unknown(7), to=ORDERS, name="unknown")
        await anyio.sleep(1)

    assert billing.log == [Unknown(7)]


async def test_a_bridge_takes_a_dispatcher_that_overrides_how_listeners_run(shop: Shop):
    class Logging(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Event) -> None:
            log.append("override")
            await super()._adispatch(listeners, event)

    log: list[str] = []
    dispatcher = Logging()
    bridge = Bridge(dispatcher, shop.broker, make_registry(), source="/shop/legacy")
    bridge.receive(ORDERS, group="billing")

    @dispatcher.listen(OrderPlaced)
    async def receive(event: OrderPlaced) -> None:
        log.append(event.order_id)

    async with shop.web.bridge, bridge:
        await shop.place("7")
        await anyio.sleep(1)

    assert log == ["override", "7"]
