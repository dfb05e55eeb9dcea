"""A load: which event goes to which listeners. Candidates are built from it, so that all of them do the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Candidate, Role
from benchmarks.events import NAME, event_class
from benchmarks.listeners import ARGUMENTS, listeners
from benchmarks.timing import timed

__all__ = ("Load",)


@dataclass(frozen=True, slots=True)
class Load:
    """What one repetition of a dispatch has to do."""

    #: How many listeners there are.
    size: int
    #: How they behave: one of ``benchmarks.listeners.KINDS`` or ``MIXED``.
    kind: str
    backend: str = "none"
    #: Whether the caller makes a new event each time, or gives the same one again.
    made: bool = False
    #: Whether the event's class has a ``name``.
    named: bool = False

    @property
    def workload(self) -> str:
        """What the rows of the table call this load."""
        return f"event {'made' if self.made else 'given'}{', class-level name' if self.named else ''}"

    def listeners(self, arguments: str = ARGUMENTS) -> tuple[Callable[[Any], Any], ...]:
        """Makes new listeners.

        Args:
            arguments: What they take, where a library calls them otherwise than with the event.
        """
        return listeners(self.kind, self.size, backend=self.backend, arguments=arguments)

    def bound(self, event_base: type = object) -> dict[str, object]:
        """Gives the values of what `written` may use: the event's class, an event, and the name.

        Args:
            event_base: The class that events derive from.
        """
        order_placed = event_class(event_base, named=self.named)
        return {"OrderPlaced": order_placed, "event": order_placed(1, 2), "name": NAME}

    def written(self, statement: str) -> str:
        """Puts the event into a statement, in place of ``EVENT``: the one that is given, or the call that makes one."""
        return statement.replace("EVENT", "OrderPlaced(1, 2)" if self.made else "event")

    def candidate(
        self, name: str, statement: str, *, event_base: type = object, role: Role = "limit", **names: object
    ) -> Candidate:
        """Makes a candidate that dispatches by a statement.

        Args:
            name: What the table calls it.
            statement: What dispatches ``EVENT`` under ``name``; the former stands for the event that is given, or for
                the call that makes one.
            event_base: The class that events derive from.
            role: What the candidate is in the comparison.
            **names: The values of what else the statement uses.
        """
        return Candidate(name, timed(self.written(statement), {**self.bound(event_base), **names}), role)
