"""The names that a dispatcher was told of with ``names=``. It refuses all others, so that a typo is found.

Loaded on first use: most programs do not declare their names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._events.event import Event
from antiphon._registry.keys import check_dispatch_name, check_key, is_pattern, key_matches
from antiphon._util.naming import describe_value, format_key

__all__ = ("DeclaredNames",)

_MAX_LISTED = 5


class DeclaredNames:
    """The names that listeners can listen to, and under which events can be dispatched.

    Args:
        source: A module, an ``Enum`` class, an event class with a class-level name, a name, or several of them.

    Raises:
        TypeError: If the source is or contains anything else.
        ValueError: If a module or an ``Enum`` class contributes no name.
    """

    def __init__(self, source: Any) -> None:
        #: The names in their order. A dict, because a set has no order.
        self.names: dict[Hashable, None] = {}
        for part in _split_source(source):
            self.names.update(dict.fromkeys(_get_names(part)))

    def check_name(self, name: Hashable) -> None:
        """Check that the name of a dispatch is declared. None, for an event without a name, needs no declaration.

        Raises:
            ValueError: If the name is not declared.
        """
        if name is not None and name not in self.names:
            raise ValueError(f"{format_key(name)} is not a name that names= declares{self._suggest(name)}")

    def check_key(self, key: Hashable) -> None:
        """Check that a key can match an event with a declared name.

        Raises:
            ValueError: If the key is a name that is not declared, or a pattern that matches no declared name.
        """
        if isinstance(key, type):
            return
        if not (isinstance(key, str) and "*" in key):
            self.check_name(key)
        elif key != "*" and not any(key_matches(key, name, Event) for name in self.names):
            raise ValueError(f"the pattern {format_key(key)} matches no name that names= declares{self._suggest(key)}")

    def _suggest(self, unknown: Hashable) -> str:
        # Imported here, because a program without typos does not need it.
        from difflib import get_close_matches

        text = _get_text(unknown)
        candidates = {
            candidate: name if candidate == _get_text(name) or _is_member_name(candidate, name) else candidate
            for name in self.names
            for candidate in _get_candidates(name, text)
        }
        close = get_close_matches(text, candidates, n=1)
        if close:
            return f": did you mean {format_key(candidates[close[0]])}?"
        listed = ", ".join(format_key(name) for name in list(self.names)[:_MAX_LISTED]) or "no names"
        return f": it declares {listed}{', …' if len(self.names) > _MAX_LISTED else ''}"


def _split_source(source: Any) -> tuple[Any, ...]:
    # A member of an Enum and bytes are names, although some of them can be iterated over.
    if isinstance(source, (ModuleType, str, bytes, Enum, type)):
        return (source,)
    try:
        return tuple(source)
    except TypeError:
        raise TypeError(
            f'names= takes a module of events, or names, such as names=[events, Status, "order.placed"]; got '
            f"{describe_value(source)}"
        ) from None


def _get_names(part: Any) -> list[Hashable]:
    if isinstance(part, ModuleType):
        names: list[Hashable] = list(_find_names_in_module(part))
    elif isinstance(part, type) and issubclass(part, Enum):
        names = list(_find_names_in_enum(part))
    elif isinstance(part, type):
        name: Any = find_class_name_attribute(part)
        if name is None:
            raise TypeError(
                f'names= takes classes of events with a name; got {part.__name__}: write `name = "order.placed"` in '
                f"the class, or leave it out, because classes as keys need no declaration"
            )
        return [name]
    else:
        check_key(part)
        check_dispatch_name(part)
        return [part]
    if not names:
        raise ValueError(
            f"names= takes modules and Enum classes that define names; {part.__name__} has no constants in capitals, "
            f"no Enum classes, and no classes of events with a name"
        )
    return names


def _find_names_in_module(module: ModuleType) -> Iterator[Hashable]:
    for attribute, value in vars(module).items():
        if attribute.startswith("_"):
            continue
        if isinstance(value, type):
            cls: type[Any] = value
            if issubclass(cls, Enum):
                yield from _find_names_in_enum(cls)
            elif (name := find_class_name_attribute(cls)) is not None:
                yield name
        elif isinstance(value, (str, Enum)) and attribute.isupper() and _is_name(value):
            yield value


def _find_names_in_enum(cls: type[Enum]) -> Iterator[Enum]:
    return filter(_is_name, cls)


def _is_name(value: object) -> bool:
    # A module may define patterns as constants as well, for its listeners.
    return not (isinstance(value, str) and "*" in value and is_pattern(value))


def _get_text(name: Hashable) -> str:
    # The value of a member, because a string that equals it is a likely mistake.
    value: object = name.value if isinstance(name, Enum) else name
    return str.__str__(value) if isinstance(value, str) else format_key(name)


def _is_member_name(text: str, name: Hashable) -> bool:
    return isinstance(name, Enum) and text == name.name


def _get_candidates(name: Hashable, unknown: str) -> Iterator[str]:
    text = _get_text(name)
    yield text
    if isinstance(name, Enum):
        yield name.name
    parts, unknown_parts = text.split("."), unknown.split(".")
    if "**" in unknown_parts:
        yield from (".".join([*parts[:length], "**"]) for length in range(1, len(parts)))
    elif "*" in unknown_parts and len(parts) == len(unknown_parts):
        yield ".".join("*" if other == "*" else part for part, other in zip(parts, unknown_parts, strict=True))
