"""Keys: what one listens to, and which dispatches each kind of key matches.

============================  ========================================================================
key                           matches
============================  ========================================================================
a string                      events dispatched under that very name
a string with ``*`` segments  names of that pattern: ``*`` one segment between dots, ``**`` any number
``"*"``                       every event, also one without a name
a class                       events of that class and its subclasses, under whatever name
any other hashable            events dispatched under that very object
============================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias

from antiphon._util.naming import safe_repr

__all__ = ("AnyOf", "Matcher", "check_key", "check_name", "get_exact_names", "get_matcher", "key_matches")

#: Tells whether a key matches events of a class that are dispatched under a name.
Matcher: TypeAlias = Callable[[Hashable, type[Any]], bool]


class AnyOf:
    """Several keys as one, so that an event which more than one of them matches is heard once.

    It equals nothing but itself: a tuple of the same keys is a name like any other.
    """

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[Hashable, ...]) -> None:
        self.keys = keys

    def __repr__(self) -> str:
        return " | ".join(safe_repr(key) for key in self.keys)


def check_key(key: object) -> None:
    """Refuse what cannot be listened to.

    Raises:
        TypeError: The key is None or unhashable, or a class that cannot tell its subclasses.
        ValueError: The key is a string in which a ``*`` is only a part of a segment.
    """
    if isinstance(key, str):
        if "*" in key:
            _check_pattern(key)
        return
    check_name(key)
    if isinstance(key, type):
        try:
            issubclass(object, key)
        except TypeError:
            raise TypeError(
                f"a class as a key matches events of its subclasses, but {key.__name__} cannot tell which: a protocol "
                f"needs @runtime_checkable, and methods only"
            ) from None
    if isinstance(key, AnyOf):
        for one in key.keys:
            check_key(one)


def check_name(name: object) -> None:
    """Refuse what nothing can be dispatched under.

    Raises:
        TypeError: The name is None or unhashable.
    """
    if name is None:
        raise TypeError('a key is what one listens to, such as the name "order.placed"; None is not a key')
    try:
        hash(name)
    except TypeError:
        raise TypeError(
            f'a key must be hashable, such as the name "order.placed"; got {safe_repr(name)} ({type(name).__name__})'
        ) from None


def get_matcher(key: Hashable) -> Matcher | None:
    """Give what tells whether a key matches a dispatch; None for a key that matches just its own name."""
    if isinstance(key, str):
        return _pattern_matcher(key) if "*" in key else None
    if isinstance(key, type):
        return lambda _name, cls: issubclass(cls, key)
    if isinstance(key, AnyOf):
        matchers = [_get_matcher_or_equality(one) for one in key.keys]
        return lambda name, cls: any(matches(name, cls) for matches in matchers)
    return None


def key_matches(key: Hashable, name: Hashable, cls: type[Any]) -> bool:
    """Tell whether a key matches events of a class that are dispatched under a name."""
    return _get_matcher_or_equality(key)(name, cls)


def get_exact_names(key: Hashable) -> tuple[Hashable, ...] | None:
    """Give the only names that a key can hear; None if they cannot be listed."""
    if isinstance(key, AnyOf):
        return None if any(get_matcher(one) is not None for one in key.keys) else key.keys
    return (key,) if get_matcher(key) is None else None


def _get_matcher_or_equality(key: Hashable) -> Matcher:
    return get_matcher(key) or (lambda name, _cls: bool(name == key))


def _check_pattern(pattern: str) -> None:
    for segment in pattern.split("."):
        if "*" in segment and segment not in ("*", "**"):
            raise ValueError(
                f"in a pattern a * stands for a whole segment between dots, and ** for any number of them; "
                f"got {pattern!r}, whose segment {segment!r} has more than that"
            )


def _pattern_matcher(pattern: str) -> Matcher:
    if pattern == "*":
        return lambda _name, _cls: True
    wanted = pattern.split(".")
    return lambda name, _cls: isinstance(name, str) and _pattern_matches(wanted, name.split("."))


def _pattern_matches(wanted: list[str], segments: Iterable[str]) -> bool:
    # The positions in the pattern that the segments so far can have led to.
    positions = _skip_double_stars(wanted, {0})
    for segment in segments:
        advanced = {
            place if wanted[place] == "**" else place + 1
            for place in positions
            if place < len(wanted) and wanted[place] in (segment, "*", "**")
        }
        positions = _skip_double_stars(wanted, advanced)
    return len(wanted) in positions


def _skip_double_stars(wanted: list[str], positions: set[int]) -> set[int]:
    reachable = set(positions)
    for place in sorted(positions):
        following = place
        while following < len(wanted) and wanted[following] == "**":
            following += 1
            reachable.add(following)
    return reachable
