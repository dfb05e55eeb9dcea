"""An instrument that raises is logged once and removed; the dispatch continues."""

from __future__ import annotations

import logging
from functools import partial

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher
from tests.instruments.recording_instrument import RecordingInstrument, add, fail, lines

METHODS = ["dispatch_started", "dispatch_finished", "listener_started", "listener_finished", "listener_skipped"]


class Broken(RecordingInstrument):
    """Raises in one of its methods."""

    def __init__(self, method, error=None):
        super().__init__()
        self.error = error or OSError("disk full")
        setattr(self, method, partial(fail, self.error))

    def __repr__(self):
        return "<broken>"


class Careful(Event):
    """Customizes access to attributes, so the fast loops do not run its dispatches."""

    def __setattr__(self, attribute, value):
        super().__setattr__(attribute, value)


@pytest.mark.parametrize("method", METHODS)
async def test_raising_instrument_is_logged_once_and_removed(dispatcher, method, caplog):
    before, broken, behind = RecordingInstrument(), Broken(method), RecordingInstrument()
    for instrument in (before, broken, behind):
        dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge", where=lambda event: False)

    with caplog.at_level(logging.ERROR, "antiphon"):
        await dispatcher.adispatch("order.placed")
        await dispatcher.adispatch("order.placed")

    assert before.lines == behind.lines == lines("validate", "skip charge: where") * 2
    (logged,) = caplog.records
    assert logged.name == "antiphon"
    assert logged.getMessage() == f"<broken> raised in {method}, and is removed: it does not see further dispatches"
    assert logged.exc_info[1] is broken.error
    with pytest.raises(ValueError, match="removed because it raised"):
        dispatcher.remove_instrument(broken)


@pytest.mark.parametrize("method", ["listener_started", "listener_finished"])
async def test_only_instrument_that_raises_or_is_async_is_named(dispatcher, method, caplog):
    async def forget_to_await(record):
        raise NotImplementedError

    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge")
    for react, error in ((partial(fail, OSError()), OSError), (lambda record: forget_to_await(record), TypeError)):
        caplog.clear()
        instrument = RecordingInstrument()
        setattr(instrument, method, react)
        dispatcher.add_instrument(instrument)

        with caplog.at_level(logging.ERROR, "antiphon"):
            await dispatcher.adispatch("order.placed")

        assert instrument.of("order.placed").outcome == "finished"
        (logged,) = caplog.records
        assert type(logged.exc_info[1]) is error
        assert f" raised in {method}, and is removed" in logged.getMessage()
        with pytest.raises(ValueError, match="removed because it raised"):
            dispatcher.remove_instrument(instrument)


async def test_unprintable_instrument_that_raises_is_removed(dispatcher, caplog):
    class Unprintable:
        def __repr__(self):
            raise ValueError

        def dispatch_started(self, record):
            raise KeyError

    dispatcher.add_instrument(Unprintable())

    with caplog.at_level(logging.ERROR, "antiphon"):
        await dispatcher.adispatch("order.placed")

    assert [type(record.exc_info[1]) for record in caplog.records] == [KeyError]


async def test_running_dispatch_notifies_it_no_more(dispatcher):
    broken = Broken("listener_started")
    dispatcher.add_instrument(broken)
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge")

    await dispatcher.adispatch("order.placed")

    assert broken.lines == ["dispatch order.placed"]


async def test_other_running_dispatches_notify_it_no_more(caplog):
    dispatcher, broken = AsyncEventDispatcher(strategy=Concurrent()), Broken("listener_finished")
    dispatcher.add_instrument(broken)
    running, both_run = [], anyio.Event()

    async def wait(event):
        running.append(event)
        if len(running) == 2:
            both_run.set()
        await both_run.wait()

    add(dispatcher, "order.placed", "validate", wait)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(dispatcher.adispatch, "order.placed")

    assert sorted(broken.lines) == sorted(["dispatch order.placed", "call validate"] * 2)
    assert len(caplog.records) == 1


async def test_listener_error_is_unchanged_by_a_raising_instrument(dispatcher):
    error = LookupError()
    dispatcher.add_instrument(Broken("listener_finished"))
    add(dispatcher, "order.placed", "validate", partial(fail, error))

    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed")

    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)


async def test_raising_in_a_scope_removes_it_from_the_parent(dispatcher, caplog):
    broken = Broken("dispatch_finished")
    dispatcher.add_instrument(broken)
    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")

    assert broken.lines == ["dispatch order.placed"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_interrupt_in_an_instrument_ends_the_dispatch(observed, instrument, interrupt):
    observed.add_instrument(Broken("dispatch_started", interrupt()))
    event = Event()

    with pytest.raises(interrupt):
        await observed.adispatch("order.placed", event)

    assert instrument.lines == lines(outcome="cancelled")
    assert event._antiphon_in_flight is None


@pytest.mark.parametrize("kind", [Event, Careful])
@pytest.mark.parametrize("listeners", [(), ("validate",)], ids=["unheard", "heard"])
async def test_interrupt_in_an_instrument_calls_no_listener(observed, instrument, kind, listeners):
    interrupt = KeyboardInterrupt()
    observed.add_instrument(Broken("dispatch_started", interrupt))
    for name in listeners:
        add(observed, "order.placed", name)

    with pytest.raises(KeyboardInterrupt) as caught:
        await observed.adispatch("order.placed", kind())

    assert caught.value is instrument.of("order.placed").error is interrupt
    assert instrument.lines == lines(*(f"skip {name}: cancelled" for name in listeners), outcome="cancelled")


async def test_instrument_that_dispatches_endlessly_is_removed(monkeypatch):
    dispatcher, records, logged = EventDispatcher(), [], []
    # It does not format the message, which may fail where the stack is nearly full, after the message was counted.
    handler = logging.Handler()
    handler.emit = logged.append
    monkeypatch.setattr(logging.getLogger("antiphon"), "propagate", False)
    monkeypatch.setattr(logging.getLogger("antiphon"), "handlers", [handler])

    class Echo:
        def dispatch_started(self, record):
            records.append(record)
            dispatcher.dispatch("echo")

    dispatcher.add_instrument(Echo())
    dispatcher.dispatch("order.placed")
    seen = len(records)
    dispatcher.dispatch("order.placed")

    assert len(records) == seen
    assert len(logged) == 1
