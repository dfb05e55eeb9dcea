"""Strategies and error policies against each other, where none raises and where one does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from antiphon import AsyncEventDispatcher, Concurrent, ErrorPolicy, Event, Race, Sequential
from benchmarks.cases import Absent, Candidate, Case, Stage
from benchmarks.events import NAME
from benchmarks.listeners import Failure
from benchmarks.loads import Load

SIZES = (1, 10, 100)

WORKLOADS = {"returning": "none raises", "last failing": "the last raises"}

LIMIT = "bare loop, with except"

#: The same on every loop but for what the loop costs; so two are enough.
BACKENDS = ("asyncio", "trio")

#: Errors leave here, or are collected, or not: the statement is the same for all.
STATEMENT = """
try:
    await {call}
except Exception:
    pass
"""


def cases(backends: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Yields a case for each loop, with an error and without, and number of listeners."""
    present = [backend for backend in BACKENDS if backend in backends]
    for backend, (kind, workload), size in product(present, WORKLOADS.items(), SIZES):
        yield Case(
            stage="policies",
            backend=backend,
            workload=workload,
            size=size,
            build=partial(candidates, Load(size, kind, backend)),
            limit=LIMIT,
            listeners_run=size,
            most_passes=2,
        )


def candidates(load: Load) -> list[Candidate | Absent]:
    """Builds all candidates."""
    strategies = (Sequential, Concurrent, Race)
    policies: dict[str, ErrorPolicy] = {"raise": "raise", "collect": "collect", "callable": passed_over}
    return [
        by_hand(load),
        *(
            antiphon(load, f"{strategy.__name__}, {policy}", strategy(errors=errors))
            if not by_chance(load, strategy, policy)
            else Absent(f"{strategy.__name__}, {policy}", "who runs before the error is left to chance", "antiphon")
            for strategy, (policy, errors) in product(strategies, policies.items())
        ),
    ]


def by_chance(load: Load, strategy: type, policy: str) -> bool:
    """Tells whether the error may come first and keep others from running: trio starts tasks in no order."""
    fails, together = load.kind == "last failing", strategy is not Sequential
    return load.backend == "trio" and fails and together and policy == "raise"


def passed_over(error: Exception, event: object, listener: object) -> None:
    """Does nothing with an error."""


def by_hand(load: Load) -> Candidate:
    """Awaits one listener after another, and keeps what they raise."""
    listeners = load.listeners()

    async def loop(event: object) -> list[Failure]:
        errors: list[Failure] = []
        for listener in listeners:
            try:
                await listener(event)
            except Failure as error:
                errors.append(error)
        return errors

    return load.candidate(LIMIT, STATEMENT.format(call="loop(EVENT)"), loop=loop)


def antiphon(load: Load, name: str, strategy: Sequential | Concurrent | Race) -> Candidate:
    """Dispatches by name on a dispatcher with a strategy."""
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in load.listeners():
        dispatcher.add_listener(NAME, listener)
    statement = STATEMENT.format(call="dispatcher.adispatch(name, EVENT)")
    return load.candidate(name, statement, event_base=Event, role="antiphon", dispatcher=dispatcher)


STAGE = Stage("policies", "Strategies and error policies", "listeners", cases)
