"""What HARP needs of its dispatcher, each need by itself and without HARP; rule 13 among them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    IDispatchedEvent,
    IEvent,
    IListener,
    Race,
    Sequential,
)
from tests.helpers import make_listener, make_recording_listener


class RequestEvent(Event):
    name = "core.request"

    def __init__(self, request: str) -> None:
        self._request = request
        self._controller: Any = None

    @property
    def request(self) -> str:
        return self._request

    def set_controller(self, controller: Any) -> None:
        self._controller = controller


class ControllerEvent(RequestEvent):
    name = "core.controller"


# Events


async def test_events_need_not_call_the_constructor_of_event() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("core.request", make_listener(dispatcher, lambda event: event.set_controller("health")))

    event = await dispatcher.adispatch("core.request", RequestEvent("GET /"))

    assert (event.request, event._controller, event.name) == ("GET /", "health", "core.request")


def test_the_name_is_read_on_the_class() -> None:
    assert (RequestEvent.name, ControllerEvent.name) == ("core.request", "core.controller")


async def test_the_name_is_reassigned_on_the_instance() -> None:
    dispatcher = AsyncEventDispatcher()

    event = await dispatcher.adispatch("another.name", RequestEvent("GET /"))

    assert (event.name, RequestEvent.name) == ("another.name", "core.request")


def test_a_program_may_reassign_the_name_itself() -> None:
    event = RequestEvent("GET /")
    event.name = "another.name"

    assert (event.name, RequestEvent.name) == ("another.name", "core.request")


def test_events_are_true() -> None:
    assert (bool(Event()), bool(RequestEvent(""))) == (True, True)


async def test_one_instance_is_dispatched_under_two_names() -> None:
    dispatcher, log = AsyncEventDispatcher(), []
    for name in ("filter.request", "transaction.message"):
        dispatcher.add_listener(name, make_listener(dispatcher, lambda event: log.append(event.name)))
    event = RequestEvent("GET /")

    for name in ("filter.request", "transaction.message"):
        await dispatcher.adispatch(name, event)

    assert log == ["filter.request", "transaction.message"]


async def test_an_instance_that_was_stopped_under_one_name_runs_under_the_next() -> None:
    dispatcher, event = AsyncEventDispatcher(), RequestEvent("GET /")
    log: list[Any] = []
    dispatcher.add_listener("filter.request", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("transaction.message", make_recording_listener(dispatcher, log, "heard"))

    for name in ("filter.request", "transaction.message"):
        await dispatcher.adispatch(name, event)

    assert log == ["heard"]


# Dispatchers


@pytest.mark.parametrize("special", ["__len__", "__bool__", "__iter__", "__contains__"])
@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher], ids=lambda kind: kind.__name__)
def test_a_dispatcher_is_no_container(kind: type, special: str) -> None:
    assert not hasattr(kind, special)


def test_an_empty_dispatcher_is_not_replaced_by_a_default() -> None:
    dispatcher = AsyncEventDispatcher()

    assert (dispatcher or AsyncEventDispatcher()) is dispatcher  # type: ignore[truthy-bool]  # that is its subject


def test_a_dispatcher_that_is_built_in_one_asyncio_run_is_used_in_another() -> None:
    async def build() -> AsyncEventDispatcher:
        dispatcher = AsyncEventDispatcher()
        dispatcher.add_listener("core.started", make_recording_listener(dispatcher, log, "heard"))
        await dispatcher.adispatch("core.started")
        return dispatcher

    log: list[str] = []
    dispatcher = asyncio.run(build())
    asyncio.run(dispatcher.adispatch("core.started"))

    assert log == ["heard", "heard"]


def test_a_dispatcher_that_is_built_without_a_loop_is_used_in_one() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("core.started", make_recording_listener(dispatcher, log, "heard"))

    asyncio.run(dispatcher.adispatch("core.started", Event()))

    assert log == ["heard"]


async def test_names_match_exactly_whatever_the_class_of_the_event_inherits() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener(RequestEvent.name, make_recording_listener(dispatcher, log, "request"))
    dispatcher.add_listener(ControllerEvent.name, make_recording_listener(dispatcher, log, "controller"))

    await dispatcher.adispatch(ControllerEvent.name, ControllerEvent("GET /"))

    assert log == ["controller"]


@pytest.mark.parametrize(
    "method", ["add_listener", "remove_listener", "get_listeners", "has_listeners", "listen", "adispatch", "dispatch"]
)
@pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher], ids=lambda kind: kind.__name__)
def test_names_listeners_and_events_are_positional_only(kind: type, method: str) -> None:
    parameters = inspect.signature(getattr(kind, method)).parameters.values()

    subjects = [parameter for parameter in parameters if parameter.name in {"key", "name", "listener", "event"}]
    assert subjects
    assert {parameter.kind for parameter in subjects} == {inspect.Parameter.POSITIONAL_ONLY}


def test_get_listeners_of_an_unknown_name_can_be_iterated_over() -> None:
    assert list(AsyncEventDispatcher().get_listeners("unknown")) == []


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_an_asyncio_task_that_a_listener_starts_outlives_the_dispatch() -> None:
    dispatcher, tasks, go_on = AsyncEventDispatcher(), [], anyio.Event()

    async def work() -> str:
        await go_on.wait()
        return "worked"

    @dispatcher.listen("core.started")
    async def start(event: Event) -> None:
        tasks.append(asyncio.create_task(work()))

    await dispatcher.adispatch("core.started")
    pending = not tasks[0].done()
    go_on.set()

    assert (pending, await tasks[0]) == (True, "worked")


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_a_listener_runs_in_the_task_of_its_dispatch() -> None:
    dispatcher, tasks = AsyncEventDispatcher(), []
    dispatcher.add_listener(
        "core.request", make_listener(dispatcher, lambda event: tasks.append(asyncio.current_task()))
    )

    await dispatcher.adispatch("core.request", Event())

    assert tasks == [asyncio.current_task()]


# Listeners


async def test_an_async_mock_is_a_listener() -> None:
    dispatcher, listener, event = AsyncEventDispatcher(), AsyncMock(), Event()
    dispatcher.add_listener("core.request", listener)

    await dispatcher.adispatch("core.request", event)

    listener.assert_awaited_once_with(event)


async def test_an_async_mock_may_be_a_class_attribute() -> None:
    class Subscriber:
        on_request = AsyncMock()

        def subscribe(self, dispatcher: AsyncEventDispatcher) -> None:
            dispatcher.add_listener("core.request", self.on_request)

    dispatcher, event = AsyncEventDispatcher(), Event()
    Subscriber().subscribe(dispatcher)

    await dispatcher.adispatch("core.request", event)

    Subscriber.on_request.assert_awaited_once_with(event)


async def test_an_async_mock_may_fail() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("core.request", AsyncMock(side_effect=LookupError))

    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.request")


def test_async_mocks_are_different_listeners() -> None:
    dispatcher, one, other = AsyncEventDispatcher(), AsyncMock(), AsyncMock()
    dispatcher.add_listener("core.request", one)
    dispatcher.add_listener("core.request", other)

    dispatcher.remove_listener("core.request", one)

    assert dispatcher.get_listeners("core.request") == (other,)


async def test_the_same_function_twice_runs_twice() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    listener = make_recording_listener(dispatcher, log, "heard")
    dispatcher.add_listener("core.view", listener)
    dispatcher.add_listener("core.view", listener)

    await dispatcher.adispatch("core.view")

    assert log == ["heard", "heard"]


async def test_priorities_reach_from_minus_100_to_100() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    for priority in range(100, -101, -1):
        dispatcher.add_listener("core.request", make_recording_listener(dispatcher, log, priority), priority=priority)

    await dispatcher.adispatch("core.request")

    assert log == list(range(-100, 101))


async def test_an_exception_is_not_wrapped() -> None:
    dispatcher, error = AsyncEventDispatcher(), LookupError("no such route")

    @dispatcher.listen("core.request")
    async def fail(event: Event) -> None:
        raise error

    with pytest.raises(LookupError, match="no such route") as caught:
        await dispatcher.adispatch("core.request")

    assert (caught.value is error, error.__cause__, error.__context__) == (True, None, None)


def test_bound_methods_are_removed_by_equality() -> None:
    class Subscriber:
        async def on_response(self, event: Event) -> None: ...

        def subscribe(self, dispatcher: AsyncEventDispatcher) -> None:
            dispatcher.add_listener("core.response", self.on_response)

        def unsubscribe(self, dispatcher: AsyncEventDispatcher) -> None:
            dispatcher.remove_listener("core.response", self.on_response)

    dispatcher, one, other = AsyncEventDispatcher(), Subscriber(), Subscriber()
    one.subscribe(dispatcher)
    other.subscribe(dispatcher)

    one.unsubscribe(dispatcher)

    assert dispatcher.get_listeners("core.response") == (other.on_response,)


# A subclass in the shape of HARP's


class LoggingDispatcher(AsyncEventDispatcher):
    """Logs what HARP's dispatcher logs, in the way it does."""

    def __init__(self, *, logger: Any = None) -> None:
        self.logger = logger or logging.getLogger(__name__)
        super().__init__()

    def add_listener(  # type: ignore[override]  # older than the options, and it returns nothing
        self, event_id: str, listener: IListener, /, *, priority: int = 0
    ) -> None:
        # As HARP writes it, f-strings and all.
        self.logger.debug(f"[Add] {event_id} ({listener})")  # noqa: G004
        super().add_listener(event_id, listener, priority=priority)

    async def adispatch(  # type: ignore[override]
        self, event_id: str, event: IEvent | None = None, /
    ) -> IDispatchedEvent:
        self.logger.info(f"[Dispatch] {event_id} ({type(event).__name__})")  # noqa: G004
        try:
            return await super().adispatch(event_id, event)  # type: ignore[arg-type]
        except Exception as e:
            self.logger.error(f"[Error] {event_id} ({type(event).__name__}) failed: {type(e).__name__}: {e}")  # noqa: G004
            raise

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        for listener in listeners:
            self.logger.debug(f"[DispatchOne] listener: {listener}")  # noqa: G004
            await listener(event)
            if event.propagation_stopped:
                break


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, line: str) -> None:
        self.lines.append(line)

    info = error = debug


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def logging_dispatcher(lines: Lines) -> LoggingDispatcher:
    return LoggingDispatcher(logger=lines)


