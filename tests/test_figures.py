"""The page on the tests shows the figures that are stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import figures
from tests.endurance import leaks
from tests.fuzz import __main__ as fuzz
from tests.fuzz.loops import LOOPS, is_available


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


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--programs", "0", "--waiting", "0"]], ids=" ".join)
def test_a_part_of_a_run_of_random_programs_keeps_no_figures(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(figures, "keep", lambda *given: kept.append(given))
    monkeypatch.setattr(fuzz, "ProcessPoolExecutor", ThreadPoolExecutor)

    assert fuzz.main(arguments) == 0

    assert kept == []
    assert "left out: " in capsys.readouterr().out


def test_a_full_run_of_random_programs_keeps_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(figures, "keep", lambda *given: kept.append(given))
    monkeypatch.setattr(fuzz, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(fuzz, "PROGRAMS", 1)
    monkeypatch.setattr(fuzz, "WAITING", 0)

    assert fuzz.main(["--processes", "1"]) == 0

    assert [(session, given["programs"]) for session, given in kept] == [("fuzz", sum(map(is_available, LOOPS)))]


def test_a_run_is_full_if_no_program_of_either_kind_is_left_out() -> None:
    full = (2 * fuzz.PROGRAMS, 2 * fuzz.WAITING)

    assert fuzz.is_full_run(["asyncio", "trio"], *full)
    assert not fuzz.is_full_run(["asyncio", "trio"], full[0] - 1, full[1])
    assert not fuzz.is_full_run(["asyncio", "trio"], full[0], full[1] - 1)


def test_a_run_of_fewer_rounds_keeps_no_figures_of_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(figures, "keep", lambda *given: kept.append(given))
    monkeypatch.setattr(leaks, "CASES", {})

    assert leaks.main(["--rounds", "10"]) == 0
    assert kept == []
