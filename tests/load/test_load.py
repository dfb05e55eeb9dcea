"""The load test finds lost events and wrong responses in what wrk and the proxy counted."""

from __future__ import annotations

from collections import Counter

import pytest

from examples.proxy.events import TRANSACTION_ENDED, TRANSACTION_STARTED
from tests.load.running import Outcome, find_problems

OUTPUT = "status 200 7\nstatus 500 2\nerror read 0\nfigure wrong 0\nfigure p99 8.5\n"


def make_outcome(output=OUTPUT):
    """Return an outcome without problems: the client left one of ten transactions before its response."""
    counts = Counter({"rows written": 10, "failed": 2, "failures received": 2, "failed at the end": 1})
    outcome = Outcome(
        connections=2,
        ended=Counter({200: 8, 500: 2}),
        dispatches=Counter({TRANSACTION_STARTED: 10, TRANSACTION_ENDED: 10}),
        counts=counts,
        logged=Counter({"examples.proxy.proxy": 1}),
        memory=[40, 42, 42, 43],
    )
    outcome.read(output)
    return outcome


def test_a_run_without_faults_has_no_problems():
    assert list(find_problems(make_outcome())) == []


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("", "wrk received nothing"),
        (f"{OUTPUT}wrong /hello/1: 404 instead of 200\n", "wrong: /hello/1: 404 instead of 200"),
        (f"{OUTPUT}figure wrong 1\n", "wrong responses: 1 instead of 0"),
        (f"{OUTPUT}error timeout 3\n", "errors of sockets: 3 instead of 0"),
        (f"{OUTPUT}status 200 9\n", "status 200: 9 responses of 8 transactions"),
        (f"{OUTPUT}status 404 1\n", "status 404: 1 responses of 0 transactions"),
    ],
)
def test_a_wrong_response_is_a_problem(output, problem):
    assert problem in find_problems(make_outcome(output))


@pytest.mark.parametrize(
    ("group", "name", "problem"),
    [
        ("counts", "rows written", "rows written: 9 instead of 10"),
        ("counts", "failures received", "failures received: 1 instead of 2"),
        ("dispatches", TRANSACTION_ENDED, "transactions ended: 9 instead of 10"),
        ("ended", 200, "ends received: 9 instead of 10"),
        ("logged", "examples.proxy.proxy", "failures at the end logged: 0 instead of 1"),
    ],
)
def test_a_lost_event_is_a_problem(group, name, problem):
    outcome = make_outcome()
    getattr(outcome, group)[name] -= 1

    assert list(find_problems(outcome)) == [problem]


def test_memory_that_grows_and_events_that_stay_are_problems():
    outcome = make_outcome()
    outcome.memory += [50, 60]
    outcome.events_left = 4

    assert list(find_problems(outcome)) == ["events left: 4 instead of 0", "memory: 18.0 MB more in the second half"]
