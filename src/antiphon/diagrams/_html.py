"""The HTML page: the listeners of each key, with a filter."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain, starmap
from typing import Final

from antiphon._introspection.description import Description, KeyDescription, KeyKind, ListenerDescription
from antiphon._introspection.page import Markup, element, render_page
from antiphon.diagrams._text import NO_LISTENERS, check_description, format_dispatcher, format_key, format_other_key

__all__ = ("html",)

#: A page with more keys starts with all groups closed, below the first segments of the names.
_MAX_OPEN_KEYS: Final = 20

_KIND_LABELS: Final[dict[KeyKind, str]] = {"name": "name", "other": "name", "class": "class", "pattern": "pattern"}


def html(description: Description) -> str:
    """Return a description as an HTML page, which is a single file.

    The page has a group for each key, and a filter. Many keys are arranged by the first segment of their names. The
    page loads nothing from a network.

    Args:
        description: The description of a dispatcher.

    Raises:
        TypeError: If an argument has a wrong type.
    """
    check_description(description, "html")
    ids = {key.key: f"key{number}" for number, key in enumerate(description.keys, 1)}
    has_areas = len(description.keys) > _MAX_OPEN_KEYS
    areas: dict[str, list[Markup]] = {}
    for key in description.keys:
        areas.setdefault(_get_area(key), []).append(_render_key(key, ids, is_open=not has_areas))
    groups = starmap(_render_area, areas.items()) if has_areas else chain.from_iterable(areas.values())
    kinds = dict.fromkeys(_KIND_LABELS[key.kind] for key in description.keys)
    return render_page(
        f"Listeners of {format_dispatcher(description)}",
        *(groups if description.keys else [element("p", NO_LISTENERS, class_="quiet")]),
        summary=(f"{len(description.listeners)} registrations", f"{len(description.keys)} keys"),
        flags={kind: f"{kind}s" if kind != "class" else "classes" for kind in kinds} if len(kinds) > 1 else {},
    )


def _get_area(key: KeyDescription) -> str:
    """Return the first segment of a name or a pattern, or a title for other keys."""
    segment = key.label.partition(".")[0]
    if isinstance(key.key, str) and "*" not in segment:
        return segment
    return {"class": "Classes", "pattern": "Patterns"}.get(key.kind, "Other names")


def _render_area(title: str, groups: list[Markup]) -> Markup:
    count = "1 key" if len(groups) == 1 else f"{len(groups)} keys"
    head = element("summary", element("span", title, class_="code"), " ", element("span", count, class_="quiet"))
    return element("details", head, *groups, class_="area")


def _render_key(key: KeyDescription, ids: dict[Hashable, str], *, is_open: bool) -> Markup:
    kind = _KIND_LABELS[key.kind]
    count = len(key.listeners)
    head = element(
        "summary",
        element("span", format_key(key).removeprefix("class "), class_="code"),
        element("span", kind, class_=f"badge {kind}"),
        element("span", NO_LISTENERS if not count else "1 listener" if count == 1 else f"{count} listeners"),
        element("span", key.definition.place, class_="code quiet"),
        element("span", key.definition.doc, class_="quiet"),
        class_="head",
    )
    listeners = (_render_listener(key, listener, ids) for listener in key.listeners)
    content = [element("ol", *listeners, class_="listeners")] if count else []
    return element("details", head, *content, class_="group", id=ids[key.key], open=is_open, data_flags=kind)


def _render_listener(key: KeyDescription, listener: ListenerDescription, ids: dict[Hashable, str]) -> Markup:
    through = format_other_key(key, listener)
    link: list[str] = []
    if through:
        target = ids.get(listener.key)
        link = ["through ", through if target is None else element("a", through, href=f"#{target}", class_="code")]
    name = element(
        "div",
        element("span", listener.name, class_="code"),
        *(element("span", option, class_="badge") for option in listener.options),
        element("span", *link, class_="quiet"),
        class_="line",
    )
    place = element(
        "div",
        element("span", listener.definition.doc),
        element("span", listener.definition.place, class_="code quiet"),
        class_="line",
    )
    priority = element("span", str(listener.priority), class_="priority number", title="priority")
    return element("li", priority, element("div", name, place), class_="item")
