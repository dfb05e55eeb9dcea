"""The table of guarantees, built from the data in guarantees.toml.

This module is a Sphinx extension with one directive: ``guarantees`` shows the rows of a section. The README contains
the most important rows between two markers. ``python docs/guarantees.py`` updates them, and a test fails if they are
out of date.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN_MARKER, END_MARKER = "<!-- guarantees: begin -->", "<!-- guarantees: end -->"
EMPTY_CELL = "–"


class Row(NamedTuple):
    """One row of the table, with a cell for each column to which the row applies."""

    id: str
    section: str
    sentence: str
    readme: bool
    cells: dict[str, str]


class Guarantees(NamedTuple):
    """The table."""

    #: The title of each column, by column id.
    columns: dict[str, str]
    rows: tuple[Row, ...]


def load(path: Path = DOCS / "guarantees.toml") -> Guarantees:
    """Read the table."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Guarantees(data["columns"], tuple(_make_row(row, data["columns"]) for row in data["row"]))


def _make_row(data: dict[str, Any], columns: dict[str, str]) -> Row:
    cells = {column: data.pop(column) for column in columns if column in data}
    return Row(**{"readme": False, **data}, cells=cells)


def render_markdown(rows: list[Row], columns: dict[str, str]) -> str:
    """Render rows as a Markdown table."""
    lines = [["", *columns.values()], ["---"] * (len(columns) + 1)]
    lines += [[row.sentence, *(row.cells.get(column, EMPTY_CELL) for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_section(table: Guarantees, section: str) -> str:
    """Render the rows of one section as a Markdown table.

    Raises:
        ValueError: If there is no such section.
    """
    rows = [row for row in table.rows if row.section == section]
    if not rows:
        msg = f"no row of guarantees.toml is in the section {section!r}"
        raise ValueError(msg)
    columns = {id_: title for id_, title in table.columns.items() if any(id_ in row.cells for row in rows)}
    return render_markdown(rows, columns)


def render_for_readme(table: Guarantees) -> str:
    """Render the rows that the README shows, without the column of the synchronous dispatcher."""
    columns = {id_: title for id_, title in table.columns.items() if id_ != "sync"}
    return render_markdown([row for row in table.rows if row.readme], columns)


def update_readme(readme: str, table: Guarantees) -> str:
    """Return the text of the README with the current table between the markers."""
    before, _, rest = readme.partition(BEGIN_MARKER)
    _, _, after = rest.partition(END_MARKER)
    return f"{before}{BEGIN_MARKER}\n{render_for_readme(table)}\n{END_MARKER}{after}"


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class GuaranteesDirective(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            self.env.note_dependency(str(DOCS / "guarantees.toml"))
            return self.parse_text_to_nodes(render_section(load(), self.arguments[0]))

    app.add_directive("guarantees", GuaranteesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    README.write_text(update_readme(README.read_text(encoding="utf-8"), load()), encoding="utf-8")
