"""Waiting: streams, queues and expectations. One repetition hands over one event and runs its listener.

The limit of a stream is AnyIO's memory object stream, to which a listener sends, with a task that reads it and awaits
the listener. The limit of a queue is such a stream with a task that dispatches: the smallest queue that you would
write. The limit of an expectation is an AnyIO event that a listener sets.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import product
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event
from benchmarks.measuring import ANTIPHON, LIMIT, Candidate, Row
from benchmarks.workload import NAME, Sampler, event_class, listeners, repeat

__all__ = ("make_rows",)

#: The events that the buffer holds. With one the sender and the reader wait for each other at each event.
BUFFER_SIZES = (1, 64)

#: The events in a sample: so many that the beginning and the end of it do not matter.
COUNT = 200

QUEUES: dict[str, dict[str, Any]] = {
    "queue": {},
    "queue, 4 workers": {"workers": 4},
    "queue, ordered": {"ordered_by": lambda event: event.customer},
}

EXPECT = """
async with target.expect(name) as expected:
    await target.adispatch(name, event)
await listener(expected.event)
"""

EXPECT_LIMIT = """
received = AnyIOEvent()
async def receive(event):
    received.set()
with target.add_listener(name, receive):
    await target.adispatch(name, event)
    await received.wait()
await listener(event)
"""


def make_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop, way of waiting and size of the buffer."""
    for backend in backends:
        row = partial(Row, group="waiting", size=1, backend=backend, runs=1)
        handing_over = partial(row, count=COUNT, max_rounds=5 if quick else 20)
        for size in BUFFER_SIZES:
            build = partial(_build, read_object_stream, read_stream, size, {"stream alone": read_object_stream_alone})
            yield handing_over(work=f"stream, buffer of {size}", limit="memory object stream", build=build)
        for (work, options), size in product(QUEUES.items(), BUFFER_SIZES):
            build = partial(_build, dispatch_from_object_stream, partial(post, **options), size)
            limit = "memory object stream, dispatching"
            yield handing_over(work=f"{work}, buffer of {size}", limit=limit, build=build, goal=1.5)
        yield row(work="expect", limit="listener that sets an event", build=_build_expect)
        yield Row(
            group="waiting",
            work="queue, memory of an event that waits",
            size=None,
            limit="memory object stream",
            build=_build_weighing,
            backend=backend,
            unit="bytes",
            shows="value",
            goal=400,
            count=1_000,
            max_rounds=1,
            max_passes=1,
        )


def _build(
    limit: Callable[..., Sampler],
    ours: Callable[..., Sampler],
    size: int,
    others: Mapping[str, Callable[..., Sampler]] = MappingProxyType({}),
) -> Iterator[Candidate]:
    for name, make in {LIMIT: limit, ANTIPHON: ours, **others}.items():
        (listener,) = listeners("returning", 1)
        yield Candidate(name, make(size, listener, event_class(Event)(1, 2)))


def _build_expect() -> Iterator[Candidate]:
    for name, statement in ((LIMIT, EXPECT_LIMIT), (ANTIPHON, EXPECT)):
        (listener,) = listeners("returning", 1)
        event = event_class(Event)(1, 2)
        values = {"target": AsyncEventDispatcher(), "name": NAME, "event": event, "listener": listener}
        yield Candidate(name, repeat(statement, {**values, "AnyIOEvent": anyio.Event}))


def read_object_stream(size: int, listener: Any, event: object) -> Sampler:
    """Dispatch to a listener that sends to a task, which awaits the listener."""

    async def sampler(count: int) -> float:
        dispatcher = AsyncEventDispatcher()
        send, receive = anyio.create_memory_object_stream[object](size)
        dispatcher.add_listener(NAME, send.send)
        async with receive:
            return await _time_reading(send, receive, listener, partial(dispatcher.adispatch, NAME, event), count)

    return sampler


def read_object_stream_alone(size: int, listener: Any, event: object) -> Sampler:
    """Send to a task, which awaits the listener: nothing dispatches."""

    async def sampler(count: int) -> float:
        send, receive = anyio.create_memory_object_stream[object](size)
        async with receive:
            return await _time_reading(send, receive, listener, partial(send.send, event), count)

    return sampler


def dispatch_from_object_stream(size: int, listener: Any, event: object) -> Sampler:
    """Send to a task that dispatches."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(NAME, listener)

    async def sampler(count: int) -> float:
        send, receive = anyio.create_memory_object_stream[object](size)
        async with receive:
            dispatch = partial(dispatcher.adispatch, NAME)
            return await _time_reading(send, receive, dispatch, partial(send.send, event), count)

    return sampler


def read_stream(size: int, listener: Any, event: object) -> Sampler:
    """Dispatch to a stream that drops nothing, and from which a task reads and awaits the listener."""
    dispatcher = AsyncEventDispatcher()

    async def sampler(count: int) -> float:
        stream = dispatcher.stream(NAME, max_buffer_size=size, overflow="suspend")
        return await _time_reading(stream, stream, listener, partial(dispatcher.adispatch, NAME, event), count)

    return sampler


async def _time_reading(
    opened: AbstractAsyncContextManager[Any],
    source: AsyncIterable[Any],
    receive_one: Callable[[Any], Awaitable[object]],
    send_one: Callable[[], Awaitable[object]],
    count: int,
) -> float:
    """Return the nanoseconds from the first send until a task has read everything.

    Args:
        opened: What is closed after the last send, so that the reader ends.
        source: What the task reads.
        receive_one: What the task does with each event.
        send_one: Sends one event.
        count: The number of events.
    """
    ended = 0

    async def read() -> None:
        nonlocal ended
        async for received in source:
            await receive_one(received)
        ended = perf_counter_ns()

    async with anyio.create_task_group() as tasks:
        async with opened:
            tasks.start_soon(read)
            await checkpoint()
            started = perf_counter_ns()
            for _ in range(count):
                await send_one()
        # Return only after the last event was read: the caller closes the source.
        while not ended:
            await checkpoint()
    return ended - started


def post(size: int, listener: Any, event: object, **options: Any) -> Sampler:
    """Post to a queue, which dispatches to the listener."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(NAME, listener)

    async def sampler(count: int) -> float:
        ended = started = 0
        async with dispatcher.queue(max_buffer_size=size, **options) as queue:
            await checkpoint()
            started = perf_counter_ns()
            for _ in range(count):
                await queue.post(NAME, event)
            await queue.join()
            ended = perf_counter_ns()
        return ended - started

    return sampler


def _build_weighing() -> Iterator[Candidate]:
    yield Candidate(LIMIT, weigh_object_stream)
    yield Candidate(ANTIPHON, weigh_queue)


async def weigh_object_stream(count: int) -> float:
    """Measure the memory of events that wait in a memory object stream."""
    send, receive = anyio.create_memory_object_stream[object](count)
    weight = _weigh(send.send_nowait, event_class()(1, 2), count)
    send.close()
    receive.close()
    return weight


async def weigh_queue(count: int) -> float:
    """Measure the memory of events that wait in a queue."""
    async with AsyncEventDispatcher().queue(max_buffer_size=count) as queue:
        # No worker runs meanwhile, because nothing suspends.
        return _weigh(partial(queue.post_nowait, NAME), event_class(Event)(1, 2), count)


def _weigh(put: Callable[[Any], object], event: object, count: int) -> float:
    """Return the bytes that events take which are put somewhere, without the event itself."""
    tracemalloc.start()
    for _ in range(count):
        put(event)
    weight, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return weight
