"""One pair of dispatchers lives through a long history, a step at a time, each in an event loop of its own."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from antiphon.testing import Backend, BackendName
from tests.properties.generating import behaviors, changes, dispatches, hows, steps
from tests.properties.interpreter import Interpreter
from tests.properties.rendering import all_invariants, render
from tests.properties.scenarios import How, Scenario, Step, Steps


class LongHistory(RuleBasedStateMachine):
    """Interprets a scenario that grows meanwhile."""

    backend: BackendName
    interpreter: Interpreter

    @initialize(behaviors=behaviors, default=hows, seed=st.none() | st.integers(0, 1000))
    def begin(self, behaviors: tuple[Steps, ...], default: How, seed: int | None) -> None:
        self.interpreter = Interpreter(Scenario(behaviors, (), default))
        self.taken: list[Step] = []
        self.where = Backend(self.backend, seed)

    @rule(step=st.one_of(changes, dispatches, steps))
    def take(self, step: Step) -> None:
        self.taken.append(step)
        self.where.run(self.interpreter.run_outermost, step)

    @invariant()
    def lookups_are_right(self) -> None:
        if hasattr(self, "interpreter"):
            self.interpreter.check_lookups()

    def teardown(self) -> None:
        """Check the invariants on the whole history."""
        if not hasattr(self, "interpreter"):
            return
        try:
            all_invariants(self.interpreter.history)
        except Exception as exc:
            begun = self.interpreter.scenario
            whole = Scenario(begun.behaviors, tuple(self.taken), begun.default)
            exc.add_note(f"To paste:\n\n{render(whole, self.where, all_invariants)}")
            raise


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_long_histories_keep_the_invariants(name: BackendName) -> None:
    machine = type("LongHistory", (LongHistory,), {"backend": name})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 4, stateful_step_count=30)
    )
