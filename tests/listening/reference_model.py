"""Who hears what, in the fewest words: nothing is cached, and nothing is shared with the dispatcher."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


def matches(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return matches(rest, name) or (bool(name) and matches(pattern, name[1:]))
    return bool(name) and first in ("*", name[0]) and matches(rest, name[1:])


def hears_pattern(pattern: str, name: Hashable) -> bool:
    if pattern == "*":
        return True
    return isinstance(name, str) and matches(pattern.split("."), name.split("."))


def hears(key: Hashable, name: Hashable, event_class: type[Any]) -> bool:
    """Tell whether a key hears events of a class under a name; the name is None for an event alone."""
    if isinstance(key, type):
        return issubclass(event_class, key)
    if isinstance(key, str) and "*" in key:
        return hears_pattern(key, name)
    return key == name
