"""Every cell of the table of guarantees, on every event loop.

The table is docs/guarantees.toml. For each cell there is one check in tests/guarantees/, registered under the id of its
row and the columns of which it is true. A cell without a check fails, and so does a check without a cell.
"""

from __future__ import annotations

import anyio
import pytest

from docs import guarantees
from tests.cancellation.interrupts import INTERRUPTS
from tests.guarantees import cancellation, errors, event, order, registering, stopping
from tests.guarantees.checking import CHECKS, Subject
from tests.loops import anyio_backend

__all__ = ("anyio_backend", "cancellation", "errors", "event", "order", "registering", "stopping")

TABLE = guarantees.load()
CELLS = [(row.id, column) for row in TABLE.rows for column in row.cells]


@pytest.mark.parametrize(("row", "column"), CELLS, ids=[f"{row}-{column}" for row, column in CELLS])
async def test_guarantee(row: str, column: str, anyio_backend: tuple[str, dict[str, object]]) -> None:
    if (row, column) not in CHECKS:
        pytest.fail(f"no check of the cell {column} of {row}")
    with anyio.fail_after(20):
        await CHECKS[row, column](Subject(column, anyio_backend))


def test_every_check_has_its_cell_and_every_cell_its_row() -> None:
    assert set(CHECKS) <= set(CELLS)
    assert len(CELLS) == len(set(CELLS))


def test_the_docs_show_every_row() -> None:
    page = (guarantees.DOCS / "guarantees.md").read_text(encoding="utf-8")
    missing = {row.section for row in TABLE.rows if f"```{{guarantees}} {row.section}\n" not in page}
    assert not missing


@pytest.mark.parametrize("source", ["listener", "listener in a task", "Control-C"])
def test_the_docs_quote_the_table_of_interrupts(source: str) -> None:
    lines = [
        f"| {'some' if row.errors_in_hand else 'none'} | {row.backend} | `{row.leaves_dispatch}` | `{row.leaves_run}` |"
        for row in INTERRUPTS
        if row.source == source
    ]
    page = (guarantees.DOCS / "errors-and-cancellation.md").read_text(encoding="utf-8")
    assert lines
    assert "\n".join(lines) in page


def test_rows_that_are_equal_in_every_column_are_shown_once() -> None:
    sections = [guarantees.get_section(TABLE, id_) for id_ in dict.fromkeys(row.section for row in TABLE.rows)]
    shown = [row.id for section in sections for row in (*section.always, *section.different)]
    by_id = {row.id: row for row in TABLE.rows}

    assert sorted(shown) == sorted(by_id)
    for section in sections:
        for row in section.always:
            assert by_id[row.id].cells == dict.fromkeys(section.columns, row.cells["always"])
        for row in section.different:
            assert len({row.cells.get(column) for column in section.columns}) > 1


def test_a_card_shows_equal_cells_once_with_the_titles_of_their_columns() -> None:
    for row in TABLE.rows:
        titles = guarantees.get_titles(row, TABLE.columns)
        shown = [row.cells[column] for column in titles]

        assert len(shown) == len(set(shown))
        assert set(shown) == set(row.cells.values())
        for column, title in titles.items():
            equal = [TABLE.columns[other] for other, cell in row.cells.items() if cell == row.cells[column]]
            assert title == ", ".join(equal)
