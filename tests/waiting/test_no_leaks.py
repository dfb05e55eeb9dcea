"""Long histories of waiting, streaming and queueing leave no listener, no task and no reference behind."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio import lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, QueueNotDrained, StreamLagged
from antiphon.testing import Backend, BackendName
from tests.cancellation.tasks import Watch, forever, settle
from tests.waiting.helpers import Numbered, nobody_listens

pytestmark = pytest.mark.usefixtures("quiet")

Part = Callable[[AsyncEventDispatcher, "weakref.WeakSet[Any]"], Coroutine[Any, Any, None]]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Records of the log would keep what they tell of alive."""
    caplog.set_level(logging.CRITICAL, "antiphon")


class Reference:
    """Something that a listener's predicate or an event holds on to."""


def tracked(alive: weakref.WeakSet[Any]) -> Numbered:
    event = Numbered(Reference())
    alive.add(event)
    alive.add(event.number)
    return event


async def expectation_met(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    async with dispatcher.expect("order.placed") as expected:
        alive.add(expected)
        await dispatcher.adispatch("order.placed", tracked(alive))


async def expectation_cancelled(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    reference = Reference()
    alive.add(reference)
    with anyio.CancelScope() as scope:
        async with dispatcher.expect("order.placed", where=lambda event: event is reference) as expected:
            alive.add(expected)
            await dispatcher.adispatch("order.placed", tracked(alive))
            scope.cancel()


async def expectation_left_by_an_error(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with dispatcher.expect("*") as expected:
            alive.add(expected)
            raise ZeroDivisionError


async def stream_read(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    async with dispatcher.stream("order.placed", "**", Numbered) as stream:
        alive.add(stream)
        await dispatcher.adispatch("order.placed", tracked(alive))
        await stream.__anext__()


async def stream_left_full(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=2) as stream:
        alive.add(stream)
        for _ in range(4):
            await dispatcher.adispatch("order.placed", tracked(alive))
        with pytest.raises(StreamLagged):
            await stream.__anext__()


async def stream_with_cancelled_readers_and_senders(
    dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]
) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        alive.add(stream)
        async with anyio.create_task_group() as group:
            group.start_soon(stream.__anext__)
            await settle()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(dispatcher.adispatch, "order.placed", tracked(alive))
            await settle()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(dispatcher.adispatch, "order.placed", tracked(alive))
            await settle()
            stream.close()


async def queue_drained(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    async with dispatcher.queue(workers=2, ordered_by=lambda event: event.number) as queue:
        alive.add(queue)
        for _ in range(3):
            await queue.post("order.placed", tracked(alive))


async def queue_cut_off(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.add_listener("order.placed", forever)
        with pytest.raises(QueueNotDrained):
            async with dispatcher.queue(drain_timeout=0, ordered_by=lambda event: 1) as queue:
                alive.add(queue)
                for _ in range(3):
                    await queue.post("order.placed", tracked(alive))


async def queue_cancelled(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    with dispatcher.temporarily() as registrar, anyio.CancelScope() as scope:
        registrar.add_listener("order.placed", forever)
        async with dispatcher.queue(errors="collect") as queue:
            alive.add(queue)
            await queue.post("order.placed", tracked(alive))
            scope.cancel()
            await lowlevel.checkpoint()


async def queue_broken(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    async def fail(event: Numbered) -> None:
        raise ZeroDivisionError

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("order.placed", fail)
        with pytest.raises(ExceptionGroup):
            async with dispatcher.queue(max_buffer_size=1) as queue:
                alive.add(queue)
                for _ in range(9):
                    await queue.post("order.placed", tracked(alive))


async def waiting_in_a_scope(dispatcher: AsyncEventDispatcher, alive: weakref.WeakSet[Any]) -> None:
    with dispatcher.scope() as scoped:
        alive.add(scoped)
        async with scoped.stream("*") as stream, scoped.queue() as queue:
            alive.update((stream, queue))
            async with scoped.expect("order.placed"):
                await queue.post("order.placed", tracked(alive))


PARTS: list[Part] = [
    expectation_met,
    expectation_cancelled,
    expectation_left_by_an_error,
    stream_read,
    stream_left_full,
    stream_with_cancelled_readers_and_senders,
    queue_drained,
    queue_cut_off,
    queue_cancelled,
    queue_broken,
    waiting_in_a_scope,
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
async def test_nothing_is_left(part: Part) -> None:
    dispatcher = AsyncEventDispatcher()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    watch = Watch()
    for _ in range(10):
        await part(dispatcher, alive)
    watch.assert_alone()
    assert nobody_listens(dispatcher)
    # What a task was cancelled with may still be referred to by the loop.
    await settle()
    gc.collect()
    assert not list(alive)


@settings(max_examples=30)
@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    history=st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3), max_size=8),
)
def test_nothing_is_left_of_a_long_history_with_parts_that_overlap(
    backend: BackendName, seed: int | None, history: list[list[Part]]
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def main() -> None:
        for parts in history:
            # Each on a dispatcher of its own, since the parts rely on who hears; their tasks mix all the same.
            dispatchers = [AsyncEventDispatcher() for _ in parts]
            async with anyio.create_task_group() as group:
                for part, dispatcher in zip(parts, dispatchers, strict=True):
                    group.start_soon(part, dispatcher, alive)
            assert all(map(nobody_listens, dispatchers))

    Backend(backend, seed).run(main)
    gc.collect()
    assert not list(alive)


async def test_a_thousand_names_that_were_waited_for_leave_no_listener() -> None:
    dispatcher = AsyncEventDispatcher()
    for number in range(1000):
        async with (
            dispatcher.expect(f"order.placed.{number}"),
            dispatcher.stream(f"order.placed.{number}", "order.placed.*"),
        ):
            await dispatcher.adispatch(f"order.placed.{number}")
    assert nobody_listens(dispatcher)


async def test_a_stream_that_lives_long_keeps_nothing_of_what_has_passed() -> None:
    dispatcher = AsyncEventDispatcher()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    async with dispatcher.stream("order.placed", max_buffer_size=3) as stream:
        for _ in range(300):
            await dispatcher.adispatch("order.placed", tracked(alive))
        with pytest.raises(StreamLagged):
            await stream.__anext__()
        gc.collect()
        assert len(alive) == 6
        for _ in range(3):
            await stream.__anext__()
        gc.collect()
        assert len(alive) == 0


@pytest.mark.parametrize("errors", ["raise", lambda *_: None], ids=["raise", "callable"])
async def test_a_queue_that_lives_long_keeps_nothing_of_what_has_passed(errors: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    if errors != "raise":

        @dispatcher.listen("order.placed")
        async def fail(event: Numbered) -> None:
            raise ZeroDivisionError

    async with dispatcher.queue(errors=errors, ordered_by=lambda event: event.number) as queue:
        for _ in range(300):
            await queue.post("order.placed", tracked(alive))
        await queue.join()
        await settle()
        gc.collect()
        assert len(alive) == 0
