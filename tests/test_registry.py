"""The registry: removals leave nothing, equality finds listeners, failures change nothing, and threads do not interfere."""

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
from antiphon._listeners.subscription import when_removed
from antiphon._registry.registry import Registry
from antiphon._registry.removals import RemovalCallbacks
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

PLACED = "order.placed"


# Removals


def exit_block(dispatcher: AnyDispatcher, listener: Any, handle: Any) -> None:
    with handle:
        pass


REMOVALS: dict[str, Callable[[AnyDispatcher, Any, Any], object]] = {
    "remove_listener": lambda dispatcher, listener, handle: dispatcher.remove_listener(PLACED, listener),
    "unsubscribe": lambda dispatcher, listener, handle: handle.unsubscribe(),
    "block": exit_block,
    "once": lambda dispatcher, listener, handle: None,
}


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("dispatched", [False, True], ids=["never dispatched", "dispatched before"])
async def test_the_last_removal_leaves_nothing(dispatcher: AnyDispatcher, removal: str, dispatched: bool) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    handle = dispatcher.add_listener(PLACED, listener, once=removal == "once")
    reference = weakref.ref(listener)
    if dispatched or removal == "once":
        await dispatcher.adispatch(PLACED, Event())

    REMOVALS[removal](dispatcher, listener, handle)
    del listener, handle
    gc.collect()

    assert not dispatcher.has_listeners(PLACED) and not dispatcher.has_listeners()
    assert (dispatcher.get_listeners(), reference()) == ({}, None)


@pytest.mark.parametrize("removal", ["remove_listener", "unsubscribe", "block"])
def test_a_handle_is_used_up_by_a_removal_beside_other_listeners(dispatcher: AnyDispatcher, removal: str) -> None:
    listener, other = (make_listener(dispatcher, lambda event: None) for _ in range(2))
    handle, other_handle = dispatcher.add_listener(PLACED, listener), dispatcher.add_listener(PLACED, other)

    REMOVALS[removal](dispatcher, listener, handle)

    assert not handle.is_registered() and not handle.unsubscribe()
    assert other_handle.is_registered() and dispatcher.get_listeners(PLACED) == (other,)


def test_a_removal_uses_up_the_handles_of_all_equal_listeners(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, lambda event: None)
    handles = [dispatcher.add_listener(PLACED, listener) for _ in range(3)]

    dispatcher.remove_listener(PLACED, listener)

    assert not any(handle.is_registered() or handle.unsubscribe() for handle in handles)


def test_the_object_of_a_removed_method_is_not_kept() -> None:
    class Shop:
        def charge(self, event: Event) -> None: ...

    dispatcher, shop = EventDispatcher(), Shop()
    dispatcher.add_listener(PLACED, shop.charge)
    dispatcher.dispatch(PLACED, Event())
    reference = weakref.ref(shop)

    dispatcher.remove_listener(PLACED, shop.charge)
    del shop
    gc.collect()

    assert reference() is None


def test_a_dispatcher_keeps_its_listeners_alone() -> None:
    dispatcher = EventDispatcher()
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(PLACED, listener)
    references = [weakref.ref(dispatcher), weakref.ref(listener)]

    del listener
    gc.collect()
    assert references[1]() is not None
    del dispatcher
    gc.collect()

    assert [reference() for reference in references] == [None, None]


# Equal, unequal and unhashable listeners


class Equal:
    """Equal to all of its class with the same number, and hashed by it."""

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
@pytest.mark.parametrize("given", ["equal", "itself"])
def test_equal_listeners_run_each_and_leave_together(kind: type[Equal], given: str) -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    listeners = [kind(1, log), kind(2, log), kind(1, log)]
    for listener in (*listeners, listeners[0]):
        dispatcher.add_listener(PLACED, listener)
    assert len(dispatcher.get_listeners(PLACED)) == 4

    dispatcher.dispatch(PLACED, Event())
    dispatcher.remove_listener(PLACED, kind(1) if given == "equal" else listeners[0])

    assert (log, dispatcher.get_listeners(PLACED)) == ([1, 2, 1, 1], (kind(2),))


@KINDS_OF_EQUALS
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_handle_of_an_equal_listener_removes_its_own(kind: type[Equal], which: int) -> None:
    dispatcher = EventDispatcher()
    listeners = [kind(1), kind(1), kind(1)]
    handles = [dispatcher.add_listener(PLACED, listener) for listener in listeners]

    handles[which].unsubscribe()

    left = [id(listener) for listener in dispatcher.get_listeners(PLACED)]
    assert left == [id(listener) for number, listener in enumerate(listeners) if number != which]


