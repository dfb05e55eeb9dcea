"""Rule 5: a listener with several keys, and unions of classes: one registration for each key, and one handle."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Annotated, Any, Union

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, listens_to, named
from antiphon._listeners.subscription import when_removed
from antiphon._registry.registry import Registry
from antiphon.testing import record
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

PLACED, PAID = "order.placed", "order.paid"


class OrderPlaced(Event): ...


class OrderPaid(Event): ...


class Shipped(OrderPlaced, OrderPaid): ...


UNION = OrderPlaced | OrderPaid
UNIONS: list[Any] = [UNION, OrderPaid | OrderPlaced, Union[OrderPlaced, OrderPaid]]  # noqa: UP007  the old form is the subject
KEYS: list[tuple[Any, ...]] = [(PLACED, PAID), ("order.*", PAID), (OrderPlaced, PAID), (UNION,), (OrderPlaced, UNION)]

every_union = pytest.mark.parametrize("union", UNIONS, ids=["A | B", "B | A", "Union"])


def dispatched(dispatcher: AnyDispatcher, log: list[Any]) -> Any:
    return make_listener(dispatcher, lambda event: log.append(type(event)))


@every_union
async def test_a_union_matches_the_events_of_each_class(dispatcher: AnyDispatcher, union: Any) -> None:
    log: list[Any] = []
    dispatcher.add_listener(union, dispatched(dispatcher, log))

    for event in (OrderPlaced(), Event(), OrderPaid(), Shipped()):
        await dispatcher.adispatch(event)

    assert log == [OrderPlaced, OrderPaid, Shipped]


@pytest.mark.parametrize("keys", KEYS, ids=str)
@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_an_event_that_matches_several_keys_calls_the_listener_once(strategy: Any, keys: tuple[Any, ...]) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[Any]()
    listener = dispatcher.listen(*keys)(dispatched(dispatcher, log))
    before, after = list[Any](), list[Any]()
    dispatcher.add_listener("*", make_recording_listener(dispatcher, before, "before"), priority=-1)
    dispatcher.add_listener("*", make_recording_listener(dispatcher, after, "after"))

    with dispatcher.scope() as scope:
        for where in (dispatcher, scope):
            await where.adispatch(PAID, Shipped())
            assert where.get_listeners(PAID, Shipped).count(listener) == 1

    assert log == [Shipped, Shipped]
    assert before == ["before"] * 2 and after == ["after"] * 2


async def test_the_same_listener_added_twice_still_runs_twice(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = dispatched(dispatcher, log)
    dispatcher.listen(PLACED, "*")(listener)
    dispatcher.listen(PLACED, "*")(listener)

    await dispatcher.adispatch(PLACED)

    assert log == [Event, Event]


async def test_several_keys_are_in_one_order_with_others(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, 1))
    dispatcher.listen(PAID, PLACED, "*")(make_recording_listener(dispatcher, log, 2))
    dispatcher.add_listener("*", make_recording_listener(dispatcher, log, 3))

    await dispatcher.adispatch(PLACED)
    await dispatcher.adispatch(PAID)

    assert log == [1, 2, 3, 2, 3]


def test_each_key_has_its_registration(dispatcher: AnyDispatcher) -> None:
    listener = dispatcher.listen(PLACED, UNION, 404)(make_listener(dispatcher, print))

    assert dispatcher.get_listeners() == dict.fromkeys([PLACED, OrderPlaced, OrderPaid, 404], (listener,))
    assert dispatcher.get_listeners(UNION) == (listener,)
    assert dispatcher.has_listeners(OrderPaid | Shipped) and not dispatcher.has_listeners(int | str)


@pytest.mark.parametrize(("number", "option"), [(10, "priority"), (True, "once"), (1.5, "timeout")])
def test_a_number_after_a_key_is_an_option_by_position(dispatcher: AnyDispatcher, number: Any, option: str) -> None:
    for method in (dispatcher.listen, listens_to):
        with pytest.raises(TypeError, match="takes options by keyword") as caught:
            method(PLACED, number)
        assert f'{method.__name__}("order.placed", {option}={number})' in str(caught.value)

        method(number, PLACED)
        method(number)


def test_a_listener_after_the_keys_of_listen_is_refused_with_both_fixes(dispatcher: AnyDispatcher) -> None:
    def charge(event: Event) -> None: ...

    with pytest.raises(TypeError) as caught:
        dispatcher.listen(PLACED, PAID, charge)

    assert 'write add_listener("order.placed", charge), or listen("order.placed", "order.paid") above' in str(
        caught.value
    )


def test_a_listener_with_several_keys_has_a_description_with_a_hash(dispatcher: AnyDispatcher) -> None:
    for _ in range(2):
        dispatcher.listen(PLACED, PAID)(make_listener(dispatcher, print))

    described = [*dispatcher.describe().listeners, *dispatcher.describe().listeners]

    assert len(set(described)) == 2


@pytest.mark.parametrize("number", [10, True])
def test_a_number_after_a_class_is_an_option_by_position(dispatcher: AnyDispatcher, number: Any) -> None:
    with pytest.raises(TypeError, match="takes options by keyword"):
        dispatcher.listen(OrderPlaced, number)


@pytest.mark.parametrize("number", [10, 0.5, True])
async def test_a_number_after_a_key_is_refused_by_what_waits(number: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match=rf'write stream\("order.placed", max_buffer_size={number}\)'):
        dispatcher.stream(PLACED, number)
    with pytest.raises(TypeError, match=rf"`with anyio.fail_after\({number}\):`"):
        dispatcher.expect(PLACED, number)
    with pytest.raises(TypeError, match=rf"`with anyio.fail_after\({number}\):`"):
        await dispatcher.wait_for(PLACED, number)

    dispatcher.stream(number, PLACED)


async def test_scopes_made_before_call_a_listener_with_several_keys_once(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    with dispatcher.scope() as scope, scope.scope() as nested:
        dispatcher.listen(PLACED, "*")(dispatched(dispatcher, log))
        for where in (dispatcher, scope, nested):
            await where.adispatch(PLACED)

    assert log == [Event] * 3


async def test_a_dispatch_during_the_registration_leaves_no_outdated_plan(
    dispatcher: AnyDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may dispatch between the registrations of the keys and their joining."""
    log: list[Any] = []
    link = Registry.link

    def dispatch_and_link(registry: Registry, subscriptions: Any) -> None:
        dispatcher._get_cached_plan(PLACED, Event())
        link(registry, subscriptions)

    monkeypatch.setattr(Registry, "link", dispatch_and_link)
    dispatcher.listen(PLACED, "*")(dispatched(dispatcher, log))
    await dispatcher.adispatch(PLACED)

    assert log == [Event]


