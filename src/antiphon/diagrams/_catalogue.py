"""The catalogue: a page on the events of a program, from its running dispatcher and its sources."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from types import ModuleType
from typing import Any, Final, TypeAlias

from antiphon._introspection.definitions import Definition
from antiphon._introspection.description import (
    Description,
    KeyDescription,
    ListenerDescription,
    get_key_label,
    get_key_parts,
)
from antiphon.diagrams._call_sites import Computed, Dispatch, dispatches_in
from antiphon.diagrams._catalogue_entries import Entry, entries_of
from antiphon.diagrams._markdown import beginning, code, escaped, listeners_table, prose, section
from antiphon.diagrams._source_code import Attribute, sources_of
from antiphon.diagrams._text import headline, printable, told

__all__ = ("catalogue",)

#: Where the part of a docstring begins that is for programmers.
_GOOGLE_SECTION: Final = re.compile(r"^(Args|Arguments|Attributes|Examples?|Notes?|Raises|Returns):\s*$", re.MULTILINE)

#: The modules in an annotation, which say little to readers of a page.
_MODULES: Final = re.compile(r"\b(?:[a-z_]\w*\.)+")

_Listeners: TypeAlias = tuple[ListenerDescription, ...]

_STARS: Final[dict[Any, str]] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def catalogue(
    description: Description,
    *,
    events: Sequence[ModuleType] = (),
    sources: Sequence[ModuleType] = (),
    level: int = 1,
) -> str:
    """Write a reference of events for the docs, in Markdown.

    It tells of the names that the modules of events define, in their order, then of the other names, the classes
    and the patterns that somebody listens to. A class belongs to a name if it has it as its ``name``, if an event of it
    is made where the name is dispatched, or if the constant is called like it: ``ORDER_PLACED`` and ``OrderPlaced``,
    both with or without "event".

    Args:
        description: Who listens.
        events: Modules that define names, as constants in capitals or members of an ``Enum``, and
            the classes of events.
        sources: Packages and modules in whose sources dispatches are looked for. They are read, and not imported.
        level: The level of the first heading; those below it are deeper.

    Returns:
        The page, without a line break at its end.
    """
    read = list(chain.from_iterable(sources_of(module) for module in sources))
    dispatches = list(chain.from_iterable(dispatches_in(source) for source in read))
    entries = entries_of(description, events, dispatches)
    page = _Page(description, [module.__name__ for module in sources], dispatches, level)
    return "\n".join(page.lines(entries))


class _Page:
    """Writes the catalogue."""

    def __init__(
        self, description: Description, sources: Sequence[str], dispatches: Sequence[Dispatch], level: int
    ) -> None:
        self._description = description
        self._sources = ", ".join(code(name) for name in sources)
        self._dispatches = dispatches
        self._level = level
        self._known: dict[str, type[Any]] = {}

    def lines(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Write the page."""
        yield section(self._level, f"Events of {escaped(headline(self._description))}")
        yield ""
        yield "Listeners stand in the order in which they run."
        if self._sources:
            yield f"Where events are dispatched has been read in the sources of {self._sources}."
        entries = list(entries)
        self._known = {one.cls.__qualname__: one.cls for entry in entries for one in entry.classes}
        for entry in entries:
            key = self._description.describe_key(entry.key)
            yield ""
            yield section(self._level + 1, code(told(key.label)))
            yield from self._blocks(entry, key)

    def _blocks(self, entry: Entry, key: KeyDescription) -> Iterator[str]:
        yield from _paragraph(_called(entry, key))
        for constant in entry.constants:
            yield from _paragraph(beginning(prose(constant.comment)))
        for one in entry.classes:
            yield from _docstring(one.doc)
            yield from _attributes(one.attributes)
        if key.kind == "class":
            # One that somebody listens to, and no module of events defines.
            yield from [] if entry.classes else _paragraph(beginning(prose(key.definition.doc)))
            yield from _paragraph(_defined_in(key.definition))
            yield from _paragraph(self._kinds_of(entry.key))
        names = self._names_of(entry)
        if names:
            under = ", ".join(code(told(_written(name))) for name in names)
            yield from _paragraph(f"Dispatched under {under}. The listeners that may run:")
        for classes, listeners in self._listeners(entry, key):
            if classes:
                yield from _paragraph(f"With {' or '.join(code(cls.__qualname__) for cls in classes)}:")
            yield ""
            yield from listeners_table(key._replace(listeners=listeners))
        if self._sources and key.kind != "pattern":
            yield from _paragraph("\n".join(self._dispatched(entry)))

    def _kinds_of(self, cls: type[Any]) -> str:
        kinds = [code(name) for name, known in self._known.items() if known is not cls and issubclass(known, cls)]
        return f"The base of {', '.join(kinds)}." if kinds else ""

    def _listeners(self, entry: Entry, key: KeyDescription) -> Iterator[tuple[list[type[Any]], _Listeners]]:
        """Give who runs, once if that is the same for all classes of the event, else for each."""
        if key.kind == "class":
            yield [], self._may_run(entry, key)
            return
        if key.kind == "pattern" or not entry.classes:
            yield [], key.listeners
            return
        groups: dict[_Listeners, list[type[Any]]] = {}
        for one in entry.classes:
            groups.setdefault(self._description.listeners_for(entry.key, one.cls), []).append(one.cls)
        for listeners, classes in groups.items():
            yield (classes if len(groups) > 1 else []), listeners

    def _names_of(self, entry: Entry) -> list[Any]:
        """Return the names under which events of a class are dispatched, where the page has no entry of the name."""
        if not isinstance(entry.key, type):
            return []
        return list(
            dict.fromkeys(one.name for one in self._dispatches if one.event_class is entry.key and one.name is not None)
        )

    def _may_run(self, entry: Entry, key: KeyDescription) -> _Listeners:
        names = self._names_of(entry)
        known = {
            one
            for name in names
            if not isinstance(name, Computed)
            for one in self._description.listeners_for(name, entry.key)
        }
        known.update(key.listeners)
        computed = [name for name in names if isinstance(name, Computed)]
        return tuple(
            one
            for one in self._description.listeners
            if one in known or any(name.may_be(part) for name in computed for part in get_key_parts(one.key))
        )

    def _dispatched(self, entry: Entry) -> Iterator[str]:
        found = [one for one in self._dispatches if _is_of(one, entry.key)]
        if not found:
            is_base = isinstance(entry.key, type) and self._kinds_of(entry.key)
            yield from [] if is_base else ["No place was found that dispatches it."]
            return
        yield "Dispatched in:"
        yield ""
        for one in found:
            doc = f": {prose(one.doc)}" if one.doc else ""
            yield f"- {code(one.function)}, {code(f'{one.file}:{one.line}')}{doc}"


