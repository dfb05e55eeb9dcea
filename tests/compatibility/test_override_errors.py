"""Errors of listeners that an overridden ``_adispatch`` or ``do_dispatch`` calls: their notes and their tracebacks."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, listener_name
from tests.helpers import BOTH


def make_overriding(kind: Any, run: Callable[[Any, Any], Any] | None = None) -> Any:
    """Make a dispatcher whose override calls the listeners in turn, or another function."""
    if kind is AsyncEventDispatcher:

        class Overriding(AsyncEventDispatcher):
            async def _adispatch(self, listeners: Any, event: Any) -> None:
                if run is not None:
                    run(listeners, event)
                for listener in listeners:
                    await listener(event)

        return Overriding()

    class OverridingPlainly(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            if run is not None:
                run(listeners, event)
            for listener in listeners:
                listener(event)

    return OverridingPlainly()


async def dispatch_failing(dispatcher: Any, event: Any = None) -> Exception:
    with pytest.raises(Exception) as caught:
        await dispatcher.adispatch("order.placed", event or Event())
    return caught.value


def get_notes(error: BaseException) -> list[str]:
    """Return the listener of each note."""
    return [note.partition("listener ")[2].partition(", while")[0] for note in getattr(error, "__notes__", [])]


# Listeners whose code runs first when they are called


class Shop:
    async def charge(self, event: Event) -> None:
        raise LookupError

    async def charge_all(self, *events: Event) -> None:
        raise LookupError

    def charge_plainly(self, event: Event) -> None:
        raise LookupError


async def charge(event: Event) -> None:
    raise LookupError


async def charge_again(event: Event, retries: int = 3, *, customer: str = "Ada") -> None:
    raise LookupError


async def charge_all(*events: Event) -> None:
    raise LookupError


def charge_plainly(event: Event) -> None:
    raise LookupError


def charge_all_plainly(*events: Event) -> None:
    raise LookupError


@pytest.mark.parametrize(
    "listener",
    [
        charge,
        charge_again,
        charge_all,
        Shop().charge,
        Shop().charge_all,
        charge_plainly,
        charge_all_plainly,
        Shop().charge_plainly,
    ],
    ids=listener_name,
)
async def test_the_traceback_shows_the_listener_after_the_override(listener: Any) -> None:
    kind = EventDispatcher if "plainly" in listener.__name__ else AsyncEventDispatcher
    dispatcher = make_overriding(kind)
    dispatcher.add_listener("order.placed", listener)

    error = await dispatch_failing(dispatcher)

    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-2:] == ["do_dispatch" if kind is EventDispatcher else "_adispatch", listener.__name__]
    assert get_notes(error) == [listener_name(listener)]


# Listeners that fail before their code runs, or after it


async def test_a_plain_listener_that_returns_a_coroutine_is_named() -> None:
    def forget_to_await(event: Event) -> Any:
        return charge(event)

    dispatcher = make_overriding(EventDispatcher)
    dispatcher.add_listener("order.placed", forget_to_await)

    error = await dispatch_failing(dispatcher)

    assert type(error) is TypeError
    assert get_notes(error) == [listener_name(forget_to_await)]


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="new in Python 3.12")
async def test_a_marked_function_that_returns_a_coroutine_is_named() -> None:
    def charge_when_awaited(event: Event) -> Any:
        return charge(event)

    inspect.markcoroutinefunction(charge_when_awaited)  # type: ignore[attr-defined, unused-ignore]  # new in Python 3.12
    dispatcher = make_overriding(AsyncEventDispatcher)
    dispatcher.add_listener("order.placed", charge_when_awaited)

    assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(charge_when_awaited)]


@pytest.mark.parametrize("event", [Event(), object()], ids=["Event", "bare"])
@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_functions_and_other_listeners_are_named(kind: Any, event: Any) -> None:
    function: Any = charge if kind is AsyncEventDispatcher else charge_plainly
    for listener in (function, functools.partial(function)):
        dispatcher = make_overriding(kind)
        dispatcher.add_listener("order.placed", listener)

        assert get_notes(await dispatch_failing(dispatcher, event)) == [listener_name(listener)]


# Several listeners


async def test_the_outer_one_of_two_listeners_is_named() -> None:
    async def charge_later(event: Event) -> None:
        await charge(event)

    dispatcher = make_overriding(AsyncEventDispatcher)
    dispatcher.add_listener("order.placed", charge_later)
    dispatcher.add_listener("order.placed", charge, priority=1)

    assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(charge_later)]


async def test_a_partial_that_calls_another_listener_is_named_alone() -> None:
    async def charge_later(event: Event, retries: int) -> None:
        await charge(event)

    dispatcher, partial = make_overriding(AsyncEventDispatcher), functools.partial(charge_later, retries=3)
    dispatcher.add_listener("order.placed", partial)
    dispatcher.add_listener("order.placed", charge, priority=1)

    assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(partial)]


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    async def call(event: Event) -> None:
        await function(event)

    return call


async def ship(event: Event) -> None: ...


async def test_each_of_two_functions_of_a_decorator_is_named() -> None:
    dispatcher = make_overriding(AsyncEventDispatcher)
    dispatcher.add_listener("order.placed", decorated(ship))
    failing = decorated(charge)
    dispatcher.add_listener("order.placed", failing)

    assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(failing)]


def counted(function: Any) -> Any:
    attempts: int  # it has no value before the first call

    @functools.wraps(function)
    async def call(event: Event) -> None:
        nonlocal attempts
        attempts = 1
        await function(event)

    return call


@pytest.mark.parametrize("decorator", [decorated, counted])
async def test_a_decorator_of_a_listener_may_also_decorate_the_override(decorator: Any) -> None:
    class Traced(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            @decorator
            async def run(event: Event) -> None:
                for listener in listeners:
                    await listener(event)

            await run(event)

    dispatcher = Traced()
    dispatcher.add_listener("order.placed", decorator(ship), priority=1)
    dispatcher.add_listener("order.placed", charge)

    assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(charge)]


async def test_only_the_object_that_listens_is_named() -> None:
    shop, other_shop = Shop(), Shop()

    class Charging(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            await other_shop.charge(event)

    dispatcher = Charging()
    dispatcher.add_listener("order.placed", shop.charge)

    assert get_notes(await dispatch_failing(dispatcher)) == []


async def test_a_listener_whose_variables_have_changed_is_named() -> None:
    class Careless:
        async def delete(self, event: Event) -> None:
            del self
            raise LookupError

        async def replace(self, event: Event) -> None:
            self = Careless()
            raise LookupError(self)

        async def replace_both(self, event: Event) -> None:
            self, event = Careless(), Event()
            raise LookupError(self, event)

    def make(price: int) -> Any:
        async def charge_price(event: Event) -> None:
            nonlocal price
            del price
            raise LookupError

        return charge_price

    for listener in (Careless().delete, Careless().replace, Careless().replace_both, make(3)):
        dispatcher = make_overriding(AsyncEventDispatcher)
        dispatcher.add_listener("order.placed", listener)

        assert get_notes(await dispatch_failing(dispatcher)) == [listener_name(listener)]


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_each_error_of_a_group_has_its_note(kind: Any) -> None:
    def lose(event: Event) -> None:
        raise KeyError

    def refuse(event: Event) -> None:
        raise ValueError

    def collect(listeners: Any, event: Any) -> None:
        errors = []
        for listener in listeners:
            try:
                called = listener(event)
                if called is not None:
                    called.send(None)
            except Exception as exc:
                errors += [exc, exc]
        raise ExceptionGroup("the order failed", errors)

    async def lose_later(event: Event) -> None:
        lose(event)

    async def refuse_later(event: Event) -> None:
        refuse(event)

    listeners = [lose, refuse] if kind is EventDispatcher else [lose_later, refuse_later]
    dispatcher = make_overriding(kind, collect)
    for listener in listeners:
        dispatcher.add_listener("order.placed", listener)

    group: Any = await dispatch_failing(dispatcher)

    first, _, second, _ = group.exceptions
    assert [get_notes(first), get_notes(second)] == [[listener_name(listener)] for listener in listeners]


async def test_errors_that_cause_each_other_leave_the_dispatch() -> None:
    def replace(listeners: Any, event: Any) -> None:
        outer, inner = ValueError(), LookupError()
        outer.__cause__, inner.__cause__ = inner, outer
        raise outer

    dispatcher = make_overriding(AsyncEventDispatcher, replace)
    dispatcher.add_listener("order.placed", ship)

    assert type(await dispatch_failing(dispatcher)) is ValueError
