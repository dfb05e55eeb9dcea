"""The HTML page of coverage: tables, check boxes, the timeline, and texts that look like HTML."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher
from antiphon.instruments.coverage import Coverage, coverage
from tests.html_pages import read_page

ODD = "</script><img src=x onerror=alert(1)>\"'&\0\ud800"


async def validate(event): ...


async def fail(event):
    raise LookupError(ODD)


@pytest.fixture
async def page():
    shop = AsyncEventDispatcher(name="shop")
    shop.add_listener("order.placed", validate, limit=2)
    shop.add_listener("order.closed", validate)
    shop.add_listener("order.paid", fail)

    @shop.listen("order.placed", priority=5)
    async def charge(event):
        await shop.adispatch("order.paid")

    with coverage(None, shop) as covered:
        with pytest.raises(LookupError):
            await shop.adispatch("order.placed")
        await shop.adispatch("order.lost")
    return read_page(covered.html())


def rows(table):
    return [[cell.text for cell in row.find("td")] for row in table.find("tbody")[0].find("tr")]


def titles(table):
    return [cell.text for cell in table.find("th")]


async def test_tables_have_all_listeners_and_events(page):
    listeners, events = page.find("table")

    assert titles(listeners) == [
        "listener", "key", "priority", "calls", "failed", "mean", "longest", "total", "defined in",
    ]  # fmt: skip
    assert {tuple(row[:5]) for row in rows(listeners)} == {
        ("validate limit 2", "order.placed", "0", "1", ""),
        ("charge", "order.placed", "5", "1", "1"),
        ("fail", "order.paid", "0", "1", "1"),
        ("validate", "order.closed", "0", "0", ""),
    }
    assert {tuple(row[:4]) for row in rows(events)} == {
        ("order.placed", "Event", "1", ""),
        ("order.paid", "Event", "1", ""),
        ("order.lost", "Event", "1", "1"),
        ("order.closed", "", "0", ""),
    }


async def test_rows_that_need_attention_come_first(page):
    listeners = page.find("table")[0]

    assert [row[0] for row in rows(listeners)] == ["charge", "fail", "validate", "validate limit 2"]


async def test_check_boxes_select_rows(page):
    selected = {}
    for row in page.find("tr", class_="item"):
        for flag in row.attributes["data-flags"].split():
            selected.setdefault(flag, set()).add(row.find("td")[0].text)

    assert selected == {
        "uncalled": {"validate"},
        "undispatched": {"order.closed"},
        "unreceived": {"order.lost"},
        "failed": {"charge", "fail", "order.placed", "order.paid"},
    }
    boxes = {box.attributes["data-show"] for box in page.find("input") if "data-show" in box.attributes}
    assert boxes == selected.keys()


async def test_numbers_are_sorted_by_their_values(page):
    listeners = page.find("table")[0]
    totals = [row.find("td")[7] for row in listeners.find("tbody")[0].find("tr")]

    assert all(float(cell.attributes["data-value"]) >= 0 for cell in totals)
    assert any(cell.text.endswith("s") for cell in totals)


async def test_timeline_shows_the_slowest_dispatches_with_those_within_them(page):
    slowest, other = page.find(class_="bars")

    assert [row.find(class_="code")[0].text for row in slowest.find("div") if row.find(class_="code")] == [
        "order.placed", "0  validate", "5  charge", "order.paid", "0  fail",
    ]  # fmt: skip
    assert [bar.attributes["class"].split()[-1] for bar in slowest.find("i")] == [
        "failed", "finished", "failed", "failed", "failed",
    ]  # fmt: skip
    assert "order.lost" in other.text


async def test_links_lead_to_the_groups_below_the_listeners(page):
    targets = {
        each.attributes["id"]: each.find("h2")[0].text for each in page.find("section") if "id" in each.attributes
    }

    assert {link.attributes["href"]: link.text for link in page.find("header")[0].find("a")} == {
        f"#{id_}": title for id_, title in targets.items()
    }
    assert list(targets.values()) == ["Events", "Slowest dispatches"]


async def test_texts_that_look_like_html_are_texts():
    async def odd(event): ...

    odd.__qualname__ = ODD
    dispatcher = AsyncEventDispatcher(name=ODD)
    dispatcher.add_listener(ODD, odd)
    with coverage(None, dispatcher) as covered:
        await dispatcher.adispatch(ODD)
        await AsyncEventDispatcher(name="other").adispatch("order.placed")

    page = read_page(covered.html())

    shown = ODD.replace("\0", r"\x00").replace("\ud800", r"\ud800")
    assert not page.find("img")
    # The listener and its key, the event, and the two rows of the timeline.
    assert sum(each.text.endswith(shown) for each in page.find(class_="code")) == 5


def test_page_without_dispatches():
    page = read_page(Coverage().html())

    assert [title.text for title in page.find("h2")] == ["Listeners", "Events"]
    assert not page.find("table")
    assert not page.find("a")
