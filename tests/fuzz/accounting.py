"""What the programs of queues, streams, expectations and scopes have in common: their events, errors and faults."""

from __future__ import annotations

import random

from antiphon import Event

__all__ = (
    "Declined",
    "FaultError",
    "InventedError",
    "LostError",
    "Placed",
    "TaskLeftError",
    "choose_pause",
    "is_subsequence",
    "require",
)


class FaultError(AssertionError):
    """A program did not do what it must."""


class LostError(FaultError):
    """An event, a listener or a cancellation is missing."""


class InventedError(FaultError):
    """An event or a listener came that must not, or came twice."""


class TaskLeftError(FaultError):
    """A task still runs after the end of the program."""


class Placed(Event):
    """An event with a number that no other event of its program has."""

    def __init__(self, number: int) -> None:
        self.number = number


class Declined(Exception):
    """The error of a listener, a predicate or an error function."""


def choose_pause(chance: random.Random, longest: int = 2) -> float:
    """Choose a duration. Whole seconds make things happen at one instant."""
    return chance.choice((0, chance.randint(0, longest), chance.uniform(0, longest)))


def require(condition: bool, kind: type[FaultError], message: str) -> None:
    """Raise a fault unless a condition is true."""
    if not condition:
        raise kind(message)


def is_subsequence(some: list[int], of: list[int]) -> bool:
    """Return whether all numbers of the first list are in the second one, in the same order."""
    rest = iter(of)
    return all(number in rest for number in some)
