"""Every cell of the table of guarantees, on every backend.

The table is docs/guarantees.toml. For each cell there is one check here, registered under the id of its row and the
columns that it speaks for. A cell without a check fails, and so does a check without a cell.

A check is given a `Subject`: the dispatcher of its column, so that one check can speak for several columns. Where the
claim does not need a listener that waits, its listeners are plain functions; `Subject.listen` adapts them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    ListenerCancelled,
    Race,
    Sequential,
)
from antiphon.testing import settle
from docs import guarantees
from tests.cancellation.interrupts import INTERRUPTS

TABLE = guarantees.load()
STRATEGIES = {"sequential": Sequential, "concurrent": Concurrent, "race": Race}
IN_TURN = ("sequential", "sync")
TOGETHER = ("concurrent", "race")
ASYNC = ("sequential", *TOGETHER)
ALL = (*ASYNC, "sync")

NAME = "order.placed"


@dataclass
class Subject:
    """What a check looks at: the dispatcher of one column, on one backend."""

    column: str
    backend: tuple[str, dict[str, object]]

    def dispatcher(self, **options: Any) -> Any:
        """Make a dispatcher; the options are those of the strategy."""
        if self.column == "sync":
            return EventDispatcher(**options)
        return AsyncEventDispatcher(strategy=STRATEGIES[self.column](**options), sync_listeners="inline")

    def dispatching(self, dispatcher: Any) -> Callable[..., Any]:
        """Give what a plain listener calls, and returns the result of, to dispatch within a dispatch."""
        return dispatcher.dispatch if self.column == "sync" else dispatcher.adispatch

    async def dispatch(self, dispatcher: Any, *arguments: Any) -> Any:
        result = self.dispatching(dispatcher)(*arguments)
        return await result if isinstance(result, Awaitable) else result


CHECKS: dict[tuple[str, str], Callable[[Subject], Awaitable[None]]] = {}


def check(row: str, *columns: str) -> Callable[[Callable[[Subject], Awaitable[None]]], None]:
    """Register the decorated function as the check of these cells."""

    def register(function: Callable[[Subject], Awaitable[None]]) -> None:
        for column in columns:
            assert (row, column) not in CHECKS, f"{row}, {column}: checked twice"
            CHECKS[row, column] = function

    return register


CELLS = [(row.id, column) for row in TABLE.rows for column in row.cells]


@pytest.mark.parametrize(("row", "column"), CELLS, ids=[f"{row}-{column}" for row, column in CELLS])
async def test_the_cell_keeps_its_word(row: str, column: str, anyio_backend: tuple[str, dict[str, object]]) -> None:
    if (row, column) not in CHECKS:
        pytest.fail(f"nothing checks the cell {column} of {row}")
    with anyio.fail_after(20):
        await CHECKS[row, column](Subject(column, anyio_backend))


def test_every_check_has_its_cell() -> None:
    assert set(CHECKS) <= set(CELLS)


def test_no_row_stands_twice() -> None:
    assert len(CELLS) == len(set(CELLS))


def test_every_row_is_shown_in_the_docs() -> None:
    page = (guarantees.DOCS / "guarantees.md").read_text(encoding="utf-8")
    missing = {row.section for row in TABLE.rows if f"```{{guarantees}} {row.section}\n" not in page}
    assert not missing


def test_the_readme_shows_the_table_as_it_is() -> None:
    readme = guarantees.README.read_text(encoding="utf-8")
    assert readme == guarantees.update_readme(readme, TABLE), "run `python docs/guarantees.py`"


@pytest.mark.parametrize("source", ["listener", "listener in a task", "Control-C"])
def test_the_docs_quote_the_table_of_interrupts_as_it_is(source: str) -> None:
    lines = [
        f"| {'some' if row.errors_in_hand else 'none'} | {row.backend} | `{row.leaves_dispatch}` | `{row.leaves_run}` |"
        for row in INTERRUPTS
        if row.source == source
    ]
    page = (guarantees.DOCS / "errors-and-cancellation.md").read_text(encoding="utf-8")
    assert lines
    assert "\n".join(lines) in page


# What the checks share


@contextmanager
def left_by() -> Iterator[list[BaseException]]:
    """Give a list that holds what left the block."""
    left: list[BaseException] = []
    try:
        yield left
    except BaseException as exc:
        left.append(exc)


def leaves(exc: BaseException) -> list[BaseException]:
    """Give the exceptions in a group and its groups; of another exception, itself."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    return [leaf for member in exc.exceptions for leaf in leaves(member)]


