"""The same scenarios on whistle and on antiphon: what is kept, and each difference that the docs tell of."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest
import whistle  # type: ignore[import-untyped]

import antiphon

# From Python 3.14 on, whistle calls what asyncio has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning")

MODULES: list[ModuleType] = [whistle, antiphon]


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def house(request: pytest.FixtureRequest) -> Any:
    """The one package or the other; nothing but the import differs."""
    return request.param


def noting(log: list[Any], what: Any) -> Callable[[Any], None]:
    def listener(event: Any) -> None:
        log.append(what)

    return listener


def anoting(log: list[Any], what: Any) -> Callable[[Any], Any]:
    async def listener(event: Any) -> None:
        log.append(what)

    return listener


# Kept: names


@pytest.mark.parametrize(
    "name",
    [
        "AsyncEventDispatcher",
        "Event",
        "EventDispatcher",
        "IAsyncEventDispatcher",
        "IDispatchedEvent",
        "IEvent",
        "IEventDispatcher",
        "IListener",
    ],
)
def test_the_name_is_there(house: Any, name: str) -> None:
    assert name in house.__all__
    assert hasattr(house, name)


@pytest.mark.parametrize("name", [name for name in whistle.__all__ if name != "__version__"])
def test_every_public_name_of_whistle_can_be_imported_from_antiphon(name: str) -> None:
    assert hasattr(antiphon, name)


@pytest.mark.parametrize("protocol", ["IAbstractEventDispatcher", "IAsyncEventDispatcher", "IEventDispatcher"])
@pytest.mark.parametrize("house_name", ["whistle.typing.dispatcher", "antiphon.typing"])
def test_the_protocols_of_dispatchers_ask_for_the_same_methods(protocol: str, house_name: str) -> None:
    import importlib

    asked = {name for name in dir(getattr(importlib.import_module(house_name), protocol)) if not name.startswith("_")}

    expected = {"add_listener", "get_listeners", "has_listeners", "remove_listener"}
    own = {"IAbstractEventDispatcher": set(), "IAsyncEventDispatcher": {"adispatch"}, "IEventDispatcher": {"dispatch"}}
    assert asked == expected | own[protocol]


# Kept: events


def test_an_event_has_its_attributes_before_a_dispatch(house: Any) -> None:
    event = house.Event()

    assert (event.name, event.dispatcher, event.propagation_stopped) == (None, None, False)


def test_a_dispatch_names_the_event_and_shows_the_dispatcher(house: Any) -> None:
    dispatcher, event = house.EventDispatcher(), house.Event()

    dispatcher.dispatch("hymn", event)

    assert (event.name, event.dispatcher) == ("hymn", dispatcher)


def test_a_dispatch_of_a_name_makes_an_event(house: Any) -> None:
    event = house.EventDispatcher().dispatch("hymn")

    assert (type(event), event.name) == (house.Event, "hymn")


def test_a_dispatch_returns_the_very_event(house: Any) -> None:
    event = house.Event()

    assert house.EventDispatcher().dispatch("hymn", event) is event


def test_the_mark_stays_after_the_dispatch(house: Any) -> None:
    dispatcher = house.EventDispatcher()
    dispatcher.add_listener("hymn", lambda event: event.stop_propagation())

    assert dispatcher.dispatch("hymn").propagation_stopped is True


# Kept: registering and dispatching


def test_priorities_and_ties_run_in_the_same_order(house: Any) -> None:
    dispatcher = house.EventDispatcher()
    log: list[Any] = []
    for number, priority in enumerate([0, -100, 5, 0, 100, -100]):
        dispatcher.add_listener("hymn", noting(log, (priority, number)), priority=priority)

    dispatcher.dispatch("hymn")

    assert log == [(-100, 1), (-100, 5), (0, 0), (0, 3), (5, 2), (100, 4)]


def test_the_same_listener_twice_runs_twice(house: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener("hymn", listener)
    dispatcher.add_listener("hymn", listener)

    dispatcher.dispatch("hymn")

    assert listener.call_count == 2


def test_remove_listener_removes_all_of_it(house: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener("hymn", listener)
    dispatcher.add_listener("hymn", listener, priority=5)

    dispatcher.remove_listener("hymn", listener)
    dispatcher.dispatch("hymn")

    assert listener.call_count == 0


def test_bound_methods_are_removed_by_equality(house: Any) -> None:
    class Cantor:
        def sing(self, event: Any) -> None: ...

    dispatcher, cantor = house.EventDispatcher(), Cantor()
    dispatcher.add_listener("hymn", cantor.sing)

    dispatcher.remove_listener("hymn", cantor.sing)

    assert not dispatcher.has_listeners("hymn")


def test_removing_under_a_name_that_nobody_ever_used_is_an_error(house: Any) -> None:
    with pytest.raises(ValueError):
        house.EventDispatcher().remove_listener("hymn", print)


def test_listen_registers_and_gives_the_function_back(house: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), noting([], None)

    assert dispatcher.listen("hymn", priority=3)(listener) is listener
    assert dispatcher.get_listeners("hymn") == (listener,)


def test_a_stop_keeps_later_listeners_from_running(house: Any) -> None:
    dispatcher = house.EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", lambda event: event.stop_propagation())
    dispatcher.add_listener("hymn", noting(log, "later"))

    dispatcher.dispatch("hymn")

    assert log == []


def test_the_error_of_a_listener_leaves_unchanged(house: Any) -> None:
    error = LookupError()
    dispatcher = house.EventDispatcher()
    dispatcher.add_listener("hymn", Mock(side_effect=error))

    with pytest.raises(LookupError) as caught:
        dispatcher.dispatch("hymn")

    assert caught.value is error


def test_a_listener_added_during_a_dispatch_runs_in_the_next(house: Any) -> None:
    dispatcher, late = house.EventDispatcher(), Mock()
    dispatcher.add_listener("hymn", lambda event: dispatcher.add_listener("hymn", late))

    dispatcher.dispatch("hymn")

    assert late.call_count == 0


def test_get_listeners_of_an_unknown_name_is_empty(house: Any) -> None:
    assert house.EventDispatcher().get_listeners("hymn") == ()


def test_get_listeners_without_a_name_gives_all_by_name(house: Any) -> None:
    dispatcher, one, two = house.EventDispatcher(), Mock(), Mock()
    dispatcher.add_listener("hymn", one)
    dispatcher.add_listener("psalm", two)

    assert dispatcher.get_listeners() == {"hymn": (one,), "psalm": (two,)}


def test_has_listeners_without_a_name_speaks_of_the_dispatcher(house: Any) -> None:
    dispatcher = house.EventDispatcher()
    before = dispatcher.has_listeners()
    dispatcher.add_listener("hymn", Mock())

    assert (before, dispatcher.has_listeners()) == (False, True)


def test_an_empty_dispatcher_is_true(house: Any) -> None:
    assert house.EventDispatcher()
    assert house.AsyncEventDispatcher()


def test_what_is_no_callable_is_refused(house: Any) -> None:
    with pytest.raises(TypeError):
        house.EventDispatcher().add_listener("hymn", "listener")


def test_a_coroutine_function_is_refused_by_a_sync_dispatcher(house: Any) -> None:
    with pytest.raises(TypeError):
        house.EventDispatcher().add_listener("hymn", anoting([], None))


def test_a_plain_function_is_refused_by_add_listener_of_an_async_dispatcher(house: Any) -> None:
    with pytest.raises(TypeError):
        house.AsyncEventDispatcher().add_listener("hymn", noting([], None))


def test_arguments_are_positional_only(house: Any) -> None:
    with pytest.raises(TypeError):
        house.EventDispatcher().dispatch(event_id="hymn")


async def test_an_async_dispatch_runs_in_order_and_returns_the_event(house: Any) -> None:
    dispatcher, event = house.AsyncEventDispatcher(), house.Event()
    log: list[Any] = []
    dispatcher.add_listener("hymn", anoting(log, "second"))
    dispatcher.add_listener("hymn", anoting(log, "first"), priority=-1)

    assert await dispatcher.adispatch("hymn", event) is event
    assert log == ["first", "second"]


async def test_an_async_dispatch_is_stopped(house: Any) -> None:
    dispatcher = house.AsyncEventDispatcher()
    log: list[Any] = []

    @dispatcher.listen("hymn")  # type: ignore[untyped-decorator]
    async def stop(event: Any) -> None:
        event.stop_propagation()

    dispatcher.add_listener("hymn", anoting(log, "later"))
    await dispatcher.adispatch("hymn")

    assert log == []


async def test_an_async_mock_is_a_listener(house: Any) -> None:
    dispatcher, listener, event = house.AsyncEventDispatcher(), AsyncMock(), house.Event()
    dispatcher.add_listener("hymn", listener)

    await dispatcher.adispatch("hymn", event)

    listener.assert_awaited_once_with(event)


async def test_adispatch_of_a_sync_dispatcher_calls_plain_functions(house: Any) -> None:
    dispatcher, event = house.EventDispatcher(), house.Event()
    log: list[Any] = []
    dispatcher.add_listener("hymn", noting(log, "heard"))

    assert await dispatcher.adispatch("hymn", event) is event
    assert log == ["heard"]


def test_dispatch_of_an_async_dispatcher_is_not_implemented(house: Any) -> None:
    with pytest.raises(NotImplementedError):
        house.AsyncEventDispatcher().dispatch("hymn")


# Kept: override points


def test_do_dispatch_is_an_override_point(house: Any) -> None:
    log: list[Any] = []

    class Backwards(house.EventDispatcher):  # type: ignore[misc]  # the base is one of two
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            super().do_dispatch(reversed(listeners), event)

    dispatcher = Backwards()
    for number in range(3):
        dispatcher.add_listener("hymn", noting(log, number))
    dispatcher.dispatch("hymn")

    assert log == [2, 1, 0]


async def test_adispatch_with_an_underscore_is_an_override_point(house: Any) -> None:
    log: list[Any] = []

    class Backwards(house.AsyncEventDispatcher):  # type: ignore[misc]
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in reversed(listeners):
                await listener(event)

    dispatcher = Backwards()
    for number in range(3):
        dispatcher.add_listener("hymn", anoting(log, number))
    await dispatcher.adispatch("hymn")

    assert log == [2, 1, 0]


def test_add_listener_is_an_override_point(house: Any) -> None:
    class Hurried(house.EventDispatcher):  # type: ignore[misc]
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> None:
            super().add_listener(event_id, listener, priority=priority - 10)

    dispatcher = Hurried()
    log: list[Any] = []
    house.EventDispatcher.add_listener(dispatcher, "hymn", noting(log, "plain"), priority=-5)
    dispatcher.add_listener("hymn", noting(log, "hurried"))
    dispatcher.dispatch("hymn")

    assert log == ["hurried", "plain"]


def test_the_event_of_an_override_is_named_already(house: Any) -> None:
    seen: list[Any] = []

    class Seeing(house.EventDispatcher):  # type: ignore[misc]
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            seen.append((event.name, event.dispatcher))

    dispatcher = Seeing()
    dispatcher.dispatch("hymn")

    assert seen == [("hymn", dispatcher)]


def test_an_override_is_called_also_when_nobody_listens(house: Any) -> None:
    seen: list[Any] = []

    class Seeing(house.EventDispatcher):  # type: ignore[misc]
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            seen.append(tuple(listeners))

    Seeing().dispatch("hymn")

    assert seen == [()]


def test_the_listeners_of_an_override_equal_those_that_were_registered(house: Any) -> None:
    seen: list[Any] = []

    class Seeing(house.EventDispatcher):  # type: ignore[misc]
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            seen.extend(listeners)

    dispatcher, listener = Seeing(), Mock()
    dispatcher.add_listener("hymn", listener)
    dispatcher.dispatch("hymn")

    assert seen == [listener]


# Changed, each with what whistle does beside it


def differing(on_whistle: Any, on_antiphon: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("house", "expected"),
        [pytest.param(whistle, on_whistle, id="whistle"), pytest.param(antiphon, on_antiphon, id="antiphon")],
    )


@differing(on_whistle=True, on_antiphon=False)
def test_changed_plain_functions_come_in_by_listen(house: Any, expected: bool) -> None:
    dispatcher = house.AsyncEventDispatcher()

    try:
        dispatcher.listen("hymn")(noting([], None))
    except TypeError:
        pass

    assert dispatcher.has_listeners() is expected


@differing(on_whistle=True, on_antiphon=False)
def test_changed_coroutine_functions_come_in_by_listen_of_a_sync_dispatcher(house: Any, expected: bool) -> None:
    dispatcher = house.EventDispatcher()

    try:
        dispatcher.listen("hymn")(anoting([], None))
    except TypeError:
        pass

    assert dispatcher.has_listeners() is expected


@differing(on_whistle=["leaving"], on_antiphon=[])
def test_changed_a_listener_that_is_removed_during_a_dispatch_runs_still(house: Any, expected: list[str]) -> None:
    dispatcher = house.EventDispatcher()
    log: list[Any] = []
    leaving = noting(log, "leaving")
    dispatcher.add_listener("hymn", lambda event: dispatcher.remove_listener("hymn", leaving))
    dispatcher.add_listener("hymn", leaving)

    dispatcher.dispatch("hymn")

    assert log == expected


@differing(on_whistle=["first"], on_antiphon=["first", "second"])
def test_changed_a_stop_lasts_beyond_its_dispatch(house: Any, expected: list[str]) -> None:
    dispatcher, event = house.EventDispatcher(), house.Event()
    log: list[Any] = []
    dispatcher.add_listener("hymn", lambda event: event.stop_propagation())
    dispatcher.add_listener("psalm", noting(log, "first"))
    dispatcher.add_listener("psalm", noting(log, "second"))
    dispatcher.dispatch("hymn", event)

    dispatcher.dispatch("psalm", event)

    assert log == expected


@differing(on_whistle=["outer"], on_antiphon=["outer", "outer, later"])
def test_changed_a_nested_dispatch_stops_the_outer_one(house: Any, expected: list[str]) -> None:
    dispatcher, log = house.EventDispatcher(), []

    def nest(event: Any) -> None:
        dispatcher.dispatch("inner", event)
        log.append("outer")

    dispatcher.add_listener("inner", lambda event: event.stop_propagation())
    dispatcher.add_listener("outer", nest)
    dispatcher.add_listener("outer", noting(log, "outer, later"))
    dispatcher.dispatch("outer")

    assert log == expected


@differing(on_whistle="inner", on_antiphon="outer")
def test_changed_a_nested_dispatch_leaves_its_name_behind(house: Any, expected: str) -> None:
    dispatcher = house.EventDispatcher()
    dispatcher.add_listener("outer", lambda event: dispatcher.dispatch("inner", event))

    assert dispatcher.dispatch("outer").name == expected


@differing(on_whistle=True, on_antiphon=False)
def test_changed_a_dispatcher_has_listeners_after_the_last_removal(house: Any, expected: bool) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener("hymn", listener)

    dispatcher.remove_listener("hymn", listener)

    assert dispatcher.has_listeners() is expected


@differing(on_whistle={"hymn": ()}, on_antiphon={})
def test_changed_a_name_is_listed_after_the_last_removal(house: Any, expected: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener("hymn", listener)

    dispatcher.remove_listener("hymn", listener)

    assert dispatcher.get_listeners() == expected


@differing(on_whistle=False, on_antiphon=True)
def test_changed_removing_what_is_not_there_is_an_error_also_of_a_known_name(house: Any, expected: bool) -> None:
    dispatcher, raised = house.EventDispatcher(), False
    dispatcher.add_listener("hymn", Mock())

    try:
        dispatcher.remove_listener("hymn", Mock())
    except ValueError:
        raised = True

    assert raised is expected


@pytest.mark.parametrize("name", [7, (1, "two"), b"bytes"], ids=repr)
@differing(on_whistle=True, on_antiphon=False)
def test_changed_a_name_that_is_neither_str_nor_enum_is_dispatched_alone(house: Any, expected: bool, name: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener(name, listener)

    dispatcher.dispatch(name)

    assert listener.called is expected


@pytest.mark.parametrize("name", [7, (1, "two"), b"bytes"], ids=repr)
def test_with_an_event_any_hashable_is_a_name_in_both(house: Any, name: Any) -> None:
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener(name, listener)

    dispatcher.dispatch(name, house.Event())

    assert listener.called


def test_an_enum_member_alone_is_a_name_in_both(house: Any) -> None:
    signal = Enum("Signal", "PLACED").PLACED  # type: ignore[attr-defined]  # made on the fly
    dispatcher, listener = house.EventDispatcher(), Mock()
    dispatcher.add_listener(signal, listener)

    dispatcher.dispatch(signal)

    assert listener.called


# A program, as it stands


async def test_a_program_runs_alike_on_both(house: Any) -> None:
    log: list[Any] = []

    class OrderEvent(house.Event):  # type: ignore[misc]
        name = "order.placed"

        def __init__(self, number: int) -> None:
            self.number = number

    class Shop:
        def __init__(self, dispatcher: Any) -> None:
            self.dispatcher = dispatcher
            dispatcher.add_listener(OrderEvent.name, self.on_order, priority=10)

        async def on_order(self, event: Any) -> None:
            log.append(("shop", event.number, event.name))
            await self.dispatcher.adispatch("order.shipped", OrderEvent(event.number + 1))

    dispatcher = house.AsyncEventDispatcher()
    shop = Shop(dispatcher)

    @dispatcher.listen("order.placed", priority=-20)  # type: ignore[untyped-decorator]
    async def check(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        log.append(("check", event.number, event.name))
        if event.number > 100:
            event.stop_propagation()

    @dispatcher.listen("order.shipped")  # type: ignore[untyped-decorator]
    async def ship(event: Any) -> None:
        log.append(("ship", event.number, event.name))

    await dispatcher.adispatch(OrderEvent.name, OrderEvent(1))
    await dispatcher.adispatch(OrderEvent.name, OrderEvent(101))
    dispatcher.remove_listener(OrderEvent.name, shop.on_order)
    await dispatcher.adispatch(OrderEvent.name, OrderEvent(2))

    assert log == [
        ("check", 1, "order.placed"),
        ("shop", 1, "order.placed"),
        ("ship", 2, "order.shipped"),
        ("check", 101, "order.placed"),
        ("check", 2, "order.placed"),
    ]
