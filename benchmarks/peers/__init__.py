"""The other libraries, one module each: what each can do here, and how its guarantees differ from ours."""

from __future__ import annotations

from benchmarks.peers import whistle
from benchmarks.peers.peer import Peer

__all__ = ("PEERS", "Peer")

PEERS: tuple[Peer, ...] = (whistle.PEER,)
