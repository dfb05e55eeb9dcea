"""What holds for whistle, for antiphon and for HARP's own dispatcher, and each difference that the docs describe."""

from __future__ import annotations

import asyncio
import inspect
from enum import Enum
from types import ModuleType
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest
import whistle  # type: ignore[import-untyped]  # whistle has no types
from whistle.typing import dispatcher as whistle_typing  # type: ignore[import-untyped]  # whistle has no types

import antiphon
from tests.compatibility.conftest import Implementation, on_async, on_logging

KINDS = [antiphon.AsyncEventDispatcher, antiphon.EventDispatcher]

on_asyncio = pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
in_packages = pytest.mark.parametrize("package", [whistle, antiphon], ids=lambda package: package.__name__)


def make_request_event(base: Any) -> Any:
    class RequestEvent(base):
        name = "core.request"

        def __init__(self, request: str) -> None:
            self._request = request
            self._controller: Any = None

        @property
        def request(self) -> str:
            return self._request

        def set_controller(self, controller: Any) -> None:
            self._controller = controller

    return RequestEvent


# Names and signatures


@in_packages
def test_public_names(package: ModuleType) -> None:
    names = {"AsyncEventDispatcher", "Event", "EventDispatcher", "IAsyncEventDispatcher", "IDispatchedEvent", "IEvent"}
    assert names | {"IEventDispatcher", "IListener"} <= set(package.__all__)
    assert all(hasattr(antiphon, name) for name in whistle.__all__ if name != "__version__")


@pytest.mark.parametrize("module", [whistle_typing, antiphon.typing], ids=["whistle", "antiphon"])
def test_protocols_of_dispatchers_have_the_methods_of_whistle(module: ModuleType) -> None:
    shared = {"add_listener", "get_listeners", "has_listeners", "remove_listener"}
    own = {"IAbstractEventDispatcher": set(), "IAsyncEventDispatcher": {"adispatch"}, "IEventDispatcher": {"dispatch"}}
    for protocol, methods in own.items():
        assert shared | methods <= set(dir(getattr(module, protocol)))


