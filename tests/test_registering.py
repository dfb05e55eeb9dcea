"""Rules 1 to 4: what is a listener, in which order listeners run, and how they leave."""

from __future__ import annotations

import functools
import inspect
import random
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
from tests.helpers import BOTH, AnyDispatcher, Listener, make_listener, make_recording_listener
from tests.naming import without_address


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    made: AnyDispatcher = request.param()
    return made


# Order


async def test_lower_priorities_run_first(dispatcher: AnyDispatcher) -> None:
    log: list[int] = []
    for priority in (5, -100, 0, 100, -5):
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, priority), priority=priority)

    await dispatcher.adispatch("hymn", Event())

    assert log == [-100, -5, 0, 5, 100]


async def test_equal_priorities_keep_the_order_of_registration(dispatcher: AnyDispatcher) -> None:
    log: list[int] = []
    for number in range(20):
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, number), priority=3)

    await dispatcher.adispatch("hymn", Event())

    assert log == list(range(20))


async def test_the_default_priority_is_zero(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "after"), priority=1)
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "default"))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "before"), priority=-1)

    await dispatcher.adispatch("hymn", Event())

    assert log == ["before", "default", "after"]


async def test_any_int_is_a_priority(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "last"), priority=10**30)
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "first"), priority=-(10**30))

    await dispatcher.adispatch("hymn", Event())

    assert log == ["first", "last"]


