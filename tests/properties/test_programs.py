"""Random programs keep the laws, on both backends, under their own schedules and under seeded ones.

A failing program prints as a test that can be pasted.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import laws, laws_of_errors
from tests.properties.generating import nesting, programs
from tests.properties.history import History
from tests.properties.performer import perform
from tests.properties.programs import Program
from tests.properties.rendering import check
from tests.support import Backend, BackendName

LAWS: list[Callable[[History], None]] = [
    *(getattr(laws, name) for name in laws.__all__),
    *(getattr(laws_of_errors, name) for name in laws_of_errors.__all__),
]

#: The profile's number is spread over the laws; one more test holds every program against all of them.
EACH = settings(max_examples=max(10, settings().max_examples // 3))
ALL = settings(max_examples=settings().max_examples * 2)

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
seeds = st.none() | st.integers(0, 1000)


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