@pytest.mark.parametrize(
    "method", ["add_listener", "remove_listener", "get_listeners", "has_listeners", "listen", "adispatch", "dispatch"]
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_names_listeners_and_events_are_positional_only(kind: type, method: str) -> None:
    parameters = inspect.signature(getattr(kind, method)).parameters.values()
    subjects = [parameter for parameter in parameters if parameter.name in {"key", "keys", "name", "listener", "event"}]
    assert subjects
    expected = inspect.Parameter.VAR_POSITIONAL if method == "listen" else inspect.Parameter.POSITIONAL_ONLY
    assert {parameter.kind for parameter in subjects} == {expected}


async def test_a_keyword_for_the_name_is_refused(implementation: Implementation) -> None:
    with pytest.raises(TypeError):
        await implementation.dispatcher.adispatch(event_id="order.placed")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_dispatcher_is_not_a_container(kind: type) -> None:
    assert not any(hasattr(kind, special) for special in ("__len__", "__bool__", "__iter__", "__contains__"))


def test_an_empty_dispatcher_is_true(implementation: Implementation) -> None:
    # HARP writes `dispatcher or AsyncEventDispatcher()`.
    assert (implementation.dispatcher or None) is implementation.dispatcher
    assert not implementation.dispatcher.has_listeners()


# Events


async def test_event_attributes_before_and_after_a_dispatch(implementation: Implementation) -> None:
    dispatcher, event = implementation.dispatcher, implementation.Event()
    assert (event.name, event.dispatcher, event.propagation_stopped) == (None, None, False)

    assert await dispatcher.adispatch("order.placed", event) is event
    assert (event.name, event.dispatcher, event.propagation_stopped) == ("order.placed", dispatcher, False)


async def test_a_name_alone_makes_an_event(implementation: Implementation) -> None:
    given: list[Any] = []
    implementation.dispatcher.add_listener("order.placed", implementation.listener(given.append))

    event = await implementation.dispatcher.adispatch("order.placed")

    assert given == [event]
    assert (type(event), event.name) == (implementation.Event, "order.placed")


async def test_events_need_not_call_the_constructor_of_event(implementation: Implementation) -> None:
    request_event = make_request_event(implementation.Event)
    implementation.dispatcher.add_listener(
        "core.request", implementation.listener(lambda event: event.set_controller("health"))
    )

    event = await implementation.dispatcher.adispatch("core.request", request_event("GET /"))

    assert (event.request, event._controller, event.name) == ("GET /", "health", "core.request")
    assert bool(event)


async def test_the_name_is_set_on_the_instance_and_kept_on_the_class(implementation: Implementation) -> None:
    request_event = make_request_event(implementation.Event)

    dispatched = await implementation.dispatcher.adispatch("another.name", request_event("GET /"))
    assigned = request_event("GET /")
    assigned.name = "another.name"

    assert (dispatched.name, assigned.name, request_event.name) == ("another.name", "another.name", "core.request")


async def test_one_event_is_dispatched_under_two_names(implementation: Implementation) -> None:
    log: list[str] = []
    for name in ("filter.request", "transaction.message"):
        implementation.dispatcher.add_listener(name, implementation.listener(lambda event: log.append(event.name)))
    event = implementation.Event()

    for name in ("filter.request", "transaction.message"):
        await implementation.dispatcher.adispatch(name, event)

    assert log == ["filter.request", "transaction.message"]


async def test_names_match_exactly_whatever_the_event_inherits(implementation: Implementation) -> None:
    request_event = make_request_event(implementation.Event)
    controller_event = type("ControllerEvent", (request_event,), {"name": "core.controller"})
    log: list[Any] = []
    for name in (request_event.name, controller_event.name):
        implementation.dispatcher.add_listener(name, implementation.recorder(log, name))

    await implementation.dispatcher.adispatch("core.controller", controller_event("GET /"))

    assert log == ["core.controller"]


# Dispatching


async def test_priorities_then_registration_decide_the_order(implementation: Implementation) -> None:
    log: list[Any] = []
    for number, priority in enumerate([0, -100, 5, 0, 100, -100]):
        implementation.dispatcher.add_listener(
            "order.placed", implementation.recorder(log, (priority, number)), priority=priority
        )

    await implementation.dispatcher.adispatch("order.placed")

    assert log == [(-100, 1), (-100, 5), (0, 0), (0, 3), (5, 2), (100, 4)]


async def test_a_stop_ends_the_dispatch_and_stays_readable(implementation: Implementation) -> None:
    log: list[Any] = []
    implementation.dispatcher.add_listener("order.placed", implementation.recorder(log, "first"), priority=-100)
    implementation.dispatcher.add_listener(
        "order.placed", implementation.listener(lambda event: event.stop_propagation())
    )
    implementation.dispatcher.add_listener("order.placed", implementation.recorder(log, "same priority"))
    implementation.dispatcher.add_listener("order.placed", implementation.recorder(log, "last"), priority=100)

    event = await implementation.dispatcher.adispatch("order.placed", implementation.Event())

    assert (log, event.propagation_stopped) == (["first"], True)


async def test_the_error_of_a_listener_leaves_unchanged(implementation: Implementation) -> None:
    error = LookupError("no such route")
    implementation.dispatcher.add_listener("order.placed", implementation.mock(side_effect=error))

    with pytest.raises(LookupError) as caught:
        await implementation.dispatcher.adispatch("order.placed")

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)


async def test_a_listener_added_during_a_dispatch_runs_in_the_next(implementation: Implementation) -> None:
    dispatcher, late = implementation.dispatcher, implementation.mock()
    dispatcher.add_listener(
        "order.placed", implementation.listener(lambda event: dispatcher.add_listener("order.placed", late))
    )

    await dispatcher.adispatch("order.placed")

    assert late.call_count == 0


@on_async
async def test_a_dispatcher_runs_plain_functions_by_no_method(implementation: Implementation) -> None:
    with pytest.raises(NotImplementedError):
        implementation.dispatcher.dispatch("order.placed")
    with pytest.raises(TypeError):
        implementation.dispatcher.add_listener("order.placed", print)


