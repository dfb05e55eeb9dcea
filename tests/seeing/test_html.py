"""The HTML page of a description: groups, listeners, links, and texts that look like HTML."""

from __future__ import annotations

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, diagrams
from antiphon._cli import main
from examples.shop.app import dispatcher as shop
from tests.html_pages import read_page

ODD = "</script><img src=x onerror=alert(1)>\"'&\0\n\ud800"


async def listener(event): ...


def page_of(dispatcher):
    return read_page(diagrams.html(dispatcher.describe()))


def group(page, label):
    [found] = [each for each in page.find(class_="group") if each.find("summary")[0].find("span")[0].text == label]
    return found


def test_each_key_has_a_group_with_its_listeners_in_order():
    page = page_of(shop)

    assert [each.text for each in page.find("h1")] == ["Listeners of shop (AsyncEventDispatcher)"]
    shown = {
        each.find("summary")[0].find("span")[0].text: [item.find(class_="code")[0].text for item in each.find("li")]
        for each in page.find(class_="group")
    }
    described = {key.label: [listener.name for listener in key.listeners] for key in shop.describe().keys}
    assert shown == described
    review = group(page, "order.placed").find("li")[1]
    assert review.find(class_="priority")[0].text == "-5"
    assert [badge.text for badge in review.find(class_="badge")] == ["where is_large", "limit 1"]
    assert "Ask an employee to review a large order." in review.text
    assert "examples/shop/app.py:41" in review.text


def test_listener_of_a_pattern_links_to_its_group():
    page = page_of(shop)

    [link] = group(page, "order.paid").find("a")
    assert (link.text, link.attributes["href"]) == ("order.*", f"#{group(page, 'order.*').attributes['id']}")


def test_kinds_of_keys_can_be_selected():
    page = page_of(shop)

    boxes = {box.attributes["data-show"] for box in page.find("input") if "data-show" in box.attributes}
    assert (
        boxes == {each.attributes["data-flags"] for each in page.find(class_="group")} == {"name", "class", "pattern"}
    )


def test_few_keys_are_open():
    assert all("open" in fold.attributes for fold in page_of(shop).find("details"))


def test_many_keys_are_closed_below_the_first_segments_of_their_names():
    class Paid(Event): ...

    dispatcher = EventDispatcher()
    for number in range(25):
        dispatcher.add_listener(f"order.{number}", print)
    for key in ("order.*", "*.paid", "stock", Paid, 7):
        dispatcher.add_listener(key, print)

    page = page_of(dispatcher)

    assert not any("open" in fold.attributes for fold in page.find("details"))
    areas = {area.find("summary")[0].text: len(area.find(class_="group")) for area in page.find(class_="area")}
    assert areas == {
        "order 26 keys": 26,
        "stock 1 key": 1,
        "Other names 1 key": 1,
        "Classes 1 key": 1,
        "Patterns 1 key": 1,
    }


def test_texts_that_look_like_html_are_texts():
    async def odd(event): ...

    odd.__qualname__ = odd.__doc__ = ODD
    dispatcher = AsyncEventDispatcher(name=ODD)
    dispatcher.add_listener(ODD, odd)
    dispatcher.add_listener(f"{ODD}.*", odd)
    dispatcher.add_listener(type("Odd", (Event,), {"__doc__": "</style>"}), odd)

    page = page_of(dispatcher)

    shown = ODD.replace("\0", r"\x00").replace("\n", r"\n").replace("\ud800", r"\ud800")
    assert not page.find("img")
    assert shown in page.find("title")[0].text
    # Two keys, and the listener of each of the three.
    assert len([each for each in page.find("span") if each.text in (shown, f"{shown}.*")]) == 5


def test_page_without_listeners():
    assert page_of(EventDispatcher()).find("main")[0].text == "no listeners"


# The command


def test_view_writes_the_page(tmp_path, capsys):
    file = tmp_path / "events.html"

    assert main(["view", "examples.shop.app:dispatcher", "-o", str(file)]) == 0

    assert file.read_text("utf-8") == diagrams.html(shop.describe()) + "\n"
    assert capsys.readouterr().out == ""


def test_view_prints_the_page_without_a_file(capsys):
    assert main(["view", "examples.shop.app:dispatcher"]) == 0

    assert capsys.readouterr().out == diagrams.html(shop.describe()) + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["examples.shop.app:dispacher"], "examples.shop.app has no dispacher; did you mean dispatcher?"),
        (["examples.shop.app:dispatcher", "-o", "no/folder"], "no/folder cannot be written: No such file or directory"),
    ],
)
def test_view_explains_what_is_wrong(capsys, arguments, message):
    assert main(["view", *arguments]) == 2

    assert capsys.readouterr().err == f"antiphon: {message}\n"
