"""Litestar's emitter of events."""

from __future__ import annotations

from importlib import import_module
from time import perf_counter_ns
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.timing import timed_loop

__all__ = ("PEER",)


def concurrent(load: Load) -> Candidate:
    """Hands events over, then leaves the emitter, which waits until all listeners have run."""
    events = import_module("litestar.events")
    registered = [events.EventListener(NAME)(listener) for listener in load.listeners()]
    bound: dict[str, Any] = load.bound()
    loop = timed_loop(load.written("emitter.emit(name, EVENT)"), "emitter", *bound)

    async def sampler(count: int) -> float:
        async with events.SimpleEventEmitter(registered) as emitter:
            started = perf_counter_ns()
            await loop(range(count), emitter=emitter, **bound)
        return perf_counter_ns() - started

    return Candidate("litestar", sampler, "peer")


PEER = Peer(
    name="litestar",
    difference=(
        "It queues without a bound and returns before a listener has run: nobody can wait for one dispatch, stop it "
        "or learn of its errors, which are logged; so its figure is that of many events at once, until the last "
        "listener has ended. Its listeners are fixed when it is made, have no order, and there must be one."
    ),
    dispatches={"concurrent": concurrent},
    module="litestar.events",
    needs_listeners=True,
)
