"""The Markdown format, with the tables of GitHub and MyST, and the escaping that the catalogue also uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from antiphon._introspection.description import Definition, Description, KeyDescription, ListenerDescription
from antiphon.diagrams._text import (
    check_description,
    check_level,
    escape_unprintable,
    format_dispatcher,
    format_other_key,
    quote_if_needed,
)

__all__ = (
    "escape_line_start",
    "escape_markdown",
    "format_code",
    "format_heading",
    "markdown",
    "render_docstring",
    "render_listeners_table",
)

#: The characters that can have a meaning in the middle of a line of Markdown or MyST.
_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]<>#|~$&^@%]")

_CODE: Final = re.compile(r"``(.+?)``|`(.+?)`")

_TITLES: Final = {"name": "Names", "other": "Names", "class": "Classes", "pattern": "Patterns"}


def markdown(description: Description, *, level: int = 1) -> str:
    """Return a description as a page in Markdown. Each key has a section with a table of its listeners.

    Args:
        description: The description of a dispatcher.
        level: The level of the first heading, from 1 to 4. The other headings are on the next two levels.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If ``level`` is not from 1 to 4.
    """
    check_description(description, "markdown")
    check_level(level, below=2)
    lines = [format_heading(level, escape_markdown(format_dispatcher(description)))]
    if not description.keys:
        lines += ["", "No listeners."]
    title = ""
    for key in description.keys:
        if _TITLES[key.kind] != title:
            title = _TITLES[key.kind]
            lines += ["", format_heading(level + 1, title)]
        lines += ["", format_heading(level + 2, format_code(quote_if_needed(key.label))), ""]
        lines += [*_render_definition(key.definition), *render_listeners_table(key)]
    return "\n".join(lines)


def format_heading(level: int, title: str) -> str:
    """Return a heading."""
    return f"{'#' * level} {title}"


def _render_definition(definition: Definition) -> Iterator[str]:
    if definition.doc:
        yield escape_line_start(render_docstring(definition.doc))
        yield ""
    if definition.place:
        yield f"Defined in {format_code(definition.place)}."
        yield ""


def render_listeners_table(key: KeyDescription) -> Iterator[str]:
    """Yield a table of the listeners of a key, in the order in which they run. Empty columns are omitted."""
    if not key.listeners:
        yield "No listeners."
        return
    rows = [_make_cells(key, listener) for listener in key.listeners]
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    yield _format_row(columns)
    yield _format_row(["--:" if column == "Priority" else "---" for column in columns])
    for row in rows:
        yield _format_row([row[column] for column in columns])


def _make_cells(key: KeyDescription, listener: ListenerDescription) -> dict[str, str]:
    other_key = format_other_key(key, listener)
    definition = listener.definition
    # Put the location below the name. A column for it would make the column of the docstrings too narrow.
    place = f"<br>{escape_markdown(escape_unprintable(definition.place))}" if definition.place else ""
    return {
        "Priority": str(listener.priority),
        "Listener": _escape_bars(format_code(escape_unprintable(listener.name))) + place,
        "Through": _escape_bars(format_code(other_key)) if other_key else "",
        "Options": escape_markdown(escape_unprintable(", ".join(listener.options))),
        "What it does": _escape_bars(render_docstring(definition.doc)),
    }


def _format_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_line_start(line: str) -> str:
    """Escape the start of a line that is escaped otherwise, so that it starts no list, rule or block."""
    return re.sub(r"^([-+=:]|\d+(?=[.)]))", lambda match: _escape_marker(match[0]), line)


def _escape_marker(marker: str) -> str:
    # Markdown cannot escape a digit. Escape the character after it.
    return f"{marker}\\" if marker.isdigit() else f"\\{marker}"


def _escape_bars(text: str) -> str:
    # A bar ends the cell in code as well. Skip the bars that are escaped already.
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def format_code(text: str) -> str:
    """Return a text as inline code. It may contain backticks."""
    fence = "`"
    while fence in text:
        fence += "`"
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def escape_markdown(text: str) -> str:
    """Escape all special characters of Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def render_docstring(text: str) -> str:
    """Return the text of a docstring as Markdown. Code in single or double backticks stays code."""
    parts: list[str] = []
    end = 0
    for match in _CODE.finditer(text):
        parts.append(escape_markdown(escape_unprintable(text[end : match.start()])))
        parts.append(format_code(escape_unprintable(match[1] or match[2])))
        end = match.end()
    return "".join([*parts, escape_markdown(escape_unprintable(text[end:]))])
