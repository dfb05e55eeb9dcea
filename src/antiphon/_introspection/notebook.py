"""Descriptions as HTML, which notebooks display. The only style is that of the notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, Final

from antiphon._util.naming import escape_unprintable

if TYPE_CHECKING:
    from antiphon._introspection.description import Description, KeyDescription

__all__ = ("render_html",)

_TITLES: Final = ("event", "priority", "listener", "through", "options", "defined in", "what it does")


def render_html(description: Description) -> str:
    """Return a table in HTML, with one row for each listener of each key."""
    name, cls = description.dispatcher, description.dispatcher_class
    caption = _escape(name if name == cls else f"{name} ({cls})")
    if not description.keys:
        return f"<p>{caption}: no listeners</p>"
    rows = "".join(row for key in description.keys for row in _render_key(key))
    return (
        f"<table><caption>{caption}</caption><thead>{_render_row('th', _TITLES)}</thead><tbody>{rows}</tbody></table>"
    )


def _render_key(key: KeyDescription) -> Iterator[str]:
    label = f"class {key.label}" if key.kind == "class" else key.label
    if not key.listeners:
        yield _render_row("td", (label, "", "no listeners", "", "", "", ""))
    for listener in key.listeners:
        cells = (
            label,
            str(listener.priority),
            listener.name,
            "" if listener.key == key.key else listener.key_label,
            ", ".join(listener.options),
            listener.definition.place,
            listener.definition.doc,
        )
        yield _render_row("td", cells)
        label = ""


def _render_row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _escape(text: str) -> str:
    # HTML does not allow control characters, and UTF-8 does not allow surrogates.
    return escape(escape_unprintable(text))
