"""blinker, by which Flask tells of its requests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)


def dispatch(load: Load) -> Candidate:
    """Dispatches with ``send_async``."""
    return _candidate(load, "await signal.send_async(EVENT)")


def sync(load: Load) -> Candidate:
    """Dispatches with ``send``."""
    return _candidate(load, "signal.send(EVENT)")


def store() -> Store:
    """Registers on a signal without a name."""
    return Store(
        "blinker",
        _make,
        add="store.connect(item)",
        remove="store.disconnect(item)",
        register=lambda store, listener: store.connect(listener),
        plan=lambda store: None,
        dispatch="store.send(event)",
        keyed=False,
    )


def _make() -> Any:
    return import_module("blinker").Signal()


def _candidate(load: Load, statement: str) -> Candidate:
    signal = _make()
    # It holds listeners weakly, so something else has to hold them.
    kept = load.listeners()
    for listener in kept:
        signal.connect(listener)
    return load.candidate("blinker", statement, role="peer", signal=signal, kept=kept)


PEER = Peer(
    name="blinker",
    difference=(
        "A signal object in place of a name. It holds listeners weakly, returns what each of them returned, and can "
        "hear one sender alone; it has no order, no priorities and no stop, and adds nothing to an error. Here the "
        "event is the sender."
    ),
    dispatches={"dispatch": dispatch, "sync": sync},
    store=store,
)
