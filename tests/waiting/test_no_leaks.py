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
from antiphon.testing import Backend
from tests.waiting.helpers import Order, Watch, forever, has_no_listeners, settle

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log records would keep the objects that they mention alive."""
    caplog.set_level(logging.CRITICAL, "antiphon")


class Reference:
    """Something that an event or a predicate refers to."""


class Alive(weakref.WeakSet[Any]):
    """The objects of a test that have not been collected."""

    def order(self) -> Order:
        event = Order(Reference())
        self.update((event, event.number))
        return event


Part = Callable[[AsyncEventDispatcher, Alive], Coroutine[Any, Any, None]]


async def expectation_met(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    async with dispatcher.expect("order.placed") as expected:
        alive.add(expected)
        await dispatcher.adispatch("order.placed", alive.order())


async def expectation_cancelled(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    reference = Reference()
    alive.add(reference)
    with anyio.CancelScope() as scope:
        async with dispatcher.expect("order.placed", where=lambda event: event is reference) as expected:
            alive.add(expected)
            await dispatcher.adispatch("order.placed", alive.order())
            scope.cancel()


async def expectation_with_an_error(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    with pytest.raises(ZeroDivisionError):
        async with dispatcher.expect("*") as expected:
            alive.add(expected)
            raise ZeroDivisionError


async def stream_read(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    async with dispatcher.stream("order.placed", "**", Order) as stream:
        alive.add(stream)
        await dispatcher.adispatch("order.placed", alive.order())
        await stream.__anext__()


async def stream_left_full(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=2) as stream:
        alive.add(stream)
        for _ in range(4):
            await dispatcher.adispatch("order.placed", alive.order())
        with pytest.raises(StreamLagged):
            await stream.__anext__()


async def stream_with_cancelled_tasks(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    async with dispatcher.stream("order.placed", max_buffer_size=1, overflow="suspend") as stream:
        alive.add(stream)
        async with anyio.create_task_group() as group:
            group.start_soon(stream.__anext__)
            await settle()
            group.cancel_scope.cancel()
        for end in ("cancel", "close"):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(dispatcher.adispatch, "order.placed", alive.order())
                await settle()
                if end == "cancel":
                    group.cancel_scope.cancel()
                else:
                    stream.close()


async def queue_drained(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    async with dispatcher.queue(workers=2, ordered_by=lambda event: event.number) as queue:
        alive.add(queue)
        for _ in range(3):
            await queue.post("order.placed", alive.order())


async def queue_cut_off(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.add_listener("order.placed", forever)
        with pytest.raises(QueueNotDrained):
            async with dispatcher.queue(drain_timeout=0, ordered_by=lambda event: 1) as queue:
                alive.add(queue)
                for _ in range(3):
                    await queue.post("order.placed", alive.order())


async def queue_cancelled(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    with dispatcher.temporarily() as registrar, anyio.CancelScope() as scope:
        registrar.add_listener("order.placed", forever)
        async with dispatcher.queue(errors="collect") as queue:
            alive.add(queue)
            await queue.post("order.placed", alive.order())
            scope.cancel()
            await lowlevel.checkpoint()


async def fail(event: Order) -> None:
    raise ZeroDivisionError


async def queue_broken(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    with dispatcher.temporarily() as registrar:
        registrar.add_listener("order.placed", fail)
        with pytest.raises(ExceptionGroup):
            async with dispatcher.queue(max_buffer_size=1) as queue:
                alive.add(queue)
                for _ in range(9):
                    await queue.post("order.placed", alive.order())


async def waiting_in_a_scope(dispatcher: AsyncEventDispatcher, alive: Alive) -> None:
    with dispatcher.scope() as scoped:
        async with scoped.stream("*") as stream, scoped.queue() as queue:
            alive.update((scoped, stream, queue))
            async with scoped.expect("order.placed"):
                await queue.post("order.placed", alive.order())


PARTS: list[Part] = [
    expectation_met,
    expectation_cancelled,
    expectation_with_an_error,
    stream_read,
    stream_left_full,
    stream_with_cancelled_tasks,
    queue_drained,
    queue_cut_off,
    queue_cancelled,
    queue_broken,
    waiting_in_a_scope,
]


@pytest.mark.parametrize("part", PARTS)
async def test_nothing_is_left(part: Part, dispatcher: AsyncEventDispatcher) -> None:
    alive = Alive()
    watch = Watch()
    for _ in range(10):
        await part(dispatcher, alive)
    watch.assert_alone()
    assert has_no_listeners(dispatcher)
    # The loop may still refer to the cancellation of a task.
    await settle()
    gc.collect()
    assert not list(alive)


@settings(max_examples=30)
@given(
    backend=st.builds(Backend, st.sampled_from(("asyncio", "trio")), st.none() | st.integers(0, 1000)),
    history=st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3), max_size=8),
)
def test_nothing_is_left_of_parts_that_overlap(backend: Backend, history: list[list[Part]]) -> None:
    alive = Alive()

    async def main() -> None:
        for parts in history:
            # Each part has its own dispatcher, because it relies on its listeners. The tasks mix all the same.
            dispatchers = [AsyncEventDispatcher() for _ in parts]
            async with anyio.create_task_group() as group:
                for part, dispatcher in zip(parts, dispatchers, strict=True):
                    group.start_soon(part, dispatcher, alive)
            assert all(map(has_no_listeners, dispatchers))

    backend.run(main)
    gc.collect()
    assert not list(alive)


async def test_a_thousand_expected_names_leave_no_listener(dispatcher: AsyncEventDispatcher) -> None:
    for number in range(1000):
        name = f"order.placed.{number}"
        async with dispatcher.expect(name), dispatcher.stream(name, "order.placed.*"):
            await dispatcher.adispatch(name)
    assert has_no_listeners(dispatcher)


async def test_a_long_stream_keeps_no_old_event(dispatcher: AsyncEventDispatcher) -> None:
    alive = Alive()
    async with dispatcher.stream("order.placed", max_buffer_size=3) as stream:
        for _ in range(300):
            await dispatcher.adispatch("order.placed", alive.order())
        with pytest.raises(StreamLagged):
            await stream.__anext__()
        gc.collect()
        assert len(alive) == 6
        for _ in range(3):
            await stream.__anext__()
        gc.collect()
        assert len(alive) == 0


@pytest.mark.parametrize("errors", ["raise", lambda *_: None], ids=["raise", "callable"])
async def test_a_long_queue_keeps_no_old_event(errors: Any, dispatcher: AsyncEventDispatcher) -> None:
    alive = Alive()
    if errors != "raise":
        dispatcher.add_listener("order.placed", fail)
    async with dispatcher.queue(errors=errors, ordered_by=lambda event: event.number) as queue:
        for _ in range(300):
            await queue.post("order.placed", alive.order())
        await queue.join()
        await settle()
        gc.collect()
        assert len(alive) == 0
