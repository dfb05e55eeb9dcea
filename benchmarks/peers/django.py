"""Django's signals."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)

#: How it calls its listeners: all by name.
ARGUMENTS = "sender, event, **named"


def concurrent(load: Load) -> Candidate:
    """Dispatches with ``asend``, which starts async listeners together."""
    return _candidate(load, "await signal.asend(None, event=EVENT)")


def sync(load: Load) -> Candidate:
    """Dispatches with ``send``."""
    return _candidate(load, "signal.send(None, event=EVENT)")


def store() -> Store:
    """Registers on a signal."""
    return Store(
        "Django",
        _make,
        add="store.connect(item)",
        remove="store.disconnect(item)",
        register=lambda store, listener: (store.connect(listener), listener)[1],
        plan=lambda store: None,
        dispatch="store.send(None, event=event)",
        arguments=ARGUMENTS,
        keyed=False,
        # `connect` looks through all that are connected.
        most=1_000,
    )


def _make() -> Any:
    return import_module("django.dispatch").Signal()


def _candidate(load: Load, statement: str) -> Candidate:
    signal = _make()
    # It holds listeners weakly, so something else has to hold them.
    kept = load.listeners(ARGUMENTS)
    for listener in kept:
        signal.connect(listener)
    return load.candidate("Django", statement, role="peer", signal=signal, kept=kept)


PEER = Peer(
    name="Django",
    difference=(
        "A signal object in place of a name, and listeners that take keywords. It holds listeners weakly, returns "
        "what each of them returned, and can hear one sender alone; it has no priorities and no stop, adds nothing to "
        "an error, and its async listeners always run together, on asyncio alone, in one context that they share."
    ),
    dispatches={"sync": sync, "concurrent": concurrent},
    store=store,
    module="django.dispatch",
    backends=frozenset({"none", "asyncio", "uvloop"}),
)
