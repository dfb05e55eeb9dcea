"""An instrument says before each dispatch whether it wants to observe everything, only failures, or nothing."""

from __future__ import annotations

import logging
from enum import StrEnum
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from antiphon.instruments import Instrument
from antiphon.instruments.logging import LoggingInstrument
from tests.instruments.recording_instrument import RecordingInstrument, add, every_strategy, fail, lines


class State(StrEnum):
    PLACED = "order.placed"


class Interested(RecordingInstrument):
    """Records what it is notified of, and has an interest that changes."""

    def __init__(self, interest="all"):
        super().__init__()
        self.interest = interest
        self.asked = 0
        self.finished = []

    def get_interest(self):
        self.asked += 1
        return self.interest

    def dispatch_finished(self, record):
        super().dispatch_finished(record)
        self.finished.append(record)


async def test_nothing_is_notified_without_interest(dispatcher):
    instrument = Interested("nothing")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    add(dispatcher, "order.placed", "charge", partial(fail, LookupError()))

    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.paid")

    assert (instrument.lines, instrument.asked) == ([], 2)


async def test_interest_is_asked_in_each_dispatch(dispatcher):
    instrument = Interested("nothing")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")

    await dispatcher.adispatch("order.placed")
    instrument.interest = "all"
    await dispatcher.adispatch("order.placed")
    instrument.interest = "nothing"
    await dispatcher.adispatch("order.placed")

    assert instrument.lines == lines("validate")


async def test_interest_holds_until_the_end_of_the_dispatch(dispatcher):
    instrument = Interested()
    dispatcher.add_instrument(instrument)

    def lose_interest(event):
        instrument.interest = "nothing"

    add(dispatcher, "order.placed", "validate", lose_interest)
    add(dispatcher, "order.placed", "charge")
    await dispatcher.adispatch("order.placed")
    await dispatcher.adispatch("order.placed")

    assert instrument.lines == lines("validate", "charge")


@every_strategy
async def test_only_failures_are_notified(strategy):
    dispatcher, instrument = AsyncEventDispatcher(strategy=strategy), Interested("failures")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.paid", "receipt")
    add(dispatcher, "order.placed", "validate", priority=-1)
    add(dispatcher, "order.placed", "charge", partial(fail, LookupError()))
    await dispatcher.adispatch("order.paid")
    with pytest.raises((LookupError, ExceptionGroup)):
        await dispatcher.adispatch("order.placed")

    assert instrument.lines == ["called charge: failed", "dispatched order.placed: failed"]
    (failed,) = instrument.finished
    assert [record.outcome for record in failed.listeners] == ["finished", "failed"]
    assert failed.duration is not None and failed.listeners[0].duration is not None


async def test_failures_of_plain_listeners_are_notified():
    dispatcher, instrument = EventDispatcher(), Interested("failures")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "charge", partial(fail, LookupError()))
    with pytest.raises(LookupError):
        dispatcher.dispatch("order.placed")

    assert instrument.lines == ["called charge: failed", "dispatched order.placed: failed"]


async def test_error_that_a_policy_handles_is_a_failure_of_the_listener_alone():
    dispatcher, instrument = AsyncEventDispatcher(strategy=Sequential(errors=lambda *_: None)), Interested("failures")
    dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "charge", partial(fail, LookupError()))
    await dispatcher.adispatch("order.placed")

    assert instrument.lines == ["called charge: failed"]


async def test_failure_of_a_custom_strategy_without_listeners_is_notified():
    class Failing:
        async def run(self, plan, event):
            raise LookupError

    dispatcher, instrument = AsyncEventDispatcher(), Interested("failures")
    dispatcher.add_instrument(instrument)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed", strategy=Failing())

    assert instrument.lines == ["dispatched order.placed: failed"]


@pytest.mark.parametrize("names", [("order.placed", State.PLACED), (State.PLACED, "order.placed")], ids=repr)
async def test_an_observed_event_gets_the_name_of_its_dispatch(dispatcher, names):
    dispatcher.add_instrument(RecordingInstrument())
    add(dispatcher, "order.placed", "validate")

    events = [await dispatcher.adispatch(name, Event()) for name in names]

    assert [type(event.name) for event in events] == [type(name) for name in names]


async def test_each_instrument_has_its_own_interest(dispatcher):
    everything, failures, nothing = RecordingInstrument(), Interested("failures"), Interested("nothing")
    for instrument in (everything, failures, nothing):
        dispatcher.add_instrument(instrument)
    add(dispatcher, "order.placed", "validate")
    await dispatcher.adispatch("order.placed")

    assert (everything.lines, failures.lines, nothing.lines) == (lines("validate"), [], [])


