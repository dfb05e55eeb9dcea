"""Sequential dispatch, on each event loop: the loop a user would write by hand is the limit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from antiphon import AsyncEventDispatcher, Event
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers import PEERS, Peer

SIZES = (0, 1, 3, 10, 100)

#: Ratios to the bare loop, by whether the caller makes the event, then by size.
GOALS = {
    False: {0: 1.35, 1: 1.30, 3: 1.20, 10: 1.15, 100: 1.12},
    True: {0: 2.5, 1: 1.95, 3: 1.65, 10: 1.35},
}


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each loop, form of the event and number of listeners."""
    for backend, made, named, size in product(backends, (False, True), (False, True), SIZES):
        load = Load(size, "returning", backend, made=made, named=named)
        yield Case(
            stage="dispatch",
            backend=backend,
            workload=load.workload,
            size=size,
            build=partial(candidates, load),
            limit="bare loop",
            goal=GOALS[made].get(size),
            listeners_run=size,
        )


def candidates(load: Load) -> list[Candidate | Absent]:
    """Builds all candidates."""
    ours = [antiphon(load), *([antiphon(load, alone=True)] if load.named else [])]
    return [bare(load), checked(load), *ours, *Peer.candidates(PEERS, "dispatch", load)]


def bare(load: Load) -> Candidate:
    """Awaits one listener after another, and nothing else."""
    listeners = load.listeners()

    async def loop(event: object) -> None:
        for listener in listeners:
            await listener(event)

    return load.candidate("bare loop", "await loop(EVENT)", loop=loop)


def checked(load: Load) -> Candidate:
    """The bare loop, which also looks whether a listener has stopped the propagation."""
    listeners = load.listeners()

    async def loop(event: Event) -> None:
        for listener in listeners:
            await listener(event)
            if event.propagation_stopped:
                break

    return load.candidate("bare loop, with check", "await loop(EVENT)", loop=loop)


def antiphon(load: Load, *, alone: bool = False) -> Candidate:
    """Dispatches on a dispatcher as it comes: by name, or the event alone, under the name of its class."""
    dispatcher = AsyncEventDispatcher()
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return load.candidate(
        "antiphon, the event alone" if alone else "antiphon",
        f"await dispatcher.adispatch({'EVENT' if alone else 'name, EVENT'})",
        event_base=Event,
        role="antiphon",
        dispatcher=dispatcher,
    )


STAGE = Stage("dispatch", "Sequential dispatch", "listeners", cases)