def _written(name: Any) -> str:
    return name.text if isinstance(name, Computed) else get_key_label(name)


def _is_of(dispatch: Dispatch, key: Any) -> bool:
    if isinstance(key, type):
        return dispatch.event_class is key
    if isinstance(dispatch.name, Computed):
        return not dispatch.name.is_unknown() and dispatch.name.may_be(key)
    return bool(dispatch.name == key)


def _called(entry: Entry, key: KeyDescription) -> str:
    """Tell what the program calls it: its constants, and how its events are made."""
    constants = [code(one.text) for one in entry.constants]
    signatures = [code(printable(_signature(one.cls))) for one in entry.classes]
    if key.kind == "class":
        return f"A class: {signatures[0]}." if signatures else "A class."
    if key.kind == "pattern":
        return "A pattern."
    made = f"with {' or '.join(signatures)}" if signatures else ""
    return ", ".join(part for part in (" ".join(constants), made) if part)


def _signature(cls: type[Any]) -> str:
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return f"{cls.__qualname__}(...)"
    return f"{cls.__qualname__}({', '.join(_parameter(one) for one in parameters)})"


def _parameter(parameter: inspect.Parameter) -> str:
    # Not its own text, which has quotes around an annotation that is not evaluated, and defaults with addresses.
    stars = _STARS.get(parameter.kind, "")
    annotation: Any = parameter.annotation
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    shown = _MODULES.sub("", shown)
    written = f"{stars}{parameter.name}" + ("" if annotation is parameter.empty else f": {shown}")
    return written if parameter.default is parameter.empty else f"{written} = …"


def _docstring(doc: str) -> Iterator[str]:
    match = _GOOGLE_SECTION.search(doc)
    for paragraph in re.split(r"\n\s*\n", doc[: match.start()] if match else doc):
        lines = [prose(line.strip()) for line in paragraph.strip().splitlines()]
        # Lists stay lists; nothing else begins anything.
        yield from _paragraph("\n".join(line if line.startswith("- ") else beginning(line) for line in lines))


def _attributes(attributes: Sequence[Attribute]) -> Iterator[str]:
    if attributes:
        yield ""
    for one in attributes:
        comment = f" – {prose(one.comment)}" if one.comment else ""
        yield f"- {code(one.name)}: {code(printable(one.annotation))}{comment}"


def _defined_in(definition: Definition) -> str:
    return f"Defined in {code(definition.place)}." if definition.place else ""


def _paragraph(text: str) -> Iterator[str]:
    if text:
        yield ""
        yield text