@pytest.mark.parametrize("interest", ["nothing", "failures"])
async def test_uninterested_dispatch_is_plain(dispatcher, interest):
    """It runs in the loop of plain dispatches; with an interest in failures only if nothing can fail."""
    dispatcher.add_instrument(Interested(interest))
    if interest == "nothing":
        add(dispatcher, "order.placed", "validate")

    assert dispatcher._get_cached_plan("order.placed", Event()).variants.select().is_fast


@pytest.mark.parametrize("strategy", [None, Concurrent()], ids=repr)
async def test_nested_dispatches_of_an_uninterested_dispatch_have_the_outer_parent(strategy):
    """The middle dispatch is not observed, so the call around it is the parent."""
    observed, unobserved, instrument = AsyncEventDispatcher(), AsyncEventDispatcher(), RecordingInstrument()
    observed.add_instrument(instrument)
    unobserved.add_instrument(Interested("nothing"))
    add(observed, "order.placed", "validate", lambda event: unobserved.adispatch("order.paid", strategy=strategy))
    add(unobserved, "order.paid", "receipt", lambda event: observed.adispatch("order.sent"))
    await observed.adispatch("order.placed")

    assert instrument.of("order.sent").parent is instrument.call_of("validate")


async def test_scopes_prepared_dispatches_and_overrides_ask(dispatcher):
    class Overriding(AsyncEventDispatcher):
        async def _adispatch(self, listeners, event):
            await super()._adispatch(listeners, event)

    overriding, instrument = Overriding(), Interested("nothing")
    for each in (dispatcher, overriding):
        each.add_instrument(instrument)
        add(each, "order.placed", "validate")
    with dispatcher.scope() as scoped:
        await scoped.adispatch("order.placed")
    prepared = dispatcher.prepare("order.placed")(Event())
    if isinstance(dispatcher, AsyncEventDispatcher):
        await prepared
    await overriding.adispatch("order.placed")

    assert (instrument.lines, instrument.asked) == ([], 3)


@pytest.mark.parametrize("bad", ["everything", None, [], True])
async def test_wrong_interest_is_logged_and_removes_the_instrument(dispatcher, bad, caplog):
    instrument = Interested(bad)
    dispatcher.add_instrument(instrument)
    with caplog.at_level(logging.ERROR, "antiphon"):
        await dispatcher.adispatch("order.placed")
        await dispatcher.adispatch("order.placed")

    assert (instrument.lines, instrument.asked) == ([], 1)
    (logged,) = caplog.records
    assert "raised in get_interest, and is removed" in logged.getMessage()
    assert "returns one of 'all', 'failures', 'nothing'" in str(logged.exc_info[1])


async def test_raising_get_interest_removes_the_instrument(dispatcher, caplog):
    instrument = Interested()
    instrument.get_interest = partial(fail, OSError(), None)
    dispatcher.add_instrument(instrument)
    await dispatcher.adispatch("order.placed")

    assert instrument.lines == []
    with pytest.raises(ValueError, match="removed because it raised"):
        dispatcher.remove_instrument(instrument)


@pytest.fixture
def logger(caplog):
    logger = logging.getLogger("antiphon.interest")
    yield logger
    logger.setLevel(logging.NOTSET)


def test_async_get_interest_is_refused(dispatcher):
    class AsyncInterest(Instrument):
        async def get_interest(self):
            return "all"

        def dispatch_started(self, record): ...

    with pytest.raises(TypeError, match="get_interest of an instrument is a plain function"):
        dispatcher.add_instrument(AsyncInterest())


async def test_object_without_get_interest_observes_everything(dispatcher):
    seen, mock = [], Mock()
    dispatcher.add_instrument(SimpleNamespace(dispatch_started=seen.append))
    dispatcher.add_instrument(mock)
    await dispatcher.adispatch("order.placed")

    assert (len(seen), mock.dispatch_started.call_count) == (1, 1)


@pytest.mark.parametrize(
    ("level", "interest"),
    [
        (logging.DEBUG, "all"),
        (logging.INFO, "all"),
        (logging.WARNING, "failures"),
        (logging.ERROR, "failures"),
        (logging.CRITICAL, "nothing"),
    ],
)
def test_interest_of_logging_is_that_of_its_levels(level, interest, logger):
    logger.setLevel(level)

    assert LoggingInstrument(logger).get_interest() == interest


@pytest.mark.parametrize("errors", ["raise", "collect"])
async def test_logging_of_failures_alone_logs_the_traceback_once(errors, logger, caplog):
    logger.setLevel(logging.WARNING)
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors=errors))
    dispatcher.add_instrument(LoggingInstrument(logger))
    add(dispatcher, "order.placed", "validate", lambda event: dispatcher.adispatch("order.paid"))
    add(dispatcher, "order.paid", "charge", partial(fail, LookupError("no funds")))
    with pytest.raises((LookupError, ExceptionGroup)):
        await dispatcher.adispatch("order.placed")

    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4
    assert [record.exc_info is not None for record in caplog.records].count(True) == 1
