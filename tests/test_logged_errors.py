"""Rule 18: ``errors="log"``, wherever a policy is taken."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, EventDispatcher, Race, Sequential
from tests.cancellation.listeners import Make, every_strategy
from tests.waiting.helpers import Numbered

POLICY: ErrorPolicy = "log"


class BadRepr(Event):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def the_record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("antiphon", logging.ERROR)
    return record


@every_strategy
async def test_a_logged_error_tells_listener_and_event_and_the_dispatch_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, error, charged = AsyncEventDispatcher(name="shop"), ValueError("no such card"), list[Any]()

    async def charge(event: Event) -> None:
        raise error

    async def confirm(event: Event) -> None:
        charged.append(event)

    dispatcher.add_listener("order.placed", charge)
    dispatcher.add_listener("order.placed", confirm)
    dispatcher.add_listener("order.placed", confirm, priority=1)
    event = Numbered(7)
    assert await dispatcher.adispatch("order.placed", event, strategy=make(errors="log")) is event
    assert charged == [event, event]
    record = the_record(caplog)
    text = record.getMessage()
    assert "charge" in text
    assert "Numbered(7)" in text
    assert "'order.placed'" in text
    assert "'shop'" in text
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "raise error" in caplog.text


def test_an_event_dispatcher_logs_too(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, charged = EventDispatcher(errors="log"), list[Any]()

    @dispatcher.listen(Numbered)
    def charge(event: Event) -> None:
        raise ValueError("no such card")

    dispatcher.add_listener(Numbered, charged.append)
    event = dispatcher.dispatch(Numbered(7))
    assert charged == [event]
    assert "charge" in the_record(caplog).getMessage()
    assert "no such card" in caplog.text


@every_strategy
async def test_a_dispatcher_whose_strategy_logs(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = AsyncEventDispatcher(strategy=make(errors=POLICY))

    @dispatcher.listen("order.placed")
    async def charge(event: Event) -> None:
        raise ValueError("no such card")

    await dispatcher.adispatch("order.placed")
    assert "no such card" in caplog.text


@every_strategy
async def test_an_event_without_a_repr_is_logged_all_the_same(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen(BadRepr)
    async def charge(event: Event) -> None:
        raise ValueError("no such card")

    await dispatcher.adispatch(BadRepr(), strategy=make(errors="log"))
    assert "BadRepr object at" in the_record(caplog).getMessage()


@every_strategy
async def test_what_the_log_raises_leaves_as_what_a_function_raises(make: Make) -> None:
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def charge(event: Event) -> None:
        raise ValueError("no such card")

    def refuse(record: logging.LogRecord) -> bool:
        raise LookupError("the log is full")

    logger = logging.getLogger("antiphon")
    logger.addFilter(refuse)
    try:
        with pytest.raises((LookupError, ExceptionGroup)) as caught:
            await dispatcher.adispatch("order.placed", strategy=make(errors="log"))
    finally:
        logger.removeFilter(refuse)
    left = caught.value
    assert isinstance(left.exceptions[0] if isinstance(left, ExceptionGroup) else left, LookupError)


async def test_no_error_is_logged_without_one(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="log"))

    @dispatcher.listen("order.placed")
    async def charge(event: Event) -> None: ...

    await dispatcher.adispatch("order.placed")
    assert not caplog.records


async def test_a_queue_logs_what_fails_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, charged = AsyncEventDispatcher(name="shop"), list[Any]()

    @dispatcher.listen("order.placed")
    async def charge(event: Numbered) -> None:
        if event.number == 1:
            raise ValueError("no such card")
        charged.append(event.number)

    async with dispatcher.queue(errors="log") as queue:
        for number in range(3):
            await queue.post("order.placed", Numbered(number))
    assert charged == [0, 2]
    assert queue.statistics()[:5] == (3, 2, 1, 0, 0)
    text = the_record(caplog).getMessage()
    assert "Numbered(1)" in text
    assert "'order.placed'" in text
    assert "'shop'" in text
    # The note names the listener.
    assert "charge" in caplog.text
    assert "no such card" in caplog.text


async def test_a_record_keeps_neither_event_nor_listener_alive() -> None:
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.exc_info = None
            kept.append(record)

    dispatcher = AsyncEventDispatcher(strategy=Sequential(errors="log"))

    async def charge(event: Event) -> None:
        raise ValueError("no such card")

    dispatcher.add_listener("order.placed", charge)
    logger, handler = logging.getLogger("antiphon"), Keep()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        event = Numbered(1)
        await dispatcher.adispatch("order.placed", event)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    gone = weakref.ref(event)
    del event
    gc.collect()
    assert kept
    assert gone() is None


def test_the_policy_shows_in_the_repr_and_compares() -> None:
    assert repr(Concurrent(errors="log")) == "Concurrent(errors='log')"
    assert Race(errors="log") == Race(errors="log") != Race()
