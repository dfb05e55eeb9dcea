"""The README as PyPI and the CI see it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs the checkout")


def test_links_are_absolute_and_lead_to_files():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    links = re.findall(r"\]\((.*?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    files = [
        link.replace(f"{urls['Source']}/blob/main/", "")
        if link.startswith(urls["Source"])
        else link.replace(f"{urls['Documentation']}/en/latest/", "docs/").replace(".html", ".md")
        for link in links
    ]

    assert len(links) > 5
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert [link for link in links if not link.startswith("https://")] == []


def test_front_page_and_package_have_the_same_tagline():
    tagline = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["description"] == tagline
    assert f"**{tagline}**" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
