"""Dispatches: sequential and concurrent ones on each event loop, and synchronous ones.

One repetition is one dispatch to all listeners. The limit is the loop that awaits or calls one listener after another,
and for concurrent dispatches what the event loop or AnyIO has to run tasks together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from anyio import create_task_group

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race
from benchmarks.applications import make_event_classes
from benchmarks.libraries import DISPATCHER, Library, get_peers
from benchmarks.measuring import ANTIPHON, LIMIT, Candidate, Row
from benchmarks.workload import NAME, Load, Sampler, event_class, listeners, repeat

__all__ = ("make_concurrent_rows", "make_sequential_rows", "make_sync_rows")

SIZES = (0, 1, 3, 10, 100)

#: The forms of the event, by name: whether the caller makes it for each dispatch, and whether its class has a name.
FORMS = {
    "event given": (False, False),
    "event made": (True, False),
    "event made, class-level name": (True, True),
}

SEQUENTIAL_GOALS = {
    False: {0: 1.45, 1: 1.5, 3: 1.45, 10: 1.27, 100: 1.16},
    True: {0: 2.0, 1: 1.9, 3: 1.65, 10: 1.35, 100: 1.17},
}
PREPARED_GOALS = {0: 1.3, 1: 1.35, 3: 1.35, 10: 1.25, 100: 1.16}
CLASSES_GOALS = {0: 1.8, 1: 1.85, 3: 1.65}
SYNC_GOALS = {0: 1.75, 1: 1.95, 3: 1.9, 10: 1.65, 100: 1.4}
RETURNING_GOALS = {0: 0.3, 1: 0.15, 3: 0.6, 10: 0.35, 100: 0.2}
SUSPENDING_GOALS = {1: 0.2, 3: 1.03, 10: 1.03, 100: 1.03}
SUSPENDING_ON_TRIO_GOALS = {3: 1.05, 10: 1.05, 100: 1.05}

#: The listeners of concurrent dispatches, and their numbers.
CONCURRENT = {"returning": SIZES, "suspending": SIZES, "one in ten suspending": (10, 100)}


def _dispatch_prepared(library: Library, load: Load) -> Sampler:
    target = library.make(load)
    library.fill(target, library.make_items(load))
    wait = "" if load.group == "sync" else "await "
    return load.make_sampler(f"{wait}prepared(EVENT)", event_base=Event, prepared=target.prepare(NAME))


PREPARED = replace(DISPATCHER, dispatch=dict.fromkeys(("sequential", "sync"), _dispatch_prepared))
"""antiphon by functions that ``prepare`` returned."""

Limit = Callable[[tuple[Callable[..., Any], ...]], Callable[[Any], Any]]


def make_sequential_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop, form of the event and number of listeners."""
    for backend, (form, (made, named)), size in product(backends, FORMS.items(), SIZES):
        load = Load("sequential", size, "returning", backend, made, named)
        yield _make_row(load, form, "loop", await_each, goal=SEQUENTIAL_GOALS[made][size])
    alone = replace(DISPATCHER, dispatch={"sequential": "await target.adispatch(EVENT)"})
    for backend, size in product(backends, SIZES):
        load = Load("sequential", size, "returning", backend, made=True, named=True)
        work = "event made, dispatched without a name"
        yield _make_row(load, work, "loop", await_each, alone, with_others=False)
    for backend, size in product(backends, SIZES):
        load = Load("sequential", size, "returning", backend)
        yield _make_row(load, "prepared", "loop", await_each, PREPARED, with_others=False, goal=PREPARED_GOALS[size])
    for backend, (size, goal) in product(backends, CLASSES_GOALS.items()):
        build = partial(_build_with_classes, backend, size)
        yield Row("sequential", "event given, five classes", size, "loop", build, backend, goal=goal, runs=size)


def make_concurrent_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop, strategy, kind of listener and number of listeners."""
    for backend, strategy, (kind, sizes) in product(backends, (Concurrent(), Race()), CONCURRENT.items()):
        library = replace(DISPATCHER, make=partial(_make_dispatcher, strategy))
        is_race = isinstance(strategy, Race)
        name, limit = _choose_limit(backend, kind)
        for size in sizes:
            load = Load("concurrent", size, kind, backend)
            goal = None if is_race else _get_concurrent_goal(load)
            work = f"{'Race' if is_race else 'Concurrent'}, {kind}"
            yield _make_row(load, work, name, limit, library, with_others=not is_race, goal=goal)


def make_sync_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each form of the event and number of listeners, and one for a dispatcher with many names."""
    for (form, (made, named)), size in product(FORMS.items(), SIZES):
        load = Load("sync", size, "synchronous", made=made, named=named)
        yield _make_row(load, form, "loop", call_each, goal=None if made else SYNC_GOALS[size])
    for size in SIZES:
        load = Load("sync", size, "synchronous")
        yield _make_row(load, "prepared", "loop", call_each, PREPARED, with_others=False)
    others = 100_000 if quick else 1_000_000
    yield Row(
        group="sync",
        work="among many names",
        size=1,
        limit="antiphon, one name",
        build=lambda: [_dispatch_among(0, LIMIT), _dispatch_among(others, ANTIPHON)],
        goal=1.05,
        runs=1,
        max_passes=1,
    )