# Removal


@pytest.mark.parametrize("key", UNION.__args__, ids=lambda cls: cls.__name__)
def test_a_union_with_a_key_without_the_listener_removes_nothing(dispatcher: AnyDispatcher, key: Any) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(key, listener)

    with pytest.raises(ValueError, match="does not listen to"):
        dispatcher.remove_listener(UNION, listener)

    assert dispatcher.get_listeners() == {key: (listener,)}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a union of an unhashable part needs Python 3.13")
def test_a_union_with_an_invalid_key_removes_nothing(dispatcher: AnyDispatcher) -> None:
    listener, invalid = make_listener(dispatcher, print), Annotated[OrderPaid, []]
    dispatcher.add_listener(OrderPlaced, listener)

    with pytest.raises(TypeError, match="must be hashable"):
        dispatcher.remove_listener(OrderPlaced | invalid, listener)

    assert dispatcher.get_listeners() == {OrderPlaced: (listener,)}


@every_union
def test_a_union_is_removed_as_it_was_added(dispatcher: AnyDispatcher, union: Any) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(UNION, listener)

    dispatcher.remove_listener(union, listener)

    assert not dispatcher.has_listeners()


async def test_removing_one_key_keeps_the_others(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = dispatched(dispatcher, log)
    dispatcher.listen(OrderPlaced, OrderPaid)(listener)
    await dispatcher.adispatch(OrderPlaced())

    dispatcher.remove_listener(OrderPlaced, listener)
    for event in (OrderPlaced(), OrderPaid(), Shipped()):
        await dispatcher.adispatch(event)
    with pytest.raises(ValueError, match="does not listen to"):
        dispatcher.remove_listener(UNION, listener)
    await dispatcher.adispatch(OrderPaid())
    dispatcher.remove_listener(OrderPaid, listener)

    assert log == [OrderPlaced, OrderPaid, Shipped, OrderPaid]
    assert not dispatcher.has_listeners()


async def test_a_removed_key_takes_effect_in_a_running_dispatch(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = dispatched(dispatcher, log)
    removing = make_listener(dispatcher, lambda event: dispatcher.remove_listener(PLACED, listener))
    dispatcher.add_listener(PLACED, removing, once=True)
    dispatcher.listen(PLACED, PAID)(listener)

    await dispatcher.adispatch(PLACED)
    assert log == []
    await dispatcher.adispatch(PAID)
    assert log == [Event]


@pytest.mark.parametrize(
    "keys", [(PLACED, OrderPlaced), (PLACED, OrderPlaced, "order.*", PAID)], ids=["two", "several"]
)
@pytest.mark.parametrize("removed", [PLACED, OrderPlaced])
@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Race()], ids=repr)
@pytest.mark.parametrize("options", [{}, {"once": True}, {"where": bool, "limit": 1, "timeout": 60}], ids=str)
@pytest.mark.parametrize("observed", [False, True], ids=["", "observed"])
async def test_a_key_removed_in_a_dispatch_keeps_another_key_of_the_event(
    keys: tuple[Any, ...], removed: Any, strategy: Any, options: dict[str, Any], observed: bool
) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[Any]()
    removing = make_listener(dispatcher, lambda event: dispatcher.clear(removed))

    @dispatcher.listen(*keys, **options)
    @named
    async def listener(event: Any, name: str) -> None:
        log.append(name)

    dispatcher.add_listener(removed, removing, priority=-1)
    with record(dispatcher) if observed else nullcontext() as recorded:
        await dispatcher.adispatch(PLACED, OrderPlaced())

    assert log == [PLACED]
    if recorded is not None:
        recorded.assert_called(removing, listener)
    assert dispatcher.has_listeners(PAID) is (PAID in keys and "once" not in options)


