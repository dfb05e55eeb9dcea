"""The entries of a catalogue: which names and classes there are, and which of them belong together."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import chain
from types import ModuleType
from typing import Any, Final, NamedTuple

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._events.event import Event
from antiphon._introspection.description import Description
from antiphon.diagrams._call_sites import Dispatch, plain_name
from antiphon.diagrams._source_code import Attribute, Source, source_of

__all__ = ("Constant", "Entry", "EventClass", "entries_of")

_OF_EVENT: Final = re.compile(r"^EVENT_|_EVENT$")


class Constant(NamedTuple):
    """A name as the program calls it."""

    text: str
    value: Any
    comment: str


class EventClass(NamedTuple):
    """A class of events."""

    cls: type[Any]
    doc: str
    attributes: tuple[Attribute, ...]


class Entry(NamedTuple):
    """What is told of one key."""

    #: A name, a pattern, a class, or another hashable.
    key: Any
    constants: tuple[Constant, ...]
    classes: tuple[EventClass, ...]


def entries_of(
    description: Description, events: Sequence[ModuleType], dispatches: Sequence[Dispatch]
) -> Iterator[Entry]:
    """Give the names that modules define, in their order, then other names, the classes and the patterns."""
    listened: list[Any] = [key.key for key in description.keys]
    sources = [(module, source_of(module)) for module in events]
    constants = list(chain.from_iterable(_constants(module, source) for module, source in sources))
    classes = list(chain.from_iterable(_classes(module, source, listened) for module, source in sources))
    names = dict.fromkeys(constant.value for constant in constants)
    names.update(dict.fromkeys(name for one in classes if (name := find_class_name_attribute(one.cls)) is not None))
    paired: set[type[Any]] = set()
    for name in [*names, *(key for key in listened if _is_plain_name(key) and key not in names)]:
        called = tuple(constant for constant in constants if constant.value == name)
        carried = [one for one in classes if _carries(one.cls, name, called, dispatches)]
        carried += _made_elsewhere(name, dispatches, known=[one.cls for one in classes])
        paired.update(one.cls for one in carried)
        yield Entry(name, called, tuple(carried))
    for cls in dict.fromkeys([one.cls for one in classes] + [key for key in listened if isinstance(key, type)]):
        if cls not in paired:
            yield Entry(cls, (), tuple(one for one in classes if one.cls is cls))
    for key in listened:
        if isinstance(key, str) and "*" in key and key not in names:
            yield Entry(key, (), ())


def _made_elsewhere(name: Any, dispatches: Sequence[Dispatch], known: Sequence[type[Any]]) -> Iterator[EventClass]:
    """Find the other classes of which events are made where a name is dispatched."""
    made = dict.fromkeys(one.event_class for one in dispatches if one.name == name)
    for cls in made:
        if cls is not None and cls not in known:
            module = sys.modules.get(cls.__module__)
            yield _event_class(cls, source_of(module) if module is not None else None)


def _is_plain_name(key: Any) -> bool:
    return not isinstance(key, type) and not (isinstance(key, str) and "*" in key)


def _carries(cls: type[Any], name: Any, constants: Sequence[Constant], dispatches: Sequence[Dispatch]) -> bool:
    if find_class_name_attribute(cls) == name or any(one.name == name and one.event_class is cls for one in dispatches):
        return True
    called = cls.__name__.removesuffix("Event").lower()
    return any(_OF_EVENT.sub("", one.text).replace("_", "").lower() == called for one in constants)


def _constants(module: ModuleType, source: Source | None) -> Iterator[Constant]:
    for attribute in source.variables() if source is not None else ():
        value = plain_name(vars(module).get(attribute.name))
        if attribute.name.isupper() and not attribute.name.startswith("_") and value is not None:
            yield Constant(attribute.name, value, attribute.comment)
    for cls in _defined(module):
        if issubclass(cls, Enum):
            members: Iterable[Enum] = cls
            yield from (Constant(f"{cls.__name__}.{member.name}", member, "") for member in members)


def _classes(module: ModuleType, source: Source | None, listened: Sequence[Any]) -> Iterator[EventClass]:
    for cls in _defined(module):
        is_named = find_class_name_attribute(cls) is not None and not issubclass(cls, Enum)
        if is_named or issubclass(cls, Event) or cls in listened:
            yield _event_class(cls, source)


def _event_class(cls: type[Any], source: Source | None) -> EventClass:
    if source is None:
        return EventClass(cls, "", ())
    # Also what it inherits from the classes beside it, which would otherwise be told of nowhere.
    bases = [base.__name__ for base in reversed(cls.__mro__) if base.__module__ == source.name]
    attributes = chain.from_iterable(source.attributes_of(base) for base in bases)
    told = {one.name: one for one in attributes if not one.name.startswith("_")}
    return EventClass(cls, source.doc_of(cls.__name__), tuple(told.values()))


def _defined(module: ModuleType) -> Iterator[type[Any]]:
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield value
