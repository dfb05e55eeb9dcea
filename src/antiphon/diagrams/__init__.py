"""Functions that turn the result of ``dispatcher.describe()`` into text.

Each function takes a `Description` and returns a string without a line break at its end::

    print(diagrams.tree(dispatcher.describe()))

The same registrations always produce the same text, because keys are sorted by kind and then by label. You can compare
the text with a file that an earlier run wrote.
"""

from __future__ import annotations

from antiphon._introspection.description import Definition, Description, KeyDescription, KeyKind, ListenerDescription
from antiphon._util.naming import publish as _publish
from antiphon.diagrams._catalogue import catalogue
from antiphon.diagrams._dot import dot
from antiphon.diagrams._html import html
from antiphon.diagrams._json import json
from antiphon.diagrams._markdown import markdown
from antiphon.diagrams._mermaid import mermaid
from antiphon.diagrams._table import table
from antiphon.diagrams._tree import tree

__all__ = (
    "Definition",
    "Description",
    "KeyDescription",
    "KeyKind",
    "ListenerDescription",
    "catalogue",
    "dot",
    "html",
    "json",
    "markdown",
    "mermaid",
    "table",
    "tree",
)

_publish("antiphon.diagrams", catalogue, dot, html, json, markdown, mermaid, table, tree)
