"""The benchmarks: every candidate does the work that it is measured by, and the page shows the run that is kept.

No test measures a time.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import whistle

import antiphon
from antiphon.instruments import Instrument
from benchmarks import applications, backends, libraries, page, results, table
from benchmarks.measuring import (
    ANTIPHON,
    LIMIT,
    QUICK,
    Candidate,
    Figure,
    Result,
    Row,
    calibrate,
    run,
    verify,
)
from benchmarks.rows import make_rows, registration, request, waiting
from benchmarks.workload import Load, listeners

LOOPS = tuple(loop for loop in backends.LOOPS if not backends.missing(loop))
ROWS = list(make_rows(LOOPS, quick=True))
KEPT = results.read(results.KEPT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.key)).replace(" ", "_"))
def test_every_candidate_does_the_work_of_its_row(row):
    async def check():
        await verify(row)
        candidates = list(row.build())
        if row.runs is None:
            for candidate in candidates:
                assert await candidate.sampler(1) >= 0
        names = [candidate.name for candidate in candidates]
        assert len(set(names)) == len(names)
        assert ANTIPHON in names
        assert (LIMIT in names) == bool(row.limit)

    backends.run(row.backend, check)


async def test_a_candidate_that_runs_too_few_listeners_fails():
    (whistle,) = (peer for peer in libraries.PEERS if peer.name == "whistle")
    candidate = whistle.make_candidate(Load("sync", 2, "synchronous"))
    row = Row("sync", "event given", 3, "loop", lambda: [candidate], runs=3)

    with pytest.raises(RuntimeError, match="whistle must run 3 listeners, but it ran 2"):
        await verify(row)


def test_no_two_rows_have_the_same_key():
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_a_full_run_has_the_rows_of_a_quick_one():
    quick, full = ({row.key[:3] for row in make_rows(LOOPS, quick=quick)} for quick in (True, False))

    assert quick == full


async def test_the_first_repetition_does_not_count_in_the_calibration():
    async def sampler(count, calls=[]):
        calls.append(count)
        return 1_000_000.0 if len(calls) == 1 else 1_000.0 * count

    assert await calibrate(Candidate("candidate", sampler), 400_000) == 400


def test_a_ratio_divides_samples_of_the_same_round():
    rounds = iter(range(1, 100))
    noise = {}

    def make(name, factor):
        async def sampler(count):
            # The machine is slower in each round, for both candidates.
            noise.setdefault(name, []).append(next(rounds))
            return factor * 10 ** len(noise[name])

        return Candidate(name, sampler)

    row = Row("sync", "work", 1, "loop", lambda: [make(LIMIT, 1), make(ANTIPHON, 3)], count=1)
    (measured,) = run([row], replace(QUICK, rounds=5), seed=0)

    assert measured.figures[ANTIPHON] == Figure(3000, 3, 3, 3)


@pytest.mark.parametrize("library", [registration.DICT, registration.DISPATCHER, registration.BY_HANDLE])
@pytest.mark.parametrize("size", [10, 1000])
def test_a_population_keeps_its_size(library, size):
    population = registration.Population(library, size)

    def count(target):
        return len(target) if isinstance(target, dict) else sum(map(len, target.get_listeners().values()))

    assert count(population.with_room(population.room)) == size
    for _ in range(3):
        target, items = population.losing(population.room)
        assert len(items) == population.room
        assert count(target) == size - size // 10 + population.room


# What applications do


def test_a_request_is_mostly_dispatches_without_listeners():
    classes = list(applications.make_event_classes())

    assert len(applications.NAMES) == len(set(applications.NAMES)) == 11
    assert len(set(applications.LISTENED) & set(applications.NAMES)) == 5
    assert len(classes) == len(applications.EVENTS) == 5
    assert [made.name for made in classes if hasattr(made, "name")] == list(applications.CLASS_NAMES)


def test_a_copied_name_is_equal_and_not_identical():
    for name in applications.NAMES:
        copied = applications.copy_name(name)
        assert copied == name
        assert copied is not name


@pytest.mark.parametrize("module", [antiphon, whistle], ids=lambda module: module.__name__)
async def test_the_logging_override_receives_each_dispatch_and_each_call(module, caplog):
    caplog.set_level(logging.DEBUG, applications.quiet_logger.name)
    dispatcher = applications.make_overriding(module.AsyncEventDispatcher)()
    (listener,) = listeners("returning", 1)

    dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed", module.Event())

    lines = [f"added {listener} to order.placed", "dispatch order.placed (Event)", f"call {listener}"]
    assert [record.getMessage() for record in caplog.records] == lines


async def test_a_request_dispatches_each_event_under_its_names_in_order():
    dispatched = []

    async def dispatch(name, event):
        dispatched.append((name, event))

    classes = [*applications.make_event_classes()]
    names = {f"name_{number}": name for number, name in enumerate(applications.NAMES)}
    await request.repeat_request("await dispatch(name_{}, event)", classes, {**names, "dispatch": dispatch})(2)

    once = [(name, made) for made, names in zip(classes, applications.EVENTS, strict=True) for name in names]
    assert [(name, type(event)) for name, event in dispatched] == once * 2
    assert len({id(event) for _, event in dispatched}) == 10


def test_two_overrides_do_not_share_their_code():
    first, second = (vars(applications.make_overriding(antiphon.AsyncEventDispatcher)) for _ in range(2))

    for name in ("add_listener", "adispatch", "_adispatch"):
        assert first[name].__code__ is not second[name].__code__


def test_the_instrument_that_does_nothing_observes_everything():
    methods = {name for name in vars(Instrument) if name.startswith(("dispatch_", "listener_"))}

    assert len(methods) == 5
    assert methods <= set(vars(applications.DoNothing))
    assert applications.DoNothing().get_interest() == "all"


async def test_an_event_that_waits_in_a_queue_takes_at_most_400_bytes():
    assert 0 < await waiting.weigh_queue(1_000) / 1_000 <= 400


def test_the_logger_of_the_benchmarks_is_disabled():
    assert not applications.quiet_logger.isEnabledFor(logging.CRITICAL)


# Libraries


@pytest.mark.parametrize("library", libraries.PEERS, ids=lambda library: library.name)
def test_each_library_states_its_difference(library):
    assert library.difference.endswith(".")
    assert library.difference[0].isupper()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "not installed"),
        ("raise RuntimeError('wrong Python')", "cannot be imported: RuntimeError: wrong Python"),
        ("import no_such_library", "cannot be imported: No module named 'no_such_library'"),
    ],
)
def test_a_library_that_cannot_be_imported_is_omitted(source, reason, tmp_path, monkeypatch):
    module = f"library_{abs(hash(source))}"
    if source:
        (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(libraries, "PEERS", (replace(libraries.PEERS[0], module=module),))

    assert libraries.find_missing() == {"whistle": reason}
    assert libraries.get_peers() == []


# Runs, the table, and the page


def make_result(size=1, ratio=1.9, **others):
    figures = {LIMIT: 1.0, ANTIPHON: ratio, **others}
    figures = {name: Figure(100 * value, value, value, value) for name, value in figures.items()}
    return Result("sequential", "asyncio", "event given", size, "loop", "ns", "ratio", figures)


def test_a_run_is_read_as_it_was_written(tmp_path):
    written = results.make_run([make_result()], {"seed": 0})
    results.write(written, tmp_path / "run.json")

    assert results.read(tmp_path / "run.json") == written


def test_a_run_of_another_format_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"format": 1}))

    with pytest.raises(ValueError, match="make a new run"):
        results.read(path)


def test_a_table_has_a_row_with_all_candidates():
    text = table.as_text([make_result(whistle=2.5, aiosignal=1.5)])

    assert "event given  1          1.90      loop: 100 ns  aiosignal 1.50, whistle 2.50" in text


def make_request_result(work, limit, /, **microseconds):
    figures = {name: Figure(1000 * value, value / microseconds[LIMIT]) for name, value in microseconds.items()}
    return Result("request", "asyncio", work, 5, limit, "ns", "ratio", figures)


REQUESTS = [
    make_request_result("same names", "loop", limit=2.0, antiphon=3.5, whistle=5.0),
    make_request_result("prepared", "loop", limit=2.0, antiphon=2.5),
    make_request_result("override that logs", "whistle", limit=10.0, antiphon=9.0, loop=2.0),
]
REQUEST_LINES = [
    "| same names | 2.00 µs | 3.50 µs | 5.00 µs | 1.75 × loop |",
    "| prepared | 2.00 µs | 2.50 µs |  | 1.25 × loop |",
    "| override that logs | 2.00 µs | 9.00 µs | 10.0 µs | 0.90 × whistle |",
]


def test_the_table_of_requests_has_the_loop_antiphon_and_whistle():
    assert table.as_request_table(REQUESTS).splitlines()[2:] == REQUEST_LINES


def test_the_page_starts_with_the_requests_on_asyncio():
    on_trio = replace(REQUESTS[0], backend="trio", work="on trio")
    pages = page.make_pages(replace(KEPT, results=[*REQUESTS, on_trio, *KEPT.results]))
    text = pages[page.PAGE]

    assert "\n".join(REQUEST_LINES) in text
    assert "on trio" not in text
    assert text.index(REQUEST_LINES[0]) < text.index("```{picture}")
    # It has one table and one chart.
    assert len(re.findall(r"^\| :?--", text, re.MULTILINE)) == text.count("```{picture}") == 1
    assert "| **Sequential dispatch**" in pages[page.FIGURES]


def test_each_row_that_the_page_shows_is_measured():
    measured = {(row.group, row.work, row.size) for row in ROWS}

    for (group, work), sizes in page.SHOWN.items():
        found = {size for *place, size in measured if place == [group, work]}
        assert found
        assert found >= set(sizes)


def test_a_goal_is_missed_beyond_the_noise():
    missed = table.list_missed_goals([make_result(ratio=1.9), make_result(size=3, ratio=1.5)], ROWS)

    assert "| Sequential dispatch on asyncio: event given | 1 | 1.90 | 1.5 |" in missed
    assert "| 3 |" not in missed
    assert table.list_missed_goals([make_result(ratio=1.6)], ROWS) == "No goal is missed."


def test_the_kept_run_has_only_rows_that_are_measured():
    rows = {row.key: row for row in make_rows(backends.LOOPS)}

    for kept in KEPT.results:
        row = rows[kept.key]
        assert (kept.limit, kept.unit, kept.shows) == (row.limit, row.unit, row.shows)


def test_the_page_shows_the_kept_run():
    for path, content in page.make_pages(KEPT).items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name}: run `python -m benchmarks --page`"


@pytest.mark.parametrize("path", page.CHARTS.values(), ids=lambda path: path.stem)
def test_the_charts_show_the_kept_run(path):
    svg = path.read_text(encoding="utf-8")
    texts = [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]

    for title, group, work in page.PANELS:
        assert title in texts
        for name, one in page.find_bars(KEPT, group, work):
            assert page.format_label(one, name) in texts, "run `python -m benchmarks --page`"
            assert name in texts
    assert "dc:date" not in svg


@pytest.mark.parametrize("option", ["quick", "partial"])
def test_the_page_needs_a_full_run(option):
    with pytest.raises(ValueError, match="full run"):
        page.make_pages(replace(KEPT, options={**KEPT.options, option: True}))
