"""Rule 25: a scope is a dispatcher for a request, which adds listeners to those of its parent and takes them along."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon.testing import settle
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


class OrderPlaced(Event): ...


# Who hears


async def test_what_is_dispatched_on_a_scope_reaches_its_listeners_and_those_of_its_parent(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "parent"))

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", make_recording_listener(dispatcher, log, "scope"))
        await scoped.adispatch("hymn", Event())

    assert log == ["parent", "scope"]


async def test_what_is_dispatched_on_the_parent_does_not_reach_a_scope(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as scoped:
        for key in ("hymn", "*", Event):
            scoped.add_listener(key, make_recording_listener(dispatcher, log, "scope"))
        await dispatcher.adispatch("hymn", Event())
        assert not dispatcher.has_listeners()

    assert log == []


async def test_what_is_dispatched_on_a_scope_does_not_reach_another(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as one, dispatcher.scope() as other:
        one.add_listener("hymn", make_recording_listener(dispatcher, log, "one"))
        other.add_listener("hymn", make_recording_listener(dispatcher, log, "other"))
        await one.adispatch("hymn", Event())

    assert log == ["one"]


async def test_a_scope_without_listeners_of_its_own_passes_everything_on(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, log.append))

    with dispatcher.scope() as scoped:
        event = await scoped.adispatch("hymn", OrderPlaced())

    assert log == [event]


async def test_listeners_merge_in_one_order_by_priority_and_then_by_registration_over_all(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[Any] = []
    entries: list[tuple[int, int]] = []

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        for number in range(30):
            entry = (number * 7 % 3 - 1, number)
            where: AnyDispatcher = (dispatcher, scoped, nested)[number * 5 % 3]
            where.add_listener("hymn", make_recording_listener(dispatcher, log, entry), priority=entry[0])
            entries.append(entry)
        await nested.adispatch("hymn", Event())

    assert log == sorted(entries)


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_listeners_of_parent_and_scope_with_one_priority_are_one_tier(strategy: Any) -> None:
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
            where.add_listener("hymn", meet)
        await nested.adispatch("hymn")

    assert log == ["met"] * 3


async def test_a_stop_in_a_scope_reaches_over_parent_and_scope(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "parent"), priority=1)

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", make_listener(dispatcher, Event.stop_propagation))
        await scoped.adispatch("hymn", Event())

    assert log == []


async def test_every_kind_of_key_merges(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    keys: list[Any] = ["praise.hymn", "praise.*", "**", "*", OrderPlaced, Event, object]

    with dispatcher.scope() as scoped:
        for key in keys:
            dispatcher.add_listener(key, make_recording_listener(dispatcher, log, ("parent", key)))
            scoped.add_listener(key, make_recording_listener(dispatcher, log, ("scope", key)))
        await scoped.adispatch("praise.hymn", OrderPlaced())

    assert log == [(where, key) for key in keys for where in ("parent", "scope")]


async def test_the_dispatcher_of_the_event_is_the_scope(dispatcher: AnyDispatcher) -> None:
    seen: list[Any] = []
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: seen.append(event.dispatcher)))

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        for where in (nested, scoped, dispatcher):
            await where.adispatch("hymn", Event())

    assert seen == [nested, scoped, dispatcher]


async def test_a_listener_of_the_parent_may_dispatch_the_event_on_by_its_dispatcher(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    if isinstance(dispatcher, AsyncEventDispatcher):

        async def pass_on(event: Any) -> None:
            await event.dispatcher.adispatch("psalm", event)
    else:

        def pass_on(event: Any) -> None:  # type: ignore[misc]  # one name, of either kind
            event.dispatcher.dispatch("psalm", event)

    dispatcher.add_listener("hymn", pass_on)
    with dispatcher.scope() as scoped:
        scoped.add_listener("psalm", make_recording_listener(dispatcher, log, "scope"))
        event = await scoped.adispatch("hymn", Event())

    assert (log, event.name, event.dispatcher) == (["scope"], "hymn", scoped)


# What changes while it lives


@pytest.mark.parametrize("key", ["praise.hymn", "praise.*", "*", OrderPlaced], ids=str)
async def test_what_the_parent_gains_and_loses_counts_at_once(dispatcher: AnyDispatcher, key: Any) -> None:
    log: list[str] = []
    listener = make_recording_listener(dispatcher, log, "heard")

    with dispatcher.scope() as scoped, scoped.scope() as nested:

        async def heard() -> int:
            log.clear()
            await nested.adispatch("praise.hymn", OrderPlaced())
            return len(log)

        counts = [await heard()]
        first = dispatcher.add_listener(key, listener)
        counts.append(await heard())
        second = scoped.add_listener(key, listener)
        counts.append(await heard())
        first.unsubscribe()
        counts.append(await heard())
        second.unsubscribe()
        counts.append(await heard())
        with dispatcher.temporarily() as registrar:
            registrar.add_listener(key, listener)
            counts.append(await heard())
        counts.append(await heard())

    assert counts == [0, 1, 2, 1, 0, 1, 0]


async def test_a_listener_that_leaves_the_parent_during_a_dispatch_on_the_scope_is_not_started(
    dispatcher: AnyDispatcher,
) -> None:
    log: list[str] = []
    late = dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "late"), priority=1)

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", make_listener(dispatcher, lambda event: late.unsubscribe()))
        await scoped.adispatch("hymn", Event())

    assert log == []


async def test_a_scope_that_ends_during_its_dispatch_starts_no_more_of_its_listeners(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    scoped = dispatcher.scope()
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: scoped.__exit__(None, None, None)))
    scoped.add_listener("hymn", make_recording_listener(dispatcher, log, "scope"))
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "parent"))

    await scoped.adispatch("hymn", Event())

    assert log == ["parent"]


async def test_a_once_listener_of_the_parent_is_used_up_by_a_dispatch_on_any_scope(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as one, dispatcher.scope() as other, one.scope() as nested:
        for where in (dispatcher, one, other, nested):
            await where.adispatch("hymn", Event())
        dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"), once=True)
        for where in (nested, other, one, dispatcher):
            await where.adispatch("hymn", Event())

    assert log == ["heard"]
    assert not dispatcher.has_listeners()


async def test_a_once_listener_of_the_parent_is_called_once_over_overlapping_dispatches_of_scopes() -> None:
    dispatcher, log, go_on = AsyncEventDispatcher(), [], anyio.Event()

    @dispatcher.listen("hymn", priority=-1)
    async def wait(event: Event) -> None:
        await go_on.wait()

    @dispatcher.listen("hymn", once=True)
    async def sing(event: Event) -> None:
        log.append("sung")

    with ExitStack() as stack:
        scopes = [stack.enter_context(dispatcher.scope()) for _ in range(5)]
        async with anyio.create_task_group() as group:
            for scoped in (dispatcher, *scopes):
                group.start_soon(scoped.adispatch, "hymn")
            await settle()
            go_on.set()

    assert log == ["sung"]


# Its end


async def test_the_listeners_of_a_scope_go_with_it(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as scoped:
        for key in ("hymn", "*", Event):
            scoped.add_listener(key, make_recording_listener(dispatcher, log, key))
    await scoped.adispatch("hymn", Event())

    assert (log, scoped.has_listeners("hymn"), scoped.get_listeners()) == ([], False, {})


async def test_the_listeners_of_a_scope_go_when_its_block_raises(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(LookupError), dispatcher.scope() as scoped:
        scoped.add_listener("hymn", make_listener(dispatcher, print))
        raise LookupError

    assert not scoped.has_listeners("hymn")


def test_a_handle_is_of_no_use_after_the_end_of_its_scope(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scoped:
        subscription = scoped.add_listener("hymn", make_listener(dispatcher, print))

    assert subscription.unsubscribe() is False


def registering(dispatcher: AnyDispatcher) -> dict[str, Callable[[AnyDispatcher], object]]:
    listener = make_listener(dispatcher, print)
    return {
        "add_listener": lambda scoped: scoped.add_listener("hymn", listener),
        "listen": lambda scoped: scoped.listen("hymn")(listener),
        "with options": lambda scoped: scoped.add_listener("hymn", listener, once=True),
        "temporarily": lambda scoped: scoped.temporarily().add_listener("hymn", listener),
    }


@pytest.mark.parametrize("door", ["add_listener", "listen", "with options", "temporarily"])
def test_registering_after_the_end_is_an_error(dispatcher: AnyDispatcher, door: str) -> None:
    with dispatcher.scope() as scoped:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        registering(dispatcher)[door](scoped)

    assert (scoped.get_listeners(), dispatcher.get_listeners()) == ({}, {})


async def test_a_scope_that_has_ended_still_passes_on_to_its_parent(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    with dispatcher.scope() as scoped:
        pass
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "parent"))

    await scoped.adispatch("hymn", Event())

    assert log == ["parent"]


async def test_the_listeners_of_an_outer_scope_go_while_an_inner_one_lives(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    outer = dispatcher.scope()
    with outer.scope() as inner:
        with outer:
            outer.add_listener("hymn", make_recording_listener(dispatcher, log, "outer"))
            inner.add_listener("hymn", make_recording_listener(dispatcher, log, "inner"))
            await inner.adispatch("hymn", Event())
        await inner.adispatch("hymn", Event())

    assert log == ["outer", "inner", "inner"]


def test_ending_a_scope_takes_nothing_from_its_parent(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener)

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", listener)

    assert dispatcher.get_listeners() == {"hymn": (listener,)}


def test_remove_listener_of_a_scope_does_not_reach_its_parent(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener)

    with dispatcher.scope() as scoped, pytest.raises(ValueError, match="does not listen"):
        scoped.remove_listener("hymn", listener)

    assert dispatcher.has_listeners("hymn")


# Looking up


def test_looking_up_a_name_in_a_scope_tells_of_its_parent_too(dispatcher: AnyDispatcher) -> None:
    first, second, third = (make_listener(dispatcher, print) for _ in range(3))

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", second)
        dispatcher.add_listener("*", third)
        dispatcher.add_listener(Event, first, priority=-1)

        assert scoped.get_listeners("hymn") == (first, second, third)
        assert scoped.has_listeners("another")


def test_a_scope_that_passes_on_to_listeners_of_its_parent_has_listeners(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", listener)

    with dispatcher.scope() as scoped:
        assert scoped.has_listeners("hymn")
        assert scoped.has_listeners()
        assert scoped.get_listeners() == {"hymn": (listener,)}


def test_a_scope_is_true_and_tells_whose_it_is(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scoped:
        assert bool(scoped) is True
        assert repr(dispatcher) in repr(scoped)
        assert isinstance(scoped, type(dispatcher))


# What it inherits


@pytest.mark.parametrize("strategy", [Sequential(errors="collect"), Concurrent(limit=2), Race()], ids=repr)
async def test_a_scope_inherits_the_strategy(strategy: Any) -> None:
    ran: list[Any] = []

    class Noting(type(strategy)):  # type: ignore[misc]  # a base known at run time alone
        async def run(self, plan: Any, event: Any, /) -> None:
            ran.append((type(strategy), plan.dispatcher))
            await super().run(plan, event)

    dispatcher = AsyncEventDispatcher(strategy=Noting())
    with dispatcher.scope() as scoped, scoped.scope() as nested:
        await scoped.adispatch("hymn")
        await nested.adispatch("hymn")

    assert ran == [(type(strategy), scoped), (type(strategy), nested)]


async def test_a_scope_inherits_the_error_policy() -> None:
    dispatcher = EventDispatcher(errors="collect")

    def fail(event: Event) -> None:
        raise LookupError

    with dispatcher.scope() as scoped:
        scoped.add_listener("hymn", fail)
        dispatcher.add_listener("hymn", fail)
        with pytest.raises(ExceptionGroup) as caught:
            scoped.dispatch("hymn")

    assert [type(error) for error in caught.value.exceptions] == [LookupError, LookupError]


async def test_a_scope_inherits_what_is_done_with_plain_functions() -> None:
    log: list[Any] = []
    dispatcher = AsyncEventDispatcher(sync_listeners="inline")

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        nested.add_listener("hymn", log.append)  # type: ignore[arg-type]  # plain, as the dispatcher allows
        event = await nested.adispatch("hymn")

    assert log == [event]


class Conducting(AsyncEventDispatcher):
    """Runs the listeners itself."""

    def __init__(self) -> None:
        self.conducted: list[Any] = []
        super().__init__()

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        listeners = list(listeners)
        self.conducted.append((listeners, event.dispatcher))
        await super()._adispatch(listeners, event)


async def test_a_scope_inherits_an_overridden_adispatch() -> None:
    dispatcher, log = Conducting(), list[Any]()
    one, other = (make_recording_listener(dispatcher, log, what) for what in ("one", "other"))

    with dispatcher.scope() as scoped, scoped.scope() as nested:
        nested.add_listener("hymn", one)
        dispatcher.add_listener("hymn", other)
        await nested.adispatch("hymn")

    assert log == ["one", "other"]
    assert dispatcher.conducted == [([one, other], nested)]


async def test_a_scope_of_an_overridden_adispatch_takes_no_other_strategy() -> None:
    with Conducting().scope() as scoped, pytest.raises(TypeError, match="overrides _adispatch"):
        await scoped.adispatch("hymn", strategy=Concurrent())


def test_a_scope_inherits_an_overridden_do_dispatch() -> None:
    conducted: list[Any] = []

    class SyncConducting(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            listeners = list(listeners)
            conducted.append(listeners)
            super().do_dispatch(listeners, event)

    with SyncConducting().scope() as scoped, scoped.scope() as nested:
        nested.add_listener("hymn", repr)
        nested.dispatch("hymn")

    assert conducted == [[repr]]


async def test_an_error_in_a_scope_is_noted_with_the_scope(dispatcher: AnyDispatcher) -> None:
    def fail(event: Event) -> None:
        raise LookupError

    dispatcher.add_listener("hymn", make_listener(dispatcher, fail))
    with dispatcher.scope() as scoped, pytest.raises(LookupError) as caught:
        await scoped.adispatch("hymn", Event())

    (note,) = caught.value.__notes__
    assert repr(scoped) in note


# No reference is left behind


async def test_an_ended_scope_is_not_kept_by_its_parent(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: None))
    witnesses: list[weakref.ref[Any]] = []

    async def use_a_scope() -> None:
        with dispatcher.scope() as scoped:
            listener = make_listener(dispatcher, lambda event: None)
            scoped.add_listener("hymn", listener)
            await scoped.adispatch("hymn", Event())
        witnesses.extend([weakref.ref(scoped), weakref.ref(listener), weakref.ref(scoped._registry)])

    for _ in range(10):
        await use_a_scope()
    gc.collect()

    assert [witness() for witness in witnesses] == [None] * 30


async def test_a_scope_that_was_never_entered_is_not_kept_either(dispatcher: AnyDispatcher) -> None:
    scoped = dispatcher.scope()
    scoped.add_listener("*", make_listener(dispatcher, lambda event: None))
    await scoped.adispatch("hymn", Event())
    witness = weakref.ref(scoped)
    del scoped
    gc.collect()

    assert witness() is None


async def test_an_ended_scope_that_is_kept_keeps_no_listener_alive(dispatcher: AnyDispatcher) -> None:
    own, parents = make_listener(dispatcher, lambda event: None), make_listener(dispatcher, lambda event: None)
    witnesses = [weakref.ref(own), weakref.ref(parents)]
    dispatcher.add_listener("hymn", parents)
    with dispatcher.scope() as scoped:
        scoped.add_listener("*", own)
        event = await scoped.adispatch("hymn", Event())
    dispatcher.remove_listener("hymn", parents)
    del own, parents
    gc.collect()

    assert event.dispatcher is scoped
    assert [witness() for witness in witnesses] == [None, None]


def test_a_scope_keeps_its_parent_alive() -> None:
    dispatcher = EventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", log.append)
    scoped = dispatcher.scope()
    del dispatcher
    gc.collect()

    scoped.dispatch("hymn")

    assert len(log) == 1


# Many at a time


async def test_tasks_each_have_their_scope(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener("hymn", make_recording_listener(dispatcher, log, "parent"))

    async def request(number: int) -> None:
        heard: list[Any] = []
        with dispatcher.scope() as scoped:
            scoped.add_listener("hymn", make_recording_listener(dispatcher, heard, number))
            await anyio.lowlevel.checkpoint()
            await scoped.adispatch("hymn", Event())
        assert heard == [number]

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(request, number)

    assert log == ["parent"] * 20


def test_threads_open_and_end_scopes_while_the_parent_changes() -> None:
    dispatcher, failures = EventDispatcher(), []

    def scopes() -> None:
        try:
            for _ in range(150):
                heard: list[Any] = []
                with dispatcher.scope() as scoped:
                    scoped.add_listener("hymn", heard.append)
                    scoped.dispatch("hymn")
                    scoped.dispatch("hymn")
                assert len(heard) == 2
        except BaseException as error:
            failures.append(error)

    def changes() -> None:
        try:
            for number in range(150):
                with dispatcher.add_listener("*" if number % 2 else "hymn", id):
                    dispatcher.dispatch("hymn")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (scopes, changes) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert not dispatcher.has_listeners()
