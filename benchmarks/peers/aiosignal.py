"""aiosignal, by which aiohttp tells of its starts and ends."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)


def dispatch(load: Load) -> Candidate:
    """Awaits one after another."""
    signal = _make()
    signal.extend(load.listeners())
    signal.freeze()
    return load.candidate("aiosignal", "await signal.send(EVENT)", role="peer", signal=signal)


def store() -> Store:
    """Registers in the list that it is."""
    return Store(
        "aiosignal",
        _make,
        add="store.append(item)",
        remove="store.remove(item)",
        register=lambda store, listener: (store.append(listener), listener)[1],
        plan=lambda store: None,
        keyed=False,
        # `remove` looks through the list.
        most=10_000,
    )


def _make() -> Any:
    return import_module("aiosignal").Signal(object())


PEER = Peer(
    name="aiosignal",
    difference=(
        "A list that is frozen before the first dispatch: no name to look up, no priorities, no stop, no change "
        "later on, nothing added to an error."
    ),
    dispatches={"dispatch": dispatch},
    store=store,
)
