"""What instruments are told of listeners with options: called when they are really called, skipped otherwise."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher
from antiphon.testing import settle
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import (
    RecordingInstrument,
    add_named_async_listener,
    add_named_listener,
    name_of,
)
from tests.instruments.test_parents import every_strategy


@pytest.fixture
def observed(dispatcher: AnyDispatcher, witness: RecordingInstrument) -> AnyDispatcher:
    """A dispatcher of either kind that the witness sees."""
    dispatcher.add_instrument(witness)
    return dispatcher


@pytest.fixture
def asynchronous(witness: RecordingInstrument) -> AsyncEventDispatcher:
    """An async dispatcher that the witness sees."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(witness)
    return dispatcher


def fail(error: BaseException, event: Any = None) -> None:
    """Raise an error."""
    raise error


# where


async def test_one_whose_where_says_no_is_skipped(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    add_named_listener(observed, "order.placed", "alto", where=lambda event: False)
    add_named_listener(observed, "order.placed", "bass", where=lambda event: True)
    await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "skip alto: where",
        "call bass",
        "called bass: finished",
        "dispatched order.placed: finished",
    ]


async def test_one_that_its_where_removes_is_skipped_as_removed(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    alto = add_named_listener(observed, "order.placed", "alto", where=lambda event: alto.unsubscribe())
    await observed.adispatch("order.placed")

    assert witness.call_of("alto").skipped_because == "removed"


async def test_a_failing_where_is_a_call_that_failed_at_once(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    error = LookupError()
    called: list[Any] = []
    add_named_listener(observed, "order.placed", "alto", called.append, where=partial(fail, error))
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: failed",
        "dispatched order.placed: failed",
    ]
    assert witness.call_of("alto").error is error
    assert called == []


async def test_an_interrupt_in_a_where_skips_the_listener(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(observed, "order.placed", "alto", where=partial(fail, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        await observed.adispatch("order.placed")

    assert witness.call_of("alto").skipped_because == "cancelled"


# once


async def test_once_in_overlapping_dispatches(asynchronous: AsyncEventDispatcher, witness: RecordingInstrument) -> None:
    calls: list[Any] = []
    add_named_async_listener(asynchronous, "order.placed", "first", lambda event: anyio.lowlevel.checkpoint())
    add_named_listener(asynchronous, "order.placed", "alto", calls.append, once=True)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(asynchronous.adispatch, "order.placed")

    altos = [record for record in witness.listeners if name_of(record) == "alto"]
    assert len(calls) == 1
    assert sorted(record.outcome for record in altos) == ["finished", "skipped"]
    # The claim took the registration back before the other dispatch reached it.
    assert {record.skipped_because for record in altos} == {None, "removed"}


async def test_a_claim_that_comes_too_late_is_told_as_once() -> None:
    dispatcher, witness = EventDispatcher(), RecordingInstrument()
    dispatcher.add_instrument(witness)
    alto = add_named_listener(dispatcher, "order.placed", "alto", once=True)
    registry: Any = dispatcher._registry
    discard = registry.discard

    class Late:
        """As if another thread had claimed the call in between."""

        def discard(self, subscription: Any) -> bool:
            discard(subscription)
            return False

    alto._owner = Late()
    dispatcher.dispatch("order.placed")

    assert witness.lines == ["dispatch order.placed", "skip alto: once", "dispatched order.placed: finished"]


async def test_the_first_call_of_a_once_is_told_as_any(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    add_named_listener(observed, "order.placed", "alto", once=True)
    await observed.adispatch("order.placed")
    await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: finished",
        "dispatched order.placed: finished",
        "dispatch order.placed",
        "dispatched order.placed: finished",
    ]


# timeout


@every_strategy
async def test_a_timeout_is_the_error_of_the_listener(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    add_named_async_listener(asynchronous, "order.placed", "alto", lambda event: anyio.sleep_forever(), timeout=1e-9)
    with pytest.raises((TimeoutError, ExceptionGroup)):
        await asynchronous.adispatch("order.placed", strategy=strategy)

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: failed",
        "dispatched order.placed: failed",
    ]
    assert isinstance(witness.call_of("alto").error, TimeoutError)


# limit


async def test_one_that_waits_for_its_limit_is_not_called_yet(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    go_on = anyio.Event()
    add_named_async_listener(asynchronous, "order.placed", "alto", lambda event: go_on.wait(), limit=1)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(asynchronous.adispatch, "order.placed")
        await settle()
        assert witness.lines.count("call alto") == 1
        go_on.set()

    assert [record.outcome for record in witness.listeners] == ["finished", "finished"]
    first, second = witness.listeners
    assert first.finished is not None
    assert second.started is not None
    assert first.finished <= second.started


async def test_observed_calls_and_others_share_the_limit(witness: RecordingInstrument) -> None:
    dispatcher, go_on, running = AsyncEventDispatcher(), anyio.Event(), []

    async def sing(event: Any) -> None:
        running.append(event)
        await go_on.wait()

    add_named_async_listener(dispatcher, "order.placed", "alto", sing, limit=1)
    with dispatcher.scope() as scoped:
        scoped.add_instrument(witness)
        async with anyio.create_task_group() as group:
            for one in (dispatcher, scoped):
                group.start_soon(one.adispatch, "order.placed")
            await settle()
            assert len(running) == 1
            go_on.set()

    assert len(running) == 2


async def test_one_that_is_cancelled_while_it_waits_for_its_limit_is_skipped(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    go_on = anyio.Event()
    add_named_async_listener(asynchronous, "order.placed", "alto", lambda event: go_on.wait(), limit=1)
    async with anyio.create_task_group() as group:
        group.start_soon(asynchronous.adispatch, "order.placed")
        await settle()
        with anyio.move_on_after(0):
            await asynchronous.adispatch("order.placed")
        go_on.set()

    assert [(record.outcome, record.skipped_because) for record in witness.listeners] == [
        ("finished", None),
        ("skipped", "cancelled"),
    ] or [record.skipped_because for record in witness.listeners] == ["cancelled", None]


async def test_one_that_is_removed_while_it_waits_for_its_limit_is_skipped(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    go_on = anyio.Event()
    alto = add_named_async_listener(asynchronous, "order.placed", "alto", lambda event: go_on.wait(), limit=1)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(asynchronous.adispatch, "order.placed")
        await settle()
        alto.unsubscribe()
        go_on.set()

    assert sorted(str(record.skipped_because) for record in witness.listeners) == ["None", "removed"]


async def test_one_that_would_wait_for_itself_has_failed(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    add_named_async_listener(
        asynchronous, "order.placed", "alto", lambda event: asynchronous.adispatch("order.placed"), limit=1
    )
    with pytest.raises(RuntimeError, match="it would wait for itself"):
        await asynchronous.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "dispatch order.placed",
        "call alto",
        "called alto: failed",
        "dispatched order.placed: failed",
        "called alto: failed",
        "dispatched order.placed: failed",
    ]


# All together


async def test_all_options_together(asynchronous: AsyncEventDispatcher, witness: RecordingInstrument) -> None:
    called: list[Any] = []

    async def sing(event: Any) -> None:
        called.append(event)
        await asynchronous.adispatch("verse")

    add_named_async_listener(asynchronous, "order.placed", "alto", sing, where=bool, once=True, timeout=60, limit=2)
    add_named_async_listener(asynchronous, "order.placed", "bass", sing, where=bool, timeout=60, limit=2)
    event = Event()
    await asynchronous.adispatch("order.placed", event, strategy=Concurrent())

    assert called == [event, event]
    assert sorted(record.outcome for record in witness.listeners) == ["finished", "finished"]
    assert {name_of(record.parent) for record in witness.dispatches} == {None, "alto", "bass"}


async def test_options_do_the_same_after_the_instruments_have_gone(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    called: list[Any] = []
    alto = add_named_listener(
        asynchronous, "order.placed", "alto", called.append, where=lambda event: len(called) < 2, limit=1
    )
    before = alto.call
    await asynchronous.adispatch("order.placed")
    asynchronous.remove_instrument(witness)
    for _ in range(3):
        await asynchronous.adispatch("order.placed")

    assert len(called) == 2
    assert alto.call is before
