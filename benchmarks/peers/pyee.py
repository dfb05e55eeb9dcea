"""pyee, an emitter in the manner of Node.js."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)

IN_A_NURSERY = """
async with open_nursery() as nursery:
    relay.start_soon = nursery.start_soon
    emitter.emit(name, EVENT)
"""


class Relay:
    """A nursery to the emitter, which takes only one for its whole life: the one of the dispatch at hand."""

    start_soon: Any = None


def concurrent(load: Load) -> Candidate:
    """Starts a task for each listener, and waits for all of them, which ``emit`` alone does not."""
    return _on_trio(load) if load.backend == "trio" else _on_asyncio(load)


def sync(load: Load) -> Candidate:
    """Dispatches with the emitter for plain functions."""
    emitter = _listening(_make(), load)
    return load.candidate("pyee", "emitter.emit(name, EVENT)", role="peer", emitter=emitter)


def store() -> Store:
    """Registers on the emitter that the others derive from."""
    return Store(
        "pyee",
        _make,
        add="store.on(name, item)",
        register=lambda store, listener: store.on(NAME, listener),
        plan=lambda store: store.listeners(NAME),
        dispatch="store.emit(name, event)",
    )


def _make() -> Any:
    return import_module("pyee").EventEmitter()


def _on_asyncio(load: Load) -> Candidate:
    emitter = _listening(import_module("pyee.asyncio").AsyncIOEventEmitter(), load)
    statement = "emitter.emit(name, EVENT); await emitter.wait_for_complete()"
    return load.candidate("pyee", statement, role="peer", emitter=emitter)


def _on_trio(load: Load) -> Candidate:
    from trio import open_nursery

    relay = Relay()
    emitter = _listening(import_module("pyee.trio").TrioEventEmitter(nursery=relay), load)
    return load.candidate("pyee", IN_A_NURSERY, role="peer", emitter=emitter, relay=relay, open_nursery=open_nursery)


def _listening(emitter: Any, load: Load) -> Any:
    for listener in load.listeners():
        emitter.on(NAME, listener)
    return emitter


PEER = Peer(
    name="pyee",
    difference=(
        "It starts a task for each async listener and does not wait for it: here it is made to wait, on asyncio by "
        "its own means, on trio by a nursery for each dispatch. It has no priorities and no stop, an error becomes an "
        "event of its own, and the same listener is not registered twice."
    ),
    dispatches={"sync": sync, "concurrent": concurrent},
    store=store,
)
