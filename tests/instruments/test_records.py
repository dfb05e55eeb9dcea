"""The contents of dispatch records and listener records."""

from __future__ import annotations

import asyncio
import inspect
import sys
from copy import copy
from dataclasses import dataclass
from functools import partial
from operator import is_
from time import perf_counter
from types import SimpleNamespace

import anyio
import pytest

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    ListenerCancelled,
    Race,
    Sequential,
    inline,
)
from tests.conftest import BACKENDS
from tests.instruments.recording_instrument import (
    CustomSequential,
    add,
    every_strategy,
    fail,
    lines,
    name_of,
    named,
    pause,
)


class OrderPlaced(Event):
    name = "order.placed"


@dataclass(frozen=True, slots=True)
class BareEvent:
    """Nothing can be set on it, and it cannot be stopped."""

    order: str


def watch(dispatcher, **methods):
    """Add an instrument that is made of functions."""
    dispatcher.add_instrument(SimpleNamespace(**methods))


# Dispatches


@pytest.mark.parametrize("event", [OrderPlaced(), BareEvent("A-1")], ids=["event", "bare"])
async def test_record_has_event_name_and_dispatcher(observed, instrument, event):
    add(observed, "order.placed", "validate")
    await observed.adispatch("order.placed", event)

    record = instrument.of("order.placed")
    assert (record.event, record.name, record.dispatcher) == (event, "order.placed", observed)
    assert instrument.lines == lines("validate")


async def test_event_and_record_at_the_start_and_the_end(observed):
    seen = []

    def look(record):
        event = record.event
        seen.append((event.name, event.dispatcher, event.propagation_stopped))
        seen.append((record.outcome, record.finished is None, record.duration is None))

    watch(observed, dispatch_started=look, dispatch_finished=look)
    add(observed, "order.placed", "validate", lambda event: event.stop_propagation())
    await observed.adispatch("order.placed")

    assert seen == [
        ("order.placed", observed, False),
        ("running", True, True),
        ("order.placed", observed, True),
        ("stopped", False, False),
    ]


async def test_nested_end_is_notified_before_outer_attributes_return():
    dispatcher, seen = EventDispatcher(), []
    watch(dispatcher, dispatch_finished=lambda record: seen.append((record.name, record.event.name)))
    add(dispatcher, "order.placed", "validate", lambda event: dispatcher.dispatch("order.paid", event))
    dispatcher.dispatch("order.placed", Event())

    assert seen == [("order.paid", "order.paid"), ("order.placed", "order.placed")]


async def test_record_has_the_given_name_not_an_equal_one(observed, instrument):
    add(observed, 1, "validate")
    await observed.adispatch(1, Event())
    await observed.adispatch(True, Event())
    await observed.adispatch(Event())

    assert [repr(record.name) for record in instrument.dispatches] == ["1", "True", "None"]


async def test_times_are_nested_perf_counter_values(observed, instrument):
    add(observed, "order.placed", "validate")
    before = perf_counter()
    await observed.adispatch("order.placed")
    after = perf_counter()

    order, call = instrument.of("order.placed"), instrument.call_of("validate")
    assert before <= order.started <= call.started <= call.finished <= order.finished <= after
    assert (order.duration, call.duration) == (order.finished - order.started, call.finished - call.started)


async def test_listeners_are_known_from_the_start_in_order(observed):
    seen = []

    def look(record):
        seen.append(record.listeners)

    watch(observed, dispatch_started=look, dispatch_finished=look)
    for name, priority in (("receipt", 10), ("validate", -10), ("charge", 0)):
        add(observed, "order.placed", name, priority=priority)
    await observed.adispatch("order.placed")

    assert all(map(is_, *seen))
    assert [name_of(record) for record in seen[0]] == ["validate", "charge", "receipt"]


async def test_listener_record_has_its_subscription(observed, instrument):
    subscription = add(observed, "*", "validate", priority=3, once=True)
    await observed.adispatch("order.placed")

    record = instrument.call_of("validate")
    assert record.subscription is subscription
    assert record.listener is subscription.listener
    assert (record.subscription.key, record.subscription.priority, record.subscription.options.once) == ("*", 3, True)


async def test_each_call_has_its_own_record(observed, instrument):
    subscription = add(observed, "order.placed", "validate")
    observed.add_listener("order.placed", subscription.listener)
    await observed.adispatch("order.placed")
    await observed.adispatch("order.placed")

    calls = instrument.listeners
    assert len(set(calls)) == 4
    assert [record.listeners for record in instrument.dispatches] == [tuple(calls[:2]), tuple(calls[2:])]


