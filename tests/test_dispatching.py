"""Rules 7 to 12: what is dispatched, what it shows, and what may happen meanwhile."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Plan, Race, Sequential, Strategy
from antiphon.testing import settle
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener
from tests.naming import without_address


class Placed(Event):
    name = "order.placed"


class Named(Event):
    """Without a name of its own class, for all that its name is."""


class Signal(Enum):
    PLACED = "order.placed"


class StrSignal(StrEnum):
    PLACED = "order.placed"


@dataclass(frozen=True)
class Frozen(Event):
    number: int = 0


class Quacking:
    name: Any = None
    dispatcher: Any = None
    propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


#: Events with full service, each kind on another path through the house.
EVENTS: dict[str, Callable[[], Any]] = {"Event": Event, "frozen dataclass": Frozen, "duck-typed": Quacking}

STRATEGIES: list[Strategy] = [Sequential(), Sequential(errors="collect"), Concurrent(), Race()]

KINDS: dict[str, Callable[[], AnyDispatcher]] = {
    **{repr(strategy): partial(AsyncEventDispatcher, strategy=strategy) for strategy in STRATEGIES},
    "EventDispatcher": EventDispatcher,
    "EventDispatcher that collects": partial(EventDispatcher, errors="collect"),
}

#: Those which run their listeners one after another.
SEQUENTIAL = [name for name in KINDS if not name.startswith(("Concurrent", "Race"))]


@pytest.fixture(params=KINDS)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    return KINDS[request.param]()


@pytest.fixture(params=SEQUENTIAL)
def sequential(request: pytest.FixtureRequest) -> AnyDispatcher:
    return KINDS[request.param]()


@pytest.fixture(params=EVENTS)
def event(request: pytest.FixtureRequest) -> Any:
    return EVENTS[request.param]()


def dispatching(dispatcher: AnyDispatcher, act: Callable[[Any], Any]) -> Any:
    """Make a listener that dispatches what the function gives: the arguments of a dispatch, or None for no dispatch."""
    if isinstance(dispatcher, EventDispatcher):

        def listener(event: Any) -> None:
            arguments = act(event)
            if arguments is not None:
                to, *rest = arguments
                to.dispatch(*rest)

        return listener

    async def async_listener(event: Any) -> None:
        arguments = act(event)
        if arguments is not None:
            to, *rest = arguments
            await to.adispatch(*rest)

    return async_listener


# What is dispatched


async def test_the_very_event_comes_back(dispatcher: AnyDispatcher, event: Any) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None))

    assert await dispatcher.adispatch("hymn", event) is event


async def test_listeners_are_given_the_very_event(dispatcher: AnyDispatcher, event: Any) -> None:
    given: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, given.append))

    await dispatcher.adispatch("hymn", event)

    assert given[0] is event


async def test_what_listeners_return_is_of_no_account(dispatcher: AnyDispatcher) -> None:
    event = Event()
    given = Mock(return_value=False)
    dispatcher.add_listener("hymn", make_listener(dispatcher, given))
    dispatcher.add_listener("hymn", make_listener(dispatcher, given))

    await dispatcher.adispatch("hymn", event)

    assert given.call_count == 2


@pytest.mark.parametrize("name", ["order.placed", StrSignal.PLACED, Signal.PLACED], ids=repr)
async def test_a_single_string_or_enum_member_is_a_name(dispatcher: AnyDispatcher, name: Any) -> None:
    given: list[Event] = []
    dispatcher.add_listener(name, make_listener(dispatcher, given.append))

    event = await dispatcher.adispatch(name)

    assert given == [event]
    assert event.name == name


async def test_a_fresh_event_is_made_for_each_dispatch_of_a_name_alone(dispatcher: AnyDispatcher) -> None:
    first, second = await dispatcher.adispatch("hymn"), await dispatcher.adispatch("hymn")

    assert (type(first), type(second)) == (Event, Event)
    assert first is not second


async def test_none_for_the_event_is_as_if_there_were_none(dispatcher: AnyDispatcher) -> None:
    event = await dispatcher.adispatch("hymn", None)

    assert (type(event), event.name) == (Event, "hymn")


async def test_a_single_event_is_dispatched_under_the_name_of_its_class(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "heard"))

    event = await dispatcher.adispatch(Placed())

    assert (log, event.name) == (["heard"], "order.placed")


async def test_a_single_event_is_dispatched_under_an_inherited_name(dispatcher: AnyDispatcher) -> None:
    class PlacedTwice(Placed): ...

    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(PlacedTwice())

    assert log == ["heard"]


async def test_a_single_event_is_dispatched_under_an_enum_member_that_its_class_names(
    dispatcher: AnyDispatcher,
) -> None:
    class Signalled(Event):
        name = Signal.PLACED

    log: list[str] = []
    dispatcher.add_listener(Signal.PLACED, make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch(Signalled())

    assert log == ["heard"]


async def test_a_single_event_is_not_dispatched_under_the_name_of_an_earlier_dispatch(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "hymn"))
    event = await dispatcher.adispatch("hymn", Named())

    await dispatcher.adispatch(event)

    assert (log, event.name) == (["hymn"], None)


async def test_the_name_of_the_class_is_found_after_a_dispatch_under_another(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "placed"))
    event = await dispatcher.adispatch("hymn", Placed())

    await dispatcher.adispatch(event)

    assert (log, event.name) == (["placed"], "order.placed")


async def test_a_given_name_goes_before_the_name_of_the_class(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "class"))
    dispatcher.add_listener("order.again", make_recording_listener(dispatcher, log, "given"))

    await dispatcher.adispatch("order.again", Placed())

    assert log == ["given"]


async def test_a_single_event_without_a_name_is_heard_by_no_name(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    for key in ("", "None", "Named", "hymn"):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, key))

    event = await dispatcher.adispatch(Named())

    assert (log, event.name) == ([], None)


@pytest.mark.parametrize("single", [7, (1, "two"), b"bytes", object()], ids=without_address)
async def test_any_other_single_argument_is_an_event_and_no_name(dispatcher: AnyDispatcher, single: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener(single, make_recording_listener(dispatcher, log, "heard"))

    assert await dispatcher.adispatch(single) is single
    assert log == []


@pytest.mark.parametrize("name", [7, (1, "two"), frozenset({1}), Event], ids=repr)
async def test_other_hashables_are_names_when_an_event_comes_with_them(dispatcher: AnyDispatcher, name: Any) -> None:
    event = await dispatcher.adispatch(name, Event())

    assert event.name == name


async def test_an_event_that_is_false_is_an_event(dispatcher: AnyDispatcher) -> None:
    class Empty(Event):
        def __len__(self) -> int:
            return 0

    given: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, given.append))

    await dispatcher.adispatch("hymn", event := Empty())

    assert given[0] is event


async def test_an_exact_name_is_not_reached_by_a_name_that_it_begins(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("order", make_recording_listener(dispatcher, log, "order"))

    await dispatcher.adispatch("order.placed", Event())

    assert log == []


async def test_adispatch_is_a_real_coroutine(dispatcher: AnyDispatcher) -> None:
    coroutine = dispatcher.adispatch("hymn", Event())

    assert inspect.iscoroutine(coroutine)
    await coroutine


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_adispatch_may_be_an_asyncio_task(dispatcher: AnyDispatcher) -> None:
    event = Event()

    assert await asyncio.create_task(dispatcher.adispatch("hymn", event)) is event


async def test_nothing_is_run_before_the_coroutine_is_awaited(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))

    coroutine: Any = dispatcher.adispatch("hymn", Event())
    coroutine.close()

    assert log == []


# What the event shows


async def test_name_and_dispatcher_are_set_before_the_first_listener(dispatcher: AnyDispatcher, event: Any) -> None:
    seen: list[Any] = []
    dispatcher.add_listener(
        "hymn", make_listener(dispatcher, lambda event: seen.append((event.name, event.dispatcher)))
    )

    await dispatcher.adispatch("hymn", event)

    assert seen == [("hymn", dispatcher)]


async def test_name_and_dispatcher_stay_after_the_dispatch(dispatcher: AnyDispatcher, event: Any) -> None:
    await dispatcher.adispatch("hymn", event)

    assert (event.name, event.dispatcher) == ("hymn", dispatcher)


async def test_name_and_dispatcher_are_those_of_the_last_dispatch(dispatcher: AnyDispatcher, event: Any) -> None:
    other = AsyncEventDispatcher()
    await other.adispatch("hymn", event)

    await dispatcher.adispatch("psalm", event)

    assert (event.name, event.dispatcher) == ("psalm", dispatcher)


async def test_the_name_is_the_one_given_and_not_an_equal_one_of_an_earlier_dispatch(
    dispatcher: AnyDispatcher, event: Any
) -> None:
    await dispatcher.adispatch(StrSignal.PLACED, type(event)())

    await dispatcher.adispatch("order.placed", event)

    assert type(event.name) is str


async def test_name_and_dispatcher_are_set_when_nobody_listens(dispatcher: AnyDispatcher, event: Any) -> None:
    await dispatcher.adispatch("hymn", event)

    assert (event.name, event.dispatcher, event.propagation_stopped) == ("hymn", dispatcher, False)


async def test_name_and_dispatcher_stay_after_a_listener_failed(sequential: AnyDispatcher, event: Any) -> None:
    def fail(event: Any) -> None:
        raise LookupError

    sequential.add_listener("hymn", make_listener(sequential, fail))
    with pytest.raises((LookupError, ExceptionGroup)):
        await sequential.adispatch("hymn", event)

    assert (event.name, event.dispatcher) == ("hymn", sequential)


# Stopping


async def test_a_stop_keeps_later_priorities_from_running(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "first"))
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()), priority=1)
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "last"), priority=2)

    await dispatcher.adispatch("hymn", event)

    assert log == ["first"]


async def test_setting_the_mark_stops_as_well(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[str] = []

    def mark(event: Any) -> None:
        object.__setattr__(event, "propagation_stopped", True)

    dispatcher.add_listener("hymn", make_listener(dispatcher, mark))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "last"), priority=2)

    await dispatcher.adispatch("hymn", event)

    assert log == []


async def test_a_stop_keeps_the_next_listener_of_the_same_priority_from_running(
    sequential: AnyDispatcher, event: Any
) -> None:
    log: list[str] = []
    sequential.add_listener("hymn", make_listener(sequential, lambda event: event.stop_propagation()))
    sequential.add_listener("hymn", make_recording_listener(sequential, log, "next"))

    await sequential.adispatch("hymn", event)

    assert log == []


async def test_the_mark_stays_readable_after_the_dispatch(dispatcher: AnyDispatcher, event: Any) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))

    await dispatcher.adispatch("hymn", event)

    assert event.propagation_stopped is True


async def test_an_event_that_was_stopped_is_dispatched_unstopped_again(dispatcher: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("psalm", make_recording_listener(dispatcher, log, "first"))
    dispatcher.add_listener("psalm", make_recording_listener(dispatcher, log, "second"), priority=1)
    await dispatcher.adispatch("hymn", event)

    await dispatcher.adispatch("psalm", event)

    assert log == ["first", "second"]
    assert event.propagation_stopped is False


async def test_an_event_that_was_stopped_before_its_first_dispatch_runs_all_the_same(
    dispatcher: AnyDispatcher, event: Any
) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
    event.stop_propagation()

    await dispatcher.adispatch("hymn", event)

    assert log == ["heard"]


async def test_a_mark_that_is_taken_back_stops_nobody(sequential: AnyDispatcher, event: Any) -> None:
    log: list[str] = []

    def hesitate(event: Any) -> None:
        event.stop_propagation()
        object.__setattr__(event, "propagation_stopped", False)

    sequential.add_listener("hymn", make_listener(sequential, hesitate))
    sequential.add_listener("hymn", make_recording_listener(sequential, log, "next"))

    await sequential.adispatch("hymn", event)

    assert log == ["next"]


async def test_a_stop_by_the_last_listener_is_no_error(dispatcher: AnyDispatcher, event: Any) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: event.stop_propagation()))

    assert await dispatcher.adispatch("hymn", event) is event


# Dispatching the very event again


async def test_a_nested_dispatch_runs_at_once(sequential: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    sequential.add_listener("outer", make_recording_listener(sequential, log, "before"))
    sequential.add_listener("outer", dispatching(sequential, lambda event: (sequential, "inner", event)))
    sequential.add_listener("outer", make_recording_listener(sequential, log, "after"))
    sequential.add_listener("inner", make_recording_listener(sequential, log, "inner"))

    await sequential.adispatch("outer", event)

    assert log == ["before", "inner", "after"]


async def test_a_nested_dispatch_shows_its_own_name_and_dispatcher(sequential: AnyDispatcher, event: Any) -> None:
    inner: AnyDispatcher = type(sequential)()
    seen: list[Any] = []
    sequential.add_listener("outer", dispatching(sequential, lambda event: (inner, "inner", event)))
    inner.add_listener("inner", make_listener(inner, lambda event: seen.append((event.name, event.dispatcher))))

    await sequential.adispatch("outer", event)

    assert seen == [("inner", inner)]


@pytest.mark.parametrize("inner_name", ["inner", "outer"], ids=["another name", "the same name"])
async def test_after_a_nested_dispatch_the_outer_one_shows_itself_again(
    sequential: AnyDispatcher, event: Any, inner_name: str
) -> None:
    inner: AnyDispatcher = type(sequential)()
    seen: list[Any] = []
    sequential.add_listener("outer", dispatching(sequential, lambda event: (inner, inner_name, event)))
    sequential.add_listener(
        "outer", make_listener(sequential, lambda event: seen.append((event.name, event.dispatcher)))
    )

    await sequential.adispatch("outer", event)

    assert seen == [("outer", sequential)]


async def test_a_nested_dispatch_by_the_last_listener_leaves_the_outer_name_behind(
    sequential: AnyDispatcher, event: Any
) -> None:
    sequential.add_listener("outer", dispatching(sequential, lambda event: (sequential, "inner", event)))

    await sequential.adispatch("outer", event)

    assert (event.name, event.dispatcher) == ("outer", sequential)


async def test_a_stop_of_a_nested_dispatch_does_not_stop_the_outer_one(sequential: AnyDispatcher, event: Any) -> None:
    log: list[str] = []
    sequential.add_listener("inner", make_listener(sequential, lambda event: event.stop_propagation()))
    sequential.add_listener("inner", make_recording_listener(sequential, log, "inner"))
    sequential.add_listener("outer", dispatching(sequential, lambda event: (sequential, "inner", event)))
    sequential.add_listener("outer", make_recording_listener(sequential, log, "outer"))

    await sequential.adispatch("outer", event)

    assert (log, event.propagation_stopped) == (["outer"], False)


async def test_a_nested_dispatch_of_a_stopped_event_starts_unstopped(sequential: AnyDispatcher, event: Any) -> None:
    log: list[str] = []

    def stop_and_dispatch(event: Any) -> Any:
        event.stop_propagation()
        return sequential, "inner", event

    sequential.add_listener("outer", dispatching(sequential, stop_and_dispatch))
    sequential.add_listener("outer", make_recording_listener(sequential, log, "outer"))
    sequential.add_listener("inner", make_recording_listener(sequential, log, "inner"))

    await sequential.adispatch("outer", event)

    assert (log, event.propagation_stopped) == (["inner"], True)


async def test_a_nested_dispatch_that_nobody_hears_puts_the_outer_mark_back(
    sequential: AnyDispatcher, event: Any
) -> None:
    log: list[str] = []

    def stop_and_dispatch(event: Any) -> Any:
        event.stop_propagation()
        return sequential, "nobody", event

    sequential.add_listener("outer", dispatching(sequential, stop_and_dispatch))
    sequential.add_listener("outer", make_recording_listener(sequential, log, "outer"))

    await sequential.adispatch("outer", event)

    assert (log, event.name, event.propagation_stopped) == ([], "outer", True)


async def test_a_nested_dispatch_that_fails_puts_the_outer_one_back(sequential: AnyDispatcher, event: Any) -> None:
    def fail(event: Any) -> None:
        raise LookupError

    seen: list[Any] = []
    sequential.add_listener("inner", make_listener(sequential, fail))
    if isinstance(sequential, EventDispatcher):

        def listener(event: Any) -> None:
            with pytest.raises((LookupError, ExceptionGroup)):
                sequential.dispatch("inner", event)

        sequential.add_listener("outer", listener)
    else:

        async def async_listener(event: Any) -> None:
            with pytest.raises((LookupError, ExceptionGroup)):
                await sequential.adispatch("inner", event)

        sequential.add_listener("outer", async_listener)
    sequential.add_listener(
        "outer", make_listener(sequential, lambda event: seen.append((event.name, event.dispatcher)))
    )

    await sequential.adispatch("outer", event)

    assert seen == [("outer", sequential)]


async def test_nested_dispatches_go_as_deep_as_the_listeners_want(sequential: AnyDispatcher, event: Any) -> None:
    seen: list[Any] = []

    def descend(event: Any) -> Any:
        seen.append(event.name)
        return (sequential, event.name + 1, event) if event.name < 5 else None

    for name in range(6):
        sequential.add_listener(name, dispatching(sequential, descend))
        sequential.add_listener(name, make_listener(sequential, lambda event: seen.append(event.name)))

    await sequential.adispatch(0, event)

    assert seen == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]


async def test_a_sync_dispatcher_may_dispatch_the_event_of_an_async_one(event: Any) -> None:
    inner, outer, seen = EventDispatcher(), AsyncEventDispatcher(), []
    inner.add_listener("inner", lambda event: seen.append((event.name, event.dispatcher)))

    @outer.listen("outer")
    async def pass_on(event: Any) -> None:
        inner.dispatch("inner", event)
        seen.append((event.name, event.dispatcher))

    await outer.adispatch("outer", event)

    assert seen == [("inner", inner), ("outer", outer)]


async def test_another_event_that_is_dispatched_meanwhile_does_not_touch_the_first(
    dispatcher: AnyDispatcher, event: Any
) -> None:
    dispatcher.add_listener("outer", dispatching(dispatcher, lambda event: (dispatcher, "inner", Event())))
    dispatcher.add_listener("inner", make_listener(dispatcher, Event.stop_propagation))

    await dispatcher.adispatch("outer", event)

    assert (event.name, event.propagation_stopped) == ("outer", False)


async def test_an_event_that_failed_may_be_dispatched_again_as_new(sequential: AnyDispatcher, event: Any) -> None:
    def fail(event: Any) -> None:
        raise LookupError

    sequential.add_listener("bad", make_listener(sequential, fail))
    sequential.add_listener("good", make_listener(sequential, lambda event: event.stop_propagation()))
    with pytest.raises((LookupError, ExceptionGroup)):
        await sequential.adispatch("bad", event)

    await sequential.adispatch("good", event)

    # If the first dispatch were thought to be under way still, its view would have been put back.
    assert (event.name, event.propagation_stopped) == ("good", True)


async def test_an_event_whose_dispatch_was_cancelled_may_be_dispatched_again_as_new(event: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("long", sleeping())
    dispatcher.add_listener("good", make_listener(dispatcher, lambda event: event.stop_propagation()))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("long", event)

    await dispatcher.adispatch("good", event)

    assert (event.name, event.propagation_stopped) == ("good", True)


def sleeping() -> Any:
    async def listener(event: Any) -> None:
        await anyio.sleep_forever()

    return listener


# Registering meanwhile


async def test_a_listener_that_is_added_during_a_dispatch_first_runs_in_the_next(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    late = make_recording_listener(dispatcher, log, "late")
    add = make_listener(dispatcher, lambda event: dispatcher.add_listener("hymn", late, priority=5))
    dispatcher.add_listener("hymn", add, once=True)

    await dispatcher.adispatch("hymn", Event())
    in_the_first = list(log)
    await dispatcher.adispatch("hymn", Event())

    assert (in_the_first, log) == ([], ["late"])


async def test_a_listener_that_is_added_during_a_dispatch_runs_in_a_nested_one(sequential: AnyDispatcher) -> None:
    log: list[str] = []

    def add_and_dispatch(event: Any) -> Any:
        if not log:
            log.append("outer")
            sequential.add_listener("hymn", make_recording_listener(sequential, log, "late"), priority=5)
            return sequential, "hymn", Event()
        return None

    sequential.add_listener("hymn", dispatching(sequential, add_and_dispatch))

    await sequential.adispatch("hymn", Event())

    assert log == ["outer", "late"]


async def test_a_listener_that_is_removed_during_a_dispatch_is_not_started_any_more(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    leaving = make_recording_listener(dispatcher, log, "leaving")
    dispatcher.add_listener(
        "hymn", make_listener(dispatcher, lambda event: dispatcher.remove_listener("hymn", leaving))
    )
    dispatcher.add_listener("hymn", leaving, priority=1)

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_a_handle_that_is_used_during_a_dispatch_keeps_its_listener_from_starting(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    leaving = dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "leaving"), priority=1)
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: leaving.unsubscribe()))

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_a_once_listener_that_is_removed_during_a_dispatch_is_not_started(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    leaving = dispatcher.add_listener(
        "hymn", make_recording_listener(dispatcher, log, "leaving"), priority=1, once=True
    )
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: leaving.unsubscribe()))

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_a_listener_that_leaves_and_comes_back_during_a_dispatch_runs_in_the_next(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    wavering = make_recording_listener(dispatcher, log, "wavering")

    def waver(event: Any) -> None:
        dispatcher.remove_listener("hymn", wavering)
        dispatcher.add_listener("hymn", wavering, priority=1)

    dispatcher.add_listener("hymn", make_listener(dispatcher, waver), once=True)
    dispatcher.add_listener("hymn", wavering, priority=1)

    await dispatcher.adispatch("hymn", Event())
    in_the_first = list(log)
    await dispatcher.adispatch("hymn", Event())

    assert (in_the_first, log) == ([], ["wavering"])


async def test_a_listener_may_remove_itself(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    def leave(event: Any) -> None:
        log.append("heard")
        dispatcher.remove_listener("hymn", leaving)

    leaving = make_listener(dispatcher, leave)
    dispatcher.add_listener("hymn", leaving)

    await dispatcher.adispatch("hymn", Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["heard"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
async def test_a_listener_that_is_removed_while_it_runs_finishes(strategy: Any) -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(strategy=strategy), [], anyio.Event()

    @dispatcher.listen("hymn")
    async def sing(event: Event) -> None:
        await go_on.wait()
        log.append("sung")

    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, "hymn", Event())
        await settle()
        dispatcher.remove_listener("hymn", sing)
        go_on.set()

    assert log == ["sung"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
async def test_overlapping_dispatches_of_several_events_keep_apart(strategy: Any) -> None:
    dispatcher, go_on = AsyncEventDispatcher(strategy=strategy), anyio.Event()
    seen: list[Any] = []

    async def wait(event: Event) -> None:
        await go_on.wait()
        if event.name == "stopping":
            event.stop_propagation()

    async def see(event: Event) -> None:
        seen.append(event.name)

    for name in ("one", "stopping", "two"):
        dispatcher.add_listener(name, wait)
        dispatcher.add_listener(name, see, priority=1)

    async with anyio.create_task_group() as group:
        for name in ("one", "stopping", "two"):
            group.start_soon(dispatcher.adispatch, name, Event())
        await settle()
        go_on.set()

    assert sorted(seen) == ["one", "two"]


# Nobody listens


async def test_nobody_listening_is_normal(dispatcher: AnyDispatcher, event: Any) -> None:
    assert await dispatcher.adispatch("hymn", event) is event


def test_a_dispatch_that_nobody_hears_needs_no_event_loop() -> None:
    coroutine = AsyncEventDispatcher().adispatch("hymn", Event())

    with pytest.raises(StopIteration):
        coroutine.send(None)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
async def test_nobody_listening_is_no_checkpoint_for_any_strategy(strategy: Any) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await AsyncEventDispatcher(strategy=strategy).adispatch("hymn", Event())
        went_through = True

    assert went_through


# Strategies, as far as every dispatch has one


async def test_the_strategy_of_a_dispatch_goes_before_that_of_the_dispatcher() -> None:
    log: list[str] = []

    class Silent:
        async def run(self, plan: Plan, event: Any, /) -> None:
            log.append("silent")

    dispatcher = AsyncEventDispatcher(strategy=Concurrent())
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch("hymn", Event(), strategy=Silent())

    assert log == ["silent"]


async def test_a_strategy_of_ones_own_may_be_the_default() -> None:
    log: list[Any] = []

    class Backwards:
        async def run(self, plan: Plan, event: Any, /) -> None:
            for tier in reversed(plan):
                for subscription in reversed(tier):
                    await subscription.call(event)

    dispatcher = AsyncEventDispatcher(strategy=Backwards())
    for number in range(4):
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, number), priority=number // 2)

    await dispatcher.adispatch("hymn", Event())

    assert log == [3, 2, 1, 0]


async def given_plan(dispatcher: AsyncEventDispatcher, *arguments: Any) -> Plan:
    plans: list[Plan] = []

    class Keeping:
        async def run(self, plan: Plan, event: Any, /) -> None:
            plans.append(plan)

    await dispatcher.adispatch(*arguments, strategy=Keeping())
    return plans[0]


async def test_a_plan_is_a_tuple_of_tiers_by_priority() -> None:
    dispatcher = AsyncEventDispatcher()
    for priority in (2, 1, 2):
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, [], None), priority=priority)

    plan = await given_plan(dispatcher, "hymn", Event())

    assert isinstance(plan, tuple)
    assert [[record.priority for record in tier] for tier in plan] == [[1], [2, 2]]


async def test_the_plan_of_a_dispatch_that_nobody_hears_is_empty() -> None:
    assert await given_plan(AsyncEventDispatcher(), "hymn", Event()) == ()


async def test_a_record_calls_the_very_function_of_a_listener_without_options() -> None:
    dispatcher = AsyncEventDispatcher()
    listener = make_recording_listener(dispatcher, [], None)
    dispatcher.add_listener("hymn", listener)

    [[record]] = await given_plan(dispatcher, "hymn", Event())

    assert record.call is listener


async def test_a_plan_is_made_once_and_used_until_something_changes() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, [], None))

    first, second = [await given_plan(dispatcher, "hymn", Event()) for _ in range(2)]
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, [], None))
    third = await given_plan(dispatcher, "hymn", Event())

    assert (first is second, len(third.listeners)) == (True, 2)


# Any loop, any time


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_an_empty_dispatcher_is_true(kind: Any) -> None:
    assert kind()


@pytest.mark.parametrize("backends", [("asyncio", "trio"), ("trio", "asyncio"), ("asyncio", "asyncio")], ids="-".join)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_dispatcher_serves_one_loop_after_another(backends: tuple[str, str], strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    log: list[str] = []

    @dispatcher.listen("hymn")
    async def sing(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        log.append("sung")

    for backend in backends:
        anyio.run(dispatcher.adispatch, "hymn", Event(), backend=backend)

    assert log == ["sung", "sung"]


async def test_a_sync_dispatcher_needs_no_event_loop() -> None:
    assert EventDispatcher().dispatch("hymn").name == "hymn"


def test_a_sync_dispatcher_dispatches_outside_of_any_loop() -> None:
    dispatcher = EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", log.append)

    event = dispatcher.dispatch("hymn", Event())

    assert log == [event]


async def test_a_sequential_dispatch_adds_no_checkpoint_of_its_own(sequential: AnyDispatcher) -> None:
    sequential.add_listener("hymn", make_listener(sequential, lambda event: None))

    with anyio.CancelScope() as scope:
        scope.cancel()
        await sequential.adispatch("hymn", Event())
        went_through = True

    assert went_through


# Names


def test_a_dispatcher_with_a_name_shows_it_in_its_repr() -> None:
    assert repr(AsyncEventDispatcher(name="choir")) == "<AsyncEventDispatcher 'choir'>"


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_dispatchers_without_a_name_are_told_apart_by_their_repr(kind: Any) -> None:
    one, other = kind(), kind()

    assert repr(one) != repr(other)
