"""The table of guarantees, from the data in guarantees.toml.

It is a Sphinx extension with one directive: ``guarantees`` shows the rows of a section. The README has a copy of
the most important rows between two markers; ``python docs/guarantees.py`` renews it, and a test tells when to.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- guarantees: begin -->", "<!-- guarantees: end -->"
NO_CELL = "–"


class Row(NamedTuple):
    """One row: what its cells are about, and a cell for each column that it speaks of."""

    id: str
    section: str
    sentence: str
    readme: bool
    cells: dict[str, str]


class Guarantees(NamedTuple):
    """The table."""

    #: What a column is called, by its id.
    columns: dict[str, str]
    rows: tuple[Row, ...]


def load(path: Path = DOCS / "guarantees.toml") -> Guarantees:
    """Read the table."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Guarantees(data["columns"], tuple(_row(row, data["columns"]) for row in data["row"]))


def _row(data: dict[str, Any], columns: dict[str, str]) -> Row:
    cells = {column: data.pop(column) for column in columns if column in data}
    return Row(**{"readme": False, **data}, cells=cells)


def markdown(rows: list[Row], columns: dict[str, str]) -> str:
    """Write rows as a table in Markdown; a cell that says what the one before it says is short."""
    lines = [["", *columns.values()], ["---"] * (len(columns) + 1)]
    for row in rows:
        cells = [row.cells.get(column, NO_CELL) for column in columns]
        shown = ["the same" if cell == before != NO_CELL else cell for before, cell in pairwise(["", *cells])]
        lines.append([row.sentence, *shown])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_section(table: Guarantees, section: str) -> str:
    """Write the rows of one section.

    Raises:
        ValueError: There is no such section.
    """
    rows = [row for row in table.rows if row.section == section]
    if not rows:
        msg = f"no row of guarantees.toml is in the section {section!r}"
        raise ValueError(msg)
    columns = {id_: title for id_, title in table.columns.items() if any(id_ in row.cells for row in rows)}
    return markdown(rows, columns)


def for_readme(table: Guarantees) -> str:
    """Write the rows that the README shows, without the column of the sync dispatcher."""
    columns = {id_: title for id_, title in table.columns.items() if id_ != "sync"}
    return markdown([row for row in table.rows if row.readme], columns)


def renewed(readme: str, table: Guarantees) -> str:
    """Give the text of the README with the current table between the markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{for_readme(table)}\n{END}{after}"


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class GuaranteesDirective(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            self.env.note_dependency(str(DOCS / "guarantees.toml"))
            return self.parse_text_to_nodes(of_section(load(), self.arguments[0]))

    app.add_directive("guarantees", GuaranteesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8"), load()), encoding="utf-8")