def failing(error: BaseException) -> Callable[[Any], None]:
    def fail(event: Any) -> None:
        raise error

    return fail


class Waiting:
    """A listener that waits until it is told to go on, and notes how it ended."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.go_on = anyio.Event()
        self.ended: str | None = None

    async def __call__(self, event: Any) -> None:
        self.started.set()
        try:
            await self.go_on.wait()
            self.ended = "finished"
        except anyio.get_cancelled_exc_class():
            self.ended = "cancelled"
            raise


# Order, tasks and context


@check("order-of-priorities", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[int] = []
    dispatcher = subject.dispatcher()
    for priority in (7, -100, 0):
        dispatcher.add_listener(NAME, lambda event, priority=priority: log.append(priority), priority=priority)
    await subject.dispatch(dispatcher, NAME)
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
    await subject.dispatch(dispatcher, NAME)
    assert len(log) == 6
    assert log[-2:] == ["later starts", "later ends"]


@check("order-of-ties", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[int] = []
    dispatcher = subject.dispatcher()
    for number in range(5):
        dispatcher.add_listener(NAME, lambda event, number=number: log.append(number))
    await subject.dispatch(dispatcher, NAME)
    assert log == [0, 1, 2, 3, 4]


@check("order-of-ties", *TOGETHER)
async def _(subject: Subject) -> None:
    # Each waits for the other: they can only end if they run together.
    here, there = anyio.Event(), anyio.Event()
    dispatcher = subject.dispatcher()

    @dispatcher.listen(NAME)
    async def one(event: Event) -> None:
        here.set()
        await there.wait()

    @dispatcher.listen(NAME)
    async def other(event: Event) -> None:
        there.set()
        await here.wait()

    await subject.dispatch(dispatcher, NAME)


async def most_at_a_time(dispatcher: Any, count: int) -> int:
    running = most = 0

    async def listener(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await checkpoint()
        running -= 1

    for _ in range(count):
        dispatcher.add_listener(NAME, listener)
    await dispatcher.adispatch(NAME)
    return most


@check("at-a-time", "sequential")
async def _(subject: Subject) -> None:
    assert await most_at_a_time(subject.dispatcher(), 5) == 1


@check("at-a-time", "concurrent")
async def _(subject: Subject) -> None:
    assert await most_at_a_time(subject.dispatcher(), 5) == 5
    assert await most_at_a_time(subject.dispatcher(limit=2), 5) == 2


@check("at-a-time", "race")
async def _(subject: Subject) -> None:
    assert await most_at_a_time(subject.dispatcher(), 5) == 5


@check("at-a-time", "sync")
async def _(subject: Subject) -> None:
    running: list[str] = []
    dispatcher = subject.dispatcher()

    def listener(event: Event) -> None:
        assert not running
        running.append("listener")
        running.clear()

    dispatcher.add_listener(NAME, listener)
    dispatcher.add_listener(NAME, listener)
    dispatcher.dispatch(NAME)


@check("added-twice", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append)
    dispatcher.add_listener(NAME, calls.append)
    await subject.dispatch(dispatcher, NAME)
    assert len(calls) == 2


@check("task", "sequential")
async def _(subject: Subject) -> None:
    tasks: list[int] = []
    dispatcher = subject.dispatcher()

    async def listener(event: Event) -> None:
        tasks.append(anyio.get_current_task().id)

    dispatcher.add_listener(NAME, listener)
    dispatcher.add_listener(NAME, listener)
    await subject.dispatch(dispatcher, NAME)
    assert tasks == [anyio.get_current_task().id] * 2


@check("task", *TOGETHER)
async def _(subject: Subject) -> None:
    tasks: list[list[int]] = []
    dispatcher = subject.dispatcher()

    async def listener(event: Event) -> None:
        mine: list[int] = []
        for _ in range(4):
            mine.append(anyio.get_current_task().id)
            await checkpoint()
        tasks.append(mine)

    for _ in range(3):
        dispatcher.add_listener(NAME, listener)
    await subject.dispatch(dispatcher, NAME)
    assert len(tasks) == 3
    assert all(len(set(mine)) == 1 for mine in tasks)


variable: ContextVar[str] = ContextVar("variable", default="unset")


@check("context", *IN_TURN)
async def _(subject: Subject) -> None:
    seen: list[str] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: variable.set("by the listener"), priority=-1)
    dispatcher.add_listener(NAME, lambda event: seen.append(variable.get()))
    token = variable.set("by the caller")
    await subject.dispatch(dispatcher, NAME)
    assert seen == [variable.get()] == ["by the listener"]
    variable.reset(token)


@check("context", *TOGETHER)
async def _(subject: Subject) -> None:
    seen: list[str] = []
    dispatcher = subject.dispatcher()

    async def listener(event: Event) -> None:
        seen.append(variable.get())
        variable.set("by the listener")
        await checkpoint()
        assert variable.get() == "by the listener"

    token = variable.set("by the caller")
    for priority in (-1, 0, 0):  # the first is alone in its tier
        dispatcher.add_listener(NAME, listener, priority=priority)
    await subject.dispatch(dispatcher, NAME)
    assert seen == ["by the caller"] * 3
    assert variable.get() == "by the caller"
    variable.reset(token)


@check("checkpoints", "sequential")
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await subject.dispatch(dispatcher, NAME)
        calls.append(Event())  # a checkpoint before would have left the block
    assert len(calls) == 2


@check("checkpoints", *TOGETHER)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await subject.dispatch(dispatcher, NAME)
        calls.append(Event())
    assert not calls


@check("all-ended", *ASYNC)
async def _(subject: Subject) -> None:
    running: list[int] = []
    dispatcher = subject.dispatcher()

    async def listener(event: Event) -> None:
        running.append(1)
        try:
            await checkpoint()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            running.pop()

    for _ in range(3):
        dispatcher.add_listener(NAME, listener)
    await subject.dispatch(dispatcher, NAME)
    assert not running
    dispatcher.add_listener(NAME, failing(ValueError()))
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert left
    assert not running


@check("all-ended", "sync")
async def _(subject: Subject) -> None:
    log: list[str] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: log.append("listener"))
    dispatcher.dispatch(NAME)
    log.append("caller")
    assert log == ["listener", "caller"]


# Stopping


def stop(event: Event) -> None:
    event.stop_propagation()


@check("stop-within-tier", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[str] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: log.append("before"))
    dispatcher.add_listener(NAME, stop)
    dispatcher.add_listener(NAME, lambda event: log.append("after"))
    await subject.dispatch(dispatcher, NAME)
    assert log == ["before"]


@check("stop-within-tier", "concurrent")
async def _(subject: Subject) -> None:
    for options in ({}, {"limit": 1}):  # with the limit, the others start after the stop
        finished: list[int] = []
        dispatcher = subject.dispatcher(**options)

        async def listener(event: Event, finished: list[int] = finished) -> None:
            event.stop_propagation()
            await checkpoint()
            finished.append(1)

        for _ in range(3):
            dispatcher.add_listener(NAME, partial(listener))
        await subject.dispatch(dispatcher, NAME)
        assert len(finished) == 3


@check("stop-within-tier", "race")
async def _(subject: Subject) -> None:
    waiting, log = Waiting(), []
    dispatcher = subject.dispatcher()

    @dispatcher.listen(NAME)
    async def winner(event: Event) -> None:
        await waiting.started.wait()
        event.stop_propagation()
        await checkpoint()
        log.append("winner")

    dispatcher.add_listener(NAME, waiting)
    await subject.dispatch(dispatcher, NAME)
    assert log == ["winner"]
    assert waiting.ended == "cancelled"

    # A tier of listeners that stop at once: whichever starts first wins, the others are skipped.
    dispatcher = subject.dispatcher()
    for _ in range(3):
        dispatcher.add_listener("all stop", lambda event: (log.append("one"), event.stop_propagation()))
    await subject.dispatch(dispatcher, "all stop")
    assert log == ["winner", "one"]


@check("stop-later-tiers", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append, priority=1)
    dispatcher.add_listener(NAME, stop)
    await subject.dispatch(dispatcher, NAME)
    assert not calls


@check("stop-by-assignment", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append, priority=1)
    dispatcher.add_listener(NAME, lambda event: setattr(event, "propagation_stopped", True))
    assert (await subject.dispatch(dispatcher, NAME)).propagation_stopped
    assert not calls

    if subject.column == "race":
        waiting, log = Waiting(), []

        @dispatcher.listen("race")
        async def winner(event: Event) -> None:
            await waiting.started.wait()
            event.propagation_stopped = True
            await checkpoint()
            log.append("winner")

        dispatcher.add_listener("race", waiting)
        await subject.dispatch(dispatcher, "race")
        assert log == ["winner"]
        assert waiting.ended == "cancelled"


@check("stop-mark-stays", *ALL)
async def _(subject: Subject) -> None:
    dispatcher = subject.dispatcher()
    dispatcher.add_listener("stopped", stop)
    dispatcher.add_listener("not stopped", lambda event: None)
    assert (await subject.dispatch(dispatcher, "stopped")).propagation_stopped
    assert not (await subject.dispatch(dispatcher, "not stopped")).propagation_stopped


@check("stop-starts-anew", *ALL)
async def _(subject: Subject) -> None:
    seen: list[bool] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener("stopped", stop)
    dispatcher.add_listener("again", lambda event: seen.append(event.propagation_stopped))
    event = await subject.dispatch(dispatcher, "stopped")
    assert not (await subject.dispatch(dispatcher, "again", event)).propagation_stopped
    assert seen == [False]


@check("stop-by-nobody", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    for priority in (0, 0, 1):
        dispatcher.add_listener(NAME, calls.append, priority=priority)
    await subject.dispatch(dispatcher, NAME)
    assert len(calls) == 3

    if subject.column == "race":
        finished: list[int] = []

        async def listener(event: Event) -> None:
            await checkpoint()
            finished.append(1)

        dispatcher.add_listener("race", listener)
        dispatcher.add_listener("race", listener)
        await subject.dispatch(dispatcher, "race")
        assert len(finished) == 2


# Errors


@check("errors-raise", *IN_TURN)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    error = ValueError()
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, failing(error))
    dispatcher.add_listener(NAME, calls.append)
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert left[0] is error
    assert not calls


@check("errors-raise", *TOGETHER)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    waiting, error = Waiting(), ValueError()
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, waiting)

    @dispatcher.listen(NAME)
    async def fail(event: Event) -> None:
        await waiting.started.wait()
        raise error

    dispatcher.add_listener(NAME, calls.append, priority=1)
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert type(left[0]) is ExceptionGroup
    assert left[0].exceptions == (error,)
    assert waiting.ended == "cancelled"
    assert not calls


@check("errors-collect", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    first, second, third = ValueError("first"), ValueError("second"), ValueError("third")
    dispatcher = subject.dispatcher(errors="collect")
    dispatcher.add_listener(NAME, failing(third), priority=1)
    if subject.column in TOGETHER:

        @dispatcher.listen(NAME)
        async def fail_late(event: Event) -> None:
            await checkpoint()
            raise first

    else:
        dispatcher.add_listener(NAME, failing(first))
    dispatcher.add_listener(NAME, failing(second))
    dispatcher.add_listener(NAME, calls.append, priority=2)
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert type(left[0]) is ExceptionGroup
    assert left[0].exceptions == (first, second, third)
    assert len(calls) == 1

    dispatcher = subject.dispatcher(errors="collect")
    dispatcher.add_listener(NAME, failing(first))
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert type(left[0]) is ExceptionGroup
    assert left[0].exceptions == (first,)


@check("errors-log", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    records: list[logging.LogRecord] = []
    error = ValueError()
    dispatcher = subject.dispatcher(errors="log")
    dispatcher.add_listener(NAME, failing(error))
    dispatcher.add_listener(NAME, calls.append)
    dispatcher.add_listener(NAME, calls.append, priority=1)
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("antiphon").addHandler(handler)
    try:
        await subject.dispatch(dispatcher, NAME)
    finally:
        logging.getLogger("antiphon").removeHandler(handler)
    (record,) = records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert len(calls) == 2


@check("errors-function", *ALL)
async def _(subject: Subject) -> None:
    told: list[Any] = []
    calls: list[Event] = []
    error, event = ValueError(), Event()
    fail = failing(error)
    dispatcher = subject.dispatcher(errors=lambda *arguments: told.append(arguments))
    dispatcher.add_listener(NAME, fail)
    dispatcher.add_listener(NAME, calls.append)
    dispatcher.add_listener(NAME, calls.append, priority=1)
    await subject.dispatch(dispatcher, NAME, event)
    assert told == [(error, event, fail)]
    assert len(calls) == 2


@check("errors-function-raises", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    error, raised = ValueError(), RuntimeError()

    def note(exc: Exception, event: Any, listener: Any) -> None:
        assert exc is error
        raise raised

    dispatcher = subject.dispatcher(errors=note)
    dispatcher.add_listener(NAME, failing(error))
    dispatcher.add_listener(NAME, calls.append, priority=1)
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    if subject.column in IN_TURN:
        assert left[0] is raised
    else:
        assert type(left[0]) is ExceptionGroup
        assert left[0].exceptions == (raised,)
    assert not calls


@check("errors-note", *ALL)
async def _(subject: Subject) -> None:
    error = ValueError()
    inner, outer = subject.dispatcher(), subject.dispatcher()
    inner.add_listener("inner", failing(error))
    outer.add_listener("outer", lambda event: subject.dispatching(inner)("inner"))
    with left_by() as left:
        await subject.dispatch(outer, "outer")
    assert leaves(left[0]) == [error]
    of_inner, of_outer = error.__notes__
    for note, dispatcher, name in ((of_inner, inner, "inner"), (of_outer, outer, "outer")):
        assert repr(dispatcher) in note
        assert repr(name) in note
        assert "Event" in note
    assert "failing" in of_inner
    assert "lambda" in of_outer
    with left_by():
        await subject.dispatch(outer, "outer")
    assert len(error.__notes__) == 2


@check("errors-loser", "race")
async def _(subject: Subject) -> None:
    error, winner_finished = ValueError(), []
    loser_waits = anyio.Event()
    dispatcher = subject.dispatcher()

    @dispatcher.listen(NAME)
    async def winner(event: Event) -> None:
        await loser_waits.wait()
        event.stop_propagation()
        await settle()
        winner_finished.append(1)

    @dispatcher.listen(NAME)
    async def loser(event: Event) -> None:
        try:
            loser_waits.set()
            await anyio.sleep_forever()
        finally:
            raise error

    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    assert winner_finished
    assert type(left[0]) is ExceptionGroup
    assert left[0].exceptions == (error,)

    told: list[Any] = []
    winner_finished.clear()
    loser_waits = anyio.Event()
    event = Event()
    await dispatcher.adispatch(NAME, event, strategy=Race(errors=lambda *arguments: told.append(arguments)))
    assert winner_finished
    assert told == [(error, event, loser)]


# Cancellation and interrupts


async def cancelled_from_outside(subject: Subject, **options: Any) -> tuple[list[Waiting], list[Any], BaseException]:
    """Cancel a dispatch while its first tier waits; give its two listeners, later calls, and what left it."""
    listeners, later, left = [Waiting(), Waiting()], [], []
    dispatcher = subject.dispatcher(**options)
    for listener in listeners:
        dispatcher.add_listener(NAME, listener)
    dispatcher.add_listener(NAME, later.append, priority=1)

    async def dispatch() -> None:
        try:
            await dispatcher.adispatch(NAME)
        except BaseException as exc:
            left.append(exc)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(dispatch)
        await settle()
        group.cancel_scope.cancel()
    return listeners, later, left[0]


@check("cancel-outside", "sequential")
async def _(subject: Subject) -> None:
    (first, second), later, left = await cancelled_from_outside(subject)
    assert isinstance(left, anyio.get_cancelled_exc_class())
    assert first.ended == "cancelled"
    assert not second.started.is_set()
    assert not later


@check("cancel-outside", *TOGETHER)
async def _(subject: Subject) -> None:
    listeners, later, left = await cancelled_from_outside(subject)
    assert isinstance(left, anyio.get_cancelled_exc_class())
    assert [listener.ended for listener in listeners] == ["cancelled", "cancelled"]
    assert not later


@check("cancel-policy", *ASYNC)
async def _(subject: Subject) -> None:
    told: list[Any] = []
    for policy in ("collect", lambda *arguments: told.append(arguments)):
        _listeners, later, left = await cancelled_from_outside(subject, errors=policy)
        assert isinstance(left, anyio.get_cancelled_exc_class())
        assert not later
    assert not told


@check("cancel-errors", *ASYNC)
async def _(subject: Subject) -> None:
    error, left = ValueError(), []
    dispatcher = subject.dispatcher(errors="collect")
    dispatcher.add_listener(NAME, failing(error))
    dispatcher.add_listener(NAME, Waiting())

    async def dispatch() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await dispatcher.adispatch(NAME)
            except BaseException as exc:
                left.append(exc)
                raise

    scopes: list[anyio.CancelScope] = []
    # The scope takes its own cancellation out of the group, and lets the error pass.
    with pytest.raises(ExceptionGroup) as passed:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatch)
            await settle()
            scopes[0].cancel()
    assert leaves(passed.value) == [error]
    assert type(left[0]) is BaseExceptionGroup
    assert left[0].exceptions[0] is error
    assert all(isinstance(other, anyio.get_cancelled_exc_class()) for other in leaves(left[0])[1:])
    assert len(leaves(left[0])) > 1


@check("cancel-leak", *ASYNC)
async def _(subject: Subject) -> None:
    async def leaking(event: Event) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await checkpoint()
            except anyio.get_cancelled_exc_class() as exc:
                stray = exc
                raise
        raise stray

    if subject.column == "sequential":
        dispatcher = subject.dispatcher()
        dispatcher.add_listener(NAME, leaking)
        with left_by() as left:
            await subject.dispatch(dispatcher, NAME)
        assert isinstance(left[0], anyio.get_cancelled_exc_class())
        (note,) = left[0].__notes__
        assert leaking.__qualname__ in note

    dispatcher = subject.dispatcher(errors="collect" if subject.column == "sequential" else "raise")
    dispatcher.add_listener(NAME, leaking)
    with left_by() as left:
        await subject.dispatch(dispatcher, NAME)
    (error,) = leaves(left[0])
    assert isinstance(left[0], Exception)
    assert isinstance(error, ListenerCancelled)
    assert error.listener is leaking
    assert isinstance(error.__cause__, anyio.get_cancelled_exc_class())

    told: list[Any] = []
    calls: list[Event] = []
    dispatcher = subject.dispatcher(errors=lambda exc, event, listener: told.append(type(exc)))
    dispatcher.add_listener(NAME, leaking)
    dispatcher.add_listener(NAME, calls.append, priority=1)
    await subject.dispatch(dispatcher, NAME)
    assert told == [ListenerCancelled]
    assert len(calls) == 1


@check("cancel-start", *ASYNC)
async def _(subject: Subject) -> None:
    started: list[int] = []

    async def cancel(event: Event) -> None:
        await checkpoint()
        scope.cancel()

    async def later(event: Event) -> None:
        started.append(1)
        await checkpoint()
        started.append(2)

    dispatcher = subject.dispatcher(**({} if subject.column != "concurrent" else {"limit": 1}))
    dispatcher.add_listener(NAME, cancel)
    dispatcher.add_listener(NAME, later, priority=1 if subject.column == "race" else 0)
    with anyio.CancelScope() as scope:
        await subject.dispatch(dispatcher, NAME)
    assert scope.cancelled_caught
    assert started == ([1] if subject.column == "sequential" else [])


@check("cancel-own", *ASYNC)
async def _(subject: Subject) -> None:
    ran: list[str] = []

    async def handles_its_own(event: Event) -> None:
        with anyio.move_on_after(0):
            await checkpoint()
        if subject.backend[0] == "asyncio":
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            with suppress(asyncio.CancelledError):
                await anyio.Event().wait()
        ran.append("own")

    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, handles_its_own)
    dispatcher.add_listener(NAME, lambda event: ran.append("later"), priority=1)
    await subject.dispatch(dispatcher, NAME)
    assert ran == ["own", "later"]
    if subject.backend[0] == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == (1 if subject.column == "sequential" else 0)
        if task.cancelling():
            task.uncancel()


@check("interrupts", *IN_TURN)
async def _(subject: Subject) -> None:
    for interrupt in (KeyboardInterrupt(), SystemExit()):
        calls: list[Any] = []
        dispatcher = subject.dispatcher(errors=lambda *arguments, calls=calls: calls.append(arguments))
        dispatcher.add_listener(NAME, failing(interrupt))
        dispatcher.add_listener(NAME, calls.append)
        with left_by() as left:
            await subject.dispatch(dispatcher, NAME)
        assert left[0] is interrupt
        assert not calls


@check("interrupts", *TOGETHER)
async def _(subject: Subject) -> None:
    name, options = subject.backend
    for interrupt in (KeyboardInterrupt, SystemExit):
        calls: list[Any] = []
        left: list[BaseException] = []

        async def main(
            interrupt: type[BaseException] = interrupt,
            calls: list[Any] = calls,
            left: list[BaseException] = left,
        ) -> None:
            waiting = Waiting()
            dispatcher = subject.dispatcher(errors=lambda *arguments: calls.append(arguments))
            dispatcher.add_listener(NAME, waiting)

            @dispatcher.listen(NAME)
            async def listener(event: Event) -> None:
                await waiting.started.wait()
                raise interrupt

            dispatcher.add_listener(NAME, calls.append, priority=1)
            try:
                await dispatcher.adispatch(NAME)
            except BaseException as exc:
                left.append(exc)
                raise

        def run(main: Any = main) -> BaseException:
            # A thread of its own, since on asyncio the interrupt ends the loop. It complains there of the task that
            # ended with an exception which nobody fetched.
            with left_by() as raised:
                anyio.run(main, backend=name, backend_options=options)
            return raised[0]

        raised = await anyio.to_thread.run_sync(run)
        assert type(left[0]) is interrupt
        assert type(raised) is interrupt
        assert not calls


# Registering while a dispatch is under way


@check("added-meanwhile", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: dispatcher.add_listener(NAME, calls.append, priority=1), once=True)
    await subject.dispatch(dispatcher, NAME)
    assert not calls
    await subject.dispatch(dispatcher, NAME)
    assert len(calls) == 1


@check("removed-meanwhile", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()
    removed = dispatcher.add_listener(NAME, calls.append, priority=1)
    dispatcher.add_listener(NAME, calls.append, priority=2)
    dispatcher.add_listener(NAME, lambda event: removed.unsubscribe())
    await subject.dispatch(dispatcher, NAME)
    assert len(calls) == 1
    dispatcher.add_listener(NAME, lambda event: dispatcher.remove_listener(NAME, calls.append))
    await subject.dispatch(dispatcher, NAME)
    assert len(calls) == 1


@check("removed-while-running", *ASYNC)
async def _(subject: Subject) -> None:
    waiting = Waiting()
    dispatcher = subject.dispatcher()
    subscription = dispatcher.add_listener(NAME, waiting)
    async with anyio.create_task_group() as group:
        group.start_soon(dispatcher.adispatch, NAME)
        await waiting.started.wait()
        subscription.unsubscribe()
        waiting.go_on.set()
    assert waiting.ended == "finished"


@check("removed-while-running", "sync")
async def _(subject: Subject) -> None:
    log: list[str] = []
    dispatcher = subject.dispatcher()

    def listener(event: Event) -> None:
        subscription.unsubscribe()
        log.append("finished")

    subscription = dispatcher.add_listener(NAME, listener)
    dispatcher.dispatch(NAME)
    assert log == ["finished"]


@check("once", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Event] = []
    dispatcher = subject.dispatcher()

    def listener(event: Event) -> Any:
        calls.append(event)
        return subject.dispatching(dispatcher)(NAME)

    dispatcher.add_listener(NAME, listener, once=True)
    await subject.dispatch(dispatcher, NAME)
    await subject.dispatch(dispatcher, NAME)
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
            before.go_on.set()
            waiting.go_on.set()
        assert len(calls) == 2


# The event


@check("same-event", *ALL)
async def _(subject: Subject) -> None:
    event = Event()
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: Event())
    assert await subject.dispatch(dispatcher, NAME, event) is event
    assert await subject.dispatch(dispatcher, event) is event


@check("event-attributes", *ALL)
async def _(subject: Subject) -> None:
    seen: list[Any] = []
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, lambda event: seen.append((event.name, event.dispatcher)))
    event = await subject.dispatch(dispatcher, NAME, Event())
    assert seen == [(NAME, dispatcher)] == [(event.name, event.dispatcher)]


@check("nested", *IN_TURN)
async def _(subject: Subject) -> None:
    log: list[Any] = []
    outer, inner = subject.dispatcher(), subject.dispatcher()

    def look(event: Event) -> None:
        log.append((event.name, event.dispatcher, event.propagation_stopped))

    inner.add_listener("inner", look)
    inner.add_listener("inner", stop)
    outer.add_listener("outer", lambda event: subject.dispatching(inner)("inner", event))
    outer.add_listener("outer", look)
    await subject.dispatch(outer, "outer")
    assert log == [("inner", inner, False), ("outer", outer, False)]

    # Also when the inner dispatch ends badly.
    log.clear()
    inner.add_listener("fails", failing(ValueError()))

    def dispatch_and_go_on(event: Event) -> Any:
        if subject.column != "sync":

            async def guarded() -> None:
                with left_by():
                    await inner.adispatch("fails", event)

            return guarded()
        with left_by():
            inner.dispatch("fails", event)
        return None

    outer.add_listener("badly", dispatch_and_go_on)
    outer.add_listener("badly", look)
    await subject.dispatch(outer, "badly")
    assert log == [("badly", outer, False)]


@check("nested", *TOGETHER)
async def _(subject: Subject) -> None:
    log: list[Any] = []
    dispatcher = subject.dispatcher()
    inside = Waiting()
    dispatcher.add_listener("inner", inside)

    @dispatcher.listen("outer")
    async def dispatches_again(event: Event) -> None:
        await dispatcher.adispatch("inner", event)
        log.append((inside.ended, event.name))

    @dispatcher.listen("outer")
    async def beside(event: Event) -> None:
        await inside.started.wait()
        log.append(("beside", event.name))
        inside.go_on.set()

    await subject.dispatch(dispatcher, "outer")
    assert log == [("beside", "inner"), ("finished", "outer")]


@check("nobody", *ALL)
async def _(subject: Subject) -> None:
    event = Event()
    dispatcher = subject.dispatcher()
    assert await subject.dispatch(dispatcher, NAME, event) is event
    assert not event.propagation_stopped


class Slotted:
    __slots__ = ("order",)


@check("bare", *ALL)
async def _(subject: Subject) -> None:
    calls: list[Any] = []
    event = Slotted()
    dispatcher = subject.dispatcher()
    dispatcher.add_listener(NAME, calls.append)
    dispatcher.add_listener(NAME, lambda event: hasattr(event, "stop_propagation") and event.stop_propagation())
    dispatcher.add_listener(NAME, calls.append, priority=1)
    assert await subject.dispatch(dispatcher, NAME, event) is event
    assert calls == [event, event]
    assert not any(hasattr(event, attribute) for attribute in ("name", "dispatcher", "propagation_stopped"))
