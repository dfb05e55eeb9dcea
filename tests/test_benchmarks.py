"""The benchmarks: every case of every stage builds, and its candidates do the work they are measured by. No times."""

from __future__ import annotations

import pytest

from benchmarks import backends
from benchmarks.cases import Candidate, Case
from benchmarks.sampling import verify
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
