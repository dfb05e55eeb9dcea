"""psygnal, which napari uses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)


def sync(load: Load) -> Candidate:
    """Dispatches with ``emit``."""
    signal = _make()
    for listener in load.listeners():
        signal.connect(listener)
    return load.candidate("psygnal", "signal.emit(EVENT)", role="peer", signal=signal)


def store() -> Store:
    """Registers on the signal of one object."""
    return Store(
        "psygnal",
        _make,
        add="store.connect(item)",
        remove="store.disconnect(item)",
        register=lambda store, listener: store.connect(listener),
        plan=lambda store: None,
        kind="synchronous",
        dispatch="store.emit(event)",
        keyed=False,
        # `disconnect` looks through all that are connected.
        most=10_000,
    )


def _make() -> Any:
    return import_module("psygnal").SignalInstance((object,))


PEER = Peer(
    name="psygnal",
    difference=(
        "A signal of one object in place of a name, compiled to C where its wheel is. It checks what a listener takes "
        "when it is connected, can be paused and blocked, and wraps each error; it has no stop, and its async "
        "listeners are not waited for, so that only plain functions are compared."
    ),
    dispatches={"sync": sync},
    store=store,
)