@in_packages
def test_a_sync_dispatcher_needs_no_await(package: Any) -> None:
    dispatcher, event, listener = package.EventDispatcher(), package.Event(), Mock()
    dispatcher.add_listener("order.placed", listener)

    assert dispatcher.dispatch("order.placed", event) is event
    listener.assert_called_once_with(event)
    for refused in ("listener", AsyncMock()):
        with pytest.raises(TypeError):
            dispatcher.add_listener("order.placed", refused)


def test_a_dispatcher_is_used_in_several_loops(implementation: Implementation) -> None:
    dispatcher, log = implementation.dispatcher, list[str]()
    dispatcher.add_listener("core.started", implementation.recorder(log, "ran"))

    asyncio.run(dispatcher.adispatch("core.started"))
    asyncio.run(dispatcher.adispatch("core.started"))

    assert log == ["ran", "ran"]


@on_asyncio
@on_async
async def test_listeners_run_in_the_task_of_the_dispatch(implementation: Implementation) -> None:
    tasks: list[Any] = []
    implementation.dispatcher.add_listener(
        "core.request", implementation.listener(lambda event: tasks.append(asyncio.current_task()))
    )

    await implementation.dispatcher.adispatch("core.request")

    assert tasks == [asyncio.current_task()]


@on_asyncio
@on_async
async def test_a_task_that_a_listener_starts_outlives_the_dispatch(implementation: Implementation) -> None:
    tasks, release = list[Any](), anyio.Event()
    implementation.dispatcher.add_listener(
        "core.started", implementation.listener(lambda event: tasks.append(asyncio.create_task(release.wait())))
    )

    await implementation.dispatcher.adispatch("core.started")
    pending = not tasks[0].done()
    release.set()
    await tasks[0]

    assert pending


# Registering


async def test_the_same_listener_twice_runs_twice_and_is_removed_once(implementation: Implementation) -> None:
    dispatcher, listener = implementation.dispatcher, implementation.mock()
    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.placed", listener, priority=5)

    await dispatcher.adispatch("order.placed")
    dispatcher.remove_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed")

    assert listener.call_count == 2


def test_bound_methods_are_removed_by_equality(implementation: Implementation) -> None:
    class Subscriber:
        async def on_order(self, event: Any) -> None: ...

        def on_order_plain(self, event: Any) -> None: ...

        def method(self) -> Any:
            return self.on_order if implementation.is_async else self.on_order_plain

    dispatcher, one, other = implementation.dispatcher, Subscriber(), Subscriber()
    dispatcher.add_listener("order.placed", one.method())
    dispatcher.add_listener("order.placed", other.method())

    dispatcher.remove_listener("order.placed", one.method())

    assert dispatcher.get_listeners("order.placed") == (other.method(),)


async def test_mocks_are_different_listeners_also_as_class_attributes(implementation: Implementation) -> None:
    class Subscriber:
        on_order = implementation.mock()

    dispatcher, event, other = implementation.dispatcher, implementation.Event(), implementation.mock()
    dispatcher.add_listener("order.placed", other)
    dispatcher.add_listener("order.placed", Subscriber().on_order)

    dispatcher.remove_listener("order.placed", other)
    await dispatcher.adispatch("order.placed", event)

    Subscriber.on_order.assert_called_once_with(event)
    assert other.call_count == 0


def test_removing_under_an_unknown_name_is_an_error(implementation: Implementation) -> None:
    with pytest.raises(ValueError):
        implementation.dispatcher.remove_listener("order.placed", print)


def test_listen_registers_and_returns_the_function(implementation: Implementation) -> None:
    dispatcher, listener = implementation.dispatcher, implementation.recorder([], None)

    assert dispatcher.listen("order.placed", priority=3)(listener) is listener
    assert dispatcher.get_listeners("order.placed") == (listener,)


def test_get_listeners_and_has_listeners(implementation: Implementation) -> None:
    dispatcher, one, other = implementation.dispatcher, implementation.mock(), implementation.mock()
    assert (dispatcher.get_listeners("order.placed"), dispatcher.has_listeners()) == ((), False)

    dispatcher.add_listener("order.placed", one)
    dispatcher.add_listener("order.paid", other)

    assert dispatcher.get_listeners() == {"order.placed": (one,), "order.paid": (other,)}
    assert dispatcher.has_listeners()


