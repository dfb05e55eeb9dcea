"""What all tests share: the backends, and how hard hypothesis looks.

An ``async def test_...`` runs on every backend, with no mark on it (``anyio_mode = "auto"``); a plain one runs once.
``--hypothesis-profile=fuzz`` looks longer, ``few`` less long. Its default is ``dev``, and ``ci`` where the variable ``CI`` is set.
"""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import BOTH, AnyDispatcher

# Timings differ from machine to machine, and a deadline would fail an example for it: pytest-timeout guards instead.
# Fixtures of function scope are set up once for all examples of a test; ours hold no state.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

settings.register_profile("dev", _COMMON)
# The same examples in every run, so that main does not turn red by luck; a failure prints what reproduces it.
settings.register_profile("ci", _COMMON, derandomize=True, database=None, print_blob=True)
settings.register_profile("few", _COMMON, derandomize=True, database=None, print_blob=True, max_examples=20)
settings.register_profile("fuzz", _COMMON, max_examples=5000)
# Explicit, for hypothesis loads a profile of its own where it finds CI. `--hypothesis-profile` comes later and wins.
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def _uvloop_options() -> dict[str, object]:
    if find_spec("uvloop") is None:
        return {}
    import uvloop

    return {"loop_factory": uvloop.new_event_loop}


BACKENDS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(
        ("asyncio", _uvloop_options()),
        id="asyncio+uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed"),
    ),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS, scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Every backend in turn, with its options; ``anyio_backend_name`` gives the name alone."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    """An empty dispatcher of each kind."""
    made: AnyDispatcher = request.param()
    return made


@pytest.fixture(autouse=True, scope="module")
def frozen_heap() -> None:
    """Hide from the garbage collector what was there before the tests of a module.

    Pytest keeps 300,000 objects for this suite, and tests that look for leaks collect thousands of times: with this
    fixture each of their collections takes milliseconds instead of half a second.
    Never call ``gc.unfreeze()`` in a test, because it would bring all of them back.
    """
    gc.collect()
    gc.freeze()
