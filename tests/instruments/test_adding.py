"""Instruments are added and removed at run time, on a dispatcher or a scope."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, named
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord, everywhere
from tests.instruments.recording_instrument import RecordingInstrument, add, lines

ONE_CALL = lines("validate")


# Adding and removing


async def test_sees_dispatches_from_adding_to_removal(dispatcher, instrument):
    add(dispatcher, "order.placed", "validate")
    await dispatcher.adispatch("order.placed")
    for _ in range(2):
        assert dispatcher.add_instrument(instrument) is None
        await dispatcher.adispatch("order.placed")
        assert dispatcher.remove_instrument(instrument) is None
        await dispatcher.adispatch("order.placed")

    assert instrument.lines == ONE_CALL * 2


async def test_sees_dispatches_without_listeners(dispatcher, instrument):
    dispatcher.add_instrument(instrument)
    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.paid", object())
    if isinstance(dispatcher, AsyncEventDispatcher):
        await dispatcher.adispatch("order.shipped", strategy=Concurrent())
    dispatcher.remove_instrument(instrument)
    await dispatcher.adispatch("order.lost", object())

    seen = [record.name for record in instrument.dispatches]
    assert seen[:2] == ["order.placed", "order.paid"]
    assert seen[2:] == ["order.shipped"] * isinstance(dispatcher, AsyncEventDispatcher)


async def test_sees_dispatchers_that_are_created_while_it_is_everywhere(dispatcher, instrument):
    with everywhere(instrument):
        created = type(dispatcher)()
        await created.adispatch("order.placed")
    await type(dispatcher)().adispatch("order.paid")

    assert instrument.lines == lines()


async def test_dispatch_is_plain_after_the_last_removal(dispatcher, instrument):
    add(dispatcher, "order.placed", "validate")
    dispatcher.add_instrument(instrument)
    await dispatcher.adispatch("order.placed")
    observed = dispatcher._get_cached_plan("order.placed", Event())

    dispatcher.remove_instrument(instrument)
    await dispatcher.adispatch("order.placed")
    plain = dispatcher._get_cached_plan("order.placed", Event())

    assert observed.observers is not None and not observed.is_fast
    assert plain.observers is None and plain.is_fast


async def test_ends_are_notified_in_reverse_order(dispatcher):
    written = []
    for prefix in "12":
        dispatcher.add_instrument(RecordingInstrument(prefix, written))
    add(dispatcher, "order.placed", "validate")

    await dispatcher.adispatch("order.placed")

    started, called, finished, dispatched = ONE_CALL
    assert written == [
        *(f"{prefix}{line}" for line in (started, called) for prefix in "12"),
        *(f"{prefix}{line}" for line in (finished, dispatched) for prefix in "21"),
    ]


async def test_running_dispatch_keeps_its_instruments(dispatcher):
    first, second = RecordingInstrument(), RecordingInstrument()
    dispatcher.add_instrument(first)

    def change(event):
        dispatcher.add_instrument(second)
        dispatcher.remove_instrument(first)

    add(dispatcher, "order.placed", "validate", change, once=True)
    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")

    assert (first.lines, second.lines) == (ONE_CALL, lines())


async def test_instruments_are_compared_by_identity(dispatcher):
    class Equal(RecordingInstrument):
        def __eq__(self, other):
            return True

        __hash__ = None

    one, other = Equal(), Equal()
    dispatcher.add_instrument(one)
    dispatcher.add_instrument(other)
    dispatcher.remove_instrument(other)
    add(dispatcher, "order.placed", "validate")

    await dispatcher.adispatch("order.placed")

    assert (one.lines, other.lines) == (ONE_CALL, [])


async def test_removed_instrument_can_be_collected(dispatcher):
    instrument = RecordingInstrument()
    reference = weakref.ref(instrument)
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    await dispatcher.adispatch("order.placed")

    dispatcher.remove_instrument(instrument)
    del instrument
    gc.collect()

    assert reference() is None


class AsyncMethod:
    async def listener_finished(self, record): ...


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (
            object(),
            r"one or more of the methods dispatch_started, .*, listener_skipped; got <object .*> \(object\), which has none",
        ),
        (SimpleNamespace(dispatch_started=3), "which has none"),
        (RecordingInstrument, r"got the class RecordingInstrument: make an instance, RecordingInstrument\(\)"),
        (AsyncMethod(), "is async, and would not be awaited in a dispatch"),
        (AsyncMock(), "is async, and would not be awaited in a dispatch"),
    ],
    ids=["no method", "not callable", "class", "async method", "async mock"],
)
def test_refused_object_changes_nothing(dispatcher, refused, message):
    with pytest.raises(TypeError, match=message):
        dispatcher.add_instrument(refused)

    assert dispatcher._get_cached_plan("order.placed", Event()).observers is None


def test_same_instrument_is_not_added_twice(dispatcher, instrument):
    dispatcher.add_instrument(instrument)

    with pytest.raises(
        ValueError, match=r"RecordingInstrument object .* was added to <.*Dispatcher without listeners> already"
    ):
        dispatcher.add_instrument(instrument)


def test_missing_instrument_is_not_removed(dispatcher, instrument):
    with pytest.raises(
        ValueError, match=r"is not an instrument of <.*Dispatcher without listeners>.*added to another one"
    ):
        dispatcher.remove_instrument(instrument)


@pytest.mark.parametrize("method", ["dispatch_started", "dispatch_finished", "listener_started", "listener_finished"])
async def test_one_method_is_enough(dispatcher, method):
    records = []
    dispatcher.add_instrument(SimpleNamespace(**{method: records.append}))
    add(dispatcher, "order.placed", "validate")

    await dispatcher.adispatch("order.placed")

    (record,) = records
    assert isinstance(record, DispatchRecord if "dispatch" in method else ListenerRecord)


async def test_base_class_and_mock_are_instruments(dispatcher):
    mock = Mock()
    dispatcher.add_instrument(Instrument())
    dispatcher.add_instrument(mock)

    event = await dispatcher.adispatch("order.placed")

    ((record,), _) = mock.dispatch_finished.call_args
    assert (record.event, record.nobody_listened) == (event, True)


# Scopes


async def test_parent_instruments_see_scopes(dispatcher, instrument):
    dispatcher.add_instrument(instrument)
    with dispatcher.scope() as outer, outer.scope() as inner:
        add(inner, "order.placed", "validate")
        await inner.adispatch("order.placed")
        dispatcher.remove_instrument(instrument)
        await inner.adispatch("order.placed")
        dispatcher.add_instrument(instrument)
        await inner.adispatch("order.placed")

    assert instrument.lines == ONE_CALL * 2
    assert [record.dispatcher for record in instrument.dispatches] == [inner, inner]


async def test_scope_instrument_sees_that_scope_alone(dispatcher, instrument):
    add(dispatcher, "order.placed", "validate")
    with dispatcher.scope() as scoped, dispatcher.scope() as other:
        scoped.add_instrument(instrument)
        await dispatcher.adispatch("order.placed")
        await other.adispatch("order.placed")
        assert instrument.lines == []

        await scoped.adispatch("order.placed")

    assert instrument.lines == ONE_CALL


async def test_parent_instruments_come_before_those_of_the_scope(dispatcher):
    written = []
    with dispatcher.scope() as scoped:
        scoped.add_instrument(RecordingInstrument("scope: ", written))
        dispatcher.add_instrument(RecordingInstrument("parent: ", written))
        await scoped.adispatch("order.placed")

    assert [line.partition(":")[0] for line in written] == ["parent", "scope", "scope", "parent"]


async def test_instrument_of_scope_and_parent_is_notified_once(dispatcher, instrument):
    add(dispatcher, "order.placed", "validate")
    with dispatcher.scope() as scoped:
        scoped.add_instrument(instrument)
        dispatcher.add_instrument(instrument)
        await scoped.adispatch("order.placed")

    assert instrument.lines == ONE_CALL


def test_parent_instrument_is_not_removed_through_the_scope(dispatcher, instrument):
    dispatcher.add_instrument(instrument)

    with dispatcher.scope() as scoped, pytest.raises(ValueError, match="is not an instrument of <scope of"):
        scoped.remove_instrument(instrument)


# Threads


def test_instruments_change_while_other_threads_dispatch():
    dispatcher, always = EventDispatcher(), RecordingInstrument()
    add(dispatcher, "order.placed", "validate")
    rounds, errors, seen = 200, [], []
    dispatcher.add_instrument(always)

    def change():
        try:
            for _ in range(rounds):
                own = RecordingInstrument()
                dispatcher.add_instrument(own)
                dispatcher.dispatch("order.placed")
                dispatcher.remove_instrument(own)
                seen.append(own)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert all(own.lines.count(line) == own.lines.count(ONE_CALL[0]) > 0 for own in seen for line in ONE_CALL)
    assert [attached.instrument for attached in dispatcher._instruments] == [always]
    assert always.lines.count("dispatched order.placed: finished") == 4 * rounds


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_instruments_run_in_the_thread_of_the_dispatch(strategy):
    dispatcher, threads, elsewhere = AsyncEventDispatcher(strategy=strategy), [], []
    dispatcher.add_instrument(SimpleNamespace(dispatch_started=lambda record: threads.append(threading.get_ident())))

    def run():
        elsewhere.append(threading.get_ident())
        anyio.run(dispatcher.adispatch, "order.placed")

    await dispatcher.adispatch("order.placed")
    await anyio.to_thread.run_sync(run)

    assert threads == [threading.get_ident(), *elsewhere]


async def test_listener_that_receives_the_name_slows_only_dispatches_that_it_hears(instrument):
    calling = []

    async def listener(event):
        calling.append(sys._getframe(1).f_globals["__name__"])

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.paid", listener)
    async with dispatcher.stream("order.paid"):
        await dispatcher.adispatch("order.placed")
        await dispatcher.adispatch("order.paid")

    assert calling[0] == "antiphon._dispatchers.observed_loops"
    assert len(calling) == 2


def test_listener_that_receives_the_name_slows_only_sync_dispatches_that_it_hears(instrument):
    calling = []

    def listener(event):
        calling.append(sys._getframe(1).f_globals["__name__"])

    dispatcher = EventDispatcher()
    dispatcher.add_instrument(instrument)
    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.paid", named(lambda event, name: calling.append(name)))
    dispatcher.dispatch("order.placed")
    dispatcher.dispatch("order.paid")

    assert calling == ["antiphon._dispatchers.observed_loops", "order.paid"]
