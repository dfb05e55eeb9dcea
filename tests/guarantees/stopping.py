"""Stopping an event."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio.lowlevel import checkpoint

from antiphon import Event
from tests.guarantees.checking import ALL, IN_TURN, NAME, Subject, Waiting, check, stop


@check("stop-within-tier", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[str] = []
    await subject.dispatch(subject.of(lambda event: log.append("before"), stop, lambda event: log.append("after")))
    assert log == ["before"]


@check("stop-within-tier", "concurrent")
async def _(subject: Subject) -> None:
    for options in ({}, {"limit": 1}):  # with the limit, the others start after the stop
        finished: list[int] = []

        async def listener(event: Event, finished: list[int] = finished) -> None:
            event.stop_propagation()
            await checkpoint()
            finished.append(1)

        await subject.dispatch(subject.of(*[partial(listener) for _ in range(3)], **options))
        assert len(finished) == 3


async def assert_winner_alone_finishes(subject: Subject, how_to_stop: Any) -> None:
    waiting, log = Waiting(), []

    async def winner(event: Event) -> None:
        await waiting.started.wait()
        how_to_stop(event)
        await checkpoint()
        log.append("winner")

    await subject.dispatch(subject.of(winner, waiting))
    assert log == ["winner"]
    assert waiting.ended == "cancelled"


@check("stop-within-tier", "race")
async def _(subject: Subject) -> None:
    await assert_winner_alone_finishes(subject, stop)

    # A tier of listeners that stop at once: the first to start wins, and the others are skipped.
    log: list[str] = []
    await subject.dispatch(subject.of(*[lambda event: (log.append("one"), event.stop_propagation())] * 3))
    assert log == ["one"]


@check("stop-later-tiers", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    await subject.dispatch(subject.of(stop, later=calls.append))
    assert not calls


@check("stop-by-assignment", *ALL)
async def _(subject: Subject) -> None:
    def assign(event: Event) -> None:
        event.propagation_stopped = True

    calls: list[Event] = []
    assert (await subject.dispatch(subject.of(assign, later=calls.append))).propagation_stopped
    assert not calls
    if subject.column == "race":
        await assert_winner_alone_finishes(subject, assign)


@check("stop-mark-stays", *ALL)
async def _(subject: Subject) -> None:
    assert (await subject.dispatch(subject.of(stop))).propagation_stopped
    assert not (await subject.dispatch(subject.of(lambda event: None))).propagation_stopped


@check("stop-starts-anew", *ALL)
async def _(subject: Subject) -> None:
    seen: list[bool] = []
    event = await subject.dispatch(subject.of(stop))
    again = subject.of(lambda event: seen.append(event.propagation_stopped))
    assert not (await subject.dispatch(again, NAME, event)).propagation_stopped
    assert seen == [False]


@check("stop-by-nobody", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    await subject.dispatch(subject.of(calls.append, calls.append, later=calls.append))
    assert len(calls) == 3

    if subject.column == "race":
        finished: list[int] = []

        async def listener(event: Event) -> None:
            await checkpoint()
            finished.append(1)

        await subject.dispatch(subject.of(listener, listener))
        assert len(finished) == 2