async def test_repr_of_records(observed, instrument):
    subscription = add(observed, "order.placed", "validate")
    await observed.adispatch("order.placed", OrderPlaced())

    assert repr(instrument.of("order.placed")) == "<DispatchRecord 'order.placed' (OrderPlaced), finished>"
    assert repr(instrument.call_of("validate")) == f"<ListenerRecord {subscription.listener!r}, finished>"


async def test_streams_expectations_and_adapters_as_listeners(observed_async, instrument):
    async with observed_async.stream("order.placed") as stream, observed_async.expect("order.placed") as expected:
        observed_async.add_listener("order.placed", inline(named("validate", lambda event: None)))
        await observed_async.adispatch("order.placed")
        await observed_async.adispatch("order.placed", BareEvent("A-1"))

    seen = [repr(record.listener) for record in instrument.listeners]
    assert seen[:2] == [repr(stream), repr(expected)]
    assert seen[2].startswith("inline(<function ")
    assert expected.name == "order.placed"
    assert [name async for name, _ in stream.items()] == ["order.placed", "order.placed"]


# Errors


@pytest.mark.parametrize("strategy", [Concurrent(), Race()], ids=repr)
async def test_failing_listener_cancels_its_siblings(strategy, observed_async, instrument):
    error, waiting = LookupError(), anyio.Event()

    async def wait(event):
        waiting.set()
        await anyio.sleep_forever()

    async def wait_and_fail(event):
        await waiting.wait()
        raise error

    add(observed_async, "order.placed", "validate", wait)
    add(observed_async, "order.placed", "charge", wait_and_fail)
    add(observed_async, "order.placed", "receipt", wait, priority=1)
    with pytest.raises(ExceptionGroup) as caught:
        await observed_async.adispatch("order.placed", strategy=strategy)

    outcomes = {name_of(call): (call.outcome, call.skipped_because) for call in instrument.listeners}
    assert outcomes == {"validate": ("cancelled", None), "charge": ("failed", None), "receipt": ("skipped", "failed")}
    assert instrument.call_of("charge").error is error
    assert instrument.of("order.placed").error is caught.value
    assert instrument.of("order.placed").outcome == "failed"


@pytest.mark.parametrize("kind", [None, Sequential, Concurrent, Race])
async def test_collected_errors_are_on_the_listeners(kind, instrument):
    dispatcher = AsyncEventDispatcher(strategy=kind(errors="collect")) if kind else EventDispatcher(errors="collect")
    dispatcher.add_instrument(instrument)
    for name in ("validate", "charge"):
        add(dispatcher, "order.placed", name, partial(fail, LookupError(name)))
    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed")

    record = instrument.of("order.placed")
    assert [call.outcome for call in instrument.listeners] == ["failed", "failed"]
    assert tuple(call.error for call in record.listeners) == caught.value.exceptions
    assert record.error is caught.value


@pytest.mark.parametrize("kind", [Sequential, Concurrent, Race])
async def test_error_of_a_policy_is_on_the_listener_alone(kind, observed_async, instrument):
    add(observed_async, "order.placed", "validate", partial(fail, LookupError()))
    await observed_async.adispatch("order.placed", strategy=kind(errors=lambda exc, event, listener: None))

    assert instrument.lines == lines("validate: failed")
    assert instrument.of("order.placed").error is None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_interrupt_is_recorded_as_cancellation(observed, instrument, interrupt):
    raised = interrupt()
    add(observed, "order.placed", "validate", partial(fail, raised))
    add(observed, "order.placed", "charge")
    with pytest.raises(interrupt):
        await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate: cancelled", "skip charge: cancelled", outcome="cancelled")
    assert instrument.of("order.placed").error is instrument.call_of("validate").error is raised


# Cancellation


