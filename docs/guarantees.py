"""The tables of guarantees, built from the data in guarantees.toml.

This module is a Sphinx extension with one directive: ``guarantees`` shows the rows of a section. A row whose cells are
equal in all columns is in a first table, with one column "Always". On a narrow screen, site.css shows each row of the
second table as a card. The cells of a card repeat the titles of their columns, which are hidden on a wide screen. Cells
that are equal are in a card once, below the titles of all their columns. In the table, equal neighbors are one cell.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
ALWAYS = {"always": "Always"}


class Row(NamedTuple):
    """One row, with a cell for each column to which the row applies."""

    id: str
    section: str
    sentence: str
    cells: dict[str, str]


class Guarantees(NamedTuple):
    """All rows."""

    #: The title of each column, by column id.
    columns: dict[str, str]
    rows: tuple[Row, ...]


class Section(NamedTuple):
    """The rows of one section: those that are equal in all columns have the one cell ``always``."""

    columns: dict[str, str]
    always: tuple[Row, ...]
    different: tuple[Row, ...]


def load(path: Path = DOCS / "guarantees.toml") -> Guarantees:
    """Read the data."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Guarantees(data["columns"], tuple(_make_row(row, data["columns"]) for row in data["row"]))


def _make_row(data: dict[str, Any], columns: dict[str, str]) -> Row:
    cells = {column: data.pop(column) for column in columns if column in data}
    return Row(**data, cells=cells)


def get_section(table: Guarantees, section: str) -> Section:
    """Return the rows and the columns of one section.

    Raises:
        ValueError: If there is no such section.
    """
    rows = [row for row in table.rows if row.section == section]
    if not rows:
        msg = f"no row of guarantees.toml is in the section {section!r}"
        raise ValueError(msg)
    columns = {id_: title for id_, title in table.columns.items() if any(id_ in row.cells for row in rows)}
    always: list[Row] = []
    different: list[Row] = []
    for row in rows:
        cells = {row.cells.get(column) for column in columns}
        if len(cells) == 1:
            always.append(row._replace(cells={"always": row.cells[next(iter(columns))]}))
        else:
            different.append(row)
    return Section(columns, tuple(always), tuple(different))


def get_titles(row: Row, columns: dict[str, str]) -> dict[str, str]:
    """Return the title of each cell that a card shows. Equal cells have one title, at the first of them."""
    titles: dict[str, list[str]] = {}
    for column, cell in row.cells.items():
        titles.setdefault(cell, []).append(columns[column])
    # A title is removed with its first use.
    return {column: ", ".join(titles.pop(cell)) for column, cell in row.cells.items() if cell in titles}


def setup(app: Any) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class GuaranteesDirective(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            self.env.note_dependency(str(DOCS / "guarantees.toml"))
            section = get_section(load(), self.arguments[0])
            tables: list[nodes.Node] = []
            if section.always:
                tables.append(self._make_table(section.always, ALWAYS))
            if section.different:
                tables.append(self._make_table(section.different, section.columns))
            return tables

        def _make_table(self, rows: tuple[Row, ...], columns: dict[str, str]) -> nodes.table:
            is_comparison = len(columns) > 1
            table = nodes.table(classes=["guarantees", "compared"] if is_comparison else ["guarantees"])
            group = nodes.tgroup(cols=len(columns) + 1)
            group += [nodes.colspec(colwidth=1) for _ in range(len(columns) + 1)]
            head = nodes.row("", *(self._make_entry(title) for title in ("", *columns.values())))
            body: list[nodes.row] = []
            for row in rows:
                cells = [self._make_entry(row.sentence)]
                titles_in_card = get_titles(row, columns) if is_comparison else dict.fromkeys(columns, "")
                for cell, neighbors in groupby(columns, key=row.cells.get):
                    column, *others = neighbors
                    # Only a wide screen shows what does not apply, and repeats what is equal in columns with a gap.
                    classes = [] if column in titles_in_card else ["only-wide"]
                    entry = self._make_entry(cell or "–", titles_in_card.get(column, ""), classes)
                    if others:
                        entry["morecols"] = len(others)
                    cells.append(entry)
                body.append(nodes.row("", *cells))
            group += [nodes.thead("", head), nodes.tbody("", *body)]
            table += group
            return table

        def _make_entry(self, text: str, title: str = "", classes: Sequence[str] = ()) -> nodes.entry:
            entry = nodes.entry(classes=[*classes])
            if title:
                heading = self.parse_text_to_nodes(title)
                heading[0]["classes"].append("column-title")
                entry += heading
            entry += self.parse_text_to_nodes(text)
            return entry

    app.add_directive("guarantees", GuaranteesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
