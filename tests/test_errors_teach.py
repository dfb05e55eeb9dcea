"""Bad input: each a clear error at the call, with nothing registered and nothing lost.

A message says what came, what was expected, and what to write instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import AsyncMock

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address


async def coroutine_function(event: Event) -> None: ...


def plain_function(event: Event) -> None: ...


async def async_handler(error: Exception, event: Any, listener: Any) -> None: ...


class AsyncHandler:
    async def __call__(self, error: Exception, event: Any, listener: Any) -> None: ...


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __repr__(self) -> str:
        return "<unhashable>"


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")


def add_listener(dispatcher: Any, key: Any, listener: Any, **options: Any) -> None:
    dispatcher.add_listener(key, listener, **options)


def listen(dispatcher: Any, key: Any, listener: Any, **options: Any) -> None:
    dispatcher.listen(key, **options)(listener)


def temporarily_add_listener(dispatcher: Any, key: Any, listener: Any, **options: Any) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.add_listener(key, listener, **options)


def temporarily_listen(dispatcher: Any, key: Any, listener: Any, **options: Any) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.listen(key, **options)(listener)


Door = Callable[..., None]
REGISTRATION_METHODS: list[Door] = [add_listener, listen, temporarily_add_listener, temporarily_listen]


@pytest.fixture(params=REGISTRATION_METHODS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Door:
    chosen: Door = request.param
    return chosen


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    """A dispatcher to which one listener listens already."""
    made: AnyDispatcher = request.param()
    made.add_listener("kept", make_listener(made, lambda event: None))
    return made


@contextmanager
def refused(dispatcher: AnyDispatcher, kind: type[Exception] = TypeError) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error that leaves the registrations as they were."""
    before = dispatcher.get_listeners()
    with pytest.raises(kind) as caught:
        yield caught
    assert dispatcher.get_listeners() == before


# Listeners


@pytest.mark.parametrize("listener", [None, 7, "listener", [plain_function], Event()], ids=without_address)
def test_a_listener_that_is_not_callable_is_refused(dispatcher: AnyDispatcher, door: Door, listener: Any) -> None:
    with refused(dispatcher) as caught:
        door(dispatcher, "hymn", listener)

    assert all(part in str(caught.value) for part in ("a listener is", repr(listener), type(listener).__name__))


def test_a_plain_function_is_refused_by_an_async_dispatcher_with_its_mends(door: Door) -> None:
    dispatcher = AsyncEventDispatcher()

    with refused(dispatcher) as caught:
        door(dispatcher, "hymn", plain_function)

    assert all(
        part in str(caught.value)
        for part in (repr(plain_function), "async def", "inline(plain_function)", "in_thread(plain_function)")
    )


def test_a_coroutine_function_is_refused_by_a_sync_dispatcher_which_names_the_other_one(door: Door) -> None:
    dispatcher = EventDispatcher()

    with refused(dispatcher) as caught:
        door(dispatcher, "hymn", coroutine_function)

    assert all(part in str(caught.value) for part in (repr(coroutine_function), "async", "AsyncEventDispatcher"))


def test_a_listener_with_a_failing_repr_is_refused_all_the_same(dispatcher: AnyDispatcher, door: Door) -> None:
    with refused(dispatcher) as caught:
        door(dispatcher, "hymn", BadRepr())

    assert "BadRepr" in str(caught.value)


def test_a_coroutine_in_the_place_of_a_function_is_refused(dispatcher: AnyDispatcher, door: Door) -> None:
    coroutine = coroutine_function(Event())

    with refused(dispatcher):
        door(dispatcher, "hymn", coroutine)

    coroutine.close()


def test_a_refused_listener_of_a_known_key_leaves_the_earlier_ones(dispatcher: AnyDispatcher, door: Door) -> None:
    with refused(dispatcher):
        door(dispatcher, "kept", None)


