"""Rule 25: a scope is a dispatcher for a request, which adds listeners to those of its parent and removes them at its end."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import MagicMock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon.testing import settle
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

PLACED = "order.placed"


class OrderPlaced(Event): ...


def record(dispatcher: AnyDispatcher, log: list[Any], what: Any, key: Any = PLACED, **options: Any) -> Any:
    """Register a listener that appends to a log."""
    return dispatcher.add_listener(key, make_recording_listener(dispatcher, log, what), **options)


def nothing(event: Any) -> None: ...


# Which listeners run


async def test_a_dispatch_reaches_the_scope_and_its_parents_alone(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []

    with dispatcher.scope() as scoped, scoped.scope() as nested, dispatcher.scope() as empty:
        for key in (PLACED, "order.*", "**", "*", OrderPlaced, Event, object):
            for where, what in ((dispatcher, "parent"), (scoped, "scope"), (nested, "nested")):
                record(where, log, (what, key), key)
        for where, expected in (
            (dispatcher, ["parent"]),
            (scoped, ["parent", "scope"]),
            (nested, ["parent", "scope", "nested"]),
            (empty, ["parent"]),
        ):
            log.clear()
            await where.adispatch(PLACED, OrderPlaced())
            assert [what for what, _ in log] == expected * 7


async def test_listeners_merge_by_priority_then_registration(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        for number in range(30):
            entry = (number * 7 % 3 - 1, number)
            record((dispatcher, scoped, nested)[number * 5 % 3], log, entry, priority=entry[0])
        await nested.adispatch(PLACED, Event())

    assert len(log) == 30
    assert log == sorted(log)


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_equal_priorities_of_parent_and_scope_are_one_tier(strategy: Any) -> None:
    dispatcher, present, log = AsyncEventDispatcher(strategy=strategy), 0, []
    complete = anyio.Event()

    async def meet(event: Event) -> None:
        nonlocal present
        present += 1
        if present == 3:
            complete.set()
        await complete.wait()
        log.append("met")

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        for where in (dispatcher, scoped, nested):
            where.add_listener(PLACED, meet)
        await nested.adispatch(PLACED)

    assert log == ["met"] * 3


async def test_a_stop_in_a_scope_holds_for_its_parent(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    record(dispatcher, log, "parent", priority=1)

    with dispatcher.scope() as scoped:
        scoped.add_listener(PLACED, make_listener(dispatcher, Event.stop_propagation))
        await scoped.adispatch(PLACED, Event())

    assert log == []


async def test_the_dispatcher_of_the_event_is_the_scope(dispatcher: AnyDispatcher) -> None:
    seen: list[Any] = []
    dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: seen.append(event.dispatcher)))

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        for where in (nested, scoped, dispatcher):
            await where.adispatch(PLACED, Event())

    assert seen == [nested, scoped, dispatcher]


async def test_a_parent_listener_may_dispatch_on_the_scope(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    async def forward(event: Any) -> None:
        await event.dispatcher.adispatch("order.paid", event)

    def forward_plainly(event: Any) -> None:
        event.dispatcher.dispatch("order.paid", event)

    listener: Any = forward if isinstance(dispatcher, AsyncEventDispatcher) else forward_plainly
    dispatcher.add_listener(PLACED, listener)
    with dispatcher.scope() as scoped:
        record(scoped, log, "scope", "order.paid")
        event = await scoped.adispatch(PLACED, Event())

    assert (log, event.name, event.dispatcher) == (["scope"], PLACED, scoped)


def test_a_scope_that_has_ended_keeps_no_class(dispatcher: AnyDispatcher) -> None:
    kind = type("Ephemeral", (Event,), {})
    reference = weakref.ref(kind)
    with dispatcher.scope() as scoped:
        scoped.add_listener(kind, make_listener(dispatcher, print))

    del kind
    gc.collect()

    assert reference() is None
    assert not scoped.has_listeners()


# Changes while it lives


@pytest.mark.parametrize("key", [PLACED, "order.*", "*", OrderPlaced], ids=str)
async def test_changes_of_the_parent_count_at_once(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "called")

    with dispatcher.scope() as scoped, scoped.scope() as nested:

        async def count() -> int:
            log.clear()
            await nested.adispatch(PLACED, OrderPlaced())
            return len(log)

        counts = [await count()]
        first = dispatcher.add_listener(key, listener)
        counts.append(await count())
        second = scoped.add_listener(key, listener)
        counts.append(await count())
        first.unsubscribe()
        counts.append(await count())
        second.unsubscribe()
        counts.append(await count())
        with dispatcher.temporarily() as registrar:
            registrar.add_listener(key, listener)
            counts.append(await count())
        counts.append(await count())

    assert counts == [0, 1, 2, 1, 0, 1, 0]


async def test_removals_in_a_dispatch_count_at_once(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    late = record(dispatcher, log, "late", priority=1)

    def change(event: Any) -> None:
        late.unsubscribe()
        scoped.__exit__(None, None, None)

    with dispatcher.scope() as scoped:
        scoped.add_listener(PLACED, make_listener(dispatcher, change))
        record(scoped, log, "scope")
        record(dispatcher, log, "parent")
        await scoped.adispatch(PLACED, Event())

    assert log == ["parent"]


async def test_a_once_listener_of_the_parent_is_used_up_in_any_scope(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as one, dispatcher.scope() as other, one.scope() as nested:
        for where in (dispatcher, one, other, nested):
            await where.adispatch(PLACED, Event())
        record(dispatcher, log, "called", once=True)
        for where in (nested, other, one, dispatcher):
            await where.adispatch(PLACED, Event())

    assert log == ["called"]
    assert not dispatcher.has_listeners()


async def test_once_holds_over_overlapping_dispatches_of_scopes() -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(), [], anyio.Event()

    @dispatcher.listen(PLACED, priority=-1)
    async def wait(event: Event) -> None:
        await go_on.wait()

    record(dispatcher, log, "called", once=True)
    with ExitStack() as stack:
        scopes = [stack.enter_context(dispatcher.scope()) for _ in range(5)]
        async with anyio.create_task_group() as group:
            for scoped in (dispatcher, *scopes):
                group.start_soon(scoped.adispatch, PLACED)
            await settle()
            go_on.set()

    assert log == ["called"]


# Its end


async def test_the_end_removes_its_listeners_alone(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = make_recording_listener(dispatcher, log, "parent")
    dispatcher.add_listener(PLACED, listener)

    with pytest.raises(LookupError), dispatcher.scope() as scoped:
        subscription = scoped.add_listener(PLACED, listener)
        for key in (PLACED, "*", Event):
            record(scoped, log, key, key)
        raise LookupError
    await dispatcher.adispatch(PLACED, Event())

    assert (log, subscription.unsubscribe()) == (["parent"], False)
    assert scoped.get_listeners() == dispatcher.get_listeners() == {PLACED: (listener,)}


DISPATCH: dict[str, Callable[[Any], Any]] = {
    "name": lambda scoped: scoped.adispatch(PLACED),
    "name and event": lambda scoped: scoped.adispatch(PLACED, Event()),
    "event": lambda scoped: scoped.adispatch(Event()),
    "bare event": lambda scoped: scoped.adispatch(object()),
    "mock": lambda scoped: scoped.adispatch(PLACED, MagicMock(Event)),
}


@pytest.mark.parametrize("is_cached", [True, False], ids=["cached", "new"])
@pytest.mark.parametrize("dispatch", DISPATCH.values(), ids=DISPATCH)
async def test_dispatching_after_the_end_is_an_error(dispatcher: AnyDispatcher, dispatch: Any, is_cached: bool) -> None:
    log: list[str] = []
    record(dispatcher, log, "parent", "*")
    with dispatcher.scope(name="request 7") as scoped:
        if is_cached:
            await dispatch(scoped)

    with pytest.raises(RuntimeError, match=r"'request 7' of .* has ended: dispatch .* on the dispatcher itself"):
        await dispatch(scoped)

    assert log == ["parent"] * is_cached


async def test_a_prepared_dispatch_after_the_end_is_an_error(dispatcher: AnyDispatcher) -> None:
    async def dispatch() -> None:
        result = prepared(Event())
        if isinstance(dispatcher, AsyncEventDispatcher):
            await result

    with dispatcher.scope() as scoped:
        prepared: Any = scoped.prepare(PLACED)
        await dispatch()

    with pytest.raises(RuntimeError, match=r'has ended: dispatch "order\.placed"'):
        await dispatch()


async def test_a_queue_of_a_scope_refuses_events_after_its_end() -> None:
    with AsyncEventDispatcher().scope() as scoped:
        queue = scoped.queue()
    async with queue:
        with pytest.raises(RuntimeError, match="has ended"):
            await queue.post(PLACED)


async def test_a_listener_that_ends_the_scope_is_followed_by_those_of_the_parent(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    scoped = dispatcher.scope()
    scoped.add_listener(PLACED, make_listener(dispatcher, lambda event: scoped.__exit__(None, None, None)))
    record(scoped, log, "scope")
    record(dispatcher, log, "parent")

    await scoped.adispatch(PLACED, Event())

    assert log == ["parent"]


async def test_a_scope_that_was_never_entered_dispatches(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    scoped = dispatcher.scope()
    record(scoped, log, "scope")

    await scoped.adispatch(PLACED, Event())

    assert log == ["scope"]


REGISTER: dict[str, Callable[[AnyDispatcher, Any], object]] = {
    "add_listener": lambda scoped, listener: scoped.add_listener(PLACED, listener),
    "listen": lambda scoped, listener: scoped.listen(PLACED)(listener),
    "with options": lambda scoped, listener: scoped.add_listener(PLACED, listener, once=True),
    "temporarily": lambda scoped, listener: scoped.temporarily().add_listener(PLACED, listener),
}


@pytest.mark.parametrize("register", REGISTER.values(), ids=REGISTER)
def test_registering_after_the_end_is_an_error(dispatcher: AnyDispatcher, register: Any) -> None:
    with dispatcher.scope() as scoped:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        register(scoped, make_listener(dispatcher, print))

    assert (scoped.get_listeners(), dispatcher.get_listeners()) == ({}, {})


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_scope_ends_with_the_scope_that_created_it(dispatcher: AnyDispatcher, depth: int) -> None:
    """A dispatch on it would miss the listeners of the outer scope."""
    log: list[str] = []
    with dispatcher.scope() as outer:
        scopes = [outer]
        for _ in range(depth):
            scopes.append(scopes[-1].scope().__enter__())
        inner = scopes[-1]
        subscription = record(inner, log, "inner")
        record(outer, log, "outer")
        await inner.adispatch(PLACED, Event())

    with pytest.raises(RuntimeError, match=r"<scope of <scope of .* has ended: dispatch .* on the dispatcher itself"):
        await inner.adispatch(PLACED, Event())
    with pytest.raises(RuntimeError, match="has ended"):
        record(inner, log, "late")
    with pytest.raises(RuntimeError, match="has ended"):
        inner.scope()
    with pytest.raises(RuntimeError, match="has ended"):
        inner.__enter__()
    inner.__exit__(None, None, None)

    assert (log, inner.get_listeners(), subscription.unsubscribe()) == (["inner", "outer"], {}, False)


async def test_an_inner_scope_that_has_ended_does_not_end_the_outer_one(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    with dispatcher.scope() as outer:
        record(outer, log, "outer")
        with outer.scope(), outer.scope() as other:
            pass
        await outer.adispatch(PLACED, Event())

    assert log == ["outer"]
    with pytest.raises(RuntimeError, match="has ended"):
        await other.adispatch(PLACED, Event())


async def test_a_running_dispatch_skips_an_inner_scope_that_ends_with_its_outer_one(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    outer = dispatcher.scope()
    inner = outer.scope()
    inner.add_listener(PLACED, make_listener(dispatcher, lambda event: outer.__exit__(None, None, None)))
    record(inner, log, "inner")
    record(dispatcher, log, "parent")

    await inner.adispatch(PLACED, Event())

    assert log == ["parent"]


def test_remove_listener_does_not_reach_the_parent(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener(PLACED, listener)

    with dispatcher.scope() as scoped, pytest.raises(ValueError, match="does not listen"):
        scoped.remove_listener(PLACED, listener)

    assert dispatcher.has_listeners(PLACED)


# Looking up


def test_lookups_include_the_parent(dispatcher: AnyDispatcher) -> None:
    first, second, third = (make_listener(dispatcher, print) for _ in range(3))

    with dispatcher.scope() as scoped:
        scoped.add_listener(PLACED, second)
        assert not dispatcher.has_listeners()
        dispatcher.add_listener("*", third)
        dispatcher.add_listener(Event, first, priority=-1)

        assert scoped.get_listeners(PLACED) == (first, second, third)
        assert scoped.get_listeners() == {PLACED: (second,), "*": (third,), Event: (first,)}
        assert scoped.has_listeners("another") and scoped.has_listeners()


def test_a_scope_is_true_and_names_its_parent(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scoped:
        assert bool(scoped) is True
        assert repr(dispatcher) in repr(scoped)
        assert isinstance(scoped, type(dispatcher))


# What it inherits


@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(limit=2), Race()], ids=repr)
async def test_a_scope_inherits_the_strategy(strategy: Any) -> None:
    ran: list[Any] = []

    class Recording(type(strategy)):  # type: ignore[misc]  # a base known at run time alone
        async def run(self, plan: Any, event: Any, /) -> None:
            ran.append(plan.dispatcher)
            await super().run(plan, event)

    with AsyncEventDispatcher(strategy=Recording()).scope() as scoped, scoped.scope() as nested:
        await scoped.adispatch(PLACED)
        await nested.adispatch(PLACED)

    assert ran == [scoped, nested]


async def test_a_scope_inherits_policy_and_sync_listeners() -> None:
    log: list[Any] = []
    dispatcher, adapting = EventDispatcher(errors="collect"), AsyncEventDispatcher(sync_listeners="inline")

    def fail(event: Event) -> None:
        raise LookupError

    with dispatcher.scope() as scoped, adapting.scope() as adapting_scope:
        scoped.add_listener(PLACED, fail)
        dispatcher.add_listener(PLACED, fail)
        with pytest.raises(ExceptionGroup) as caught:
            scoped.dispatch(PLACED)
        adapting_scope.add_listener(PLACED, log.append)  # type: ignore[arg-type]  # plain, as the dispatcher allows
        event = await adapting_scope.adispatch(PLACED)

    assert [type(error) for error in caught.value.exceptions] == [LookupError, LookupError]
    assert log == [event]


async def test_a_scope_inherits_overridden_execution() -> None:
    ran: list[Any] = []

    class Running(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            listeners = list(listeners)
            ran.append((listeners, event.dispatcher))
            await super()._adispatch(listeners, event)

    class SyncRunning(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            listeners = list(listeners)
            ran.append((listeners, event.dispatcher))
            super().do_dispatch(listeners, event)

    dispatcher, log = Running(), list[Any]()
    first, second = (make_recording_listener(dispatcher, log, what) for what in ("first", "second"))
    with dispatcher.scope() as scoped, scoped.scope() as nested, SyncRunning().scope() as sync:
        nested.add_listener(PLACED, first)
        dispatcher.add_listener(PLACED, second)
        await nested.adispatch(PLACED)
        sync.add_listener(PLACED, repr)
        sync.dispatch(PLACED)
        with pytest.raises(TypeError, match="overrides _adispatch"):
            await scoped.adispatch(PLACED, strategy=Concurrent())

    assert log == ["first", "second"]
    assert ran == [([first, second], nested), ([repr], sync)]


async def test_the_note_of_an_error_names_the_scope(dispatcher: AnyDispatcher) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener(PLACED, make_listener(dispatcher, fail))
    with dispatcher.scope() as scoped, pytest.raises(LookupError) as caught:
        await scoped.adispatch(PLACED, Event())

    (note,) = caught.value.__notes__
    assert repr(scoped) in note


# References


@pytest.mark.usefixtures("frozen_heap")
async def test_a_scope_that_has_ended_is_in_no_reference_cycle(dispatcher: AnyDispatcher) -> None:
    """One scope for each request would otherwise give the garbage collector work."""
    gc.collect()
    gc.disable()
    try:
        with dispatcher.scope() as scoped:
            record(scoped, [], "own")
            await scoped.adispatch(PLACED)
        ended = weakref.ref(scoped)
        with pytest.raises(RuntimeError, match="has ended"):
            await scoped.adispatch(PLACED)
        del scoped
        assert ended() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("frozen_heap")
async def test_a_scope_that_ended_with_another_one_is_in_no_reference_cycle(dispatcher: AnyDispatcher) -> None:
    gc.collect()
    gc.disable()
    try:
        with dispatcher.scope() as outer:
            inner = outer.scope()
            record(inner, [], "own")
            await inner.adispatch(PLACED)
        ended = [weakref.ref(outer), weakref.ref(inner)]
        del outer, inner
        assert [reference() for reference in ended] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("entered", [True, False], ids=["ended", "never entered"])
async def test_a_parent_keeps_no_scope(dispatcher: AnyDispatcher, entered: bool) -> None:
    dispatcher.add_listener(PLACED, make_listener(dispatcher, nothing))

    async def use_a_scope() -> list[weakref.ref[Any]]:
        scoped = dispatcher.scope()
        listener = make_listener(dispatcher, nothing)
        scoped.add_listener(PLACED, listener)
        await scoped.adispatch(PLACED, Event())
        if entered:
            scoped.__exit__(None, None, None)
        return [weakref.ref(kept) for kept in (scoped, listener, scoped._registry)]

    references = [reference for _ in range(10) for reference in await use_a_scope()]
    gc.collect()

    assert [reference() for reference in references] == [None] * 30
    assert not dispatcher._registry._children


async def test_an_ended_scope_keeps_no_listener(dispatcher: AnyDispatcher) -> None:
    own, of_parent = make_listener(dispatcher, nothing), make_listener(dispatcher, nothing)
    references = [weakref.ref(own), weakref.ref(of_parent)]
    dispatcher.add_listener(PLACED, of_parent)
    with dispatcher.scope() as scoped:
        scoped.add_listener("*", own)
        event = await scoped.adispatch(PLACED, Event())
    dispatcher.remove_listener(PLACED, of_parent)
    del own, of_parent
    gc.collect()

    assert event.dispatcher is scoped
    assert [reference() for reference in references] == [None, None]


def test_a_scope_keeps_its_parent() -> None:
    log: list[Any] = []
    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, log.append)
    scoped = dispatcher.scope()
    del dispatcher
    gc.collect()
    scoped.dispatch(PLACED)

    assert len(log) == 1


# Many at a time


async def test_tasks_each_have_their_scope(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    record(dispatcher, log, "parent")

    async def request(number: int) -> None:
        own: list[Any] = []
        with dispatcher.scope() as scoped:
            record(scoped, own, number)
            await anyio.lowlevel.checkpoint()
            await scoped.adispatch(PLACED, Event())
        assert own == [number]

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(request, number)

    assert log == ["parent"] * 20


def test_threads_use_scopes_while_the_parent_changes() -> None:
    dispatcher, failures = EventDispatcher(), []

    def use_scopes() -> None:
        for _ in range(150):
            log: list[Any] = []
            with dispatcher.scope() as scoped:
                scoped.add_listener(PLACED, log.append)
                scoped.dispatch(PLACED)
                scoped.dispatch(PLACED)
            assert len(log) == 2

    def change() -> None:
        for number in range(150):
            with dispatcher.add_listener("*" if number % 2 else PLACED, id):
                dispatcher.dispatch(PLACED)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (use_scopes, change) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert not dispatcher.has_listeners()
