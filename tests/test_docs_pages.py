"""The pages of the docs fit their screens: code and output fit a computer, drawings fit a phone, and tables name their columns."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
RECIPES = DOCS / "recipes" / "index.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"^( *)(`{3,})(\w+)\n(.*?)^ *\2$", re.DOTALL | re.MULTILINE)
#: A file that a page contains.
INCLUDE = re.compile(r"^```\{literalinclude\} (\S+)$", re.MULTILINE)

#: The number of characters that fit the column of a page, and a phone.
PAGE_WIDTH, PHONE_WIDTH = 90, 42
#: Bars of the characters with which ``docs/strategies.md`` draws listeners.
BAR = "██"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="needs the checkout")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())


def find_blocks(page, *languages):
    """Return the lines of the blocks in some languages, or in all, without those that the page hides."""
    text = re.sub(r"<!-- invisible-code-block:.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = [
        (language, line.removeprefix(indent))
        for indent, _, language, code in BLOCK.findall(text)
        for line in code.splitlines()
    ]
    return [line for language, line in found if language in languages or not languages]


@every_page
def test_code_and_output_fit_the_column_of_their_page(page):
    lines = find_blocks(page)

    assert [line for line in lines if len(line) > PAGE_WIDTH] == []


def test_included_files_fit_the_column_of_their_page():
    paths = [page.parent / path for page in PAGES for path in INCLUDE.findall(page.read_text(encoding="utf-8"))]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]

    assert {path.name for path in paths} >= {"app.py", "events.py", "queued_storage.py"}
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