# Names that are not strings


def test_with_an_event_any_hashable_is_a_name(implementation: Implementation) -> None:
    for name in (7, (1, "two"), b"bytes"):
        listener = implementation.mock()
        implementation.dispatcher.add_listener(name, listener)
        anyio.run(implementation.dispatcher.adispatch, name, implementation.Event())
        assert listener.called


async def test_an_enum_member_alone_is_a_name(implementation: Implementation) -> None:
    name, listener = Enum("Name", "PLACED").PLACED, implementation.mock()  # type: ignore[attr-defined]  # made on the fly
    implementation.dispatcher.add_listener(name, listener)

    await implementation.dispatcher.adispatch(name)

    assert listener.called


# Logging, as HARP does it


@on_logging
async def test_what_a_logging_subclass_logs(implementation: Implementation) -> None:
    dispatcher, listener = implementation.dispatcher, implementation.recorder([], None)
    failing = AsyncMock(side_effect=LookupError("no such route"))
    dispatcher.add_listener("core.request", listener)
    await dispatcher.adispatch("core.request", implementation.Event())
    dispatcher.add_listener("core.failing", failing)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.failing", implementation.Event())

    assert implementation.lines.lines == [
        f"[Add] core.request ({listener})",
        "[Dispatch] core.request (Event)",
        f"[DispatchOne] listener: {listener}",
        f"[Add] core.failing ({failing})",
        "[Dispatch] core.failing (Event)",
        f"[DispatchOne] listener: {failing}",
        "[Error] core.failing (Event) failed: LookupError: no such route",
    ]


# Override points