async def test_a_listener_that_comes_back_goes_to_the_end_of_its_priority(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    one, two = make_recording_listener(dispatcher, log, "one"), make_recording_listener(dispatcher, log, "two")
    dispatcher.add_listener("hymn", one)
    dispatcher.add_listener("hymn", two)

    dispatcher.remove_listener("hymn", one)
    dispatcher.add_listener("hymn", one)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["two", "one"]


async def test_equal_listeners_keep_their_places_between_others(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    same, other = make_recording_listener(dispatcher, log, "same"), make_recording_listener(dispatcher, log, "other")
    dispatcher.add_listener("hymn", same)
    dispatcher.add_listener("hymn", other)
    dispatcher.add_listener("hymn", same)

    await dispatcher.adispatch("hymn", Event())

    assert log == ["same", "other", "same"]


def test_the_order_of_registration_is_counted_for_the_whole_process() -> None:
    first = EventDispatcher().add_listener("hymn", print)
    second = EventDispatcher().add_listener("hymn", print)

    assert first.order < second.order


# What a listener is: async dispatchers


async def coroutine_function(event: Event) -> None: ...


def plain_function(event: Event) -> None: ...


class Cantor:
    async def sing(self, event: Event) -> None: ...

    @staticmethod
    async def still(event: Event) -> None: ...

    @classmethod
    async def classy(cls, event: Event) -> None: ...

    def speak(self, event: Event) -> None: ...


class AsyncCallable:
    async def __call__(self, event: Event) -> None: ...


class InheritedAsyncCallable(AsyncCallable): ...


class PlainCallable:
    def __call__(self, event: Event) -> None: ...


async def with_more(more: str, event: Event) -> None: ...


async def generator(event: Event) -> Any:
    yield event


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(event: Event) -> Any:
        return function(event)

    return wrapper


ASYNC_LISTENERS: dict[str, Any] = {
    "coroutine function": coroutine_function,
    "bound method": Cantor().sing,
    "static method": Cantor.still,
    "class method": Cantor.classy,
    "partial": functools.partial(with_more, "more"),
    "partial of a partial": functools.partial(functools.partial(with_more, "more")),
    "partial of a bound method": functools.partial(Cantor().sing),
    "partial of an async callable": functools.partial(AsyncCallable()),
    "object with async __call__": AsyncCallable(),
    "object with inherited async __call__": InheritedAsyncCallable(),
    "its bound __call__": AsyncCallable().__call__,
    "AsyncMock": AsyncMock(),
    "AsyncMock with a spec": AsyncMock(spec=coroutine_function),
    "autospec of a coroutine function": create_autospec(coroutine_function),
    "partial of an AsyncMock": functools.partial(AsyncMock()),
}

OTHER_CALLABLES: dict[str, Any] = {
    "plain function": plain_function,
    "lambda": lambda event: None,
    "lambda around a coroutine function": lambda event: coroutine_function(event),
    "plain wrapper of a coroutine function": wrapped(coroutine_function),
    "plain bound method": Cantor().speak,
    "partial of a plain function": functools.partial(plain_function),
    "builtin": print,
    "class": Cantor,
    "class whose instances are async callables": AsyncCallable,
    "object with plain __call__": PlainCallable(),
    "Mock": Mock(),
    "MagicMock": MagicMock(),
    "async generator function": generator,
}


def kinds(table: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("listener", [pytest.param(value, id=name) for name, value in table.items()])


@kinds(ASYNC_LISTENERS)
async def test_an_async_dispatcher_takes_and_awaits(listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    dispatcher.add_listener("hymn", listener)
    await dispatcher.adispatch("hymn", Event())

    assert dispatcher.get_listeners("hymn") == (listener,)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction came with Python 3.12")
async def test_an_async_dispatcher_takes_what_is_marked_as_a_coroutine_function() -> None:
    log: list[str] = []

    async def sing(event: Event) -> None:
        log.append("sung")

    def marked(event: Event) -> Any:
        return sing(event)

    dispatcher = AsyncEventDispatcher()
    mark: Any = getattr(inspect, "markcoroutinefunction")
    dispatcher.add_listener("hymn", mark(marked))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


@kinds(OTHER_CALLABLES)
def test_an_async_dispatcher_refuses(listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match="async callable"):
        dispatcher.add_listener("hymn", listener)

    assert not dispatcher.has_listeners()


@kinds(ASYNC_LISTENERS)
def test_a_sync_dispatcher_refuses(listener: Any) -> None:
    dispatcher = EventDispatcher()

    with pytest.raises(TypeError, match="async"):
        dispatcher.add_listener("hymn", listener)

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize(
    "listener", [plain_function, Cantor().speak, print, PlainCallable(), MagicMock(), Cantor.speak]
)
def test_a_sync_dispatcher_takes(listener: Any) -> None:
    dispatcher = EventDispatcher()

    dispatcher.add_listener("hymn", listener)

    assert dispatcher.get_listeners("hymn") == (listener,)


# Adding twice, removing


async def test_the_same_listener_added_twice_runs_twice(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    dispatcher.add_listener("hymn", listener)
    dispatcher.add_listener("hymn", listener)

    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung", "sung"]


async def test_remove_listener_removes_every_registration_under_the_key(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    for priority in (0, 7, 0):
        dispatcher.add_listener("hymn", listener, priority=priority)

    dispatcher.remove_listener("hymn", listener)
    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_remove_listener_leaves_other_keys_alone(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    dispatcher.add_listener("hymn", listener)
    dispatcher.add_listener("psalm", listener)

    dispatcher.remove_listener("hymn", listener)
    await dispatcher.adispatch("psalm", Event())

    assert log == ["sung"]


async def test_remove_listener_leaves_other_listeners_alone(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    leaving, staying = (
        make_recording_listener(dispatcher, log, "leaving"),
        make_recording_listener(dispatcher, log, "staying"),
    )
    dispatcher.add_listener("hymn", leaving)
    dispatcher.add_listener("hymn", staying)

    dispatcher.remove_listener("hymn", leaving)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["staying"]


def test_bound_methods_are_removed_by_equality() -> None:
    cantor, dispatcher = Cantor(), AsyncEventDispatcher()
    dispatcher.add_listener("hymn", cantor.sing)

    dispatcher.remove_listener("hymn", cantor.sing)

    assert not dispatcher.has_listeners("hymn")


def test_the_method_of_another_object_is_another_listener() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", Cantor().sing)

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("hymn", Cantor().sing)

    assert dispatcher.has_listeners("hymn")


@pytest.mark.parametrize("key", ["hymn", "psalm"], ids=["of a known key", "of an unknown key"])
def test_removing_a_listener_that_is_not_there_is_an_error(dispatcher: AnyDispatcher, key: str) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    with pytest.raises(ValueError, match=f"does not listen to '{key}'"):
        dispatcher.remove_listener(key, make_listener(dispatcher, print))

    assert len(dispatcher.get_listeners("hymn")) == 1


def test_removing_a_listener_a_second_time_is_an_error(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener)
    dispatcher.remove_listener("hymn", listener)

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("hymn", listener)


# Handles


def test_add_listener_returns_a_subscription_that_tells_what_was_registered(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)

    subscription = dispatcher.add_listener("hymn", listener, priority=4)

    assert isinstance(subscription, Subscription)
    assert (subscription.key, subscription.listener, subscription.priority) == ("hymn", listener, 4)


def test_the_repr_of_a_subscription_names_key_listener_and_priority() -> None:
    subscription = EventDispatcher().add_listener("hymn", plain_function, priority=4)

    assert repr(subscription) == f"<Subscription 'hymn' -> {plain_function!r}, priority 4>"


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_handle_removes_exactly_its_own_registration(dispatcher: AnyDispatcher, which: int) -> None:
    log: list[str] = []
    same = make_recording_listener(dispatcher, log, "same")
    handles = [dispatcher.add_listener("hymn", same, priority=priority) for priority in (0, 5, 9)]
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "mark"), priority=5)

    handles[which].unsubscribe()
    await dispatcher.adispatch("hymn", Event())

    assert log == [["same", "mark", "same"], ["same", "mark", "same"], ["same", "same", "mark"]][which]


def test_a_handle_tells_whether_its_registration_was_still_there(dispatcher: AnyDispatcher) -> None:
    subscription = dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    assert [subscription.unsubscribe(), subscription.unsubscribe()] == [True, False]


def test_the_second_use_of_a_handle_leaves_a_later_registration_of_the_listener_alone(
    dispatcher: AnyDispatcher,
) -> None:
    listener = make_listener(dispatcher, print)
    subscription = dispatcher.add_listener("hymn", listener)
    subscription.unsubscribe()
    dispatcher.add_listener("hymn", listener)

    subscription.unsubscribe()

    assert dispatcher.get_listeners("hymn") == (listener,)


def test_a_handle_is_of_no_use_after_remove_listener(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    subscription = dispatcher.add_listener("hymn", listener)
    dispatcher.remove_listener("hymn", listener)

    assert subscription.unsubscribe() is False


def test_a_handle_is_a_context_manager_that_takes_the_registration_back(dispatcher: AnyDispatcher) -> None:
    with dispatcher.add_listener("hymn", make_listener(dispatcher, print)) as subscription:
        assert isinstance(subscription, Subscription)
        assert dispatcher.has_listeners("hymn")

    assert not dispatcher.has_listeners("hymn")


def test_the_block_of_a_handle_takes_it_back_when_it_raises(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(LookupError), dispatcher.add_listener("hymn", make_listener(dispatcher, print)):
        raise LookupError

    assert not dispatcher.has_listeners("hymn")


def test_the_block_of_a_handle_may_unsubscribe_it_itself(dispatcher: AnyDispatcher) -> None:
    with dispatcher.add_listener("hymn", make_listener(dispatcher, print)) as subscription:
        subscription.unsubscribe()

    assert not dispatcher.has_listeners("hymn")


# listen


async def test_listen_registers_the_decorated_function(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.listen("hymn")(make_recording_listener(dispatcher, log, "sung"))

    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


def test_listen_gives_the_function_back_unchanged(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)

    assert dispatcher.listen("hymn")(listener) is listener


async def test_listen_takes_a_priority(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.listen("hymn")(make_recording_listener(dispatcher, log, "later"))
    dispatcher.listen("hymn", priority=-10)(make_recording_listener(dispatcher, log, "earlier"))

    await dispatcher.adispatch("hymn", Event())

    assert log == ["earlier", "later"]


def test_one_function_may_listen_to_several_keys() -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("hymn")
    @dispatcher.listen("psalm")
    async def sing(event: Event) -> None: ...

    assert dispatcher.get_listeners() == {"psalm": (sing,), "hymn": (sing,)}


# once


async def test_a_once_listener_runs_once(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "sung"), once=True)

    await dispatcher.adispatch("hymn", Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


async def test_nobody_listens_after_the_only_call_of_a_once_listener(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, print), once=True)

    await dispatcher.adispatch("hymn", Event())

    assert not dispatcher.has_listeners()


async def test_listen_takes_once(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.listen("hymn", once=True)(make_recording_listener(dispatcher, log, "sung"))

    await dispatcher.adispatch("hymn", Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


async def test_a_once_listener_that_fails_has_had_its_call(dispatcher: AnyDispatcher) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener("hymn", make_listener(dispatcher, fail), once=True)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("hymn", Event())

    await dispatcher.adispatch("hymn", Event())

    assert not dispatcher.has_listeners()


async def test_a_once_listener_behind_a_stop_keeps_its_call(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    stop = make_listener(dispatcher, Event.stop_propagation)
    dispatcher.add_listener("hymn", stop, priority=-1)
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "sung"), once=True)
    await dispatcher.adispatch("hymn", Event())

    dispatcher.remove_listener("hymn", stop)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


async def test_two_registrations_with_once_are_two_calls(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "sung")
    dispatcher.add_listener("hymn", listener, once=True)
    dispatcher.add_listener("hymn", listener, once=True)

    await dispatcher.adispatch("hymn", Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung", "sung"]


async def test_a_once_listener_is_removed_like_any_other(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener, once=True)

    dispatcher.remove_listener("hymn", listener)

    assert not dispatcher.has_listeners()


async def test_a_once_listener_that_dispatches_its_own_event_again_is_not_called_again(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    sync = isinstance(dispatcher, EventDispatcher)

    def sing_again(event: Event) -> None:
        log.append("sung")
        assert isinstance(dispatcher, EventDispatcher)
        dispatcher.dispatch("hymn", Event())

    async def asing_again(event: Event) -> None:
        log.append("sung")
        await dispatcher.adispatch("hymn", Event())

    listener: Listener = sing_again if sync else asing_again
    dispatcher.add_listener("hymn", listener, once=True)
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


@pytest.mark.parametrize("strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Race()], ids=repr)
async def test_a_once_listener_is_called_once_over_overlapping_dispatches(strategy: Any) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(strategy=strategy), [], anyio.Event()

    @dispatcher.listen("hymn", once=True)
    async def sing(event: Event) -> None:
        log.append("sung")
        await go_on.wait()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(dispatcher.adispatch, "hymn", Event())
        await settle()
        go_on.set()

    assert log == ["sung"]


async def test_once_listeners_that_are_cancelled_while_they_wait_for_their_turn_keep_their_call() -> None:
    dispatcher, started = AsyncEventDispatcher(), []

    async def sing_on(event: Event) -> None:
        started.append("one of them")
        await anyio.sleep_forever()

    for _ in range(3):
        dispatcher.add_listener("hymn", sing_on, once=True)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(dispatcher.adispatch, "hymn", Event(), strategy=Concurrent(limit=1)))
        await settle()
        group.cancel_scope.cancel()

    assert (len(started), len(dispatcher.get_listeners("hymn"))) == (1, 2)


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_a_once_listener_of_a_dispatch_that_was_cancelled_before_it_began_keeps_its_call(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener("hymn", coroutine_function, once=True)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("hymn", Event())

    assert dispatcher.has_listeners("hymn")


# temporarily


async def test_what_is_registered_temporarily_counts_as_usual(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "second"))

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", make_recording_listener(dispatcher, log, "first"), priority=-1)
        await dispatcher.adispatch("hymn", Event())

    assert log == ["first", "second"]


def test_what_is_registered_temporarily_is_taken_back(dispatcher: AnyDispatcher) -> None:
    staying = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", staying)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", staying)
        registrar.listen("psalm")(make_listener(dispatcher, print))

    assert dispatcher.get_listeners() == {"hymn": (staying,)}


def test_what_is_registered_temporarily_is_taken_back_when_the_block_raises(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(LookupError), dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", make_listener(dispatcher, print))
        raise LookupError

    assert not dispatcher.has_listeners()


def test_what_was_registered_temporarily_may_leave_earlier(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", listener)
        dispatcher.remove_listener("hymn", listener)
        dispatcher.add_listener("hymn", listener)

    assert dispatcher.get_listeners("hymn") == (listener,)


def test_what_the_dispatcher_gets_itself_during_the_block_stays(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily():
        dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    assert dispatcher.has_listeners("hymn")


async def test_once_works_temporarily_too(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", make_recording_listener(dispatcher, log, "sung"), once=True)
        await dispatcher.adispatch("hymn", Event())
        await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


def test_an_unused_once_listener_is_taken_back_with_its_block(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.listen("hymn", once=True)(make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


def test_registering_after_the_block_is_an_error(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        registrar.add_listener("hymn", make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


def test_temporary_blocks_nest(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as outer:
        outer.add_listener("outer", make_listener(dispatcher, print))
        with dispatcher.temporarily() as inner:
            inner.add_listener("inner", make_listener(dispatcher, print))
        assert list(dispatcher.get_listeners()) == ["outer"]

    assert not dispatcher.has_listeners()


# Looking up


def test_get_listeners_gives_a_tuple_in_the_order_they_run(dispatcher: AnyDispatcher) -> None:
    listeners = {priority: make_listener(dispatcher, print) for priority in (3, 1, 2)}
    for priority, listener in listeners.items():
        dispatcher.add_listener("hymn", listener, priority=priority)

    assert dispatcher.get_listeners("hymn") == (listeners[1], listeners[2], listeners[3])


def test_get_listeners_of_an_unknown_name_is_empty(dispatcher: AnyDispatcher) -> None:
    assert dispatcher.get_listeners("unknown") == ()


def test_get_listeners_without_a_name_gives_all_of_them_by_key(dispatcher: AnyDispatcher) -> None:
    one, two = make_listener(dispatcher, print), make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", one)
    dispatcher.add_listener("psalm", two)

    assert dispatcher.get_listeners() == {"hymn": (one,), "psalm": (two,)}


def test_changing_what_get_listeners_gave_changes_no_registration(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    dispatcher.get_listeners().clear()

    assert dispatcher.has_listeners("hymn")


def test_has_listeners_tells_of_one_name(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    assert [dispatcher.has_listeners("hymn"), dispatcher.has_listeners("psalm")] == [True, False]


def test_has_listeners_without_a_name_tells_of_the_dispatcher(dispatcher: AnyDispatcher) -> None:
    before = dispatcher.has_listeners()
    dispatcher.add_listener("hymn", make_listener(dispatcher, print))

    assert [before, dispatcher.has_listeners()] == [False, True]


# Keys


class Part(Enum):
    SOPRANO = "soprano"


@pytest.mark.parametrize(
    "key", ["", "soprano", 7, (1, "two"), frozenset({1}), Part.SOPRANO, object(), 1.5, b"bytes"], ids=without_address
)
async def test_any_hashable_is_a_key_that_matches_exactly(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "sung"))

    await dispatcher.adispatch(key, Event())
    await dispatcher.adispatch("another", Event())

    assert log == ["sung"]


async def test_keys_that_are_equal_are_one_key(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener((1, "two"), make_recording_listener(dispatcher, log, "sung"))

    await dispatcher.adispatch((1.0, "two"), Event())

    assert log == ["sung"]


async def test_an_enum_member_is_not_its_value(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener(Part.SOPRANO, make_recording_listener(dispatcher, log, "sung"))

    await dispatcher.adispatch("soprano", Event())

    assert log == []


async def test_random_registrations_run_by_priority_then_age(dispatcher: AnyDispatcher) -> None:
    log: list[tuple[int, int]] = []
    dice = random.Random(7)
    entries = [(dice.randint(-3, 3), number) for number in range(60)]
    for entry in entries:
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, entry), priority=entry[0])

    await dispatcher.adispatch("hymn", Event())

    assert log == sorted(entries)
