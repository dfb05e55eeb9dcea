"""Keys of listeners, and the dispatches that each kind of key matches.

============================  ========================================================================
key                           matches
============================  ========================================================================
a string                      events with exactly this name
a string with ``*`` segments  events with a name of this pattern: ``*`` matches one segment between dots,
                              ``**`` matches any number of segments
``"*"``                       all events, also those without a name
a class                       events of this class and its subclasses, with any name
any other hashable            events whose name equals this object
============================  ========================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import chain
from types import FunctionType, NoneType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, cast, get_args, get_origin

from antiphon._types import EventName
from antiphon._util.naming import describe_value, format_key, safe_repr

__all__ = (
    "EVERY_KEY",
    "AnyOf",
    "Matcher",
    "check_dispatch_name",
    "check_key",
    "check_name",
    "combine_keys",
    "event_name",
    "get_affected_names",
    "get_matcher",
    "is_pattern",
    "is_value",
    "key_matches",
    "select_for_key",
    "split_key",
)

E = TypeVar("E")

#: Returns whether a key matches events of a class that are dispatched under a name.
Matcher: TypeAlias = Callable[[Hashable, type[Any]], bool]


class AnyOf:
    """Several keys of one listener, which receives an event that several of them match once.

    The registry does not know it: `split_key` returns the keys that are registered.
    """

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[Hashable, ...]) -> None:
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyOf) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash((AnyOf, self.keys))

    def __repr__(self) -> str:
        return " | ".join(safe_repr(key) for key in self.keys)


def split_key(key: Any) -> tuple[Hashable, ...]:
    """Return the keys that a union, or an `AnyOf`, combines. Any other key is returned alone."""
    if isinstance(key, AnyOf):
        return key.keys
    # `typing.Union[A, B]` and `A | B` differ in type before Python 3.14.
    if get_origin(key) in (Union, UnionType):
        return tuple(chain.from_iterable(map(split_key, get_args(key))))
    return (key,)


#: The default of ``clear``. None is not a key, and a variable that is None by mistake must not remove everything.
EVERY_KEY: Final[Any] = object()


def select_for_key(by_key: Mapping[Hashable, Sequence[E]], key: Any) -> list[E]:
    """Return the values under a checked key, or all of them for `EVERY_KEY`."""
    keys = by_key if key is EVERY_KEY else split_key(key)
    return [value for part in keys for value in by_key.get(part, ())]


#: The option that a number after the keys probably is, by the method and the type of the number. Without an option, it
#: is the time to wait.
_LISTENER_OPTIONS: Final[dict[type[Any], str]] = {bool: "once", int: "priority", float: "timeout"}
_OPTION_BY_POSITION: Final[dict[str, dict[type[Any], str]]] = {
    "listen": _LISTENER_OPTIONS,
    "listens_to": _LISTENER_OPTIONS,
    "stream": {bool: "max_buffer_size", int: "max_buffer_size", float: "max_buffer_size"},
    "expect": {},
}


def combine_keys(keys: tuple[Any, ...], method: str) -> Hashable:
    """Return checked keys as one: the key itself, or an `AnyOf`.

    Args:
        keys: The keys, which may be unions.
        method: The name of the method that takes them, for the message.

    Raises:
        TypeError: If there is no key, if the last of several keys is probably an option, or as for `check_key`.
        ValueError: As for `check_key`.
    """
    if len(keys) == 1 and isinstance(keys[0], str):
        # Most calls have one name.
        check_key(keys[0])
        return keys[0]
    if not keys:
        raise TypeError(f'{method}() takes the keys to listen to, but got none; use "*" to match every event')
    _check_no_options(keys, method)
    parts = tuple(chain.from_iterable(map(split_key, keys)))
    for part in parts:
        check_key(part)
    parts = tuple(dict.fromkeys(parts))
    return parts[0] if len(parts) == 1 else AnyOf(parts)


def _check_no_options(keys: tuple[Any, ...], method: str) -> None:
    # In whistle, the second argument of `listen` is the priority.
    *others, last = keys
    if not others or method not in _OPTION_BY_POSITION:
        return
    shown = format_key(last)
    written = f"{method}({', '.join(map(format_key, others))}"
    if method == "listen" and isinstance(last, FunctionType):
        raise TypeError(
            f"listen() takes keys, and decorates the listener; got {shown} by position: write "
            f"add_listener({format_key(others[0])}, {last.__name__}), or {written}) above it"
        )
    if method == "expect" and isinstance(last, FunctionType):
        raise TypeError(f"{method}() takes options by keyword; got {shown} by position: write {written}, where=...)")
    if type(last) not in _LISTENER_OPTIONS or any(type(key) in _LISTENER_OPTIONS for key in others):
        return
    if type(last) is int and len(others) > 1 and not all(isinstance(key, str) for key in others):
        # Keys of several kinds: the number is a name.
        return
    option = _OPTION_BY_POSITION[method].get(last.__class__)
    fix = f"to limit the time, write it in a block of `with anyio.fail_after({shown}):`"
    if option is not None:
        fix = f"write {written}, {option}={shown})"
    raise TypeError(
        f"{method}() takes options by keyword; got {shown} by position: {fix}. To listen to the name {shown}, pass it "
        f"as the first key"
    )


def event_name(name: str, event_class: type[E], /) -> EventName[E]:
    """Return a name that belongs to a class of events, for type checkers.

    They report listeners and events of another class under the name. At run time the result is a plain string, and
    nothing checks the class: an event of another class can still be dispatched under the name.

    Args:
        name: The name, not a pattern.
        event_class: The class of the events that are dispatched under the name.

    Returns:
        The name, as an interned ``str``.

    Raises:
        TypeError: If the name is not a string, or if ``event_class`` is not a class.
        ValueError: If the name is a pattern.
    """
    if not isinstance(name, str):
        fix = ": the name comes first, then the class" if isinstance(name, type) else ""
        raise TypeError(f'event_name() takes a string, such as "order.placed"; got {describe_value(name)}{fix}')
    if "*" in name:
        raise ValueError(
            f"event_name() takes the name of a dispatch; got the pattern {name!r}: pass a pattern to listen() itself, "
            f"or listen to {format_key(event_class)}"
        )
    if not isinstance(event_class, type):
        raise TypeError(
            f'event_name() takes the class of the events, as in event_name("order.placed", OrderPlaced); got '
            f"{describe_value(event_class)}"
        )
    # A member of a StrEnum is a string as well: take its value.
    return cast("EventName[E]", sys.intern(str.__str__(name)))


def check_key(key: object) -> None:
    """Check that a key can match events.

    Raises:
        TypeError: If the key is None, unhashable, a union, a class that does not support `issubclass`, or an object
            that cannot match an event, such as a generic alias, a function, an event, or a tuple of names.
        ValueError: If the key is a string with a ``*`` that is only a part of a segment.
    """
    if isinstance(key, str):
        if "*" in key:
            _check_pattern(key)
        return
    check_name(key)
    if isinstance(key, type) and key is not Any and key is not NoneType:
        try:
            issubclass(object, key)
        except TypeError:
            is_typed_dict = hasattr(key, "__total__")
            fix = (
                "its objects are plain dicts, so listen to a name"
                if is_typed_dict
                else "decorate a protocol with @runtime_checkable, and define only methods in it"
            )
            raise TypeError(
                f"a class as a key must support issubclass(); got {key.__name__}, which does not: {fix}"
            ) from None
        return
    if split_key(key) != (key,):
        raise TypeError(f"a union is several keys, which are registered one by one; got {safe_repr(key)}")
    # Imported here, because the keys of most programs are names and classes.
    from antiphon._registry.refused_keys import explain_refused_key

    refusal = explain_refused_key(key)
    if refusal is not None:
        kind, fix = refusal
        raise TypeError(
            f'a key must be a name such as "order.placed", a pattern or a class of events; got {safe_repr(key)}, '
            f"{kind}: {fix}"
        )


def check_dispatch_name(name: object) -> None:
    """Check that events can be dispatched under a name, and that listeners can listen to it.

    Raises:
        TypeError: If the name is unhashable, a pattern, or another object that cannot be a key.
    """
    if isinstance(name, str):
        if "*" in name and is_pattern(name):
            raise TypeError(
                f'a dispatch takes one name, such as "order.placed"; got the pattern {name!r}: patterns are for '
                f"listeners, so dispatch the event under each name"
            )
        return
    check_name(name)
    if isinstance(name, type):
        return
    # As in `check_key`.
    from antiphon._registry.refused_keys import explain_refused_key

    refusal = ("a union", "") if split_key(name) != (name,) else explain_refused_key(name)
    if refusal is not None:
        raise TypeError(
            f'a dispatch takes a name, such as "order.placed"; got {safe_repr(name)}, {refusal[0]}: pass a name and '
            f"the event, or the event alone"
        )


def check_name(name: object) -> None:
    """Check that events can be dispatched under a name.

    Raises:
        TypeError: If the name is None or unhashable.
    """
    if name is None:
        raise TypeError('a key must be a name such as "order.placed", a class or another object; None is not a key')
    try:
        hash(name)
    except TypeError:
        raise TypeError(
            f'a name or a key must be hashable, such as "order.placed"; got {describe_value(name)}'
            f"{_suggest_several(name)}"
        ) from None


def _suggest_several(name: Any) -> str:
    if not isinstance(name, (list, set)):
        return ""
    return f": pass each key on its own, as in listen({', '.join(map(format_key, cast('list[Any]', name)))})"


def get_matcher(key: Hashable) -> Matcher | None:
    """Return the matcher of a key, None for a key that matches only its own name."""
    if isinstance(key, str):
        return _make_pattern_matcher(key) if "*" in key else None
    if isinstance(key, type):
        return lambda _name, cls: issubclass(cls, key)
    return None


def is_value(key: Hashable) -> bool:
    """Return whether a key is neither a string nor a class, so that an equal object could be dispatched as an event."""
    return not isinstance(key, (str, Enum, type))


def key_matches(key: Hashable, name: Hashable, cls: type[Any]) -> bool:
    """Return whether a key matches events of a class that are dispatched under a name."""
    matches = get_matcher(key)
    return bool(name == key) if matches is None else matches(name, cls)


def get_affected_names(
    key: Hashable, matches: Matcher, find_names: Callable[[Matcher], list[Hashable]]
) -> Iterable[Hashable] | None:
    """Return the names whose plans a change of a key with a matcher affects, None if they cannot be listed.

    Args:
        key: The key.
        matches: The matcher of the key.
        find_names: Returns the names with plans that a pattern matches.
    """
    if isinstance(key, str) and key != "*":
        # Making the plans of all names again would take several times longer than comparing them with a pattern.
        return find_names(matches)
    return None


def is_pattern(text: str) -> bool:
    """Return whether a string with a ``*`` is a pattern."""
    return _find_wrong_segment(text) is None


def _check_pattern(pattern: str) -> None:
    segment = _find_wrong_segment(pattern)
    if segment is not None:
        raise ValueError(
            f"in a pattern a * stands for a whole segment between dots, and ** for any number of segments; "
            f"got {pattern!r}; replace its segment {segment!r}"
        )


def _find_wrong_segment(pattern: str) -> str | None:
    return next((part for part in pattern.split(".") if "*" in part and part not in ("*", "**")), None)


def _make_pattern_matcher(pattern: str) -> Matcher:
    if pattern == "*":
        return lambda _name, _cls: True
    pattern_segments = pattern.split(".")
    # Only a ** before other segments needs all segments of a name, which may have a million of them.
    most = sys.maxsize if "**" in pattern_segments[:-1] else len(pattern_segments)
    return lambda name, _cls: isinstance(name, str) and _pattern_matches(pattern_segments, name.split(".", most))


def _pattern_matches(pattern_segments: list[str], name_segments: Iterable[str]) -> bool:
    # The positions in the pattern that are reachable after the name segments so far.
    positions = _skip_double_stars(pattern_segments, {0})
    for segment in name_segments:
        if not positions:
            return False
        advanced = {
            position if pattern_segments[position] == "**" else position + 1
            for position in positions
            if position < len(pattern_segments) and pattern_segments[position] in (segment, "*", "**")
        }
        positions = _skip_double_stars(pattern_segments, advanced)
    return len(pattern_segments) in positions


def _skip_double_stars(pattern_segments: list[str], positions: set[int]) -> set[int]:
    # A ** also matches no segment at all.
    reachable = set(positions)
    for position in positions:
        following = position
        while following < len(pattern_segments) and pattern_segments[following] == "**":
            following += 1
            reachable.add(following)
    return reachable
