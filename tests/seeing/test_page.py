"""The page docs/seeing.md shows what the commands print; ``python -m tests.seeing.test_page`` renews it."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree as ET

import pytest

from antiphon import diagrams
from antiphon._cli import main
from examples.shop.app import dispatcher as shop

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "seeing.md"
BLOCK = re.compile(r"^(?P<fence>`{3,})console\n(?P<shown>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


def run_again(shown):
    """Run the commands of a block and return its new text."""
    lines = []
    for command in re.findall(r"^\$ antiphon (.*)$", shown, re.MULTILINE):
        out, err = io.StringIO(), io.StringIO()
        with (
            chdir(ROOT),
            redirect_stdout(out),
            redirect_stderr(err),
            # The width of a block of code on the page.
            patch("antiphon._cli._get_width", lambda: 88),
        ):
            status = main(shlex.split(command))
        # A hint at a mistyped key is not an error.
        assert (status == 0) == (not err.getvalue() or "--event" in command)
        lines += [f"$ antiphon {command}\n", out.getvalue(), err.getvalue()]
    return "".join(lines)


def renewed(page):
    """Return the text of a page with the current output of its commands."""

    def block(match):
        shown = run_again(match["shown"])
        fence = "````" if "```" in shown else "```"
        return f"{fence}console\n{shown}{fence}"

    return BLOCK.sub(block, page)


def test_page_has_all_commands():
    assert PAGE.read_text(encoding="utf-8").count("\n$ antiphon ") == 11


@pytest.mark.parametrize(
    "match", [*BLOCK.finditer(PAGE.read_text(encoding="utf-8"))], ids=lambda match: match["shown"][:80]
)
def test_commands_print_what_the_page_shows(match):
    assert run_again(match["shown"]) == match["shown"], "python -m tests.seeing.test_page renews the page"


@pytest.mark.parametrize("picture", ["shop-dot.svg", "shop-mermaid.svg"])
def test_pictures_show_the_current_shop(picture, monkeypatch):
    monkeypatch.chdir(ROOT)
    svg = ET.parse(ROOT / "docs" / "pictures" / picture)

    written = [text.strip() for text in svg.getroot().itertext() if text.strip() and "{" not in text]

    labels = re.findall(r'label="(.*?)"', diagrams.dot(shop.describe()))
    expected = [line for label in labels for line in label.split("\\n")]
    if picture == "shop-dot.svg":
        # Graphviz writes one text for each line, and ids of nodes and edges in titles.
        shown = [text.replace("\xa0", " ") for text in written]
        titles = re.compile(r"(key|listener)\d|shop \(AsyncEventDispatcher\)")
        assert sorted(line for line in shown if not titles.match(line)) == sorted(expected)
    else:
        words = sorted(word for line in expected for word in line.split())
        assert sorted(word for text in written for word in text.split()) == words


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
