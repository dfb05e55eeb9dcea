"""Registration: adding and removing one of many listeners of one event, and the memory that each takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

from antiphon import AsyncEventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.listeners import alike
from benchmarks.peers import PEERS
from benchmarks.stores import Population, Store
from benchmarks.timing import timed_loop

#: The ordered store one would keep by hand, without priorities.
DICT = Store(
    "dict",
    make=dict,
    add="store[item] = name",
    remove="del store[item]",
    register=lambda store, listener: (store.__setitem__(listener, NAME), listener)[1],
    plan=tuple,
    role="limit",
)

BY_EQUALITY = Store("antiphon", AsyncEventDispatcher, role="antiphon")

BY_HANDLE = Store(
    "antiphon, by handle",
    AsyncEventDispatcher,
    remove="item.unsubscribe()",
    register=lambda store, listener: store.add_listener(NAME, listener),
    role="antiphon",
)


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each operation at each size."""
    sizes = (1_000, 10_000 if quick else 100_000)
    case = partial(Case, stage="register", limit=DICT.name, shows="value")
    for size in sizes:
        yield case(workload="add", size=size, build=partial(candidates, adding, size), goal=700)
    for size in sizes:
        yield case(workload="remove", size=size, build=partial(candidates, removing, size), goal=350)
    for workload, build, goal in (("memory", weighing, 150), ("memory, with its plan", weighing_planned, None)):
        for size in sizes:
            yield case(
                workload=workload,
                size=size,
                build=partial(candidates, build, size),
                goal=goal,
                unit="bytes",
                count=size,
                most_rounds=1,
                most_passes=1,
            )


def candidates(build: Callable[[Store, int], Candidate], size: int) -> list[Candidate | Absent]:
    """Builds all candidates."""
    found: list[Candidate | Absent] = [build(store, size) for store in (DICT, BY_EQUALITY, BY_HANDLE)]
    for peer in PEERS:
        missing = peer.missing()
        if peer.store is None or missing:
            found.append(Absent(peer.name, missing or "has nothing like it"))
        else:
            found.append(build(peer.store(), size))
    return found


def adding(store: Store, size: int) -> Candidate:
    """Adds listeners to so many others."""
    population = Population(store, size)
    loop = timed_loop(store.add, "store", "name")

    async def sampler(count: int) -> float:
        return await loop(alike("returning", count), store=population.with_room(count), name=NAME)

    return Candidate(store.name, sampler, store.role, most=size // 10)


def removing(store: Store, size: int) -> Candidate:
    """Removes listeners, in no order, from among so many."""
    population = Population(store, size)
    loop = timed_loop(store.remove, "store", "name")

    async def sampler(count: int) -> float:
        held, items = population.losing(count)
        return await loop(items, store=held, name=NAME)

    return Candidate(store.name, sampler, store.role, most=size // 10)


def weighing(store: Store, size: int, plan: Callable[[object], object] | None = None) -> Candidate:
    """Weighs a store with so many listeners, without the listeners and the handles."""

    async def sampler(count: int) -> float:
        listeners = alike("returning", count)
        tracemalloc.start()
        held = store.make()
        for listener in listeners:
            store.register(held, listener)
        planned = plan and plan(held)
        weight, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del planned
        return weight

    return Candidate(store.name, sampler, store.role)


def weighing_planned(store: Store, size: int) -> Candidate:
    """Weighs the store after what it prepares for a dispatch."""
    return weighing(store, size, store.plan)


STAGE = Stage("register", "Registration", "listeners of the event", cases)
