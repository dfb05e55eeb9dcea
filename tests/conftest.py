"""The backends and the Hypothesis profiles of all tests.

An ``async def test_...`` runs on every backend, without a mark (``anyio_mode = "auto"``). A plain function runs once.
``--hypothesis-profile=fuzz`` tries more examples, and ``few`` tries fewer. The default is ``dev``, or ``ci`` if the
variable ``CI`` is set.
"""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from antiphon._listeners.adapters import name_usage
from tests.helpers import BOTH, AnyDispatcher

# No deadline, because timings differ between machines; pytest-timeout limits the tests.
# Fixtures of function scope are set up once for all examples of a test, which is correct for fixtures without state.
# The session `fuzz` tries thousands of programs, so the properties need fewer examples than Hypothesis tries by default.
_COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)

settings.register_profile("dev", _COMMON)
# The same examples in every run, so that CI does not fail by chance. A failure prints how to reproduce it.
settings.register_profile("ci", _COMMON, derandomize=True, database=None, print_blob=True)
settings.register_profile("few", _COMMON, derandomize=True, database=None, print_blob=True, max_examples=20)
settings.register_profile("fuzz", _COMMON, max_examples=5000)
# Hypothesis would load its own profile if `CI` is set. `--hypothesis-profile` still overrides this one.
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


@pytest.fixture(scope="session")
def hypothesis_generator() -> None:
    """Let Hypothesis create its random generator.

    It warns if nothing refers to the generator, and from Python 3.14 on it does not find the reference in a frozen heap.
    """

    @given(strategies.none())
    def draw(_: None) -> None: ...

    draw()


@pytest.fixture(autouse=True, scope="module")
def frozen_heap(hypothesis_generator: None) -> None:
    """Hide from the garbage collector what was there before the tests of a module.

    Pytest keeps 300,000 objects for this suite, and tests that look for leaks collect thousands of times: with this
    fixture each of their collections takes milliseconds instead of half a second.
    Never call ``gc.unfreeze()`` in a test, because it would bring all of them back.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def without_names() -> None:
    """Let no listener of an earlier test, or of an imported test module, have received the name of the dispatch.

    Once a listener has received it, dispatches of the process use more general code, which few programs run.
    """
    name_usage.is_used = False
