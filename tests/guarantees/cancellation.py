"""Cancellation and interrupts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from antiphon import Event, ListenerCancelled
from antiphon.testing import settle
from tests.cancellation.tasks import is_cancellation, leaves, left_by
from tests.guarantees.checking import ASYNC, IN_TURN, NAME, TOGETHER, Subject, Waiting, check, failing


async def cancel_when_blocked(dispatcher: Any) -> BaseException | None:
    """Cancel a scope around a dispatch when all is blocked. Returns what left the dispatch."""
    left: list[BaseException] = []
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await settle()
                scope.cancel()

            group.start_soon(cancel)
            try:
                await dispatcher.adispatch(NAME)
            except BaseException as exc:
                left.append(exc)
                raise
    return left[0] if left else None


@check("cancel-outside", *ASYNC)
async def _(subject: Subject) -> None:
    first, second, later = Waiting(), Waiting(), []
    assert is_cancellation(await cancel_when_blocked(subject.of(first, second, later=later.append)))
    assert (first.ended, second.ended) == ("cancelled", None if subject.column == "sequential" else "cancelled")
    assert second.started.is_set() == (subject.column != "sequential")
    assert not later


@check("cancel-policy", *ASYNC)
async def _(subject: Subject) -> None:
    given: list[Any] = []
    for policy in ("collect", lambda *arguments: given.append(arguments)):
        dispatcher = subject.of(Waiting(), Waiting(), later=given.append, errors=policy)
        assert is_cancellation(await cancel_when_blocked(dispatcher))
    assert not given


@check("cancel-errors", *ASYNC)
async def _(subject: Subject) -> None:
    error, left = ValueError(), []
    dispatcher = subject.of(failing(error), Waiting(), errors="collect")

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
    assert all(is_cancellation(other) for other in leaves(left[0])[1:])
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
        left = await subject.left_by(subject.of(leaking))
        assert is_cancellation(left)
        (note,) = left.__notes__
        assert leaking.__qualname__ in note

    left = await subject.left_by(subject.of(leaking, errors="collect" if subject.column == "sequential" else "raise"))
    (error,) = leaves(left)
    assert isinstance(left, Exception)
    assert isinstance(error, ListenerCancelled)
    assert error.listener is leaking
    assert is_cancellation(error.__cause__)

    given: list[Any] = []
    dispatcher = subject.of(leaking, later=given.append, errors=lambda exc, *_: given.append(type(exc)))
    event = await subject.dispatch(dispatcher)
    assert given == [ListenerCancelled, event]


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

    dispatcher = subject.of(cancel, **({"limit": 1} if subject.column == "concurrent" else {}))
    dispatcher.add_listener(NAME, later, priority=1 if subject.column == "race" else 0)
    with anyio.CancelScope() as scope:
        await subject.dispatch(dispatcher)
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

    await subject.dispatch(subject.of(handles_its_own, later=lambda event: ran.append("later")))
    assert ran == ["own", "later"]
    if subject.backend[0] == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == (1 if subject.column == "sequential" else 0)
        if task.cancelling():
            task.uncancel()


@check("interrupts", *IN_TURN)
async def _(subject: Subject) -> None:
    calls: list[Any] = []
    for policy in ("raise", "collect", lambda *arguments: calls.append(arguments)):
        for interrupt in (KeyboardInterrupt(), SystemExit()):
            assert await subject.left_by(subject.of(failing(interrupt), calls.append, errors=policy)) is interrupt
            assert not hasattr(interrupt, "__notes__")
    assert not calls


@check("interrupts", *TOGETHER)
async def _(subject: Subject) -> None:
    name, options = subject.backend

    def run(interrupt: type[BaseException], calls: list[Any]) -> list[BaseException]:
        """Return what left a dispatch, and what left the event loop, which an interrupt ends on asyncio."""
        left: list[BaseException] = []

        async def main() -> None:
            waiting = Waiting()

            async def listener(event: Event) -> None:
                await waiting.started.wait()
                raise interrupt

            dispatcher = subject.of(
                waiting, listener, later=calls.append, errors=lambda *arguments: calls.append(arguments)
            )
            left.append(await left_by(lambda: dispatcher.adispatch(NAME)) or Exception())
            raise left[0]

        try:
            anyio.run(main, backend=name, backend_options=options)
        except BaseException as exc:
            left.append(exc)
        return left

    for interrupt in (KeyboardInterrupt, SystemExit):
        calls: list[Any] = []
        # In another thread, because the interrupt ends the loop on asyncio. The loop logs the exception of its task.
        left = await anyio.to_thread.run_sync(run, interrupt, calls)
        assert [type(exc) for exc in left] == [interrupt, interrupt]
        assert not calls
