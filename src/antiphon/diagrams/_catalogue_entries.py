"""The entries of a catalogue: the names, classes and patterns, and which classes belong to which name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import chain
from types import ModuleType
from typing import Any, Final, NamedTuple

from antiphon import Event
from antiphon._events.capabilities import find_class_name_attribute
from antiphon._introspection.description import Description
from antiphon.diagrams._call_sites import CallSite, as_name
from antiphon.diagrams._source_code import Attribute, Source, read_source

__all__ = ("Constant", "Entry", "EventClass", "make_entries")

_EVENT_AFFIX: Final = re.compile(r"^EVENT_|_EVENT$")


class Constant(NamedTuple):
    """A constant, or a member of an ``Enum``, whose value is a name."""

    #: The constant as the program writes it.
    text: str
    value: Any
    comment: str


class EventClass(NamedTuple):
    """A class of events."""

    cls: type[Any]
    doc: str
    attributes: tuple[Attribute, ...]


class Entry(NamedTuple):
    """The facts about one key."""

    #: A name, a pattern, a class, or another hashable.
    key: Any
    constants: tuple[Constant, ...]
    classes: tuple[EventClass, ...]


def make_entries(
    description: Description, events: Sequence[ModuleType], call_sites: Sequence[CallSite]
) -> Iterator[Entry]:
    """Yield an entry for each name that the modules define, then for the other names, the classes and the patterns."""
    listened_keys: list[Any] = [key.key for key in description.keys]
    sources = [(module, read_source(module)) for module in events]
    constants = list(chain.from_iterable(_find_constants(module, source) for module, source in sources))
    classes = [cls for module, source in sources for cls in _find_event_classes(module, source, listened_keys)]
    names = dict.fromkeys(constant.value for constant in constants)
    names.update(dict.fromkeys(name for each in classes if (name := find_class_name_attribute(each.cls)) is not None))
    classes_with_name: set[type[Any]] = set()
    for name in [*names, *(key for key in listened_keys if _is_exact_name(key) and key not in names)]:
        constants_of_name = tuple(constant for constant in constants if constant.value == name)
        own_classes = [each for each in classes if _belongs_to_name(each.cls, name, constants_of_name, call_sites)]
        own_classes += _find_other_classes(name, call_sites, known=[each.cls for each in classes])
        classes_with_name.update(each.cls for each in own_classes)
        yield Entry(name, constants_of_name, tuple(own_classes))
    listened_classes = [key for key in listened_keys if isinstance(key, type)]
    for cls in dict.fromkeys([each.cls for each in classes] + listened_classes):
        if cls not in classes_with_name:
            yield Entry(cls, (), tuple(each for each in classes if each.cls is cls))
    for key in listened_keys:
        if isinstance(key, str) and "*" in key and key not in names:
            yield Entry(key, (), ())


def _find_other_classes(name: Any, call_sites: Sequence[CallSite], known: Sequence[type[Any]]) -> Iterator[EventClass]:
    """Find the classes whose events are dispatched under a name, but that no module of events defines."""
    event_classes = dict.fromkeys(call_site.event_class for call_site in call_sites if call_site.name == name)
    for cls in event_classes:
        if cls is not None and cls not in known:
            module = sys.modules.get(cls.__module__)
            yield _make_event_class(cls, read_source(module) if module is not None else None)


def _is_exact_name(key: Any) -> bool:
    return not isinstance(key, type) and not (isinstance(key, str) and "*" in key)


def _belongs_to_name(cls: type[Any], name: Any, constants: Sequence[Constant], call_sites: Sequence[CallSite]) -> bool:
    if find_class_name_attribute(cls) == name:
        return True
    if any(call_site.name == name and call_site.event_class is cls for call_site in call_sites):
        return True
    class_name = cls.__name__.removesuffix("Event").lower()
    return any(_EVENT_AFFIX.sub("", constant.text).replace("_", "").lower() == class_name for constant in constants)


def _find_constants(module: ModuleType, source: Source | None) -> Iterator[Constant]:
    for variable in source.find_variables() if source is not None else ():
        value = as_name(vars(module).get(variable.name))
        if variable.name.isupper() and not variable.name.startswith("_") and value is not None:
            yield Constant(variable.name, value, variable.comment)
    for cls in _find_defined_classes(module):
        if issubclass(cls, Enum):
            members: Iterable[Enum] = cls
            yield from (Constant(f"{cls.__name__}.{member.name}", member, "") for member in members)


def _find_event_classes(
    module: ModuleType, source: Source | None, listened_keys: Sequence[Any]
) -> Iterator[EventClass]:
    for cls in _find_defined_classes(module):
        has_name = find_class_name_attribute(cls) is not None and not issubclass(cls, Enum)
        if has_name or issubclass(cls, Event) or cls in listened_keys:
            yield _make_event_class(cls, source)


def _make_event_class(cls: type[Any], source: Source | None) -> EventClass:
    if source is None:
        return EventClass(cls, "", ())
    # Include the attributes of base classes in the same module: a private base has no entry of its own.
    bases = [base.__name__ for base in reversed(cls.__mro__) if base.__module__ == source.name]
    attributes = chain.from_iterable(source.find_attributes(base) for base in bases)
    public_attributes = {attribute.name: attribute for attribute in attributes if not attribute.name.startswith("_")}
    return EventClass(cls, source.get_docstring(cls.__name__), tuple(public_attributes.values()))


def _find_defined_classes(module: ModuleType) -> Iterator[type[Any]]:
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield value
