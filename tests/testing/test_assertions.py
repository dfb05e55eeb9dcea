"""Assertions on a recording, and the messages of those that fail."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from textwrap import indent
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race, Sequential, inline
from antiphon.testing import Recording, record
from tests.testing.orders import BigOrderPlaced, OrderPlaced, Shipped, charge, ship, stop, validate


def message_of(assertion: Callable[..., object], *expected: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion(*expected, **options)
    return str(caught.value)


# Keys


@pytest.fixture
async def of_events() -> Recording:
    """Dispatches of events of several classes."""
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
async def test_a_key_means_what_it_means_to_a_listener(key: Any, times: int, of_events: Recording) -> None:
    dispatcher = AsyncEventDispatcher()
    received: list[object] = []
    dispatcher.add_listener(key, inline(received.append))
    for name, event in zip(of_events.names, of_events.events, strict=True):
        await (dispatcher.adispatch(event) if name is None else dispatcher.adispatch(name, event))
    assert len(received) == times

    if times:
        assert list(of_events.assert_dispatched(*[key] * times)) == received
    else:
        of_events.assert_not_dispatched(key)
    with pytest.raises(AssertionError):
        of_events.assert_dispatched(*[key] * (times + 1))


async def test_an_event_as_a_key_means_that_very_event(of_events: Recording) -> None:
    first, second, *_ = of_events.events

    of_events.assert_dispatched(first, second)
    of_events.assert_not_dispatched(OrderPlaced(1))
    message = message_of(of_events.assert_dispatched, second, first)
    assert "this BigOrderPlaced object\n    this OrderPlaced object  <- not after this B" in message


async def test_the_asserted_events_are_returned(of_events: Recording) -> None:
    placed, shipped = of_events.assert_dispatched(BigOrderPlaced, Shipped)
    assert (placed.items, shipped.order) == ((2,), 3)
    assert of_events.assert_only_dispatched("*", "*", "*", "*") == of_events.events


@pytest.mark.parametrize(
    "assertion", ["assert_dispatched", "assert_only_dispatched", "assert_not_dispatched", "assert_stopped"]
)
@pytest.mark.parametrize(("key", "error"), [("order*", ValueError), (None, TypeError), ([], TypeError)])
async def test_an_invalid_key_is_refused(assertion: str, key: Any, error: Any, of_events: Recording) -> None:
    with pytest.raises(error):
        getattr(of_events, assertion)(key)


# Dispatches and calls


@pytest.fixture
async def recorded() -> Recording:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("placed", validate)
    dispatcher.add_listener("paid", charge)
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
        charge
    'placed'
        validate"""


@pytest.mark.parametrize(
    "keys", [["placed"], ["placed", "paid"], ["placed", "priced", "paid", "placed"], ["paid", "placed"], ["*"] * 4]
)
async def test_dispatches_are_asserted_in_order(keys: list[str], recorded: Recording) -> None:
    assert len(recorded.assert_dispatched(*keys)) == len(keys)


async def test_calls_are_asserted_in_order(recorded: Recording) -> None:
    assert recorded.assert_called(validate, charge, validate) == recorded.calls
    assert recorded.assert_called(charge) == (recorded.calls[1],)
    recorded.assert_not_called(ship)
    recorded.assert_not_dispatched("shipped", OrderPlaced)


IN_ORDER = "in this order (others may come between)"


