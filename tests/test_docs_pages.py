"""The pages of the docs fit their screens: code fits a computer, drawings fit a phone, and tables name their columns."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
RECIPES = DOCS / "recipes" / "index.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)

#: The number of characters that fit the column of a page, and a phone.
PAGE_WIDTH, PHONE_WIDTH = 90, 42
#: Bars of the characters with which ``docs/strategies.md`` draws listeners.
BAR = "██"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="needs the checkout")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())


def find_blocks(page, *languages):
    """Return the lines of the code blocks, without those that the page hides."""
    text = re.sub(r"<!-- invisible-code-block:.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [
        (language, line.removeprefix(indent))
        for indent, language, code in BLOCK.findall(text)
        for line in code.splitlines()
    ]
    return [line for language, line in found if language in languages]


@every_page
def test_code_fits_the_column_of_its_page(page):
    lines = find_blocks(page, "python", "sh", "ini")

    assert [line for line in lines if len(line) > PAGE_WIDTH] == []


def test_code_of_the_recipe_files_fits_the_column_of_its_page():
    lines = [line for path in (DOCS / "recipes").glob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]

    assert lines
    assert [line for line in lines if len(line) > PAGE_WIDTH] == []


def test_drawings_of_strategies_fit_a_phone():
    lines = find_blocks(DOCS / "strategies.md", "text")

    assert any(BAR in line for line in lines)
    assert [line for line in lines if len(line) > PHONE_WIDTH] == []


def test_the_installation_fits_a_phone():
    lines = find_blocks(DOCS / "index.md", "sh")

    assert lines
    assert [line for line in lines if len(line) > PHONE_WIDTH] == []


@every_page
def test_tables_name_their_columns(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    headings = [line for line, rule in pairwise(lines) if re.fullmatch(r"\|( :?-+:? \|)+", rule)]

    # Only the column of the names of the rows may be without a title.
    assert [line for line in headings if re.search(r"[^|]\| +\|", line)] == []


def read_recipes():
    """Return the event loops of each recipe, as the index lists them."""
    rows = re.findall(
        r"^\| \[.*?\]\((\w[\w-]*\.md)\) \|.*\| (.+) \|$", RECIPES.read_text(encoding="utf-8"), re.MULTILINE
    )
    return dict(rows)


@pytest.mark.parametrize(("page", "loops"), read_recipes().items() if DOCS.exists() else [])
def test_a_recipe_installs_antiphon_for_its_event_loops(page, loops):
    (line,) = re.findall(r"^pip install (.+)$", (RECIPES.parent / page).read_text(encoding="utf-8"), re.MULTILINE)

    assert [each for each in shlex.split(line) if each.startswith("antiphon")] == [
        "antiphon[trio]" if "Trio" in loops else "antiphon"
    ]


def test_the_index_lists_each_recipe():
    pages = {path.name for path in RECIPES.parent.glob("*.md")} - {RECIPES.name}

    assert set(read_recipes()) == pages
