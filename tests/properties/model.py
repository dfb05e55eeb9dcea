"""What the choir should do, as a reader would work it out on paper.

A choir is a list of singers in the order of their registration. Nothing here is shared with the dispatcher.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("Singer", "in_order", "performed_sequentially", "performed_together", "tiers_of")


class Singer(NamedTuple):
    """A listener: when it runs, how long, and whether it stops the event (at the start, before it pauses)."""

    number: int
    priority: int
    pauses: int = 0
    stops: bool = False


def in_order(choir: list[Singer]) -> list[Singer]:
    """Lower priorities first, equal ones in the order of registration."""
    return sorted(choir, key=lambda singer: (singer.priority, singer.number))


def tiers_of(choir: list[Singer]) -> list[list[Singer]]:
    """The singers of each priority, the lowest first."""
    priorities = sorted({singer.priority for singer in choir})
    return [[singer for singer in choir if singer.priority == priority] for priority in priorities]


def performed_sequentially(choir: list[Singer]) -> list[Singer]:
    """All in order, up to and with the first that stops the event."""
    performed = []
    for singer in in_order(choir):
        performed.append(singer)
        if singer.stops:
            break
    return performed


def performed_together(choir: list[Singer]) -> list[list[Singer]]:
    """All tiers in order, up to and with the first in which anybody stops the event."""
    performed = []
    for tier in tiers_of(choir):
        performed.append(tier)
        if any(singer.stops for singer in tier):
            break
    return performed
