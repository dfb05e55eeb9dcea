"""Random programs keep the laws, on both backends, under their own schedules and under seeded ones.

A failing program prints as a test that can be pasted.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.testing import Backend, BackendName
from tests.properties import error_invariants, instrument_invariants, invariants
from tests.properties.generating import nesting, programs
from tests.properties.interpreter import perform, perform_observed
from tests.properties.rendering import check
from tests.properties.scenarios import Program
from tests.properties.trace import History

LAWS: list[Callable[[History], None]] = [
    *(getattr(invariants, name) for name in invariants.__all__),
    *(getattr(error_invariants, name) for name in error_invariants.__all__),
]

LAWS_OF_INSTRUMENTS: list[Callable[[History], None]] = [
    getattr(instrument_invariants, name) for name in instrument_invariants.__all__
]

#: The profile's number is spread over the invariants. One more test holds every program against all of them, so that the
#: tests of one law each, which tell more of a failure, can be slow.
EACH = settings(max_examples=max(10, settings().max_examples // 3))
ALL = settings(max_examples=settings().max_examples * 2)

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
seeds = st.none() | st.integers(0, 1000)


@pytest.mark.slow
@on_both_backends
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@EACH
@given(program=programs(), seed=seeds)
def test_programs_keep_the_law_of(
    law: Callable[[History], None], backend: BackendName, program: Program, seed: int | None
) -> None:
    check(law, program, Backend(backend, seed))


def all_laws(history: History) -> None:
    """All of them."""
    for law in LAWS:
        law(history)


@on_both_backends
@ALL
@given(program=programs(), seed=seeds)
def test_programs_keep_all_laws(backend: BackendName, program: Program, seed: int | None) -> None:
    check(all_laws, program, Backend(backend, seed))


@on_both_backends
@given(program=nesting(), seed=seeds)
def test_dispatches_within_dispatches_of_the_same_event_keep_all_laws(
    backend: BackendName, program: Program, seed: int | None
) -> None:
    check(all_laws, program, Backend(backend, seed))


@on_both_backends
@EACH
@given(program=programs(), seed=st.integers(0, 1000))
def test_a_program_repeats_itself_under_a_seed(backend: BackendName, program: Program, seed: int) -> None:
    def outline() -> list[tuple[int, object, object]]:
        calls = perform(program, Backend(backend, seed)).calls
        return [(call.registration.number, call.began, call.ended) for call in calls]

    assert outline() == outline()


def all_laws_and_those_of_instruments(history: History) -> None:
    """All of them."""
    all_laws(history)
    for law in LAWS_OF_INSTRUMENTS:
        law(history)


@pytest.mark.slow
@on_both_backends
@pytest.mark.parametrize("law", LAWS_OF_INSTRUMENTS, ids=lambda law: law.__name__)
@EACH
@given(program=programs(), seed=seeds)
def test_observed_programs_keep_the_law_of(
    law: Callable[[History], None], backend: BackendName, program: Program, seed: int | None
) -> None:
    check(law, program, Backend(backend, seed), perform_observed)


@on_both_backends
@ALL
@given(program=programs(), seed=seeds)
def test_observed_programs_keep_all_laws_of_programs_that_nobody_observes(
    backend: BackendName, program: Program, seed: int | None
) -> None:
    check(all_laws_and_those_of_instruments, program, Backend(backend, seed), perform_observed)


@on_both_backends
@given(program=nesting(), seed=seeds)
def test_observed_dispatches_within_dispatches_of_the_same_event_keep_all_laws(
    backend: BackendName, program: Program, seed: int | None
) -> None:
    check(all_laws_and_those_of_instruments, program, Backend(backend, seed), perform_observed)


@on_both_backends
@given(program=programs(), seed=st.integers(0, 1000))
def test_an_instrument_changes_nothing_of_what_happens(backend: BackendName, program: Program, seed: int) -> None:
    def outline(perform: Callable[[Program, Backend], History]) -> list[object]:
        history = perform(program, Backend(backend, seed))
        return [
            *((call.registration.number, call.began, call.ended, describe(call.error)) for call in history.calls),
            *((dispatch.began, dispatch.ended, describe(dispatch.error)) for dispatch in history.dispatches),
        ]

    assert outline(perform) == outline(perform_observed)


def describe(error: BaseException | None) -> object:
    """All of an error that a program can see: its kind, its cause and context, and its notes."""
    if error is None:
        return None
    members = [describe(member) for member in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    notes = [re.sub("0x[0-9a-f]+", "", note) for note in getattr(error, "__notes__", ())]
    causes = type(error.__cause__), type(error.__context__), error.__suppress_context__
    return type(error), members, notes, causes
