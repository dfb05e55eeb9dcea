"""The gate on bytecode instructions: that it counts, and that growth fails it."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest

from antiphon import AsyncEventDispatcher, Concurrent
from benchmarks.instructions import __main__ as command
from benchmarks.instructions import applications, figures
from benchmarks.instructions.counting import Count, Operation, count
from benchmarks.instructions.rows import dispatching, rows, sequential, synchronous
from benchmarks.workload import NAME, is_listener, listeners

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
    assert command.get_own(command.measure(rows())) == command.get_own(command.measure(rows()))


async def test_only_antiphon_counts_as_its_own():
    async def run():
        return sum(number for number in range(1000))

    counted = await count(Operation(run))
    assert counted.own == 0
    assert counted.total > 1000


async def test_what_runs_around_an_operation_does_not_count():
    dispatcher = AsyncEventDispatcher()

    async def run():
        pass

    def around():
        dispatcher.has_listeners(NAME)

    assert (await count(dispatching(dispatcher.adispatch))).own > 0
    assert (await count(Operation(run, before=around, after=around))).own == 0


async def test_counting_keeps_the_tracer_that_was_set():
    def tracer(frame, what, arg):
        pass

    earlier = sys.gettrace()
    sys.settrace(tracer)
    try:
        await count(sequential(1))
        kept = sys.gettrace()
    finally:
        sys.settrace(earlier)

    assert kept is tracer


@pytest.mark.parametrize(("name", "size", "build"), [*applications.make_operations()])
async def test_operations_of_applications_run_their_listeners(name, size, build):
    seen = []
    operation = build()

    def note(frame, what, _):
        if what == "call" and is_listener(frame.f_code):
            seen.append(frame.f_code)

    async with operation.around():
        operation.before()
        sys.setprofile(note)
        try:
            await operation.run()
        finally:
            sys.setprofile(None)

    assert len(seen) == len(set(seen)) == size, name


async def test_options_of_other_listeners_cost_a_plain_one_nothing():
    def beside(key, **options):
        dispatcher = AsyncEventDispatcher()
        plain, other = listeners("returning", 2)
        dispatcher.add_listener(NAME, plain, once=False, where=None, timeout=None, limit=None)
        dispatcher.add_listener(key, other, **options)
        return dispatching(dispatcher.adispatch)

    alone = (await count(sequential(1))).own

    assert (await count(beside("another", where=bool, timeout=1, limit=1, once=True))).own == alone
    assert (await count(beside("another.*"))).own == alone
    assert (await count(beside(KeyError))).own == alone


# The gate


@pytest.fixture
def gate(monkeypatch, tmp_path, capsys):
    """Run the gate on two counts of 1000, with committed figures of 1000 except those given."""
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "measure", lambda _: {"a": {0: Count(1000, 9)}, "b": {1: Count(1000, 9)}})

    def run(*arguments, **committed):
        rows = {"a": {"0": 1000}, "b": {"1": 1000}, **committed}
        figures.get_path().write_text(json.dumps({workload: row for workload, row in rows.items() if row}))
        return command.main(arguments), capsys.readouterr().out

    return run


def test_equal_figures_pass(gate):
    code, out = gate()

    assert code == 0
    assert "2 figures: none has grown" in out


def test_growth_by_three_percent_fails(gate):
    code, out = gate(b={"1": 970})

    assert code == 1
    assert "b, 1 listener: 1000 instead of 970 (+3.1%)" in out
    assert "FAILED" in out


def test_growth_by_one_percent_passes(gate):
    assert gate(b={"1": 990})[0] == 0


def test_growth_from_zero_fails(gate):
    assert gate(b={"1": 0})[0] == 1


@pytest.mark.parametrize("row", [{}, {"0": 1000}], ids=["workload", "size"])
def test_a_missing_figure_fails(row, gate):
    code, out = gate(b=row)

    assert code == 1
    assert "b, 1 listener: 1000, and none are committed" in out


def test_a_python_without_figures_fails(gate):
    assert gate(a={}, b={})[0] == 1
    figures.get_path().unlink()
    assert command.main([]) == 1


def test_a_shrunk_or_stale_figure_passes_with_a_hint(gate):
    code, out = gate(b={"1": 1030, "3": 1000})

    assert code == 0
    assert "Shrunk by more than 2%" in out
    assert "b, 3 listeners: 1000 are committed, and it is not counted any more" in out
    assert command.UPDATE in out


def test_an_update_rewrites_the_figures(gate):
    assert gate("--update", a={"0": 5}, b={})[0] == 0
    assert figures.read(figures.get_path()) == {"a": {0: 1000}, "b": {1: 1000}}
    assert command.main([]) == 0


def test_a_dispatch_with_more_instructions_fails(monkeypatch, tmp_path):
    class Slower(AsyncEventDispatcher):
        async def adispatch(self, *arguments, **options):
            self.has_listeners(NAME)
            return await super().adispatch(*arguments, **options)

    (row,) = (row for row in rows() if (row.title, row.size) == ("asyncio: by name alone", 10))
    monkeypatch.setattr(command, "rows", lambda: [row])
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    assert command.main(["--update"]) == 0
    assert command.main([]) == 0

    monkeypatch.setattr("benchmarks.instructions.rows.AsyncEventDispatcher", Slower)
    assert command.main([]) == 1


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_each_python_has_a_figure_for_each_row(minor):
    committed = figures.read(figures.get_path((3, minor)))

    assert {(workload, size) for workload in committed for size in committed[workload]} == {
        (row.title, row.size) for row in rows()
    }
