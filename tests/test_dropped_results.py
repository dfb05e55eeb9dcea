"""Rules 2 and 4: an awaitable that a plain callable returns is awaited or refused, never dropped.

Warnings are errors here, so that a coroutine which nothing closes fails a test.
"""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import anyio
import pytest
from anyio import lowlevel

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Subscription, in_thread, inline, listens_to
from antiphon.instruments import Instrument
from tests.cancellation.listeners import Make, every_strategy


async def ask(event: Any) -> bool:
    """Answer no, after a while."""
    await lowlevel.checkpoint()
    return False


def logged(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def maybe(event: Any) -> Any:
    return ask(event) or None


def maybe_nested(event: Any) -> Any:
    return (event and ask(event)) or (event and 1) or None


def early(event: Any) -> Any:
    if event is None:
        return 1
    return ask(event) or 2


def chosen(event: Any) -> Any:
    return ask(event) if event else None


class Shop:
    def ask(self, event: Any) -> Any:
        return ask(event)

    def __call__(self, event: Any) -> Any:
        return ask(event)


@types.coroutine
def by_generator(event: Any) -> Any:
    yield from lowlevel.checkpoint().__await__()
    event.seen = True


class ByGenerator:
    @types.coroutine
    def __call__(self, event: Any) -> Any:
        yield from lowlevel.checkpoint().__await__()
        event.seen = True

    @types.coroutine
    def method(self, event: Any) -> Any:
        yield from lowlevel.checkpoint().__await__()
        event.seen = True


#: Plain callables, as far as can be known without calling them.
RETURN_AWAITABLE: dict[str, Any] = {
    "wrapper": logged(ask),
    "partial of a wrapper": partial(logged(ask)),
    "lambda": lambda event: ask(event),
    "lambda with or": lambda event: ask(event) or None,
    "lambda with a long or": eval(f"lambda event: ask(event) or {'event and 1 or ' * 100} None"),
    "function with or": maybe,
    "function with nested operators": maybe_nested,
    "function with a return before": early,
    "function with a condition": chosen,
    "method": Shop().ask,
    "object": Shop(),
    "mock": MagicMock(side_effect=ask),
    "wrapper of types.coroutine": lambda event: by_generator(event),
    "static method": staticmethod(logged(ask)),
}
every_callable = pytest.mark.parametrize("function", RETURN_AWAITABLE.values(), ids=RETURN_AWAITABLE.keys())


@pytest.fixture(autouse=True)
def collect_what_was_dropped() -> Any:
    yield
    # The young generations suffice, and a full collection after each test would take a minute.
    gc.collect(1)


# where=


@every_callable
async def test_where_that_returns_an_awaitable_is_an_error(function: Any) -> None:
    dispatcher, ran = AsyncEventDispatcher(), list[Any]()

    async def charge(event: Event) -> None:
        ran.append(event)

    subscription = dispatcher.add_listener("order.placed", charge, where=function, once=True)
    with pytest.raises(TypeError, match=r"where= is a plain function .* returned something to await") as caught:
        await dispatcher.adispatch("order.placed")

    assert ran == []
    assert subscription.is_registered(), "it has used up nothing"
    assert "test_where_that_returns" in caught.value.__notes__[0]


@every_callable
async def test_where_is_checked_everywhere(function: Any) -> None:
    dispatcher, observed, sync, ran = AsyncEventDispatcher(), AsyncEventDispatcher(), EventDispatcher(), list[Any]()
    observed.add_instrument(Instrument())
    observed.add_listener("order.placed", ask, where=function)
    sync.add_listener("order.placed", ran.append, where=function)

    with pytest.raises(TypeError, match="returned something to await"):
        await observed.adispatch("order.placed")
    with pytest.raises(TypeError, match="returned something to await"):
        sync.dispatch("order.placed")
    with pytest.raises(TypeError, match="returned something to await"):
        async with dispatcher.expect("order.placed", where=function):
            await dispatcher.adispatch("order.placed")

    assert ran == []


def generator(event: Any) -> Any:
    yield event


async def async_generator(event: Any) -> Any:
    yield event


class WithGenerator:
    def __call__(self, event: Any) -> Any:
        yield event

    def method(self, event: Any) -> Any:
        yield event


class WithAsyncGenerator:
    async def __call__(self, event: Any) -> Any:
        yield event


GENERATORS: dict[str, Any] = {
    "function": generator,
    "async function": async_generator,
    "object": WithGenerator(),
    "async object": WithAsyncGenerator(),
    "method": WithGenerator().method,
    "partial": partial(generator),
    "partial of an object": partial(WithGenerator()),
    "static method": staticmethod(generator),
}
every_generator = pytest.mark.parametrize("function", GENERATORS.values(), ids=GENERATORS.keys())


@every_generator
def test_where_that_is_a_generator_function_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"where= is a plain function .* generator function"):
        EventDispatcher().add_listener("order.placed", print, where=function)


