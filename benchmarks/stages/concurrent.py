"""Concurrent dispatch, on each event loop: the backend's own ways to run tasks together are the limits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from anyio import create_task_group

from antiphon import AsyncEventDispatcher, Concurrent, Event, Race
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers import PEERS, Peer

WORKLOADS = {
    "returning": "returning at once",
    "suspending": "suspending once",
    "one in ten suspending": "one in ten suspending once",
    "sleeping": "sleeping 1 ms",
}

#: How many listeners, by kind.
SIZES = {
    "returning": (0, 1, 3, 10, 100),
    "suspending": (0, 1, 3, 10, 100),
    "one in ten suspending": (10, 100),
    "sleeping": (3, 10, 100),
}

GROUP = "anyio task group"

#: What the ratios refer to, by kind of listener and backend.
LIMITS = {
    ("returning", "asyncio"): "asyncio.gather",
    ("returning", "uvloop"): "asyncio.gather",
    ("returning", "trio"): "trio.open_nursery",
    ("suspending", "asyncio"): GROUP,
    ("suspending", "uvloop"): GROUP,
    ("suspending", "trio"): "trio.open_nursery",
    ("one in ten suspending", "asyncio"): "asyncio.gather",
    ("one in ten suspending", "uvloop"): "asyncio.gather",
    ("one in ten suspending", "trio"): "trio.open_nursery",
    ("sleeping", "asyncio"): "asyncio.gather",
    ("sleeping", "uvloop"): "asyncio.gather",
    ("sleeping", "trio"): "trio.open_nursery",
}

RETURNING_GOALS = {0: 0.3, 1: 0.1, 3: 0.6, 10: 0.35, 100: 0.2}

#: Ratios to those limits, by size. There are none for the other kinds.
GOALS: dict[tuple[str, str], dict[int, float]] = {
    ("returning", "asyncio"): RETURNING_GOALS,
    ("returning", "uvloop"): RETURNING_GOALS,
    ("returning", "trio"): RETURNING_GOALS,
    ("suspending", "asyncio"): {1: 0.2, 3: 1.03, 10: 1.03, 100: 1.03},
    ("suspending", "uvloop"): {1: 0.2, 3: 1.03, 10: 1.03, 100: 1.03},
    ("suspending", "trio"): {3: 1.05, 10: 1.05, 100: 1.05},
}


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each loop, kind of listener and number of listeners."""
    for backend, (kind, workload) in product(backends, WORKLOADS.items()):
        sleeps = kind == "sleeping"
        for size in SIZES[kind]:
            yield Case(
                stage="concurrent",
                backend=backend,
                workload=workload,
                size=size,
                build=partial(candidates, Load(size, kind, backend)),
                limit=LIMITS[kind, backend],
                goal=GOALS.get((kind, backend), {}).get(size),
                listeners_run=size,
                count=1 if sleeps else None,
                most_rounds=8 if sleeps else 1_000_000,
            )


def candidates(load: Load) -> list[Candidate | Absent]:
    """Builds all candidates."""
    native = (nursery,) if load.backend == "trio" else (gather, task_group)
    return [
        *(build(load) for build in native),
        group(load),
        antiphon(load, "antiphon", Concurrent()),
        antiphon(load, "antiphon, Race", Race()),
        *Peer.candidates(PEERS, "concurrent", load),
    ]


def gather(load: Load) -> Candidate:
    """asyncio's oldest way: a sibling of one that fails goes on, unattended."""
    from asyncio import gather

    listeners = load.listeners()

    async def together(event: object) -> None:
        await gather(*[listener(event) for listener in listeners])

    return load.candidate("asyncio.gather", "await together(EVENT)", together=together)


def task_group(load: Load) -> Candidate:
    """asyncio's group: knows nothing of anyio's cancel scopes."""
    from asyncio import TaskGroup

    listeners = load.listeners()

    async def together(event: object) -> None:
        async with TaskGroup() as tasks:
            for listener in listeners:
                tasks.create_task(listener(event))

    return load.candidate("asyncio.TaskGroup", "await together(EVENT)", together=together)


def nursery(load: Load) -> Candidate:
    """trio's own."""
    from trio import open_nursery

    listeners = load.listeners()

    async def together(event: object) -> None:
        async with open_nursery() as tasks:
            for listener in listeners:
                tasks.start_soon(listener, event)

    return load.candidate("trio.open_nursery", "await together(EVENT)", together=together)


def group(load: Load) -> Candidate:
    """What a user of anyio would write."""
    listeners = load.listeners()

    async def together(event: object) -> None:
        async with create_task_group() as tasks:
            for listener in listeners:
                tasks.start_soon(listener, event)

    return load.candidate(GROUP, "await together(EVENT)", together=together)


def antiphon(load: Load, name: str, strategy: Concurrent | Race) -> Candidate:
    """Dispatches by name on a dispatcher with a strategy."""
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return load.candidate(
        name, "await dispatcher.adispatch(name, EVENT)", event_base=Event, role="antiphon", dispatcher=dispatcher
    )


STAGE = Stage("concurrent", "Concurrent dispatch", "listeners", cases)
