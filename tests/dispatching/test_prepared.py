"""``prepare(name)``: a dispatch under one name that keeps every rule of a dispatch by name."""

from __future__ import annotations

import enum
import gc
import inspect
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher
from antiphon._registry.caches import MAX_CACHED_NAMES_WITHOUT_LISTENERS
from antiphon._registry.registry import Registry
from antiphon.instruments import Instrument
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener

Prepared = Callable[[Any], Awaitable[Any]]


class OrderPlaced(Event):
    pass


class Bare:
    __slots__ = ()


class State(enum.StrEnum):
    PLACED = "order.placed"


def prepare(dispatcher: AnyDispatcher, name: Any = "order.placed") -> Prepared:
    """Prepare a name on either dispatcher, as an async function."""
    prepared: Any = dispatcher.prepare(name)
    if isinstance(dispatcher, AsyncEventDispatcher):
        return prepared  # type: ignore[no-any-return]

    async def call(event: Any) -> Any:
        return prepared(event)

    return call


async def test_it_returns_the_event_with_its_attributes_set(dispatcher: AnyDispatcher) -> None:
    event = OrderPlaced()

    assert await prepare(dispatcher)(event) is event
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, False)


@pytest.mark.parametrize("event", [Event(), OrderPlaced(), Bare(), 7], ids=lambda event: type(event).__name__)
async def test_it_runs_what_a_dispatch_by_name_runs(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    for key in ("order.placed", "order.*", OrderPlaced, int, "order.paid"):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))

    await prepare(dispatcher)(event)
    prepared, log[:] = list(log), []
    await dispatcher.adispatch("order.placed", event)

    assert prepared == log != []


async def test_it_sees_changes_of_the_registrations(dispatcher: AnyDispatcher) -> None:
    prepared, log = prepare(dispatcher), list[str]()

    async def ran() -> list[str]:
        log.clear()
        await prepared(OrderPlaced())
        return list(log)

    assert await ran() == []
    first = dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "first"))
    assert await ran() == ["first"]
    with dispatcher.add_listener(OrderPlaced, make_recording_listener(dispatcher, log, "class"), priority=-1):
        assert await ran() == ["class", "first"]
    assert await ran() == ["first"]
    first.unsubscribe()
    assert await ran() == []
    with dispatcher.add_listener("**.placed", make_recording_listener(dispatcher, log, "pattern"), once=True):
        assert (await ran(), await ran()) == (["pattern"], [])


async def test_it_sees_changes_after_the_cache_was_full(dispatcher: AnyDispatcher) -> None:
    prepared, log = prepare(dispatcher), list[str]()
    await prepared(OrderPlaced())
    for number in range(2_000):
        await dispatcher.adispatch(f"order.{number}", OrderPlaced())

    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "ran"))
    await prepared(OrderPlaced())

    assert log == ["ran"]


@pytest.mark.parametrize("key", [OrderPlaced, "order.*", "order.placed"], ids=str)
async def test_it_looks_up_its_plan_once_after_each_change(
    dispatcher: AnyDispatcher, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, names = prepare(dispatcher), list[Any]()
    await prepared(OrderPlaced())
    dispatcher.add_listener(key, make_listener(dispatcher, lambda event: None))
    get_cached_plan = Registry.get_cached_plan

    def record(self: Registry, name: Any, cls: type) -> Any:
        names.append(name)
        return get_cached_plan(self, name, cls)

    monkeypatch.setattr(Registry, "get_cached_plan", record)
    for _ in range(3):
        await prepared(OrderPlaced())

    assert names == ["order.placed"]


async def test_a_matcher_that_registers_does_not_leave_an_outdated_plan(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    class Registering(type):
        def __subclasscheck__(cls, other: type) -> bool:
            if other is OrderPlaced and not dispatcher.has_listeners("order.placed", Event):
                dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "registered"))
            return False

    class Never(metaclass=Registering): ...

    prepared = prepare(dispatcher)
    dispatcher.add_listener(Never, make_recording_listener(dispatcher, log, "never"))
    await prepared(OrderPlaced())
    log.clear()
    await prepared(OrderPlaced())

    assert log == ["registered"]


async def test_the_event_gets_the_prepared_name_and_not_an_equal_one(dispatcher: AnyDispatcher) -> None:
    plain, member = prepare(dispatcher, "order.placed"), prepare(dispatcher, State.PLACED)

    names = [(await prepared(OrderPlaced())).name for prepared in (plain, member, plain)]

    assert [type(name) for name in names] == [str, State, str]


async def test_the_first_name_does_not_replace_an_equal_one(dispatcher: AnyDispatcher) -> None:
    plain, member = prepare(dispatcher, "order.placed"), prepare(dispatcher, State.PLACED)

    names = [(await prepared(OrderPlaced())).name for prepared in (member, plain, member)]

    assert [type(name) for name in names] == [State, str, State]


async def test_nothing_refers_to_an_event_after_its_dispatch(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: None))
    dispatches: list[Prepared] = [prepare(dispatcher), partial(dispatcher.adispatch, "order.placed")]
    gc.disable()
    try:
        for dispatch in dispatches:
            event = OrderPlaced()
            reference = weakref.ref(event)
            await dispatch(event)
            del event
            assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_it_returns_an_event_of_any_class(kind: type[AnyDispatcher]) -> None:
    dispatcher = kind()
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: None))
    prepared = prepare(dispatcher)

    for event in (OrderPlaced(), Bare(), 7):
        assert await prepared(event) is event


