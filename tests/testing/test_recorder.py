"""Recording dispatches: what is recorded, what the assertions say of it, and the text that they print."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, inline
from antiphon.testing import Backend, record, settle


class OrderPlaced(Event):
    def __init__(self, *items: int) -> None:
        self.items = items


class BigOrderPlaced(OrderPlaced):
    pass


@dataclass(frozen=True)
class Shipped:
    order: int


class Refused(Exception):
    pass


async def validate(event: Any) -> None:
    pass


async def price(event: Any) -> None:
    pass


async def ship(event: Any) -> None:
    pass


async def stop(event: Any) -> None:
    event.stop_propagation()


async def refuse(event: Any) -> None:
    raise Refused("no credit")


def expected(text: str) -> str:
    """A text as it stands indented in a test."""
    lines = text.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] for line in lines).rstrip()


@pytest.fixture
def shop() -> AsyncEventDispatcher:
    return AsyncEventDispatcher(name="shop")


# What is recorded


async def test_events_and_names_are_recorded_in_the_order_in_which_their_dispatches_start(
    shop: AsyncEventDispatcher,
) -> None:
    @shop.listen("order.placed")
    async def pay(event: Event) -> None:
        await shop.adispatch("order.paid", paid)

    placed, paid, shipped = OrderPlaced(), Event(), Shipped(1)
    with record(shop) as recorded:
        await shop.adispatch("order.placed", placed)
        await shop.adispatch(shipped)

    assert all(map(lambda one, other: one is other, recorded.events, (placed, paid, shipped)))
    assert recorded.names == ("order.placed", "order.paid", None)
    assert [dispatch.event for dispatch in recorded.dispatches] == [placed, paid, shipped]


async def test_calls_are_recorded_in_the_order_in_which_they_start(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", price)
    shop.add_listener("order.placed", validate, priority=-10)
    shop.add_listener("order.placed", ship, where=lambda event: False)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    assert [call.listener for call in recorded.calls] == [validate, price]
    assert {call.outcome for call in recorded.calls} == {"finished"}


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_every_strategy_is_recorded(shop: AsyncEventDispatcher, strategy: Any) -> None:
    for listener in (validate, price, ship):
        shop.add_listener("order.placed", listener)
    with record(shop) as recorded:
        await shop.adispatch("order.placed", strategy=strategy)

    assert {call.listener for call in recorded.calls} == {validate, price, ship}


def test_a_dispatcher_of_plain_functions_is_recorded_without_an_event_loop() -> None:
    dispatcher = EventDispatcher()
    heard: list[Event] = []
    dispatcher.add_listener("order.*", heard.append)
    with record(dispatcher) as recorded:
        event = dispatcher.dispatch("order.placed")

    recorded.assert_only_dispatched(event)
    assert heard == [event]


async def test_a_dispatcher_that_runs_its_listeners_itself_is_recorded() -> None:
    class First(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            await listeners[0](event)

    dispatcher = First()
    dispatcher.add_listener("order.placed", validate)
    dispatcher.add_listener("order.placed", price)
    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")

    recorded.assert_called(validate)
    assert str(recorded) == expected("""
        'order.placed'
            validate
            price: not called, because it was left out
    """)


async def test_what_a_queue_dispatches_is_recorded_under_the_listener_that_posted_it(
    shop: AsyncEventDispatcher,
) -> None:
    shop.add_listener("order.paid", ship)
    with record(shop) as recorded:
        async with shop.queue() as queue:

            @shop.listen("order.placed")
            async def pay(event: Event) -> None:
                await queue.post("order.paid", Event())

            await shop.adispatch("order.placed")

    assert str(recorded) == expected("""
        'order.placed'
            pay
                'order.paid'
                    ship
    """)


async def test_dispatches_of_scopes_are_recorded_with_the_dispatcher(shop: AsyncEventDispatcher) -> None:
    with record(shop) as recorded, shop.scope() as scoped:
        scoped.add_listener("order.placed", price)
        await scoped.adispatch("order.placed")

    recorded.assert_called(price)


async def test_a_scope_can_be_recorded_alone(shop: AsyncEventDispatcher) -> None:
    with shop.scope() as scoped, record(scoped) as recorded:
        await shop.adispatch("order.placed")
        await scoped.adispatch("order.paid")

    recorded.assert_only_dispatched("order.paid")


async def test_a_dispatcher_and_its_scope_are_recorded_once(shop: AsyncEventDispatcher) -> None:
    with shop.scope() as scoped, record(shop, scoped) as recorded:
        scoped.add_listener("order.placed", price)
        await scoped.adispatch("order.placed")

    recorded.assert_only_dispatched("order.placed")
    assert len(recorded.calls) == 1


async def test_several_dispatchers_are_recorded_in_one_order(shop: AsyncEventDispatcher) -> None:
    warehouse = EventDispatcher(name="warehouse")

    @shop.listen("order.placed")
    async def reserve(event: Event) -> None:
        warehouse.dispatch("stock.reserved")

    with record(shop, warehouse) as recorded:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.paid")

    recorded.assert_only_dispatched("order.placed", "stock.reserved", "order.paid")
    assert str(recorded) == expected("""
        'order.placed' on <AsyncEventDispatcher 'shop'>
            reserve
                'stock.reserved' on <EventDispatcher 'warehouse'>: nobody listened
        'order.paid' on <AsyncEventDispatcher 'shop'>: nobody listened
    """)


async def test_a_dispatch_is_shown_under_the_nearest_listener_that_is_recorded(shop: AsyncEventDispatcher) -> None:
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

    assert str(recorded) == expected("""
        'order.placed'
            hand_on
                'order.paid': nobody listened
    """)


async def test_nothing_outside_of_the_block_is_recorded(shop: AsyncEventDispatcher) -> None:
    await shop.adispatch("order.placed")
    with record(shop) as recorded:
        pass
    await shop.adispatch("order.placed")

    recorded.assert_only_dispatched()
    assert str(recorded) == "nothing was dispatched"


async def test_of_a_dispatch_that_began_before_the_block_nothing_is_recorded(shop: AsyncEventDispatcher) -> None:
    recordings = []

    @shop.listen("order.placed")
    async def begin(event: Event) -> None:
        recording = record(shop)
        recordings.append((recording, recording.__enter__()))

    shop.add_listener("order.placed", price)
    await shop.adispatch("order.placed")
    ((recording, recorded),) = recordings
    recording.__exit__(None, None, None)

    assert (recorded.events, recorded.calls) == ((), ())


async def test_of_a_dispatch_that_outlasts_the_block_the_end_is_seen_later(shop: AsyncEventDispatcher) -> None:
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


async def test_a_block_that_raises_ends_the_recording_and_lets_the_error_out(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", refuse)
    with pytest.raises(Refused), record(shop) as recorded:
        await shop.adispatch("order.placed")
    await shop.adispatch("order.paid")

    recorded.assert_only_dispatched("order.placed")


async def test_a_recording_is_no_listener(shop: AsyncEventDispatcher) -> None:
    with record(shop):
        assert not shop.has_listeners()
        assert shop.get_listeners("order.placed") == ()


async def test_recordings_do_not_disturb_each_other(shop: AsyncEventDispatcher) -> None:
    with record(shop) as outer:
        await shop.adispatch("order.placed")
        with record(shop) as inner:
            await shop.adispatch("order.paid")
        await shop.adispatch("order.shipped")

    outer.assert_only_dispatched("order.placed", "order.paid", "order.shipped")
    inner.assert_only_dispatched("order.paid")


def test_dispatches_of_several_threads_are_recorded_together() -> None:
    dispatcher = EventDispatcher()
    with record(dispatcher) as recorded:
        threads = [threading.Thread(target=dispatcher.dispatch, args=[f"order.{number}"]) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(recorded.names) == sorted(f"order.{number}" for number in range(20))


@pytest.mark.parametrize("seed", range(10))
def test_a_recording_tells_the_same_under_the_same_seed(seed: int) -> None:
    async def main() -> str:
        dispatcher = AsyncEventDispatcher(strategy=Concurrent())

        async def listen(event: Event) -> None:
            await anyio.lowlevel.checkpoint()
            await dispatcher.adispatch("order.paid")

        for _ in range(3):
            dispatcher.add_listener("order.placed", listen)
        with record(dispatcher) as recorded:
            await dispatcher.adispatch("order.placed")
        return str(recorded)

    assert Backend("trio", seed).run(main) == Backend("trio", seed).run(main)


def test_there_is_something_to_record() -> None:
    with pytest.raises(TypeError, match=r"takes the dispatchers to record: with record\(dispatcher\) as recorded"):
        record()


@pytest.mark.parametrize("thing", [None, AsyncEventDispatcher, "shop"])
def test_only_dispatchers_are_recorded(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"record\(\) takes dispatchers; got"):
        record(thing)


def test_a_dispatcher_is_recorded_once(shop: AsyncEventDispatcher) -> None:
    with pytest.raises(ValueError, match="already"), record(shop, shop):
        pass
    with record(shop):
        pass


# Keys


async def some_dispatches() -> Any:
    dispatcher = AsyncEventDispatcher()
    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed", OrderPlaced(1))
        await dispatcher.adispatch("order.placed", BigOrderPlaced(2))
        await dispatcher.adispatch(Shipped(3))
        await dispatcher.adispatch(("order", 4), Event())
    return recorded


@pytest.mark.parametrize(
    ("key", "times"),
    [
        ("order.placed", 2),
        ("order.*", 2),
        ("**", 2),
        ("*", 4),
        (OrderPlaced, 2),
        (BigOrderPlaced, 1),
        (Event, 3),
        (object, 4),
        (Shipped, 1),
        (("order", 4), 1),
        ("order", 0),
        ("order.placed.*", 0),
        (ValueError, 0),
    ],
    ids=repr,
)
async def test_a_key_means_what_it_means_to_a_listener(key: Any, times: int) -> None:
    dispatcher = AsyncEventDispatcher()
    heard: list[object] = []
    dispatcher.add_listener(key, inline(heard.append))
    recorded = await some_dispatches()
    for name, event in zip(recorded.names, recorded.events, strict=True):
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
    assert len(heard) == times

    if times:
        assert list(recorded.assert_dispatched(*[key] * times)) == heard
    else:
        recorded.assert_not_dispatched(key)
    with pytest.raises(AssertionError):
        recorded.assert_dispatched(*[key] * (times + 1))


async def test_an_event_as_a_key_means_that_very_one() -> None:
    recorded = await some_dispatches()
    first, second, *_ = recorded.events

    recorded.assert_dispatched(first, second)
    with pytest.raises(
        AssertionError, match="this very BigOrderPlaced\n    this very OrderPlaced  <- not after this v"
    ):
        recorded.assert_dispatched(second, first)
    recorded.assert_not_dispatched(OrderPlaced(1))


@pytest.mark.parametrize("assertion", ["assert_dispatched", "assert_only_dispatched", "assert_not_dispatched"])
@pytest.mark.parametrize(("key", "error"), [("order*", ValueError), (None, TypeError), ([], TypeError)])
async def test_what_cannot_be_listened_to_cannot_be_asserted(assertion: str, key: Any, error: Any) -> None:
    recorded = await some_dispatches()
    with pytest.raises(error):
        getattr(recorded, assertion)(key)


async def test_a_wrong_key_of_a_stopped_event_is_refused() -> None:
    recorded = await some_dispatches()
    with pytest.raises(ValueError, match="order"):
        recorded.assert_stopped("order*")


# The assertions


async def ordered() -> Any:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("placed", validate)
    dispatcher.add_listener("paid", price)
    with record(dispatcher) as recorded:
        for name in ("placed", "priced", "paid", "placed"):
            await dispatcher.adispatch(name)
    return recorded


SEEN = """\
seen:
    'placed'
        validate
    'priced': nobody listened
    'paid'
        price
    'placed'
        validate"""


@pytest.mark.parametrize(
    "keys", [["placed"], ["placed", "paid"], ["placed", "priced", "paid", "placed"], ["paid", "placed"], ["*"] * 4]
)
async def test_dispatches_are_asserted_in_order_with_others_between(keys: list[str]) -> None:
    recorded = await ordered()

    assert len(recorded.assert_dispatched(*keys)) == len(keys)


async def test_the_events_that_were_asserted_are_returned() -> None:
    recorded = await some_dispatches()

    placed, shipped = recorded.assert_dispatched(BigOrderPlaced, Shipped)
    assert (placed.items, shipped.order) == ((2,), 3)
    assert recorded.assert_only_dispatched("*", "*", "*", "*") == recorded.events


def message_of(assertion: Callable[..., object], *wanted: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion(*wanted, **options)
    return str(caught.value)


async def test_a_dispatch_that_never_came_is_pointed_at_and_all_that_came_is_printed() -> None:
    recorded = await ordered()

    assert message_of(recorded.assert_dispatched, "placed", "shipped", "paid") == (
        "expected to be dispatched, in this order (others may come between):\n"
        "    'placed'\n"
        "    'shipped'  <- never dispatched\n"
        "    'paid'\n" + SEEN
    )


async def test_a_dispatch_that_came_too_early_is_pointed_at() -> None:
    recorded = await ordered()

    assert message_of(recorded.assert_dispatched, "paid", "priced") == (
        "expected to be dispatched, in this order (others may come between):\n"
        "    'paid'\n"
        "    'priced'  <- not after 'paid'\n" + SEEN
    )


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (["placed", "paid"], ["'placed'", "'paid'  <- here came 'priced'"]),
        (["placed", "priced"], ["'placed'", "'priced'", "(nothing more)  <- here came 'paid'"]),
        (["*"] * 5, [*["'*'"] * 4, "'*'  <- nothing more came"]),
        ([], ["(nothing more)  <- here came 'placed'"]),
    ],
)
async def test_where_the_only_dispatches_differ_is_pointed_at(keys: list[str], lines: list[str]) -> None:
    recorded = await ordered()

    assert message_of(recorded.assert_only_dispatched, *keys) == "\n".join(
        ["expected to be dispatched, in this order and no others:", *(f"    {line}" for line in lines), SEEN]
    )


async def test_what_must_not_be_dispatched_and_was_is_pointed_at() -> None:
    recorded = await ordered()

    recorded.assert_not_dispatched("shipped", OrderPlaced)
    assert message_of(recorded.assert_not_dispatched, "shipped", "placed") == (
        "expected not to be dispatched:\n    'shipped'\n    'placed'  <- dispatched 2 times\n" + SEEN
    )
    assert "'paid'  <- dispatched once\n" in message_of(recorded.assert_not_dispatched, "paid")


async def test_calls_are_asserted_in_order_with_others_between() -> None:
    recorded = await ordered()

    assert recorded.assert_called(validate, price, validate) == recorded.calls
    assert recorded.assert_called(price) == (recorded.calls[1],)
    assert message_of(recorded.assert_called, price, validate, price) == (
        "expected to be called, in this order (others may come between):\n"
        "    price\n"
        "    validate\n"
        "    price  <- not after validate\n" + SEEN
    )
    assert "    ship  <- never called\n" in message_of(recorded.assert_called, ship)


async def test_what_must_not_be_called_and_was_is_pointed_at() -> None:
    recorded = await ordered()

    recorded.assert_not_called(ship)
    assert message_of(recorded.assert_not_called, ship, price) == (
        "expected not to be called:\n    ship\n    price  <- called once\n" + SEEN
    )


async def test_a_listener_is_asserted_as_it_was_registered(shop: AsyncEventDispatcher) -> None:
    class Till:
        async def pay(self, event: Event) -> None:
            pass

    till, other = Till(), Till()
    shop.add_listener("order.placed", till.pay)
    shop.add_listener("order.placed", inline(print), where=lambda event: True)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    recorded.assert_called(till.pay, inline(print))
    recorded.assert_not_called(other.pay, print)


async def test_a_skipped_listener_was_not_called(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", stop)
    shop.add_listener("order.placed", price)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    recorded.assert_not_called(price)
    assert "price: not called, because the event was stopped" in message_of(recorded.assert_called, price)


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_who_stopped_an_event_is_asserted(shop: AsyncEventDispatcher, strategy: Any) -> None:
    shop.add_listener("order.placed", validate)
    shop.add_listener("order.placed", stop, priority=1, where=lambda event: event.items)
    placed = OrderPlaced(1)
    with record(shop) as recorded:
        await shop.adispatch("order.placed", OrderPlaced(), strategy=strategy)
        await shop.adispatch("order.placed", placed, strategy=strategy)

    assert recorded.assert_stopped("order.placed") is placed
    assert recorded.assert_stopped(OrderPlaced, by=stop) is placed
    seen = expected("""
        seen:
            'order.placed' OrderPlaced
                validate
                stop (priority 1): not called, because its where= said no
            'order.placed' OrderPlaced: stopped by stop
                validate
                stop (priority 1)
    """)
    assert message_of(recorded.assert_stopped, "order.paid") == f"expected to be stopped:\n    'order.paid'\n{seen}"
    assert message_of(recorded.assert_stopped, OrderPlaced, by=validate) == (
        f"expected to be stopped by validate:\n    OrderPlaced\n{seen}"
    )


async def test_an_event_that_was_stopped_by_no_listener_was_stopped(shop: AsyncEventDispatcher) -> None:
    class First(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            event.stop_propagation()

    dispatcher = First()
    dispatcher.add_listener("order.placed", validate)
    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")

    recorded.assert_stopped("order.placed")
    assert message_of(recorded.assert_stopped, "order.placed", by=validate).endswith(
        "'order.placed': stopped\n        validate: not called, because the event was stopped"
    )


@pytest.mark.parametrize(
    "assertion", ["assert_dispatched", "assert_not_dispatched", "assert_called", "assert_not_called"]
)
async def test_an_assertion_of_nothing_is_refused(assertion: str) -> None:
    recorded = await ordered()
    with pytest.raises(TypeError, match="without any it would assert nothing"):
        getattr(recorded, assertion)()


@pytest.mark.parametrize("assertion", ["assert_called", "assert_not_called"])
async def test_what_is_no_listener_was_not_called_and_is_refused(assertion: str) -> None:
    recorded = await ordered()
    with pytest.raises(TypeError, match=r"as it was registered; got 'placed' \(str\).* assert_dispatched\(\)"):
        getattr(recorded, assertion)("placed")


async def test_who_is_no_listener_stopped_nothing_and_is_refused() -> None:
    recorded = await ordered()
    with pytest.raises(TypeError, match="as it was registered"):
        recorded.assert_stopped("placed", by="validate")


# The text


async def test_the_text_shows_errors_where_they_happened(shop: AsyncEventDispatcher) -> None:
    shop.add_listener("order.placed", validate, priority=-10)
    shop.add_listener("order.placed", refuse)
    shop.add_listener("order.placed", price)
    with record(shop) as recorded:
        with pytest.raises(Refused):
            await shop.adispatch("order.placed")
        with pytest.raises(ExceptionGroup):
            await shop.adispatch("order.placed", strategy=Sequential(errors="collect"))
        await shop.adispatch("order.placed", strategy=Sequential(errors=lambda *details: None))

    assert str(recorded) == expected("""
        'order.placed': failed with Refused
            validate (priority -10)
            refuse: failed with Refused('no credit')
            price: not called, because the dispatch had failed
        'order.placed': failed with ExceptionGroup
            validate (priority -10)
            refuse: failed with Refused('no credit')
            price
        'order.placed'
            validate (priority -10)
            refuse: failed with Refused('no credit')
            price
    """)


async def test_the_text_says_both_if_an_event_was_stopped_and_failed(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed")
    async def stop_and_fail(event: Event) -> None:
        event.stop_propagation()
        raise Refused

    with record(shop) as recorded, pytest.raises(Refused):
        await shop.adispatch("order.placed")

    recorded.assert_stopped("order.placed", by=stop_and_fail)
    assert str(recorded).startswith("'order.placed': stopped by stop_and_fail, failed with Refused\n")


async def test_the_text_shows_what_was_cancelled(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed")
    async def wait(event: Event) -> None:
        await anyio.sleep_forever()

    shop.add_listener("order.placed", price)
    with record(shop) as recorded, anyio.CancelScope() as scope:
        scope.cancel()
        await shop.adispatch("order.placed")

    assert str(recorded) == expected("""
        'order.placed': cancelled
            wait: cancelled
            price: not called, because the dispatch was cancelled
    """)


async def test_the_text_says_why_a_listener_was_not_called(shop: AsyncEventDispatcher) -> None:
    @shop.listen("order.placed", priority=-10)
    async def take_back(event: Event) -> None:
        subscription.unsubscribe()
        if not nested:
            nested.append(True)
            await shop.adispatch("order.placed")

    nested: list[bool] = []
    subscription = shop.add_listener("order.placed", price)
    shop.add_listener("order.placed", ship, once=True)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    assert str(recorded) == expected("""
        'order.placed'
            take_back (priority -10)
                'order.placed'
                    take_back (priority -10)
                    ship
            price: not called, because it had been removed
            ship: not called, because it had been removed
    """)


async def test_the_text_of_events_that_post_events_is_as_deep_as_they_are_many(shop: AsyncEventDispatcher) -> None:
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

    for listener in (validate, local, Clerk().validate, Clerk(), functools.partial(price), Broken(), inline(print)):
        shop.add_listener("order.placed", listener)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    assert [line.strip() for line in str(recorded).splitlines()[1:]] == [
        "validate",
        "local",
        "Clerk.validate",
        "<a clerk>",
        "price",
        "Broken",
        "print",
    ]


class Talkative(Event):
    def __repr__(self) -> str:
        return "Talkative(\n  " + "blah " * 40 + ")"


@pytest.mark.parametrize(
    ("name", "event", "text"),
    [
        ("order.placed", Event(), "'order.placed'"),
        (("order", 1), Event(), "('order', 1)"),
        ("order.placed", OrderPlaced(1), "'order.placed' OrderPlaced"),
        ("order.shipped", Shipped(3), "'order.shipped' Shipped(order=3)"),
        (None, Shipped(3), "Shipped(order=3)"),
        (None, Event(), "Event"),
        ("talk", Talkative(), "'talk' Talkative( " + "blah " * 13 + "b..."),
    ],
)
def test_the_text_names_dispatches_by_name_and_event(name: Any, event: Any, text: str) -> None:
    dispatcher = EventDispatcher()
    with record(dispatcher) as recorded:
        if name is None:
            dispatcher.dispatch(event)
        else:
            dispatcher.dispatch(name, event)

    assert str(recorded) == f"{text}: nobody listened"


async def test_the_repr_is_short() -> None:
    assert repr(await ordered()) == "<Recording: 4 dispatches, 3 calls>"
