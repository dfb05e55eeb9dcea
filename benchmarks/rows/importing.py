"""Imports, each in a fresh process with cached bytecode. The limit is the import of AnyIO."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from tempfile import TemporaryDirectory

from benchmarks.libraries import get_peers
from benchmarks.measuring import ANTIPHON, LIMIT, Candidate, Row
from benchmarks.workload import Sampler

__all__ = ("make_rows",)

PROGRAM = """
from time import perf_counter_ns
{first}
start = perf_counter_ns()
import {module}
print(perf_counter_ns() - start)
"""


def make_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for the whole import, and one for what antiphon adds to AnyIO."""
    row = partial(Row, group="import", size=None, shows="value", count=1, max_rounds=3 if quick else 7)
    yield row(work="import", limit="import anyio", build=_build)
    yield row(
        work="import, after AnyIO",
        limit="",
        build=lambda: [Candidate(ANTIPHON, _time_import("antiphon", first="import anyio"))],
        goal=7_000_000,
    )


def _build() -> Iterator[Candidate]:
    yield Candidate(LIMIT, _time_import("anyio"))
    yield Candidate(ANTIPHON, _time_import("antiphon"))
    for peer in get_peers():
        yield Candidate(peer.name, _time_import(peer.module or peer.name))


def _time_import(module: str, first: str = "") -> Sampler:
    async def sampler(count: int) -> float:
        _fill_cache(module)
        return sum(float(_run(PROGRAM.format(module=module, first=first))) for _ in range(count))

    return sampler


def _run(code: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = _make_bytecode_folder().name
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@cache
def _fill_cache(module: str) -> None:
    _run(f"import {module}")


@cache
def _make_bytecode_folder() -> TemporaryDirectory[str]:
    """Make a folder for bytecode, because the installation may have none. Python removes it at exit."""
    return TemporaryDirectory()
