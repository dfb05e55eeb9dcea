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
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import (
    RecordingInstrument,
    add_named_async_listener,
    add_named_listener,
    name_of,
    named,
)


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


def parents(witness: RecordingInstrument) -> dict[Any, str | None]:
    """For each name, the listener in which it was dispatched."""
    return {record.name: name_of(record.parent) for record in witness.dispatches}


async def test_a_dispatch_by_a_listener_has_its_call_for_parent(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    sync = EventDispatcher()
    for one in (dispatcher, sync):
        one.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto", lambda event: sync.dispatch("verse"))
    add_named_listener(sync, "verse", "tenor", lambda event: sync.dispatch("line"))
    add_named_listener(sync, "verse", "bass", lambda event: sync.dispatch("word"))

    await dispatcher.adispatch("order.placed")

    assert parents(witness) == {"order.placed": None, "verse": "alto", "line": "tenor", "word": "bass"}
    assert witness.of("verse").parent is witness.call_of("alto")
    assert witness.call_of("alto").dispatch is witness.of("order.placed")


@every_strategy
async def test_dispatches_by_listeners_know_which_one_it_was(strategy: Any, witness: RecordingInstrument) -> None:
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
        add_named_async_listener(dispatcher, "order.placed", name, partial(sing, name))
        add_named_async_listener(
            dispatcher, f"verse of {name}", f"{name}'s friend", partial(sing_line, dispatcher, name)
        )

    await dispatcher.adispatch("order.placed")

    assert parents(witness) == {
        "order.placed": None,
        **{f"verse of {name}": name for name in arrived},
        **{f"line of {name}": f"{name}'s friend" for name in arrived},
        **{f"end of {name}": name for name in arrived},
    }


async def sing_line(dispatcher: AsyncEventDispatcher, name: str, event: Any) -> None:
    """Dispatch once more, a little later."""
    await anyio.lowlevel.checkpoint()
    await dispatcher.adispatch(f"line of {name}")


@every_strategy
async def test_what_is_dispatched_after_a_dispatch_has_no_parent(strategy: Any, witness: RecordingInstrument) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    add_named_async_listener(dispatcher, "order.placed", "alto", lambda event: anyio.lowlevel.checkpoint())

    for name in ("order.placed", "end"):
        await dispatcher.adispatch(name)

    assert parents(witness) == {"order.placed": None, "end": None}


async def test_what_is_dispatched_after_a_dispatch_that_failed_has_no_parent(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    def fail(event: Any) -> None:
        raise LookupError

    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed")

    await dispatcher.adispatch("end")

    assert parents(witness) == {"order.placed": None, "end": None}


@every_strategy
async def test_a_task_that_a_listener_starts_is_part_of_its_call(strategy: Any, witness: RecordingInstrument) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    over = anyio.Event()

    async def later() -> None:
        await over.wait()
        await dispatcher.adispatch("echo")

    async with anyio.create_task_group() as group:

        async def start(event: Any) -> None:
            group.start_soon(later)

        add_named_async_listener(dispatcher, "order.placed", "alto", start)
        await dispatcher.adispatch("order.placed")
        over.set()

    assert parents(witness) == {"order.placed": None, "echo": "alto"}


async def test_the_parent_may_belong_to_another_dispatcher(witness: RecordingInstrument) -> None:
    outer, inner = AsyncEventDispatcher(), AsyncEventDispatcher()
    for one in (outer, inner):
        one.add_instrument(witness)
    add_named_async_listener(outer, "order.placed", "alto", lambda event: inner.adispatch("verse"))

    await outer.adispatch("order.placed")

    assert parents(witness) == {"order.placed": None, "verse": "alto"}


async def test_dispatchers_without_instruments_are_no_parents(witness: RecordingInstrument) -> None:
    seen, unseen = AsyncEventDispatcher(), AsyncEventDispatcher()
    seen.add_instrument(witness)
    add_named_async_listener(seen, "order.placed", "alto", lambda event: unseen.adispatch("verse"))
    add_named_async_listener(unseen, "verse", "tenor", lambda event: seen.adispatch("line"))

    await seen.adispatch("order.placed")

    assert parents(witness) == {"order.placed": None, "line": "alto"}


async def test_a_scope_and_its_parent_share_parents(witness: RecordingInstrument) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    with dispatcher.scope() as scoped:
        add_named_async_listener(scoped, "order.placed", "alto", lambda event: dispatcher.adispatch("verse"))
        add_named_async_listener(dispatcher, "verse", "tenor", lambda event: scoped.adispatch("line"))
        await scoped.adispatch("order.placed")

    assert parents(witness) == {"order.placed": None, "verse": "alto", "line": "tenor"}


# Queues


@every_strategy
async def test_an_event_from_a_queue_has_the_call_that_posted_it_for_parent(
    strategy: Any, witness: RecordingInstrument
) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(witness)
    async with dispatcher.queue(workers=2) as queue:
        add_named_async_listener(dispatcher, "order.placed", "alto", lambda event: queue.post("verse"))
        add_named_async_listener(dispatcher, "order.placed", "bass", lambda event: anyio.lowlevel.checkpoint())
        add_named_listener(dispatcher, "verse", "tenor", lambda event: queue.post_nowait("line"))
        await dispatcher.adispatch("order.placed")
        await queue.post("coda")

    assert parents(witness) == {"order.placed": None, "coda": None, "verse": "alto", "line": "tenor"}


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


async def test_a_parent_is_there_after_the_dispatch_if_its_record_was_kept(witness: RecordingInstrument) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    add_named_async_listener(dispatcher, "order.placed", "alto", lambda event: dispatcher.adispatch("verse"))
    await dispatcher.adispatch("order.placed")
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
    strategy: Any, witness: RecordingInstrument
) -> None:
    dispatcher, sync = AsyncEventDispatcher(strategy=strategy), EventDispatcher()
    for one in (dispatcher, sync):
        one.add_instrument(witness)

    def work(event: Any) -> None:
        sync.dispatch("in the thread")
        anyio.from_thread.run(dispatcher.adispatch, "on the loop")

    dispatcher.add_listener("order.placed", named_thread(work, "alto"))
    add_named_async_listener(dispatcher, "order.placed", "bass", lambda event: anyio.lowlevel.checkpoint())

    await dispatcher.adispatch("order.placed")

    alto = repr(named_thread(work, "alto"))
    assert parents(witness) == {"order.placed": None, "in the thread": alto, "on the loop": alto}


def named_thread(function: Any, name: str) -> Any:
    """Make it run in a thread."""
    return in_thread(named(name, function))


async def test_a_loop_that_a_listener_runs_in_a_thread_is_part_of_its_call(witness: RecordingInstrument) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    add_named_async_listener(
        dispatcher,
        "order.placed",
        "alto",
        lambda event: anyio.to_thread.run_sync(anyio.run, dispatcher.adispatch, "elsewhere"),
    )

    await dispatcher.adispatch("order.placed")

    assert parents(witness) == {"order.placed": None, "elsewhere": "alto"}


def test_a_thread_with_a_context_of_its_own_has_no_parent(witness: RecordingInstrument) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(witness)

    def start(event: Any) -> None:
        thread = threading.Thread(target=dispatcher.dispatch, args=("elsewhere",))
        thread.start()
        thread.join()

    add_named_listener(dispatcher, "order.placed", "alto", start)
    dispatcher.dispatch("order.placed")

    assert parents(witness)["order.placed"] is None
    # 3.14 has threads that inherit a context, where it is built that way.
    assert parents(witness)["elsewhere"] in (None, "alto")


# Contexts


async def test_a_listener_of_a_sequential_dispatch_runs_in_the_context_of_the_caller(
    witness: RecordingInstrument,
) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable")
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)

    async def leave(event: Event) -> None:
        variable.set("left")

    dispatcher.add_listener("order.placed", leave)
    await dispatcher.adispatch("order.placed")

    assert variable.get() == "left"


def test_a_coroutine_that_is_driven_by_hand_may_be_closed_in_another_context(witness: RecordingInstrument) -> None:
    from contextvars import copy_context
    from types import coroutine

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)

    @coroutine
    def pause() -> Any:
        yield

    add_named_async_listener(dispatcher, "order.placed", "alto", lambda event: pause())
    steps = dispatcher.adispatch("order.placed")
    copy_context().run(steps.send, None)

    steps.close()

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: cancelled",
        "dispatched order.placed: cancelled",
    ]
