"""Programs: what listeners and the code around them do, as plain data.

A program has some voices (what its listeners do when they are called) and a script (what the code around them does).
Both are tuples of steps. A program's ``repr`` is Python that makes it again.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeAlias

__all__ = (
    "Add",
    "Dispatch",
    "Fail",
    "How",
    "Pause",
    "Program",
    "Remove",
    "Step",
    "Steps",
    "Stop",
    "Together",
    "Unsubscribe",
    "Within",
)


class Brief:
    """Dataclasses whose repr leaves out what is as by default."""

    def arguments(self) -> list[tuple[str, Any]]:
        """The names and values of the fields that are not as by default."""
        mine = [(field, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        return [(field.name, value) for field, value in mine if field.default is MISSING or value != field.default]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments())})"


@dataclass(frozen=True, repr=False)
class How(Brief):
    """A strategy and its error policy.

    ``"tell"`` stands for a function that takes the error and returns, ``"tell and raise"`` for one that raises another.
    """

    strategy: Literal["sequential", "concurrent", "race"] = "sequential"
    errors: Literal["raise", "collect", "tell", "tell and raise"] = "raise"
    limit: int | None = None


@dataclass(frozen=True, repr=False)
class Pause(Brief):
    """Sleep for some seconds of virtual time; 0 is a bare checkpoint."""

    seconds: int = 0


@dataclass(frozen=True, repr=False)
class Stop(Brief):
    """Stop the propagation of the event, by the method or by setting the attribute."""

    by_attribute: bool = False


@dataclass(frozen=True, repr=False)
class Fail(Brief):
    """Raise an error."""


@dataclass(frozen=True, repr=False)
class Add(Brief):
    """Register a voice for a name, on one of two dispatchers."""

    voice: int
    name: str = "x"
    priority: int = 0
    once: bool = False
    dispatcher: int = 0


@dataclass(frozen=True, repr=False)
class Remove(Brief):
    """Remove all registrations of a voice under a name."""

    voice: int
    name: str = "x"
    dispatcher: int = 0


@dataclass(frozen=True, repr=False)
class Unsubscribe(Brief):
    """Use the handle of one registration; the number counts all registrations so far, from 0, and wraps around."""

    registration: int


@dataclass(frozen=True, repr=False)
class Dispatch(Brief):
    """Dispatch an event.

    Attributes:
        name: Under which name.
        how: With which strategy; None for the dispatcher's own.
        again: Whether a listener dispatches the very event that it was given, and the script the event it dispatched
            before. Where others could see it at the same time (in concurrent dispatches and in `Together`), a fresh
            event is dispatched instead.
        caught: Whether the code around catches an ``Exception`` that leaves.
        dispatcher: On which of the two.
    """

    name: str = "x"
    how: How | None = None
    again: bool = False
    caught: bool = False
    dispatcher: int = 0


@dataclass(frozen=True, repr=False)
class Together(Brief):
    """Take several steps at the same time, each in a task."""

    steps: Steps


@dataclass(frozen=True, repr=False)
class Within(Brief):
    """Take steps one after another, until they are cancelled after some seconds of virtual time."""

    seconds: int
    steps: Steps


Step: TypeAlias = Pause | Stop | Fail | Add | Remove | Unsubscribe | Dispatch | Together | Within
Steps: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, repr=False)
class Program(Brief):
    """What to perform.

    Attributes:
        voices: What each listener does when it is called.
        script: What the code around them does.
        default: The strategy of both dispatchers.
        event: Of which class events are: `Event` itself, a frozen dataclass that inherits from it, or a class of its own
            that looks like one.
    """

    voices: tuple[Steps, ...]
    script: Steps
    default: How = How()
    event: Literal["plain", "frozen", "duck"] = "plain"
