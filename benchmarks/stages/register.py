"""Registration: adding and removing one of many listeners, and the memory that each takes.

They listen to one key, or each to a key of its own; for the latter, one function listens to all the keys.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count as counter
from typing import Any

from antiphon import AsyncEventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.listeners import listeners
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


STORES = (DICT, BY_EQUALITY, BY_HANDLE)

(LISTENER,) = listeners("returning", 1)

_numbers = counter()


def keys(count: int) -> list[str]:
    """Makes keys that there were not yet."""
    return [f"order.{next(_numbers)}" for _ in range(count)]


def keyed(store: Store) -> Store:
    """Gives each registration a key of its own: what it adds is a key, for one listener."""
    if store is DICT:
        return replace(store, add="store[item] = listener", register=_keep, items=keys)
    register = _add_listener if store is BY_HANDLE else _add_key
    remove = store.remove if store is BY_HANDLE else "store.remove_listener(item, listener)"
    return replace(store, add="store.add_listener(item, listener)", remove=remove, register=register, items=keys)


def _keep(held: Any, key: str) -> str:
    held[key] = LISTENER
    return key


def _add_key(held: Any, key: str) -> str:
    held.add_listener(key, LISTENER)
    return key


def _add_listener(held: Any, key: str) -> object:
    return held.add_listener(key, LISTENER)


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each operation at each size."""
    many = 10_000 if quick else 100_000
    case = partial(Case, stage="register", limit=DICT.name, shows="value", most_rounds=6 if quick else 40)
    for workload, build, goal in (("add", adding, 700), ("remove", removing, 350)):
        for size in (10, 1_000, many):
            yield case(workload=workload, size=size, build=partial(candidates, build, size), goal=goal)
        yield case(workload=f"{workload}, a key for each", size=many, build=partial(candidates, build, many, each=True))
    for size in (1_000, many):
        yield weighed(case, "memory", size, partial(candidates, weighing, size), goal=150)
    for size in (1_000, many):
        yield weighed(case, "memory, with its plan", size, partial(candidates, weighing_planned, size))
    yield weighed(case, "memory, a key for each", many, partial(candidates, weighing, many, each=True))


def weighed(
    case: Callable[..., Case],
    workload: str,
    size: int,
    build: Callable[[], list[Candidate | Absent]],
    goal: float | None = None,
) -> Case:
    """Makes a case of bytes: weighing gives the same again, so once is enough."""
    return case(
        workload=workload, size=size, build=build, goal=goal, unit="bytes", count=size, most_rounds=1, most_passes=1
    )


def candidates(build: Callable[[Store, int], Candidate], size: int, *, each: bool = False) -> list[Candidate | Absent]:
    """Builds all candidates.

    Args:
        build: Makes one from a store.
        size: How many listeners there are.
        each: Whether each of them has a key of its own.
    """
    form: Callable[[Store], Store] = keyed if each else lambda store: store
    found: list[Candidate | Absent] = [build(form(store), size) for store in STORES]
    found += [peer.stored(size, lambda store: build(form(store), size), keyed=each) for peer in PEERS]
    return found


def adding(store: Store, size: int) -> Candidate:
    """Adds listeners to so many others."""
    population = Population(store, size)
    loop = timed_loop(store.add, "store", "name", "listener")

    async def sampler(count: int) -> float:
        held = population.with_room(count)
        return await loop(store.make_items(count), store=held, name=NAME, listener=LISTENER)

    return Candidate(store.name, sampler, store.role, most=population.room)


def removing(store: Store, size: int) -> Candidate:
    """Removes listeners, in no order, from among so many."""
    population = Population(store, size)
    loop = timed_loop(store.remove, "store", "name", "listener")

    async def sampler(count: int) -> float:
        held, items = population.losing(count)
        return await loop(items, store=held, name=NAME, listener=LISTENER)

    return Candidate(store.name, sampler, store.role, most=population.room)


def weighing(store: Store, size: int, plan: Callable[[object], object] | None = None) -> Candidate:
    """Weighs a store with so many listeners, without the listeners and the handles."""

    async def sampler(count: int) -> float:
        items = store.make_items(count)
        tracemalloc.start()
        held = store.make()
        for item in items:
            store.register(held, item)
        planned = plan and plan(held)
        weight, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del planned
        return weight

    return Candidate(store.name, sampler, store.role)


def weighing_planned(store: Store, size: int) -> Candidate:
    """Weighs the store after what it prepares for a dispatch."""
    return weighing(store, size, store.plan)


STAGE = Stage("register", "Registration", "listeners", cases)
