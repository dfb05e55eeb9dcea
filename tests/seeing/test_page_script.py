"""The script of the HTML pages, in a browser: the filter, the check boxes, sorting, and groups that open."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from html import unescape

import pytest

from antiphon import EventDispatcher, diagrams
from antiphon.instruments.coverage import coverage

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"needs a browser: {', '.join(BROWSERS)}"),
]

#: What the steps of a test can use.
HELPERS = """
const all = (selector) => [...document.querySelectorAll(selector)];
const isShown = (element) => element.checkVisibility();
const shown = (selector) => all(selector).filter(isShown).length;
const type = (text) => {
  document.getElementById("filter").value = text;
  document.getElementById("filter").dispatchEvent(new Event("input"));
};
const click = (selector) => document.querySelector(selector).click();
const count = () => document.getElementById("count").textContent;
const column = (name, table = 0) =>
  [...all("table")[table].tBodies[0].rows]
    .filter(isShown)
    .map((row) => [...row.cells].find((cell) => cell.dataset.label === name).textContent);
const open = () => all("details").filter((fold) => fold.open).length;
const results = [];
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
"""


def run(page, folder, steps, fragment=""):
    """Load a page in a browser and return the results of the steps, which are JavaScript expressions."""
    script = HELPERS + "".join(f"results.push({step});\n" for step in steps)
    script += 'document.body.setAttribute("data-results", JSON.stringify([results, errors]));'
    digest = b64encode(sha256(script.encode()).digest()).decode()
    # The policy of the page stays in force, so its own script runs only if its digest is right.
    page = page.replace("script-src ", f"script-src &#x27;sha256-{digest}&#x27; ", 1)
    assert page.count("</body>") == 1
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    profile = folder / "profile"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
    dom = subprocess.run([*command, path.as_uri() + fragment], capture_output=True, text=True, check=True).stdout

    values, errors = json.loads(unescape(re.search(r'data-results="([^"]*)"', dom)[1]))
    assert errors == []
    assert len(values) == len(steps)
    return values


def make_coverage(events):
    """Return the page of a program with a listener for each event. Every third event is not dispatched."""
    dispatcher = EventDispatcher(name="shop")
    for number in range(events):

        def listener(event): ...

        listener.__qualname__ = f"listener_{number}"
        dispatcher.add_listener(f"order.{number}", listener)
    with coverage(None, dispatcher) as covered:
        for number in range(events):
            if number % 3:
                for _ in range(number % 7):
                    dispatcher.dispatch(f"order.{number}")
    return covered.html()


def test_coverage_of_three_events_is_shown_whole(tmp_path):
    rows, boxes, button = run(
        make_coverage(3), tmp_path, ['shown("tbody tr")', 'shown("[data-show]")', 'shown("button.more")']
    )

    assert (rows, boxes, button) == (6, 2, 0)


def test_coverage_of_hundreds_of_events_can_be_searched(tmp_path):
    # Event 7 is dispatched zero times, because 7 % 7 is 0.
    uncalled = sum(not (number % 3 and number % 7) for number in range(300))
    steps = [
        'shown("table:first-of-type tbody tr")',
        '(click("button.more"), column("listener").length)',
        '(type("order.299"), [column("listener"), column("event", 1), count().split(" ")[0]])',
        '(type(""), click("[data-show=uncalled]"), column("listener").length)',
        '(type("listener_7 "), click("[data-show=uncalled]"), column("listener").length)',
        '(type(""), click("th:nth-of-type(4) button"), column("calls").slice(0, 2))',
        '(click("th:nth-of-type(4) button"), column("calls")[0])',
        'document.querySelector("th[aria-sort]").textContent',
    ]

    limited, whole, found, flagged, other, largest, smallest, title = run(make_coverage(300), tmp_path, steps)

    assert limited == 100  # 50 of each table
    assert whole == 300
    assert found[:2] == [["listener_299"], ["order.299"]]
    assert flagged == uncalled
    assert other > 0
    assert largest == ["6", "6"]
    assert smallest == "0"
    assert title == "calls"


def test_many_listeners_start_closed_and_the_filter_opens_them(tmp_path):
    dispatcher = EventDispatcher(name="shop")
    for number in range(70):

        def listener(event):
            """Write a line."""

        listener.__qualname__ = f"listener_{number}"
        dispatcher.add_listener(f"topic{number % 5}.event_{number}", listener)
    steps = [
        "open()",
        '(type("listener_42"), [open() > 0, shown("li.item"), count().split(" ")[0]])',
        '(type("LISTENER_42 line"), shown("li.item"))',
        '(type("listener_42 nothing"), [shown("li.item"), shown("details")])',
        '(type(""), open())',
        '(click("#open"), open() === all("details").length)',
        'document.getElementById("open").textContent',
        '(click("#open"), open())',
    ]

    closed, found, same, nothing, again, whole, label, end = run(diagrams.html(dispatcher.describe()), tmp_path, steps)

    assert closed == again == end == 0
    assert found == [True, 1, "1"]
    assert same == 1
    assert nothing == [0, 0]
    assert whole is True
    assert label == "Open all"  # the event "toggle", which changes the label, comes later
