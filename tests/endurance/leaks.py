"""``python -m tests.endurance.leaks``: repeat everything that a dispatcher does, and measure the memory that is left.

For each case, the resident memory of the process must stay the same, and the memory that Python allocated. No task may
be left, and no reference cycle that contains an object of antiphon.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import anyio

import antiphon
from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    QueueNotDrained,
    Race,
    Sequential,
    StreamLagged,
)
from tests import figures

#: The rounds of each case in a full run.
ROUNDS = 1_000_000

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
        dispatcher.listen("order.placed", Event)(nothing)
        dispatcher.remove_listener("order.placed", nothing)
        dispatcher.add_listener(Event, nothing)
        dispatcher.remove_listener(Event, nothing)


async def refuse_registrations(rounds: int) -> None:
    """Add and remove listeners in ways that are errors."""
    dispatcher = make(None, nothing)
    key = object()
    for _ in range(rounds):
        with suppress(TypeError):
            dispatcher.add_listener("order.placed", print)  # type: ignore[call-overload]  # it is not async
        with suppress(TypeError):
            dispatcher.add_listener(key, nothing, priority="high")  # type: ignore[call-overload]  # it is not an int
        with suppress(ValueError):
            dispatcher.add_listener("order.p*", nothing)
        with suppress(ValueError):
            dispatcher.remove_listener("order.paid", nothing)


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


async def fail_in_scopes(rounds: int) -> None:
    """Leave the block of a scope with the error of a listener."""
    dispatcher = make(None, nothing)
    for _ in range(rounds):
        with suppress(Declined), dispatcher.scope() as scope:
            scope.add_listener("order.*", fail)
            await scope.adispatch("order.placed")


async def stream(rounds: int) -> None:
    """Read each event from a stream."""
    dispatcher = AsyncEventDispatcher()
    async with dispatcher.stream("order.placed") as events:
        for _ in range(rounds):
            await dispatcher.adispatch("order.placed")
            await anext(events)


async def lag(rounds: int) -> None:
    """Read a stream that drops events, and cancel a dispatch that waits for space in another one."""
    dispatcher = AsyncEventDispatcher()
    async with (
        dispatcher.stream("order.placed", max_buffer_size=1) as events,
        dispatcher.stream("order.paid", max_buffer_size=1, overflow="suspend"),
    ):
        await dispatcher.adispatch("order.paid")
        for _ in range(rounds):
            await dispatcher.adispatch("order.placed")
            await dispatcher.adispatch("order.placed")
            with suppress(StreamLagged):
                await anext(events)
            with anyio.move_on_after(0):
                await dispatcher.adispatch("order.paid")


async def open_streams(rounds: int) -> None:
    """Open a stream of several keys, drop some of its events, and leave its block with an error."""
    dispatcher = AsyncEventDispatcher()
    for _ in range(rounds):
        with suppress(Declined):
            async with dispatcher.stream("order.placed", Event, max_buffer_size=1, overflow="drop_oldest"):
                await dispatcher.adispatch("order.placed")
                await dispatcher.adispatch("order.placed")
                raise Declined


async def expect(rounds: int) -> None:
    """Expect an event."""
    dispatcher = AsyncEventDispatcher()
    for _ in range(rounds):
        async with dispatcher.expect("order.placed"):
            await dispatcher.adispatch("order.placed")


async def expect_nothing(rounds: int) -> None:
    """Expect an event of several keys, until a scope ends."""
    dispatcher = AsyncEventDispatcher()
    for _ in range(rounds):
        with anyio.move_on_after(0):
            await dispatcher.wait_for("order.placed", Event)


async def expect_with_errors(rounds: int) -> None:
    """Expect an event whose predicate fails, in a block that fails."""
    dispatcher = AsyncEventDispatcher()

    def decline(event: Event) -> bool:
        raise Declined

    for _ in range(rounds):
        with suppress(Declined):
            async with dispatcher.expect("order.placed", where=decline):
                await dispatcher.adispatch("order.placed")


def posting(*listeners: Any, **options: Any) -> Callable[[int], Awaitable[None]]:
    """Post events, and ignore the errors."""

    async def run(rounds: int) -> None:
        dispatcher = make(None, *listeners)
        async with dispatcher.queue(max_buffer_size=64, errors=lambda *_: None, **options) as queue:
            for _ in range(rounds):
                await queue.post("order.placed")
            await queue.join()

    return run


async def open_queues(rounds: int) -> None:
    """Open a queue, post an event, and leave the block with an error."""
    dispatcher = make(None, nothing)
    for _ in range(rounds):
        with suppress(Declined):
            async with dispatcher.queue(max_buffer_size=1) as queue:
                await queue.post("order.placed")
                await queue.join()
                raise Declined


async def abandon_queues(rounds: int) -> None:
    """Leave the block of a queue with unfinished events, and let a post wait for space in it before."""
    dispatcher = make(None, wait)
    for _ in range(rounds):
        with suppress(QueueNotDrained):
            async with dispatcher.queue(max_buffer_size=1, drain_timeout=0) as queue:
                await queue.post("order.placed")
                with anyio.move_on_after(0):
                    await queue.join()
                with suppress(anyio.WouldBlock):
                    queue.post_nowait("order.placed")
                    queue.post_nowait("order.placed")
                with anyio.move_on_after(0):
                    await queue.post("order.placed")


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


CASES: dict[str, Callable[[int], Awaitable[None]]] = {
    "Sequential": dispatching(Sequential(), nothing, nothing),
    "Concurrent": dispatching(Concurrent(), nothing, nothing),
    "Race": dispatching(Race(), nothing, stop),
    "Sequential, an error": dispatching(Sequential(), suspend, fail),
    "Sequential, errors collected": dispatching(Sequential(errors="collect"), fail, fail),
    "Concurrent, two tasks": dispatching(Concurrent(), suspend, suspend),
    "Concurrent, an error": dispatching(Concurrent(), wait, fail),
    "Concurrent, errors collected": dispatching(Concurrent(errors="collect"), fail, fail),
    "Race, a loser is cancelled": dispatching(Race(), wait, stop),
    "Sequential, cancelled": cancelling(Sequential()),
    "Concurrent, cancelled": cancelling(Concurrent()),
    "Race, an error": dispatching(Race(), wait, fail),
    "Race, errors collected": dispatching(Race(errors="collect"), fail, fail),
    "Race, cancelled": cancelling(Race()),
    "EventDispatcher, errors collected": dispatch_synchronously,
    "registrations": register,
    "registrations, errors": refuse_registrations,
    "new names": use_new_names(),
    "scopes": open_scopes,
    "scopes, errors": fail_in_scopes,
    "streams": stream,
    "streams, events dropped": lag,
    "streams, opened and closed": open_streams,
    "expectations": expect,
    "expectations, cancelled": expect_nothing,
    "expectations, errors": expect_with_errors,
    "posts": posting(nothing),
    "posts, errors": posting(fail),
    "posts, workers and keys": posting(fail, workers=4, ordered_by=lambda event: id(event) % 7),
    "queues, opened and closed": open_queues,
    "queues, unfinished events": abandon_queues,
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


def run_case(name: str, backend: str, rounds: int) -> tuple[str, str, Left, float]:
    """Measure a case, which should have a process of its own: another one may have left free memory to use."""
    started = time.monotonic()
    left = anyio.run(measure, CASES[name], rounds, backend=backend)
    return name, backend, left, time.monotonic() - started


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a case leaves more than it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.leaks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--backend", choices=("asyncio", "trio"), action="append")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--short", action="store_true", help="2,000 rounds")
    parser.add_argument("--processes", type=int, default=2, help="how many cases run at a time")
    options = parser.parse_args(arguments)
    rounds = 2_000 if options.short else options.rounds
    backends = options.backend or ["asyncio", "trio"]
    results: list[Left] = []
    started = time.monotonic()
    # Not forked, so that each case starts with the same memory.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=fresh, max_tasks_per_child=1) as pool:
        runs = [pool.submit(run_case, name, backend, rounds) for name in options.case or CASES for backend in backends]
        for run in as_completed(runs):
            name, backend, left, seconds = run.result()
            print(
                f"{'LEAK ' if left.is_leak() else ''}{backend}, {name}: {left.rounds:,} rounds, "
                f"{left.allocated:,} bytes allocated, {left.resident // 1024:,} KB resident, {left.tasks} tasks, "
                f"{left.cyclic} objects in cycles, {seconds:.0f} s",
                flush=True,
            )
            results.append(left)
    leaks = sum(left.is_leak() for left in results)
    total = sum(left.rounds for left in results)
    print(f"{leaks} leaks in {total:,} rounds, {time.monotonic() - started:.0f} s")
    figures.print_left_out(total, ROUNDS * len(CASES) * 2, "rounds")
    if rounds >= ROUNDS and not options.case and not options.backend:
        figures.keep(
            "leaks",
            {
                "cases on each backend": len(CASES),
                "rounds of a case": rounds,
                "rounds of all cases": total,
                "leaks": leaks,
                "most allocated memory, in bytes": max(left.allocated for left in results),
                "most resident memory, in kilobytes": max(left.resident for left in results) // 1024,
                "tasks left": sum(left.tasks for left in results),
                "objects of antiphon in reference cycles": sum(left.cyclic for left in results),
            },
        )
    return int(bool(leaks))


if __name__ == "__main__":
    sys.exit(main())
