"""The picture of a timeline as SVG."""

from __future__ import annotations

import re
from functools import partial
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.instruments.timeline import as_svg
from docs import pictures
from docs.pictures import TimelineBuilder
from tests.seeing.timeline_records import timeline_records

SVG = "{http://www.w3.org/2000/svg}"

#: What a character takes at most of the fonts that are named, in pixels at the size that is drawn.
WIDEST = 7.23


def drawn(records, **options):
    return ET.fromstring(as_svg(records, **options))


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def boxes(root, outcome):
    return [box for box in root.iter(f"{SVG}rect") if box.get("class") == outcome and box.get("width") != "24.0"]


def reach(element):
    """Tell from where to where a text or a box reaches, as it is drawn at its widest."""
    x = float(element.get("x", 0))
    if element.tag == f"{SVG}rect":
        return x, x + float(element.get("width"))
    width = WIDEST * len(element.text)
    return (x - width / 2, x + width / 2) if element.get("text-anchor") == "middle" else (x, x + width)


def test_it_names_itself_for_those_who_do_not_see_it():
    root = drawn(pictures.nested())

    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title" and root[0].text == "2 dispatches, 5 calls of listeners"
    assert root[1].tag == f"{SVG}desc" and root[1].text == "Bars by time, 14.6 ms from left to right."


def test_rows_have_their_names_and_what_is_to_be_said():
    shown = texts(drawn(pictures.race()))

    assert {"price.wanted", "  0  query_replica", "4.4 ms, stopped the event", "skipped: stopped"} <= set(shown)
    assert shown.count("5 ms") == 2


def test_bars_lie_where_their_time_is():
    root = drawn(pictures.in_turn_or_together())
    validate, reserve, charge, receipt, *_, together = boxes(root, "finished")

    assert reach(validate)[1] == pytest.approx(reach(reserve)[0], abs=0.2)
    assert reach(charge)[1] == pytest.approx(reach(receipt)[0], abs=0.2)
    scale = float(validate.get("width")) / 3.1
    assert float(charge.get("width")) == pytest.approx(9.1 * scale, rel=0.01)
    # The second dispatch begins at the left, too.
    assert reach(together)[1] == pytest.approx(reach(validate)[0] + 16.4 * scale, abs=0.5)


def test_outcomes_differ_by_colour_and_by_texture():
    play = TimelineBuilder()
    record = play.dispatch("order.placed", 0, 9)
    for number, outcome in enumerate(("finished", "failed", "cancelled", "running")):
        play.call(record, f"listener_{number}", 2 * number, 2 * number + 2, outcome)
    text = as_svg(play.records)

    assert [len(boxes(ET.fromstring(text), outcome)) for outcome in ("finished", "failed", "cancelled", "running")] == [
        1
    ] * 4
    assert text.count('fill="url(#antiphon-failed)"') == text.count('fill="url(#antiphon-cancelled)"') == 2
    assert texts(ET.fromstring(text))[-4:] == ["finished", "failed", "cancelled", "still runs"]


def test_there_is_no_legend_if_all_ended_well():
    assert "finished" not in texts(drawn(pictures.in_turn_or_together()))


def test_it_has_colours_for_light_and_dark():
    style = drawn(pictures.race()).find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")

    for kind in (
        "text",
        ".page",
        ".quiet",
        ".grid",
        ".dispatch",
        ".finished",
        ".failed",
        ".cancelled",
        ".running",
        ".texture",
    ):
        assert f"{kind} " in light and f"{kind} " in dark


def test_styles_reach_nothing_else_of_a_page_that_holds_it():
    style = drawn(pictures.race()).find(f"{SVG}style").text
    selectors = re.findall(r"([^{}]+)\{", style.replace("@media (prefers-color-scheme: dark) {", ""))

    assert all(each.strip().startswith(".antiphon-timeline") for each in ",".join(selectors).split(","))


def test_what_is_cut_is_told_in_full():
    play = TimelineBuilder()
    name, message = "a_listener_with_a_name_" * 5, "a message " * 15
    play.call(play.dispatch("order.placed", 0, 1), name, 0, 1, "failed", error=ValueError(message))
    root = drawn(play.records)

    assert any(text.endswith("…") for text in texts(root))
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert any(name in title and message.strip() in title for title in titles)


def test_signs_of_the_format_in_names_stay_signs():
    play = TimelineBuilder("<&>")
    play.call(play.dispatch('"a" < b & c', 0, 1), partial(print, "]]>\x00\ud800"), 0, 1)
    shown = texts(drawn(play.records))

    assert '"a" < b & c' in shown
    assert "0  print(']]>\\x00\\ud800')" in shown


def test_no_dispatch_is_said():
    assert texts(drawn([])) == ["No dispatch was seen"]


def test_dropped_dispatches_are_counted_aloud():
    assert any("3 earlier dispatches were dropped" in text for text in texts(drawn(pictures.race(), dropped=3)))


def test_ten_thousand_calls_in_one_place_are_not_drawn_one_by_one():
    play = TimelineBuilder()
    for number in range(2000):
        play.call(play.dispatch("order.placed", number, number + 0.1), "charge", number, number + 0.1)
    root = drawn(play.records)

    assert 300 < len(boxes(root, "finished")) < 1000
    assert "2000 calls" in texts(root)


def test_refuses_a_width_without_room():
    with pytest.raises(ValueError, match=r"at least 480 pixels.* got 479"):
        as_svg([], width=479)


@given(timeline_records(), st.integers(480, 1600), st.sampled_from(["dispatch", "listener"]))
def test_nothing_is_cut_and_nothing_lies_on_a_label(records, width, by):
    root = drawn(records, width=width, by=by)
    height = float(root.get("height"))
    bars = [box for outcome in ("finished", "failed", "cancelled", "running") for box in boxes(root, outcome)]
    labels = [text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "start"]

    for element in [*bars, *root.iter(f"{SVG}text")]:
        left, right = reach(element)
        assert left >= 0 and right <= width
        assert 0 < float(element.get("y")) < height
    for bar in bars:
        top, (left, right) = float(bar.get("y")), reach(bar)
        beside = [reach(label) for label in labels if 0 < float(label.get("y")) - top < 15]
        assert all(end <= left or start >= right for start, end in beside)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_pictures_of_the_docs_are_drawn_anew_by_python_docs_pictures(name):
    assert (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == pictures.draw(name)


def test_the_text_of_the_docs_is_drawn_anew_by_python_docs_pictures():
    page = pictures.PAGE.read_text(encoding="utf-8")

    assert pictures.update_page(page) == page
