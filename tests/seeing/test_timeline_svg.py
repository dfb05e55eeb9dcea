"""The timeline as SVG, and the pictures of the docs."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.instruments.timeline import as_svg
from docs import pictures
from docs.pictures import TimelineBuilder
from tests.seeing.timeline_records import timeline, timeline_records

SVG = "{http://www.w3.org/2000/svg}"

#: The width of the widest character of the named fonts, in pixels at the size that is drawn.
WIDEST = 7.23
OUTCOMES = ("finished", "failed", "cancelled", "running")


def drawn(records, **options):
    return ET.fromstring(as_svg(records, **options))


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def boxes(root, outcome):
    return [box for box in root.iter(f"{SVG}rect") if box.get("class") == outcome and box.get("width") != "24.0"]


def reach(element):
    """Return the left and the right end of a text or a box at its widest."""
    x = float(element.get("x", 0))
    if element.tag == f"{SVG}rect":
        return x, x + float(element.get("width"))
    width = WIDEST * len(element.text)
    left = x - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor")]
    return left, left + width


def test_has_a_title_and_a_description():
    root = drawn(pictures.nested())

    assert root.get("role") == "img"
    assert [(each.tag, each.text) for each in root[:2]] == [
        (f"{SVG}title", "2 dispatches, 5 calls of listeners"),
        (f"{SVG}desc", "Bars by time, 14.6 ms from left to right."),
    ]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (
            pictures.race(),
            {"price.wanted", "  0  query_replica", "4.4 ms, stopped the event", "skipped: stopped", "5 ms"},
        ),
        ([], {"No dispatches were recorded"}),
    ],
)
def test_texts_of_rows(records, expected):
    assert expected <= set(texts(drawn(records)))


def test_dropped_dispatches_are_counted():
    assert any("3 earlier dispatches were dropped" in text for text in texts(drawn(pictures.race(), dropped=3)))


def test_bars_are_placed_by_time():
    root = drawn(pictures.in_turn_or_together())
    validate, reserve, charge, receipt, *_, together = boxes(root, "finished")

    assert reach(validate)[1] == pytest.approx(reach(reserve)[0], abs=0.2)
    assert reach(charge)[1] == pytest.approx(reach(receipt)[0], abs=0.2)
    scale = float(validate.get("width")) / 3.1
    assert float(charge.get("width")) == pytest.approx(9.1 * scale, rel=0.01)
    # The second dispatch begins at the left, too.
    assert reach(together)[1] == pytest.approx(reach(validate)[0] + 16.4 * scale, abs=0.5)


def test_outcomes_differ_by_color_and_texture():
    calls = (f"listener_{n} {2 * n} {2 * n + 2} {outcome}" for n, outcome in enumerate(OUTCOMES))
    text = as_svg(timeline(" | ".join(["order.placed 0 9", *calls])))
    root = ET.fromstring(text)

    assert [len(boxes(root, outcome)) for outcome in OUTCOMES] == [1] * 4
    assert text.count('fill="url(#antiphon-failed)"') == text.count('fill="url(#antiphon-cancelled)"') == 2
    assert texts(root)[-4:] == ["finished", "failed", "cancelled", "still runs"]
    # No legend if all calls finished.
    assert "finished" not in texts(drawn(pictures.in_turn_or_together()))


def test_styles_are_for_light_and_dark_and_stay_within():
    style = drawn(pictures.race()).find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    selectors = re.findall(r"([^{}]+)\{", style.replace("@media (prefers-color-scheme: dark) {", ""))

    for kind in ("text", *(f".{name}" for name in ("page", "quiet", "grid", "dispatch", *OUTCOMES, "texture"))):
        assert f"{kind} " in light and f"{kind} " in dark
    assert all(each.strip().startswith(".antiphon-timeline") for each in ",".join(selectors).split(","))


def test_cut_texts_are_whole_in_the_title():
    builder = TimelineBuilder()
    name, message = "a_listener_with_a_name_" * 5, "a message " * 15
    builder.call(builder.dispatch("order.placed", 0, 1), name, 0, 1, "failed", error=ValueError(message))
    root = drawn(builder.records)

    assert any(text.endswith("…") for text in texts(root))
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert any(name in title and message.strip() in title for title in titles)


def test_names_are_escaped():
    builder = TimelineBuilder("<&>")
    builder.call(builder.dispatch('"a" < b & c', 0, 1), partial(print, "]]>\x00\ud800"), 0, 1)

    assert {'"a" < b & c', "0  print(']]>\\x00\\ud800')"} <= set(texts(drawn(builder.records)))


def test_thousands_of_short_calls_are_merged():
    root = drawn(timeline(*(f"order.placed {n} {n + 0.1} | charge {n} {n + 0.1}" for n in range(2000))))

    assert 300 < len(boxes(root, "finished")) < 1000
    assert "2000 calls" in texts(root)


def test_narrow_width_is_refused():
    with pytest.raises(ValueError, match=r"at least 320 pixels.* got 319"):
        as_svg([], width=319)


@given(timeline_records(), st.integers(320, 1600), st.sampled_from(["dispatch", "listener"]))
@example(timeline("order.placed 0 100"), 320, "dispatch")
def test_nothing_overlaps_or_leaves_the_picture(records, width, by):
    root = drawn(records, width=width, by=by)
    height = float(root.get("height"))
    bars = [box for outcome in OUTCOMES for box in boxes(root, outcome)]
    labels = [text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "start"]

    for element in [*bars, *root.iter(f"{SVG}text")]:
        left, right = reach(element)
        assert left >= 0 and right <= width
        assert 0 < float(element.get("y")) < height
    for bar in bars:
        top, (left, right) = float(bar.get("y")), reach(bar)
        beside = [reach(label) for label in labels if 0 < float(label.get("y")) - top < 15]
        assert all(end <= left or start >= right for start, end in beside)
    for row in root.iter(f"{SVG}g"):
        for one, other in pairwise(row.findall(f"{SVG}text")):
            assert reach(one)[1] <= reach(other)[0]


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("theme", pictures.THEMES)
@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_of_the_docs_are_current(name, theme, narrow):
    path = pictures.get_path(pictures.FOLDER / name, theme, narrow=narrow)

    assert path.read_text(encoding="utf-8") == pictures.draw(name, theme, narrow=narrow)


def test_pictures_of_the_docs_have_the_colors_of_one_theme():
    light, dark = (pictures.draw("race", theme) for theme in pictures.THEMES)

    # The last rule for the page wins.
    assert re.findall(r"\.page \{ fill: (#\w+)", light)[-1] == "#ffffff"
    assert re.findall(r"\.page \{ fill: (#\w+)", dark)[-1] == "#0d1117"
    assert "prefers-color-scheme" not in light + dark


@pytest.mark.parametrize("theme", pictures.THEMES)
@pytest.mark.parametrize("name", pictures.DIAGRAMS)
def test_diagrams_of_the_docs_have_the_colors_of_one_theme(name, theme):
    path = pictures.get_path(pictures.FOLDER / name, theme)
    colors = set(re.findall(r"#[0-9a-f]{6}", path.read_text(encoding="utf-8")))

    assert path.read_text(encoding="utf-8") == pictures.recolor(name, theme)
    assert colors.isdisjoint(pictures.COLORS[theme])
    assert colors >= set(pictures.COLORS[theme].values())


def test_text_of_the_docs_is_current():
    page = pictures.PAGE.read_text(encoding="utf-8")

    assert pictures.update_page(page) == page


def test_a_legend_that_does_not_fit_has_two_lines():
    builder = TimelineBuilder()
    record = builder.dispatch("order.placed", 0, None, "running")
    for outcome in OUTCOMES:
        builder.call(record, outcome, 0, None if outcome == "running" else 1, outcome)
    heights = {width: int(drawn(builder.records, width=width).get("height")) for width in (320, 479)}

    assert heights[320] - heights[479] == 22


def test_labels_of_a_narrow_chart_are_whole_above_their_bars():
    wide, narrow = (drawn(pictures.race(), width=width) for width in (760, 400))

    assert set(texts(narrow)) >= {text for text in texts(wide) if not text.endswith(" ms")}
    for outcome in ("finished", "cancelled"):
        assert len(boxes(narrow, outcome)) == len(boxes(wide, outcome))
    (label,) = (text for text in narrow.iter(f"{SVG}text") if text.text == "  0  query_origin")
    (bar,) = boxes(narrow, "cancelled")
    assert 0 < float(bar.get("y")) - float(label.get("y")) < 10