async def test_the_subclass_sets_its_attributes_before_the_constructor_of_its_base() -> None:
    dispatcher = LoggingDispatcher()

    assert (dispatcher.logger.name, dispatcher.has_listeners()) == (__name__, False)


async def test_the_subclass_logs_what_harps_does(logging_dispatcher: LoggingDispatcher, lines: Lines) -> None:
    listener = make_recording_listener(logging_dispatcher, [], None)
    logging_dispatcher.add_listener("core.request", listener)

    await logging_dispatcher.adispatch("core.request", RequestEvent("GET /"))

    assert lines.lines == [
        f"[Add] core.request ({listener})",
        "[Dispatch] core.request (RequestEvent)",
        f"[DispatchOne] listener: {listener}",
    ]


async def test_the_subclass_dispatches_names_and_returns_the_event(logging_dispatcher: LoggingDispatcher) -> None:
    event = RequestEvent("GET /")

    assert await logging_dispatcher.adispatch("core.request", event) is event
    assert (event.name, event.dispatcher) == ("core.request", logging_dispatcher)


async def test_the_subclass_dispatches_a_name_alone(logging_dispatcher: LoggingDispatcher) -> None:
    given: list[Any] = []
    logging_dispatcher.add_listener("core.started", make_listener(logging_dispatcher, given.append))

    event = await logging_dispatcher.adispatch("core.started")

    assert given == [event]


