"""A dispatch knows the call of a listener in which it was started."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, in_thread
from antiphon.instruments import DispatchRecord
from antiphon.testing import settle
from tests.instruments.witness import Witness, async_singing, name_of, named, singing
from tests.voices import AnyDispatcher


class OneByOne:
    """A strategy of somebody's own."""

    async def run(self, plan: Any, event: Any) -> None:
        for tier in plan:
            for subscription in tier:
                await subscription.call(event)

    def __repr__(self) -> str:
        return "OneByOne()"


class Spread:
    """A strategy of somebody's own, with a task for each listener of the plan."""

    async def run(self, plan: Any, event: Any) -> None:
        async with anyio.create_task_group() as group:
            for subscription in plan.listeners:
                group.start_soon(subscription.call, event)

    def __repr__(self) -> str:
        return "Spread()"


STRATEGIES = [Sequential(), Concurrent(), Concurrent(1), Race(), OneByOne(), Spread()]

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)


def parents(witness: Witness) -> dict[Any, str | None]:
    """For each name, the listener in which it was dispatched."""
    return {record.name: name_of(record.parent) for record in witness.dispatches}


async def test_a_dispatch_by_a_listener_has_its_call_for_parent(dispatcher: AnyDispatcher, witness: Witness) -> None:
    sync = EventDispatcher()
    for one in (dispatcher, sync):
        one.add_instrument(witness)
    singing(dispatcher, "song", "alto", lambda event: sync.dispatch("verse"))
    singing(sync, "verse", "tenor", lambda event: sync.dispatch("line"))
    singing(sync, "verse", "bass", lambda event: sync.dispatch("word"))

    await dispatcher.adispatch("song")

    assert parents(witness) == {"song": None, "verse": "alto", "line": "tenor", "word": "bass"}
    assert witness.of("verse").parent is witness.call_of("alto")
    assert witness.call_of("alto").dispatch is witness.of("song")


