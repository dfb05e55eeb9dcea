"""What the records tell: of a dispatch, and of each of its listeners."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    ListenerCancelled,
    Race,
    Sequential,
    in_thread,
    inline,
)
from antiphon.instruments import DispatchRecord, ListenerRecord
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import (
    RecordingInstrument,
    add_named_async_listener,
    add_named_listener,
    name_of,
    named,
)
from tests.instruments.test_parents import OneByOne, every_strategy


class OrderPlaced(Event):
    name = "order.placed"


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


async def pause(event: Any = None) -> None:
    """Let others run."""
    await anyio.lowlevel.checkpoint()


# What a record says of a dispatch


async def test_a_record_knows_event_name_and_dispatcher(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    event = OrderPlaced()
    await observed.adispatch("another", event)

    record = witness.of("another")
    assert (record.event, record.name, record.dispatcher) == (event, "another", observed)


async def test_the_event_carries_name_and_dispatcher_when_the_dispatch_is_told(observed: AnyDispatcher) -> None:
    told: list[Any] = []

    class Look:
        def dispatch_started(self, record: DispatchRecord) -> None:
            told.append(("started", record.event.name, record.event.dispatcher, record.event.propagation_stopped))

        def dispatch_finished(self, record: DispatchRecord) -> None:
            told.append(("finished", record.event.name, record.event.dispatcher, record.event.propagation_stopped))

    observed.add_instrument(Look())
    add_named_listener(observed, "order.placed", "alto", lambda event: event.stop_propagation())
    await observed.adispatch("order.placed")

    assert told == [("started", "order.placed", observed, False), ("finished", "order.placed", observed, True)]


async def test_the_end_of_a_nested_dispatch_is_told_before_the_outer_view_is_put_back() -> None:
    dispatcher, told = EventDispatcher(), []

    class Look:
        def dispatch_finished(self, record: DispatchRecord) -> None:
            told.append((record.name, record.event.name))

    dispatcher.add_instrument(Look())
    add_named_listener(dispatcher, "order.placed", "alto", lambda event: dispatcher.dispatch("verse", event))
    dispatcher.dispatch("order.placed", Event())

    assert told == [("verse", "verse"), ("order.placed", "order.placed")]


async def test_an_event_without_a_name_has_none_in_the_record(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    await observed.adispatch(Event())

    assert witness.dispatches[0].name is None


async def test_the_name_is_the_one_given_and_not_an_equal_one(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(observed, 1, "alto")
    await observed.adispatch(1, Event())
    await observed.adispatch(True, Event())

    assert [record.name for record in witness.dispatches] == [1, True]
    assert witness.dispatches[1].name is True


@dataclass(frozen=True, slots=True)
class Bare:
    """Nothing can be set on it, and it cannot be stopped."""

    text: str


async def test_bare_events_are_seen_too(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    add_named_listener(observed, "order.placed", "alto")
    event = Bare("hum")
    await observed.adispatch("order.placed", event)

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: finished",
        "dispatched order.placed: finished",
    ]
    assert witness.of("order.placed").event is event


async def test_times_are_those_of_the_performance_counter_and_lie_within_each_other(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(observed, "order.placed", "alto")
    before = perf_counter()
    await observed.adispatch("order.placed")
    after = perf_counter()

    song, alto = witness.of("order.placed"), witness.call_of("alto")
    assert song.finished is not None
    assert alto.started is not None
    assert alto.finished is not None
    assert before <= song.started <= alto.started <= alto.finished <= song.finished <= after
    assert (song.duration, alto.duration) == (song.finished - song.started, alto.finished - alto.started)


async def test_durations_are_there_at_the_end(observed: AnyDispatcher) -> None:
    durations: list[bool] = []

    class Look:
        def dispatch_started(self, record: DispatchRecord) -> None:
            durations.append(record.duration is None and record.outcome == "running" and record.finished is None)

        listener_started = dispatch_started  # type: ignore[assignment]  # both have what it asks for

        def dispatch_finished(self, record: DispatchRecord) -> None:
            durations.append(record.duration is not None and record.outcome == "finished")

        listener_finished = dispatch_finished  # type: ignore[assignment]  # both have what it asks for

    observed.add_instrument(Look())
    add_named_listener(observed, "order.placed", "alto")
    await observed.adispatch("order.placed")

    assert durations == [True] * 4


async def test_nobody_listened(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    add_named_listener(observed, "order.placed", "alto")
    await observed.adispatch("order.placed")
    await observed.adispatch("silence")

    assert [record.nobody_listened for record in witness.dispatches] == [False, True]
    assert witness.of("silence").outcome == "finished"


async def test_the_listeners_of_a_dispatch_are_known_from_the_beginning_and_in_order(observed: AnyDispatcher) -> None:
    listeners: list[Any] = []

    class Look:
        def dispatch_started(self, record: DispatchRecord) -> None:
            listeners.append(record.listeners)

        def dispatch_finished(self, record: DispatchRecord) -> None:
            listeners.append(record.listeners)

    observed.add_instrument(Look())
    for name, priority in (("bass", 10), ("alto", -10), ("tenor", 0)):
        add_named_listener(observed, "order.placed", name, priority=priority)
    await observed.adispatch("order.placed")

    assert listeners[0] is listeners[1]
    assert [name_of(record) for record in listeners[0]] == ["alto", "tenor", "bass"]


async def test_a_listener_record_knows_its_registration(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    subscription = add_named_listener(observed, "*", "alto", priority=3, once=True)
    await observed.adispatch("order.placed")

    record = witness.call_of("alto")
    assert record.subscription is subscription
    assert record.listener is subscription.listener
    assert (record.subscription.key, record.subscription.priority, record.subscription.options.once) == ("*", 3, True)


async def test_each_call_of_a_listener_has_a_record_of_its_own(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    subscription = add_named_listener(observed, "order.placed", "alto")
    observed.add_listener("order.placed", subscription.listener)
    await observed.adispatch("order.placed")
    await observed.adispatch("order.placed")

    assert len(set(witness.listeners)) == 4
    assert [record.listeners for record in witness.dispatches] == [
        tuple(witness.listeners[:2]),
        tuple(witness.listeners[2:]),
    ]


async def test_records_have_a_repr(observed: AnyDispatcher, witness: RecordingInstrument) -> None:
    subscription = add_named_listener(observed, "order.placed", "alto")
    await observed.adispatch("order.placed", OrderPlaced())

    assert repr(witness.of("order.placed")) == "<DispatchRecord 'order.placed' (OrderPlaced), finished>"
    assert repr(witness.call_of("alto")) == f"<ListenerRecord {subscription.listener!r}, finished>"


# Errors


async def test_an_error_is_on_both_records_as_the_same_object(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    error = LookupError()
    add_named_listener(observed, "order.placed", "alto", partial(fail, error))
    add_named_listener(observed, "order.placed", "bass")
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: failed",
        "skip bass: failed",
        "dispatched order.placed: failed",
    ]
    assert witness.of("order.placed").error is witness.call_of("alto").error is error
    assert witness.call_of("bass").error is None


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_a_failing_listener_cancels_its_siblings(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    error, waiting = LookupError(), anyio.Event()

    async def wait(event: Any) -> None:
        waiting.set()
        await anyio.sleep_forever()

    async def wait_and_fail(event: Any) -> None:
        await waiting.wait()
        raise error

    add_named_async_listener(asynchronous, "order.placed", "alto", wait)
    add_named_async_listener(asynchronous, "order.placed", "bass", wait_and_fail)
    add_named_async_listener(asynchronous, "order.placed", "later", wait, priority=1)
    with pytest.raises(ExceptionGroup) as caught:
        await asynchronous.adispatch("order.placed", strategy=strategy)

    outcomes = {name: witness.call_of(name).outcome for name in ("alto", "bass", "later")}
    assert outcomes == {"alto": "cancelled", "bass": "failed", "later": "skipped"}
    assert witness.call_of("bass").error is error
    assert witness.call_of("later").skipped_because == "failed"
    assert witness.of("order.placed").error is caught.value
    assert witness.of("order.placed").outcome == "failed"


@pytest.mark.parametrize(
    "strategy", [Sequential(errors="collect"), Concurrent(errors="collect"), Race(errors="collect")], ids=repr
)
async def test_collected_errors_let_all_run(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    for name in ("alto", "bass"):
        add_named_listener(asynchronous, "order.placed", name, partial(fail, LookupError(name)))
    with pytest.raises(ExceptionGroup) as caught:
        await asynchronous.adispatch("order.placed", strategy=strategy)

    assert [record.outcome for record in witness.listeners] == ["failed", "failed"]
    assert tuple(record.error for record in witness.of("order.placed").listeners) == caught.value.exceptions
    assert witness.of("order.placed").error is caught.value


async def test_collected_errors_of_a_sync_dispatch(witness: RecordingInstrument) -> None:
    dispatcher = EventDispatcher(errors="collect")
    dispatcher.add_instrument(witness)
    for name in ("alto", "bass"):
        add_named_listener(dispatcher, "order.placed", name, partial(fail, LookupError(name)))
    with pytest.raises(ExceptionGroup) as caught:
        dispatcher.dispatch("order.placed")

    assert tuple(record.error for record in witness.listeners) == caught.value.exceptions


@pytest.mark.parametrize("kind", [Sequential, Concurrent, Race])
async def test_an_error_that_a_policy_swallows_is_on_the_listener_alone(
    kind: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(asynchronous, "order.placed", "alto", partial(fail, LookupError()))
    await asynchronous.adispatch("order.placed", strategy=kind(errors=lambda exc, event, listener: None))

    assert (witness.call_of("alto").outcome, witness.of("order.placed").outcome) == ("failed", "finished")
    assert witness.of("order.placed").error is None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_an_interrupt_counts_as_a_cancellation(
    observed: AnyDispatcher, witness: RecordingInstrument, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    add_named_listener(observed, "order.placed", "alto", partial(fail, raised))
    add_named_listener(observed, "order.placed", "bass")
    with pytest.raises(interrupt):
        await observed.adispatch("order.placed")

    assert [(record.outcome, record.skipped_because) for record in witness.listeners] == [
        ("cancelled", None),
        ("skipped", "cancelled"),
    ]
    assert witness.of("order.placed").outcome == "cancelled"
    assert witness.of("order.placed").error is witness.call_of("alto").error is raised


# Cancellation


@every_strategy
async def test_a_cancelled_dispatch(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    with anyio.CancelScope() as scope:

        async def wait(event: Any) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        add_named_async_listener(asynchronous, "order.placed", "alto", wait)
        add_named_listener(asynchronous, "order.placed", "later", priority=1)
        await asynchronous.adispatch("order.placed", strategy=strategy)

    assert witness.call_of("alto").outcome == "cancelled"
    assert isinstance(witness.call_of("alto").error, anyio.get_cancelled_exc_class())
    assert witness.of("order.placed").outcome == "cancelled"
    assert not isinstance(witness.of("order.placed").error, Exception)
    if witness.call_of("later").outcome == "skipped":
        assert witness.call_of("later").skipped_because == "cancelled"


async def test_a_listener_that_ends_its_own_scope_is_finished(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    async def give_up(event: Any) -> None:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()

    add_named_async_listener(asynchronous, "order.placed", "alto", give_up)
    await asynchronous.adispatch("order.placed")

    assert (witness.call_of("alto").outcome, witness.of("order.placed").outcome) == ("finished", "finished")


@every_strategy
async def test_a_leaked_cancellation_is_the_same_error_for_instruments_and_for_the_dispatch(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("a trio program cannot make one")
    if not isinstance(strategy, (Sequential, Concurrent, Race)):
        pytest.skip("a strategy of one's own judges by itself")
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def leak(event: Any) -> None:
        await cancelled

    add_named_async_listener(asynchronous, "order.placed", "alto", leak)
    if strategy == Sequential():
        # As from a loop: nothing says whether it was requested.
        with pytest.raises(asyncio.CancelledError) as left:
            await asynchronous.adispatch("order.placed", strategy=strategy)
        record = witness.call_of("alto")
        assert (record.outcome, record.error) == ("cancelled", left.value)
        return

    with pytest.raises((ListenerCancelled, ExceptionGroup)) as caught:
        await asynchronous.adispatch("order.placed", strategy=strategy)

    error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
    record = witness.call_of("alto")
    assert record.outcome == "failed"
    assert record.error is error
    assert isinstance(error, ListenerCancelled)
    assert isinstance(error.__cause__, asyncio.CancelledError)


# Who stopped


def by_method(event: Any) -> None:
    """Stop it."""
    event.stop_propagation()


def by_assignment(event: Any) -> None:
    """Stop it, too."""
    event.propagation_stopped = True


both_ways = pytest.mark.parametrize("stop", [by_method, by_assignment])


@both_ways
async def test_who_stopped(observed: AnyDispatcher, witness: RecordingInstrument, stop: Any) -> None:
    add_named_listener(observed, "order.placed", "alto")
    add_named_listener(observed, "order.placed", "tenor", stop)
    add_named_listener(observed, "order.placed", "bass")
    await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: finished",
        "call tenor",
        "called tenor: finished",
        "skip bass: stopped",
        "dispatched order.placed: stopped",
    ]
    assert witness.of("order.placed").stopped_by is witness.call_of("tenor")


async def test_who_stopped_is_known_when_the_end_of_its_call_is_told(observed: AnyDispatcher) -> None:
    told: list[bool] = []

    class Look:
        def listener_finished(self, record: ListenerRecord) -> None:
            told.append(record.dispatch.stopped_by is record)

    observed.add_instrument(Look())
    add_named_listener(observed, "order.placed", "alto")
    add_named_listener(observed, "order.placed", "bass", by_assignment)
    await observed.adispatch("order.placed")

    assert told == [False, True]


@both_ways
async def test_one_that_stops_and_fails_did_both(
    observed: AnyDispatcher, witness: RecordingInstrument, stop: Any
) -> None:
    def stop_and_fail(event: Any) -> None:
        stop(event)
        raise LookupError

    add_named_listener(observed, "order.placed", "alto", stop_and_fail)
    add_named_listener(observed, "order.placed", "bass")
    with pytest.raises(LookupError):
        await observed.adispatch("order.placed")

    assert witness.of("order.placed").stopped_by is witness.call_of("alto")
    assert witness.of("order.placed").outcome == "failed"
    assert witness.call_of("bass").skipped_because == "stopped"


class Duck:
    """No `Event`, but it can be stopped."""

    def __init__(self) -> None:
        self.propagation_stopped = False

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


@pytest.mark.parametrize("kind", [Event, Duck])
@both_ways
@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_who_stopped_among_listeners_that_run_together(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument, strategy: Any, stop: Any, kind: Any
) -> None:
    running, stopped = anyio.Event(), anyio.Event()

    async def stop_it(event: Any) -> None:
        await running.wait()
        stop(event)
        await pause()
        stopped.set()
        # Another one ends first.
        for _ in range(5):
            await pause()

    async def wait(event: Any) -> None:
        running.set()
        await stopped.wait()

    add_named_async_listener(asynchronous, "order.placed", "alto", stop_it)
    add_named_async_listener(asynchronous, "order.placed", "bass", wait)
    await asynchronous.adispatch("order.placed", kind(), strategy=strategy)

    assert name_of(witness.of("order.placed").stopped_by) == "alto"
    assert witness.call_of("bass").outcome == ("cancelled" if isinstance(strategy, Race) else "finished")


async def test_the_first_to_stop_is_who_stopped(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    for name in ("alto", "bass"):
        add_named_listener(asynchronous, "order.placed", name, by_method)
    await asynchronous.adispatch("order.placed", strategy=Concurrent())

    assert witness.of("order.placed").stopped_by is witness.listeners[0]


@every_strategy
async def test_a_task_of_a_listener_that_stops_the_event_counts_as_the_listener(
    strategy: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    async def stop_in_a_task(event: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stopping, event)

    async def stopping(event: Any) -> None:
        event.stop_propagation()

    add_named_async_listener(asynchronous, "order.placed", "alto", pause)
    add_named_async_listener(asynchronous, "order.placed", "bass", stop_in_a_task)
    await asynchronous.adispatch("order.placed", strategy=strategy)

    assert name_of(witness.of("order.placed").stopped_by) == "bass"


@both_ways
@every_strategy
async def test_what_is_stopped_while_the_listener_waits_counts_as_stopped_by_it(
    strategy: Any, stop: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    async with anyio.create_task_group() as group:

        async def wait(event: Any) -> None:
            stopped = anyio.Event()
            group.start_soon(stopping, event, stopped)
            await stopped.wait()

        async def stopping(event: Any, stopped: anyio.Event) -> None:
            stop(event)
            stopped.set()

        add_named_async_listener(asynchronous, "order.placed", "alto", wait)
        await asynchronous.adispatch("order.placed", strategy=strategy)

    assert name_of(witness.of("order.placed").stopped_by) == "alto"


@both_ways
@every_strategy
async def test_a_thread_of_a_listener_that_stops_the_event_counts_as_the_listener(
    strategy: Any, stop: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    add_named_async_listener(asynchronous, "order.placed", "alto", pause)
    asynchronous.add_listener("order.placed", in_thread(stop))
    await asynchronous.adispatch("order.placed", strategy=strategy)

    assert name_of(witness.of("order.placed").stopped_by) == repr(in_thread(stop))


@both_ways
async def test_a_stop_speaks_to_the_dispatch_that_runs(
    observed: AnyDispatcher, witness: RecordingInstrument, stop: Any
) -> None:
    sync = EventDispatcher()
    sync.add_instrument(witness)
    add_named_listener(observed, "order.placed", "alto", lambda event: sync.dispatch("verse", event))
    add_named_listener(sync, "verse", "tenor", stop)
    add_named_listener(observed, "order.placed", "bass")
    await observed.adispatch("order.placed", Event())

    assert witness.of("verse").stopped_by is witness.call_of("tenor")
    assert (witness.of("order.placed").stopped_by, witness.of("order.placed").outcome) == (None, "finished")


@both_ways
async def test_a_stop_of_a_nested_dispatch_that_nobody_sees_is_none_of_the_outer_one(
    observed: AnyDispatcher, witness: RecordingInstrument, stop: Any
) -> None:
    unseen = EventDispatcher()
    add_named_listener(observed, "order.placed", "alto", lambda event: unseen.dispatch("verse", event))
    add_named_listener(unseen, "verse", "tenor", stop)
    await observed.adispatch("order.placed", Event())

    assert witness.of("order.placed").stopped_by is None


@both_ways
@every_strategy
async def test_a_stop_counts_although_a_nested_dispatch_of_the_same_event_was_stopped_and_failed(
    strategy: Any, stop: Any, asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    async def stop_and_go_on(event: Any) -> None:
        stop(event)
        await asynchronous.adispatch("verse", event)

    async def stop_and_fail(event: Any) -> None:
        stop(event)
        await pause()
        raise LookupError

    add_named_async_listener(asynchronous, "order.placed", "alto", stop_and_go_on)
    add_named_async_listener(asynchronous, "verse", "tenor", stop_and_fail)
    with pytest.raises((LookupError, ExceptionGroup)):
        await asynchronous.adispatch("order.placed", Event(), strategy=strategy)

    assert name_of(witness.of("order.placed").stopped_by) == "alto"
    assert name_of(witness.of("verse").stopped_by) == "tenor"


async def test_an_outer_race_is_told_of_a_stop_within_an_observed_dispatch(witness: RecordingInstrument) -> None:
    racing, inner = AsyncEventDispatcher(strategy=Race()), AsyncEventDispatcher()
    for one in (racing, inner):
        one.add_instrument(witness)
    song, waiting = Event(), anyio.Event()

    async def wait(event: Any) -> None:
        waiting.set()
        await anyio.sleep_forever()

    async def stop_from_within(event: Any) -> None:
        await waiting.wait()
        # Another event's dispatch, in this listener, stops the race.
        await inner.adispatch("verse", Event())
        await pause()

    add_named_async_listener(racing, "order.placed", "alto", stop_from_within)
    add_named_async_listener(racing, "order.placed", "bass", wait)
    add_named_listener(inner, "verse", "tenor", lambda event: song.stop_propagation())
    with anyio.fail_after(5):
        await racing.adispatch("order.placed", song)

    assert name_of(witness.of("order.placed").stopped_by) == "alto"
    assert witness.call_of("bass").outcome == "cancelled"
    assert witness.of("verse").stopped_by is None


async def test_an_outer_race_is_told_at_once_of_a_stop_in_a_task_within_an_observed_dispatch(
    witness: RecordingInstrument,
) -> None:
    racing, inner = AsyncEventDispatcher(strategy=Race()), AsyncEventDispatcher()
    for one in (racing, inner):
        one.add_instrument(witness)
    song, waiting, cancelled = Event(), anyio.Event(), anyio.Event()

    async def wait(event: Any) -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async def stop_in_a_task(event: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stopping)

    async def stopping() -> None:
        await waiting.wait()
        song.stop_propagation()
        # The listener that waits for this task takes no step before.
        await cancelled.wait()

    add_named_async_listener(racing, "order.placed", "alto", lambda event: inner.adispatch("verse"))
    add_named_async_listener(racing, "order.placed", "bass", wait)
    add_named_async_listener(inner, "verse", "tenor", stop_in_a_task)
    with anyio.fail_after(5):
        await racing.adispatch("order.placed", song)

    assert name_of(witness.of("order.placed").stopped_by) == "alto"


async def test_what_a_task_stops_after_the_dispatch_is_over_counts_for_nobody(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    event, over = Event(), anyio.Event()

    async def later() -> None:
        await over.wait()
        event.stop_propagation()

    async with anyio.create_task_group() as group:

        async def start(event: Any) -> None:
            group.start_soon(later)

        add_named_async_listener(asynchronous, "order.placed", "alto", start)
        await asynchronous.adispatch("order.placed", event)
        over.set()

    assert (witness.of("order.placed").stopped_by, witness.of("order.placed").outcome) == (None, "finished")


# Skipped


async def test_one_that_is_removed_during_the_dispatch_is_skipped(
    observed: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(observed, "order.placed", "alto", lambda event: bass.unsubscribe())
    bass = add_named_listener(observed, "order.placed", "bass")
    add_named_listener(observed, "order.placed", "tenor")
    await observed.adispatch("order.placed")

    assert witness.lines == [
        "dispatch order.placed",
        "call alto",
        "called alto: finished",
        "skip bass: removed",
        "call tenor",
        "called tenor: finished",
        "dispatched order.placed: finished",
    ]
    assert (witness.call_of("bass").outcome, witness.call_of("bass").duration) == ("skipped", None)


class LeavesOut:
    """A strategy that runs every second listener."""

    async def run(self, plan: Any, event: Any) -> None:
        for subscription in plan.listeners[::2]:
            await subscription.call(event)


async def test_one_that_a_strategy_leaves_out_is_skipped(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    for name in ("alto", "tenor", "bass"):
        add_named_listener(asynchronous, "order.placed", name)
    await asynchronous.adispatch("order.placed", strategy=LeavesOut())

    assert [(name_of(record), record.skipped_because) for record in witness.of("order.placed").listeners] == [
        ("alto", None),
        ("tenor", "omitted"),
        ("bass", None),
    ]


class Twice:
    """A strategy that tries everything twice."""

    async def run(self, plan: Any, event: Any) -> None:
        for subscription in plan.listeners:
            for _ in range(2):
                await subscription.call(event)


async def test_a_call_that_a_strategy_repeats_has_a_record_of_its_own_behind_the_others(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    for name in ("alto", "bass"):
        add_named_listener(asynchronous, "order.placed", name)
    await asynchronous.adispatch("order.placed", strategy=Twice())

    assert [name_of(record) for record in witness.of("order.placed").listeners] == ["alto", "bass", "alto", "bass"]
    assert len(set(witness.listeners)) == 4


async def test_a_strategy_finds_in_the_plan_what_it_finds_there_without_instruments(
    asynchronous: AsyncEventDispatcher,
) -> None:
    found: list[Any] = []

    class Looks(OneByOne):
        async def run(self, plan: Any, event: Any) -> None:
            (record,) = plan.listeners
            found.append((record.key, record.listener, record.priority, record.order, record.options))
            found.append((plan.name, plan.dispatcher, plan.stoppable, len(plan), record.is_registered(), repr(record)))
            found.append(record.unsubscribe())
            await super().run(plan, event)

    subscription = add_named_listener(asynchronous, "order.placed", "alto", priority=3, timeout=5)
    expected = (subscription.key, subscription.listener, 3, subscription.order, subscription.options)
    also = ("order.placed", asynchronous, True, 1, True, repr(subscription))
    await asynchronous.adispatch("order.placed", strategy=Looks())

    assert found == [expected, also, True]
    assert subscription.is_registered() is False


# Overridden dispatch


class Overriding(AsyncEventDispatcher):
    """Runs the listeners itself, all but the last."""

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        await super()._adispatch(listeners[:-1], event)


class OverridingSync(EventDispatcher):
    """Runs the listeners itself, all but the last."""

    def do_dispatch(self, listeners: Any, event: Any, /) -> None:
        super().do_dispatch(listeners[:-1], event)


@pytest.mark.parametrize("kind", [Overriding, OverridingSync])
async def test_a_class_that_runs_its_listeners_itself_is_seen_too(kind: Any, witness: RecordingInstrument) -> None:
    dispatcher = kind()
    dispatcher.add_instrument(witness)
    for name in ("alto", "tenor", "bass"):
        add_named_listener(dispatcher, "order.placed", name)
    await dispatcher.adispatch("order.placed")
    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed in a scope")

    assert witness.lines[:6] == [
        "dispatch order.placed",
        "call alto",
        "called alto: finished",
        "call tenor",
        "called tenor: finished",
        "skip bass: omitted",
    ]


@pytest.mark.parametrize("kind", [Overriding, OverridingSync])
async def test_what_such_a_class_gets_looks_the_same_under_instruments(kind: Any, witness: RecordingInstrument) -> None:
    seen: list[Any] = []

    class Looking(kind):  # type: ignore[misc]  # a parameter
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            seen.append([(repr(listener), listener == alto.listener, listener.__name__) for listener in listeners])

        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            seen.append([(repr(listener), listener == alto.listener, listener.__name__) for listener in listeners])

    dispatcher = Looking()
    alto = add_named_listener(dispatcher, "order.placed", "alto")
    await dispatcher.adispatch("order.placed")
    dispatcher.add_instrument(witness)
    await dispatcher.adispatch("order.placed")

    assert seen[0] == seen[1] == [(repr(alto.listener), True, "alto")]


async def test_an_error_under_an_overridden_dispatch_is_the_one_that_leaves(witness: RecordingInstrument) -> None:
    dispatcher, error = Overriding(), LookupError()
    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto", partial(fail, error))
    add_named_listener(dispatcher, "order.placed", "bass")
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed")

    assert caught.value is error is witness.call_of("alto").error
    assert len(error.__notes__) == 1


# What listens on behalf of something else


async def test_expectations_streams_and_adapters_are_seen_as_what_they_are(
    asynchronous: AsyncEventDispatcher, witness: RecordingInstrument
) -> None:
    async with asynchronous.stream("order.placed") as stream, asynchronous.expect("order.placed") as expected:
        asynchronous.add_listener("order.placed", inline(named("alto", lambda event: None)))
        await asynchronous.adispatch("order.placed")
        await asynchronous.adispatch("order.placed", Bare("hum"))

    seen = [repr(record.listener) for record in witness.listeners]
    assert seen[:2] == [repr(stream), repr(expected)]
    assert seen[2].startswith("inline(<function ")
    assert (expected.name, [name async for name, _ in stream.items()]) == (
        "order.placed",
        ["order.placed", "order.placed"],
    )
