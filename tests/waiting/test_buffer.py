"""`Buffer`, `Fifo` and `KeyedFifo` against naive models."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import StreamLagged
from antiphon._waiting.buffer import Buffer, Fifo, KeyedFifo
from antiphon.testing import Backend, BackendName
from antiphon.typing import Overflow
from tests.cancellation.tasks import noting, settle
from tests.waiting.helpers import OVERFLOWS, noting_outcome, turns


class NaiveLine:
    """What a line does, written down without a thought about speed."""

    def __init__(self, *, lanes: bool) -> None:
        self.lanes = lanes
        self.items: list[tuple[Hashable, int]] = []
        self.out: list[tuple[Hashable, int]] = []

    def pop(self) -> tuple[Hashable, int] | None:
        busy = {lane for lane, _ in self.out} if self.lanes else set()
        for item in self.items:
            if item[0] not in busy:
                self.items.remove(item)
                self.out.append(item)
                return item
        return None


def lane_of(item: tuple[Hashable, int]) -> Hashable:
    return item[0]


_line_steps = st.lists(
    st.tuples(st.just("push"), st.sampled_from("abc"))
    | st.tuples(st.sampled_from(("pop", "drop", "done")), st.integers(0, 5)),
    max_size=60,
)


@pytest.mark.parametrize("lanes", [False, True], ids=["fifo", "lanes"])
@given(steps=_line_steps)
def test_a_line_does_what_a_naive_one_does(lanes: bool, steps: list[tuple[str, Any]]) -> None:
    model = NaiveLine(lanes=lanes)
    line: Any = KeyedFifo(lane_of) if lanes else Fifo()
    for number, (step, what) in enumerate(steps):
        with noting(number=number, step=step):
            if step == "push":
                item = (what, number)
                model.items.append(item)
                line.push(item)
            elif step == "pop":
                assert line.pop() == model.pop()
            elif step == "drop" and model.items:
                assert line.drop() == model.items.pop(0)
            elif step == "done" and lanes and model.out:
                line.done(model.out.pop(what % len(model.out)))
            assert len(line) == len(model.items)


@given(steps=_line_steps)
def test_lanes_keep_nothing_of_what_has_gone(steps: list[tuple[str, Any]]) -> None:
    line = KeyedFifo(lane_of)
    out: list[Any] = []
    for number, (step, what) in enumerate(steps):
        if step == "push":
            line.push((what, number))
        elif step == "pop":
            out += filter(None, [line.pop()])
        elif step == "drop" and len(line):
            line.drop()
        elif step == "done" and out:
            line.done(out.pop(what % len(out)))
        numbers = sum(map(len, line._lanes.values()))
        assert numbers == len(line)
        assert len(line._lanes) <= len(line) + len(out)
        assert len(line._ready) <= len(line)


class NaiveBuffer:
    """What a buffer does to those who do not wait."""

    def __init__(self, size: int, overflow: Overflow, *, lanes: bool) -> None:
        self.line = NaiveLine(lanes=lanes)
        self.size = size
        self.overflow = overflow
        self.dropped = 0
        self.missed = 0

    def put(self, item: tuple[Hashable, int]) -> bool:
        if len(self.line.items) >= self.size:
            if self.overflow == "suspend":
                return False
            self.dropped += 1
            if self.overflow == "drop_newest":
                return True
            del self.line.items[0]
            self.missed += self.overflow == "raise"
        self.line.items.append(item)
        return True


@pytest.mark.parametrize("lanes", [False, True], ids=["fifo", "lanes"])
@given(
    backend=st.sampled_from(("asyncio", "trio")),
    overflow=st.sampled_from(OVERFLOWS),
    size=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.just("put"), st.sampled_from("abc"))
        | st.tuples(st.sampled_from(("get", "done")), st.integers(0, 5)),
        max_size=40,
    ),
)
def test_a_buffer_does_what_a_naive_one_does(
    lanes: bool, backend: BackendName, overflow: Overflow, size: int, steps: list[tuple[str, Any]]
) -> None:
    async def main() -> None:
        model = NaiveBuffer(size, overflow, lanes=lanes)
        line: Any = KeyedFifo(lane_of) if lanes else Fifo()
        buffer: Buffer[tuple[Hashable, int]] = Buffer("owner", line, size, overflow)
        delivered = 0
        for number, (step, what) in enumerate(steps):
            with noting(number=number, step=step):
                if step == "put":
                    assert buffer.put_nowait((what, number)) == model.put((what, number))
                elif step == "done" and lanes and model.line.out:
                    buffer.done(model.line.out.pop(what % len(model.line.out)))
                elif step == "get" and model.missed:
                    with pytest.raises(StreamLagged) as lagged:
                        await buffer.get()
                    assert lagged.value.missed == model.missed
                    model.missed = 0
                elif step == "get":
                    expected = model.line.pop()
                    if expected is not None:
                        delivered += 1
                        assert await buffer.get() == expected
                assert len(buffer) == len(model.line.items) <= size
                assert buffer.dropped == model.dropped
                assert buffer.delivered == delivered
        left = list(model.line.items)
        buffer.close()
        assert buffer.clear() == left
        assert len(buffer) == 0

    Backend(backend).run(main)


@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    size=st.integers(1, 3),
    puts=st.lists(st.none() | st.integers(0, 6), max_size=8),
    gets=st.lists(st.none() | st.integers(0, 6), max_size=8),
)
def test_who_waits_is_woken_as_long_as_there_is_something_to_do(
    backend: BackendName, seed: int | None, size: int, puts: list[int | None], gets: list[int | None]
) -> None:
    """After all have had their say, nobody waits for what is there."""

    async def main() -> None:
        buffer: Buffer[int] = Buffer("owner", Fifo(), size, "suspend")
        got: list[Any] = []
        put: list[Any] = []

        async def within(scope: anyio.CancelScope, call: Any, log: list[Any]) -> None:
            with scope:
                await noting_outcome(call, log)

        async def doom(scope: anyio.CancelScope, after: int) -> None:
            await turns(after)
            scope.cancel()

        async with anyio.create_task_group() as group:
            calls: list[Any] = [
                (lambda number=number: buffer.put(number), put, doomed) for number, doomed in enumerate(puts)
            ]
            calls += [(buffer.get, got, doomed) for doomed in gets]
            for call, log, doomed in calls:
                scope = anyio.CancelScope()
                group.start_soon(within, scope, call, log)
                if doomed is not None:
                    group.start_soon(doom, scope, doomed)
            await settle()
            assert not (len(buffer) and buffer.waiting_receivers)
            assert not (len(buffer) < size and buffer.waiting_senders)
            assert buffer.accepted == buffer.delivered + len(buffer)
            assert len(got) == buffer.delivered
            assert len(set(got)) == len(got)
            group.cancel_scope.cancel()
        assert buffer.waiting_receivers == buffer.waiting_senders == 0
        left = buffer.clear()
        assert not set(left) & set(got)

    Backend(backend, seed).run(main)


async def test_an_item_that_may_leave_wakes_one_who_waits_when_its_lane_becomes_free() -> None:
    buffer: Buffer[tuple[Hashable, int]] = Buffer("owner", KeyedFifo(lane_of), 5, "suspend")
    got: list[Any] = []
    async with anyio.create_task_group() as group:
        for number in range(3):
            await buffer.put(("a", number))
        for _ in range(3):
            group.start_soon(noting_outcome, buffer.get, got)
        await settle()
        assert got == [("a", 0)]
        buffer.done(("a", 0))
        await settle()
        assert got == [("a", 0), ("a", 1)]
        await buffer.put(("b", 3))
        await settle()
        assert got[2:] == [("b", 3)]
        assert buffer.waiting_receivers == 0


async def test_a_reader_cancelled_when_it_is_woken_leaves_the_item_to_another(anyio_backend_name: str) -> None:
    """The first of two readers is woken for the item, and cancelled before it has had its turn."""
    if anyio_backend_name == "trio":
        pytest.skip("a scope spares a task that has been woken, and trio has no other cancellation")
    buffer: Buffer[int] = Buffer("owner", Fifo(), 5, "suspend")
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


async def test_a_sender_cancelled_when_it_is_woken_leaves_the_room_to_the_next(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("a scope spares a task that has been woken, and trio has no other cancellation")
    buffer: Buffer[int] = Buffer("owner", Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    senders = [asyncio.create_task(buffer.put(number)) for number in (1, 2)]
    await settle()
    assert await buffer.get() == 0
    senders[0].cancel()
    await settle()
    assert senders[0].cancelled()
    assert senders[1].done()
    assert (await buffer.get(), len(buffer), buffer.accepted, buffer.refused) == (2, 0, 2, 1)


@given(
    backend=st.sampled_from(("asyncio", "trio")),
    seed=st.none() | st.integers(0, 1000),
    size=st.integers(1, 3),
    senders=st.integers(1, 6),
    readers=st.integers(1, 4),
)
def test_senders_that_wait_keep_their_order_under_every_schedule(
    backend: BackendName, seed: int | None, size: int, senders: int, readers: int
) -> None:
    async def main() -> None:
        buffer: Buffer[int] = Buffer("owner", Fifo(), size, "suspend")
        handed_over: list[int] = []

        async def send(number: int) -> None:
            await buffer.put(number)
            handed_over.append(number)

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
        assert handed_over == list(range(senders))

    Backend(backend, seed).run(main)


async def test_who_does_not_wait_gets_no_room_before_those_who_do() -> None:
    buffer: Buffer[int] = Buffer("owner", Fifo(), 1, "suspend")
    assert buffer.put_nowait(0)
    async with anyio.create_task_group() as group:
        group.start_soon(buffer.put, 1)
        await settle()
        assert await buffer.get() == 0
        assert not buffer.put_nowait(2)
        await settle()
    assert await buffer.get() == 1
