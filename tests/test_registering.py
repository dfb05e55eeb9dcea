"""Rules 1 to 4: what is a listener, in which order listeners run, and how they are removed."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, Subscription
from antiphon.testing import settle
from tests.helpers import AnyDispatcher, Listener, make_listener, make_recording_listener
from tests.naming import without_address

PLACED = "order.placed"


async def dispatch(dispatcher: AnyDispatcher, *names: Any) -> None:
    for name in names:
        await dispatcher.adispatch(name, Event())


# Order (tests/properties/test_order_and_stop.py has random priorities)


@pytest.mark.parametrize(
    "priorities",
    [(5, -100, 0, 100, -5), (10**30, -(10**30)), (1, None, -1), (3,) * 20],
    ids=lambda given: str(given[:3]),
)
async def test_listeners_run_by_priority_then_registration(dispatcher: AnyDispatcher, priorities: Any) -> None:
    log: list[Any] = []
    for entry in enumerate(priorities):
        options = {} if entry[1] is None else {"priority": entry[1]}
        dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, entry), **options)

    await dispatch(dispatcher, PLACED)

    assert log == sorted(enumerate(priorities), key=lambda entry: entry[1] or 0)


async def test_a_listener_added_again_runs_last_in_its_priority(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    first, second = (make_recording_listener(dispatcher, log, what) for what in ("first", "second"))
    dispatcher.add_listener(PLACED, first)
    dispatcher.add_listener(PLACED, second)

    dispatcher.remove_listener(PLACED, first)
    dispatcher.add_listener(PLACED, first)
    dispatcher.add_listener(PLACED, second)
    await dispatch(dispatcher, PLACED)

    assert log == ["second", "first", "second"]


def test_the_order_is_counted_for_the_whole_process() -> None:
    first, second = (EventDispatcher().add_listener(PLACED, print) for _ in range(2))

    assert first.order < second.order


# What a listener is


async def charge(event: Event) -> None: ...


def charge_plainly(event: Event) -> None: ...


class Shop:
    async def charge(self, event: Event) -> None: ...

    @staticmethod
    async def charge_statically(event: Event) -> None: ...

    @classmethod
    async def charge_by_class(cls, event: Event) -> None: ...

    def charge_plainly(self, event: Event) -> None: ...


class AsyncCallable:
    async def __call__(self, event: Event) -> None: ...


class InheritedAsyncCallable(AsyncCallable): ...


class PlainCallable:
    def __call__(self, event: Event) -> None: ...


async def charge_with(more: str, event: Event) -> None: ...


async def generator(event: Event) -> Any:
    yield event


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(event: Event) -> Any:
        return function(event)

    return wrapper


ASYNC_LISTENERS: dict[str, Any] = {
    "coroutine function": charge,
    "bound method": Shop().charge,
    "static method": Shop.charge_statically,
    "class method": Shop.charge_by_class,
    "partial": partial(charge_with, "more"),
    "partial of a partial": partial(partial(charge_with, "more")),
    "partial of a bound method": partial(Shop().charge),
    "partial of an async callable": partial(AsyncCallable()),
    "object with async __call__": AsyncCallable(),
    "object with inherited async __call__": InheritedAsyncCallable(),
    "its bound __call__": AsyncCallable().__call__,
    "AsyncMock": AsyncMock(),
    "AsyncMock with a spec": AsyncMock(spec=charge),
    "autospec of a coroutine function": create_autospec(charge),
    "partial of an AsyncMock": partial(AsyncMock()),
}

PLAIN_LISTENERS: dict[str, Any] = {
    "plain function": charge_plainly,
    "plain bound method": Shop().charge_plainly,
    "builtin": print,
    "object with plain __call__": PlainCallable(),
    "MagicMock": MagicMock(),
}

OTHER_CALLABLES: dict[str, Any] = {
    **PLAIN_LISTENERS,
    "lambda": lambda event: None,
    "lambda around a coroutine function": lambda event: charge(event),
    "plain wrapper of a coroutine function": wrapped(charge),
    "partial of a plain function": partial(charge_plainly),
    "class": Shop,
    "class whose instances are async callables": AsyncCallable,
    "Mock": Mock(),
    "async generator function": generator,
}


def kinds(table: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("listener", [pytest.param(value, id=name) for name, value in table.items()])


@kinds(ASYNC_LISTENERS)
async def test_an_async_dispatcher_takes_and_awaits(listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, listener)
    await dispatch(dispatcher, PLACED)

    assert dispatcher.get_listeners(PLACED) == (listener,)
    with pytest.raises(TypeError, match="async"):
        EventDispatcher().add_listener(PLACED, listener)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction came with Python 3.12")
async def test_a_marked_coroutine_function_is_a_listener() -> None:
    log: list[str] = []

    async def validate(event: Event) -> None:
        log.append("validated")

    def marked(event: Event) -> Any:
        return validate(event)

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, getattr(inspect, "markcoroutinefunction")(marked))
    await dispatch(dispatcher, PLACED)

    assert log == ["validated"]
    with pytest.raises(TypeError, match="is async, and would not be awaited"):
        EventDispatcher().add_listener(PLACED, marked)


@kinds(OTHER_CALLABLES)
def test_an_async_dispatcher_refuses(listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match="async callable"):
        dispatcher.add_listener(PLACED, listener)

    assert not dispatcher.has_listeners()


@kinds(PLAIN_LISTENERS)
def test_a_sync_dispatcher_takes(listener: Any) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, listener)

    assert dispatcher.get_listeners(PLACED) == (listener,)


# Removing


async def test_remove_listener_removes_it_under_that_key(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    leaving, staying = (make_recording_listener(dispatcher, log, what) for what in ("leaving", "staying"))
    for priority in (0, 7, 0):
        dispatcher.add_listener(PLACED, leaving, priority=priority)
    dispatcher.add_listener(PLACED, staying)
    dispatcher.add_listener("order.paid", leaving)

    dispatcher.remove_listener(PLACED, leaving)
    await dispatch(dispatcher, PLACED, "order.paid")

    assert log == ["staying", "leaving"]


def test_bound_methods_are_removed_by_equality() -> None:
    shop, dispatcher = Shop(), AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, shop.charge)

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener(PLACED, Shop().charge)
    assert dispatcher.has_listeners(PLACED)
    dispatcher.remove_listener(PLACED, shop.charge)

    assert not dispatcher.has_listeners(PLACED)


@pytest.mark.parametrize("key", [PLACED, "order.paid"], ids=["of a known key", "of an unknown key"])
def test_removing_an_unregistered_listener_is_an_error(dispatcher: AnyDispatcher, key: str) -> None:
    staying, removed = make_listener(dispatcher, print), make_listener(dispatcher, print)
    dispatcher.add_listener(PLACED, staying)
    dispatcher.add_listener(PLACED, removed)
    dispatcher.remove_listener(PLACED, removed)

    with pytest.raises(ValueError, match=f"does not listen to '{key}'"):
        dispatcher.remove_listener(key, removed)

    assert dispatcher.get_listeners(PLACED) == (staying,)


# Handles


def test_a_subscription_has_what_was_registered() -> None:
    subscription = EventDispatcher().add_listener(PLACED, charge_plainly, priority=4)

    assert isinstance(subscription, Subscription)
    assert (subscription.key, subscription.listener, subscription.priority) == (PLACED, charge_plainly, 4)
    assert repr(subscription) == f"<Subscription 'order.placed' -> {charge_plainly!r}, priority 4>"


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_handle_removes_its_own_registration_once(dispatcher: AnyDispatcher, which: int) -> None:
    log: list[str] = []
    same = make_recording_listener(dispatcher, log, "same")
    handles = [dispatcher.add_listener(PLACED, same, priority=priority) for priority in (0, 5, 9)]
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "mark"), priority=5)

    results = [handles[which].unsubscribe(), handles[which].unsubscribe()]
    await dispatch(dispatcher, PLACED)
    dispatcher.add_listener(PLACED, same)

    assert log == [["same", "mark", "same"], ["same", "mark", "same"], ["same", "same", "mark"]][which]
    assert (results, handles[which].unsubscribe(), len(dispatcher.get_listeners(PLACED))) == ([True, False], False, 4)


def test_a_handle_does_nothing_after_remove_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    subscription = dispatcher.add_listener(PLACED, listener)
    dispatcher.remove_listener(PLACED, listener)

    assert subscription.unsubscribe() is False


@pytest.mark.parametrize("ending", ["end", "error", "unsubscribed"])
def test_the_block_of_a_handle_removes_it(dispatcher: AnyDispatcher, ending: str) -> None:
    try:
        with dispatcher.add_listener(PLACED, make_listener(dispatcher, print)) as subscription:
            assert isinstance(subscription, Subscription)
            assert dispatcher.has_listeners(PLACED)
            if ending == "error":
                raise LookupError
            if ending == "unsubscribed":
                subscription.unsubscribe()
    except LookupError:
        assert ending == "error"

    assert not dispatcher.has_listeners(PLACED)


# listen


async def test_listen_registers_a_function_and_returns_it(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    first, second, third = (make_recording_listener(dispatcher, log, what) for what in ("first", "second", "third"))

    assert dispatcher.listen(PLACED)(second) is second
    dispatcher.listen(PLACED, priority=-10)(first)
    dispatcher.listen("order.paid", once=True)(dispatcher.listen(PLACED)(third))
    await dispatch(dispatcher, PLACED, "order.paid", "order.paid")

    assert log == ["first", "second", "third", "third"]


# once


async def test_a_once_listener_runs_once_for_each_registration(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "called")
    dispatcher.add_listener(PLACED, listener, once=True)
    dispatcher.add_listener(PLACED, listener, once=True)
    dispatcher.add_listener("order.paid", listener, once=True)

    await dispatch(dispatcher, PLACED, PLACED)
    assert (log, dispatcher.get_listeners()) == (["called"] * 2, {"order.paid": (listener,)})
    await dispatch(dispatcher, "order.paid", "order.paid")

    assert (len(log), dispatcher.has_listeners()) == (3, False)


async def test_a_failed_once_listener_has_had_its_call(dispatcher: AnyDispatcher) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener(PLACED, make_listener(dispatcher, fail), once=True)
    with pytest.raises(LookupError):
        await dispatch(dispatcher, PLACED)
    await dispatch(dispatcher, PLACED)

    assert not dispatcher.has_listeners()


async def test_a_once_listener_behind_a_stop_keeps_its_call(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    stop = make_listener(dispatcher, Event.stop_propagation)
    dispatcher.add_listener(PLACED, stop, priority=-1)
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "called"), once=True)
    await dispatch(dispatcher, PLACED)
    before = list(log)

    dispatcher.remove_listener(PLACED, stop)
    await dispatch(dispatcher, PLACED)

    assert (before, log) == ([], ["called"])


async def test_a_once_listener_that_dispatches_is_not_called_again(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    def call_again(event: Event) -> None:
        log.append("called")
        assert isinstance(dispatcher, EventDispatcher)
        dispatcher.dispatch(PLACED, Event())

    async def acall_again(event: Event) -> None:
        log.append("called")
        await dispatcher.adispatch(PLACED, Event())

    listener: Listener = call_again if isinstance(dispatcher, EventDispatcher) else acall_again
    dispatcher.add_listener(PLACED, listener, once=True)
    await dispatch(dispatcher, PLACED)

    assert log == ["called"]


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Race()], ids=repr)
async def test_once_holds_over_overlapping_dispatches(strategy: Any) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(strategy=strategy), [], anyio.Event()

    @dispatcher.listen(PLACED, once=True)
    async def validate(event: Event) -> None:
        log.append("called")
        await go_on.wait()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(dispatcher.adispatch, PLACED, Event())
        await settle()
        go_on.set()

    assert log == ["called"]


async def test_once_listeners_that_never_started_keep_their_call() -> None:
    dispatcher, started = AsyncEventDispatcher(), []

    async def wait(event: Event) -> None:
        started.append("one of them")
        await anyio.sleep_forever()

    for _ in range(3):
        dispatcher.add_listener(PLACED, wait, once=True)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(dispatcher.adispatch, PLACED, Event(), strategy=Concurrent(limit=1)))
        await settle()
        group.cancel_scope.cancel()

    assert (len(started), len(dispatcher.get_listeners(PLACED))) == (1, 2)


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_a_dispatch_cancelled_before_its_start_claims_no_once(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener(PLACED, charge, once=True)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatch(dispatcher, PLACED)

    assert dispatcher.has_listeners(PLACED)


# Looking up


def test_lookups_say_what_is_registered(dispatcher: AnyDispatcher) -> None:
    assert (dispatcher.get_listeners(), dispatcher.get_listeners(PLACED), dispatcher.has_listeners()) == ({}, (), False)
    listeners = {priority: make_listener(dispatcher, print) for priority in (3, 1, 2)}
    for priority, listener in listeners.items():
        dispatcher.add_listener(PLACED, listener, priority=priority)
    dispatcher.add_listener("order.paid", listeners[3])
    dispatcher.get_listeners().clear()

    in_order = (listeners[1], listeners[2], listeners[3])
    assert dispatcher.get_listeners(PLACED) == in_order
    assert dispatcher.get_listeners() == {PLACED: in_order, "order.paid": (listeners[3],)}
    found = [dispatcher.has_listeners(name) for name in (PLACED, "other", None)]
    assert found == [True, False, True]


# Keys


class State(Enum):
    PLACED = "placed"


@pytest.mark.parametrize(
    "key", ["", "placed", 7, (1, "two"), frozenset({1}), State.PLACED, object(), 1.5, b"bytes"], ids=without_address
)
async def test_any_hashable_is_a_key_that_matches_exactly(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "called"))

    await dispatch(dispatcher, key, "another")

    assert log == ["called"]


async def test_keys_are_compared_by_equality(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener((1, "two"), make_recording_listener(dispatcher, log, "tuple"))
    dispatcher.add_listener(State.PLACED, make_recording_listener(dispatcher, log, "member"))

    await dispatch(dispatcher, (1.0, "two"), "placed")

    assert log == ["tuple"]
