"""whistle, which antiphon succeeds."""

from __future__ import annotations

from importlib import import_module

from benchmarks.cases import Candidate
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)


def dispatch(load: Load) -> Candidate:
    """Dispatches with ``adispatch``."""
    return _candidate(load, "AsyncEventDispatcher", "await dispatcher.adispatch(name, EVENT)")


def sync(load: Load) -> Candidate:
    """Dispatches with ``dispatch``."""
    return _candidate(load, "EventDispatcher", "dispatcher.dispatch(name, EVENT)")


def store() -> Store:
    """Registers on an async dispatcher."""
    whistle = import_module("whistle")
    return Store(
        "whistle",
        whistle.AsyncEventDispatcher,
        dispatch="store.dispatch(name, event)",
        make_sync=whistle.EventDispatcher,
        event_base=whistle.Event,
    )


def _candidate(load: Load, dispatcher_class: str, statement: str) -> Candidate:
    whistle = import_module("whistle")
    dispatcher = getattr(whistle, dispatcher_class)()
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return load.candidate("whistle", statement, event_base=whistle.Event, role="peer", dispatcher=dispatcher)


PEER = Peer(
    name="whistle",
    difference=(
        "In sequence only. It keeps a mark of an earlier dispatch, forgets the outer dispatch in a nested one, still "
        "runs listeners that were removed during the dispatch, and adds nothing to an error."
    ),
    dispatches={"dispatch": dispatch, "sync": sync},
    store=store,
    names_events=True,
)
