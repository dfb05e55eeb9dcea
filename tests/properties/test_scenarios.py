"""Random scenarios keep the invariants, on both backends, under their own schedules and under seeded ones."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.testing import Backend, BackendName
from tests.properties.generating import nested_scenarios, registration_scenarios, scenarios
from tests.properties.interpreter import Interpreter, interpret, interpret_observed
from tests.properties.rendering import all_invariants, check, observed_invariants, render
from tests.properties.scenarios import Scenario
from tests.properties.trace import History

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
kinds = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
invariants = pytest.mark.parametrize(
    "invariant", [all_invariants, observed_invariants], ids=["alone", "with an instrument"]
)
seeds = st.none() | st.integers(0, 1000)


@backends
@invariants
@given(scenario=scenarios(), seed=seeds)
def test_scenarios_keep_the_invariants(backend: BackendName, invariant: Any, scenario: Scenario, seed: int) -> None:
    check(invariant, scenario, Backend(backend, seed))


@backends
@invariants
@given(scenario=nested_scenarios(), seed=seeds)
def test_nested_dispatches_keep_the_invariants(
    backend: BackendName, invariant: Any, scenario: Scenario, seed: int
) -> None:
    check(invariant, scenario, Backend(backend, seed))


@kinds
@invariants
@given(data=st.data())
def test_registrations_keep_the_invariants(sync: bool, invariant: Any, data: st.DataObject) -> None:
    check(invariant, data.draw(registration_scenarios(sync=sync)), Backend("asyncio"))


@kinds
# The garbage collector takes most of the time of an example.
@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
async def test_closed_listeners_and_scopes_are_not_kept(sync: bool, data: st.DataObject) -> None:
    scenario = data.draw(registration_scenarios(sync=sync))
    tasks = len(anyio.get_running_tasks())
    interpreter = Interpreter(scenario)
    await interpreter.run_script()
    interpreter.close()
    references, kept = interpreter.references, interpreter.dispatchers[:2]
    del interpreter
    gc.collect()

    assert [reference() for reference in references if reference() is not None] == [], render(
        scenario, Backend("asyncio"), all_invariants
    )
    assert len(anyio.get_running_tasks()) == tasks
    assert not any(dispatcher.has_listeners() for dispatcher in kept)


@kinds
@settings(max_examples=5)
@given(data=st.data())
async def test_memory_of_a_dispatcher_does_not_grow(sync: bool, data: st.DataObject) -> None:
    many = [data.draw(registration_scenarios(sync=sync)) for _ in range(4)]
    kept = Interpreter(many[0]).dispatchers
    sizes: list[int] = []

    for _ in range(3):
        for scenario in many:
            interpreter = Interpreter(scenario, dispatchers=kept)
            await interpreter.run_script()
            interpreter.close()
            del interpreter
        gc.collect()
        sizes.append(len(gc.get_objects()))

    assert sizes[-1] <= sizes[0] + 50


@backends
@given(scenario=scenarios(), seed=st.integers(0, 1000))
def test_a_seed_repeats_a_scenario_also_with_an_instrument(backend: BackendName, scenario: Scenario, seed: int) -> None:
    def outline(interpret: Callable[[Scenario, Backend], History]) -> list[object]:
        history = interpret(scenario, Backend(backend, seed))
        return [
            *((call.registration.number, call.began, call.ended, describe(call.error)) for call in history.calls),
            *((dispatch.began, dispatch.ended, describe(dispatch.error)) for dispatch in history.dispatches),
        ]

    assert outline(interpret) == outline(interpret) == outline(interpret_observed)


def describe(error: BaseException | None) -> object:
    """Return all of an error that a program can see: its kind, its cause and context, and its notes."""
    if error is None:
        return None
    members = [describe(member) for member in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    notes = [re.sub("0x[0-9a-f]+", "", note) for note in getattr(error, "__notes__", ())]
    causes = type(error.__cause__), type(error.__context__), error.__suppress_context__
    return type(error), members, notes, causes