def test_where_that_returns_a_generator_is_an_error() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", print, where=lambda event: generator(event))

    with pytest.raises(TypeError, match="returned a generator"):
        dispatcher.dispatch("order.placed")


# Plain functions as listeners


@every_callable
def test_a_sync_dispatch_refuses_an_awaitable(function: Any) -> None:
    class Overriding(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            super().do_dispatch(listeners, event)

    observed, seen = EventDispatcher(), list[Any]()
    observed.add_instrument(Instrument())
    for dispatcher in (EventDispatcher(), observed, Overriding()):
        for options in ({}, {"once": True}):
            handle = dispatcher.add_listener("order.placed", function, **options)  # type: ignore[arg-type]  # a table
            with pytest.raises(
                TypeError, match=r"returned something to await, which an EventDispatcher cannot do: reg"
            ):
                dispatcher.dispatch("order.placed")
            handle.unsubscribe()

    handling = EventDispatcher(errors=lambda exc, event, listener: seen.append((type(exc), listener)))
    handling.add_listener("order.placed", function)
    handling.add_listener("order.placed", lambda event: seen.append("next"))
    handling.dispatch("order.placed")

    assert seen == [(TypeError, function), "next"]


def test_a_subscriber_is_checked() -> None:
    class Subscriber:
        @listens_to("order.placed")
        def charge(self, event: Event) -> Any:
            return ask(event)

    dispatcher = EventDispatcher()
    dispatcher.add_subscriber(Subscriber())

    with pytest.raises(TypeError, match="returned something to await"):
        dispatcher.dispatch("order.placed")


def returns_nothing(event: Any) -> None: ...


def returns_none_early(event: Any) -> None:
    if event is None:
        return
    event.stop_propagation()


def returns_a_constant(event: Any) -> int:
    return 7


def takes_a_default(event: Any, more: Any = None) -> None: ...


def returns_one_of_two(event: Any) -> Any:
    if event or event is not None:
        return "paid"
    return -1


def returns_from_a_loop(event: Any) -> bool | None:
    for item in event.items:
        if item and item is not event:
            return True
    return None


@pytest.mark.parametrize(
    "listener",
    [
        returns_nothing,
        returns_none_early,
        returns_a_constant,
        takes_a_default,
        returns_one_of_two,
        returns_from_a_loop,
    ],
    ids=lambda f: f.__name__,
)
def test_a_function_that_returns_constants_is_called_as_it_is(listener: Any) -> None:
    subscription: Subscription = EventDispatcher().add_listener("order.placed", listener)

    assert subscription.call is listener


@pytest.mark.parametrize(
    "result", [1, "text", [ask], Event(), MagicMock(), range(3)], ids=lambda result: type(result).__name__
)
def test_any_other_result_of_a_listener_is_dropped(result: Any) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", lambda event: result)

    dispatcher.dispatch("order.placed")


@every_callable
@pytest.mark.parametrize("adapts", [False, True], ids=["inline", "sync_listeners"])
async def test_inline_awaits_an_awaitable(function: Any, adapts: bool) -> None:
    dispatcher = AsyncEventDispatcher(sync_listeners="inline")
    dispatcher.add_listener("order.placed", function if adapts else inline(function))
    await dispatcher.adispatch("order.placed")


@every_callable
async def test_in_thread_refuses_an_awaitable(function: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", in_thread(function))

    with pytest.raises(
        TypeError, match=r"returned something to await, which a worker thread cannot do: register inline"
    ):
        await dispatcher.adispatch("order.placed")


@pytest.mark.parametrize("make", [generator, async_generator], ids=["generator", "async generator"])
async def test_a_returned_generator_is_refused(make: Any) -> None:
    adapting, sync = AsyncEventDispatcher(), EventDispatcher()
    sync.add_listener("order.placed", logged(make))
    for adapt in (inline, in_thread):
        with adapting.add_listener("order.placed", adapt(logged(make))):
            with pytest.raises(TypeError, match="returned a generator, so nothing of it runs"):
                await adapting.adispatch("order.placed")
    with pytest.raises(TypeError, match="returned a generator, so nothing of it runs"):
        sync.dispatch("order.placed")


# What is not a listener

REGISTRATION_METHODS: dict[str, Callable[[Any], object]] = {
    "async": lambda function: AsyncEventDispatcher().add_listener("order.placed", function),
    "sync_listeners": lambda function: AsyncEventDispatcher(sync_listeners="inline").add_listener("a", function),
    "sync_listeners in a thread": lambda function: AsyncEventDispatcher(sync_listeners="thread").listen("a")(function),
    "inline": inline,
    "in_thread": in_thread,
    "plain": lambda function: EventDispatcher().add_listener("order.placed", function),
    "plain, decorated": lambda function: EventDispatcher().listen("order.placed")(function),
    "temporarily": lambda function: EventDispatcher().temporarily().__enter__().add_listener("order.placed", function),
}
every_method = pytest.mark.parametrize("register", REGISTRATION_METHODS.values(), ids=REGISTRATION_METHODS.keys())


@every_method
@every_generator
def test_a_generator_function_is_refused(register: Any, function: Any) -> None:
    with pytest.raises(TypeError, match="is a generator function, or has one as its `__call__`"):
        register(function)


class Charge:
    def __init__(self, event: Any) -> None: ...

    async def __call__(self, event: Any) -> None: ...


@every_method
@pytest.mark.parametrize("cls", [Charge, partial(Charge)], ids=["class", "partial"])
def test_a_class_is_refused_with_the_fix(register: Any, cls: Any) -> None:
    with pytest.raises(
        TypeError, match=r"got the class Charge, .* make an instance that can be called, Charge\(\.\.\.\)"
    ):
        register(cls)


class Charging:
    """A class whose instances can be awaited."""

    def __init__(self, event: Any) -> None:
        self.event = event

    def __await__(self) -> Any:
        yield from lowlevel.checkpoint().__await__()
        self.event.seen = True


async def test_a_class_of_awaitables_is_awaited_by_inline_alone() -> None:
    dispatcher, sync = AsyncEventDispatcher(), EventDispatcher()
    dispatcher.add_listener("order.placed", inline(Charging))
    sync.add_listener("order.placed", Charging)

    event = await dispatcher.adispatch("order.placed")
    with pytest.raises(TypeError, match="returned something to await"):
        sync.dispatch("order.placed")

    assert vars(event)["seen"]


# types.coroutine

BY_GENERATOR: dict[str, Any] = {
    "function": by_generator,
    "method": ByGenerator().method,
    "object": ByGenerator(),
    "partial": partial(by_generator),
    "inline": inline(by_generator),
    "static method": staticmethod(by_generator),
}


@every_strategy
@pytest.mark.parametrize("listener", BY_GENERATOR.values(), ids=BY_GENERATOR.keys())
async def test_a_types_coroutine_is_a_listener(make: Make, listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.placed", ask)

    event = await dispatcher.adispatch("order.placed", strategy=make())

    assert vars(event)["seen"]


@pytest.mark.parametrize("options", [{"timeout": 1}, {"limit": 1}, {"once": True}, {"where": bool}], ids=str)
async def test_a_types_coroutine_takes_options(options: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(Instrument())
    dispatcher.add_listener("order.placed", by_generator, **options)

    event = await dispatcher.adispatch("order.placed")

    assert vars(event)["seen"]


@pytest.mark.parametrize("listener", [by_generator, ByGenerator(), AsyncMock()], ids=["function", "object", "mock"])
def test_an_async_function_is_refused_where_none_awaits_it(listener: Any) -> None:
    with pytest.raises(TypeError, match="is async, and would not be awaited"):
        EventDispatcher().add_listener("order.placed", listener)
    with pytest.raises(TypeError, match=r"is async: register it without in_thread\(\)"):
        in_thread(listener)
    with pytest.raises(TypeError, match="is async"):
        EventDispatcher().add_listener("order.placed", print, where=listener)


# Other plain functions


@every_generator
def test_a_generator_function_as_error_policy_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="is a generator function"):
        EventDispatcher(errors=function)


async def test_an_instrument_that_returns_an_awaitable_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    class Watching:
        def dispatch_started(self, record: Any) -> Any:
            return anyio.sleep(0)

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(Watching())
    await dispatcher.adispatch("order.placed")

    assert "is removed" in caplog.text
    assert "returned something to await" in caplog.text
