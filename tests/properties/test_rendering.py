"""A failing program prints as a test that can be pasted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from antiphon.testing import Backend, backends
from tests.properties import scenarios as words
from tests.properties.generating import programs
from tests.properties.invariants import everything_ends, order_and_ties
from tests.properties.rendering import check, lay_out, render
from tests.properties.scenarios import Add, Dispatch, Fail, How, Pause, Program, Stop, Together, Within
from tests.properties.trace import History

SAMPLE = Program(
    voices=(
        (Pause(1), Dispatch("y", How("race", "collect"), again=True, caught=True), Stop()),
        (Together((Pause(), Fail())), Within(2, (Pause(5),))),
    ),
    script=(Add(0), Add(1, "y", priority=-5, once=True), Add(1, priority=3), Dispatch(), Dispatch("y")),
)


@pytest.mark.parametrize("backend", backends(seeds=[None, 7]), ids=str)
def test_what_is_printed_is_a_test_that_runs(backend: Backend) -> None:
    namespace: dict[str, Any] = {}
    exec(render(SAMPLE, backend, order_and_ties), namespace)

    namespace["test_order_and_ties"]()


def test_what_is_printed_performs_the_same_program_with_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    performed: list[Any] = []
    backend = Backend("trio", 5)
    monkeypatch.setattr("tests.properties.interpreter.perform", lambda *args: performed.extend(args))
    monkeypatch.setattr("tests.properties.invariants.order_and_ties", order_and_ties_of_nothing)
    namespace: dict[str, Any] = {}
    exec(render(SAMPLE, backend, order_and_ties), namespace)
    namespace["test_order_and_ties"]()

    assert performed == [SAMPLE, backend]


def order_and_ties_of_nothing(history: History) -> None:
    assert history is None


def test_a_failure_carries_the_test_to_paste() -> None:
    def broken_law(history: History) -> None:
        assert not history.calls

    with pytest.raises(AssertionError) as caught:
        check(broken_law, SAMPLE, Backend("asyncio"))

    (note,) = caught.value.__notes__
    assert note.startswith("To paste:")
    assert "def test_broken_law():" in note
    assert "Within(seconds=2, steps=(Pause(seconds=5),))" in note


@given(program=programs())
def test_a_program_is_laid_out_as_python_that_makes_it_again_in_short_lines(program: Program) -> None:
    text = lay_out(program, 1)

    assert eval(text, vars(words)) == program
    assert all(len(line) <= 120 for line in text.splitlines())


def test_a_law_that_holds_says_nothing() -> None:
    check(everything_ends, SAMPLE, Backend("trio", 1))
