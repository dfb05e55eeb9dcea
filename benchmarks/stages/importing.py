"""Import, in fresh processes with compiled caches: anyio's own import is the limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from tempfile import TemporaryDirectory

from benchmarks.cases import Absent, Candidate, Case, Role, Stage
from benchmarks.peers import PEERS

TIME = """
from time import perf_counter_ns
{first}
start = perf_counter_ns()
import {module}
print(perf_counter_ns() - start)
"""

MODULES = """
import sys
{first}
before = len(sys.modules)
import {module}
print(len(sys.modules) - before)
"""

BACKENDS = """
import sys
{first}
import {module}
print(sum(name.partition(".")[0] in ("asyncio", "trio", "uvloop") for name in sys.modules))
"""


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields the time, what of it is our own, the number of modules, and how many of those belong to a backend."""
    rounds = 4 if quick else 7
    case = partial(Case, stage="importing", size=1, limit="anyio", shows="value", count=1)
    yield case(workload="time", build=partial(candidates, TIME), most_rounds=rounds)
    yield case(
        workload="time, once anyio is imported", build=own_part, limit="antiphon", goal=6_000_000, most_rounds=rounds
    )
    yield case(workload="modules", build=partial(candidates, MODULES), unit="modules", most_rounds=1, most_passes=1)
    yield case(
        workload="modules of a backend",
        build=partial(candidates, BACKENDS),
        unit="modules",
        most_rounds=1,
        most_passes=1,
    )


def candidates(program: str) -> list[Candidate | Absent]:
    """Builds all candidates."""
    return [
        importing("anyio", program),
        importing("antiphon", program, role="antiphon"),
        *(
            Absent(peer.name, missing)
            if (missing := peer.missing())
            else importing(peer.name, program, module=peer.imported, role="peer")
            for peer in PEERS
        ),
    ]


def own_part() -> list[Candidate | Absent]:
    """Builds the one candidate that needs no other beside it."""
    return [importing("antiphon", TIME, first="import anyio", role="antiphon")]


def importing(name: str, program: str, *, module: str = "", first: str = "", role: Role = "limit") -> Candidate:
    """Imports a module in a process of its own.

    Args:
        name: What the table calls it.
        program: What the process does; it prints a number.
        module: The module, where that is not its name.
        first: A statement to run before.
        role: What the candidate is in the comparison.
    """
    code = program.format(module=module or name, first=first)

    async def sampler(count: int) -> float:
        return sum(float(_run(code)) for _ in range(count))

    _compile(module or name)
    return Candidate(name, sampler, role)


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=_environment(), check=True, capture_output=True, text=True).stdout


@cache
def _compile(module: str) -> None:
    """Fills the caches with what the import of a module compiles."""
    _run(f"import {module}")


@cache
def _caches() -> TemporaryDirectory[str]:
    """Where compiled modules go, so that they are there even if the installation has none. Removed at exit."""
    return TemporaryDirectory()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": _caches().name}


STAGE = Stage("importing", "Import", "imports", cases)