@every_strategy
async def test_dispatches_by_listeners_know_which_one_it_was(strategy: Any, witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    arrived = {name: anyio.Event() for name in ("alto", "bass")}

    async def sing(name: str, event: Any) -> None:
        await dispatcher.adispatch(f"verse of {name}")
        arrived[name].set()
        if repr(strategy) in ("Concurrent()", "Race()", "Spread()"):
            # Both run now.
            for each in arrived.values():
                await each.wait()
        await dispatcher.adispatch(f"end of {name}")

    for name in arrived:
        async_singing(dispatcher, "song", name, partial(sing, name))
        async_singing(dispatcher, f"verse of {name}", f"{name}'s friend", partial(sing_line, dispatcher, name))

    await dispatcher.adispatch("song")

    assert parents(witness) == {
        "song": None,
        **{f"verse of {name}": name for name in arrived},
        **{f"line of {name}": f"{name}'s friend" for name in arrived},
        **{f"end of {name}": name for name in arrived},
    }


async def sing_line(dispatcher: AsyncEventDispatcher, name: str, event: Any) -> None:
    """Dispatch once more, a little later."""
    await anyio.lowlevel.checkpoint()
    await dispatcher.adispatch(f"line of {name}")


@every_strategy
async def test_what_is_dispatched_after_a_dispatch_has_no_parent(strategy: Any, witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    async_singing(dispatcher, "song", "alto", lambda event: anyio.lowlevel.checkpoint())

    for name in ("song", "end"):
        await dispatcher.adispatch(name)

    assert parents(witness) == {"song": None, "end": None}


async def test_what_is_dispatched_after_a_dispatch_that_failed_has_no_parent(
    dispatcher: AnyDispatcher, witness: Witness
) -> None:
    def fail(event: Any) -> None:
        raise LookupError

    dispatcher.add_instrument(witness)
    singing(dispatcher, "song", "alto", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("song")

    await dispatcher.adispatch("end")

    assert parents(witness) == {"song": None, "end": None}


@every_strategy
async def test_a_task_that_a_listener_starts_is_part_of_its_call(strategy: Any, witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    over = anyio.Event()

    async def later() -> None:
        await over.wait()
        await dispatcher.adispatch("echo")

    async with anyio.create_task_group() as group:

        async def start(event: Any) -> None:
            group.start_soon(later)

        async_singing(dispatcher, "song", "alto", start)
        await dispatcher.adispatch("song")
        over.set()

    assert parents(witness) == {"song": None, "echo": "alto"}


async def test_the_parent_may_belong_to_another_dispatcher(witness: Witness) -> None:
    outer, inner = AsyncEventDispatcher(), AsyncEventDispatcher()
    for one in (outer, inner):
        one.add_instrument(witness)
    async_singing(outer, "song", "alto", lambda event: inner.adispatch("verse"))

    await outer.adispatch("song")

    assert parents(witness) == {"song": None, "verse": "alto"}


async def test_dispatchers_without_instruments_are_no_parents(witness: Witness) -> None:
    seen, unseen = AsyncEventDispatcher(), AsyncEventDispatcher()
    seen.add_instrument(witness)
    async_singing(seen, "song", "alto", lambda event: unseen.adispatch("verse"))
    async_singing(unseen, "verse", "tenor", lambda event: seen.adispatch("line"))

    await seen.adispatch("song")

    assert parents(witness) == {"song": None, "line": "alto"}


async def test_a_scope_and_its_parent_share_parents(witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    with dispatcher.scope() as scoped:
        async_singing(scoped, "song", "alto", lambda event: dispatcher.adispatch("verse"))
        async_singing(dispatcher, "verse", "tenor", lambda event: scoped.adispatch("line"))
        await scoped.adispatch("song")

    assert parents(witness) == {"song": None, "verse": "alto", "line": "tenor"}


# Queues


@every_strategy
async def test_an_event_from_a_queue_has_the_call_that_posted_it_for_parent(strategy: Any, witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    async with dispatcher.queue(workers=2) as queue:
        async_singing(dispatcher, "song", "alto", lambda event: queue.post("verse"))
        async_singing(dispatcher, "song", "bass", lambda event: anyio.lowlevel.checkpoint())
        singing(dispatcher, "verse", "tenor", lambda event: queue.post_nowait("line"))
        await dispatcher.adispatch("song")
        await queue.post("coda")

    assert parents(witness) == {"song": None, "coda": None, "verse": "alto", "line": "tenor"}


class Counting:
    """Keeps no record, but counts."""

    def __init__(self) -> None:
        self.with_parent: list[bool] = []

    def dispatch_started(self, record: DispatchRecord) -> None:
        self.with_parent.append(record.parent is not None)


def records_alive() -> int:
    """How many dispatches are remembered by anybody."""
    gc.collect()
    return sum(isinstance(thing, DispatchRecord) for thing in gc.get_objects())


@every_strategy
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_chain_of_posted_events_does_not_grow_without_end(strategy: Any, workers: int) -> None:
    dispatcher, counting, alive = AsyncEventDispatcher(strategy=strategy), Counting(), []
    dispatcher.add_instrument(counting)
    before = records_alive()
    async with dispatcher.queue(workers=workers) as queue:

        async def tick(event: Any) -> None:
            if len(counting.with_parent) < 20:
                await queue.post("tick")
                # With two workers, the next one starts before this call ends.
                await settle()
            else:
                alive.append(records_alive())

        dispatcher.add_listener("tick", tick)
        await queue.post("tick")

    assert counting.with_parent == [False] + [True] * 19
    assert alive[0] - before < 5


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
async def test_a_chain_of_tasks_does_not_grow_without_end(strategy: Any) -> None:
    dispatcher, counting, alive = AsyncEventDispatcher(strategy=strategy), Counting(), []
    dispatcher.add_instrument(counting)
    before = records_alive()

    async def later() -> None:
        await settle()
        await dispatcher.adispatch("tick")

    async with anyio.create_task_group() as group:

        async def tick(event: Any) -> None:
            if len(counting.with_parent) < 20:
                group.start_soon(later)
            else:
                alive.append(records_alive())

        dispatcher.add_listener("tick", tick)
        await dispatcher.adispatch("tick")

    assert counting.with_parent == [False] + [True] * 19
    assert alive[0] - before < 5


async def test_a_parent_is_there_after_the_dispatch_if_its_record_was_kept(witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    async_singing(dispatcher, "song", "alto", lambda event: dispatcher.adispatch("verse"))
    await dispatcher.adispatch("song")
    gc.collect()

    verse = witness.of("verse")
    assert verse.parent is witness.call_of("alto")

    witness.dispatches.clear()
    witness.listeners.clear()
    gc.collect()
    assert verse.parent is None


# Threads


@every_strategy
async def test_dispatches_from_a_worker_thread_have_the_listener_that_runs_there_for_parent(
    strategy: Any, witness: Witness
) -> None:
    dispatcher, sync = AsyncEventDispatcher(strategy=strategy), EventDispatcher()
    for one in (dispatcher, sync):
        one.add_instrument(witness)

    def work(event: Any) -> None:
        sync.dispatch("in the thread")
        anyio.from_thread.run(dispatcher.adispatch, "on the loop")

    dispatcher.add_listener("song", named_thread(work, "alto"))
    async_singing(dispatcher, "song", "bass", lambda event: anyio.lowlevel.checkpoint())

    await dispatcher.adispatch("song")

    alto = repr(named_thread(work, "alto"))
    assert parents(witness) == {"song": None, "in the thread": alto, "on the loop": alto}


def named_thread(function: Any, name: str) -> Any:
    """Make it run in a thread."""
    return in_thread(named(name, function))


async def test_a_loop_that_a_listener_runs_in_a_thread_is_part_of_its_call(witness: Witness) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    async_singing(
        dispatcher,
        "song",
        "alto",
        lambda event: anyio.to_thread.run_sync(anyio.run, dispatcher.adispatch, "elsewhere"),
    )

    await dispatcher.adispatch("song")

    assert parents(witness) == {"song": None, "elsewhere": "alto"}


def test_a_thread_with_a_context_of_its_own_has_no_parent(witness: Witness) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(witness)

    def start(event: Any) -> None:
        thread = threading.Thread(target=dispatcher.dispatch, args=("elsewhere",))
        thread.start()
        thread.join()

    singing(dispatcher, "song", "alto", start)
    dispatcher.dispatch("song")

    assert parents(witness)["song"] is None
    # 3.14 has threads that inherit a context, where it is built that way.
    assert parents(witness)["elsewhere"] in (None, "alto")


# Contexts


async def test_a_listener_of_a_sequential_dispatch_runs_in_the_context_of_the_caller(witness: Witness) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable")
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)

    async def leave(event: Event) -> None:
        variable.set("left")

    dispatcher.add_listener("song", leave)
    await dispatcher.adispatch("song")

    assert variable.get() == "left"


def test_a_coroutine_that_is_driven_by_hand_may_be_closed_in_another_context(witness: Witness) -> None:
    from contextvars import copy_context
    from types import coroutine

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)

    @coroutine
    def pause() -> Any:
        yield

    async_singing(dispatcher, "song", "alto", lambda event: pause())
    steps = dispatcher.adispatch("song")
    copy_context().run(steps.send, None)

    steps.close()

    assert witness.lines == ["dispatch song", "call alto", "called alto: cancelled", "dispatched song: cancelled"]