async def test_a_listener_without_any_key_left_does_not_run(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = dispatched(dispatcher, log)
    removing = make_listener(dispatcher, lambda event: [dispatcher.clear(key) for key in (PLACED, OrderPlaced)])
    dispatcher.add_listener("*", removing, priority=-1)
    dispatcher.listen(PLACED, OrderPlaced, PAID)(listener)

    with record(dispatcher) as recorded:
        await dispatcher.adispatch(PLACED, OrderPlaced())

    assert log == []
    (dispatch,) = recorded.dispatches
    assert [call.skipped_because for call in dispatch.listeners] == [None, "removed"]
    assert dispatcher.has_listeners(PAID)


def test_the_handle_removes_all_keys(dispatcher: AnyDispatcher) -> None:
    for on in (dispatcher, dispatcher.temporarily()):
        listener = make_listener(dispatcher, print)
        with on.add_listener(UNION, listener, priority=3) as handle:
            assert (handle.key, handle.priority, handle.is_registered()) == (UNION, 3, True)
            assert handle.listener is listener
            assert list(dispatcher.get_listeners()) == [OrderPlaced, OrderPaid]
        assert not dispatcher.has_listeners() and not handle.is_registered() and not handle.unsubscribe()


def test_the_handle_removes_the_keys_that_are_left(dispatcher: AnyDispatcher) -> None:
    handle = dispatcher.add_listener(UNION, make_listener(dispatcher, print))
    dispatcher.remove_listener(OrderPaid, handle.listener)

    assert handle.is_registered() and handle.unsubscribe()
    assert not dispatcher.has_listeners() and not handle.unsubscribe()


def test_the_handle_shows_the_options_and_the_place_in_the_order(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    before = dispatcher.add_listener(PLACED, listener)
    handle = dispatcher.add_listener(UNION, listener, once=True, where=bool)
    after = dispatcher.add_listener(PLACED, listener)

    assert (handle.options.once, handle.options.where) == (True, bool)
    assert before.order < handle.order < after.order


async def test_a_record_in_a_plan_shows_its_first_key_also_after_the_removal() -> None:
    keys: list[Any] = []

    class Removing:
        async def run(self, plan: Any, event: Any) -> None:
            ((record,),) = plan
            for removed in (PLACED, "order.*"):
                keys.append(record.key)
                dispatcher.clear(removed)
            keys.append(record.key)

    dispatcher = AsyncEventDispatcher(strategy=Removing())
    dispatcher.listen(PLACED, "order.*")(make_listener(dispatcher, print))
    await dispatcher.adispatch(PLACED)

    assert keys == [PLACED, "order.*", PLACED]


async def test_the_handle_calls_the_listener_until_no_key_is_left(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    handle = dispatcher.add_listener(UNION, listener)

    assert handle.call is listener
    dispatcher.clear(OrderPlaced)
    assert handle.call is listener
    dispatcher.clear(OrderPaid)
    assert handle.call is not listener


@pytest.mark.parametrize("keys", [(), (PLACED, None), (PLACED, []), (PLACED, "a*"), (OrderPlaced | None,)], ids=str)
def test_a_wrong_key_among_several_registers_none(dispatcher: AnyDispatcher, keys: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        dispatcher.listen(*keys)
    with pytest.raises((TypeError, ValueError)):
        listens_to(*keys)

    assert not dispatcher.has_listeners()


class Incomparable:
    """A key that cannot be compared with others of its kind."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise LookupError


@pytest.mark.parametrize("options", [{}, {"once": True}], ids=repr)
def test_an_error_of_a_later_key_registers_none(dispatcher: AnyDispatcher, options: dict[str, Any]) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(Incomparable(), listener)

    with pytest.raises(LookupError):
        dispatcher.listen(PLACED, Incomparable(), **options)(listener)

    assert not dispatcher.has_listeners(PLACED)


# Options


async def test_once_is_one_call_over_all_keys(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.listen(PLACED, UNION, once=True)(dispatched(dispatcher, log))

    for event in (OrderPaid(), OrderPlaced()):
        await dispatcher.adispatch(event)
    await dispatcher.adispatch(PLACED)

    assert log == [OrderPaid]
    assert not dispatcher.has_listeners()


def test_once_is_one_call_if_the_other_key_is_dispatched_at_its_removal() -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    handle: Any = dispatcher.add_listener(UNION, lambda event: log.append(type(event)), once=True)
    first = next(each for each in handle.subscriptions if each.key is OrderPlaced)
    # As another thread may do at this moment.
    when_removed(first, lambda scope: dispatcher.dispatch(OrderPaid()))

    dispatcher.dispatch(OrderPlaced())

    assert log == [OrderPaid]


async def test_once_remains_after_a_key_is_removed(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = dispatched(dispatcher, log)
    dispatcher.listen(PLACED, PAID, once=True)(listener)

    dispatcher.remove_listener(PLACED, listener)
    for name in (PLACED, PAID, PAID):
        await dispatcher.adispatch(name)

    assert log == [Event]


async def test_a_limit_holds_for_all_keys_together() -> None:
    dispatcher, running, most = AsyncEventDispatcher(), 0, 0

    @dispatcher.listen(PLACED, PAID, limit=1)
    async def count(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1

    async with anyio.create_task_group() as tasks:
        for name in (PLACED, PAID, PLACED):
            tasks.start_soon(dispatcher.adispatch, name)

    assert most == 1


# Everywhere


async def test_expect_and_wait_for_end_with_the_first_event() -> None:
    dispatcher = AsyncEventDispatcher()
    for keys in ((PLACED, OrderPaid), (UNION,)):
        async with dispatcher.expect(*keys) as expected:
            event = await dispatcher.adispatch(OrderPaid())
        assert expected.event is event
        assert not dispatcher.has_listeners()

    found: list[Any] = []

    async def wait() -> None:
        found.append(await dispatcher.wait_for(PLACED, OrderPaid))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        event = await dispatcher.adispatch(PLACED, OrderPaid())
    assert found == [event]
    for use in (dispatcher.expect, dispatcher.stream):
        with pytest.raises(TypeError, match="got none"):
            use()


async def test_a_stream_receives_an_event_once() -> None:
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream(UNION, PLACED) as stream:
        events = [await dispatcher.adispatch(PLACED, Shipped()), await dispatcher.adispatch(OrderPaid())]
    assert [event async for event in stream] == events


async def test_subscribers_and_registrars_take_several_keys(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []

    class Shop:
        @listens_to(PLACED, UNION)
        def on_order(self, event: Event) -> None:
            log.append(type(event))

    class AsyncShop(Shop):
        @listens_to(PLACED, UNION)
        async def on_order(self, event: Event) -> None:  # type: ignore[override]  # async
            log.append(type(event))

    shop = Shop() if isinstance(dispatcher, EventDispatcher) else AsyncShop()
    with dispatcher.add_subscriber(shop), dispatcher.temporarily() as registrar:
        registrar.listen(OrderPaid, "*")(dispatched(dispatcher, log))
        await dispatcher.adispatch(PLACED, Shipped())

    assert log == [Shipped, Shipped]
    assert not dispatcher.has_listeners()


async def test_an_override_gets_each_key(dispatcher: AnyDispatcher) -> None:
    keys: list[Any] = []

    class Prefixing(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]  # the signature of whistle
            keys.append(key)
            super().add_listener(f"shop.{key}", listener, priority=priority)

    log: list[Any] = []
    prefixing = Prefixing()
    prefixing.listen("*", "placed")(dispatched(prefixing, log))

    await prefixing.adispatch("shop.placed")

    assert (keys, log) == (["*", "placed"], [Event])


async def test_an_override_may_give_each_key_a_priority() -> None:
    class Prioritizing(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]  # the signature of whistle
            super().add_listener(key, listener, priority=priority + 10 * (key == PLACED))

    log: list[Any] = []
    prioritizing = Prioritizing()
    prioritizing.listen(PLACED, "*")(make_recording_listener(prioritizing, log, "several"))
    prioritizing.add_listener("*", make_recording_listener(prioritizing, log, "one"), priority=5)

    await prioritizing.adispatch(PLACED)

    assert log == ["several", "one"]


def test_the_handle_of_several_priorities_has_that_of_the_first_key() -> None:
    class Prioritizing(EventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]  # the signature of whistle
            super().add_listener(key, listener, priority=priority + 10 * (key is OrderPlaced))

    with Prioritizing().temporarily() as registrar:
        assert registrar.add_listener(UNION, print, priority=1).priority == 11


async def test_recordings_understand_unions() -> None:
    dispatcher = EventDispatcher()
    with record(dispatcher) as recorded:
        dispatcher.dispatch(OrderPaid())
    recorded.assert_dispatched(UNION)


def test_a_description_shows_the_listener_once_with_all_keys(dispatcher: AnyDispatcher) -> None:
    dispatcher.listen(PLACED, UNION)(make_listener(dispatcher, print))

    description = dispatcher.describe()

    assert [key.label for key in description.keys] == [PLACED, "OrderPaid", "OrderPlaced"]
    assert [listener.key_label for listener in description.listeners] == ["order.placed | OrderPlaced | OrderPaid"]
    assert description == dispatcher.describe()
