"""The benchmark with HARP, without HARP: the order of its processes, and how their times are compared."""

from __future__ import annotations

import pytest

from benchmarks.harp import __main__ as command


def make_process(module, *times, dispatches=(1, 0)):
    return command.Process(module, list(dispatches), list(times))


def make_pair(ratio):
    return command.Pair(make_process("whistle", 100_000, 200_000, 900_000), make_process("antiphon", 200_000 * ratio))


def test_the_dispatcher_that_is_first_alternates():
    ran = []

    def run(dispatcher, batches, seed):
        ran.append((dispatcher, batches, seed))
        return make_process(dispatcher, 1)

    pairs = list(command.measure(3, 7, run))

    assert [dispatcher for dispatcher, _, _ in ran] == [
        *("whistle", "antiphon"),
        *("antiphon", "whistle"),
        *("whistle", "antiphon"),
    ]
    assert {batches for _, batches, _ in ran} == {7}
    assert [seed for _, _, seed in ran] == [0, 0, 1, 1, 2, 2]
    assert [(pair.whistle.module, pair.antiphon.module) for pair in pairs] == [("whistle", "antiphon")] * 3


def test_a_ratio_divides_the_medians_of_a_pair():
    assert make_pair(0.5).ratio == 0.5


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
    assert lines[3].split() == "antiphon 200 (180 to 220; 160 to 240) µs".split()
    assert lines[4].split() == "antiphon / whistle 1.000 (0.900 to 1.100; 0.800 to 1.200)".split()


def test_processes_with_other_dispatches_are_not_compared():
    other = command.Pair(make_process("whistle", 1), make_process("antiphon", 1, dispatches=(1, 1)))

    with pytest.raises(ValueError, match="the same dispatches"):
        command.format_pairs([make_pair(1), other])


def test_a_process_on_another_dispatcher_is_refused(monkeypatch):
    done = type("Done", (), {"stdout": '{"module": "antiphon", "dispatches": [], "times": [1]}'})
    monkeypatch.setattr("subprocess.run", lambda *arguments, **options: done)

    assert command.run_worker("antiphon", 1, 0).times == [1]
    with pytest.raises(RuntimeError, match="must run on whistle, but it ran on antiphon"):
        command.run_worker("whistle", 1, 0)