async def test_the_subclass_runs_in_order_and_stops(logging_dispatcher: LoggingDispatcher) -> None:
    log: list[int] = []
    logging_dispatcher.add_listener("core.view", make_recording_listener(logging_dispatcher, log, 3), priority=100)
    logging_dispatcher.add_listener("core.view", make_recording_listener(logging_dispatcher, log, 2))
    logging_dispatcher.add_listener("core.view", make_recording_listener(logging_dispatcher, log, 1), priority=-100)
    logging_dispatcher.add_listener(
        "core.view", make_listener(logging_dispatcher, lambda event: event.stop_propagation())
    )

    event = await logging_dispatcher.adispatch("core.view", Event())

    assert (log, event.propagation_stopped) == ([1, 2], True)


async def test_the_subclass_logs_and_raises_errors(logging_dispatcher: LoggingDispatcher, lines: Lines) -> None:
    error = LookupError("no such route")
    logging_dispatcher.add_listener("core.request", AsyncMock(side_effect=error))

    with pytest.raises(LookupError) as caught:
        await logging_dispatcher.adispatch("core.request", RequestEvent("GET /"))

    assert caught.value is error
    assert lines.lines[-1] == "[Error] core.request (RequestEvent) failed: LookupError: no such route"


async def test_the_error_of_a_subclass_carries_one_note_that_names_the_listener(
    logging_dispatcher: LoggingDispatcher,
) -> None:
    @logging_dispatcher.listen("core.request")
    async def find_route(event: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        await logging_dispatcher.adispatch("core.request", RequestEvent("GET /"))

    [note] = caught.value.__notes__
    assert all(part in note for part in ("find_route", "'core.request'", "RequestEvent"))


async def test_listen_passes_through_an_overridden_add_listener(
    logging_dispatcher: LoggingDispatcher, lines: Lines
) -> None:
    log: list[str] = []
    logging_dispatcher.listen("core.view", priority=4)(make_recording_listener(logging_dispatcher, log, "heard"))

    await logging_dispatcher.adispatch("core.view", Event())

    assert (log, lines.lines[0].startswith("[Add] core.view")) == (["heard"], True)


async def test_temporarily_passes_through_an_overridden_add_listener(
    logging_dispatcher: LoggingDispatcher, lines: Lines
) -> None:
    log: list[str] = []

    with logging_dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", make_recording_listener(logging_dispatcher, log, "heard"))
        await logging_dispatcher.adispatch("core.view", Event())

    assert (log, lines.lines[0].startswith("[Add] core.view")) == (["heard"], True)


def test_temporarily_takes_back_what_an_overridden_add_listener_did_not_return(
    logging_dispatcher: LoggingDispatcher,
) -> None:
    with logging_dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", make_listener(logging_dispatcher, print))
        registrar.listen("core.view")(make_listener(logging_dispatcher, print))

    assert not logging_dispatcher.has_listeners()


async def test_an_option_that_an_overridden_add_listener_does_not_know_works_by_listen(
    logging_dispatcher: LoggingDispatcher,
) -> None:
    log: list[str] = []
    logging_dispatcher.listen("core.view", once=True)(make_recording_listener(logging_dispatcher, log, "heard"))

    for _ in range(2):
        await logging_dispatcher.adispatch("core.view", Event())

    assert log == ["heard"]


def test_an_overridden_add_listener_that_refuses_registers_nothing() -> None:
    class Refusing(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]
            raise PermissionError

    dispatcher = Refusing()

    with pytest.raises(PermissionError), dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


def test_an_overridden_add_listener_may_register_another_listener_in_the_place_of_the_given() -> None:
    class Wrapping(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]
            async def wrapper(event: Any) -> None:
                await listener(event)

            super().add_listener(event_id, wrapper, priority=priority)

    dispatcher = Wrapping()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", make_listener(dispatcher, print))
        inside = dispatcher.has_listeners("core.view")

    assert (inside, dispatcher.has_listeners("core.view")) == (True, False)


def test_temporarily_leaves_alone_what_an_overridden_add_listener_registers_elsewhere() -> None:
    class Auditing(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]
            audit.add_listener("registered", make_listener(audit, print))
            super().add_listener(event_id, listener, priority=priority)

    audit, dispatcher = AsyncEventDispatcher(), Auditing()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", make_listener(dispatcher, print))

    assert (audit.has_listeners(), dispatcher.has_listeners()) == (True, False)


# Guarded listeners


class Keeping(AsyncEventDispatcher):
    """Keeps the listeners that it is given, and runs them as its base does."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        super().__init__()

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        self.given.extend(listeners)
        await super()._adispatch(listeners, event)


async def route(event: Event) -> None:
    """Find the route."""


async def test_super_adispatch_runs_and_stops() -> None:
    dispatcher = Keeping()
    log: list[Any] = []
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "first"))
    dispatcher.add_listener("core.view", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "later"))

    await dispatcher.adispatch("core.view", Event())

    assert log == ["first"]


async def test_super_adispatch_runs_bare_events() -> None:
    dispatcher = Keeping()
    given: list[Any] = []
    dispatcher.add_listener("core.view", make_listener(dispatcher, given.append))

    await dispatcher.adispatch("core.view", event := object())

    assert given == [event]


async def test_guarded_listeners_look_like_the_listeners() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    [guarded] = dispatcher.given
    assert (repr(guarded), str(guarded), f"{guarded}") == (repr(route), str(route), f"{route}")


async def test_guarded_listeners_equal_the_listeners() -> None:
    class Subscriber:
        async def on_view(self, event: Event) -> None: ...

    dispatcher, subscriber = Keeping(), Subscriber()
    dispatcher.add_listener("core.view", route)
    dispatcher.add_listener("core.view", subscriber.on_view)

    await dispatcher.adispatch("core.view", Event())

    assert dispatcher.given == [route, subscriber.on_view]
    assert [route, subscriber.on_view] == dispatcher.given
    assert dispatcher.given != [subscriber.on_view, route]


async def test_guarded_listeners_are_found_where_the_listeners_are_kept() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    assert {route: "known"}.get(dispatcher.given[0]) == "known"
    assert dispatcher.given[0] in (route,)


async def test_guarded_listeners_have_the_attributes_of_the_listeners() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    [guarded] = dispatcher.given
    assert (guarded.__name__, guarded.__qualname__) == ("route", "route")


async def test_guarded_listeners_are_async_callables() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("core.view", route)
    await dispatcher.adispatch("core.view", Event())

    coroutine = dispatcher.given[0](Event())

    assert inspect.iscoroutine(coroutine)
    await coroutine


async def test_a_guarded_listener_may_be_registered_in_its_turn() -> None:
    dispatcher, other = Keeping(), AsyncEventDispatcher()
    dispatcher.add_listener("core.view", route)
    await dispatcher.adispatch("core.view", Event())

    other.add_listener("core.view", dispatcher.given[0])

    assert other.get_listeners("core.view") == (route,)


async def test_a_guarded_listener_does_nothing_once_it_was_removed() -> None:
    dispatcher = Keeping()
    log: list[Any] = []
    leaving = make_recording_listener(dispatcher, log, "leaving")
    dispatcher.add_listener(
        "core.view", make_listener(dispatcher, lambda event: dispatcher.remove_listener("core.view", leaving))
    )
    dispatcher.add_listener("core.view", leaving)

    await dispatcher.adispatch("core.view", Event())

    assert log == []


async def test_a_guarded_once_listener_is_called_once() -> None:
    dispatcher = Keeping()
    log: list[Any] = []
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "heard"), once=True)

    for _ in range(2):
        await dispatcher.adispatch("core.view", Event())

    assert log == ["heard"]


async def test_a_listener_that_was_added_meanwhile_is_given_to_the_next_dispatch() -> None:
    dispatcher = Keeping()
    log: list[Any] = []
    late = make_recording_listener(dispatcher, log, "late")
    dispatcher.add_listener(
        "core.view", make_listener(dispatcher, lambda event: dispatcher.add_listener("core.view", late)), once=True
    )

    await dispatcher.adispatch("core.view", Event())
    in_the_first = list(log)
    await dispatcher.adispatch("core.view", Event())

    assert (in_the_first, log) == ([], ["late"])


async def test_a_subclass_may_run_its_listeners_otherwise() -> None:
    class Together(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            async with anyio.create_task_group() as group:
                for listener in listeners:
                    group.start_soon(listener, event)

    dispatcher, log, go_on = Together(), [], anyio.Event()

    @dispatcher.listen("core.view")
    async def wait(event: Event) -> None:
        await go_on.wait()
        log.append("waited")

    @dispatcher.listen("core.view", priority=1)
    async def release(event: Event) -> None:
        go_on.set()

    await dispatcher.adispatch("core.view", Event())

    assert log == ["waited"]


async def test_a_nested_dispatch_of_a_subclass_puts_the_outer_one_back() -> None:
    dispatcher, seen = Keeping(), []

    @dispatcher.listen("outer")
    async def nest(event: Event) -> None:
        await dispatcher.adispatch("inner", event)
        seen.append((event.name, event.propagation_stopped))

    dispatcher.add_listener("inner", make_listener(dispatcher, Event.stop_propagation))
    await dispatcher.adispatch("outer", Event())

    assert seen == [("outer", False)]


# Another strategy than a subclass can follow


@pytest.mark.parametrize("strategy", [Concurrent(), Race(), Sequential(errors="collect")], ids=repr)
async def test_another_strategy_for_a_dispatch_of_a_subclass_is_refused(strategy: Any) -> None:
    dispatcher, event = Keeping(), Event()
    dispatcher.add_listener("core.view", route)

    with pytest.raises(TypeError, match="Keeping overrides _adispatch"):
        await dispatcher.adispatch("core.view", event, strategy=strategy)

    assert (dispatcher.given, vars(event)) == ([], {})


@pytest.mark.parametrize("strategy", [Concurrent(), Race(), Sequential(errors="collect")], ids=repr)
def test_another_strategy_of_a_subclass_is_refused_by_its_constructor(strategy: Any) -> None:
    class Choosing(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None: ...

    with pytest.raises(TypeError, match="Choosing overrides _adispatch"):
        Choosing(strategy=strategy)


async def test_the_sequential_strategy_of_a_subclass_is_its_own() -> None:
    dispatcher = Keeping()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event(), strategy=Sequential())

    assert dispatcher.given == [route]


async def test_a_subclass_that_overrides_something_else_may_have_any_strategy() -> None:
    class Adding(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:  # type: ignore[override]
            super().add_listener(event_id, listener, priority=priority)

    dispatcher = Adding(strategy=Concurrent())
    log: list[Any] = []
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch("core.view", Event(), strategy=Race())

    assert log == ["heard"]


async def test_an_override_is_inherited() -> None:
    class Grandchild(Keeping): ...

    dispatcher = Grandchild()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    assert dispatcher.given == [route]


async def test_an_override_may_come_from_a_mixin() -> None:
    class Mixin:
        given: list[Any]

        async def _adispatch(self, listeners: Any, event: Any) -> None:
            self.given = list(listeners)

    class Mixed(Mixin, AsyncEventDispatcher): ...

    dispatcher = Mixed()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    assert dispatcher.given == [route]


async def test_an_error_of_the_override_itself_leaves_unchanged() -> None:
    class Failing(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            raise LookupError

    dispatcher, event = Failing(), Event()

    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.view", event)

    assert (event.name, event.dispatcher) == ("core.view", dispatcher)


def test_a_sync_subclass_gets_guarded_listeners_as_well() -> None:
    given: list[Any] = []

    class Seeing(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            given.extend(listeners)
            super().do_dispatch(listeners, event)

    dispatcher = Seeing()
    heard: list[Any] = []
    dispatcher.add_listener("core.view", heard.append)

    event = dispatcher.dispatch("core.view", Event())

    assert (given, [repr(listener) for listener in given], heard) == ([heard.append], [repr(heard.append)], [event])


@pytest.mark.parametrize("errors", ["collect", print], ids=repr)
def test_another_policy_of_a_sync_subclass_is_refused(errors: Any) -> None:
    class Seeing(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None: ...

    with pytest.raises(TypeError, match="Seeing overrides do_dispatch"):
        Seeing(errors=errors)


def test_the_shape_of_a_listener_is_any_callable_of_an_event() -> None:
    listener: Callable[[Any], Awaitable[None]] = route
    as_protocol: IListener = listener

    assert AsyncEventDispatcher().add_listener("core.view", as_protocol).listener is route
