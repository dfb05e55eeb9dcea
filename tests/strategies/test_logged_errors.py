"""Rule 18: ``errors="log"``, wherever a policy is an argument."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, Sequential
from tests.cancellation.listeners import Make, every_strategy
from tests.cancellation.tasks import leaves, left_by
from tests.waiting.helpers import Numbered


class BadRepr(Event):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def charge(event: Event) -> None:
    raise ValueError("no such card")


def get_record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("antiphon", logging.ERROR)
    return record


@every_strategy
@pytest.mark.parametrize("where", ["dispatcher", "dispatch"])
async def test_a_logged_error_names_listener_and_event(make: Make, where: str, caplog: Any) -> None:
    strategy, confirmed, event = make(errors="log"), list[Any](), Numbered(7)
    dispatcher = AsyncEventDispatcher(name="shop", strategy=strategy if where == "dispatcher" else None)

    async def confirm(event: Event) -> None:
        confirmed.append(event)

    dispatcher.add_listener("order.placed", charge)
    dispatcher.add_listener("order.placed", confirm)
    dispatcher.add_listener("order.placed", confirm, priority=1)
    given = strategy if where == "dispatch" else None
    assert await dispatcher.adispatch("order.placed", event, strategy=given) is event
    assert confirmed == [event, event]
    record = get_record(caplog)
    assert record.getMessage().startswith("listener ")
    assert all(part in record.getMessage() for part in ("charge", "Numbered(7)", "'order.placed'", "'shop'"))
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert 'raise ValueError("no such card")' in caplog.text


async def test_an_event_without_a_repr_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(BadRepr, charge)
    await dispatcher.adispatch(BadRepr(), strategy=Sequential(errors="log"))
    assert "BadRepr object at" in get_record(caplog).getMessage()


@every_strategy
async def test_what_the_logger_raises_leaves_like_an_error_of_a_policy(make: Make) -> None:
    error, dispatcher = LookupError("the log is full"), AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", charge)

    def refuse(record: logging.LogRecord) -> bool:
        raise error

    logger = logging.getLogger("antiphon")
    logger.addFilter(refuse)
    try:
        left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="log")))
    finally:
        logger.removeFilter(refuse)
    assert leaves(left) == [error]


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
    assert all(part in get_record(caplog).getMessage() for part in ("Numbered(1)", "'order.placed'", "'shop'"))
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
    released = weakref.ref(event)
    del event
    gc.collect()
    assert kept
    assert released() is None
