"""One run of the proxy under load, and what is wrong with it."""

from __future__ import annotations

import gc
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from antiphon import AsyncEventDispatcher, Concurrent, Event
from examples.proxy.applications import Storage, default_applications
from examples.proxy.applications.storage import DROPPED, WRITTEN
from examples.proxy.events import TRANSACTION_ENDED, TRANSACTION_STARTED
from examples.proxy.limits import Limits
from examples.proxy.proxy import Proxy
from examples.proxy.run import HOST
from examples.proxy.server import serving
from examples.proxy.tally import Tally
from examples.proxy.upstream import Upstream
from tests.load.disturbing import Disturbance

__all__ = ("Outcome", "find_problems", "run")

SCRIPT = Path(__file__).with_name("requests.lua")

#: MB by which the resident memory of the second half of a run may exceed that of the first half.
MAX_GROWTH = 8

SAMPLES = 16

#: Generous, because a busy machine is not an error. At the end, each connection is interrupted once.
LIMITS = Limits(request_seconds=120, reply_seconds=60, upstream_seconds=60, ending_seconds=60, shutdown_seconds=60)


@dataclass
class Outcome:
    """What wrk and the proxy counted in a run."""

    connections: int
    #: The responses that wrk received, for each status.
    received: Counter[int] = field(default_factory=Counter)
    #: The errors of sockets, for each kind.
    socket_errors: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    #: Some wrong responses.
    examples: list[str] = field(default_factory=list)
    p50: float = 0
    p99: float = 0
    #: The transactions that ended, for each status.
    ended: Counter[int | None] = field(default_factory=Counter)
    #: The dispatches, for each name.
    dispatches: Counter[str] = field(default_factory=Counter)
    listeners: int = 0
    #: The counts of the applications.
    counts: Counter[str] = field(default_factory=Counter)
    #: The errors that were logged, for each logger.
    logged: Counter[str] = field(default_factory=Counter)
    #: MB of resident memory, at equal intervals, after a collection of garbage.
    memory: list[float] = field(default_factory=list)
    #: The events that still exist after the run.
    events_left: int = 0

    @property
    def growth(self) -> float:
        """The growth of the resident memory from the first half of the run to the second, in MB."""
        half = len(self.memory) // 2
        return max(self.memory[half:], default=0) - max(self.memory[:half], default=0)

    def read(self, output: str) -> None:
        """Read what ``requests.lua`` prints."""
        for line in output.splitlines():
            kind, _, rest = line.partition(" ")
            name, _, value = rest.partition(" ")
            if kind == "status":
                self.received[int(name)] = int(value)
            elif kind == "error":
                self.socket_errors[name] = int(value)
            elif kind == "figure":
                setattr(self, name, float(value))
            elif kind == "wrong":
                self.examples.append(rest)


def find_problems(outcome: Outcome) -> Iterator[str]:
    """Yield a sentence for each problem."""
    if not outcome.received:
        yield "wrk received nothing"
    yield from (f"wrong: {example}" for example in outcome.examples[:5])

    counts, dispatches, logged = outcome.counts, outcome.dispatches, outcome.logged
    transactions = dispatches[TRANSACTION_STARTED]
    comparisons: dict[str, tuple[float, float]] = {
        "wrong responses": (outcome.wrong, 0),
        "errors of sockets": (outcome.socket_errors.total(), 0),
        "transactions ended": (dispatches[TRANSACTION_ENDED], transactions),
        "ends received": (outcome.ended.total(), transactions),
        WRITTEN: (counts[WRITTEN], transactions),
        DROPPED: (counts[DROPPED], 0),
        "failures received": (counts["failures received"], counts["failed"]),
        "failures at the end logged": (logged["examples.proxy.proxy"], counts["failed at the end"]),
        "failures of records logged": (logged["examples.proxy.applications.storage"], counts["failed records"]),
        "failed connections": (logged["examples.proxy.server"], 0),
        "errors logged by antiphon": (logged["antiphon"], 0),
        "received again": (counts["received again"], counts["dispatched again"]),
        "stopped again": (counts["stopped again"], counts["dispatched again"]),
        "events not restored": (counts["not restored"], 0),
        "events left": (outcome.events_left, 0),
    }
    yield from (f"{word}: {seen:g} instead of {due:g}" for word, (seen, due) in comparisons.items() if seen != due)

    # At the end, wrk closes its connections without waiting for their last responses.
    for status in outcome.received.keys() | outcome.ended.keys():
        unread = outcome.ended[status] - outcome.received[status or 0]
        if not 0 <= unread <= outcome.connections:
            yield f"status {status}: {outcome.received[status or 0]} responses of {outcome.ended[status]} transactions"
    if outcome.growth > MAX_GROWTH:
        yield f"memory: {outcome.growth:.1f} MB more in the second half"


async def run(seconds: int, connections: int, seed: int) -> Outcome:
    """Serve the proxy, let wrk send requests to it, and return what was counted."""
    outcome = Outcome(connections)
    # Concurrent listeners have more ways to lose something. The storage and the nested dispatches use it as well.
    dispatcher = AsyncEventDispatcher(strategy=Concurrent(), name="proxy")
    tally, disturbance = Tally(), Disturbance(seed)
    storage = Storage(max_buffer_size=64, stall_every=500, drain_timeout=60)
    applications = [*default_applications(), storage, disturbance]
    dispatcher.add_instrument(tally)
    for application in applications:
        application.register(dispatcher)

    with _count_logged_errors(outcome.logged):
        async with (
            storage.lifespan(),
            serving(Upstream(), LIMITS) as upstream_port,
            serving(Proxy(dispatcher, HOST, upstream_port, LIMITS), LIMITS) as port,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_sample_memory, outcome.memory, seconds / SAMPLES)
            output = await anyio.run_process(_make_command(port, seconds, connections, seed))
            tasks.cancel_scope.cancel()

    outcome.read(output.stdout.decode(errors="replace"))
    outcome.ended, outcome.dispatches, outcome.listeners = disturbance.statuses, tally.events, tally.listeners
    outcome.counts.update(storage.figures())
    outcome.counts.update(disturbance.counts)
    gc.collect()
    outcome.events_left = sum(isinstance(each, Event) for each in gc.get_objects())
    return outcome


def _make_command(port: int, seconds: int, connections: int, seed: int) -> list[str]:
    # A thread for each connection, so that the script knows to which request a response belongs.
    options = [f"-t{connections}", f"-c{connections}", f"-d{seconds}s", "--timeout=120s", f"--script={SCRIPT}"]
    return ["wrk", *options, f"http://{HOST}:{port}", "--", str(seed)]


async def _sample_memory(samples: list[float], seconds: float) -> None:
    while True:
        await anyio.sleep(seconds)
        # The collector runs rarely, and the memory grows meanwhile: AnyIO, h11 and errors create reference cycles, and
        # so does each dispatch that an instrument observes.
        gc.collect()
        samples.append(_read_memory())


def _read_memory() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _count_logged_errors(counts: Counter[str]) -> Iterator[None]:
    """Count the errors of each logger of the proxy and of antiphon, instead of printing them."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            counts[record.name] += 1

    loggers = [logging.getLogger(name) for name in ("examples", "antiphon")]
    handler = Counting(logging.ERROR)
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
