"""A failing scenario prints as a test that can be pasted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from antiphon.testing import Backend, backends
from tests.properties import scenarios as words
from tests.properties.generating import scenarios
from tests.properties.rendering import all_invariants, check, lay_out, observed_invariants, render
from tests.properties.scenarios import Add, Dispatch, Fail, How, Pause, Scenario, Stop, Together, Within
from tests.properties.trace import History

SAMPLE = Scenario(
    behaviors=(
        (Pause(1), Dispatch("order.paid", How("race", "collect"), again=True, caught=True), Stop()),
        (Together((Pause(), Fail())), Within(2, (Pause(5),))),
    ),
    script=(Add(0), Add(1, "order.paid", priority=-5, once=True), Add(1, priority=3), Dispatch(), Dispatch("7")),
)


@pytest.mark.parametrize("invariant", [all_invariants, observed_invariants])
@pytest.mark.parametrize("backend", backends(seeds=[None, 7]), ids=str)
def test_a_printed_test_runs_the_same_scenario(
    backend: Backend, invariant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Any] = []
    namespace: dict[str, Any] = {}
    exec(render(SAMPLE, backend, invariant), namespace)
    namespace[f"test_{invariant.__name__}"]()

    namespace["check"] = lambda *arguments: checked.extend(arguments)
    namespace[f"test_{invariant.__name__}"]()

    assert checked == [invariant, SAMPLE, backend]


def test_a_failure_carries_the_test_to_paste() -> None:
    def broken_invariant(history: History) -> None:
        assert not history.calls

    with pytest.raises(AssertionError) as caught:
        check(broken_invariant, SAMPLE, Backend("asyncio"))

    (note,) = caught.value.__notes__
    assert note.startswith("To paste:")
    assert "def test_broken_invariant():" in note
    assert "Within(seconds=2, steps=(Pause(seconds=5),))" in note


@given(scenario=scenarios())
def test_a_scenario_is_laid_out_in_short_lines(scenario: Scenario) -> None:
    text = lay_out(scenario, 1)

    assert eval(text, vars(words)) == scenario
    assert all(len(line) <= 120 for line in text.splitlines())
