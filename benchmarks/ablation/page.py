"""The table of costs, as Markdown, and its place in the documentation."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.ablation.measuring import FORMS, SIZES, Cost

__all__ = ("PAGE", "WHOLE", "as_markdown", "instructions_in", "put")

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"

BEGIN = "<!-- written by `python -m benchmarks.ablation --update`: begin -->\n"
END = "<!-- end -->\n"

#: What the table calls the dispatch that nothing is taken out of.
WHOLE = "the whole dispatch"

PLACES = [(form, size) for form in FORMS for size in SIZES]


def as_markdown(whole: Cost, saved: Iterable[Cost]) -> str:
    """Draws the tables: one of instructions, one of nanoseconds."""
    rows = [(WHOLE, whole), *((cost.variant.rule, cost) for cost in saved)]
    version = platform.python_version()
    instructions = [(name, [f"{cost.instructions[place]}" for place in PLACES]) for name, cost in rows]
    nanoseconds = [(name, [f"{round(cost.nanoseconds[place])}" for place in PLACES]) for name, cost in rows]
    return "\n".join(
        [
            *_table(f"Instructions, Python {version}", instructions),
            "",
            *_table(f"Nanoseconds, Python {version}", nanoseconds),
            "",
        ]
    )


def put(table: str, page: Path = PAGE) -> None:
    """Puts the tables into the documentation, in the place of the earlier ones."""
    before, _, after = _parts(page.read_text(encoding="utf-8"))
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def instructions_in(page: Path = PAGE) -> tuple[str, dict[str, list[int]]]:
    """Reads back what the documentation says of instructions, for the test that compares it.

    Returns:
        The version of Python, and the figures by rule, in the order of the columns.
    """
    _, tables, _ = _parts(page.read_text(encoding="utf-8"))
    first = tables.strip().partition("\n\n")[0].splitlines()
    version = re.search(r"Python (\S+)", first[0])
    assert version is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first[2:]]
    return version[1], {row[0]: [int(cell) for cell in row[1:]] for row in rows}


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    tables, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page does not say where the tables stand")
    return before, tables, after


def _table(title: str, rows: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    heads = [f"{form}, {size}" for form, size in PLACES]
    yield f"| {' | '.join([title, *heads])} |"
    yield f"| {' | '.join(['---', *('--:' for _ in heads)])} |"
    for name, cells in rows:
        yield f"| {' | '.join([name, *cells])} |"
