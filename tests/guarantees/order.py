"""Order, tasks and context."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import Event
from tests.guarantees.checking import ALL, ASYNC, IN_TURN, NAME, TOGETHER, Subject, check, failing

variable: ContextVar[str] = ContextVar("variable", default="unset")


@check("order-of-priorities", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[int] = []
    dispatcher = subject.dispatcher()
    for priority in (7, -100, 0):
        dispatcher.add_listener(NAME, lambda event, priority=priority: log.append(priority), priority=priority)
    await subject.dispatch(dispatcher)
    assert log == [-100, 0, 7]


@check("order-of-priorities", *TOGETHER)
async def _(subject: Subject) -> None:
    log: list[str] = []
    dispatcher = subject.dispatcher()

    def add(name: str, priority: int) -> None:
        async def listener(event: Event) -> None:
            log.append(f"{name} starts")
            await checkpoint()
            log.append(f"{name} ends")

        dispatcher.add_listener(NAME, listener, priority=priority)

    add("later", 7)
    add("first", -100)
    add("also first", -100)
    await subject.dispatch(dispatcher)
    assert len(log) == 6
    assert log[-2:] == ["later starts", "later ends"]


@check("order-of-ties", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[int] = []
    listeners = [lambda event, number=number: log.append(number) for number in range(5)]
    await subject.dispatch(subject.of(*listeners))
    assert log == [0, 1, 2, 3, 4]


@check("order-of-ties", *TOGETHER)
async def _(subject: Subject) -> None:
    # Each waits for the other: they can only end if they run together.
    here, there = anyio.Event(), anyio.Event()

    async def one(event: Event) -> None:
        here.set()
        await there.wait()

    async def other(event: Event) -> None:
        there.set()
        await here.wait()

    await subject.dispatch(subject.of(one, other))


@check("at-a-time", *ASYNC)
async def _(subject: Subject) -> None:
    async def most_at_a_time(**options: Any) -> int:
        running = most = 0

        async def listener(event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(3):
                await checkpoint()
            running -= 1

        await subject.dispatch(subject.of(*[listener] * 5, **options))
        return most

    assert await most_at_a_time() == (1 if subject.column == "sequential" else 5)
    if subject.column == "concurrent":
        for limit in (1, 2, 3, 10):
            assert await most_at_a_time(limit=limit) == min(limit, 5)


@check("at-a-time", "sync")
async def _(subject: Subject) -> None:
    running: list[str] = []

    def listener(event: Event) -> None:
        assert not running
        running.append("listener")
        running.clear()

    subject.of(listener, listener).dispatch(NAME)


@check("added-twice", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    await subject.dispatch(subject.of(calls.append, calls.append))
    assert len(calls) == 2


@check("task", *ASYNC)
async def _(subject: Subject) -> None:
    tasks: list[set[int]] = []

    async def listener(event: Event) -> None:
        own: set[int] = set()
        for _ in range(4):
            own.add(anyio.get_current_task().id)
            await checkpoint()
        tasks.append(own)

    await subject.dispatch(subject.of(*[listener] * 3))
    assert [len(own) for own in tasks] == [1, 1, 1]
    if subject.column == "sequential":
        assert tasks == [{anyio.get_current_task().id}] * 3


@check("context", *IN_TURN)
async def _(subject: Subject) -> None:
    seen: list[str] = []
    token = variable.set("by the caller")
    await subject.dispatch(
        subject.of(lambda event: variable.set("by the listener"), lambda event: seen.append(variable.get()))
    )
    assert seen == [variable.get()] == ["by the listener"]
    variable.reset(token)


@check("context", *TOGETHER)
async def _(subject: Subject) -> None:
    seen: list[str] = []

    async def listener(event: Event) -> None:
        seen.append(variable.get())
        variable.set("by the listener")
        await checkpoint()
        assert variable.get() == "by the listener"

    token = variable.set("by the caller")
    await subject.dispatch(subject.of(listener, listener, later=listener))  # the last is alone in its tier
    assert seen == ["by the caller"] * 3
    assert variable.get() == "by the caller"
    variable.reset(token)


@check("checkpoints", *ASYNC)
async def _(subject: Subject) -> None:
    log: list[Any] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await subject.dispatch(subject.of(log.append))
        log.append("returned")  # a checkpoint before would have left the block
    assert len(log) == (2 if subject.column == "sequential" else 0)


@check("all-ended", *ASYNC)
async def _(subject: Subject) -> None:
    running: list[int] = []

    async def listener(event: Event) -> None:
        running.append(1)
        try:
            await checkpoint()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            running.pop()

    await subject.dispatch(subject.of(*[listener] * 3))
    assert not running
    assert await subject.left_by(subject.of(*[listener] * 3, failing(ValueError())))
    assert not running


@check("all-ended", "sync")
async def _(subject: Subject) -> None:
    log: list[str] = []
    subject.of(lambda event: log.append("listener")).dispatch(NAME)
    log.append("caller")
    assert log == ["listener", "caller"]
