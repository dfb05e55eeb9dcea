"""Registering and removing while a dispatch runs."""

from __future__ import annotations

from typing import Any

import anyio

from antiphon import Event
from antiphon.testing import settle
from tests.guarantees.checking import ALL, ASYNC, NAME, Subject, Waiting, check


@check("added-meanwhile", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: dispatcher.add_listener(NAME, calls.append, priority=1), once=True)
    await subject.dispatch(dispatcher)
    assert not calls
    await subject.dispatch(dispatcher)
    assert len(calls) == 1


@check("removed-meanwhile", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    removed = dispatcher.add_listener(NAME, calls.append, priority=1)
    dispatcher.add_listener(NAME, calls.append, priority=2)
    dispatcher.add_listener(NAME, lambda event: removed.unsubscribe())
    await subject.dispatch(dispatcher)
    assert len(calls) == 1
    dispatcher.add_listener(NAME, lambda event: dispatcher.remove_listener(NAME, calls.append))
    await subject.dispatch(dispatcher)
    assert len(calls) == 1


@check("removed-while-running", *ASYNC)
async def _(subject: Subject) -> None:
    waiting, dispatcher = Waiting(), subject.dispatcher()
    subscription = dispatcher.add_listener(NAME, waiting)
    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, NAME)
        await waiting.started.wait()
        subscription.unsubscribe()
        waiting.released.set()
    assert waiting.ended == "finished"


@check("removed-while-running", "sync")
async def _(subject: Subject) -> None:
    log, dispatcher = list[str](), subject.dispatcher()

    def listener(event: Event) -> None:
        subscription.unsubscribe()
        log.append("finished")

    subscription = dispatcher.add_listener(NAME, listener)
    dispatcher.dispatch(NAME)
    assert log == ["finished"]


@check("once", *ALL)
async def _(subject: Subject) -> None:
    calls, dispatcher = list[Event](), subject.dispatcher()

    def listener(event: Event) -> Any:
        calls.append(event)
        return subject.dispatching(dispatcher)(NAME)

    dispatcher.add_listener(NAME, listener, once=True)
    await subject.dispatch(dispatcher)
    await subject.dispatch(dispatcher)
    assert len(calls) == 1
    assert not dispatcher.has_listeners(NAME)

    if subject.column != "sync":
        before, waiting = Waiting(), Waiting()
        dispatcher.add_listener("overlapping", before, priority=-1)
        dispatcher.add_listener("overlapping", waiting, once=True)
        dispatcher.add_listener("overlapping", calls.append, once=True)
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, "overlapping")
            group.start_soon(dispatcher.adispatch, "overlapping")
            await settle()
            before.released.set()
            waiting.released.set()
        assert len(calls) == 2
