"""Dispatches between changes: each step adds a listener and dispatches, so that nothing prepared can be used twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as counter
from typing import Any

from antiphon import Event, EventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME, event_class
from benchmarks.listeners import listeners
from benchmarks.peers import PEERS
from benchmarks.stores import Store
from benchmarks.timing import timed_loop

#: How many listeners there are already.
SIZES = (10, 100, 1_000)

#: How many steps begin at an empty dispatcher.
STEPS = (1_000, 10_000)

#: Steps that are not timed: after so much has been made, the first of them finds no cache warm.
COLD = 2

Build = Callable[[Store, int], Candidate]

_numbers = counter()


class ByHand:
    """What one would write: a list for each name, kept in order by sorting it at each change."""

    def __init__(self) -> None:
        self.entries: dict[str, list[tuple[int, Any]]] = {}
        self.listeners: dict[str, list[Any]] = {}

    def add_listener(self, name: str, listener: Any, priority: int = 0) -> None:
        entries = self.entries.setdefault(name, [])
        entries.append((priority, listener))
        entries.sort(key=_priority)
        self.listeners[name] = [listener for _, listener in entries]

    def remove_listener(self, name: str, listener: Any) -> None:
        kept = [entry for entry in self.entries[name] if entry[1] != listener]
        self.entries[name] = kept
        self.listeners[name] = [listener for _, listener in kept]

    def dispatch(self, name: str, event: object) -> None:
        for listener in self.listeners[name]:
            listener(event)


def _priority(entry: tuple[int, Any]) -> int:
    return entry[0]


BY_HAND = Store("sorted by hand", ByHand, dispatch="store.dispatch(name, event)", role="limit")

OURS = Store("antiphon", EventDispatcher, dispatch="store.dispatch(name, event)", event_base=Event, role="antiphon")


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each kind of change and size."""
    rounds = 6 if quick else 20
    case = partial(Case, stage="changes", limit=BY_HAND.name, shows="value", most_passes=2)
    few, many = partial(case, count=10, most_rounds=rounds), partial(case, count=50, most_rounds=rounds)
    for size in SIZES:
        built = partial(candidates, stepping, size)
        yield few(workload="add, then dispatch to all", size=size, build=built, listeners_run=size + 1)
    for size in SIZES:
        built = partial(candidates, stepping_beside, size, keyed=True)
        yield many(workload="the same, among other names", size=size, build=built, listeners_run=1)
    for size in STEPS:
        built = partial(candidates, from_nothing, size, keyed=True)
        yield case(
            workload="from empty, a new name each", size=size, build=built, count=size, most_rounds=2 if quick else 4
        )
    for size in SIZES:
        yield case(
            workload="first dispatch after a change",
            size=size,
            build=partial(candidates, first, size),
            listeners_run=size,
            most_rounds=rounds,
        )
    for size in SIZES:
        yield case(
            workload="a dispatch after that",
            size=size,
            build=partial(candidates, partial(first, again=True), size),
            listeners_run=size,
            most_rounds=rounds,
        )


def candidates(build: Build, size: int, *, keyed: bool = False) -> list[Candidate | Absent]:
    """Builds all candidates.

    Args:
        build: Makes one from a store, given how many listeners, names or steps there are.
        size: That number.
        keyed: Whether the work needs names.
    """
    return [
        *(build(store.for_plain_functions(), size) for store in (BY_HAND, OURS)),
        *(
            peer.stored(size, lambda store: build(store.for_plain_functions(), size), keyed=keyed, sync=True)
            for peer in PEERS
        ),
    ]


def stepping(store: Store, size: int) -> Candidate:
    """Adds to the listeners of one event, and dispatches to all of them."""
    loop = timed_loop(f"{store.add}\n{store.dispatch}", "store", "name", "event")
    event = event_class(store.event_base)(1, 2)

    async def sampler(count: int) -> float:
        held, kept = filled(store, size)
        items = store.make_items(count + COLD)
        await loop(items[:COLD], store=held, name=NAME, event=event)
        took = await loop(items[COLD:], store=held, name=NAME, event=event)
        del kept
        return took

    return Candidate(store.name, sampler, store.role)


def stepping_beside(store: Store, size: int) -> Candidate:
    """Adds the listener of a name that has none, and dispatches under it."""
    loop = timed_loop(f"name, item = item\n{store.add}\n{store.dispatch}", "store", "event")
    event = event_class(store.event_base)(1, 2)

    async def sampler(count: int) -> float:
        held = store.make()
        others = store.make_items(size)
        for index, listener in enumerate(others):
            held.add_listener(f"stock.{index}", listener)
        items = _keyed(store, count + COLD)
        await loop(items[:COLD], store=held, event=event)
        return await loop(items[COLD:], store=held, event=event)

    return Candidate(store.name, sampler, store.role)


def from_nothing(store: Store, size: int) -> Candidate:
    """Begins at an empty dispatcher, and goes on so for all steps of the sample."""
    loop = timed_loop(f"name, item = item\n{store.add}\n{store.dispatch}", "store", "event")
    event = event_class(store.event_base)(1, 2)

    async def sampler(count: int) -> float:
        return await loop(_keyed(store, count), store=store.make(), event=event)

    return Candidate(store.name, sampler, store.role)


def first(store: Store, size: int, *, again: bool = False) -> Candidate:
    """Adds and removes a listener, and dispatches to the others, as before.

    Args:
        store: On what.
        size: How many others there are.
        again: Whether the dispatch is timed that comes after the first one.
    """
    dispatched_before = store.dispatch if again else "pass"
    statement = "\n".join(
        (
            f"{store.add}; {store.remove}; {dispatched_before}",
            "begun = clock()",
            store.dispatch,
            "took.append(clock() - begun)",
        )
    )
    loop = timed_loop(statement, "store", "name", "event", "took")
    event = event_class(store.event_base)(1, 2)
    held = filled(store, size)

    async def sampler(count: int) -> float:
        took: list[int] = []
        await loop(store.make_items(count), store=held[0], name=NAME, event=event, took=took)
        return sum(took)

    return Candidate(store.name, sampler, store.role, most=20)


def filled(store: Store, size: int) -> tuple[Any, list[Any]]:
    """Makes a store with listeners of one event.

    Returns:
        The store, and its listeners, which some hold weakly.
    """
    held = store.make()
    items = [store.wrap(listener) for listener in listeners(store.kind, size, arguments=store.arguments)]
    return held, [store.register(held, item) for item in items]


def _keyed(store: Store, count: int) -> list[tuple[str, Any]]:
    return [(f"order.{next(_numbers)}", listener) for listener in store.make_items(count)]


STAGE = Stage("changes", "Dispatches between changes (synchronous)", "listeners, names or steps", cases)
