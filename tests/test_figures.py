"""The page on the tests shows the figures that are stored."""

from __future__ import annotations

import pytest

from tests import figures


@pytest.mark.skipif(not figures.PAGE.exists(), reason="needs the checkout")
def test_the_page_shows_the_stored_figures() -> None:
    page = figures.PAGE.read_text(encoding="utf-8")

    assert figures.make_page(page) == page
    assert figures.read()
    for name in figures.read():
        assert f"<!-- begin {name} -->" in page


def test_figures_become_a_table() -> None:
    kept = {"date": "2026-01-02", "python": "3.13.0", "figures": {"orders": 1234, "lost": 0}}

    assert figures._as_table(kept).splitlines() == [
        "| Figure | Value |",
        "| --- | ---: |",
        "| orders | 1,234 |",
        "| lost | 0 |",
        "",
        "Measured on 2026-01-02 with Python 3.13.0.",
    ]
