"""The benchmarks: every case of every stage builds, and its candidates do the work they are measured by. No times.

And what is shown of a run: tables, charts, and the page.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from random import Random
from xml.etree import ElementTree as ET

import pytest

from benchmarks import backends, page, runs
from benchmarks.cases import Absent, Candidate, Case
from benchmarks.loads import Load
from benchmarks.peers import PEERS, Peer, pluggy, whistle
from benchmarks.report import as_text
from benchmarks.results import Result
from benchmarks.sampling import QUICK, sample, verify
from benchmarks.stages import STAGES, register
from benchmarks.stores import Population

LOOPS = tuple(loop for loop in backends.LOOPS if not backends.missing(loop))

CASES = [case for stage in STAGES.values() for case in stage.cases(LOOPS, True)]


def title(case: Case) -> str:
    """Names a case in the report."""
    return f"{case.stage}-{case.backend}-{case.workload}-{case.size}".replace(" ", "_")


@pytest.mark.parametrize("case", CASES, ids=title)
def test_every_candidate_does_the_work_of_its_case(case):
    async def prove():
        candidates = case.build()
        for candidate in candidates:
            if not isinstance(candidate, Candidate):
                assert candidate.reason
            elif case.listeners_run is None:
                assert await candidate.sampler(1) >= 0
            else:
                await verify(candidate, case.listeners_run)
        assert case.limit in [candidate.name for candidate in candidates]

    backends.run(case.backend, prove)


def test_no_two_cases_share_a_place_in_the_table():
    places = [(case.stage, case.backend, case.workload, case.size) for case in CASES]

    assert len(set(places)) == len(places)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_run_asks_what_a_quick_one_does(stage):
    quick, full = (
        {(case.backend, case.workload) for case in STAGES[stage].cases(LOOPS, quick)} for quick in (True, False)
    )

    assert quick == full


@pytest.mark.parametrize("form", [lambda store: store, register.keyed], ids=["one key", "a key for each"])
@pytest.mark.parametrize("store", register.STORES, ids=lambda store: store.name)
@pytest.mark.parametrize("size", [10, 1000])
def test_a_population_is_as_large_as_it_says(store, form, size):
    store = form(store)
    population = Population(store, size)

    def count(held):
        if isinstance(held, dict):
            return len(held)
        return sum(len(heard) for heard in held.get_listeners().values())

    assert count(population.with_room(population.room)) == size
    for _ in range(3):
        held, items = population.losing(population.room)
        assert len(items) == population.room
        assert count(held) == size - size // 10 + population.room


# Peers


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_peer_says_in_a_sentence_how_it_differs(peer):
    assert peer.difference.endswith(".")
    assert peer.difference[0].isupper()


def absentee(module):
    return Peer("another", "It differs.", {"dispatch": whistle.dispatch}, whistle.store, module=module)


def test_a_peer_that_is_not_installed_is_absent():
    peer = absentee("no_such_library.anywhere")

    absent = Absent("another", "not installed")
    assert peer.candidate("dispatch", Load(1, "returning")) == absent
    assert peer.stored(1, partial(register.adding, size=1)) == absent


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('not on this Python')", "cannot be imported: RuntimeError: not on this Python"),
        ("import no_such_library", "cannot be imported: No module named 'no_such_library'"),
    ],
)
def test_a_peer_that_cannot_be_imported_is_absent(source, reason, tmp_path, monkeypatch):
    name = f"library_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    assert absentee(name).candidate("dispatch", Load(1, "returning")) == Absent("another", reason)


def test_what_a_peer_has_nothing_like_is_absent():
    assert pluggy.PEER.candidate("concurrent", Load(1, "returning", "asyncio")) == Absent(
        "pluggy", "has nothing like it"
    )


# Runs, tables, charts, and the page


def result(candidate, size=1, ratio=1.0, *, role="peer", shows="ratio", goal=None, absent=None, **about):
    kept = {"stage": "dispatch", "backend": "asyncio", "workload": "event given", "limit": "bare loop", **about}
    figures = {} if absent else {"value": 100 * ratio, "ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}
    return Result(
        size=size, candidate=candidate, role=role, shows=shows, goal=goal, unit="ns", absent=absent, **kept, **figures
    )


RESULTS = [
    result("bare loop", role="limit"),
    result("antiphon", ratio=1.9, role="antiphon", goal=1.3),
    result("whistle", ratio=2.5),
    result("aiosignal", ratio=1.5),
    result("pyee", absent="has nothing like it"),
]

#: Of what all the rest is made.
COMMITTED = runs.read(page.COMMITTED)


def test_a_run_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(runs.as_json(RESULTS, {"seed": 0}))

    read = runs.read(path)

    assert read.results == RESULTS
    assert read.options == {"seed": 0}
    assert read.peers == {peer.name: peer.difference for peer in PEERS}


def test_a_run_of_an_earlier_format_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"format": 1, "results": []}))

    with pytest.raises(ValueError, match="make it anew"):
        runs.read(path)


def test_under_a_table_the_peers_in_it_say_how_they_differ():
    text = as_text(RESULTS)

    assert "x 1.90" in text
    assert "absent, has nothing like it: pyee" in text
    (words,) = (peer.difference.split()[:5] for peer in PEERS if peer.name == "aiosignal")
    assert f"aiosignal: {' '.join(words)}" in text
    assert "\n  pyee:" not in text


def test_the_page_is_what_is_made_of_the_committed_run():
    made = page.files(COMMITTED)

    assert set(made) == {page.PAGE, *page.PICTURES.glob("*.svg")}, "python -m benchmarks.page"
    for path, content in made.items():
        assert path.read_text(encoding="utf-8") == content, f"python -m benchmarks.page makes another {path.name}"


def test_the_page_has_no_figures_by_hand():
    words = page.PLACE.sub("", page.TEMPLATE.read_text(encoding="utf-8"))

    assert not re.search(r"\d", words)


def test_the_committed_run_has_all_that_is_measured():
    measured = {(one.stage, one.backend, one.workload) for one in COMMITTED.results}
    cases = [case for stage in STAGES.values() for case in stage.cases(backends.LOOPS, False)]

    assert measured == {(case.stage, case.backend, case.workload) for case in cases}, "nox -s benchmarks -- --page"


def test_the_page_says_what_is_slower_and_what_is_missed():
    run = replace(COMMITTED, results=RESULTS)

    assert "| Sequential dispatch on asyncio | event given | aiosignal: 1.3 at 1 |" in page.MAKERS["faster"](run)
    assert "| Sequential dispatch on asyncio | event given | x 1.90 at 1 (≤ 1.3) |" in page.MAKERS["missed"](run)


def test_a_goal_that_is_met_but_for_noise_is_not_missed():
    run = replace(COMMITTED, results=[result("antiphon", ratio=1.4, role="antiphon", goal=1.3)])

    assert list(page.MAKERS["missed"](run)) == ["None."]


def test_a_quick_run_makes_no_page():
    run = replace(COMMITTED, options={**COMMITTED.options, "quick": True})

    with pytest.raises(ValueError, match="quick"):
        page.files(run)


@pytest.mark.parametrize("path", sorted(page.PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_nothing_in_a_chart_is_cut_off(path):
    drawn = ET.parse(path).getroot()
    _, _, width, height = (float(part) for part in drawn.attrib["viewBox"].split())
    tag = "{http://www.w3.org/2000/svg}"

    for text in drawn.iter(f"{tag}text"):
        # A digit of this size is at most 8 wide.
        assert float(text.attrib["x"]) + 8 * len(text.text) * (0.9 if len(text.text) > 12 else 1) <= width
        assert float(text.attrib["y"]) < height
    for bar in drawn.iter(f"{tag}rect"):
        assert 0 <= float(bar.get("x", 0)) <= float(bar.get("x", 0)) + float(bar.attrib["width"]) <= width


async def test_what_is_done_the_first_time_alone_does_not_count_for_how_often_a_sample_repeats():
    calls = []

    async def sampler(count):
        calls.append(count)
        return 1_000_000.0 if len(calls) == 1 else 1_000.0 * count

    case = Case("stage", "workload", 1, list, "candidate")
    candidate = Candidate("candidate", sampler)
    await sample(case, [candidate], replace(QUICK, rounds=1, sample_ns=400_000), Random(0))

    assert calls[-1] == 400
