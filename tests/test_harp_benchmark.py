"""The benchmark with HARP, without HARP: the order of its processes, and how their times are compared."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from benchmarks.harp import __main__ as command


def make_start(log, *, modules=None, dispatches=None):
    """Make what starts a worker whose batches take 2 ns with whistle and 1 ns with antiphon."""

    @contextmanager
    def start(dispatcher, seed):
        log.append(("start", dispatcher, seed))

        def run_batch():
            log.append(dispatcher)
            return 2.0 if dispatcher == "whistle" else 1.0

        found = (dispatches or {}).get(dispatcher, [1, 0])
        yield command.Worker((modules or {}).get(dispatcher, dispatcher), found, run_batch)
        log.append(("end", dispatcher))

    return start


def make_pair(ratio):
    return command.Pair([1, 0], [100_000, 200_000, 900_000], [100_000 * ratio, 200_000 * ratio, 300_000 * ratio])


def test_the_process_that_is_first_alternates():
    log = []

    pairs = list(command.measure(2, 3, make_start(log)))

    both, reverse = ["whistle", "antiphon"], ["antiphon", "whistle"]
    end = [("end", "antiphon"), ("end", "whistle")]
    first = [("start", "whistle", 0), ("start", "antiphon", 0), *both, *reverse, *both, *end]
    second = [("start", "whistle", 1), ("start", "antiphon", 1), *reverse, *both, *reverse, *end]
    assert log == [*first, *second]
    assert pairs == [command.Pair([1, 0], [2.0] * 3, [1.0] * 3)] * 2


def test_a_process_on_another_dispatcher_is_refused():
    start = make_start([], modules={"antiphon": "whistle"})

    with pytest.raises(RuntimeError, match="must run on antiphon, but it runs on whistle"):
        next(command.measure(1, 1, start))


def test_processes_with_other_dispatches_are_not_compared():
    start = make_start([], dispatches={"antiphon": [1, 1]})

    with pytest.raises(RuntimeError, match=r"the same dispatches: \[1, 0\] on whistle, \[1, 1\] on antiphon"):
        next(command.measure(1, 1, start))


def test_a_ratio_divides_the_times_of_the_same_round():
    assert command.Pair([], [1, 10, 100], [2, 20, 100]).ratio == 2


@pytest.mark.parametrize(
    ("ratios", "judgement"),
    [
        ([0.9] * 8, "antiphon takes less CPU time than whistle"),
        ([1.1] * 8, "antiphon takes more CPU time than whistle"),
        ([0.9, 1.1] * 4, "no difference beyond the noise"),
        ([1.1] * 7, "fewer than 8 pairs: too few to judge"),
    ],
)
def test_most_pairs_must_agree_on_a_difference(ratios, judgement):
    assert command.format_pairs([make_pair(ratio) for ratio in ratios]).splitlines()[-1] == judgement


def test_the_result_has_the_times_and_their_spread():
    lines = command.format_pairs([make_pair(ratio) for ratio in (0.8, 0.9, 1.0, 1.1, 1.2)]).splitlines()

    assert lines[0] == "2 dispatches in a request, 1 of them without listeners"
    assert lines[2].split() == "whistle 200 (200 to 200; 200 to 200) µs".split()
    assert lines[3].split() == "antiphon 200 (180 to 220; 160 to 240) µs".split()
    assert lines[4].split() == "antiphon / whistle 1.000 (0.900 to 1.100; 0.800 to 1.200)".split()


def test_a_worker_that_fails_is_an_error(monkeypatch):
    monkeypatch.setattr(command.sys, "executable", "false")

    with (
        pytest.raises(RuntimeError, match="the process with whistle ended with code 1"),
        command.start_worker("whistle", 0),
    ):
        pytest.fail("it did not start")
