"""The option of the pytest plugin that writes coverage."""

from __future__ import annotations

import pytest

from tests.html_pages import read_page
from tests.testing.test_plugin import Project

TESTS = """
import pytest
from antiphon import EventDispatcher

def validate(event): ...

def pay_back(event): ...

@pytest.fixture
def shop():
    shop = EventDispatcher(name="shop")
    with shop.temporarily() as registrar:
        registrar.add_listener("order.placed", validate)
        registrar.add_listener("order.refunded", pay_back)
        yield shop

@pytest.mark.parametrize("number", range(4))
def test_order(shop, number):
    shop.dispatch("order.placed")
    shop.dispatch("order.plcaed")
"""

TOTALS = "listeners: 1 of 2 called\nevents: 2 of 3 dispatched, 1 received\ndispatches: 8\n"


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.write("test_shop.py", TESTS)
    return project


def test_terminal_shows_what_the_tests_did_not_call(project):
    output = project.run("--antiphon-coverage=-")

    assert TOTALS in output
    [pay_back] = [line for line in output.splitlines() if line.startswith("pay_back")]
    assert pay_back.split() == ["pay_back", "order.refunded", "0", "0", "test_shop.py:7"]


@pytest.mark.slow
def test_page_is_written(project):
    output = project.run("--antiphon-coverage=events.html")

    assert f"{TOTALS}written to events.html\n" in output
    page = read_page((project.folder / "events.html").read_text("utf-8"))
    assert len(page.find(class_="bars")) == 8


@pytest.mark.slow
def test_rows_of_all_workers_are_written(project):
    output = project.run("-p", "xdist", "-n", "2", "--antiphon-coverage=events.txt")

    assert f"{TOTALS}written to events.txt\n" in output
    assert (project.folder / "events.txt").read_text("utf-8").startswith(TOTALS)


@pytest.mark.slow
def test_slowest_dispatches_of_all_workers_are_on_the_page(project):
    project.run("-p", "xdist", "-n", "2", "--antiphon-coverage=events.html")

    page = read_page((project.folder / "events.html").read_text("utf-8"))
    assert len(page.find(class_="bars")) == 8


@pytest.mark.slow
def test_path_that_cannot_be_written_is_refused_before_the_tests(project):
    output = project.run("--antiphon-coverage=no/events.html", code=4)

    assert "passed" not in output


@pytest.mark.slow
def test_without_the_option_nothing_is_observed(project):
    project.write(
        "test_shop.py",
        """
from antiphon import EventDispatcher

def test_dispatcher():
    assert EventDispatcher()._instruments == ()
""",
    )

    assert "event coverage" not in project.run()
