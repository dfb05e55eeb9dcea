"""Errors of listeners, under each policy."""

from __future__ import annotations

import logging
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import Event, Race
from antiphon.testing import settle
from tests.cancellation.tasks import leaves
from tests.guarantees.checking import (
    ALL,
    IN_TURN,
    NAME,
    TOGETHER,
    Subject,
    Waiting,
    assert_group,
    check,
    failing,
)


@check("errors-raise", *IN_TURN)
async def _(subject: Subject) -> None:
    calls, error = list[Event](), ValueError()
    assert await subject.left_by(subject.of(failing(error), calls.append)) is error
    assert not calls


@check("errors-raise", *TOGETHER)
async def _(subject: Subject) -> None:
    calls, waiting, error = list[Event](), Waiting(), ValueError()

    async def fail(event: Event) -> None:
        await waiting.started.wait()
        raise error

    assert_group(await subject.left_by(subject.of(waiting, fail, later=calls.append)), error)
    assert waiting.ended == "cancelled"
    assert not calls


@check("errors-collect", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    first, second, third = ValueError("first"), ValueError("second"), ValueError("third")

    async def fail_late(event: Event) -> None:
        await checkpoint()
        raise first

    dispatcher = subject.dispatcher(errors="collect")
    dispatcher.add_listener(NAME, failing(third), priority=1)
    dispatcher.add_listener(NAME, fail_late if subject.column in TOGETHER else failing(first))
    dispatcher.add_listener(NAME, failing(second))
    dispatcher.add_listener(NAME, calls.append, priority=2)
    assert_group(await subject.left_by(dispatcher), first, second, third)
    assert len(calls) == 1

    assert_group(await subject.left_by(subject.of(failing(first), errors="collect")), first)


@check("errors-log", *ALL)
async def _(subject: Subject) -> None:
    calls, records, error = list[Event](), list[logging.LogRecord](), ValueError()
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("antiphon").addHandler(handler)
    try:
        await subject.dispatch(subject.of(failing(error), calls.append, later=calls.append, errors="log"))
    finally:
        logging.getLogger("antiphon").removeHandler(handler)
    (record,) = records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert len(calls) == 2


@check("errors-function", *ALL)
async def _(subject: Subject) -> None:
    given, calls = list[Any](), list[Event]()
    error, event = ValueError(), Event()
    fail = failing(error)
    dispatcher = subject.of(fail, calls.append, later=calls.append, errors=lambda *arguments: given.append(arguments))
    await subject.dispatch(dispatcher, NAME, event)
    assert given == [(error, event, fail)]
    assert len(calls) == 2


@check("errors-function-raises", *ALL)
async def _(subject: Subject) -> None:
    calls, error, raised = list[Event](), ValueError(), RuntimeError()

    def refuse(exc: Exception, event: Any, listener: Any) -> None:
        assert exc is error
        raise raised

    left = await subject.left_by(subject.of(failing(error), later=calls.append, errors=refuse))
    subject.assert_grouped(left, raised)
    assert not calls


@check("errors-note", *ALL)
async def _(subject: Subject) -> None:
    error = ValueError()
    inner = subject.of(failing(error))
    outer = subject.dispatcher()
    outer.add_listener("outer", lambda event: subject.dispatching(inner)(NAME))
    assert leaves(await subject.left_by(outer, "outer")) == [error]
    of_inner, of_outer = error.__notes__
    for note, dispatcher, name in ((of_inner, inner, NAME), (of_outer, outer, "outer")):
        assert all(part in note for part in (repr(dispatcher), repr(name), "Event"))
    assert "failing" in of_inner
    assert "lambda" in of_outer
    await subject.left_by(outer, "outer")
    assert len(error.__notes__) == 2


@check("errors-loser", "race")
async def _(subject: Subject) -> None:
    error, winner_finished, given, event = ValueError(), list[int](), list[Any](), Event()
    loser_waits = anyio.Event()

    async def winner(event: Event) -> None:
        await loser_waits.wait()
        event.stop_propagation()
        await settle()
        winner_finished.append(1)

    async def loser(event: Event) -> None:
        try:
            loser_waits.set()
            await anyio.sleep_forever()
        finally:
            raise error

    dispatcher = subject.of(winner, loser)
    assert_group(await subject.left_by(dispatcher), error)
    assert winner_finished

    winner_finished.clear()
    loser_waits = anyio.Event()
    await dispatcher.adispatch(NAME, event, strategy=Race(errors=lambda *arguments: given.append(arguments)))
    assert winner_finished
    assert given == [(error, event, loser)]
