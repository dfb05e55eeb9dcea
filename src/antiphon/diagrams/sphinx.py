"""A Sphinx extension: a directive that inserts the catalogue of a dispatcher into a page.

Add ``"antiphon.diagrams.sphinx"`` and ``"myst_parser"`` to the ``extensions`` in ``conf.py``. Then use the directive in
a page in Markdown::

    ```{antiphon-catalogue} shop.app:make_dispatcher()
    :events: shop.events
    ```

The options ``:events:`` and ``:sources:`` are those of ``antiphon catalogue``; separate several modules with
spaces. The option ``:level:`` is the level of the first heading, 2 by default.
If a source file of the catalogue changes, Sphinx rebuilds the page.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from antiphon.diagrams._catalogue_source import find_catalogue_source
from antiphon.diagrams._locate import LocateError

__all__ = ("setup",)


class _CatalogueDirective:
    """The directive without its base class. `setup` adds the base class, because only Sphinx can import it."""

    arguments: list[str]
    options: dict[str, Any]
    env: Any
    error: Any
    parse_text_to_nodes: Any

    def run(self) -> list[Any]:
        """Return the nodes of the catalogue."""
        events, sources = self.options.get("events", "").split(), self.options.get("sources", "").split()
        try:
            source = find_catalogue_source(self.arguments[0], events=events, sources=sources)
            page = source.render(self.options.get("level", 2))
        except (LocateError, ValueError) as exc:
            raise self.error(str(exc)) from exc
        for file in source.find_files():
            self.env.note_dependency(str(file))
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
    app.add_directive("antiphon-catalogue", type("CatalogueDirective", (_CatalogueDirective, base), attributes))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
