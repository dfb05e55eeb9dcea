"""Dispatch without a loop: plain functions, called one after another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from antiphon import Event, EventDispatcher
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers import PEERS, Peer

#: Ratios to the bare loop when the event is given, by size; these are also all sizes.
GOALS = {0: 1.5, 1: 1.45, 3: 1.4, 10: 1.35, 100: 1.3}


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each form of the event and number of listeners."""
    for made, named, size in product((False, True), (False, True), GOALS):
        load = Load(size, "synchronous", made=made, named=named)
        yield Case(
            stage="sync",
            workload=load.workload,
            size=size,
            build=partial(candidates, load),
            limit="bare loop",
            goal=None if made else GOALS[size],
            listeners_run=size,
        )


def candidates(load: Load) -> list[Candidate | Absent]:
    """Builds all candidates."""
    return [bare(load), checked(load), antiphon(load), *Peer.candidates(PEERS, "sync", load)]


def bare(load: Load) -> Candidate:
    """Calls one listener after another, and nothing else."""
    listeners = load.listeners()

    def loop(event: object) -> None:
        for listener in listeners:
            listener(event)

    return load.candidate("bare loop", "loop(EVENT)", loop=loop)


def checked(load: Load) -> Candidate:
    """The bare loop, which also looks whether a listener has stopped the propagation."""
    listeners = load.listeners()

    def loop(event: Event) -> None:
        for listener in listeners:
            listener(event)
            if event.propagation_stopped:
                break

    return load.candidate("bare loop, with check", "loop(EVENT)", loop=loop)


def antiphon(load: Load) -> Candidate:
    """Dispatches by name on a dispatcher as it comes."""
    dispatcher = EventDispatcher()
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return load.candidate(
        "antiphon", "dispatcher.dispatch(name, EVENT)", event_base=Event, role="antiphon", dispatcher=dispatcher
    )


STAGE = Stage("sync", "Synchronous dispatch", "listeners", cases)
