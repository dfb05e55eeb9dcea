"""The requests of an application, each of which makes 11 dispatches of five new events (see `benchmarks.applications`).

The limit is a loop for each dispatch, which awaits the listeners. Through an override that logs, the limit is whistle,
through the same override.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from antiphon import Event
from benchmarks.applications import EVENTS, LISTENED, NAMES, copy_name, make_event_classes
from benchmarks.backends import run as run_on
from benchmarks.libraries import DISPATCHER, LOGGING, OVERRIDING, WHISTLE, WHISTLE_OVERRIDING, Library, get_peers
from benchmarks.measuring import ANTIPHON, LIMIT, Candidate, Row
from benchmarks.workload import Load, Sampler, listeners, repeat

__all__ = ("LOOP", "make_rows", "repeat_request")

#: The name of the loop where it is not the limit.
LOOP = "loop"


def make_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop and way to dispatch the events of a request."""
    for backend in backends:
        row = partial(Row, group="request", size=len(LISTENED), backend=backend, runs=len(LISTENED))
        yield row(work="same names", limit=LOOP, build=_build_by_name, goal=1.85)
        yield row(work="equal names", limit=LOOP, build=partial(_build_by_name, copy_name), goal=1.95)
        yield row(work="prepared", limit=LOOP, build=_build_prepared, goal=1.35)
        if WHISTLE in get_peers():
            row = partial(row, limit="whistle")
            yield row(work="override that logs", build=partial(_build_logging, OVERRIDING), goal=0.9)
            yield row(work="logging instrument, level off", build=partial(_build_logging, LOGGING), goal=1.2)


def _build_by_name(make_name: Callable[[str], str] = str) -> Iterator[Candidate]:
    """Build the loop and the libraries.

    Args:
        make_name: Makes the name of a dispatch from the name of the listener.
    """
    yield _make_loop(LIMIT)
    for library in (DISPATCHER, *(peer for peer in get_peers() if peer.has_names)):
        yield _make_candidate(library, make_name)


def _build_prepared() -> Iterator[Candidate]:
    yield _make_loop(LIMIT)
    dispatcher = _make_target(DISPATCHER)
    prepared = {f"prepared_{number}": dispatcher.prepare(name) for number, name in enumerate(NAMES)}
    yield Candidate(ANTIPHON, repeat_request("await prepared_{}(event)", [*make_event_classes(Event)], prepared))


def _build_logging(ours: Library) -> Iterator[Candidate]:
    yield _make_candidate(replace(WHISTLE_OVERRIDING, name=LIMIT))
    yield _make_candidate(ours)
    yield _make_loop(LOOP)


def _make_loop(name: str) -> Candidate:
    made = dict(zip(LISTENED, listeners("returning", len(LISTENED)), strict=True))
    plans = {f"listeners_{number}": (made[key],) if key in made else () for number, key in enumerate(NAMES)}

    async def run(listeners: Any, event: object) -> None:
        for listener in listeners:
            await listener(event)

    statement = "await run(listeners_{}, event)"
    return Candidate(name, repeat_request(statement, [*make_event_classes()], {**plans, "run": run}))


def _make_target(library: Library) -> Any:
    target = library.make(Load("sequential", 1, "returning"))
    for name, listener in zip(LISTENED, listeners("returning", len(LISTENED)), strict=True):
        library.add_listener(target, name, library.wrap(listener))
    return target


def _make_candidate(library: Library, make_name: Callable[[str], str] = str) -> Candidate:
    target, classes = _make_target(library), [*make_event_classes(library.get_event_base())]
    statement = str(library.dispatch["sequential"]).replace("EVENT", "event").replace("name", "name_{}")

    def make_sampler(make_name: Callable[[str], str]) -> Sampler:
        names = {f"name_{number}": make_name(name) for number, name in enumerate(NAMES)}
        return repeat_request(statement, classes, {**names, "target": target})

    async def dispatch_once() -> None:
        await make_sampler(str)(1)

    if make_name is not str:
        # A dispatcher may remember the names of the first dispatch.
        run_on("none", dispatch_once)
    return Candidate(library.name, make_sampler(make_name))


def repeat_request(statement: str, classes: Sequence[type[Any]], values: dict[str, object]) -> Sampler:
    """Make a sampler that repeats a request.

    Args:
        statement: The dispatch of ``event``, as source. It contains ``{}`` for the number of the dispatch.
        classes: The classes of the events.
        values: What the statement uses, by name.
    """
    lines: list[str] = []
    numbers = count()
    for number, names in enumerate(EVENTS):
        lines += [f"event = Event{number}(1, 2)", *(statement.format(next(numbers)) for _ in names)]
    return repeat("\n".join(lines), {**values, **{f"Event{number}": made for number, made in enumerate(classes)}})
