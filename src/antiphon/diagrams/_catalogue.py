"""The catalogue: a page about the events of a program, made from its dispatcher and its source code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from types import ModuleType
from typing import Any, Final, TypeAlias

from antiphon._introspection.description import (
    Description,
    KeyDescription,
    ListenerDescription,
    get_key_label,
    get_key_parts,
)
from antiphon.diagrams._call_sites import CallSite, ComputedName, find_call_sites
from antiphon.diagrams._catalogue_entries import Entry, make_entries
from antiphon.diagrams._markdown import (
    escape_line_start,
    escape_markdown,
    format_code,
    format_heading,
    render_docstring,
    render_listeners_table,
)
from antiphon.diagrams._source_code import Attribute, read_sources
from antiphon.diagrams._text import (
    check_description,
    check_level,
    check_modules,
    escape_unprintable,
    format_dispatcher,
    quote_if_needed,
)

__all__ = ("catalogue",)

#: The first heading of a docstring after its description. The page contains only the description.
_GOOGLE_SECTION: Final = re.compile(r"^(Args|Arguments|Attributes|Examples?|Notes?|Raises|Returns):\s*$", re.MULTILINE)

#: The module prefixes in an annotation. The page omits them to keep signatures short.
_MODULE_PREFIXES: Final = re.compile(r"\b(?:[a-z_]\w*\.)+")

_STARS_BY_KIND: Final[dict[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}

_Listeners: TypeAlias = tuple[ListenerDescription, ...]


def catalogue(
    description: Description,
    *,
    events: Sequence[ModuleType] = (),
    sources: Sequence[ModuleType] = (),
    level: int = 1,
) -> str:
    """Return a page about the events of a program, in Markdown.

    The page lists the names that the modules of events define, in their order. Then it lists the other names, the
    classes and the patterns that have listeners. A class belongs to a name in three cases: its ``name`` is that name,
    the program creates an event of it where it dispatches that name, or the class and the constant consist of the same
    words, such as ``OrderPlaced`` and ``ORDER_PLACED``. The word "event" in either does not count.

    Args:
        description: The description of the dispatcher.
        events: Modules that define classes of events, and names as constants in capitals or members of an ``Enum``.
        sources: Packages and modules in which to search for dispatches. Their files are read, and not imported.
        level: The level of the first heading, from 1 to 5. The other headings are on the next level.

    Returns:
        The page, without a line break at its end.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If ``level`` is not from 1 to 5.
    """
    check_description(description, "catalogue")
    check_level(level, below=1)
    events, sources = check_modules(events, "events"), check_modules(sources, "sources")
    all_sources = chain.from_iterable(read_sources(module) for module in sources)
    call_sites = [call_site for source in all_sources for call_site in find_call_sites(source)]
    entries = list(make_entries(description, events, call_sites))
    page = _Page(description, [module.__name__ for module in sources], call_sites, entries)
    return "\n".join(page.render(level))


class _Page:
    """The page, rendered line by line."""

    def __init__(
        self, description: Description, sources: Sequence[str], call_sites: Sequence[CallSite], entries: Sequence[Entry]
    ) -> None:
        self._description = description
        self._sources = ", ".join(format_code(name) for name in sources)
        self._call_sites = call_sites
        self._entries = entries
        self._classes_by_name: dict[str, type[Any]] = {
            event_class.cls.__qualname__: event_class.cls for entry in entries for event_class in entry.classes
        }

    def render(self, level: int) -> Iterator[str]:
        """Yield the lines of the page."""
        yield format_heading(level, f"Events of {escape_markdown(format_dispatcher(self._description))}")
        yield ""
        yield "Listeners are listed in the order in which they run."
        if self._sources:
            yield f"The places that dispatch an event were found in the source code of {self._sources}."
        for entry in self._entries:
            key = self._description.describe_key(entry.key)
            yield ""
            yield format_heading(level + 1, format_code(quote_if_needed(key.label)))
            yield from self._render_entry(entry, key)

    def _render_entry(self, entry: Entry, key: KeyDescription) -> Iterator[str]:
        yield from _render_paragraph(_format_usage(entry, key))
        for constant in entry.constants:
            yield from _render_paragraph(escape_line_start(render_docstring(constant.comment)))
        for event_class in entry.classes:
            yield from _render_class_docstring(event_class.doc)
            yield from _render_attributes(event_class.attributes)
        if key.kind == "class":
            if not entry.classes:
                # No module of events defines the class, so the source was not read.
                yield from _render_paragraph(escape_line_start(render_docstring(key.definition.doc)))
            if key.definition.place:
                yield from _render_paragraph(f"Defined in {format_code(key.definition.place)}.")
            yield from _render_paragraph(self._format_subclasses(entry.key))
        names = self._find_names(entry)
        if names:
            labels = ", ".join(format_code(quote_if_needed(_format_name(name))) for name in names)
            yield from _render_paragraph(f"Dispatched under {labels}. The listeners that may run:")
        for classes, listeners in self._group_listeners(entry, key):
            if classes:
                yield from _render_paragraph(f"With {' or '.join(format_code(cls.__qualname__) for cls in classes)}:")
            yield ""
            yield from render_listeners_table(key._replace(listeners=listeners))
        if self._sources and key.kind != "pattern":
            yield from _render_paragraph("\n".join(self._render_call_sites(entry)))

    def _format_subclasses(self, cls: type[Any]) -> str:
        subclasses = [
            format_code(name)
            for name, other in self._classes_by_name.items()
            if other is not cls and issubclass(other, cls)
        ]
        return f"The base of {', '.join(subclasses)}." if subclasses else ""

    def _group_listeners(self, entry: Entry, key: KeyDescription) -> Iterator[tuple[list[type[Any]], _Listeners]]:
        """Yield the listeners of an entry, with the classes of events for which they run.

        The list of classes is empty if the listeners are the same for all of them.
        """
        if key.kind == "class":
            yield [], self._find_possible_listeners(entry, key)
            return
        if key.kind == "pattern" or not entry.classes:
            yield [], key.listeners
            return
        groups: dict[_Listeners, list[type[Any]]] = {}
        for event_class in entry.classes:
            listeners = self._description.listeners_for(entry.key, event_class.cls)
            groups.setdefault(listeners, []).append(event_class.cls)
        for listeners, classes in groups.items():
            yield (classes if len(groups) > 1 else []), listeners

    def _find_names(self, entry: Entry) -> list[Any]:
        """Return the names under which events of a class are dispatched, if the entry is that of a class."""
        if not isinstance(entry.key, type):
            return []
        call_sites = [each for each in self._call_sites if each.event_class is entry.key and each.name is not None]
        return list(dict.fromkeys(call_site.name for call_site in call_sites))

    def _find_possible_listeners(self, entry: Entry, key: KeyDescription) -> _Listeners:
        names = self._find_names(entry)
        computed_names = [name for name in names if isinstance(name, ComputedName)]
        certain = set(key.listeners)
        for name in names:
            if not isinstance(name, ComputedName):
                certain.update(self._description.listeners_for(name, entry.key))
        return tuple(
            listener
            for listener in self._description.listeners
            if listener in certain
            or any(name.may_match(part) for name in computed_names for part in get_key_parts(listener.key))
        )

    def _render_call_sites(self, entry: Entry) -> Iterator[str]:
        call_sites = [call_site for call_site in self._call_sites if _dispatches_key(call_site, entry.key)]
        if call_sites:
            yield "Dispatched in:"
            yield ""
        elif not (isinstance(entry.key, type) and self._format_subclasses(entry.key)):
            yield "No place was found that dispatches it."
        for call_site in call_sites:
            doc = f": {render_docstring(call_site.doc)}" if call_site.doc else ""
            yield f"- {format_code(call_site.function)}, {format_code(f'{call_site.file}:{call_site.line}')}{doc}"


def _format_name(name: Any) -> str:
    return name.text if isinstance(name, ComputedName) else get_key_label(name)


def _dispatches_key(call_site: CallSite, key: Any) -> bool:
    if isinstance(key, type):
        return call_site.event_class is key
    if isinstance(call_site.name, ComputedName):
        return not call_site.name.is_unknown() and call_site.name.may_match(key)
    return bool(call_site.name == key)


def _format_usage(entry: Entry, key: KeyDescription) -> str:
    """Return the constants of a key, and the signatures of its classes."""
    constants = [format_code(constant.text) for constant in entry.constants]
    signatures = [format_code(escape_unprintable(_format_signature(each.cls))) for each in entry.classes]
    if key.kind == "class":
        return f"A class: {signatures[0]}." if signatures else "A class."
    if key.kind == "pattern":
        return "A pattern."
    classes = f"{'with' if constants else 'With'} {' or '.join(signatures)}" if signatures else ""
    return ", ".join(part for part in (" ".join(constants), classes) if part)


def _format_signature(cls: type[Any]) -> str:
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return f"{cls.__qualname__}(...)"
    return f"{cls.__qualname__}({', '.join(map(_format_parameter, parameters))})"


def _format_parameter(parameter: inspect.Parameter) -> str:
    # Do not use `str(parameter)`: it puts quotes around string annotations, and its defaults may contain addresses.
    text = f"{_STARS_BY_KIND.get(parameter.kind, '')}{parameter.name}"
    annotation: Any = parameter.annotation
    if annotation is not parameter.empty:
        annotation = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        text += f": {_MODULE_PREFIXES.sub('', annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = …"


def _render_class_docstring(doc: str) -> Iterator[str]:
    match = _GOOGLE_SECTION.search(doc)
    for paragraph in re.split(r"\n\s*\n", doc[: match.start()] if match else doc):
        lines = [render_docstring(line.strip()) for line in paragraph.strip().splitlines()]
        # Keep lists. Escape all other lines that would start a block.
        yield from _render_paragraph(
            "\n".join(line if line.startswith("- ") else escape_line_start(line) for line in lines)
        )


def _render_attributes(attributes: Sequence[Attribute]) -> Iterator[str]:
    if attributes:
        yield ""
    for attribute in attributes:
        annotation = format_code(escape_unprintable(attribute.annotation))
        comment = f" – {render_docstring(attribute.comment)}" if attribute.comment else ""
        yield f"- {format_code(attribute.name)}: {annotation}{comment}"


def _render_paragraph(text: str) -> Iterator[str]:
    if text:
        yield ""
        yield text
