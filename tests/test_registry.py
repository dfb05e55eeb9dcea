"""The store: that it stays small, exact and whole, whoever asks it and however often."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from antiphon._registry.caches import (
    MAX_CACHED_ANSWERS,
    MAX_CACHED_CLASSES_PER_NAME,
    MAX_CACHED_NAMES_WITHOUT_LISTENERS,
)
from tests.helpers import BOTH, AnyDispatcher, make_listener, make_recording_listener

MANY = 100_000


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    made: AnyDispatcher = request.param()
    return made


def names_with_plans(dispatcher: AnyDispatcher) -> int:
    return len(dispatcher._registry.cached_plans)


def kept_plans(dispatcher: AnyDispatcher) -> int:
    return sum(len(by_class) for by_class in dispatcher._registry.cached_plans.values())


# The cache of plans is bounded


def test_names_that_nobody_hears_fill_no_memory() -> None:
    dispatcher = EventDispatcher()

    for number in range(MANY):
        dispatcher.dispatch(f"request.{number}")

    assert names_with_plans(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent()], ids=repr)
async def test_names_that_nobody_hears_fill_no_memory_of_an_async_dispatcher(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)

    for number in range(MANY // 20):
        await dispatcher.adispatch(f"request.{number}")

    assert names_with_plans(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS


def test_names_whose_listeners_came_and_went_fill_no_memory() -> None:
    dispatcher = EventDispatcher()

    for number in range(MANY // 10):
        with dispatcher.add_listener(number, repr):
            dispatcher.dispatch(number, Event())
        dispatcher.dispatch(number, Event())

    assert names_with_plans(dispatcher) <= MAX_CACHED_NAMES_WITHOUT_LISTENERS
    assert dispatcher.get_listeners() == {}


def test_once_listeners_under_ever_new_names_fill_no_memory() -> None:
    dispatcher = EventDispatcher()

    for number in range(MANY // 5):
        dispatcher.add_listener(number, repr, once=True)
        dispatcher.dispatch(number, Event())

    assert (names_with_plans(dispatcher), dispatcher.get_listeners()) == (0, {})


def test_looking_up_ever_new_names_fills_no_memory() -> None:
    dispatcher = EventDispatcher()

    for number in range(MANY // 5):
        dispatcher.has_listeners(number)
        dispatcher.get_listeners(number)

    assert (names_with_plans(dispatcher), dispatcher.has_listeners()) == (0, False)
    assert len(dispatcher._registry.answers) <= MAX_CACHED_ANSWERS


def test_ever_new_classes_of_events_fill_no_memory() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", repr)

    for _ in range(MAX_CACHED_CLASSES_PER_NAME + 100):
        dispatcher.dispatch("hymn", type("Ephemeral", (Event,), {})())

    assert kept_plans(dispatcher) <= MAX_CACHED_CLASSES_PER_NAME


def test_names_that_somebody_hears_keep_their_plans_while_others_come_and_go() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", repr)
    dispatcher.dispatch("hymn", Event())
    plan = dispatcher._registry.cached_plans["hymn"][Event]

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS * 3):
        dispatcher.dispatch(number, Event())

    assert dispatcher._registry.cached_plans["hymn"][Event] is plan


async def test_a_name_is_heard_again_after_the_cache_was_emptied(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    await dispatcher.adispatch("hymn", Event())
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))

    for number in range(MAX_CACHED_NAMES_WITHOUT_LISTENERS + 10):
        await dispatcher.adispatch(number, Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["heard"]


async def test_a_name_that_was_dispatched_unheard_is_heard_from_its_first_listener_on(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    await dispatcher.adispatch("hymn", Event())

    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["heard"]


async def test_events_of_several_classes_reach_the_same_listeners(dispatcher: AnyDispatcher) -> None:
    class Other(Event): ...

    log: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: log.append(type(event))))

    for event in (Event(), Other(), Event(), object()):
        await dispatcher.adispatch("hymn", event)

    assert log == [Event, Other, Event, object]


# The last removal


def remove(dispatcher: AnyDispatcher, listener: Any, handle: Any) -> None:
    dispatcher.remove_listener("hymn", listener)


def unsubscribe(dispatcher: AnyDispatcher, listener: Any, handle: Any) -> None:
    handle.unsubscribe()


def leave_the_block(dispatcher: AnyDispatcher, listener: Any, handle: Any) -> None:
    with handle:
        pass


REMOVALS = pytest.mark.parametrize("removal", [remove, unsubscribe, leave_the_block], ids=lambda door: door.__name__)


@REMOVALS
@pytest.mark.parametrize("dispatched", [False, True], ids=["never dispatched", "dispatched before"])
async def test_the_last_removal_leaves_nothing(
    dispatcher: AnyDispatcher, removal: Callable[..., None], dispatched: bool
) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    handle = dispatcher.add_listener("hymn", listener)
    if dispatched:
        await dispatcher.adispatch("hymn", Event())

    removal(dispatcher, listener, handle)

    assert (dispatcher.has_listeners("hymn"), dispatcher.has_listeners(), dispatcher.get_listeners()) == (
        False,
        False,
        {},
    )


@REMOVALS
async def test_a_removed_listener_is_not_kept(dispatcher: AnyDispatcher, removal: Callable[..., None]) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    handle = dispatcher.add_listener("hymn", listener)
    await dispatcher.adispatch("hymn", Event())
    reference = weakref.ref(listener)

    removal(dispatcher, listener, handle)
    del listener, handle
    gc.collect()

    assert reference() is None


async def test_a_once_listener_is_not_kept_after_its_call(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener("hymn", listener, once=True)
    reference = weakref.ref(listener)
    del listener

    await dispatcher.adispatch("hymn", Event())
    gc.collect()

    assert reference() is None


def test_the_object_of_a_removed_method_is_not_kept() -> None:
    class Cantor:
        def sing(self, event: Event) -> None: ...

    dispatcher, cantor = EventDispatcher(), Cantor()
    dispatcher.add_listener("hymn", cantor.sing)
    dispatcher.dispatch("hymn", Event())
    reference = weakref.ref(cantor)

    dispatcher.remove_listener("hymn", cantor.sing)
    del cantor
    gc.collect()

    assert reference() is None


def test_a_dispatcher_keeps_its_listeners_alive() -> None:
    dispatcher = EventDispatcher()
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener)
    reference = weakref.ref(listener)

    del listener
    gc.collect()

    assert reference() is not None


def test_a_dispatcher_is_not_kept_by_what_it_made(dispatcher: AnyDispatcher) -> None:
    made: AnyDispatcher = type(dispatcher)()
    made.add_listener("hymn", make_listener(made, print))
    reference = weakref.ref(made)

    del made
    gc.collect()

    assert reference() is None


# Equal, unequal and unhashable listeners


class Equal:
    """Equal to all of its like, and hashed by value."""

    def __init__(self, number: int, log: list[int] | None = None) -> None:
        self.number = number
        self.log = log if log is not None else []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __call__(self, event: Event) -> None:
        self.log.append(self.number)


class UnhashableEqual(Equal):
    __hash__ = None  # type: ignore[assignment]  # that is its subject


KINDS_OF_EQUALS = pytest.mark.parametrize("kind", [Equal, UnhashableEqual], ids=["hashable", "unhashable"])


@KINDS_OF_EQUALS
def test_equal_listeners_each_run(kind: type[Equal]) -> None:
    dispatcher = EventDispatcher()
    log: list[Any] = []
    for number in (1, 2, 1):
        dispatcher.add_listener("hymn", kind(number, log))

    dispatcher.dispatch("hymn", Event())

    assert log == [1, 2, 1]


@KINDS_OF_EQUALS
def test_remove_listener_removes_every_equal_one(kind: type[Equal]) -> None:
    dispatcher = EventDispatcher()
    for number in (1, 2, 1):
        dispatcher.add_listener("hymn", kind(number))

    dispatcher.remove_listener("hymn", kind(1))

    assert dispatcher.get_listeners("hymn") == (kind(2),)


@KINDS_OF_EQUALS
def test_remove_listener_removes_every_equal_one_when_given_one_of_them(kind: type[Equal]) -> None:
    dispatcher, one = EventDispatcher(), kind(1)
    for listener in (one, kind(2), kind(1), one):
        dispatcher.add_listener("hymn", listener)

    dispatcher.remove_listener("hymn", one)

    assert dispatcher.get_listeners("hymn") == (kind(2),)


@KINDS_OF_EQUALS
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_handle_of_an_equal_listener_removes_exactly_its_own(kind: type[Equal], which: int) -> None:
    dispatcher = EventDispatcher()
    listeners = [kind(1), kind(1), kind(1)]
    handles = [dispatcher.add_listener("hymn", listener) for listener in listeners]

    handles[which].unsubscribe()

    left = [id(listener) for listener in dispatcher.get_listeners("hymn")]
    assert left == [id(listener) for number, listener in enumerate(listeners) if number != which]


def test_an_unhashable_listener_that_is_not_there_cannot_be_removed() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", UnhashableEqual(1))

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("hymn", UnhashableEqual(2))

    assert dispatcher.has_listeners("hymn")


def test_a_hashable_listener_is_removed_by_an_unhashable_one_that_equals_it() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", Equal(1))

    dispatcher.remove_listener("hymn", UnhashableEqual(1))

    assert not dispatcher.has_listeners()


def test_an_unhashable_listener_is_removed_by_a_hashable_one_that_equals_it() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", UnhashableEqual(1))

    dispatcher.remove_listener("hymn", Equal(1))

    assert not dispatcher.has_listeners()


def test_a_listener_of_which_both_kinds_are_there_is_removed_in_both() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", UnhashableEqual(1))
    dispatcher.add_listener("hymn", Equal(1))

    dispatcher.remove_listener("hymn", Equal(1))

    assert not dispatcher.has_listeners()


def test_the_handle_of_a_listener_whose_hash_has_changed_still_removes_it() -> None:
    dispatcher, listener = EventDispatcher(), Equal(1)
    handle = dispatcher.add_listener("hymn", listener)
    listener.number = 2

    assert handle.unsubscribe()
    assert not dispatcher.has_listeners()


def test_a_listener_whose_hash_has_changed_is_still_removed_by_equality() -> None:
    dispatcher, listener = EventDispatcher(), Equal(1)
    dispatcher.add_listener("hymn", listener)
    listener.number = 2

    dispatcher.remove_listener("hymn", listener)

    assert not dispatcher.has_listeners()


def test_listeners_are_not_compared_to_register_or_dispatch_them() -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        def __hash__(self) -> int:
            return 7

        def __call__(self, event: Event) -> None: ...

    dispatcher = EventDispatcher()
    handle = dispatcher.add_listener("hymn", Incomparable())
    dispatcher.dispatch("hymn", Event())

    assert handle.unsubscribe()


def test_a_comparison_may_register_a_listener_itself() -> None:
    dispatcher = EventDispatcher()

    class Meddling(UnhashableEqual):
        def __eq__(self, other: object) -> bool:
            dispatcher.add_listener("psalm", repr)
            return super().__eq__(other)

    dispatcher.add_listener("hymn", Meddling(1))

    dispatcher.remove_listener("hymn", Meddling(1))

    assert (dispatcher.has_listeners("hymn"), dispatcher.has_listeners("psalm")) == (False, True)


def test_a_comparison_may_register_under_the_same_key() -> None:
    dispatcher = EventDispatcher()

    class Meddling(UnhashableEqual):
        def __eq__(self, other: object) -> bool:
            dispatcher.add_listener("hymn", make_listener(dispatcher, str))
            return super().__eq__(other)

    meddling = Meddling(1)
    dispatcher.add_listener("hymn", meddling)

    dispatcher.remove_listener("hymn", Meddling(1))

    assert all(listener is not meddling for listener in dispatcher.get_listeners("hymn"))


# A failed registration changes nothing


@pytest.mark.parametrize(
    "arguments",
    [
        {"key": "hymn", "listener": None},
        {"key": "hymn", "listener": "both", "priority": "high"},
        {"key": ["hymn"], "listener": "both"},
        {"key": None, "listener": "both"},
    ],
    ids=["listener", "priority", "unhashable key", "no key"],
)
@pytest.mark.parametrize("once", [False, True], ids=["", "once"])
def test_a_failed_registration_changes_nothing(
    dispatcher: AnyDispatcher, arguments: dict[str, Any], once: bool
) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, print))
    before = (dispatcher.get_listeners(), kept_plans(dispatcher))
    listener = make_listener(dispatcher, print) if arguments["listener"] == "both" else arguments["listener"]

    with pytest.raises(TypeError):
        dispatcher.add_listener(arguments["key"], listener, priority=arguments.get("priority", 0), once=once)

    assert (dispatcher.get_listeners(), kept_plans(dispatcher)) == before


def test_a_failed_registration_drops_no_plan() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("hymn", repr)
    dispatcher.dispatch("hymn", Event())
    plan = dispatcher._registry.cached_plans["hymn"][Event]

    with pytest.raises(TypeError):
        dispatcher.add_listener("hymn", None)  # type: ignore[arg-type]  # that is its subject

    assert dispatcher._registry.cached_plans["hymn"][Event] is plan


def test_a_key_whose_hash_fails_is_refused_and_forgotten(dispatcher: AnyDispatcher) -> None:
    class BadHash:
        def __hash__(self) -> int:
            raise TypeError("unhashable today")

    with pytest.raises(TypeError):
        dispatcher.add_listener(BadHash(), make_listener(dispatcher, print))

    assert not dispatcher.has_listeners()


# Threads


def in_threads(number: int, work: Callable[[int], object]) -> None:
    """Run a function in several threads that start together; the first error is raised."""
    barrier = threading.Barrier(number)

    def start(which: int) -> object:
        barrier.wait(10)
        return work(which)

    with ThreadPoolExecutor(number) as pool:
        for future in [pool.submit(start, which) for which in range(number)]:
            future.result(30)


def test_no_registration_is_lost_between_threads(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)

    in_threads(8, lambda which: [dispatcher.add_listener("hymn", listener) for _ in range(200)])

    assert len(dispatcher.get_listeners("hymn")) == 8 * 200


def test_the_order_of_registration_is_the_same_for_every_thread(dispatcher: AnyDispatcher) -> None:
    handles: list[Any] = []

    in_threads(
        8,
        lambda which: handles.extend(
            dispatcher.add_listener(which, make_listener(dispatcher, print)) for _ in range(200)
        ),
    )

    assert len({handle.order for handle in handles}) == 8 * 200


def test_each_handle_is_used_up_by_one_thread_alone(dispatcher: AnyDispatcher) -> None:
    handles = [dispatcher.add_listener("hymn", make_listener(dispatcher, print)) for _ in range(200)]
    removed: list[bool] = []

    in_threads(8, lambda which: removed.extend([handle.unsubscribe() for handle in handles]))

    assert removed.count(True) == 200
    assert not dispatcher.has_listeners()


def test_a_once_listener_is_called_once_over_many_threads() -> None:
    dispatcher, calls = EventDispatcher(), []
    for _ in range(100):
        dispatcher.add_listener("hymn", lambda event: calls.append(1), once=True)

    in_threads(8, lambda which: [dispatcher.dispatch("hymn", Event()) for _ in range(20)])

    assert (len(calls), dispatcher.has_listeners()) == (100, False)


def test_registering_does_not_disturb_dispatches_in_other_threads() -> None:
    dispatcher = EventDispatcher()
    heard: list[Any] = []
    dispatcher.add_listener("hymn", heard.append)
    churning = threading.Event()

    def work(which: int) -> None:
        if which:
            for _ in range(2000):
                dispatcher.dispatch("hymn", Event())
            churning.set()
        else:
            while not churning.is_set():
                handle = dispatcher.add_listener("hymn", repr, priority=-1)
                dispatcher.add_listener("psalm", repr, once=True)
                handle.unsubscribe()
                dispatcher.dispatch("psalm")

    in_threads(4, work)

    assert len(heard) == 3 * 2000
    assert dispatcher.get_listeners("hymn") == (heard.append,)


def test_what_is_registered_is_heard_by_the_next_dispatch_of_the_same_thread() -> None:
    dispatcher, missed = EventDispatcher(), []

    def work(which: int) -> None:
        for number in range(500):
            heard: list[Any] = []
            with dispatcher.add_listener("hymn", heard.append):
                event = dispatcher.dispatch("hymn", Event())
            if event not in heard:
                missed.append((which, number))

    in_threads(6, work)

    assert missed == []


def test_what_was_removed_is_not_heard_by_the_next_dispatch_of_the_same_thread() -> None:
    dispatcher, stray = EventDispatcher(), []

    def work(which: int) -> None:
        for _ in range(500):
            mine: list[Any] = []
            with dispatcher.add_listener("hymn", mine.append):
                pass
            event = dispatcher.dispatch("hymn", Event())
            if event in mine:
                stray.append(which)

    in_threads(6, work)

    assert stray == []


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent()], ids=repr)
def test_one_async_dispatcher_serves_several_loops_in_several_threads(strategy: Any) -> None:
    dispatcher, heard = AsyncEventDispatcher(strategy=strategy), []

    @dispatcher.listen("hymn")
    async def sing(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        heard.append(threading.get_ident())

    async def dispatch_many() -> None:
        for _ in range(50):
            with dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None)):
                await dispatcher.adispatch("hymn", Event())

    in_threads(4, lambda which: anyio.run(dispatch_many, backend=("asyncio", "trio")[which % 2]))

    assert sorted(heard.count(thread) for thread in set(heard)) == [50] * 4


def test_a_finalizer_may_register_while_the_registry_is_busy() -> None:
    dispatcher = EventDispatcher()

    class Testament:
        def __call__(self, event: Event) -> None: ...

        def __del__(self) -> None:
            dispatcher.add_listener("heirs", repr)

    dispatcher.add_listener("hymn", Testament())
    dispatcher.remove_listener("hymn", dispatcher.get_listeners("hymn")[0])
    gc.collect()

    assert dispatcher.has_listeners("heirs")
