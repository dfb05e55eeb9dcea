"""`Buffer`, `Fifo` and `KeyedFifo` against naive models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import StreamLagged
from antiphon._waiting.buffer import Buffer
from antiphon._waiting.buffer_order import Fifo, KeyedFifo
from antiphon.testing import Backend
from antiphon.typing import Overflow
from tests.waiting.helpers import OVERFLOWS, asyncio_only, record_outcome, settle, turns

Item = tuple[Hashable, int]


class Owner:
    """An object to which a weak reference is possible, as a stream or a queue."""


OWNER = Owner()

by_key = pytest.mark.parametrize("keyed", [False, True], ids=["fifo", "keyed"])
schedules = st.builds(Backend, st.sampled_from(("asyncio", "trio")), st.none() | st.integers(0, 1000))
sizes = st.integers(1, 3)


def make_order(*, keyed: bool) -> Any:
    return KeyedFifo(lambda item: item[0]) if keyed else Fifo()


class NaiveOrder:
    """The order in which items leave, in the simplest code."""

    def __init__(self, *, keyed: bool) -> None:
        self.keyed = keyed
        self.items: list[Item] = []
        self.out: list[Item] = []

    def pop(self) -> Item | None:
        busy = {key for key, _ in self.out} if self.keyed else set()
        for item in self.items:
            if item[0] not in busy:
                self.items.remove(item)
                self.out.append(item)
                return item
        return None


@by_key
@given(
    steps=st.lists(
        st.tuples(st.just("push"), st.sampled_from("abc"))
        | st.tuples(st.sampled_from(("pop", "drop", "done")), st.integers(0, 5)),
        max_size=60,
    )
)
def test_items_leave_in_the_order_of_a_naive_model(keyed: bool, steps: list[tuple[str, Any]]) -> None:
    check_order(steps, keyed=keyed)


@by_key
@pytest.mark.parametrize("seed", range(5))
def test_many_items_leave_in_the_order_of_a_naive_model(keyed: bool, seed: int) -> None:
    random = Random(seed)
    kinds = ("push", "push", "pop", "drop", "done")
    steps = [
        (step, random.choice("abc") if step == "push" else random.randrange(6)) for step in random.choices(kinds, k=300)
    ]

    check_order(steps, keyed=keyed)


def check_order(steps: list[tuple[str, Any]], *, keyed: bool) -> None:
    model, order = NaiveOrder(keyed=keyed), make_order(keyed=keyed)
    for number, (step, what) in enumerate(steps):
        if step == "push":
            model.items.append((what, number))
            order.push((what, number))
        elif step == "pop":
            assert order.pop_next() == model.pop()
        elif step == "drop" and model.items:
            assert order.pop_oldest() == model.items.pop(0)
        elif step == "done" and keyed and model.out:
            order.release(model.out.pop(what % len(model.out)))
        assert len(order) == len(model.items)
        if keyed:
            # Nothing is kept of an item that has left.
            assert sum(map(len, order._waiting.values())) == len(order)
            assert len(order._waiting) <= len(order) + len(model.out)
            assert len(order._ready) <= len(order)


class NaiveBuffer:
    """What a buffer does with a sender that does not wait."""

    def __init__(self, size: int, overflow: Overflow, *, keyed: bool) -> None:
        self.order = NaiveOrder(keyed=keyed)
        self.size = size
        self.overflow = overflow
        self.delivered = self.dropped = self.missed = 0

    def put(self, item: Item) -> bool:
        if len(self.order.items) >= self.size:
            if self.overflow == "suspend":
                return False
            self.dropped += 1
            if self.overflow == "drop_newest":
                return True
            del self.order.items[0]
            self.missed += self.overflow == "raise"
        self.order.items.append(item)
        return True


@by_key
@given(
    backend=schedules,
    overflow=st.sampled_from(OVERFLOWS),
    size=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.just("put"), st.sampled_from("abc"))
        | st.tuples(st.sampled_from(("get", "done")), st.integers(0, 5)),
        max_size=40,
    ),
)
def test_a_buffer_does_what_a_naive_model_does(
    keyed: bool, backend: Backend, overflow: Overflow, size: int, steps: list[tuple[str, Any]]
) -> None:
    async def main() -> None:
        model = NaiveBuffer(size, overflow, keyed=keyed)
        out, items = model.order.out, model.order.items
        buffer: Buffer[Item] = Buffer(OWNER, make_order(keyed=keyed), size, overflow)
        for number, (step, what) in enumerate(steps):
            if step == "put":
                assert buffer.put_nowait((what, number)) == model.put((what, number))
            elif step == "done" and keyed and out:
                buffer.release(out.pop(what % len(out)))
            elif step == "get" and model.missed:
                with pytest.raises(StreamLagged) as lagged:
                    await buffer.get()
                assert lagged.value.missed == model.missed
                model.missed = 0
            elif step == "get" and (expected := model.order.pop()) is not None:
                model.delivered += 1
                assert await buffer.get() == expected
            assert len(buffer) == len(items) <= size
            assert (buffer.dropped, buffer.delivered) == (model.dropped, model.delivered)
        buffer.close()
        assert buffer.clear() == items
        assert len(buffer) == 0

    backend.run(main)


@given(
    backend=schedules,
    size=sizes,
    puts=st.lists(st.none() | st.integers(0, 6), max_size=8),
    gets=st.lists(st.none() | st.integers(0, 6), max_size=8),
)
def test_no_task_waits_for_what_is_there(
    backend: Backend, size: int, puts: list[int | None], gets: list[int | None]
) -> None:
    """A number is the turn in which a sender or a reader is cancelled."""

    async def main() -> None:
        buffer: Buffer[int] = Buffer(OWNER, Fifo(), size, "suspend")
        received: list[Any] = []

        async def run(call: Any, log: list[Any], cancelled_after: int | None) -> None:
            async def cancel(after: int) -> None:
                await turns(after)
                scope.cancel()

            if cancelled_after is not None:
                group.start_soon(cancel, cancelled_after)
            with anyio.CancelScope() as scope:
                await record_outcome(call, log)

        async with anyio.create_task_group() as group:
            for number, cancelled_after in enumerate(puts):
                group.start_soon(run, lambda number=number: buffer.put(number), [], cancelled_after)
            for cancelled_after in gets:
                group.start_soon(run, buffer.get, received, cancelled_after)
            await settle()
            assert not (len(buffer) and buffer.waiting_receivers)
            assert not (len(buffer) < size and buffer.waiting_senders)
            assert buffer.accepted == buffer.delivered + len(buffer)
            assert len(set(received)) == len(received) == buffer.delivered
            group.cancel_scope.cancel()
        assert buffer.waiting_receivers == buffer.waiting_senders == 0
        assert not set(buffer.clear()) & set(received)

    backend.run(main)


async def test_a_released_key_wakes_a_waiting_reader() -> None:
    buffer: Buffer[Item] = Buffer(OWNER, make_order(keyed=True), 5, "suspend")
    received: list[Any] = []
    async with anyio.create_task_group() as group:
        for number in range(3):
            await buffer.put(("a", number))
            group.start_soon(record_outcome, buffer.get, received)
        await settle()
        assert received == [("a", 0)]
        buffer.release(("a", 0))
        await settle()
        assert received == [("a", 0), ("a", 1)]
        await buffer.put(("b", 3))
        await settle()
        assert received[2:] == [("b", 3)]
        assert buffer.waiting_receivers == 0


async def test_an_abandoned_reader_wakes_another() -> None:
    """A reader is not woken for an item that another one is about to take."""
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 5, "suspend")
    received: list[Any] = []
    async with anyio.create_task_group() as group:
        group.start_soon(record_outcome, buffer.get, received)
        await settle()
        abandoned = buffer.get()
        abandoned.send(None)
        assert buffer.put_nowait(1)
        await settle()
        assert (received, buffer.waiting_receivers) == ([], 1)
        abandoned.close()
        await settle()
        assert received == [1]


@pytest.mark.parametrize("wake_next", [True, False])
async def test_a_reader_wakes_the_next_if_items_remain(wake_next: bool) -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 5, "suspend")
    received: list[Any] = []
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(record_outcome, partial(buffer.get, wake_next=wake_next), received)
        await settle()
        assert buffer.put_nowait(1)
        assert buffer.put_nowait(2)
        await settle()
        assert received == ([1, 2] if wake_next else [1])
        buffer.wake_receiver()
        await settle()
        assert received == [1, 2]


async def test_a_sender_waits_only_for_its_own_turn() -> None:
    """Space that is made while the second sender passes its first checkpoint belongs to the first sender."""
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    async with anyio.create_task_group() as group:
        group.start_soon(buffer.put, 1)
        await settle()
        abandoned = buffer.put(2)
        abandoned.send(None)
        assert await buffer.get() == 0
        await settle()
        assert (len(buffer), buffer.waiting_senders) == (1, 1)
        abandoned.close()
        assert (await buffer.get(), buffer.waiting_senders, buffer.refused) == (1, 0, 1)


async def test_a_closed_buffer_counts_the_items_that_it_refuses() -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 1, "suspend")
    buffer.close()
    with pytest.raises(anyio.ClosedResourceError):
        buffer.put_nowait(1)
    with pytest.raises(anyio.ClosedResourceError):
        await buffer.put(2)
    assert (buffer.refused, buffer.accepted, len(buffer)) == (2, 0, 0)


async def test_a_buffer_closes_if_empty_only_without_items_and_senders() -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    assert not buffer.close(if_empty=True)
    async with anyio.create_task_group() as group:
        group.start_soon(buffer.put, 1)
        await settle()
        assert not buffer.close(if_empty=True)
        assert [await buffer.get(), await buffer.get()] == [0, 1]
    assert not buffer.closed

    assert buffer.close(if_empty=True)
    assert buffer.closed


async def test_room_for_two_wakes_two_senders() -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 2, "suspend")
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(buffer.put, number)
        await settle()
        assert buffer.waiting_senders == 2
        # Both read before a sender has had its turn.
        group.start_soon(buffer.get)
        group.start_soon(buffer.get)
        await settle()
        assert (buffer.waiting_senders, len(buffer)) == (0, 2)


@asyncio_only
async def test_a_reader_cancelled_when_woken_leaves_its_item() -> None:
    """The first of two readers is woken for the item, and cancelled before its turn. A scope spares such a task."""
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 5, "suspend")
    first = asyncio.create_task(buffer.get())
    await settle()
    second = asyncio.create_task(buffer.get())
    await settle()
    assert buffer.waiting_receivers == 2
    assert buffer.put_nowait(1)
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.done()
    assert await second == 1


@asyncio_only
async def test_a_sender_cancelled_when_woken_leaves_its_room() -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    senders = [asyncio.create_task(buffer.put(number)) for number in (1, 2)]
    await settle()
    assert await buffer.get() == 0
    senders[0].cancel()
    await settle()
    assert senders[0].cancelled()
    assert senders[1].done()
    assert (await buffer.get(), len(buffer), buffer.accepted, buffer.refused) == (2, 0, 2, 1)


@given(backend=schedules, size=sizes, senders=st.integers(1, 6), readers=st.integers(1, 4))
def test_waiting_senders_keep_their_order(backend: Backend, size: int, senders: int, readers: int) -> None:
    async def main() -> None:
        buffer: Buffer[int] = Buffer(OWNER, Fifo(), size, "suspend")
        accepted: list[int] = []

        async def send(number: int) -> None:
            await buffer.put(number)
            accepted.append(number)

        async def read() -> None:
            while True:
                await buffer.get()

        for _ in range(size):
            buffer.put_nowait(-1)
        async with anyio.create_task_group() as group:
            for number in range(senders):
                group.start_soon(send, number)
                await settle()
            for _ in range(readers):
                group.start_soon(read)
            await settle()
            group.cancel_scope.cancel()
        assert accepted == list(range(senders))

    backend.run(main)


async def test_a_sender_that_does_not_wait_does_not_overtake() -> None:
    buffer: Buffer[int] = Buffer(OWNER, Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    async with anyio.create_task_group() as group:
        group.start_soon(buffer.put, 1)
        await settle()
        assert await buffer.get() == 0
        assert not buffer.put_nowait(2)
        await settle()
    assert await buffer.get() == 1


@pytest.mark.parametrize("waits", [False, True], ids=["put_nowait", "put"])
async def test_no_lock_is_held_while_a_dropped_item_is_freed(waits: bool) -> None:
    buffer: Buffer[object] = Buffer(OWNER, Fifo(), 1, "drop_oldest")
    finished: list[bool] = []

    class Dropped:
        """An item whose finalizer waits for another thread that puts an item."""

        def __del__(self) -> None:
            thread = threading.Thread(target=buffer.put_nowait, args=("of the thread",), daemon=True)
            thread.start()
            thread.join(5)
            finished.append(not thread.is_alive())

    assert buffer.put_nowait(Dropped())
    if waits:
        await buffer.put("next")
    else:
        assert buffer.put_nowait("next")

    assert (finished, buffer.clear(), buffer.dropped) == ([True], ["of the thread"], 2)
