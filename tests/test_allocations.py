"""Nothing is left behind: the blocks that Python has allocated do not grow with the number of dispatches.

Those that take a microsecond are done a million times, the dearer ones twenty thousand times, and those that raise
five thousand times.
"""

from __future__ import annotations

import gc
import sys

import pytest
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon._registry.registry import MAX_CACHED_NAMES_WITHOUT_LISTENERS

MANY = 1_000_000
#: The plans of names that no listener to are forgotten when there are so many; so it ends as full as it began.
FEWER = 20 * MAX_CACHED_NAMES_WITHOUT_LISTENERS
DEAREST = 5_000

#: Fills every cache, also the bounded one of names that no listener to.
WARM_UPS = 1_500

#: What an event loop and the interpreter take or give back meanwhile, however long it lasts. One block for each of
#: five thousand dispatches would be a hundred times as much.
TOLERANCE = 50

#: How often the work is done at most until it leaves nothing behind.
ROUNDS = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(sys, "getallocatedblocks"), reason="this Python does not count its blocks"),
    # Not uvloop too: it is the same code of ours, and takes long.
    pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"]),
]


class OrderPlaced(Event):
    pass


async def returning(event):
    pass


async def suspending(event):
    await checkpoint()


async def failing(event):
    raise ValueError("no such order")


async def stopping(event):
    event.stop_propagation()


def passed_over(error, event, listener):
    pass


def make_dispatcher(*listeners, strategy=None):
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in listeners:
        dispatcher.add_listener("order.placed", listener)
    return dispatcher


def repeated(dispatcher):
    """The same dispatch, with an event made for each."""

    async def work(times):
        for _ in range(times):
            try:
                await dispatcher.adispatch("order.placed", OrderPlaced())
            except Exception:
                pass

    return work


def given_again():
    dispatcher, event = make_dispatcher(returning), OrderPlaced()

    async def work(times):
        for _ in range(times):
            await dispatcher.adispatch("order.placed", event)

    return work


def synchronous():
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", lambda event: None)

    async def work(times):
        for _ in range(times):
            dispatcher.dispatch("order.placed", OrderPlaced())

    return work


def nested():
    dispatcher = make_dispatcher()

    async def again(event):
        await dispatcher.adispatch("order.placed.again", event)

    dispatcher.add_listener("order.placed", again)
    dispatcher.add_listener("order.placed.again", returning)
    return repeated(dispatcher)


def under_new_names():
    dispatcher = make_dispatcher()
    dispatcher.add_listener("order.*", returning)

    async def work(times):
        for number in range(times):
            await dispatcher.adispatch(f"order.{number}", OrderPlaced())

    return work


def with_events_of_new_classes():
    dispatcher = make_dispatcher(returning)

    async def work(times):
        for _ in range(times // 10):  # a class is dear
            await dispatcher.adispatch("order.placed", type("OrderPlaced", (Event,), {})())

    return work


def once():
    dispatcher = make_dispatcher()

    async def work(times):
        for _ in range(times):
            dispatcher.add_listener("order.placed", returning, once=True)
            await dispatcher.adispatch("order.placed", OrderPlaced())

    return work


def added_and_removed():
    dispatcher = make_dispatcher(suspending)

    async def work(times):
        for number in range(times):
            with dispatcher.add_listener("order.placed", returning, limit=1, timeout=60):
                await dispatcher.adispatch("order.placed", OrderPlaced())
            dispatcher.add_listener(f"order.{number}", returning)
            dispatcher.remove_listener(f"order.{number}", returning)

    return work


def on_scopes():
    dispatcher = make_dispatcher(returning)

    async def work(times):
        for _ in range(times):
            with dispatcher.scope() as scoped:
                scoped.add_listener("order.placed", returning)
                await scoped.adispatch("order.placed", OrderPlaced())

    return work


TOGETHER = {"Concurrent": Concurrent, "Race": Race}
POLICIES = {"raise": "raise", "collect": "collect", "callable": passed_over}

CASES = {
    "no listener": (lambda: repeated(make_dispatcher()), MANY),
    "one listener": (lambda: repeated(make_dispatcher(returning)), MANY),
    "the same event again": (given_again, MANY),
    "synchronous": (synchronous, MANY),
    "nested": (nested, FEWER),
    "under new names": (under_new_names, FEWER),
    "with events of new classes": (with_events_of_new_classes, FEWER),
    "once": (once, FEWER),
    "added and removed": (added_and_removed, FEWER),
    "on scopes": (on_scopes, FEWER // 2),
    **{
        f"{name}, {listener.__name__}": (
            lambda strategy=strategy, listener=listener: repeated(
                make_dispatcher(listener, returning, strategy=strategy())
            ),
            DEAREST if listener is stopping else FEWER,
        )
        for name, strategy in TOGETHER.items()
        for listener in (returning, suspending, stopping)
    },
    **{
        f"{name}, errors {policy}": (
            lambda strategy=strategy, errors=errors: repeated(
                make_dispatcher(returning, failing, strategy=strategy(errors=errors))
            ),
            DEAREST,
        )
        for name, strategy in {"Sequential": Sequential, **TOGETHER}.items()
        for policy, errors in POLICIES.items()
    },
}


async def grown(work, times):
    """Tells by how many blocks the memory has grown while the work was done so many times.

    What Python, asyncio and anyio cache on the way grows once. What a dispatch leaves behind grows in each round.
    """
    await work(WARM_UPS)
    growth = TOLERANCE
    for _ in range(ROUNDS):
        gc.collect()
        before = sys.getallocatedblocks()
        await work(times)
        gc.collect()
        growth = sys.getallocatedblocks() - before
        if growth < TOLERANCE:
            break
    return growth


@pytest.mark.parametrize("case", CASES)
async def test_dispatches_leave_nothing_behind(case):
    build, times = CASES[case]

    assert await grown(build(), times) < TOLERANCE


async def test_a_block_left_behind_by_each_dispatch_is_seen():
    kept = []

    async def keeping(event):
        kept.append(event)

    assert await grown(repeated(make_dispatcher(keeping)), FEWER) >= FEWER
