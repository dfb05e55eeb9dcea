"""The documents about the layout agree with the files of the repository."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "antiphon"

pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="needs the checkout")


def test_the_architecture_lists_each_private_module():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| Folder | Modules")[2].partition("\n\n")[0]
    listed = {
        folder: set(re.findall(r"`(\w+)`", modules)) for folder, modules in re.findall(r"\| `(\w+)/` \|(.*)", table)
    }

    found = {folder.name: {path.stem for path in folder.glob("[!_]*.py")} for folder in SOURCE.glob("_*/")}
    del found["_cli"]

    assert listed == {folder: modules for folder, modules in found.items() if modules}


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="the sdist has no benchmarks")
def test_contributing_names_paths_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [path for path in re.findall(r"`([\w./]+/[\w./-]*)`", text) if not path.startswith(("_", "testing/"))]
    folders = ("", "src/antiphon/")

    assert paths
    assert [path for path in paths if not any((ROOT / folder / path).exists() for folder in folders)] == []


def test_no_module_is_longer_than_400_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}

    assert {str(path): length for path, length in lengths.items() if length > 400} == {}


def test_the_libraries_of_the_recipes_are_installed_by_their_session():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    requirements = [line for name in ("test", "recipes", "harp") for line in groups[name] if isinstance(line, str)]
    installed = {re.match(r"[\w-]+", line)[0] for line in requirements}
    lines = [
        line.removeprefix("pip install ")
        for page in (ROOT / "docs" / "recipes").glob("*.md")
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("pip install ")
    ]

    required = {re.match(r"[\w-]+", each)[0] for line in lines for each in shlex.split(line)}

    assert required - installed == {"antiphon"}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_code_blocks_of_a_page_are_closed(page):
    # Sphinx does not warn: the rest of the page would be code.
    fence = None
    for line in page.read_text(encoding="utf-8").splitlines():
        match = re.match(r" *(`{3,})([^`]*)$", line)
        if match and fence is None:
            fence = match[1]
        elif match and match[1].startswith(fence) and not match[2].strip():
            fence = None

    assert fence is None
