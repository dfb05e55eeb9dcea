"""The gate on bytecode instructions, and the table of what rules cost: that they count, and that they judge."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest

from antiphon import AsyncEventDispatcher, Concurrent
from benchmarks.ablation import measuring, page
from benchmarks.ablation.variants import FULL, VARIANTS
from benchmarks.events import NAME
from benchmarks.instructions import __main__ as command
from benchmarks.instructions import figures
from benchmarks.instructions.counting import Count, Operation, count
from benchmarks.instructions.figures import judge
from benchmarks.instructions.rows import dispatching, rows, sequential, synchronous
from benchmarks.instructions.table import own
from benchmarks.listeners import listeners
from benchmarks.loads import Load

# Counting


@pytest.mark.parametrize(
    "build",
    [
        sequential,
        synchronous,
        partial(sequential, made=True),
        partial(sequential, named=True),
        partial(sequential, strategy=Concurrent()),
    ],
    ids=["sequential", "sync", "made", "named", "concurrent"],
)
async def test_one_more_listener_counts_more(build):
    counts = [(await count(build(size))).own for size in (0, 1, 2, 3)]

    assert counts == sorted(set(counts))


@pytest.mark.slow
def test_two_counts_in_one_process_agree():
    first, second = own(command.measure()), own(command.measure())

    assert first == second


async def test_what_antiphon_calls_is_not_its_own():
    async def run():
        return sum(number for number in range(1000))

    assert (await count(Operation(run))).own == 0
    assert (await count(Operation(run))).total > 1000


async def test_what_is_done_around_an_operation_is_not_counted():
    dispatcher = AsyncEventDispatcher()
    dispatch = dispatching(dispatcher.adispatch)

    async def run():
        pass

    def around():
        dispatcher.has_listeners(NAME)

    assert (await count(dispatch)).own > 0
    assert (await count(Operation(run, before=around, after=around))).own == 0


async def test_counting_leaves_the_tracer_that_was_there():
    seen = []

    def tracer(frame, what, arg):
        seen.append(what)

    earlier = sys.gettrace()
    sys.settrace(tracer)
    try:
        await count(sequential(1))
        left = sys.gettrace()
    finally:
        sys.settrace(earlier)

    assert left is tracer


async def test_a_listener_without_options_counts_the_same_whatever_there_is_beside_it():
    def beside(key, **options):
        dispatcher = AsyncEventDispatcher()
        (plain, other) = listeners("returning", 2)
        dispatcher.add_listener(NAME, plain, once=False, where=None, timeout=None, limit=None)
        dispatcher.add_listener(key, other, **options)
        return dispatching(dispatcher.adispatch)

    plainly = (await count(sequential(1))).own

    assert (await count(beside("another", where=bool, timeout=1, limit=1, once=True))).own == plainly
    assert (await count(beside("another.*"))).own == plainly
    assert (await count(beside(KeyError))).own == plainly


# Judging


def committed(monkeypatch, tmp_path, **changed):
    """Commits figures of 1000 for what is counted, but for those given."""
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "measure", lambda: {"a": {0: Count(1000, 9)}, "b": {1: Count(1000, 9)}})
    kept = {"a": {"0": 1000}, "b": {"1": 1000}, **changed}
    figures.path_of().write_text(json.dumps({workload: row for workload, row in kept.items() if row}))


def test_figures_that_are_the_same_pass(monkeypatch, tmp_path, capsys):
    committed(monkeypatch, tmp_path)

    assert command.main([]) == 0
    assert "2 figures: none has grown" in capsys.readouterr().out


def test_growth_by_three_percent_fails(monkeypatch, tmp_path, capsys):
    committed(monkeypatch, tmp_path, b={"1": 970})

    assert command.main([]) == 1
    assert "b, 1 listener: 1000 instead of 970 (+3.1%)" in capsys.readouterr().out


def test_growth_by_one_percent_passes(monkeypatch, tmp_path):
    committed(monkeypatch, tmp_path, b={"1": 990})

    assert command.main([]) == 0


@pytest.mark.parametrize("row", [{}, {"0": 1000}], ids=["workload", "size"])
def test_a_missing_figure_fails(row, monkeypatch, tmp_path, capsys):
    committed(monkeypatch, tmp_path, b=row)

    assert command.main([]) == 1
    assert "b, 1 listener: 1000, and none are committed" in capsys.readouterr().out


def test_a_python_without_figures_fails(monkeypatch, tmp_path):
    committed(monkeypatch, tmp_path)
    figures.path_of().unlink()

    assert command.main([]) == 1


def test_a_figure_that_shrinks_or_is_not_counted_any_more_passes_with_a_hint(monkeypatch, tmp_path, capsys):
    committed(monkeypatch, tmp_path, b={"1": 1030, "3": 1000})

    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "Shrunk by more than 2%" in out
    assert "b, 3 listeners: 1000 are committed, and it is not counted any more" in out
    assert command.UPDATE in out


def test_an_update_rewrites_the_figures(monkeypatch, tmp_path):
    committed(monkeypatch, tmp_path, a={"0": 5}, b={})

    assert command.main(["--update"]) == 0
    assert figures.read(figures.path_of()) == {"a": {0: 1000}, "b": {1: 1000}}
    assert command.main([]) == 0


def test_growth_from_nothing_is_growth():
    assert [one.verdict for one in judge({"a": {0: 1}}, {"a": {0: 0}})] == ["grown"]


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_each_python_has_a_figure_for_each_row(minor):
    kept = figures.read(figures.path_of((3, minor)))

    assert {(workload, size) for workload, row in kept.items() for size in row} == {
        (row.title, row.size) for row in rows()
    }


# What rules cost

LOADS = [
    Load(size, "returning", made=made, named=named)
    for size in (0, 1, 3, 10)
    for made in (False, True)
    for named in (False, True)
]


@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.workload}, {load.size}")
def test_the_loop_that_rules_are_taken_out_of_is_the_real_one(load):
    assert measuring.instructions(FULL, load) == measuring.real(load), "copy adispatch into variants.full"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.rule)
def test_no_variant_does_more_than_the_real_loop(variant):
    load = Load(3, "returning")

    assert 0 < measuring.instructions(variant, load) <= measuring.real(load)


def test_the_table_in_the_documentation_is_of_this_loop():
    version, kept = page.instructions_in()
    if version.split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"the table is of Python {version}")

    def row(variant):
        return [
            measuring.instructions(variant, Load(size, "returning", made=made))
            for made in measuring.FORMS.values()
            for size in measuring.SIZES
        ]

    whole = row(FULL)
    saved = {
        variant.rule: [full - without for full, without in zip(whole, row(variant), strict=True)]
        for variant in (*VARIANTS, measuring.CONTROL)
    }
    assert kept == {page.WHOLE: whole, **saved}, "python -m benchmarks.ablation --update"
