"""Dispatches through an override and with an instrument. One repetition is one dispatch.

Where antiphon logs each dispatch and each call, the limit is whistle, through an override that logs them. Otherwise the
limit is a loop, and the row also has antiphon without the instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from antiphon import AsyncEventDispatcher
from antiphon.instruments import Instrument
from antiphon.instruments.timeline import Timeline
from benchmarks.applications import DoNothing
from benchmarks.libraries import DISPATCHER, LOGGING, OVERRIDING, WHISTLE, WHISTLE_OVERRIDING, Library, get_peers
from benchmarks.measuring import LIMIT, Candidate, Row
from benchmarks.rows.dispatch import await_each
from benchmarks.workload import Load, listeners

__all__ = ("make_observed_rows", "make_override_rows")

SIZES = (0, 1, 3)


def _make_opentelemetry() -> Instrument:
    from opentelemetry.trace import NoOpTracerProvider

    from antiphon.instruments.opentelemetry import OpenTelemetryInstrument

    return OpenTelemetryInstrument(NoOpTracerProvider())


#: What makes the instrument of a row.
INSTRUMENTS: dict[str, Callable[[], Instrument]] = {
    "instrument that does nothing": DoNothing,
    "timeline": partial(Timeline, max_dispatches=1_000),
    "OpenTelemetry, not recording": _make_opentelemetry,
}


def make_override_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop and number of listeners."""
    for backend, size in product(backends, (*SIZES, 10)):
        yield from _make_logging_row("override", "override that logs", OVERRIDING, 0.9, backend, size)


def make_observed_rows(backends: tuple[str, ...], quick: bool) -> Iterator[Row]:
    """Yield a row for each event loop, instrument and number of listeners."""
    for backend in backends:
        for (work, make), size in product(INSTRUMENTS.items(), SIZES):
            build = partial(_build_observed, make, backend, size)
            yield Row("observed", work, size, "loop", build, backend, runs=size)
        for size in SIZES:
            yield from _make_logging_row("observed", "logging instrument, level off", LOGGING, 1.2, backend, size)


def _make_logging_row(group: str, work: str, ours: Library, goal: float, backend: str, size: int) -> Iterator[Row]:
    if WHISTLE in get_peers():
        yield Row(
            group, work, size, "whistle", partial(_build_logging, ours, backend, size), backend, goal=goal, runs=size
        )


def _build_logging(ours: Library, backend: str, size: int) -> Iterator[Candidate]:
    load = Load("sequential", size, "returning", backend)
    yield replace(WHISTLE_OVERRIDING, name=LIMIT).make_candidate(load)
    yield ours.make_candidate(load)


def _build_observed(make: Callable[[], Instrument], backend: str, size: int) -> Iterator[Candidate]:
    load = Load("sequential", size, "returning", backend)
    yield Candidate(LIMIT, load.make_sampler("await run(EVENT)", run=await_each(listeners("returning", size))))
    yield replace(DISPATCHER, make=lambda load: _observe(make())).make_candidate(load)
    yield replace(DISPATCHER, name="no instrument").make_candidate(load)


def _observe(instrument: Instrument) -> Any:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    return dispatcher
