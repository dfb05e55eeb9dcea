"""The other libraries, one module each: what each can do here, and how its guarantees differ from ours."""

from __future__ import annotations

from benchmarks.peers import (
    aiosignal,
    blinker,
    django,
    litestar,
    pluggy,
    psygnal,
    pyee,
    whistle,
    xtr_event_dispatcher,
)
from benchmarks.peers.peer import Peer

__all__ = ("PEERS", "Peer")

PEERS: tuple[Peer, ...] = tuple(
    module.PEER
    for module in (
        whistle,
        xtr_event_dispatcher,
        aiosignal,
        blinker,
        pyee,
        django,
        psygnal,
        pluggy,
        litestar,
    )
)
