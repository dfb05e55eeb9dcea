"""Programs of listeners, as plain immutable data.

The ``repr`` of a program is Python code that creates an equal program. Times are whole seconds of virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tests.properties.scenarios import Brief

__all__ = (
    "Again",
    "Cancel",
    "Dispatch",
    "Fail",
    "Group",
    "Guarded",
    "Leak",
    "Program",
    "Sleep",
    "Step",
    "Steps",
    "Stop",
    "Within",
    "is_native",
    "walk",
)

Steps: TypeAlias = "tuple[Step, ...]"


@dataclass(frozen=True, repr=False)
class Sleep(Brief):
    """Sleep; 0 seconds are a checkpoint."""

    seconds: int = 0


@dataclass(frozen=True, repr=False)
class Fail(Brief):
    """Raise a ValueError."""

    text: str = "declined"


@dataclass(frozen=True, repr=False)
class Stop(Brief):
    """Stop the propagation of the event of the enclosing dispatch."""


@dataclass(frozen=True, repr=False)
class Leak(Brief):
    """Await a future that another party has cancelled (asyncio only)."""


@dataclass(frozen=True, repr=False)
class Within(Brief):
    """Run steps within a scope or a timeout.

    ``"old_timeout"`` cancels its own task by a timer, catches that cancellation and never takes it back.
    A ``TimeoutError`` is caught if ``handled``.
    """

    kind: Literal["move_on_after", "fail_after", "shield", "timeout", "wait_for", "old_timeout"]
    body: Steps = ()
    seconds: int = 0
    handled: bool = False


@dataclass(frozen=True, repr=False)
class Group(Brief):
    """Run children in a task group of anyio, or of asyncio if ``native``; ``handled`` adds an ``except* Exception``."""

    children: tuple[Steps, ...] = ()
    body: Steps = ()
    native: bool = False
    handled: bool = False


@dataclass(frozen=True, repr=False)
class Guarded(Brief):
    """Run steps with a clean-up: in ``finally``, in ``except`` for a cancellation, or in ``except Exception``."""

    body: Steps = ()
    cleanup: Steps = ()
    kind: Literal["finally", "swallow", "handle"] = "finally"


@dataclass(frozen=True, repr=False)
class Dispatch(Brief):
    """Dispatch a fresh event to listeners in tiers.

    ``"record"`` is a function that records the error; ``"record_and_raise"`` then raises an OSError.
    """

    tiers: tuple[tuple[Steps, ...], ...] = ()
    strategy: Literal["sequential", "concurrent", "race"] = "sequential"
    errors: Literal["raise", "collect", "record", "record_and_raise"] = "raise"
    limit: int | None = None
    handled: bool = False

    def by_loop(self) -> bool:
        """Return whether the dispatch is the plain loop over the listeners."""
        return self.strategy == "sequential" and self.errors == "raise"


@dataclass(frozen=True, repr=False)
class Again(Brief):
    """Repeat the enclosing dispatch with a fresh event: a dispatch without an end."""


@dataclass(frozen=True, repr=False)
class Cancel(Brief):
    """Cancel the task of the dispatch, or the scope around it, at an instant."""

    at: int
    what: Literal["task", "scope"] = "task"


@dataclass(frozen=True, repr=False)
class Program(Brief):
    """A dispatch, what is around it, and when its caller is cancelled."""

    dispatch: Dispatch
    around: Literal["nothing", "move_on_after", "fail_after", "timeout", "wait_for"] = "nothing"
    seconds: int = 0
    cancels: tuple[Cancel, ...] = ()
    #: Whether the task has been cancelled before, has caught it and has not taken it back.
    survived: bool = False


Step: TypeAlias = Sleep | Fail | Stop | Leak | Within | Group | Guarded | Dispatch | Again


def walk(value: Any) -> Iterator[Any]:
    """Yield each part of a program, outermost first."""
    if isinstance(value, tuple):
        for member in value:
            yield from walk(member)
    elif isinstance(value, Brief):
        yield value
        for _, argument in value.arguments():
            yield from walk(argument)


def is_native(program: Program) -> bool:
    """Return whether a program needs asyncio."""
    return (
        program.around in ("timeout", "wait_for")
        or program.survived
        or any(
            isinstance(part, Leak)
            or (isinstance(part, Cancel) and part.what == "task")
            or (isinstance(part, Group) and part.native)
            or (isinstance(part, Within) and part.kind in ("timeout", "wait_for", "old_timeout"))
            for part in walk(program)
        )
    )
