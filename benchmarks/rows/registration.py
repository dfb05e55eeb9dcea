"""Registration: adding and removing one of many listeners of an event, and the memory that a registration takes.

The limit is a ``dict`` that you would keep yourself, with no priorities.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from types import FunctionType
from typing import Any

from benchmarks.libraries import DISPATCHER, Library, get_peers
from benchmarks.measuring import LIMIT, Candidate, Row
from benchmarks.workload import NAME, Load, compile_loop, listeners

__all__ = ("Population", "make_rows")

DICT = Library(LIMIT, lambda load: {}, {}, add="target[item] = name", remove="del target[item]")
BY_HANDLE = replace(DISPATCHER, remove="item.unsubscribe()")

Build = Callable[[Library, int], Candidate]


def make_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each operation and number of listeners."""
    row = partial(Row, group="registration", limit="dict", shows="value")
    many = 10_000 if quick else 100_000
    operations: dict[str, tuple[Build, Library, int]] = {
        "add": (make_adding, DISPATCHER, 700),
        "remove": (make_removing, DISPATCHER, 350),
        "remove by its handle": (make_removing, BY_HANDLE, 350),
    }
    for work, (make, ours, goal) in operations.items():
        for size in (10, 1_000, many):
            build = partial(_build, make, ours, size)
            # At 100,000 memory access dominates, and the goals do not apply.
            yield row(work=work, size=size, build=build, goal=goal if size < many else None)
    for size in (1_000, many):
        build = partial(_build, make_weighing, DISPATCHER, size)
        yield row(work="memory", size=size, build=build, goal=160, unit="bytes", count=size, max_rounds=1, max_passes=1)


def _build(make: Build, ours: Library, size: int) -> Iterator[Candidate]:
    yield make(DICT, size)
    yield make(ours, size)
    for peer in get_peers() if ours is DISPATCHER else ():
        if peer.add and size <= peer.max_registered:
            yield make(peer, size)


def make_items(library: Library, count: int) -> list[Any]:
    """Make listeners that are distinct objects and share their code, because they are not called."""
    kind = "returning" if {"sequential", "concurrent"} & set(library.dispatch) else "synchronous"
    (one,) = listeners(kind, 1, arguments=library.arguments)
    return [library.wrap(FunctionType(one.__code__, one.__globals__)) for _ in range(count)]


def _make_target(library: Library) -> Any:
    return library.make(Load("registration", 0, "returning"))


class Population:
    """A target that keeps its number of listeners, within a tenth or ten, while samples add and remove some."""

    def __init__(self, library: Library, size: int) -> None:
        self._library = library
        self._size = size
        #: The most that one sample can add or remove.
        self.room = max(size // 10, 10)
        self._random = Random(size)
        self._added = self.room
        self._target: Any = None
        self._items: list[Any] = []

    def with_room(self, count: int) -> Any:
        """Return the target, with room for a number of additional listeners."""
        self._added += count
        if self._added > self.room:
            self._fill(self._size)
            self._added = count
        return self._target

    def losing(self, count: int) -> tuple[Any, list[Any]]:
        """Return the target, and items to remove from it, in no order."""
        minimum = self._size - self._size // 10
        if len(self._items) - count < minimum:
            self._fill(minimum + self.room)
        items, self._items = self._items[:count], self._items[count:]
        return self._target, items

    def _fill(self, size: int) -> None:
        self._target = _make_target(self._library)
        self._items = make_items(self._library, size)
        if self._library is BY_HANDLE:
            self._items = [self._target.add_listener(NAME, item) for item in self._items]
        else:
            self._library.fill(self._target, self._items)
        self._random.shuffle(self._items)


def make_adding(library: Library, size: int) -> Candidate:
    """Add listeners to a number of others."""
    population = Population(library, size)
    loop = compile_loop(library.add, ("target", "name"))

    async def sampler(count: int) -> float:
        target = population.with_room(count)
        return await loop(make_items(library, count), target=target, name=NAME)

    return Candidate(library.name, sampler, max_count=population.room)


def make_removing(library: Library, size: int) -> Candidate:
    """Remove listeners, in no order, from a number of others."""
    population = Population(library, size)
    loop = compile_loop(library.remove, ("target", "name"))

    async def sampler(count: int) -> float:
        target, items = population.losing(count)
        return await loop(items, target=target, name=NAME)

    return Candidate(library.name, sampler, max_count=population.room)


def make_weighing(library: Library, size: int) -> Candidate:
    """Measure the memory of a number of registrations, without the listeners and the handles."""

    async def sampler(count: int) -> float:
        items = make_items(library, count)
        tracemalloc.start()
        target = _make_target(library)
        library.fill(target, items)
        weight, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del target
        return weight

    return Candidate(library.name, sampler)
