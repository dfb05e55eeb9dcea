"""Instruments are added and removed at run time, for a dispatcher or for a scope; one that raises goes."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon.instruments import DispatchRecord, Instrument, ListenerRecord
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import RecordingInstrument, add_named_async_listener, add_named_listener

A_SONG = ["dispatch order.placed", "call alto", "called alto: finished", "dispatched order.placed: finished"]


# Adding and removing


async def test_an_instrument_sees_a_dispatch_and_its_listeners(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto")

    await dispatcher.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_an_instrument_that_is_added_later_sees_what_was_dispatched_before_under_that_name(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(dispatcher, "order.placed", "alto")
    await dispatcher.adispatch("order.placed")

    dispatcher.add_instrument(witness)
    await dispatcher.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_an_instrument_sees_nothing_after_its_removal(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto")
    await dispatcher.adispatch("order.placed")

    dispatcher.remove_instrument(witness)
    await dispatcher.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_after_the_last_removal_a_dispatch_is_plain_again(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(dispatcher, "order.placed", "alto")
    dispatcher.add_instrument(witness)
    await dispatcher.adispatch("order.placed")
    observed = dispatcher._get_cached_plan("order.placed", Event())

    dispatcher.remove_instrument(witness)
    await dispatcher.adispatch("order.placed")
    plain = dispatcher._get_cached_plan("order.placed", Event())

    assert observed.fast_steps is None and observed.instruments
    assert (plain.fast_steps, plain.instruments) == (plain.plan.listeners, ())


async def test_removing_gives_nothing_and_adding_gives_nothing(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add: Any = dispatcher.add_instrument
    remove: Any = dispatcher.remove_instrument

    assert (add(witness), remove(witness)) == (None, None)


async def test_a_removed_instrument_can_be_added_again(dispatcher: AnyDispatcher, witness: RecordingInstrument) -> None:
    dispatcher.add_instrument(witness)
    dispatcher.remove_instrument(witness)
    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto")

    await dispatcher.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_beginnings_are_told_in_the_order_of_adding_and_ends_in_the_other(dispatcher: AnyDispatcher) -> None:
    lines: list[str] = []
    for prefix in "12":
        dispatcher.add_instrument(RecordingInstrument(prefix, lines))
    add_named_listener(dispatcher, "order.placed", "alto")

    await dispatcher.adispatch("order.placed")

    assert lines == [
        "1dispatch order.placed",
        "2dispatch order.placed",
        "1call alto",
        "2call alto",
        "2called alto: finished",
        "1called alto: finished",
        "2dispatched order.placed: finished",
        "1dispatched order.placed: finished",
    ]


async def test_a_dispatch_under_way_keeps_the_instruments_it_began_with(dispatcher: AnyDispatcher) -> None:
    lines: list[str] = []
    first, second = RecordingInstrument("1", lines), RecordingInstrument("2", lines)
    dispatcher.add_instrument(first)

    def change(event: Event) -> None:
        dispatcher.add_instrument(second)
        dispatcher.remove_instrument(first)

    add_named_listener(dispatcher, "order.placed", "alto", change, once=True)
    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")

    assert lines == [
        "1dispatch order.placed",
        "1call alto",
        "1called alto: finished",
        "1dispatched order.placed: finished",
        "2dispatch order.placed",
        "2dispatched order.placed: finished",
    ]


async def test_an_instrument_is_known_by_identity(dispatcher: AnyDispatcher) -> None:
    class Equal(RecordingInstrument):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]  # it is unhashable, too

    one, other = Equal(), Equal()
    dispatcher.add_instrument(one)
    dispatcher.add_instrument(other)
    dispatcher.remove_instrument(other)
    add_named_listener(dispatcher, "order.placed", "alto")

    await dispatcher.adispatch("order.placed")

    assert (one.lines, other.lines) == (A_SONG, [])


async def test_a_removed_instrument_is_let_go(dispatcher: AnyDispatcher) -> None:
    witness = RecordingInstrument()
    gone = weakref.ref(witness)
    dispatcher.add_instrument(witness)
    add_named_listener(dispatcher, "order.placed", "alto")
    await dispatcher.adispatch("order.placed")

    dispatcher.remove_instrument(witness)
    del witness
    gc.collect()

    assert gone() is None


# What is refused


def test_the_same_instrument_is_not_added_twice(dispatcher: AnyDispatcher, witness: RecordingInstrument) -> None:
    dispatcher.add_instrument(witness)

    with pytest.raises(ValueError, match=r"RecordingInstrument object .* was added to .*Dispatcher object .* already"):
        dispatcher.add_instrument(witness)


def test_what_is_not_there_is_not_removed(dispatcher: AnyDispatcher, witness: RecordingInstrument) -> None:
    with pytest.raises(ValueError, match=r"is not an instrument of .*Dispatcher object .*added to another one"):
        dispatcher.remove_instrument(witness)


def test_an_object_without_any_of_the_methods_is_refused(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(
        TypeError,
        match=r"one or more of the methods dispatch_started, dispatch_finished, listener_started, listener_finished, "
        r"listener_skipped; got <object object at .*> \(object\), which has none",
    ):
        dispatcher.add_instrument(object())


def test_a_method_is_one_only_if_it_can_be_called(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError, match="which has none"):
        dispatcher.add_instrument(SimpleNamespace(dispatch_started=3))


def test_a_class_is_refused_and_the_instance_shown(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(
        TypeError, match=r"got the class RecordingInstrument: make an instance, RecordingInstrument\(\)"
    ):
        dispatcher.add_instrument(RecordingInstrument)


class Later:
    async def listener_finished(self, record: ListenerRecord) -> None: ...


@pytest.mark.parametrize("instrument", [Later(), AsyncMock()], ids=["a method", "a mock"])
def test_async_methods_are_refused(dispatcher: AnyDispatcher, instrument: Any) -> None:
    with pytest.raises(TypeError, match=r"is async, and nobody would await it in the middle of a dispatch"):
        dispatcher.add_instrument(instrument)


def test_what_is_refused_changes_nothing(dispatcher: AnyDispatcher) -> None:
    with pytest.raises(TypeError):
        dispatcher.add_instrument(Later())

    assert dispatcher._get_cached_plan("order.placed", Event()).instruments == ()


@pytest.mark.parametrize("method", ["dispatch_started", "dispatch_finished", "listener_started", "listener_finished"])
async def test_one_method_is_enough(dispatcher: AnyDispatcher, method: str) -> None:
    told: list[Any] = []
    dispatcher.add_instrument(SimpleNamespace(**{method: told.append}))
    add_named_listener(dispatcher, "order.placed", "alto")

    await dispatcher.adispatch("order.placed")

    assert [type(record) for record in told] == [DispatchRecord if "dispatch" in method else ListenerRecord]


async def test_an_instrument_that_overrides_nothing_is_one_too(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_instrument(Instrument())
    add_named_listener(dispatcher, "order.placed", "alto")

    event = await dispatcher.adispatch("order.placed")

    assert event.name == "order.placed"


async def test_a_mock_is_an_instrument(dispatcher: AnyDispatcher) -> None:
    mock = Mock()
    dispatcher.add_instrument(mock)

    event = await dispatcher.adispatch("order.placed")

    ((record,), _) = mock.dispatch_finished.call_args
    assert (record.event, record.nobody_listened) == (event, True)


# Scopes


async def test_a_scope_shows_its_dispatches_to_the_instruments_of_its_parent(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    dispatcher.add_instrument(witness)
    with dispatcher.scope() as scoped:
        add_named_listener(scoped, "order.placed", "alto")
        await scoped.adispatch("order.placed")

    assert witness.lines == A_SONG
    assert witness.of("order.placed").dispatcher is scoped


async def test_a_scope_shows_its_dispatches_to_what_is_added_to_its_parent_later(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    with dispatcher.scope() as outer, outer.scope() as inner:
        add_named_listener(inner, "order.placed", "alto")
        await inner.adispatch("order.placed")
        dispatcher.add_instrument(witness)
        await inner.adispatch("order.placed")
        dispatcher.remove_instrument(witness)
        await inner.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_an_instrument_of_a_scope_sees_the_dispatches_of_that_scope_alone(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(dispatcher, "order.placed", "alto")
    with dispatcher.scope() as scoped, dispatcher.scope() as other:
        scoped.add_instrument(witness)
        await dispatcher.adispatch("order.placed")
        await other.adispatch("order.placed")
        assert witness.lines == []

        await scoped.adispatch("order.placed")

    assert witness.lines == A_SONG


async def test_the_instruments_of_the_parent_come_before_those_of_the_scope(dispatcher: AnyDispatcher) -> None:
    lines: list[str] = []
    with dispatcher.scope() as scoped:
        scoped.add_instrument(RecordingInstrument("scope: ", lines))
        dispatcher.add_instrument(RecordingInstrument("parent: ", lines))
        await scoped.adispatch("order.placed")

    assert lines == [
        "parent: dispatch order.placed",
        "scope: dispatch order.placed",
        "scope: dispatched order.placed: finished",
        "parent: dispatched order.placed: finished",
    ]


async def test_an_instrument_of_both_a_scope_and_its_parent_sees_each_dispatch_once(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    add_named_listener(dispatcher, "order.placed", "alto")
    with dispatcher.scope() as scoped:
        scoped.add_instrument(witness)
        dispatcher.add_instrument(witness)
        await scoped.adispatch("order.placed")

    assert witness.lines == A_SONG


def test_what_the_parent_has_is_not_removed_through_the_scope(
    dispatcher: AnyDispatcher, witness: RecordingInstrument
) -> None:
    dispatcher.add_instrument(witness)

    with dispatcher.scope() as scoped, pytest.raises(ValueError, match="is not an instrument of <scope of"):
        scoped.remove_instrument(witness)


# One that raises


class Broken(RecordingInstrument):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: BaseException, lines: list[str] | None = None) -> None:
        super().__init__("broken: ", lines)
        self.error = error
        setattr(self, method, self.fail)

    def fail(self, record: object) -> None:
        raise self.error

    def __repr__(self) -> str:
        return "<broken>"


METHODS = ["dispatch_started", "dispatch_finished", "listener_started", "listener_finished", "listener_skipped"]


@pytest.mark.parametrize("method", METHODS)
async def test_one_that_raises_is_logged_once_and_taken_out_and_the_others_see_everything(
    dispatcher: AnyDispatcher, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, broken, behind = RecordingInstrument(), Broken(method, OSError("disk full")), RecordingInstrument()
    for instrument in (before, broken, behind):
        dispatcher.add_instrument(instrument)
    add_named_listener(dispatcher, "order.placed", "alto")
    add_named_listener(dispatcher, "order.placed", "tenor", where=lambda event: False)
    expected = [*A_SONG[:-1], "skip tenor: where", A_SONG[-1]]

    with caplog.at_level(logging.ERROR, "antiphon"):
        await dispatcher.adispatch("order.placed")
        await dispatcher.adispatch("order.placed")

    assert before.lines == behind.lines == expected * 2
    (logged,) = caplog.records
    assert logged.name == "antiphon"
    assert logged.getMessage() == f"<broken> raised in {method}, and is taken out: it sees no further dispatch"
    assert logged.exc_info is not None
    assert logged.exc_info[1] is broken.error
    with pytest.raises(ValueError, match="removed because it raised"):
        dispatcher.remove_instrument(broken)


async def test_one_that_raised_is_told_nothing_more_of_the_running_dispatch(dispatcher: AnyDispatcher) -> None:
    broken = Broken("listener_started", OSError())
    dispatcher.add_instrument(broken)
    add_named_listener(dispatcher, "order.placed", "alto")
    add_named_listener(dispatcher, "order.placed", "tenor")

    await dispatcher.adispatch("order.placed")

    assert broken.lines == ["broken: dispatch order.placed"]


async def test_one_that_raises_while_an_error_passes_does_not_touch_the_error(dispatcher: AnyDispatcher) -> None:
    error = LookupError()

    def fail(event: Event) -> None:
        raise error

    dispatcher.add_instrument(Broken("listener_finished", OSError()))
    add_named_listener(dispatcher, "order.placed", "alto", fail)

    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed")

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)


async def test_one_that_raised_in_a_scope_is_taken_out_of_the_parent_it_came_from(
    dispatcher: AnyDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken("dispatch_finished", OSError())
    dispatcher.add_instrument(broken)
    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")

    assert broken.lines == ["broken: dispatch order.placed"]
    assert len(caplog.records) == 1


async def test_dispatches_under_way_tell_it_nothing_more_either(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, broken = AsyncEventDispatcher(strategy=Concurrent()), Broken("listener_finished", OSError())
    dispatcher.add_instrument(broken)
    both_run = anyio.Event()
    running = 0

    async def wait(event: Event) -> None:
        nonlocal running
        running += 1
        if running == 2:
            both_run.set()
        await both_run.wait()

    add_named_async_listener(dispatcher, "order.placed", "alto", wait)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(dispatcher.adispatch, "order.placed")

    assert sorted(broken.lines) == sorted(["broken: dispatch order.placed", "broken: call alto"] * 2)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_an_instrument_passes(
    dispatcher: AnyDispatcher, witness: RecordingInstrument, interrupt: type[BaseException]
) -> None:
    dispatcher.add_instrument(witness)
    dispatcher.add_instrument(Broken("dispatch_started", interrupt()))

    with pytest.raises(interrupt):
        await dispatcher.adispatch("order.placed")

    assert witness.lines == ["dispatch order.placed", "dispatched order.placed: cancelled"]


async def test_after_an_interrupt_in_an_instrument_the_event_is_in_no_dispatch(dispatcher: AnyDispatcher) -> None:
    dispatcher.add_instrument(Broken("dispatch_started", KeyboardInterrupt()))
    event = Event()
    with pytest.raises(KeyboardInterrupt):
        await dispatcher.adispatch("order.placed", event)

    assert event._antiphon_in_flight is None  # type: ignore[attr-defined]  # set by the dispatch


async def test_one_that_dispatches_without_end_is_taken_out(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = EventDispatcher()
    told: list[DispatchRecord] = []

    class Echo:
        def dispatch_started(self, record: DispatchRecord) -> None:
            told.append(record)
            dispatcher.dispatch("echo")

    dispatcher.add_instrument(Echo())
    dispatcher.dispatch("order.placed")
    seen = len(told)
    dispatcher.dispatch("order.placed")

    assert len(told) == seen
    assert len(caplog.records) == 1


# Threads


def test_instruments_are_added_and_removed_in_many_threads_while_others_dispatch() -> None:
    dispatcher = EventDispatcher()
    add_named_listener(dispatcher, "order.placed", "alto")
    rounds, errors, seen = 200, [], []
    always = RecordingInstrument()
    dispatcher.add_instrument(always)

    def change() -> None:
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
    assert all(own.lines.count(line) == own.lines.count(A_SONG[0]) > 0 for own in seen for line in A_SONG)
    assert [attached.instrument for attached in dispatcher._instruments] == [always]
    assert always.lines.count("dispatched order.placed: finished") == 4 * rounds


@pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
async def test_instruments_see_dispatches_in_other_threads_there(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    threads: list[int] = []
    dispatcher.add_instrument(SimpleNamespace(dispatch_started=lambda record: threads.append(threading.get_ident())))

    await dispatcher.adispatch("order.placed")
    elsewhere: list[int] = []

    def run() -> None:
        elsewhere.append(threading.get_ident())
        anyio.run(dispatcher.adispatch, "order.placed")

    await anyio.to_thread.run_sync(run)

    assert threads == [threading.get_ident(), *elsewhere]
