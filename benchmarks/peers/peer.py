"""What a peer is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from benchmarks.cases import Absent, Candidate
from benchmarks.loads import Load
from benchmarks.stores import Store

__all__ = ("Peer",)

NOTHING_LIKE_IT = "has nothing like it"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library that dispatches."""

    #: The name of its distribution.
    name: str
    #: One sentence: what it promises more, less or otherwise. It stands under each table that the peer is in.
    difference: str
    #: The stages of dispatch it can take part in, and what builds its candidate there.
    dispatches: Mapping[str, Callable[[Load], Candidate]]
    #: Makes its store for the stages on registration; ``None`` if it has nothing like it.
    store: Callable[[], Store] | None = None
    #: What it imports as, where that is not its name. It is all that is needed of it here.
    module: str = ""
    backends: frozenset[str] = field(default=frozenset({"none", "asyncio", "uvloop", "trio"}))
    #: Whether it knows a name on the class of an event; else only events without one are asked of it.
    names_events: bool = False
    #: Whether it refuses a dispatch that nobody listens to.
    needs_listeners: bool = False

    @property
    def imported(self) -> str:
        """What it imports as."""
        return self.module or self.name

    def missing(self) -> str | None:
        """Says why the peer cannot be measured here at all, or ``None`` if it can."""
        return _missing(self.imported)

    def candidate(self, stage: str, load: Load) -> Candidate | Absent:
        """Builds the peer's candidate for a stage of dispatch, or says why there is none."""
        reason: str | None = None
        if stage not in self.dispatches:
            reason = NOTHING_LIKE_IT
        elif load.backend not in self.backends:
            reason = f"does not run on {load.backend}"
        elif load.size == 0 and self.needs_listeners:
            reason = "refuses a dispatch without listeners"
        reason = reason or self.missing()
        return Absent(self.name, reason) if reason else self.dispatches[stage](load)

    def stored(
        self, size: int, build: Callable[[Store], Candidate], *, keyed: bool = False, sync: bool = False
    ) -> Candidate | Absent:
        """Builds the peer's candidate for a stage on registration, or says why there is none.

        Args:
            size: How many listeners there will be.
            build: Makes the candidate from the peer's store.
            keyed: Whether each of them has a key of its own.
            sync: Whether they are plain functions, which are then dispatched to.
        """
        if self.store is None:
            return Absent(self.name, NOTHING_LIKE_IT)
        if missing := self.missing():
            return Absent(self.name, missing)
        store = self.store()
        if (keyed and not store.keyed) or (sync and not store.dispatch):
            return Absent(self.name, NOTHING_LIKE_IT)
        if size > store.most:
            return Absent(self.name, "takes too long to register so many")
        return build(store)

    @staticmethod
    def candidates(peers: Sequence[Peer], stage: str, load: Load) -> Iterator[Candidate | Absent]:
        """Yields what each of the peers has for a load; none for those to which the load is no other than its twin."""
        for peer in peers:
            if peer.names_events or not load.named:
                yield peer.candidate(stage, load)


@cache
def _missing(module: str) -> str | None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        return "not installed" if error.name == module.partition(".")[0] else f"cannot be imported: {error}"
    except Exception as error:  # whatever it is, the others are measured
        return f"cannot be imported: {type(error).__name__}: {error}"
    return None