def test_an_unregistered_unhashable_listener_cannot_be_removed() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, UnhashableEqual(1))

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener(PLACED, UnhashableEqual(2))

    assert dispatcher.has_listeners(PLACED)


@pytest.mark.parametrize(
    ("kinds", "removed"),
    [([Equal], UnhashableEqual), ([UnhashableEqual], Equal), ([UnhashableEqual, Equal], Equal)],
    ids=["hashable", "unhashable", "both"],
)
def test_hashable_and_unhashable_equals_remove_each_other(kinds: list[type[Equal]], removed: type[Equal]) -> None:
    dispatcher = EventDispatcher()
    for kind in kinds:
        dispatcher.add_listener(PLACED, kind(1))

    dispatcher.remove_listener(PLACED, removed(1))

    assert not dispatcher.has_listeners()


def test_an_interrupted_second_registration_leaves_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, print)
    dispatcher.dispatch(PLACED)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "_drop_plans", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.add_listener(PLACED, print)
    monkeypatch.undo()

    assert dispatcher.get_listeners(PLACED) == (print,)


@pytest.mark.parametrize("registered", [PLACED, "order.*", "*", Event], ids=str)
@pytest.mark.parametrize("prepared", [False, True], ids=["", "prepared"])
async def test_a_plan_is_not_cached_if_its_matcher_registers(registered: Any, prepared: bool) -> None:
    dispatcher = AsyncEventDispatcher()
    if prepared:
        # The dictionary of its plans stays in the cache.
        dispatcher.prepare(PLACED)
    log: list[str] = []
    pending: list[str] = []

    class Registering(type):
        def __subclasscheck__(cls, subclass: type) -> bool:
            if pending:
                pending.clear()
                dispatcher.add_listener(registered, make_recording_listener(dispatcher, log, "called"))
            return False

    key = Registering("Key", (), {})
    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "never"))
    pending.append("register")

    await dispatcher.adispatch(PLACED)
    assert not pending
    log.clear()
    await dispatcher.adispatch(PLACED)

    assert log == ["called"]


@pytest.mark.parametrize("kind", [Equal, UnhashableEqual], ids=["hashable", "unhashable"])
def test_no_lock_is_held_while_a_removal_is_reported(kind: type[Equal]) -> None:
    dispatcher = EventDispatcher()
    finished: list[bool] = []

    def register(_scope: object) -> None:
        thread = threading.Thread(target=dispatcher.add_listener, args=("order.paid", print), daemon=True)
        thread.start()
        thread.join(5)
        finished.append(not thread.is_alive())

    when_removed(dispatcher.add_listener(PLACED, kind(1)), register)
    dispatcher.remove_listener(PLACED, kind(1))

    assert finished == [True]


def test_threads_call_the_callback_of_a_removal_once() -> None:
    called: list[object] = []

    class Due(list[Any]):
        """Callbacks that another thread calls at the moment at which this thread has seen them."""

        def __bool__(self) -> bool:
            were_there = len(self) > 0
            self.clear()
            return were_there

    callbacks = RemovalCallbacks()
    callbacks._due = Due([called.append])

    callbacks.run_due(None)

    assert called == []


async def test_a_hash_that_registers_during_a_removal_loses_no_listener() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[str] = []

    class Registering:
        registers = False

        def __hash__(self) -> int:
            if self.registers:
                self.registers = False
                dispatcher.add_listener(PLACED, make_recording_listener(dispatcher, log, "added by the hash"))
            return 1

        async def __call__(self, event: Any) -> None:
            self.registers = False

    class Changing:
        number = 1

        def __hash__(self) -> int:
            return self.number

        async def __call__(self, event: Any) -> None: ...

    changing, registering = Changing(), Registering()
    subscription = dispatcher.add_listener(PLACED, changing)
    dispatcher.add_listener(PLACED, registering)
    changing.number = 2
    registering.registers = True

    assert subscription.unsubscribe()
    was_added = not registering.registers
    await dispatcher.adispatch(PLACED)

    assert log == ["added by the hash"] * was_added


@pytest.mark.parametrize("by_handle", [True, False], ids=["handle", "remove_listener"])
def test_a_listener_whose_hash_has_changed_can_be_removed(by_handle: bool) -> None:
    dispatcher, listener = EventDispatcher(), Equal(1)
    handle = dispatcher.add_listener(PLACED, listener)
    listener.number = 2

    if by_handle:
        assert handle.unsubscribe()
    else:
        dispatcher.remove_listener(PLACED, listener)

    assert not dispatcher.has_listeners()