def _make_row(
    load: Load,
    work: str,
    limit: str,
    make_limit: Limit,
    library: Library = DISPATCHER,
    *,
    with_others: bool = True,
    goal: float | None = None,
) -> Row:
    """Make a row of one load.

    Args:
        load: What a dispatch has to do.
        work: The name of the row.
        limit: The name of the limit.
        make_limit: Makes the function that runs the listeners without a library.
        library: How antiphon dispatches.
        with_others: Whether the row also has the other libraries that have such a dispatch.
        goal: The goal for antiphon.
    """
    return Row(
        group=load.group,
        work=work,
        size=load.size,
        limit=limit,
        build=partial(_build, load, make_limit, library, with_others),
        backend=load.backend,
        goal=goal,
        runs=load.size,
    )


def _build(load: Load, make_limit: Limit, library: Library, with_others: bool) -> Iterator[Candidate]:
    yield Candidate(LIMIT, _make_limit_sampler(load, make_limit))
    yield library.make_candidate(load)
    if not with_others:
        return
    for name, make in ALTERNATIVES.items() if load.group == "concurrent" else ():
        if make is not make_limit and (load.backend != "trio" or make is run_in_task_group):
            yield Candidate(name, _make_limit_sampler(load, make))
    for peer in get_peers():
        if peer.can_dispatch(load):
            yield peer.make_candidate(load)


def _build_with_classes(backend: str, size: int) -> Iterator[Candidate]:
    """Build the candidates that dispatch events of five classes in turn.

    CPython specializes the dispatch for one class of events, and here it is never the class of the previous event.
    """

    def make_sampler(statement: str, base: type, **values: object) -> Sampler:
        events = [made(1, 2) for made in make_event_classes(base)]
        return repeat(statement, {**values, "name": NAME}, items=events)

    load = Load("sequential", size, "returning", backend)
    yield Candidate(LIMIT, make_sampler("await run(item)", object, run=await_each(listeners(load.kind, size))))
    for library in (DISPATCHER, *(peer for peer in get_peers() if peer.has_names)):
        target = library.make(load)
        library.fill(target, library.make_items(load))
        statement = str(library.dispatch["sequential"]).replace("EVENT", "item")
        yield Candidate(library.name, make_sampler(statement, library.get_event_base(), target=target))


def _make_dispatcher(strategy: Any, load: Load) -> AsyncEventDispatcher:
    return AsyncEventDispatcher(strategy=strategy)


def _make_limit_sampler(load: Load, make: Limit) -> Sampler:
    wait = "" if load.group == "sync" else "await "
    called = make(listeners(load.kind, load.size, backend=load.backend))
    return load.make_sampler(f"{wait}run(EVENT)", run=called)


def _choose_limit(backend: str, kind: str) -> tuple[str, Limit]:
    if backend == "trio":
        return "trio.open_nursery", run_in_nursery
    # Bare tasks lack the cancel scope that each listener needs, so listeners that suspend are compared with AnyIO's.
    return ("AnyIO task group", run_in_task_group) if kind == "suspending" else ("asyncio.gather", gather)


def _get_concurrent_goal(load: Load) -> float | None:
    suspending = SUSPENDING_ON_TRIO_GOALS if load.backend == "trio" else SUSPENDING_GOALS
    return {"returning": RETURNING_GOALS, "suspending": suspending}.get(load.kind, {}).get(load.size)


def await_each(listeners: Any) -> Any:
    """Await one listener after another."""

    async def run(event: object) -> None:
        for listener in listeners:
            await listener(event)

    return run


def call_each(listeners: Any) -> Any:
    """Call one listener after another."""

    def run(event: object) -> None:
        for listener in listeners:
            listener(event)

    return run


def gather(listeners: Any) -> Any:
    """Gather the listeners. The siblings of a listener that fails continue."""
    from asyncio import gather

    async def run(event: object) -> None:
        await gather(*[listener(event) for listener in listeners])

    return run


def run_in_asyncio_task_group(listeners: Any) -> Any:
    """Run the listeners in asyncio's own group, which knows no cancel scopes."""
    from asyncio import TaskGroup

    async def run(event: object) -> None:
        async with TaskGroup() as tasks:
            for listener in listeners:
                tasks.create_task(listener(event))

    return run


def run_in_task_group(listeners: Any) -> Any:
    """Run the listeners in a task group of AnyIO."""

    async def run(event: object) -> None:
        async with create_task_group() as tasks:
            for listener in listeners:
                tasks.start_soon(listener, event)

    return run


def run_in_nursery(listeners: Any) -> Any:
    """Run the listeners in a nursery."""
    from trio import open_nursery

    async def run(event: object) -> None:
        async with open_nursery() as tasks:
            for listener in listeners:
                tasks.start_soon(listener, event)

    return run


#: What runs tasks together, for the rows in which it is not the limit.
ALTERNATIVES: dict[str, Limit] = {
    "AnyIO task group": run_in_task_group,
    "asyncio.TaskGroup": run_in_asyncio_task_group,
    "asyncio.gather": gather,
}


def _dispatch_among(others: int, candidate: str) -> Candidate:
    """Dispatch under one name of a dispatcher that also has listeners for other names."""
    dispatcher = EventDispatcher()
    (listener,) = listeners("synchronous", 1)
    for number in range(others + 1):
        dispatcher.add_listener(f"order.{number}", listener)
    values = {"target": dispatcher, "name": f"order.{others // 2}", "event": event_class(Event)(1, 2)}
    return Candidate(candidate, repeat("target.dispatch(name, event)", values))