async def test_the_next_dispatch_goes_on_as_before_after_a_refusal(door: Door) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
    await dispatcher.adispatch("hymn", Event())

    with refused(dispatcher):
        door(dispatcher, "hymn", plain_function, priority=-1)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["heard", "heard"]


# Keys


@pytest.mark.parametrize("key", [["hymn"], {"hymn": 1}, {"hymn"}, Unhashable(), ("hymn", [])], ids=repr)
def test_an_unhashable_key_is_refused(dispatcher: AnyDispatcher, door: Door, key: Any) -> None:
    with refused(dispatcher) as caught:
        door(dispatcher, key, make_listener(dispatcher, print))

    assert all(part in str(caught.value) for part in ("a key must be hashable", repr(key), '"order.placed"'))


def test_none_is_no_key(dispatcher: AnyDispatcher, door: Door) -> None:
    with refused(dispatcher) as caught:
        door(dispatcher, None, make_listener(dispatcher, print))

    assert "None is not a key" in str(caught.value)


@pytest.mark.parametrize("key", [["hymn"], Unhashable()], ids=repr)
def test_an_unhashable_key_is_refused_when_it_is_removed(dispatcher: AnyDispatcher, key: Any) -> None:
    with refused(dispatcher) as caught:
        dispatcher.remove_listener(key, make_listener(dispatcher, print))

    assert "a key must be hashable" in str(caught.value)


@pytest.mark.parametrize("look", ["get_listeners", "has_listeners"])
def test_an_unhashable_key_is_refused_when_it_is_looked_up(dispatcher: AnyDispatcher, look: str) -> None:
    with refused(dispatcher) as caught:
        getattr(dispatcher, look)(["hymn"])

    assert "a key must be hashable" in str(caught.value)


@pytest.mark.parametrize("event", [Event(), object()], ids=["event", "bare event"])
async def test_an_unhashable_name_is_refused_by_a_dispatch(dispatcher: AnyDispatcher, event: Any) -> None:
    with refused(dispatcher) as caught:
        await dispatcher.adispatch(["hymn"], event)  # type: ignore[call-overload]  # that is its subject

    assert "a key must be hashable" in str(caught.value)


async def test_a_refused_dispatch_leaves_the_event_as_it_was(dispatcher: AnyDispatcher) -> None:
    event = Event()

    with refused(dispatcher):
        await dispatcher.adispatch(["hymn"], event)  # type: ignore[call-overload]  # that is its subject

    assert vars(event) == {}


def test_listen_without_its_key_shows_how_to_write_it(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher) as caught:

        @dispatcher.listen
        def sing(event: Event) -> None: ...

    assert '@dispatcher.listen("order.placed")' in str(caught.value)
    assert "sing" in str(caught.value)


