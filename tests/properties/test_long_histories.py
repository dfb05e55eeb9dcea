"""One pair of dispatchers lives through a long history, a step at a time, each in an event loop of its own."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from antiphon.testing import Backend, BackendName
from tests.properties.generating import adds, dispatches, hows, removals, steps, voices
from tests.properties.interpreter import Performer
from tests.properties.rendering import render
from tests.properties.scenarios import Add, Dispatch, How, Program, Remove, Step, Steps, Unsubscribe
from tests.properties.test_scenarios import all_laws


class LongHistory(RuleBasedStateMachine):
    """Performs a program that grows while it is performed."""

    backend: BackendName
    performer: Performer

    @initialize(voices=voices, default=hows, seed=st.none() | st.integers(0, 1000))
    def begin(self, voices: tuple[Steps, ...], default: How, seed: int | None) -> None:
        self.performer = Performer(Program(voices, (), default))
        self.taken: list[Step] = []
        self.where = Backend(self.backend, seed)

    @rule(step=adds)
    def add(self, step: Add) -> None:
        self.take(step)

    @rule(step=removals)
    def remove(self, step: Remove | Unsubscribe) -> None:
        self.take(step)

    @rule(step=dispatches)
    def dispatch(self, step: Dispatch) -> None:
        self.take(step)

    @rule(step=steps)
    def do_anything(self, step: Step) -> None:
        self.take(step)

    def take(self, step: Step) -> None:
        self.taken.append(step)
        self.where.run(self.performer.outermost, step)

    @invariant()
    def the_dispatchers_tell_who_listens(self) -> None:
        history = self.performer.history
        for number, dispatcher in enumerate(self.performer.dispatchers):
            expected = {name: history.alive(number, name) for name in ("x", "y")}
            for name, alive in expected.items():
                told = [listener.registration for listener in dispatcher.get_listeners(name)]
                assert told == alive
                assert dispatcher.has_listeners(name) is bool(alive)
            assert set(dispatcher.get_listeners()) == {name for name, alive in expected.items() if alive}
            assert dispatcher.has_listeners() is any(expected.values())

    def teardown(self) -> None:
        """Hold the whole history against the invariants."""
        if not hasattr(self, "performer"):
            return
        try:
            all_laws(self.performer.history)
        except Exception as exc:
            program = self.performer.program
            whole = Program(program.voices, tuple(self.taken), program.default)
            exc.add_note(f"To paste:\n\n{render(whole, self.where, all_laws)}")
            raise


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_long_history_keeps_the_laws_and_the_dispatchers_know_who_listens(name: BackendName) -> None:
    machine = type("LongHistory", (LongHistory,), {"backend": name})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=settings().max_examples // 4, stateful_step_count=30)
    )
