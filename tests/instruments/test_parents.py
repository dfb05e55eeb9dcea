"""The parent of a dispatch is the listener call in which it was started."""

from __future__ import annotations

import gc
import threading
from contextvars import ContextVar, copy_context
from functools import partial
from types import SimpleNamespace, coroutine

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from antiphon import AsyncEventDispatcher, EventDispatcher, in_thread
from antiphon.instruments import DispatchRecord
from antiphon.testing import settle
from tests.instruments.recording_instrument import add, every_strategy, fail, lines, name_of, named, pause


def parents(instrument):
    """Return for each name the listener in which it was dispatched."""
    return {record.name: name_of(record.parent) for record in instrument.dispatches}


def make_observed(instrument, strategy=None):
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_instrument(instrument)
    return dispatcher


async def test_dispatch_in_a_listener_has_its_call_as_parent(observed, instrument):
    sync = EventDispatcher()
    sync.add_instrument(instrument)
    add(observed, "order.placed", "validate", lambda event: sync.dispatch("order.paid"))
    add(sync, "order.paid", "charge", lambda event: sync.dispatch("order.packed"))
    add(sync, "order.paid", "receipt", lambda event: sync.dispatch("order.sent"))

    await observed.adispatch("order.placed")

    assert parents(instrument) == {
        "order.placed": None,
        "order.paid": "validate",
        "order.packed": "charge",
        "order.sent": "receipt",
    }
    assert instrument.of("order.paid").parent is instrument.call_of("validate")
    assert instrument.call_of("validate").dispatch is instrument.of("order.placed")


@every_strategy
async def test_concurrent_listeners_are_told_apart(strategy, instrument):
    dispatcher = make_observed(instrument, strategy)
    arrived = {name: anyio.Event() for name in ("validate", "charge")}

    async def dispatch_twice(name, event):
        await dispatcher.adispatch(f"start of {name}")
        arrived[name].set()
        if repr(strategy) in ("Concurrent()", "Race()", "CustomConcurrent()"):
            for each in arrived.values():
                await each.wait()
        await dispatcher.adispatch(f"end of {name}")

    async def dispatch_later(name, event):
        await pause()
        await dispatcher.adispatch(f"inner of {name}")

    for name in arrived:
        add(dispatcher, "order.placed", name, partial(dispatch_twice, name))
        add(dispatcher, f"start of {name}", f"audit of {name}", partial(dispatch_later, name))

    await dispatcher.adispatch("order.placed")

    assert parents(instrument) == {
        "order.placed": None,
        **{f"start of {name}": name for name in arrived},
        **{f"inner of {name}": f"audit of {name}" for name in arrived},
        **{f"end of {name}": name for name in arrived},
    }


@every_strategy
async def test_next_dispatch_has_no_parent(strategy, instrument):
    dispatcher = make_observed(instrument, strategy)
    add(dispatcher, "order.placed", "validate", pause)

    for name in ("order.placed", "order.paid"):
        await dispatcher.adispatch(name)

    assert parents(instrument) == {"order.placed": None, "order.paid": None}


async def test_next_dispatch_after_a_failure_has_no_parent(observed, instrument):
    add(observed, "order.placed", "validate", partial(fail, LookupError()))
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    await observed.adispatch("order.paid")

    assert parents(instrument) == {"order.placed": None, "order.paid": None}


@every_strategy
async def test_task_of_a_listener_is_part_of_its_call(strategy, instrument):
    dispatcher, finished = make_observed(instrument, strategy), anyio.Event()

    async def dispatch_later():
        await finished.wait()
        await dispatcher.adispatch("order.paid")

    async with anyio.create_task_group() as group:

        def start(event):
            group.start_soon(dispatch_later)

        add(dispatcher, "order.placed", "validate", start)
        await dispatcher.adispatch("order.placed")
        finished.set()

    assert parents(instrument) == {"order.placed": None, "order.paid": "validate"}


@pytest.mark.parametrize("inner_is_observed", [True, False])
async def test_parents_across_dispatchers(inner_is_observed, observed_async, instrument):
    """A dispatcher without instruments is skipped: the parent is the nearest call that was recorded."""
    inner = make_observed(instrument) if inner_is_observed else AsyncEventDispatcher()
    add(observed_async, "order.placed", "validate", lambda event: inner.adispatch("order.paid"))
    add(inner, "order.paid", "charge", lambda event: observed_async.adispatch("order.sent"))

    await observed_async.adispatch("order.placed")

    if inner_is_observed:
        assert parents(instrument) == {"order.placed": None, "order.paid": "validate", "order.sent": "charge"}
    else:
        assert parents(instrument) == {"order.placed": None, "order.sent": "validate"}


async def test_parents_across_a_scope_and_its_parent(observed_async, instrument):
    with observed_async.scope() as scoped:
        add(scoped, "order.placed", "validate", lambda event: observed_async.adispatch("order.paid"))
        add(observed_async, "order.paid", "charge", lambda event: scoped.adispatch("order.sent"))
        await scoped.adispatch("order.placed")

    assert parents(instrument) == {"order.placed": None, "order.paid": "validate", "order.sent": "charge"}


# Queues, and how long records live