def test_listen_of_a_registrar_without_its_key_shows_how_to_write_it(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar, refused(dispatcher) as caught:

        @registrar.listen
        def sing(event: Event) -> None: ...

    assert 'listen("order.placed")' in str(caught.value)


# Priorities


@pytest.mark.parametrize("priority", ["high", 1.5, None, "1", (1,), Unhashable()], ids=repr)
def test_a_priority_that_is_no_int_is_refused(dispatcher: AnyDispatcher, door: Door, priority: Any) -> None:
    with refused(dispatcher) as caught:
        door(dispatcher, "hymn", make_listener(dispatcher, print), priority=priority)

    assert all(part in str(caught.value) for part in ("a priority is an int", repr(priority), type(priority).__name__))


@pytest.mark.parametrize("bad", [{"priority": "high"}, {"priority": None}], ids=repr)
@pytest.mark.parametrize("of_registrar", [False, True], ids=["dispatcher", "registrar"])
def test_listen_refuses_its_arguments_before_it_sees_a_function(
    dispatcher: AnyDispatcher, bad: dict[str, Any], of_registrar: bool
) -> None:
    with dispatcher.temporarily() as registrar, refused(dispatcher):
        listener_door: Any = registrar if of_registrar else dispatcher
        listener_door.listen("hymn", **bad)


@pytest.mark.parametrize("key", [None, ["hymn"]], ids=repr)
@pytest.mark.parametrize("of_registrar", [False, True], ids=["dispatcher", "registrar"])
def test_listen_refuses_its_key_before_it_sees_a_function(
    dispatcher: AnyDispatcher, key: Any, of_registrar: bool
) -> None:
    with dispatcher.temporarily() as registrar, refused(dispatcher):
        listener_door: Any = registrar if of_registrar else dispatcher
        listener_door.listen(key)


def test_the_options_are_keyword_only(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher):
        dispatcher.add_listener("hymn", make_listener(dispatcher, print), 5)  # type: ignore[call-arg]  # that is its subject


def test_key_and_listener_are_positional_only(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher):
        dispatcher.add_listener(key="hymn", listener=make_listener(dispatcher, print))  # type: ignore[call-arg]  # that is its subject


def test_an_option_that_there_is_not_is_refused(dispatcher: AnyDispatcher, door: Door) -> None:
    with refused(dispatcher):
        door(dispatcher, "hymn", make_listener(dispatcher, print), prioritty=5)


# Strategies


BAD_STRATEGIES = pytest.mark.parametrize(
    "strategy", ["concurrent", 7, 0, "", object(), plain_function], ids=without_address
)


@BAD_STRATEGIES
def test_a_strategy_that_is_none_is_refused_by_the_constructor(strategy: Any) -> None:
    with pytest.raises(TypeError) as caught:
        AsyncEventDispatcher(strategy=strategy)

    assert all(part in str(caught.value) for part in ("strategy= is", "Concurrent()", repr(strategy)))


@BAD_STRATEGIES
@pytest.mark.parametrize("name", ["kept", "nobody hears"])
async def test_a_strategy_that_is_none_is_refused_by_a_dispatch(strategy: Any, name: str) -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("kept", make_recording_listener(dispatcher, log, "heard"))

    with refused(dispatcher) as caught:
        await dispatcher.adispatch(name, Event(), strategy=strategy)

    assert (log, "strategy= is" in str(caught.value)) == ([], True)


@pytest.mark.parametrize("strategy", [Sequential, Concurrent, Race], ids=lambda strategy: strategy.__name__)
async def test_the_class_of_a_strategy_is_refused_with_the_way_to_write_it(strategy: Any) -> None:
    with pytest.raises(TypeError, match=rf"write {strategy.__name__}\(\)"):
        AsyncEventDispatcher(strategy=strategy)
    with pytest.raises(TypeError, match=rf"write {strategy.__name__}\(\)"):
        await AsyncEventDispatcher().adispatch("hymn", Event(), strategy=strategy)


async def test_a_dispatch_that_was_refused_for_its_strategy_leaves_the_event_as_it_was() -> None:
    event: Any = Event()

    with pytest.raises(TypeError):
        await AsyncEventDispatcher().adispatch("hymn", event, strategy="concurrent")  # type: ignore[call-overload]

    assert vars(event) == {}


async def test_a_dispatch_that_was_refused_leaves_a_once_listener_its_call() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", coroutine_function, once=True)

    with refused(dispatcher):
        await dispatcher.adispatch("hymn", Event(), strategy="concurrent")  # type: ignore[call-overload]

    assert dispatcher.has_listeners("hymn")


@pytest.mark.parametrize("limit", [0, -1, -(10**9)])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1.*got {limit}"):
        Concurrent(limit)


@pytest.mark.parametrize("limit", ["2", 1.0, True, [2], Unhashable()], ids=repr)
def test_a_limit_that_is_no_int_is_refused(limit: Any) -> None:
    with pytest.raises(TypeError, match="an int or None") as caught:
        Concurrent(limit)

    assert repr(limit) in str(caught.value)


# Error policies


def with_errors(make: Callable[..., Any]) -> Any:
    return pytest.param(make, id=make.__name__)


TAKES_ERRORS = pytest.mark.parametrize(
    "make", [with_errors(m) for m in (Sequential, Concurrent, Race, EventDispatcher)]
)


@TAKES_ERRORS
@pytest.mark.parametrize("errors", ["ignore", "", "Raise"], ids=repr)
def test_an_unknown_error_policy_is_refused(make: Any, errors: str) -> None:
    with pytest.raises(ValueError, match='"raise", "collect", "log" or a plain function') as caught:
        make(errors=errors)

    assert repr(errors) in str(caught.value)


@TAKES_ERRORS
@pytest.mark.parametrize("errors", [None, 7, True, ["raise"], Unhashable()], ids=repr)
def test_an_error_policy_that_is_neither_a_string_nor_a_function_is_refused(make: Any, errors: Any) -> None:
    with pytest.raises(TypeError, match='"raise", "collect", "log" or a plain function') as caught:
        make(errors=errors)

    assert repr(errors) in str(caught.value)


@TAKES_ERRORS
@pytest.mark.parametrize(
    "handler",
    [async_handler, functools.partial(async_handler), AsyncHandler(), AsyncHandler().__call__, AsyncMock()],
    ids=["function", "partial", "object", "method", "AsyncMock"],
)
def test_an_async_error_handler_is_refused(make: Any, handler: Any) -> None:
    with pytest.raises(TypeError, match="is async") as caught:
        make(errors=handler)

    assert "plain function" in str(caught.value)


# Adapters


@pytest.mark.parametrize("way", ["ignore", "", None, True, ["inline"], Unhashable()], ids=repr)
def test_an_unknown_way_with_sync_listeners_is_refused(way: Any) -> None:
    with pytest.raises((ValueError, TypeError), match='"refuse", "inline" or "thread"') as caught:
        AsyncEventDispatcher(sync_listeners=way)

    assert repr(way) in str(caught.value)


# Dispatches


async def test_a_dispatch_of_nothing_is_refused(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher) as caught:
        await dispatcher.adispatch(None)

    assert "a name, an event, or both" in str(caught.value)


async def test_a_dispatch_without_arguments_is_refused(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher):
        await dispatcher.adispatch()  # type: ignore[call-overload,call-arg]  # that is its subject


async def test_a_dispatch_of_a_class_shows_how_to_make_the_event(dispatcher: AnyDispatcher) -> None:
    class OrderPlaced(Event): ...

    with refused(dispatcher) as caught:
        await dispatcher.adispatch(OrderPlaced)

    assert "OrderPlaced(...)" in str(caught.value)


def test_the_dispatch_of_a_sync_dispatcher_refuses_the_same() -> None:
    dispatcher: Any = EventDispatcher()

    for arguments in ((None,), (Event,), (["hymn"], Event())):
        with pytest.raises(TypeError):
            dispatcher.dispatch(*arguments)


def test_dispatch_of_an_async_dispatcher_shows_what_to_await() -> None:
    with pytest.raises(NotImplementedError, match=r"await dispatcher\.adispatch\('hymn'"):
        AsyncEventDispatcher().dispatch("hymn")


# Removing


def test_removing_what_is_not_there_names_the_listener_and_where_to_look(dispatcher: AnyDispatcher) -> None:
    with refused(dispatcher, ValueError) as caught:
        dispatcher.remove_listener("hymn", plain_function)

    assert all(
        part in str(caught.value)
        for part in (repr(plain_function), "does not listen to 'hymn'", "get_listeners('hymn')")
    )


def test_removing_what_is_not_there_survives_a_failing_repr(dispatcher: AnyDispatcher) -> None:
    bad_listener: Any = BadRepr()

    with refused(dispatcher, ValueError) as caught:
        dispatcher.remove_listener(BadRepr(), bad_listener)

    assert "BadRepr" in str(caught.value)


# Handles, names


def test_the_repr_of_a_subscription_survives_a_failing_repr() -> None:
    class Listener(BadRepr):
        def __call__(self, event: Event) -> None: ...

    subscription = EventDispatcher().add_listener(BadRepr(), Listener())

    assert "BadRepr" in repr(subscription)
