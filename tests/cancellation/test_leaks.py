"""A cancellation that leaves a listener without a request is an error of that listener."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, ListenerCancelled, Sequential, Strategy
from tests.cancellation.listeners import (
    Make,
    every_grouping_strategy,
    every_policy,
    every_strategy,
    every_unlimited_strategy,
    failing,
    logging,
    make_stored_cancellation,
    of,
)
from tests.cancellation.tasks import Watch, forever, is_cancellation, left_by

Listener = Callable[[Event], Awaitable[None]]


async def leak_a_stored_cancellation(event: Event) -> None:
    raise await make_stored_cancellation()


async def leak_by_a_cancelled_task(event: Event) -> None:
    task = asyncio.create_task(forever())
    await checkpoint()
    task.cancel()
    await task


async def leak_by_a_cancelled_future(event: Event) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


async def leak_by_raising(event: Event) -> None:
    raise asyncio.CancelledError("made by the listener")


NATIVE = [leak_by_a_cancelled_task, leak_by_a_cancelled_future, leak_by_raising]


@pytest.fixture(params=[leak_a_stored_cancellation, *NATIVE], ids=lambda leak: leak.__name__)
def leak(request: pytest.FixtureRequest, anyio_backend_name: str) -> Listener:
    """A listener that a cancellation leaves without a request."""
    if anyio_backend_name == "trio" and request.param in NATIVE:
        pytest.skip("trio has no tasks or futures that can be cancelled like that")
    return request.param


def assert_is_leak_of(error: object, listener: Any) -> None:
    """Check that the error names the listener, and has the original as its cause."""
    assert isinstance(error, ListenerCancelled)
    assert error.listener == listener
    assert is_cancellation(error.__cause__)
    assert len(error.__notes__) == 1
    assert repr(listener) in str(error)


def assert_left_unchanged(left: BaseException | None, listener: Any) -> None:
    """Check that the cancellation itself left, with one note that names the listener."""
    assert is_cancellation(left)
    (note,) = left.__notes__
    assert "a cancellation that no scope or task around it requested" in note
    assert listener.__qualname__ in note


@pytest.mark.parametrize("strategy", [None, Sequential()], ids=repr)
async def test_from_a_sequential_dispatch_it_leaves_unchanged(leak: Listener, strategy: Strategy | None) -> None:
    # As from a loop.
    later: list[str] = []
    dispatcher = of(leak, logging(later, "started"))
    assert_left_unchanged(await left_by(lambda: dispatcher.adispatch("order.placed", strategy=strategy)), leak)
    assert later == []


async def test_each_nested_dispatch_adds_its_note(leak: Listener) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("inner", leak)

    @dispatcher.listen("outer")
    async def again(event: Event) -> None:
        await dispatcher.adispatch("inner", event)

    left = await left_by(lambda: dispatcher.adispatch("outer"))
    assert is_cancellation(left)
    assert [name in note for name, note in zip(("leak", "again"), left.__notes__, strict=True)] == [True, True]


async def test_it_leaves_an_override_unchanged(leak: Listener) -> None:
    seen: list[BaseException | None] = []

    class Own(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                seen.append(await left_by(lambda: listener(event)))
                assert seen[0] is not None
                raise seen[0]

    dispatcher = Own()
    dispatcher.add_listener("order.placed", leak)
    left = await left_by(lambda: dispatcher.adispatch("order.placed"))
    assert left is seen[0]
    assert_left_unchanged(left, leak)


@every_grouping_strategy
async def test_together_it_leaves_in_a_group_and_cancels_siblings(make: Make, leak: Listener) -> None:
    cancelled, watch = list[str](), Watch()

    async def sibling(event: Event) -> None:
        try:
            await forever()
        finally:
            cancelled.append("sibling")

    siblings = [] if make() == Concurrent(1) else [sibling]
    left = await left_by(lambda: of(*siblings, leak).adispatch("order.placed", strategy=make()))
    assert type(left) is ExceptionGroup
    (error,) = left.exceptions
    assert_is_leak_of(error, leak)
    assert len(cancelled) == len(siblings)
    watch.assert_alone()


@every_strategy
async def test_under_collect_it_stands_in_its_place(make: Make, leak: Listener) -> None:
    ran: list[str] = []
    dispatcher = of(
        failing(ValueError(1)), leak, failing(ValueError(2)), logging(ran, "sibling"), later=logging(ran, "later")
    )
    left = await left_by(lambda: dispatcher.adispatch("order.placed", strategy=make(errors="collect")))
    assert type(left) is ExceptionGroup
    assert [type(error) for error in left.exceptions] == [ValueError, ListenerCancelled, ValueError]
    assert_is_leak_of(left.exceptions[1], leak)
    assert ran == ["sibling", "later"]


@every_strategy
async def test_a_callable_policy_gets_it_and_the_dispatch_goes_on(make: Make, leak: Listener) -> None:
    given, ran = list[Any](), list[str]()
    dispatcher = of(leak, later=logging(ran, "later"))
    event = await dispatcher.adispatch("order.placed", strategy=make(errors=lambda *call: given.append(call)))
    ((error, given_event, listener),) = given
    assert isinstance(error, ListenerCancelled)
    assert is_cancellation(error.__cause__)
    assert (given_event, listener) == (event, leak)
    assert ran == ["later"]


@every_strategy
@every_policy
async def test_in_a_cancelled_scope_it_passes_as_that_cancellation(make: Make, policy: ErrorPolicy) -> None:
    # In doubt: which cancellation this is cannot be known.
    with CancelScope() as scope:

        async def leak(event: Event) -> None:
            stored = await make_stored_cancellation()
            scope.cancel()
            raise stored

        left = await left_by(lambda: of(leak).adispatch("order.placed", strategy=make(errors=policy)))
    assert is_cancellation(left)


@every_strategy
async def test_in_a_cancelled_task_it_passes_as_that_cancellation(make: Make, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio has no native cancellation of tasks")

    async def leak(event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise asyncio.CancelledError("in doubt")

    task = asyncio.create_task(of(leak).adispatch("order.placed", strategy=make(errors="collect")))
    await asyncio.wait([task])
    assert task.cancelled()


async def left_in_a_shield_within_a_cancelled_scope(*listeners: Listener, strategy: Strategy) -> BaseException | None:
    left: list[BaseException | None] = []
    with CancelScope() as scope:
        scope.cancel()
        try:
            await checkpoint()
        finally:
            with CancelScope(shield=True):
                left.append(await left_by(lambda: of(*listeners).adispatch("order.placed", strategy=strategy)))
    return left[0]


def assert_is_collected_leak(left: BaseException | None) -> None:
    assert isinstance(left, ExceptionGroup)
    assert [type(error) for error in left.exceptions] == [ListenerCancelled]


@every_strategy
async def test_in_a_shield_within_a_cancelled_scope_it_is_a_leak(make: Make) -> None:
    # On asyncio the outer scope has cancelled this very task, and `cancelling()` counts that until it ends.
    strategy = make(errors="collect")
    assert_is_collected_leak(
        await left_in_a_shield_within_a_cancelled_scope(leak_a_stored_cancellation, strategy=strategy)
    )


@every_unlimited_strategy
async def test_in_a_task_of_its_own_in_a_shield_it_is_a_leak(make: Make) -> None:
    leaked = anyio.Event()

    async def keep_the_callers_task(event: Event) -> None:
        await leaked.wait()

    async def leak(event: Event) -> None:
        stored = await make_stored_cancellation()
        leaked.set()
        raise stored

    strategy = make(errors="collect")
    assert_is_collected_leak(
        await left_in_a_shield_within_a_cancelled_scope(keep_the_callers_task, leak, strategy=strategy)
    )


@every_grouping_strategy
@pytest.mark.parametrize("raised", ["plainly", "from None", "from an error"])
async def test_a_group_with_a_leak_leaves_as_it_was_raised(make: Make, raised: str) -> None:
    cause = KeyError("cause") if raised == "from an error" else None

    async def leak(event: Event) -> None:
        group = BaseExceptionGroup("several", [await make_stored_cancellation(), ValueError(1)])
        try:
            raise LookupError("context")
        except LookupError:
            if raised == "plainly":
                raise group
            raise group from cause

    left = await left_by(lambda: of(leak).adispatch("order.placed", strategy=make()))
    assert isinstance(left, ExceptionGroup)
    (group,) = left.exceptions
    assert isinstance(group, ExceptionGroup)
    assert group.message == "several"
    assert [type(error) for error in group.exceptions] == [ListenerCancelled, ValueError]
    assert group.__cause__ is cause
    assert isinstance(group.__context__, LookupError)
    assert group.__suppress_context__ == (raised != "plainly")
    assert "leak" in [frame.name for frame in traceback.extract_tb(group.__traceback__)]