@every_strategy
async def test_parent_of_a_queued_event_is_the_call_that_posted_it(strategy, instrument):
    dispatcher = make_observed(instrument, strategy)
    async with dispatcher.queue(workers=2) as queue:
        add(dispatcher, "order.placed", "validate", lambda event: queue.post("order.paid"))
        add(dispatcher, "order.placed", "charge", pause)
        add(dispatcher, "order.paid", "receipt", lambda event: queue.post_nowait("order.sent"))
        await dispatcher.adispatch("order.placed")
        await queue.post("order.closed")

    assert parents(instrument) == {
        "order.placed": None,
        "order.closed": None,
        "order.paid": "validate",
        "order.sent": "receipt",
    }


def count_dispatch_records():
    gc.collect()
    return sum(isinstance(each, DispatchRecord) for each in gc.get_objects())


@pytest.mark.parametrize("way", ["queue of 1", "queue of 2", "tasks"])
@every_strategy
async def test_chain_of_dispatches_keeps_no_chain_of_records(strategy, way):
    dispatcher, has_parent, alive = AsyncEventDispatcher(strategy=strategy), [], []
    dispatcher.add_instrument(
        SimpleNamespace(dispatch_started=lambda record: has_parent.append(record.parent is not None))
    )
    before = count_dispatch_records()

    async def dispatch_later():
        await settle()
        await dispatcher.adispatch("tick")

    async with anyio.create_task_group() as group, dispatcher.queue(workers=2 if way == "queue of 2" else 1) as queue:

        async def tick(event):
            if len(has_parent) == 20:
                alive.append(count_dispatch_records())
            elif way == "tasks":
                group.start_soon(dispatch_later)
            else:
                await queue.post("tick")
                # With two workers, the next dispatch starts before this call ends.
                await settle()

        dispatcher.add_listener("tick", tick)
        await (dispatcher.adispatch if way == "tasks" else queue.post)("tick")

    assert has_parent == [False] + [True] * 19
    assert alive[0] - before < 5


async def test_parent_lives_as_long_as_its_record_is_kept(observed_async, instrument):
    add(observed_async, "order.placed", "validate", lambda event: observed_async.adispatch("order.paid"))
    await observed_async.adispatch("order.placed")
    gc.collect()

    paid = instrument.of("order.paid")
    assert paid.parent is instrument.call_of("validate")

    instrument.dispatches.clear()
    instrument.listeners.clear()
    gc.collect()
    assert paid.parent is None


# Threads


@every_strategy
async def test_worker_thread_is_part_of_the_call_of_its_listener(strategy, instrument):
    dispatcher, sync = make_observed(instrument, strategy), EventDispatcher()
    sync.add_instrument(instrument)

    def work(event):
        sync.dispatch("in the thread")
        anyio.from_thread.run(dispatcher.adispatch, "on the loop")

    validate = in_thread(named("validate", work))
    dispatcher.add_listener("order.placed", validate)
    add(dispatcher, "order.placed", "charge", pause)

    await dispatcher.adispatch("order.placed")

    assert parents(instrument) == {
        "order.placed": None,
        "in the thread": repr(validate),
        "on the loop": repr(validate),
    }


async def test_other_loop_in_a_thread_is_part_of_the_call(observed_async, instrument):
    def work(event):
        return anyio.to_thread.run_sync(anyio.run, observed_async.adispatch, "elsewhere")

    add(observed_async, "order.placed", "validate", work)

    await observed_async.adispatch("order.placed")

    assert parents(instrument) == {"order.placed": None, "elsewhere": "validate"}


def test_thread_with_its_own_context_has_no_parent(instrument):
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(instrument)

    def start(event):
        thread = threading.Thread(target=dispatcher.dispatch, args=("elsewhere",))
        thread.start()
        thread.join()

    add(dispatcher, "order.placed", "validate", start)
    dispatcher.dispatch("order.placed")

    assert parents(instrument)["order.placed"] is None
    # Threads of some builds of Python 3.14 inherit the context.
    assert parents(instrument)["elsewhere"] in (None, "validate")


# Contexts


async def test_sequential_listener_runs_in_the_context_of_the_caller(observed_async):
    variable = ContextVar("variable")
    add(observed_async, "order.placed", "validate", lambda event: variable.set("set") and None)
    await observed_async.adispatch("order.placed")

    assert variable.get() == "set"


def test_coroutine_may_be_closed_in_another_context(observed_async, instrument):
    @coroutine
    def suspend():
        yield

    add(observed_async, "order.placed", "validate", lambda event: suspend())
    steps = observed_async.adispatch("order.placed")
    copy_context().run(steps.send, None)

    steps.close()

    assert instrument.lines == lines("validate: cancelled", outcome="cancelled")


async def test_event_of_an_observed_dispatch_is_in_flight_for_other_dispatchers(observed, instrument):
    other = type(observed)()
    call = other.dispatch if isinstance(other, EventDispatcher) else other.adispatch
    seen = []
    add(other, "order.paid", "stop", lambda event: event.stop_propagation())
    add(observed, "order.placed", "nest", lambda event: call("order.paid", event))
    add(observed, "order.placed", "look", lambda event: seen.append((event.name, event.propagation_stopped)))

    await observed.adispatch("order.placed")

    assert seen == [("order.placed", False)]


def test_a_plain_dispatch_after_another_one_has_no_parent(instrument):
    """A plain dispatch runs a listener with options by other code than its loop."""
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(instrument)
    dispatcher.add_listener("order.placed", lambda event: None, where=lambda event: True)

    for _ in range(2):
        dispatcher.dispatch("order.placed")

    assert [record.parent for record in instrument.dispatches] == [None, None]
