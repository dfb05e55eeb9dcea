"""Listeners with options are recorded as called when they are really called, and else as skipped."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event
from antiphon.testing import settle
from tests.instruments.recording_instrument import add, every_strategy, fail, lines, name_of, pause


@pytest.fixture
def limited(observed_async):
    """A listener with a limit of one call, which waits for ``limited.may_end``."""

    class Limited:
        may_end = anyio.Event()
        running = 0

        async def wait(self, event):
            self.running += 1
            await self.may_end.wait()

        async def dispatch_twice(self, group):
            for _ in range(2):
                group.start_soon(observed_async.adispatch, "order.placed")
            await settle()
            assert self.running == 1

    limited = Limited()
    limited.subscription = add(observed_async, "order.placed", "validate", limited.wait, limit=1)
    return limited


# where


async def test_false_where_skips_the_listener(observed, instrument):
    add(observed, "order.placed", "validate", where=lambda event: False)
    add(observed, "order.placed", "charge", where=lambda event: True)
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("skip validate: where", "charge")


async def test_where_that_removes_its_listener_skips_it(observed, instrument):
    validate = add(observed, "order.placed", "validate", where=lambda event: validate.unsubscribe())
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("skip validate: removed")


async def test_raising_where_is_a_failed_call(observed, instrument):
    error, called = LookupError(), []
    add(observed, "order.placed", "validate", called.append, where=partial(fail, error))
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate: failed", outcome="failed")
    assert instrument.call_of("validate").error is error
    assert called == []


async def test_interrupt_in_where_skips_the_listener(observed, instrument):
    add(observed, "order.placed", "validate", where=partial(fail, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        await observed.adispatch("order.placed")

    assert instrument.lines == lines("skip validate: cancelled", outcome="cancelled")


# once


async def test_once_is_recorded_as_one_call(observed, instrument):
    add(observed, "order.placed", "validate", once=True)
    await observed.adispatch("order.placed")
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate") + lines()


async def test_once_in_overlapping_dispatches(observed_async, instrument):
    calls = []
    add(observed_async, "order.placed", "validate", pause)
    add(observed_async, "order.placed", "charge", calls.append, once=True)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(observed_async.adispatch, "order.placed")

    charges = [record for record in instrument.listeners if name_of(record) == "charge"]
    assert len(calls) == 1
    # The call removed the registration before the other dispatch reached it.
    ends = [(record.outcome, record.skipped_because) for record in charges]
    assert sorted(ends) == [("finished", None), ("skipped", "removed")]


async def test_late_claim_is_skipped_as_once(observed, instrument):
    validate = add(observed, "order.placed", "validate", once=True)
    discard = observed._registry.discard

    class ClaimedByAnotherThread:
        def discard(self, subscription):
            discard(subscription)
            return False

    validate._owner = ClaimedByAnotherThread()
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("skip validate: once")


# timeout


@every_strategy
async def test_timeout_is_the_error_of_its_listener(strategy, observed_async, instrument):
    add(observed_async, "order.placed", "validate", lambda event: anyio.sleep_forever(), timeout=1e-9)
    with pytest.raises((TimeoutError, ExceptionGroup)):
        await observed_async.adispatch("order.placed", strategy=strategy)

    assert instrument.lines == lines("validate: failed", outcome="failed")
    assert isinstance(instrument.call_of("validate").error, TimeoutError)


# limit


async def test_listener_that_waits_for_its_limit_is_not_called(limited, instrument):
    async with anyio.create_task_group() as group:
        await limited.dispatch_twice(group)
        assert instrument.lines.count("call validate") == 1
        limited.may_end.set()

    first, second = instrument.listeners
    assert (first.outcome, second.outcome) == ("finished", "finished")
    assert first.finished <= second.started


async def test_observed_and_plain_calls_share_the_limit(instrument):
    dispatcher, may_end, running = AsyncEventDispatcher(), anyio.Event(), []

    async def wait(event):
        running.append(event)
        await may_end.wait()

    add(dispatcher, "order.placed", "validate", wait, limit=1)
    with dispatcher.scope() as scoped:
        scoped.add_instrument(instrument)
        async with anyio.create_task_group() as group:
            for each in (dispatcher, scoped):
                group.start_soon(each.adispatch, "order.placed")
            await settle()
            assert len(running) == 1
            may_end.set()

    assert len(running) == 2


@pytest.mark.parametrize("end", ["removed", "cancelled"])
async def test_listener_is_skipped_while_it_waits_for_its_limit(limited, observed_async, instrument, end):
    async with anyio.create_task_group() as group:
        if end == "removed":
            await limited.dispatch_twice(group)
            limited.subscription.unsubscribe()
        else:
            group.start_soon(observed_async.adispatch, "order.placed")
            await settle()
            with anyio.move_on_after(0):
                await observed_async.adispatch("order.placed")
        limited.may_end.set()

    ends = [(record.outcome, record.skipped_because) for record in instrument.listeners]
    assert sorted(ends) == [("finished", None), ("skipped", end)]


async def test_listener_that_would_wait_for_itself_fails(observed_async, instrument):
    add(observed_async, "order.placed", "validate", lambda event: observed_async.adispatch("order.placed"), limit=1)
    with pytest.raises(RuntimeError, match="it would wait for itself"):
        await observed_async.adispatch("order.placed")

    inner = lines("validate: failed", outcome="failed")
    assert instrument.lines == [*inner[:2], *inner, *inner[2:]]


# All together


async def test_all_options_together(observed_async, instrument):
    called = []

    async def listener(event):
        called.append(event)
        await observed_async.adispatch("order.paid")

    add(observed_async, "order.placed", "validate", listener, where=bool, once=True, timeout=60, limit=2)
    add(observed_async, "order.placed", "charge", listener, where=bool, timeout=60, limit=2)
    event = Event()
    await observed_async.adispatch("order.placed", event, strategy=Concurrent())

    assert called == [event, event]
    assert [record.outcome for record in instrument.listeners] == ["finished", "finished"]
    assert {name_of(record.parent) for record in instrument.dispatches} == {None, "validate", "charge"}


async def test_options_are_unchanged_after_the_instrument_is_removed(observed_async, instrument):
    called = []
    validate = add(
        observed_async, "order.placed", "validate", called.append, where=lambda event: len(called) < 2, limit=1
    )
    before = validate.call
    await observed_async.adispatch("order.placed")
    observed_async.remove_instrument(instrument)
    for _ in range(3):
        await observed_async.adispatch("order.placed")

    assert len(called) == 2
    assert validate.call is before