@every_strategy
async def test_cancelled_dispatch(strategy, observed_async, instrument):
    with anyio.CancelScope() as scope:

        async def wait(event):
            scope.cancel()
            await anyio.sleep_forever()

        add(observed_async, "order.placed", "validate", wait)
        add(observed_async, "order.placed", "receipt", priority=1)
        await observed_async.adispatch("order.placed", strategy=strategy)

    record, call, later = instrument.of("order.placed"), *map(instrument.call_of, ("validate", "receipt"))
    assert (record.outcome, call.outcome) == ("cancelled", "cancelled")
    assert isinstance(call.error, anyio.get_cancelled_exc_class())
    assert not isinstance(record.error, Exception)
    if later.outcome == "skipped":
        assert later.skipped_because == "cancelled"


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)
@pytest.mark.parametrize(
    "strategy", [Sequential(), Sequential(errors="collect"), Concurrent(), Concurrent(1), Race()], ids=repr
)
async def test_leaked_cancellation_is_the_error_of_its_listener(strategy, observed_async, instrument):
    """Sequential() is the loop by hand: it cannot know whether the cancellation was requested."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def leak(event):
        await cancelled

    add(observed_async, "order.placed", "validate", leak)
    with pytest.raises((asyncio.CancelledError, ExceptionGroup)) as caught:
        await observed_async.adispatch("order.placed", strategy=strategy)

    call = instrument.call_of("validate")
    if strategy == Sequential():
        assert (call.outcome, call.error) == ("cancelled", caught.value)
    else:
        (error,) = caught.value.exceptions
        assert (call.outcome, call.error) == ("failed", error)
        assert isinstance(error, ListenerCancelled)
        assert isinstance(error.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2], indirect=True)
async def test_cancellation_that_leaves_a_custom_strategy_is_no_error_of_its_listener(observed_async, instrument):
    """A built-in strategy around it turns that cancellation into an error of its own listener."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def leak(event):
        await cancelled

    async def nest(event):
        await observed_async.adispatch("order.paid", strategy=CustomSequential())

    add(observed_async, "order.paid", "charge", leak)
    add(observed_async, "order.placed", "validate", nest)
    with pytest.raises(ExceptionGroup):
        await observed_async.adispatch("order.placed", strategy=Concurrent())

    assert (instrument.call_of("charge").outcome, instrument.of("order.paid").outcome) == ("cancelled", "cancelled")
    assert isinstance(instrument.call_of("validate").error, ListenerCancelled)


# Skipped listeners and repeated calls


async def test_listener_removed_during_the_dispatch_is_skipped(observed, instrument):
    add(observed, "order.placed", "validate", lambda event: charge.unsubscribe())
    charge = add(observed, "order.placed", "charge")
    add(observed, "order.placed", "receipt")
    await observed.adispatch("order.placed")

    assert instrument.lines == lines("validate", "skip charge: removed", "receipt")
    assert (instrument.call_of("charge").outcome, instrument.call_of("charge").duration) == ("skipped", None)


class EverySecond:
    """A strategy that runs every second listener."""

    async def run(self, plan, event):
        for subscription in plan.listeners[::2]:
            await subscription.call(event)


class Twice:
    """A strategy that calls each listener twice."""

    async def run(self, plan, event):
        for subscription in plan.listeners:
            for _ in range(2):
                await subscription.call(event)


async def test_listener_that_a_strategy_omits_is_skipped(observed_async, instrument):
    for name in ("validate", "charge", "receipt"):
        add(observed_async, "order.placed", name)
    await observed_async.adispatch("order.placed", strategy=EverySecond())

    skipped = {name_of(call): call.skipped_because for call in instrument.of("order.placed").listeners}
    assert skipped == {"validate": None, "charge": "omitted", "receipt": None}


async def test_repeated_call_has_a_record_behind_the_others(observed_async, instrument):
    for name in ("validate", "charge"):
        add(observed_async, "order.placed", name)
    await observed_async.adispatch("order.placed", strategy=Twice())

    names = [name_of(call) for call in instrument.of("order.placed").listeners]
    assert names == ["validate", "charge", "validate", "charge"]
    assert len(set(instrument.listeners)) == 4


async def test_listener_that_is_skipped_twice_has_two_records(observed_async, instrument):
    add(observed_async, "order.placed", "validate", where=lambda event: False)
    await observed_async.adispatch("order.placed", strategy=Twice())

    assert [call.skipped_because for call in instrument.of("order.placed").listeners] == ["where", "where"]


async def test_listener_that_waited_for_its_limit_when_it_lost_was_cancelled(observed_async, instrument):
    started, ended = anyio.Event(), anyio.Event()

    async def hold(event):
        if not started.is_set():
            started.set()
            await ended.wait()

    async def win(event):
        await pause()
        event.stop_propagation()

    add(observed_async, "order.placed", "validate", hold, limit=1)
    async with anyio.create_task_group() as group:
        group.start_soon(observed_async.adispatch, "order.placed")
        await started.wait()
        add(observed_async, "order.placed", "charge", win)
        await observed_async.adispatch("order.placed", strategy=Race())
        ended.set()

    (waited,) = (call for call in instrument.listeners if call.outcome == "skipped")
    assert (name_of(waited), waited.skipped_because) == ("validate", "cancelled")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 marks no functions")
