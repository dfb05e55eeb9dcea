"""What a peer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from benchmarks.cases import Absent, Candidate
from benchmarks.loads import Load
from benchmarks.stores import Store

__all__ = ("Peer",)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library that dispatches."""

    #: The name of its distribution.
    name: str
    #: One sentence: what it promises more, less or otherwise.
    difference: str
    #: The stages of dispatch it can take part in, and what builds its candidate there.
    dispatches: Mapping[str, Callable[[Load], Candidate]]
    #: Makes its store for the stages on registration; ``None`` if it has nothing like it.
    store: Callable[[], Store] | None = None
    #: What it imports as, where that is not its name.
    module: str = ""
    backends: frozenset[str] = field(default=frozenset({"none", "asyncio", "uvloop", "trio"}))

    def missing(self) -> str | None:
        """Says why the peer cannot be measured here at all, or ``None`` if it can."""
        return None if find_spec(self.module or self.name) else "not installed"

    def candidate(self, stage: str, load: Load) -> Candidate | Absent:
        """Builds the peer's candidate for a stage of dispatch, or says why there is none."""
        if reason := self.missing():
            return Absent(self.name, reason)
        if load.backend not in self.backends:
            return Absent(self.name, f"does not run on {load.backend}")
        if stage not in self.dispatches:
            return Absent(self.name, "has nothing like it")
        return self.dispatches[stage](load)