@pytest.mark.parametrize("dispatched", ["before", "after"])
async def test_it_follows_changes_also_after_the_cache_was_full(dispatcher: AnyDispatcher, dispatched: str) -> None:
    log: list[str] = []
    if dispatched == "before":
        await dispatcher.adispatch("order.placed", OrderPlaced())
    prepared = prepare(dispatcher)
    await prepared(OrderPlaced())
    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 1):
        await dispatcher.adispatch(number, OrderPlaced())
    assert len(dispatcher._cached_plans) < MAX_CACHED_NAMES_WITHOUT_LISTENERS

    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "called"))
    await prepared(OrderPlaced())

    assert log == ["called"]


async def test_a_listener_may_dispatch_its_event_again(dispatcher: AnyDispatcher) -> None:
    seen: list[Any] = []
    placed, paid = dispatcher.prepare("order.placed"), dispatcher.prepare("order.paid")
    if isinstance(dispatcher, EventDispatcher):

        def pay(event: Any) -> None:
            paid(event)
            seen.append((event.name, event.propagation_stopped))

        dispatcher.add_listener("order.placed", pay)
    else:

        async def pay_async(event: Any) -> None:
            await paid(event)  # type: ignore[misc]
            seen.append((event.name, event.propagation_stopped))

        dispatcher.add_listener("order.placed", pay_async)
    dispatcher.add_listener("order.placed", make_listener(dispatcher, lambda event: seen.append(event.name)))
    dispatcher.add_listener("order.paid", make_listener(dispatcher, Event.stop_propagation))

    result: Any = placed(OrderPlaced())
    if inspect.isawaitable(result):
        await result

    assert seen == [("order.placed", False), "order.placed"]


@pytest.mark.parametrize("kind", BOTH)
async def test_an_error_leaves_with_a_note_and_a_stop_ends_the_dispatch(kind: type[AnyDispatcher]) -> None:
    dispatcher = kind()

    def fail(event: Any) -> None:
        raise LookupError

    log: list[str] = []
    dispatcher.add_listener("order.placed", make_listener(dispatcher, Event.stop_propagation))
    later = dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "later"))
    prepared = prepare(dispatcher)
    await prepared(OrderPlaced())
    assert log == []

    later.unsubscribe()
    dispatcher.add_listener("order.placed", make_listener(dispatcher, fail), priority=-1)
    with pytest.raises(LookupError) as caught:
        await prepared(OrderPlaced())
    assert len(caught.value.__notes__) == 1


async def test_it_follows_the_strategy_and_the_instruments_of_the_dispatcher() -> None:
    class Counting(Instrument):
        dispatches = 0

        def dispatch_started(self, record: Any, /) -> None:
            self.dispatches += 1

    dispatcher, instrument, together = AsyncEventDispatcher(strategy=Concurrent()), Counting(), [0, 0]
    prepared = dispatcher.prepare("order.placed")

    async def wait(event: Any) -> None:
        together[0] += 1
        await anyio.wait_all_tasks_blocked()
        together[1] = max(together)

    for _ in range(3):
        dispatcher.add_listener("order.placed", wait)
    await prepared(OrderPlaced())
    dispatcher.add_instrument(instrument)
    await prepared(OrderPlaced())
    dispatcher.remove_instrument(instrument)
    await prepared(OrderPlaced())

    assert together == [9, 9]
    assert instrument.dispatches == 1


async def test_a_scope_prepares_its_own_listeners_and_those_of_its_parent(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    outer = prepare(dispatcher)
    with dispatcher.scope() as scope:
        prepared = prepare(scope)
        await prepared(OrderPlaced())
        scope.add_listener("order.placed", make_recording_listener(dispatcher, log, "scope"))
        dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "parent"))
        event = await prepared(OrderPlaced())
        await outer(OrderPlaced())

    assert log == ["scope", "parent", "parent"]
    assert event.dispatcher is scope


async def test_it_goes_through_overrides() -> None:
    lines: list[Any] = []

    class Logging(AsyncEventDispatcher):
        async def adispatch(self, name: Any, event: Any = None, /) -> Any:  # type: ignore[override]
            lines.append(name)
            return await super().adispatch(name, event)

        async def _adispatch(self, listeners: Any, event: Any) -> None:
            lines.append(list(listeners))
            await super()._adispatch(listeners, event)

    class LoggingPlainly(EventDispatcher):
        def dispatch(self, name: Any, event: Any = None, /) -> Any:
            lines.append(name)
            return super().dispatch(name, event)

    dispatcher, plainly = Logging(), LoggingPlainly()
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener("order.placed", listener)
    event = OrderPlaced()

    assert await dispatcher.prepare("order.placed")(event) is event
    assert plainly.prepare("order.paid")(event) is event
    assert lines == ["order.placed", [listener], "order.paid"]


class Overriding(AsyncEventDispatcher):
    async def adispatch(self, *arguments: Any) -> Any:  # type: ignore[override]
        return await super().adispatch(*arguments)


@pytest.mark.parametrize("kind", [AsyncEventDispatcher, Overriding, EventDispatcher])
async def test_it_refuses_what_is_not_an_event(kind: type[AnyDispatcher]) -> None:
    prepared = prepare(kind())
    for refused, expected in ((None, "takes an event; got None"), (OrderPlaced, "create an event with OrderPlaced")):
        with pytest.raises(TypeError, match=expected):
            await prepared(refused)
    for name in (None, []):
        with pytest.raises(TypeError, match="must be"):
            kind().prepare(name)  # type: ignore[arg-type]


def test_each_prepared_function_has_its_own_code(dispatcher: AnyDispatcher) -> None:
    first, second = dispatcher.prepare("order.placed"), dispatcher.prepare("order.paid")

    assert first.__code__ is not second.__code__  # type: ignore[attr-defined]
    assert inspect.iscoroutinefunction(first) == isinstance(dispatcher, AsyncEventDispatcher)
