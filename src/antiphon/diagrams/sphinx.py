"""A Sphinx extension: the catalogue of a dispatcher in a page of the docs.

Put ``"antiphon.diagrams.sphinx"`` into the ``extensions`` of ``conf.py``, beside ``"myst_parser"``, and into a page in
Markdown::

    ```{antiphon-catalogue} shop.app:make_dispatcher()
    :events: shop.events
    ```

The catalogue takes the place of the directive, with a heading of the second level. ``:events:`` and ``:sources:`` are
the options of ``python -m antiphon catalogue``, with blanks between several modules, and ``:level:`` is the level of
the heading. What the catalogue was made of is noted, so that a change of it builds the page anew.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from antiphon.diagrams._catalogue_source import reference_of
from antiphon.diagrams._locate import NotFound

__all__ = ("setup",)


class _Catalogue:
    """What the directive does; it becomes one with Sphinx's base class, which is imported when Sphinx runs."""

    arguments: list[str]
    options: dict[str, Any]
    env: Any
    error: Any
    parse_text_to_nodes: Any

    def run(self) -> list[Any]:
        """Give the nodes that take the place of the directive."""
        events, sources = self.options.get("events", "").split(), self.options.get("sources", "").split()
        try:
            reference = reference_of(self.arguments[0], events=events, sources=sources)
        except NotFound as exc:
            raise self.error(str(exc)) from exc
        for file in reference.files():
            self.env.note_dependency(str(file))
        page = reference.write(self.options.get("level", 2))
        nodes: list[Any] = self.parse_text_to_nodes(page, allow_section_headings=True)
        return nodes


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    base = import_module("sphinx.util.docutils").SphinxDirective
    directives = import_module("docutils.parsers.rst.directives")
    options = {
        "events": directives.unchanged_required,
        "sources": directives.unchanged_required,
        "level": directives.positive_int,
    }
    attributes = {"required_arguments": 1, "option_spec": options}
    app.add_directive("antiphon-catalogue", type("CatalogueDirective", (_Catalogue, base), attributes))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