@pytest.mark.parametrize(
    ("assertion", "arguments", "expected", "lines"),
    [
        (
            "assert_dispatched",
            ["placed", "shipped", "paid"],
            f"to be dispatched, {IN_ORDER}",
            ["'placed'", "'shipped'  <- never dispatched", "'paid'"],
        ),
        (
            "assert_dispatched",
            ["paid", "priced"],
            f"to be dispatched, {IN_ORDER}",
            ["'paid'", "'priced'  <- not after 'paid'"],
        ),
        *(
            ("assert_only_dispatched", keys, "to be dispatched, in this order and no others", lines)
            for keys, lines in (
                (["placed", "paid"], ["'placed'", "'paid'  <- got 'priced'"]),
                (["placed", "priced"], ["'placed'", "'priced'", "(nothing more)  <- got 'paid'"]),
                (["*"] * 5, [*["'*'"] * 4, "'*'  <- nothing more was dispatched"]),
                ([], ["(nothing more)  <- got 'placed'"]),
            )
        ),
        (
            "assert_not_dispatched",
            ["shipped", "placed"],
            "not to be dispatched",
            ["'shipped'", "'placed'  <- dispatched 2 times"],
        ),
        ("assert_not_dispatched", ["paid"], "not to be dispatched", ["'paid'  <- dispatched once"]),
        (
            "assert_called",
            [charge, validate, charge],
            f"to be called, {IN_ORDER}",
            ["charge", "validate", "charge  <- not after validate"],
        ),
        ("assert_called", [ship], f"to be called, {IN_ORDER}", ["ship  <- never called"]),
        ("assert_not_called", [ship, charge], "not to be called", ["ship", "charge  <- called once"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("assert") else "",
)
async def test_a_message_marks_the_difference(
    assertion: str, arguments: list[Any], expected: str, lines: list[str], recorded: Recording
) -> None:
    text = indent("\n".join(lines), "    ")
    assert message_of(getattr(recorded, assertion), *arguments) == f"expected {expected}:\n{text}\n{SEEN}"


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
    shop.add_listener("order.placed", charge)
    with record(shop) as recorded:
        await shop.adispatch("order.placed")

    recorded.assert_not_called(charge)
    assert "charge: not called, because the event was stopped" in message_of(recorded.assert_called, charge)


@pytest.mark.parametrize(
    "assertion", ["assert_dispatched", "assert_not_dispatched", "assert_called", "assert_not_called"]
)
async def test_an_assertion_of_nothing_is_refused(assertion: str, recorded: Recording) -> None:
    with pytest.raises(TypeError, match="requires a "):
        getattr(recorded, assertion)()


async def test_what_is_not_a_listener_is_refused(recorded: Recording) -> None:
    for assertion in (recorded.assert_called, recorded.assert_not_called):
        with pytest.raises(TypeError, match=r"as it was registered; got 'placed' \(str\).* assert_dispatched\(\)"):
            assertion("placed")  # type: ignore[operator, arg-type]
    with pytest.raises(TypeError, match="as it was registered"):
        recorded.assert_stopped("placed", by="validate")  # type: ignore[arg-type]


async def test_a_listener_in_place_of_a_key_is_refused(recorded: Recording) -> None:
    async def validate(event: Event) -> None: ...

    for assertion in (recorded.assert_dispatched, recorded.assert_only_dispatched, recorded.assert_not_dispatched):
        with pytest.raises(TypeError, match=r"got <function .*validate.*>: use assert_called\(\) for listeners"):
            assertion(validate)


# Stopped events


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_the_stopping_listener_is_asserted(shop: AsyncEventDispatcher, strategy: Any) -> None:
    shop.add_listener("order.placed", validate)
    shop.add_listener("order.placed", stop, priority=1, where=lambda event: event.items)
    placed = OrderPlaced(1)
    with record(shop) as recorded:
        for event in (OrderPlaced(), placed, OrderPlaced(2)):
            await shop.adispatch("order.placed", event, strategy=strategy)

    assert recorded.assert_stopped("order.placed") is placed
    assert recorded.assert_stopped(OrderPlaced, by=stop) is placed
    stopped = """
            'order.placed' OrderPlaced: stopped by stop
                validate
                stop (priority 1)"""
    seen = cleandoc(f"""
        seen:
            'order.placed' OrderPlaced
                validate
                stop (priority 1): not called, because its where= returned false{stopped * 2}
    """)
    assert message_of(recorded.assert_stopped, "order.paid") == f"expected to be stopped:\n    'order.paid'\n{seen}"
    assert message_of(recorded.assert_stopped, OrderPlaced, by=validate) == (
        f"expected to be stopped by validate:\n    OrderPlaced\n{seen}"
    )


async def test_an_event_can_be_stopped_by_no_listener() -> None:
    class Stopping(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            event.stop_propagation()

    dispatcher = Stopping()
    dispatcher.add_listener("order.placed", validate)
    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")

    recorded.assert_stopped("order.placed")
    assert message_of(recorded.assert_stopped, "order.placed", by=validate).endswith(
        "'order.placed': stopped\n        validate: not called, because the event was stopped"
    )