class Forgetful(Equal):
    """A listener that can lose its hash."""

    has_hash = True

    def __hash__(self) -> int:
        if self.has_hash:
            return super().__hash__()
        raise TypeError("unhashable today")


def test_a_listener_that_has_lost_its_hash_can_be_removed() -> None:
    dispatcher, listener = EventDispatcher(), Forgetful(1)
    handles = [dispatcher.add_listener(PLACED, each) for each in (listener, Equal(2))]
    listener.has_hash = False

    assert handles[0].unsubscribe() and not handles[0].unsubscribe()

    assert dispatcher.get_listeners(PLACED) == (Equal(2),)


def test_a_listener_is_compared_only_with_those_of_its_hash() -> None:
    compared: list[int] = []

    class Compared(Equal):
        __hash__ = Equal.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(self.number)
            return super().__eq__(other)

    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, Compared(1))
    handles = [dispatcher.add_listener(PLACED, Compared(2)) for _ in range(3)]
    compared.clear()

    for handle in (*handles, dispatcher.add_listener(PLACED, Compared(4))):
        assert handle.unsubscribe()
    dispatcher.add_listener(PLACED, Compared(3))
    dispatcher.remove_listener(PLACED, Compared(3))

    assert 1 not in compared
    assert dispatcher.get_listeners(PLACED) == (Equal(1),)


def test_a_finalizer_may_register_during_a_removal() -> None:
    dispatcher, rehashed = EventDispatcher(), Equal(1)

    class Finalized(Equal):
        __hash__ = Equal.__hash__

        def __del__(self) -> None:
            dispatcher.add_listener(PLACED, UnhashableEqual(4))

    handle = dispatcher.add_listener(PLACED, rehashed)
    first = dispatcher.add_listener(PLACED, Finalized(2))
    dispatcher.add_listener(PLACED, Equal(2))
    assert first.unsubscribe()
    del first
    gc.collect()
    rehashed.number = 3
    assert handle.unsubscribe()

    assert dispatcher.get_listeners(PLACED) == (Equal(2), UnhashableEqual(4))


def test_a_handle_whose_key_has_changed_removes_nothing() -> None:
    dispatcher, key = EventDispatcher(), Forgetful(1)
    handle = dispatcher.add_listener(key, print)
    key.number = 2

    assert not handle.unsubscribe()

    assert handle.is_registered() and dispatcher.has_listeners()


@KINDS_OF_EQUALS
def test_the_others_stay_if_a_listener_whose_hash_has_changed_leaves(kind: type[Equal]) -> None:
    dispatcher, log, listener = EventDispatcher(), list[Any](), Equal(1)
    handle = dispatcher.add_listener(PLACED, listener)
    others = [kind(number, log) for number in (2, 3, 3, 4)]
    handles = [dispatcher.add_listener(PLACED, other) for other in others]
    listener.number = 5

    assert handle.unsubscribe() and not handle.unsubscribe()
    dispatcher.dispatch(PLACED, Event())
    dispatcher.add_listener(PLACED, Equal(2, log))
    dispatcher.remove_listener(PLACED, Equal(2))
    assert handles[1].unsubscribe()

    assert (log, dispatcher.get_listeners(PLACED)) == ([2, 3, 3, 4], tuple(others[2:]))


@pytest.mark.parametrize("key", ["order.paid", PLACED], ids=["another key", "the same key"])
def test_a_comparison_may_register(key: str) -> None:
    dispatcher = EventDispatcher()

    class Meddling(UnhashableEqual):
        def __eq__(self, other: object) -> bool:
            dispatcher.add_listener(key, make_listener(dispatcher, str))
            return super().__eq__(other)

    meddling = Meddling(1)
    dispatcher.add_listener(PLACED, meddling)

    dispatcher.remove_listener(PLACED, Meddling(1))

    assert all(listener is not meddling for listener in dispatcher.get_listeners(PLACED))
    assert dispatcher.has_listeners(key)


# A failed registration changes nothing


class BadHash:
    def __hash__(self) -> int:
        raise TypeError("unhashable today")