@in_packages
async def test_override_points_run_the_listeners(package: Any) -> None:
    class Backwards(package.EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            super().do_dispatch(reversed(listeners), event)

    class AsyncBackwards(package.AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in reversed(listeners):
                await listener(event)

    for dispatcher in (Backwards(), AsyncBackwards()):
        implementation = Implementation(dispatcher, package.Event, isinstance(dispatcher, AsyncBackwards), None)
        log: list[Any] = []
        for number in range(3):
            dispatcher.add_listener("order.placed", implementation.recorder(log, number))
        await dispatcher.adispatch("order.placed")
        assert log == [2, 1, 0]


@in_packages
def test_add_listener_is_an_override_point(package: Any) -> None:
    class Hurried(package.EventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> None:
            super().add_listener(event_id, listener, priority=priority - 10)

    dispatcher, log = Hurried(), list[str]()
    package.EventDispatcher.add_listener(dispatcher, "order.placed", lambda event: log.append("plain"), priority=-5)
    dispatcher.add_listener("order.placed", lambda event: log.append("hurried"))
    dispatcher.dispatch("order.placed")

    assert log == ["hurried", "plain"]


@in_packages
def test_an_override_gets_a_named_event_and_equal_listeners(package: Any) -> None:
    given: list[Any] = []

    class Recording(package.EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            given.append((event.name, event.dispatcher, tuple(listeners)))

    dispatcher, listener = Recording(), Mock()
    dispatcher.add_listener("order.placed", listener)
    dispatcher.dispatch("order.placed")

    assert given == [("order.placed", dispatcher, (listener,))]


# Differences, each with what whistle does


def raises(error: type[Exception], call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except error:
        return True
    return False


def refuses_plain_functions_in_listen(package: Any) -> object:
    dispatcher = package.AsyncEventDispatcher()
    return raises(TypeError, dispatcher.listen("order.placed"), lambda event: None), dispatcher.has_listeners()


def refuses_coroutine_functions_in_listen(package: Any) -> object:
    dispatcher = package.EventDispatcher()
    return raises(TypeError, dispatcher.listen("order.placed"), AsyncMock()), dispatcher.has_listeners()


def runs_a_listener_removed_during_the_dispatch(package: Any) -> object:
    dispatcher, removed = package.EventDispatcher(), Mock()
    dispatcher.add_listener("order.placed", lambda event: dispatcher.remove_listener("order.placed", removed))
    dispatcher.add_listener("order.placed", removed)
    dispatcher.dispatch("order.placed")
    return removed.called


def runs_a_stopped_event_again(package: Any) -> object:
    dispatcher, event, log = package.EventDispatcher(), package.Event(), list[str]()
    dispatcher.add_listener("order.placed", lambda event: event.stop_propagation())
    dispatcher.add_listener("order.paid", lambda event: log.append("first"))
    dispatcher.add_listener("order.paid", lambda event: log.append("second"))
    dispatcher.dispatch("order.placed", event)
    dispatcher.dispatch("order.paid", event)
    return log


def keeps_the_outer_dispatch_apart(package: Any) -> object:
    dispatcher, log = package.EventDispatcher(), list[str]()
    dispatcher.add_listener("inner", lambda event: event.stop_propagation())
    dispatcher.add_listener("outer", lambda event: dispatcher.dispatch("inner", event))
    dispatcher.add_listener("outer", lambda event: log.append("later"))
    return dispatcher.dispatch("outer").name, log


def forgets_the_last_listener(package: Any) -> object:
    dispatcher, listener = package.EventDispatcher(), Mock()
    dispatcher.add_listener("order.placed", listener)
    dispatcher.remove_listener("order.placed", listener)
    return dispatcher.has_listeners(), dispatcher.get_listeners()


def refuses_to_remove_an_unknown_listener(package: Any) -> object:
    dispatcher = package.EventDispatcher()
    dispatcher.add_listener("order.placed", Mock())
    return raises(ValueError, dispatcher.remove_listener, "order.placed", Mock())


def calls_an_override_without_listeners(package: Any) -> object:
    called: list[Any] = []

    class Recording(package.EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            called.append(listeners)

    Recording().dispatch("order.placed")
    return bool(called)


def dispatches_other_hashables_alone(package: Any) -> object:
    dispatcher, listener, refused = package.EventDispatcher(), Mock(), 0
    for name in (7, (1, "two"), b"bytes"):
        dispatcher.add_listener(name, listener)
        try:
            dispatcher.dispatch(name)
        except TypeError:
            refused += 1
    return listener.call_count, refused


@pytest.mark.parametrize(
    ("behavior", "of_whistle", "of_antiphon"),
    [
        (refuses_plain_functions_in_listen, (False, True), (True, False)),
        (refuses_coroutine_functions_in_listen, (False, True), (True, False)),
        (runs_a_listener_removed_during_the_dispatch, True, False),
        (runs_a_stopped_event_again, ["first"], ["first", "second"]),
        (keeps_the_outer_dispatch_apart, ("inner", []), ("outer", ["later"])),
        (forgets_the_last_listener, (True, {"order.placed": ()}), (False, {})),
        (refuses_to_remove_an_unknown_listener, False, True),
        (calls_an_override_without_listeners, True, False),
        (dispatches_other_hashables_alone, (3, 0), (0, 3)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_changed(behavior: Any, of_whistle: object, of_antiphon: object) -> None:
    assert (behavior(whistle), behavior(antiphon)) == (of_whistle, of_antiphon)


# A program


@in_packages
async def test_a_program_runs_unchanged_on_both(package: Any) -> None:
    log: list[Any] = []

    class OrderEvent(package.Event):
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

    dispatcher = package.AsyncEventDispatcher()
    shop = Shop(dispatcher)

    @dispatcher.listen("order.placed", priority=-20)
    async def check(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        log.append(("check", event.number, event.name))
        if event.number > 100:
            event.stop_propagation()

    @dispatcher.listen("order.shipped")
    async def ship(event: Any) -> None:
        log.append(("ship", event.number, event.name))

    for number in (1, 101):
        await dispatcher.adispatch(OrderEvent.name, OrderEvent(number))
    dispatcher.remove_listener(OrderEvent.name, shop.on_order)
    await dispatcher.adispatch(OrderEvent.name, OrderEvent(2))

    assert log == [
        ("check", 1, "order.placed"),
        ("shop", 1, "order.placed"),
        ("ship", 2, "order.shipped"),
        ("check", 101, "order.placed"),
        ("check", 2, "order.placed"),
    ]
