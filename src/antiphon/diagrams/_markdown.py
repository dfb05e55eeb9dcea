"""Markdown, with tables as GitHub and MyST have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from antiphon._introspection.description import Definition, Description, KeyDescription, ListenerDescription
from antiphon.diagrams._text import headline, printable, through, told

__all__ = ("beginning", "code", "escaped", "listeners_table", "markdown", "prose", "section")

#: What could mean something in the middle of a line of Markdown, or of MyST.
_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]<>#|~$&^@%]")

_CODE: Final = re.compile(r"``(.+?)``|`(.+?)`")

_TITLES: Final = {"name": "Names", "other": "Names", "class": "Classes", "pattern": "Patterns"}


def markdown(description: Description, *, level: int = 1) -> str:
    """Write a description as a page for the docs: a section for each key, with a table of its listeners.

    Args:
        description: What to write.
        level: The level of the first heading; those below it are deeper.
    """
    lines = [section(level, escaped(headline(description)))]
    if not description.keys:
        lines += ["", "Nobody listens."]
    title = ""
    for key in description.keys:
        if _TITLES[key.kind] != title:
            title = _TITLES[key.kind]
            lines += ["", section(level + 1, title)]
        lines += ["", section(level + 2, code(told(key.label))), "", *_told_of(key.definition), *listeners_table(key)]
    return "\n".join(lines)


def section(level: int, title: str) -> str:
    """Write a heading."""
    return f"{'#' * level} {title}"


def _told_of(definition: Definition) -> Iterator[str]:
    if definition.doc:
        yield beginning(prose(definition.doc))
        yield ""
    if definition.place:
        yield f"Defined in {code(definition.place)}."
        yield ""


def listeners_table(key: KeyDescription) -> Iterator[str]:
    """Write the listeners of a key, in the order in which they run; columns that would be empty are left out."""
    if not key.listeners:
        yield "Nobody listens."
        return
    rows = [_cells(key, listener) for listener in key.listeners]
    kept = [column for column in rows[0] if any(row[column] for row in rows)]
    yield _line(kept)
    yield _line(["--:" if column == "Priority" else "---" for column in kept])
    for row in rows:
        yield _line([row[column] for column in kept])


def _cells(key: KeyDescription, listener: ListenerDescription) -> dict[str, str]:
    other = through(key, listener)
    definition = listener.definition
    # Below the name, and not in a column of its own, which would leave no room for what the listener does.
    place = f"<br>{escaped(printable(definition.place))}" if definition.place else ""
    return {
        "Priority": str(listener.priority),
        "Listener": _in_cell(code(printable(listener.name))) + place,
        "Through": _in_cell(code(other)) if other else "",
        "Options": escaped(printable(", ".join(listener.options))),
        "What it does": _in_cell(prose(definition.doc)),
    }


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def beginning(line: str) -> str:
    """Write a line, in which nothing is to be escaped any more, so that it begins no list, rule or block."""
    return re.sub(r"^([-+=:]|\d+(?=[.)]))", lambda match: _harmless(match[0]), line)


def _harmless(opening: str) -> str:
    # A digit cannot be escaped, but what follows it can.
    return f"{opening}\\" if opening.isdigit() else f"\\{opening}"


def _in_cell(text: str) -> str:
    # Also in code a bar would end the cell; what has been escaped already stays as it is.
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def code(text: str) -> str:
    """Write a text as code, whatever backticks are in it."""
    fence = "`"
    while fence in text:
        fence += "`"
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def escaped(text: str) -> str:
    """Write a text so that Markdown finds nothing in it."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def prose(text: str) -> str:
    """Write what stands in a docstring: code, in one backtick or two, stays code, and all else is escaped."""
    written: list[str] = []
    end = 0
    for match in _CODE.finditer(text):
        written += [escaped(printable(text[end : match.start()])), code(printable(match[1] or match[2]))]
        end = match.end()
    return "".join([*written, escaped(printable(text[end:]))])