@pytest.mark.parametrize(
    "arguments",
    [
        {"listener": None},
        {"priority": "high"},
        {"key": [PLACED]},
        {"key": None},
        {"key": BadHash()},
    ],
    ids=["listener", "priority", "unhashable key", "no key", "failing hash"],
)
@pytest.mark.parametrize("once", [False, True], ids=["", "once"])
async def test_a_failed_registration_changes_nothing(
    dispatcher: AnyDispatcher, arguments: dict[str, Any], once: bool
) -> None:
    kept = make_listener(dispatcher, lambda event: None)
    dispatcher.add_listener(PLACED, kept)
    await dispatcher.adispatch(PLACED, Event())
    plan = dispatcher._registry.cached_plans[PLACED][Event]

    with pytest.raises(TypeError):
        dispatcher.add_listener(
            arguments.get("key", PLACED),
            arguments.get("listener", make_listener(dispatcher, print)),
            priority=arguments.get("priority", 0),
            once=once,
        )

    assert dispatcher.get_listeners() == {PLACED: (kept,)}
    assert dispatcher._registry.cached_plans == {PLACED: {Event: plan}}


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
    handles: list[Any] = []

    def register(which: int) -> None:
        for key in (PLACED, which):
            handles.extend(dispatcher.add_listener(key, make_listener(dispatcher, print)) for _ in range(100))

    in_threads(8, register)

    assert len(dispatcher.get_listeners(PLACED)) == 8 * 100
    assert len({handle.order for handle in handles}) == 8 * 200


def test_each_handle_is_used_by_one_thread_alone(dispatcher: AnyDispatcher) -> None:
    handles = [dispatcher.add_listener(PLACED, make_listener(dispatcher, print)) for _ in range(200)]
    removed: list[bool] = []

    in_threads(8, lambda which: removed.extend([handle.unsubscribe() for handle in handles]))

    assert removed.count(True) == 200
    assert not dispatcher.has_listeners()


def test_a_once_listener_is_called_once_over_many_threads() -> None:
    dispatcher, calls = EventDispatcher(), []
    for _ in range(100):
        dispatcher.add_listener(PLACED, lambda event: calls.append(1), once=True)

    in_threads(8, lambda which: [dispatcher.dispatch(PLACED, Event()) for _ in range(20)])

    assert (len(calls), dispatcher.has_listeners()) == (100, False)


def test_registering_does_not_disturb_other_threads() -> None:
    dispatcher, log = EventDispatcher(), list[Any]()
    dispatcher.add_listener(PLACED, log.append)
    finished = threading.Event()

    def work(which: int) -> None:
        if which:
            for _ in range(2000):
                dispatcher.dispatch(PLACED, Event())
            finished.set()
        else:
            while not finished.is_set():
                handle = dispatcher.add_listener(PLACED, repr, priority=-1)
                dispatcher.add_listener("order.paid", repr, once=True)
                handle.unsubscribe()
                dispatcher.dispatch("order.paid")

    in_threads(4, work)

    assert len(log) == 3 * 2000
    assert dispatcher.get_listeners(PLACED) == (log.append,)


@pytest.mark.parametrize("removed", [False, True], ids=["registered", "removed"])
def test_the_next_dispatch_of_a_thread_sees_its_change(removed: bool) -> None:
    dispatcher, wrong = EventDispatcher(), []

    def work(which: int) -> None:
        for number in range(500):
            log: list[Any] = []
            with dispatcher.add_listener(PLACED, log.append):
                event = None if removed else dispatcher.dispatch(PLACED, Event())
            if removed:
                event = dispatcher.dispatch(PLACED, Event())
            if (event in log) is removed:
                wrong.append((which, number))

    in_threads(6, work)

    assert wrong == []


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent()], ids=repr)
def test_one_dispatcher_serves_several_loops_in_threads(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []

    @dispatcher.listen(PLACED)
    async def validate(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        log.append(threading.get_ident())

    async def dispatch_many() -> None:
        for _ in range(50):
            with dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: None)):
                await dispatcher.adispatch(PLACED, Event())

    in_threads(4, lambda which: anyio.run(dispatch_many, backend=("asyncio", "trio")[which % 2]))

    assert sorted(log.count(thread) for thread in set(log)) == [50] * 4


def test_a_finalizer_may_register_while_the_registry_works() -> None:
    dispatcher = EventDispatcher()

    class Finalized:
        def __call__(self, event: Event) -> None: ...

        def __del__(self) -> None:
            dispatcher.add_listener("later", repr)

    dispatcher.add_listener(PLACED, Finalized())
    dispatcher.remove_listener(PLACED, dispatcher.get_listeners(PLACED)[0])
    gc.collect()

    assert dispatcher.has_listeners("later")
