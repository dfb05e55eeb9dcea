"""``python -m tests.endurance.leaks``: repeat everything that a dispatcher does, and measure the memory that is left.

For each case, the resident memory of the process must stay the same, and the memory that Python allocated. No task may
be left, and no reference cycle that contains an object of antiphon.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import anyio

import antiphon
from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from tests import figures

#: What may be left of a case, whatever the number of rounds: caches that are not full yet, and memory of the allocator.
ALLOCATED, RESIDENT = 20_000, 3_000_000

_SOURCE = str(Path(antiphon.__file__).parent)
_serial = count()


class Declined(Exception):
    """The error of a listener."""


async def nothing(event: Event) -> None:
    """Return."""


async def suspend(event: Event) -> None:
    """Wait for one turn of the event loop."""
    await anyio.sleep(0)


async def fail(event: Event) -> None:
    """Wait, and raise an error."""
    await anyio.sleep(0)
    raise Declined


async def wait(event: Event) -> None:
    """Wait until it is cancelled."""
    await anyio.sleep_forever()


async def stop(event: Event) -> None:
    """Stop the event."""
    event.stop_propagation()


def make(strategy: Any, *listeners: Any) -> AsyncEventDispatcher:
    """Make a dispatcher with listeners."""
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in listeners:
        dispatcher.add_listener("order.placed", listener)
    return dispatcher


def dispatching(strategy: Any, *listeners: Any) -> Callable[[int], Awaitable[None]]:
    """Dispatch, and drop the errors."""
    dispatcher = make(strategy, *listeners)

    async def run(rounds: int) -> None:
        for _ in range(rounds):
            try:
                await dispatcher.adispatch("order.placed")
            except (Declined, ExceptionGroup):
                pass

    return run


def cancelling(strategy: Any) -> Callable[[int], Awaitable[None]]:
    """Dispatch in a scope that ends at once."""
    dispatcher = make(strategy, suspend, wait)

    async def run(rounds: int) -> None:
        for _ in range(rounds):
            with anyio.move_on_after(0):
                await dispatcher.adispatch("order.placed")

    return run


async def register(rounds: int) -> None:
    """Add a listener with options, and remove it."""
    dispatcher = AsyncEventDispatcher()
    for number in range(rounds):
        with dispatcher.add_listener(f"order.{number % 2_000}", nothing, priority=number % 7, once=True, where=bool):
            pass
        dispatcher.add_listener(Event, nothing)
        dispatcher.remove_listener(Event, nothing)


def use_new_names() -> Callable[[int], Awaitable[None]]:
    """Dispatch under a name that was never used before."""
    dispatcher = make(None, nothing)
    dispatcher.add_listener("order.*", nothing)

    async def run(rounds: int) -> None:
        for _ in range(rounds):
            await dispatcher.adispatch(f"order.{next(_serial)}")

    return run


async def open_scopes(rounds: int) -> None:
    """Open a scope, and dispatch to a listener of its own."""
    dispatcher = make(None, nothing)
    for _ in range(rounds):
        with dispatcher.scope() as scope:
            scope.add_listener("order.placed", nothing)
            await scope.adispatch("order.placed")


async def stream(rounds: int) -> None:
    """Read each event from a stream."""
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as events:
        for _ in range(rounds):
            await dispatcher.adispatch("order.placed")
            await anext(events)


async def expect(rounds: int) -> None:
    """Expect an event."""
    dispatcher = AsyncEventDispatcher()
    for _ in range(rounds):
        async with dispatcher.expect("order.placed"):
            await dispatcher.adispatch("order.placed")


def posting(*listeners: Any) -> Callable[[int], Awaitable[None]]:
    """Post events, and ignore the errors."""

    async def run(rounds: int) -> None:
        dispatcher = make(None, *listeners)
        async with dispatcher.queue(max_buffer_size=64, errors=lambda *_: None) as queue:
            for _ in range(rounds):
                await queue.post("order.placed")
            await queue.join()

    return run


async def dispatch_synchronously(rounds: int) -> None:
    """Dispatch without an event loop, with an error."""
    dispatcher = EventDispatcher(errors="collect")

    @dispatcher.listen("order.placed")
    def decline(event: Event) -> None:
        raise Declined

    for _ in range(rounds):
        try:
            dispatcher.dispatch("order.placed")
        except ExceptionGroup:
            pass


#: Each case, and which part of the rounds it does: those that create tasks or errors need more time.
CASES: dict[str, tuple[Callable[[int], Awaitable[None]], float]] = {
    "Sequential": (dispatching(Sequential(), nothing, nothing), 1),
    "Concurrent": (dispatching(Concurrent(), nothing, nothing), 1),
    "Race": (dispatching(Race(), nothing, stop), 1),
    "Sequential, an error": (dispatching(Sequential(), suspend, fail), 0.1),
    "Sequential, errors collected": (dispatching(Sequential(errors="collect"), fail, fail), 0.1),
    "Concurrent, two tasks": (dispatching(Concurrent(), suspend, suspend), 0.1),
    "Concurrent, an error": (dispatching(Concurrent(), wait, fail), 0.1),
    "Concurrent, errors collected": (dispatching(Concurrent(errors="collect"), fail, fail), 0.1),
    "Race, a loser is cancelled": (dispatching(Race(), wait, stop), 0.1),
    "Sequential, cancelled": (cancelling(Sequential()), 0.1),
    "Concurrent, cancelled": (cancelling(Concurrent()), 0.1),
    "EventDispatcher, errors collected": (dispatch_synchronously, 0.1),
    "registrations": (register, 1),
    "new names": (use_new_names(), 1),
    "scopes": (open_scopes, 1),
    "streams": (stream, 1),
    "expectations": (expect, 0.1),
    "posts": (posting(nothing), 1),
    "posts, errors": (posting(fail), 0.1),
}


@dataclass
class Left:
    """What a case has left."""

    rounds: int
    allocated: int
    resident: int
    tasks: int
    cyclic: int

    def is_leak(self) -> bool:
        """Return whether it is more than what any number of rounds leaves."""
        return self.allocated > ALLOCATED or self.resident > RESIDENT or bool(self.tasks or self.cyclic)


async def measure(case: Callable[[int], Awaitable[None]], rounds: int) -> Left:
    """Run a case, and return what it has left."""
    # The caches hold 1024 names, and drop all when they are full: after so many rounds they are as before.
    few = 1024 * max(1, rounds // 50_000)
    await case(3_000)  # fills the caches
    tasks = _count_tasks()
    # The dispatcher of a case, its stream or its queue may be in a cycle: only what grows with the rounds is a leak.
    cyclic = await _count_cycles(case, 300) - await _count_cycles(case, 100)

    tracemalloc.start()
    try:
        await case(few)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await case(few)
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    await case(few)
    gc.collect()
    resident = _read_resident()
    await case(rounds)
    gc.collect()
    return Left(rounds, allocated, _read_resident() - resident, _count_tasks() - tasks, cyclic)


async def _count_cycles(case: Callable[[int], Awaitable[None]], rounds: int) -> int:
    """Return how many objects of antiphon only the garbage collector would have found."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await case(rounds)
        gc.collect()
        return sum(_is_ours(one) for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _is_ours(candidate: Any) -> bool:
    if isinstance(candidate, FrameType):
        return candidate.f_code.co_filename.startswith(_SOURCE)
    if isinstance(candidate, FunctionType):
        return candidate.__code__.co_filename.startswith(_SOURCE)
    return str(getattr(type(candidate), "__module__", "")).partition(".")[0] == "antiphon"


def _read_resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def _count_tasks() -> int:
    if "trio" in sys.modules:
        import trio

        if trio.lowlevel.in_trio_run():
            return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a case leaves more than it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.leaks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--backend", choices=("asyncio", "trio"), action="append")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--short", action="store_true", help="20,000 rounds")
    options = parser.parse_args(arguments)
    rounds = 20_000 if options.short else options.rounds
    backends = options.backend or ["asyncio", "trio"]
    total: dict[str, Any] = {"rounds of all cases": 0, "leaks": 0}
    largest = {"most allocated memory, in bytes": 0, "most resident memory, in kilobytes": 0}
    started = time.monotonic()
    for backend in backends:
        for name in options.case or CASES:
            case, part = CASES[name]
            left = anyio.run(measure, case, int(rounds * part), backend=backend)
            leak = left.is_leak()
            print(
                f"{'LEAK ' if leak else ''}{backend}, {name}: {left.rounds:,} rounds, {left.allocated:,} bytes allocated, "
                f"{left.resident // 1024:,} KB resident, {left.tasks} tasks, {left.cyclic} objects in cycles",
                flush=True,
            )
            total["rounds of all cases"] += left.rounds
            total["leaks"] += leak
            largest["most allocated memory, in bytes"] = max(largest["most allocated memory, in bytes"], left.allocated)
            kilobytes = max(largest["most resident memory, in kilobytes"], left.resident // 1024)
            largest["most resident memory, in kilobytes"] = kilobytes
    print(f"{total['leaks']} leaks in {total['rounds of all cases']:,} rounds, {time.monotonic() - started:.0f} s")
    if not options.short and not options.case and not options.backend:
        figures.keep("leaks", {"cases on each backend": len(CASES), "rounds of a case": rounds, **total, **largest})
    return int(bool(total["leaks"]))


if __name__ == "__main__":
    sys.exit(main())
