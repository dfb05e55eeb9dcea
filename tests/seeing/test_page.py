"""The page docs/seeing.md contains what the commands print; ``python -m tests.seeing.test_page`` renews it."""

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
#: A command. It can continue on the next line, and end with a number of lines.
COMMAND = re.compile(r"^\$ antiphon (?P<arguments>(?:.*\\\n)*.*?)(?: \| head -n (?P<lines>\d+))?$", re.MULTILINE)
#: A path in the table of errors, and the line on stderr.
ERROR = re.compile(r"^\| `(?P<path>[\w.:]+)` \| `(?P<line>.*)` \|$", re.MULTILINE)
BLOCK = re.compile(r"^(?P<fence>`{3,})console\n(?P<shown>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


def run_again(shown):
    """Run the commands of a block and return its new text."""
    parts = []
    for command in COMMAND.finditer(shown):
        arguments = shlex.split(command["arguments"].replace("\\\n", ""))
        out, err = io.StringIO(), io.StringIO()
        with (
            chdir(ROOT),
            redirect_stdout(out),
            redirect_stderr(err),
            # The width of a block of code on the page.
            patch("antiphon._cli._get_width", lambda: 88),
        ):
            status = main(arguments)
        # A hint at a mistyped key is not an error.
        assert (status == 0) == (not err.getvalue() or "--event" in arguments)
        lines = out.getvalue().splitlines(keepends=True)
        parts += [f"{command[0]}\n", *lines[: int(command["lines"] or len(lines))], err.getvalue()]
    return "".join(parts)


def read_error(path):
    """Return what the command prints for a path that does not lead to a dispatcher."""
    err = io.StringIO()
    with chdir(ROOT), redirect_stderr(err):
        assert main(["listeners", path]) == 2
    return err.getvalue().rstrip("\n")


def renewed(page):
    """Return the text of a page with the current output of its commands."""

    def block(match):
        shown = run_again(match["shown"])
        fence = "````" if "```" in shown else "```"
        return f"{fence}console\n{shown}{fence}"

    def error(match):
        return f"| `{match['path']}` | `{read_error(match['path'])}` |"

    return ERROR.sub(error, BLOCK.sub(block, page))


def test_page_has_all_commands():
    assert PAGE.read_text(encoding="utf-8").count("\n$ antiphon ") == 7


@pytest.mark.parametrize(
    "match", [*BLOCK.finditer(PAGE.read_text(encoding="utf-8"))], ids=lambda match: match["shown"][:80]
)
def test_commands_print_what_the_page_shows(match):
    assert run_again(match["shown"]) == match["shown"], "python -m tests.seeing.test_page renews the page"


@pytest.mark.parametrize("match", [*ERROR.finditer(PAGE.read_text(encoding="utf-8"))], ids=lambda match: match["path"])
def test_page_shows_the_errors_of_paths(match):
    assert match["line"] == read_error(match["path"]), "python -m tests.seeing.test_page renews the page"


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
