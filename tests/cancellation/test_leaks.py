"""A cancellation that leaves a listener although nobody asked for it is an error of that listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import CancelScope, lowlevel

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, ListenerCancelled, Sequential, Strategy
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_strategy,
    every_unlimited_strategy,
    overlook,
)
from tests.cancellation.tasks import Watch, forever, is_cancellation, left_by, settle

Listener = Callable[[Event], Awaitable[None]]


async def _stored_cancellation() -> BaseException:
    """A cancellation whose scope has ended."""
    stored: list[BaseException] = []
    with CancelScope() as scope:
        scope.cancel()
        try:
            await lowlevel.checkpoint()
        except BaseException as exc:
            stored.append(exc)
            raise
    assert is_cancellation(stored[0])
    return stored[0]


def raising_a_stored_cancellation(backend: str) -> Listener:
    async def leak(event: Event) -> None:
        raise await _stored_cancellation()

    return leak


def awaiting_a_cancelled_task(backend: str) -> Listener:
    async def leak(event: Event) -> None:
        task = asyncio.create_task(forever())
        await lowlevel.checkpoint()
        task.cancel()
        await task

    return leak


def awaiting_a_cancelled_future(backend: str) -> Listener:
    async def leak(event: Event) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    return leak


def raising_a_cancellation_of_its_own(backend: str) -> Listener:
    async def leak(event: Event) -> None:
        raise asyncio.CancelledError("of my own making")

    return leak


NATIVE = [awaiting_a_cancelled_task, awaiting_a_cancelled_future, raising_a_cancellation_of_its_own]


@pytest.fixture(params=[raising_a_stored_cancellation, *NATIVE], ids=lambda make: make.__name__)
def leak(request: pytest.FixtureRequest, anyio_backend_name: str) -> Listener:
    """A listener that a cancellation leaves, though nobody asked for one."""
    if anyio_backend_name == "trio" and request.param in NATIVE:
        pytest.skip("trio has no tasks or futures that can be cancelled like that")
    listener: Listener = request.param(anyio_backend_name)
    return listener


def assert_is_leak_of(error: object, listener: Any) -> None:
    """The error says who, has the original as its cause, and its note."""
    assert isinstance(error, ListenerCancelled)
    assert error.listener == listener
    assert is_cancellation(error.__cause__)
    assert len(error.__notes__) == 1
    assert repr(listener) in str(error)


def assert_left_unchanged(left: BaseException | None, listener: Any) -> None:
    """The cancellation itself, with one note that names the listener."""
    assert is_cancellation(left)
    assert left is not None
    (note,) = left.__notes__
    assert "a cancellation that no scope or task around it requested" in note
    assert listener.__qualname__ in note


async def test_from_a_sequential_dispatch_it_leaves_unchanged_with_a_note(leak: Listener) -> None:
    # As from the loop by hand.
    later: list[str] = []
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", leak)

    @dispatcher.listen("order.placed")
    async def never(event: Event) -> None:
        later.append("started")

    assert_left_unchanged(await left_by(lambda: dispatcher.adispatch("order.placed")), leak)
    assert later == []


async def test_from_a_sequential_dispatch_with_a_strategy_of_its_own_too(leak: Listener) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", leak)
    assert_left_unchanged(await left_by(lambda: dispatcher.adispatch("order.placed", strategy=Sequential())), leak)


async def test_from_a_dispatch_of_an_event_within_its_own_dispatch_each_adds_its_note(leak: Listener) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("inner", leak)

    @dispatcher.listen("outer")
    async def again(event: Event) -> None:
        await dispatcher.adispatch("inner", event)

    left = await left_by(lambda: dispatcher.adispatch("outer"))
    assert is_cancellation(left)
    assert left is not None
    assert [name in note for name, note in zip(("leak", "again"), left.__notes__, strict=True)] == [True, True]


async def test_a_class_that_runs_its_listeners_itself_gets_it_unchanged(leak: Listener) -> None:
    seen: list[BaseException] = []

    class Own(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                try:
                    await listener(event)
                except BaseException as exc:
                    seen.append(exc)

    dispatcher = Own()
    dispatcher.add_listener("order.placed", leak)
    await dispatcher.adispatch("order.placed")
    assert_left_unchanged(seen[0], leak)


@every_grouping_strategy
async def test_from_a_concurrent_dispatch_it_leaves_in_a_group_and_cancels_siblings(make: Make, leak: Listener) -> None:
    cancelled: list[str] = []
    dispatcher, watch = AsyncEventDispatcher(), Watch()

    if make() != Concurrent(1):

        @dispatcher.listen("order.placed")
        async def sibling(event: Event) -> None:
            try:
                await forever()
            finally:
                cancelled.append("sibling")

    dispatcher.add_listener("order.placed", leak)

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make())
    (error,) = caught.value.exceptions
    assert_is_leak_of(error, leak)
    assert cancelled == ([] if make() == Concurrent(1) else ["sibling"])
    watch.assert_alone()


@every_strategy
async def test_under_collect_all_others_run_and_it_stands_in_its_place(make: Make, leak: Listener) -> None:
    ran: list[str] = []
    dispatcher = AsyncEventDispatcher()

    async def fail(event: Event) -> None:
        raise ValueError

    @dispatcher.listen("order.placed")
    async def sibling(event: Event) -> None:
        await settle()
        ran.append("sibling")

    dispatcher.add_listener("order.placed", fail)
    dispatcher.add_listener("order.placed", leak)
    dispatcher.add_listener("order.placed", fail)

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Event) -> None:
        await lowlevel.checkpoint()
        ran.append("later")

    with pytest.raises(ExceptionGroup) as caught:
        await dispatcher.adispatch("order.placed", strategy=make(errors="collect"))
    assert [type(error) for error in caught.value.exceptions] == [ValueError, ListenerCancelled, ValueError]
    assert_is_leak_of(caught.value.exceptions[1], leak)
    assert ran == ["sibling", "later"]


@every_strategy
async def test_a_callable_policy_sees_it_and_the_dispatch_goes_on(make: Make, leak: Listener) -> None:
    seen: list[tuple[Exception, Any, Any]] = []
    ran: list[str] = []
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", leak)

    @dispatcher.listen("order.placed", priority=1)
    async def later(event: Event) -> None:
        await lowlevel.checkpoint()
        ran.append("later")

    event = await dispatcher.adispatch("order.placed", strategy=make(errors=lambda *call: seen.append(call)))
    ((error, seen_event, listener),) = seen
    assert isinstance(error, ListenerCancelled)
    assert is_cancellation(error.__cause__)
    assert (seen_event, listener) == (event, leak)
    assert ran == ["later"]


@every_strategy
@pytest.mark.parametrize("policy", ["raise", "collect", overlook], ids=["raise", "collect", "callable"])
async def test_in_a_cancelled_scope_it_passes_as_that_cancellation(make: Make, policy: ErrorPolicy) -> None:
    # In doubt: the scope was cancelled, and which cancellation this is cannot be told.
    dispatcher = AsyncEventDispatcher()

    with CancelScope() as scope:

        @dispatcher.listen("order.placed")
        async def leak(event: Event) -> None:
            stored = await _stored_cancellation()
            scope.cancel()
            raise stored

        left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors=policy)))
    assert is_cancellation(left)


@every_strategy
async def test_when_the_task_was_asked_to_end_it_passes_as_that_cancellation(
    make: Make, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def leak(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise asyncio.CancelledError("in doubt")

    task = asyncio.create_task(dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    await asyncio.wait([task])
    assert task.cancelled()


@every_strategy
async def test_the_listeners_own_scope_keeps_its_cancellation_to_itself(make: Make) -> None:
    dispatcher, log = AsyncEventDispatcher(), list[str]()

    @dispatcher.listen("order.placed")
    async def tidy(event: Event) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(forever)
            group.cancel_scope.cancel()
        log.append("went on")

    await dispatcher.adispatch("order.placed", strategy=make())
    assert log == ["went on"]


@every_strategy
async def test_in_a_shield_within_a_cancelled_scope_a_leak_is_in_no_doubt(make: Make) -> None:
    # On asyncio the outer scope has cancelled this very task, and `cancelling()` says so until it ends.
    dispatcher = AsyncEventDispatcher()

    @dispatcher.listen("order.placed")
    async def leak(event: Event) -> None:
        raise await _stored_cancellation()

    left = await _left_in_a_shield_within_a_cancelled_scope(dispatcher, make(errors="collect"))
    assert isinstance(left, ExceptionGroup)
    assert [type(error) for error in left.exceptions] == [ListenerCancelled]


@every_unlimited_strategy
async def test_in_a_task_of_its_own_a_leak_is_in_no_doubt_there_on_either_backend(make: Make) -> None:
    dispatcher, leaked = AsyncEventDispatcher(), anyio.Event()

    @dispatcher.listen("order.placed")
    async def keep_the_callers_task(event: Event) -> None:
        await leaked.wait()

    @dispatcher.listen("order.placed")
    async def leak(event: Event) -> None:
        stored = await _stored_cancellation()
        leaked.set()
        raise stored

    left = await _left_in_a_shield_within_a_cancelled_scope(dispatcher, make(errors="collect"))
    assert isinstance(left, ExceptionGroup)
    assert [type(error) for error in left.exceptions] == [ListenerCancelled]


async def _left_in_a_shield_within_a_cancelled_scope(
    dispatcher: AsyncEventDispatcher, strategy: Strategy
) -> BaseException | None:
    left: BaseException | None = None
    with CancelScope() as scope:
        scope.cancel()
        try:
            await lowlevel.checkpoint()
        finally:
            with CancelScope(shield=True):
                left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=strategy))
    return left


async def test_without_a_listener_in_between_nothing_is_changed() -> None:
    dispatcher = AsyncEventDispatcher()
    with CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("nobody listens")
        await lowlevel.checkpoint()
    assert scope.cancelled_caught
