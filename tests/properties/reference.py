"""The naive reference: who receives what, and in which order, in the fewest words.

Nothing is cached, and nothing is shared with the dispatcher.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol, TypeVar

__all__ = ("key_matches", "pattern_matches", "sort_listeners", "split_into_tiers")


class Ordered(Protocol):
    """What has a priority, and a number that counts the registrations."""

    @property
    def number(self) -> int: ...
    @property
    def priority(self) -> int: ...


Listeners = TypeVar("Listeners", bound=Ordered)


def _segments_match(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return _segments_match(rest, name) or (bool(name) and _segments_match(pattern, name[1:]))
    return bool(name) and first in ("*", name[0]) and _segments_match(rest, name[1:])


def pattern_matches(pattern: str, name: Hashable) -> bool:
    """Return whether a pattern matches a name; ``"*"`` alone matches anything."""
    if pattern == "*":
        return True
    return isinstance(name, str) and _segments_match(pattern.split("."), name.split("."))


def key_matches(key: Hashable, name: Hashable, event_class: type[Any]) -> bool:
    """Return whether a key matches events of a class under a name; the name is None for an event alone."""
    if isinstance(key, type):
        return issubclass(event_class, key)
    if isinstance(key, str) and "*" in key:
        return pattern_matches(key, name)
    return key == name


def sort_listeners(listeners: list[Listeners]) -> list[Listeners]:
    """Sort by priority, lower ones first, and equal ones in the order of registration."""
    return sorted(listeners, key=lambda each: (each.priority, each.number))


def split_into_tiers(listeners: list[Listeners]) -> list[list[Listeners]]:
    """Return the listeners of each priority, the lowest first."""
    priorities = sorted({each.priority for each in listeners})
    return [[each for each in sort_listeners(listeners) if each.priority == priority] for priority in priorities]
