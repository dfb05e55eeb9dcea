"""Comparing what antiphon does with what the reference says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from tests.fuzz.loops import LoopName
from tests.fuzz.performing import Antiphon, Subject, Trace, perform
from tests.fuzz.programs import Again, Dispatch, Fail, Group, Guarded, Program, Within, walk
from tests.fuzz.reference import Reference

__all__ = ("EXPLAINED", "Difference", "check", "compare", "differing")

#: How many seeds of the reference's choices are tried before a trace counts as a difference.
SEEDS = 120


class Explained(NamedTuple):
    """A kind of difference that is legitimate; docs/random-tests.md explains each."""

    name: str
    matches: Callable[[Program, LoopName, Trace, Trace], bool]
    reason: str


def _anyio_takes_back(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    if loop == "trio" or not set(differing(got, nearest)) <= {"cancelling", "cancelling_after"}:
        return False
    lower = got.cancelling <= nearest.cancelling and got.cancelling_after <= nearest.cancelling_after
    return lower and any(
        isinstance(part, Group)
        and not part.native
        and any(isinstance(inner, (Group, Dispatch, Within)) for inner in walk(part.children))
        for part in walk(program)
    )


def _one_instant(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    if not set(differing(got, nearest)) <= {"listeners", "order", "dispatches"}:
        return False
    for name in {*got.listeners, *nearest.listeners}:
        in_both = name in got.listeners and name in nearest.listeners
        if not in_both and loop == "trio":
            # Trio starts tasks in a random order.
            continue
        # "/0.1" is a listener of the outermost dispatch; the path of an inner one has more slashes.
        if got.listeners.get(name) != nearest.listeners.get(name) if in_both else name.count("/") == 1:
            return False
    return True


def _python_repeats(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    if loop == "trio" or not any(isinstance(part, Group) and part.native for part in walk(program)):
        return False
    if sys.version_info >= (3, 13):
        return set(differing(got, nearest)) <= {"left", "around", "listeners", "received"}
    return loop == "eager" and any(
        isinstance(part, Group) and part.native and any(child and isinstance(child[0], Fail) for child in part.children)
        for part in walk(program)
    )


def _reference_does_not_end(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    return bool(nearest.broken) and not got.broken


def _in_doubt(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    parts = list(walk(program))
    if any(isinstance(part, Within) and part.kind == "old_timeout" for part in parts) and any(
        isinstance(part, Group) and part.native for part in parts
    ):
        return loop != "trio"
    return loop != "trio" and any(
        isinstance(part, Within)
        and part.kind == "old_timeout"
        and any(
            isinstance(inner, Guarded) and any(isinstance(step, Fail) for step in walk(inner.cleanup))
            for inner in walk(part.body)
        )
        for part in walk(program)
    )


def _wait_for_leaves_its_task(program: Program, loop: LoopName, got: Trace, nearest: Trace) -> bool:
    if sys.version_info >= (3, 12) or differing(got, nearest) != ("tasks",):
        return False
    return any(isinstance(part, Within) and part.kind == "wait_for" for part in walk(program))


#: The only place where differences are set aside.
EXPLAINED: tuple[Explained, ...] = (
    Explained(
        "anyio takes back too much",
        _anyio_takes_back,
        "a listener's own anyio group has scopes in its children, and anyio calls uncancel() of the wrong task",
    ),
    Explained(
        "one instant",
        _one_instant,
        "a listener that dispatches ends in the instant in which a listener of the inner dispatch would start",
    ),
    Explained(
        "the reference does not end",
        _reference_does_not_end,
        "a cancelled scope of anyio keeps the reference's loop busy, so that its virtual time does not pass",
    ),
    Explained(
        "in doubt",
        _in_doubt,
        "a listener cancels its own task, takes nothing back, and raises an error in the place of the cancellation",
    ),
    Explained(
        "wait_for leaves its task",
        _wait_for_leaves_its_task,
        "asyncio.wait_for of Python 3.11 is cancelled in a group of the listener, and its task ends a turn later",
    ),
    Explained(
        "Python repeats",
        _python_repeats,
        "a failed asyncio.TaskGroup cancels its task once more: Python 3.13 in a cancelled scope, 3.12 for an eager child",
    ),
)


@dataclass(frozen=True)
class Difference:
    """A trace that no choice of the reference gives."""

    program: Program
    loop: LoopName
    got: Trace
    #: The trace of the reference that comes next to it.
    expected: Trace
    kinds: tuple[str, ...]
    explained: str | None = None

    def __str__(self) -> str:
        lines = [
            f"  {name}: got {getattr(self.got, name)!r}, expected {getattr(self.expected, name)!r}"
            for name in self.kinds
        ]
        return "\n".join([f"{self.loop}: {', '.join(self.kinds)}", *lines])


def differing(got: Trace, expected: Trace) -> tuple[str, ...]:
    """Return the names of the fields in which two traces differ."""
    return tuple(field.name for field in fields(Trace) if getattr(got, field.name) != getattr(expected, field.name))


def compare(
    program: Program, loop: LoopName, subject: Callable[[], Subject] = Antiphon, *, seeds: int = SEEDS
) -> tuple[Trace, Difference | None]:
    """Run a program through a subject and the reference.

    Returns:
        The subject's trace, and the difference if no choice of the reference gives the same trace.
    """
    got = perform(program, loop, subject())
    if any(isinstance(part, Again) for part in walk(program)):
        # How deep it gets is not specified. It has to end.
        expected = replace(got, broken="")
        found = differing(got, expected)
        return got, Difference(program, loop, got, expected, found) if found else None
    nearest: Trace | None = None
    kinds: tuple[str, ...] = ()
    for seed in range(seeds):
        reference = Reference(seed)
        expected = perform(program, loop, reference)
        found = differing(got, expected)
        if not found:
            return got, None
        if nearest is None or len(found) < len(kinds):
            nearest, kinds = expected, found
        if not reference.choices.used and loop != "trio":
            break
    assert nearest is not None
    explained = next((known.name for known in EXPLAINED if known.matches(program, loop, got, nearest)), None)
    return got, Difference(program, loop, got, nearest, kinds, explained)


def check(program: Program, loop: LoopName) -> None:
    """Assert that antiphon does what the reference says.

    Raises:
        AssertionError: If it does something else.
    """
    _, difference = compare(program, loop)
    assert difference is None or difference.explained, f"\n{difference}"
