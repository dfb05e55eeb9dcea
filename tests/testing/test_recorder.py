"""`record`: what is recorded, and its text."""

from __future__ import annotations

import functools
import gc
import threading
from inspect import cleandoc
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, inline
from antiphon.testing import Backend, record, settle
from tests.testing.orders import DeclinedError, OrderPlaced, Shipped, charge, decline, ship, validate

# What is recorded


async def test_dispatches_are_recorded_in_the_order_of_their_starts(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed")
    async def pay(event: Event) -> None:
        await shop.adispatch("order.paid", paid)

    placed, paid, shipped = OrderPlaced(), Event(), Shipped(1)
    with record(shop) as recorded:
        await shop.adispatch("order.placed", placed)
        await shop.adispatch(shipped)

    assert all(map(lambda got, event: got is event, recorded.events, (placed, paid, shipped)))
    assert recorded.names == ("order.placed", "order.paid", None)
    assert [dispatch.event for dispatch in recorded.dispatches] == [placed, paid, shipped]


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_calls_are_recorded_in_the_order_of_their_starts(shop: AsyncEventDispatcher, strategy: Any) -> None:
    shop.add_listener("order.placed", charge)
    shop.add_listener("order.placed", validate, priority=-10)
    shop.add_listener("order.placed", ship, where=lambda event: False)
    with record(shop) as recorded:
        await shop.adispatch("order.placed", strategy=strategy)

    assert [call.listener for call in recorded.calls] == [validate, charge]
    assert {call.outcome for call in recorded.calls} == {"finished"}


def test_a_sync_dispatcher_is_recorded_without_an_event_loop() -> None:
    dispatcher = EventDispatcher()
    received: list[Event] = []
    dispatcher.add_listener("order.*", received.append)
    with record(dispatcher) as recorded:
        event = dispatcher.dispatch("order.placed")

    recorded.assert_only_dispatched(event)
    assert received == [event]


async def test_dispatches_of_scopes_are_recorded_with_the_dispatcher(shop: AsyncEventDispatcher) -> None:
    with record(shop) as recorded, shop.scope() as scoped, record(scoped) as recorded_alone:
        scoped.add_listener("order.paid", charge)
        await shop.adispatch("order.placed")
        await scoped.adispatch("order.paid")

    recorded.assert_only_dispatched("order.placed", "order.paid")
    recorded.assert_called(charge)
    recorded_alone.assert_only_dispatched("order.paid")


async def test_a_dispatcher_and_its_scope_are_recorded_once(shop: AsyncEventDispatcher) -> None:
    with shop.scope() as scoped, record(shop, scoped) as recorded:
        scoped.add_listener("order.placed", charge)
        await scoped.adispatch("order.placed")

    recorded.assert_only_dispatched("order.placed")
    assert len(recorded.calls) == 1


async def test_nothing_outside_of_the_block_is_recorded(shop: AsyncEventDispatcher) -> None:
    await shop.adispatch("order.placed")
    with record(shop) as recorded:
        assert not shop.has_listeners()
        assert shop.get_listeners("order.placed") == ()
    await shop.adispatch("order.placed")

    recorded.assert_only_dispatched()
    assert str(recorded) == "nothing was dispatched"


async def test_a_dispatch_that_began_before_the_block_is_not_recorded(shop: AsyncEventDispatcher) -> None:
    recordings = []

    @shop.listen("order.placed")
    async def start_recording(event: Event) -> None:
        recording = record(shop)
        recordings.append((recording, recording.__enter__()))

    shop.add_listener("order.placed", charge)
    await shop.adispatch("order.placed")
    ((recording, recorded),) = recordings
    recording.__exit__(None, None, None)

    assert (recorded.events, recorded.calls) == ((), ())


async def test_a_dispatch_that_outlasts_the_block_is_updated(shop: AsyncEventDispatcher) -> None:
    go_on = anyio.Event()

    @shop.listen("order.placed")
    async def wait(event: Event) -> None:
        await go_on.wait()

    async with anyio.create_task_group() as group:
        with record(shop) as recorded:
            group.start_soon(shop.adispatch, "order.placed", Event())
            await settle()
            assert str(recorded) == "'order.placed': still running\n    wait: still running"
        go_on.set()

    assert str(recorded) == "'order.placed'\n    wait"


async def test_a_block_that_raises_ends_the_recording(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", decline)
    with pytest.raises(DeclinedError), record(shop) as recorded:
        await shop.adispatch("order.placed")
    await shop.adispatch("order.paid")

    recorded.assert_only_dispatched("order.placed")


async def test_recordings_are_independent(shop: AsyncEventDispatcher) -> None:
    with record(shop) as outer:
        await shop.adispatch("order.placed")
        with record(shop) as inner:
            await shop.adispatch("order.paid")
        await shop.adispatch("order.shipped")

    outer.assert_only_dispatched("order.placed", "order.paid", "order.shipped")
    inner.assert_only_dispatched("order.paid")


def test_dispatches_of_several_threads_are_recorded_together() -> None:
    dispatcher = EventDispatcher()
    names = [f"order.{number:02}" for number in range(20)]
    with record(dispatcher) as recorded:
        threads = [threading.Thread(target=dispatcher.dispatch, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(recorded.names) == names


@pytest.mark.parametrize("seed", range(10))
def test_a_seed_gives_the_same_recording_each_time(seed: int) -> None:
    async def main() -> str:
        dispatcher = AsyncEventDispatcher(strategy=Concurrent())

        async def pay(event: Event) -> None:
            await anyio.lowlevel.checkpoint()
            await dispatcher.adispatch("order.paid")

        for _ in range(3):
            dispatcher.add_listener("order.placed", pay)
        with record(dispatcher) as recorded:
            await dispatcher.adispatch("order.placed")
        return str(recorded)

    assert Backend("trio", seed).run(main) == Backend("trio", seed).run(main)


@pytest.mark.parametrize(
    ("dispatchers", "message"),
    [
        ((), r"requires a dispatcher: with record\(dispatcher\) as recording"),
        *(((thing,), r"record\(\) requires dispatchers; got") for thing in (None, AsyncEventDispatcher, "shop")),
    ],
    ids=str,
)
def test_only_dispatchers_are_recorded(dispatchers: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        record(*dispatchers)


def test_a_dispatcher_cannot_be_given_twice(shop: AsyncEventDispatcher) -> None:
    with (
        pytest.raises(ValueError, match=r"each dispatcher once; got <AsyncEventDispatcher .*> twice"),
        record(shop, shop),
    ):
        pass
    with record(shop):
        pass


# The text


async def test_the_text_shows_what_an_override_omits() -> None:
    class First(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            await listeners[0](event)

    dispatcher = First()
    dispatcher.add_listener("order.placed", validate)
    dispatcher.add_listener("order.placed", charge)
    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")

    recorded.assert_called(validate)
    assert str(recorded) == cleandoc("""
        'order.placed'
            validate
            charge: not called, because the dispatch omitted it
    """)


async def test_the_text_shows_posts_under_their_listener(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.paid", ship)
    with record(shop) as recorded:
        async with shop.queue() as queue:

            @shop.listen("order.placed")
            async def pay(event: Event) -> None:
                await queue.post("order.paid", Event())

            await shop.adispatch("order.placed")

    assert str(recorded) == cleandoc("""
        'order.placed'
            pay
                'order.paid'
                    ship
    """)


async def test_the_text_names_the_dispatchers_if_there_are_several(shop: AsyncEventDispatcher) -> None:
    warehouse = EventDispatcher(name="warehouse")

    @shop.listen("order.placed")
    async def reserve(event: Event) -> None:
        warehouse.dispatch("stock.reserved")

    with record(shop, warehouse) as recorded:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.paid")

    recorded.assert_only_dispatched("order.placed", "stock.reserved", "order.paid")
    assert str(recorded) == cleandoc("""
        'order.placed' on <AsyncEventDispatcher 'shop'>
            reserve
                'stock.reserved' on <EventDispatcher 'warehouse'>: nobody listened
        'order.paid' on <AsyncEventDispatcher 'shop'>: nobody listened
    """)


async def test_the_text_skips_dispatchers_that_are_not_recorded(shop: AsyncEventDispatcher) -> None:
    relay = AsyncEventDispatcher()

    @shop.listen("order.placed")
    async def hand_on(event: Event) -> None:
        await relay.adispatch("relayed")
        gc.collect()

    @relay.listen("relayed")
    async def hand_back(event: Event) -> None:
        await shop.adispatch("order.paid")

    with record(relay), record(shop) as recorded:
        await shop.adispatch("order.placed")
        gc.collect()

    assert str(recorded) == cleandoc("""
        'order.placed'
            hand_on
                'order.paid': nobody listened
    """)


async def test_the_text_shows_errors_where_they_happened(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", validate, priority=-10)
    shop.add_listener("order.placed", decline)
    shop.add_listener("order.placed", charge)
    with record(shop) as recorded:
        with pytest.raises(DeclinedError):
            await shop.adispatch("order.placed")
        with pytest.raises(ExceptionGroup):
            await shop.adispatch("order.placed", strategy=Sequential(errors="collect"))
        await shop.adispatch("order.placed", strategy=Sequential(errors=lambda *details: None))

    assert str(recorded) == cleandoc("""
        'order.placed': failed with DeclinedError
            validate (priority -10)
            decline: failed with DeclinedError('no credit')
            charge: not called, because the dispatch failed
        'order.placed': failed with ExceptionGroup
            validate (priority -10)
            decline: failed with DeclinedError('no credit')
            charge
        'order.placed'
            validate (priority -10)
            decline: failed with DeclinedError('no credit')
            charge
    """)


async def test_the_text_shows_that_a_stopped_event_failed(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed")
    async def stop_and_fail(event: Event) -> None:
        event.stop_propagation()
        raise DeclinedError

    with record(shop) as recorded, pytest.raises(DeclinedError):
        await shop.adispatch("order.placed")

    recorded.assert_stopped("order.placed", by=stop_and_fail)
    assert str(recorded).startswith("'order.placed': stopped by stop_and_fail, failed with DeclinedError\n")


async def test_the_text_shows_what_was_cancelled(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed")
    async def wait(event: Event) -> None:
        await anyio.sleep_forever()

    shop.add_listener("order.placed", charge)
    with record(shop) as recorded, anyio.CancelScope() as scope:
        scope.cancel()
        await shop.adispatch("order.placed")

    assert str(recorded) == cleandoc("""
        'order.placed': cancelled
            wait: cancelled
            charge: not called, because the dispatch was cancelled
    """)


async def test_the_text_shows_removed_listeners(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed", priority=-10)
    async def remove(event: Event) -> None:
        subscription.unsubscribe()
        if not nested:
            nested.append(True)
            await shop.adispatch("order.placed")

    nested: list[bool] = []
    subscription = shop.add_listener("order.placed", charge)
    shop.add_listener("order.placed", ship, once=True)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    assert str(recorded) == cleandoc("""
        'order.placed'
            remove (priority -10)
                'order.placed'
                    remove (priority -10)
                    ship
            charge: not called, because it was removed
            ship: not called, because it was removed
    """)


async def test_the_text_of_a_long_chain_of_posts_has_no_limit(shop: AsyncEventDispatcher) -> None:
    with record(shop) as recorded:
        async with shop.queue() as queue:

            @shop.listen("tick")
            async def tick(event: Event) -> None:
                if len(recorded.events) < 1500:
                    await queue.post("tick", Event())

            await queue.post("tick", Event())

    assert len(str(recorded).splitlines()) == 3000


class Clerk:
    async def validate(self, event: Any) -> None:
        pass

    async def __call__(self, event: Any) -> None:
        pass

    def __repr__(self) -> str:
        return "<a clerk>"


class Broken:
    async def __call__(self, event: Any) -> None:
        pass

    def __repr__(self) -> str:
        raise RuntimeError


async def test_the_text_names_listeners_as_their_code_does(shop: AsyncEventDispatcher) -> None:
    async def local(event: Event) -> None:
        pass

    names = {
        "validate": validate,
        "local": local,
        "Clerk.validate": Clerk().validate,
        "<a clerk>": Clerk(),
        "charge": functools.partial(charge),
        "Broken": Broken(),
        "print": inline(print),
    }
    for listener in names.values():
        shop.add_listener("order.placed", listener)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    assert [line.strip() for line in str(recorded).splitlines()[1:]] == list(names)


class LongEvent(Event):
    def __repr__(self) -> str:
        return "LongEvent(\n  " + "blah " * 40 + ")"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("order.placed", Event()), "'order.placed'"),
        ((("order", 1), Event()), "('order', 1)"),
        (("order.placed", OrderPlaced(1)), "'order.placed' OrderPlaced"),
        (("order.shipped", Shipped(3)), "'order.shipped' Shipped(order=3)"),
        ((Shipped(3),), "Shipped(order=3)"),
        ((Event(),), "Event"),
        (("long", LongEvent()), "'long' LongEvent( " + "blah " * 13 + "b..."),
    ],
    ids=["name", "tuple", "event", "data", "data without name", "event without name", "long"],
)
def test_the_text_names_dispatches_by_name_and_event(arguments: Any, text: str) -> None:
    dispatcher = EventDispatcher()
    with record(dispatcher) as recorded:
        dispatcher.dispatch(*arguments)

    assert str(recorded) == f"{text}: nobody listened"
    assert repr(recorded) == "<Recording: 1 dispatches, 0 calls>"


# Mistakes


def test_a_recording_starts_in_a_block(shop: AsyncEventDispatcher) -> None:
    block: Any = record(shop)
    with pytest.raises(AttributeError, match="write `with record\\(dispatcher\\) as recording:`") as caught:
        block.assert_dispatched("order.placed")

    assert repr(shop) in str(caught.value)
    with pytest.raises(AttributeError, match=r"has no attribute 'assert_dispached'$"):
        block.assert_dispached("order.placed")


async def test_a_recording_is_a_plain_block(shop: AsyncEventDispatcher) -> None:
    block: Any = record(shop)
    with pytest.raises(TypeError, match="a plain `with`: write `with record\\(dispatcher\\) as recording:`"):
        async with block:
            pass


def test_a_recording_is_entered_once(shop: AsyncEventDispatcher) -> None:
    block = record(shop)
    with block:
        pass
    with pytest.raises(RuntimeError, match="has been used; write a new `with record"), block:
        pass


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [(AsyncEventDispatcher, r"pass an object of the class, AsyncEventDispatcher\(\)"), ([], "pass each dispatcher")],
    ids=["class", "list"],
)
def test_what_is_not_a_dispatcher_is_not_recorded(wrong: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        record(wrong)
