"""Queues and streams, on each event loop: anyio's own memory object stream is the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from time import perf_counter_ns
from typing import Any

from anyio import create_memory_object_stream, create_task_group
from anyio.lowlevel import checkpoint

from antiphon import AsyncEventDispatcher, Event
from benchmarks.cases import Absent, Candidate, Case, Role, Stage
from benchmarks.events import NAME, event_class
from benchmarks.listeners import AsyncListener, listeners

#: How many events the buffer holds. In the smaller one, sender and reader wait for each other at every event.
SIZES = (1, 64)

#: Events in a sample: so many that it does not matter what it takes to begin and to end.
COUNT = 200

LIMIT = "anyio memory object stream"


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each loop and size of the buffer."""
    for backend, size in product(backends, SIZES):
        yield Case(
            stage="waiting",
            backend=backend,
            workload="an event handed over",
            size=size,
            build=partial(candidates, size),
            limit=LIMIT,
            listeners_run=1,
            count=COUNT,
            most_rounds=20,
        )


def candidates(size: int) -> list[Candidate | Absent]:
    """Builds all candidates."""
    return [
        candidate(LIMIT, by_hand, size),
        candidate("the same, reader dispatches", by_hand_dispatching, size),
        candidate("antiphon, stream", stream, size, role="antiphon"),
        candidate("antiphon, queue", queue, size, role="antiphon"),
        candidate("antiphon, queue, 4 workers", queue, size, role="antiphon", workers=4),
        candidate("antiphon, queue, ordered", queue, size, role="antiphon", ordered_by=customer),
    ]


def customer(event: Any) -> Any:
    """Tells what the ordered queue keeps in order: here all events, since all are of one customer."""
    return event.customer


def candidate(name: str, build: Callable[..., Any], size: int, *, role: Role = "limit", **options: Any) -> Candidate:
    """Makes a candidate, with a listener and an event of its own.

    Args:
        name: What the table calls it.
        build: Makes its sampler.
        size: How many events the buffer holds.
        role: What the candidate is in the comparison.
        **options: What else ``build`` takes.
    """
    (listener,) = listeners("returning", 1)
    return Candidate(name, build(size, listener, event_class(Event)(1, 2), **options), role)


def by_hand(size: int, listener: AsyncListener, event: object) -> Any:
    """Sends to a task that awaits the listener."""

    async def sampler(count: int) -> float:
        send, receive = create_memory_object_stream[object](size)
        started = ended = 0

        async def read() -> None:
            nonlocal ended
            async for received in receive:
                await listener(received)
            ended = perf_counter_ns()

        async with create_task_group() as tasks, receive:
            tasks.start_soon(read)
            await checkpoint()
            started = perf_counter_ns()
            with send:
                for _ in range(count):
                    await send.send(event)
            # The receiver is closed only after the last one was read.
            while not ended:
                await checkpoint()
        return ended - started

    return sampler


def by_hand_dispatching(size: int, listener: AsyncListener, event: object) -> Any:
    """Sends to a task that dispatches: the smallest queue that one would write."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(NAME, listener)

    async def sampler(count: int) -> float:
        send, receive = create_memory_object_stream[object](size)
        started = ended = 0

        async def read() -> None:
            nonlocal ended
            async for received in receive:
                await dispatcher.adispatch(NAME, received)
            ended = perf_counter_ns()

        async with create_task_group() as tasks, receive:
            tasks.start_soon(read)
            await checkpoint()
            started = perf_counter_ns()
            with send:
                for _ in range(count):
                    await send.send(event)
            while not ended:
                await checkpoint()
        return ended - started

    return sampler


def stream(size: int, listener: AsyncListener, event: object) -> Any:
    """Dispatches to a stream, which loses nothing, and of which a task reads and awaits the listener."""
    dispatcher = AsyncEventDispatcher()

    async def sampler(count: int) -> float:
        started = ended = 0
        events = dispatcher.stream(NAME, max_buffer_size=size, overflow="suspend")

        async def read() -> None:
            nonlocal ended
            async for received in events:
                await listener(received)
            ended = perf_counter_ns()

        async with create_task_group() as tasks:
            async with events:
                tasks.start_soon(read)
                await checkpoint()
                started = perf_counter_ns()
                for _ in range(count):
                    await dispatcher.adispatch(NAME, event)
            while not ended:
                await checkpoint()
        return ended - started

    return sampler


def queue(size: int, listener: AsyncListener, event: object, **options: Any) -> Any:
    """Posts to a queue, which dispatches to the listener."""
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(NAME, listener)

    async def sampler(count: int) -> float:
        started = ended = 0
        async with dispatcher.queue(max_buffer_size=size, **options) as events:
            await checkpoint()
            started = perf_counter_ns()
            for _ in range(count):
                await events.post(NAME, event)
            await events.join()
            ended = perf_counter_ns()
        return ended - started

    return sampler


STAGE = Stage("waiting", "Queues and streams", "events that the buffer holds", cases)