async def test_listener_that_returns_another_awaitable_is_observed(observed_async, instrument):
    class Awaitable:
        def __await__(self):
            yield from pause().__await__()

    @inspect.markcoroutinefunction
    def validate(event):
        return Awaitable()

    class DuckTypedEvent:
        propagation_stopped = False

        def stop_propagation(self):
            self.propagation_stopped = True

    observed_async.add_listener("order.placed", validate)
    await observed_async.adispatch("order.placed", DuckTypedEvent(), strategy=CustomSequential())

    assert instrument.lines == lines("validate")


async def test_strategy_may_copy_a_subscription_under_instruments(observed_async, instrument):
    class Copying:
        async def run(self, plan, event):
            for subscription in plan.listeners:
                await copy(subscription).call(event)

    add(observed_async, "order.placed", "validate")
    await observed_async.adispatch("order.placed", strategy=Copying())

    assert instrument.lines == lines("validate")


async def test_strategy_finds_the_same_plan_under_instruments(observed_async):
    found = []

    class Inspecting(CustomSequential):
        async def run(self, plan, event):
            (record,) = plan.listeners
            found.append((record.key, record.listener, record.priority, record.order, record.options))
            found.append((plan.name, plan.dispatcher, plan.stoppable, len(plan), record.is_registered(), repr(record)))
            found.append(record.unsubscribe())
            await super().run(plan, event)

    subscription = add(observed_async, "order.placed", "validate", priority=3, timeout=5)
    expected = (subscription.key, subscription.listener, 3, subscription.order, subscription.options)
    of_the_plan = ("order.placed", observed_async, True, 1, True, repr(subscription))
    await observed_async.adispatch("order.placed", strategy=Inspecting())

    assert found == [expected, of_the_plan, True]
    assert subscription.is_registered() is False


# Classes that override the dispatch


class Overriding(AsyncEventDispatcher):
    async def _adispatch(self, listeners, event):
        await super()._adispatch(listeners[:-1], event)


class OverridingSync(EventDispatcher):
    def do_dispatch(self, listeners, event, /):
        super().do_dispatch(listeners[:-1], event)


overriding = pytest.mark.parametrize("kind", [Overriding, OverridingSync])


@overriding
async def test_overridden_dispatch_is_observed(kind, instrument):
    dispatcher = kind()
    dispatcher.add_instrument(instrument)
    for name in ("validate", "charge", "receipt"):
        add(dispatcher, "order.placed", name)
    await dispatcher.adispatch("order.placed")
    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.paid")

    observed = lines("validate", "charge", "skip receipt: omitted")
    assert instrument.lines == [*observed, "dispatch order.paid", "dispatched order.paid: finished"]


@overriding
async def test_overridden_dispatch_receives_the_same_listeners(kind, instrument):
    seen = []

    class Inspecting(kind):
        async def _adispatch(self, listeners, event):
            self.do_dispatch(listeners, event)

        def do_dispatch(self, listeners, event, /):
            seen.append([(repr(each), each == validate.listener, each.__name__) for each in listeners])

    dispatcher = Inspecting()
    validate = add(dispatcher, "order.placed", "validate")
    await dispatcher.adispatch("order.placed")
    dispatcher.add_instrument(instrument)
    await dispatcher.adispatch("order.placed")

    assert seen[0] == seen[1] == [(repr(validate.listener), True, "validate")]


async def test_error_of_an_overridden_dispatch_is_unchanged(instrument):
    dispatcher, error = Overriding(), LookupError()
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate", partial(fail, error))
    add(dispatcher, "order.placed", "charge")
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed")

    assert caught.value is error is instrument.call_of("validate").error
    assert len(error.__notes__) == 1


async def test_strategy_of_a_dispatch_is_used_under_instruments(observed_async, instrument):
    ran = []

    @observed_async.listen("order.placed")
    async def refuse(event):
        raise ValueError

    @observed_async.listen("order.placed")
    async def store(event):
        ran.append(event)

    with pytest.raises(ExceptionGroup):
        await observed_async.adispatch("order.placed", strategy=Sequential(errors="collect"))
    assert len(ran) == 1
    assert [record.outcome for record in instrument.of("order.placed").listeners] == ["failed", "finished"]
