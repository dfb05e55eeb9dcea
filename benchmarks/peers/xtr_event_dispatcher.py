"""xtr-event-dispatcher, in the manner of Symfony, as whistle is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.cases import Candidate
from benchmarks.events import NAME
from benchmarks.loads import Load
from benchmarks.peers.peer import Peer
from benchmarks.stores import Store

__all__ = ("PEER",)


def dispatch(load: Load) -> Candidate:
    """Dispatches under a name, though it would also take the event's class for it."""
    xtr = import_module("xtr_event_dispatcher")
    dispatcher = _make()
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    return load.candidate(
        "xtr-event-dispatcher",
        "await dispatcher.dispatch(EVENT, name)",
        event_base=xtr.Event,
        role="peer",
        dispatcher=dispatcher,
    )


def store() -> Store:
    """Registers on a dispatcher."""
    # `remove_listener` looks through the listeners of the event.
    return Store("xtr-event-dispatcher", _make, most=10_000)


def _make() -> Any:
    return import_module("xtr_event_dispatcher").EventDispatcher()


PEER = Peer(
    name="xtr-event-dispatcher",
    difference=(
        "In sequence only, the highest priority first. It also takes plain functions, builds listeners "
        "when they are first needed and skips those that were removed meanwhile; it keeps a mark of an earlier "
        "dispatch, and adds nothing to an error."
    ),
    dispatches={"dispatch": dispatch},
    store=store,
    module="xtr_event_dispatcher",
)
