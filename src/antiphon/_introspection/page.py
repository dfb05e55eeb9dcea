"""HTML pages that are a single file, with a filter, in the light or dark color scheme of the reader.

`element` escapes its children and attributes. A page is therefore correct whatever the names of listeners contain.
A page loads nothing: its content security policy allows its own style and its own script, and no other.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files

from antiphon._util.naming import escape_unprintable

__all__ = ("Markup", "element", "render_page")

#: Elements without an end tag.
_VOID_TAGS = ("input", "meta")


class Markup(str):
    """HTML. Any other string is text, and is escaped."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | int | bool | None) -> Markup:
    """Return an HTML element.

    Args:
        tag: The name of the element.
        *children: HTML, or text that is escaped.
        **attributes: The attributes. ``class_`` stands for ``class``, and ``data_value`` for ``data-value``. An
            attribute that is True has no value. One that is False or None is omitted.
    """
    start = f"<{tag}{''.join(_format_attribute(name, value) for name, value in attributes.items())}>"
    return Markup(start if tag in _VOID_TAGS else f"{start}{''.join(map(_escape, children))}</{tag}>")


def render_page(title: str, *content: Markup, summary: Iterable[str], flags: Mapping[str, str]) -> str:
    """Return the text of an HTML file.

    The filter applies to elements of the class ``item`` in an element of the class ``group``. The text of an element of
    the class ``head`` in a group counts as text of each of its items.

    Args:
        title: The title.
        *content: The groups.
        summary: Short texts below the title.
        flags: The labels of check boxes, by the words of the attribute ``data-flags`` that they select. Items and
            groups may have this attribute.
    """
    style, script = (
        files("antiphon._introspection").joinpath(f"page.{suffix}").read_text("utf-8") for suffix in ("css", "js")
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Markup(style)),
    )
    boxes = (
        element("label", element("input", type="checkbox", data_show=flag), label) for flag, label in flags.items()
    )
    tools = element(
        "div",
        element("input", type="search", id="filter", placeholder="Filter", aria_label="Filter", autocomplete="off"),
        *boxes,
        element("button", "Open all", type="button", id="open"),
        element("span", "", id="count", role="status"),
        class_="tools",
        hidden=True,
    )
    header = element(
        "header", element("h1", title), element("p", *(element("span", text) for text in summary)), class_="title"
    )
    body = element("body", header, tools, element("main", *content), element("script", Markup(script)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}"


def _format_attribute(name: str, value: str | int | bool | None) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(escape_unprintable(str(value)))}"'


def _escape(child: str) -> str:
    # HTML does not allow control characters, and UTF-8 does not allow surrogates.
    return child if isinstance(child, Markup) else escape(escape_unprintable(child))
