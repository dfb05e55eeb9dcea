"""``python -m tests.fuzz``: compare random programs on antiphon and on the reference."""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeAlias

from tests import figures
from tests.cancellation.tasks import leaves
from tests.fuzz import waiting
from tests.fuzz.comparing import EXPLAINED, Difference, compare
from tests.fuzz.generating import generate
from tests.fuzz.loops import LOOPS, LoopName, is_available
from tests.fuzz.programs import is_native
from tests.fuzz.shrinking import as_test, shrink

#: How many programs a process runs before it reports. A program of queues and the like has about thirty runs.
_BATCH, _WAITING_BATCH = 100, 10
#: The part of the programs that runs in the debug mode of asyncio, which is five times as slow.
_DEBUG_PART = 0.1

#: The programs of a full run on each loop: those of dispatches, and those of queues, streams and the like.
PROGRAMS, WAITING = 13_000, 1_000

_Batch: TypeAlias = tuple[LoopName, int, int]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a difference is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=PROGRAMS, help="how many programs of dispatches on each loop")
    parser.add_argument(
        "--waiting", type=int, default=WAITING, help="how many programs of queues, streams and the like"
    )
    parser.add_argument("--seconds", type=float, default=600, help="when to stop, whatever is left")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first program")
    parser.add_argument("--loop", choices=LOOPS, action="append", help="a loop; without it all that are available")
    parser.add_argument("--short", action="store_true", help="400 programs on each loop, within 50 seconds")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", type=int, default=5, help="how many failing programs are shrunk and printed")
    options = parser.parse_args(arguments)
    if options.short:
        options.programs, options.waiting, options.seconds = 380, 20, 50
    chosen: list[LoopName] = options.loop or [loop for loop in LOOPS if is_available(loop)]
    started = time.monotonic()
    deadline = started + options.seconds
    counts: dict[LoopName, Counter[str]] = {loop: Counter() for loop in chosen}
    waited: dict[LoopName, Counter[str]] = {loop: Counter() for loop in chosen}
    differences: list[tuple[int, Difference]] = []
    faults: list[str] = []
    batches = _make_batches(chosen, options.seed, options.programs, _BATCH)
    waiting_batches = _make_batches(chosen, options.seed, options.waiting, _WAITING_BATCH)
    with ProcessPoolExecutor(options.processes) as pool:
        # Alternate between the two kinds, so that a slow machine leaves out the same part of both.
        submitted = [
            (place / len(group), batch[0], run, batch)
            for run, group in ((_batch, batches), (_waiting_batch, waiting_batches))
            for place, batch in enumerate(group)
        ]
        submitted.sort(key=lambda each: each[0])
        runs = [(loop, run, pool.submit(run, batch, deadline)) for _, loop, run, batch in submitted]
        for loop, run, future in runs:
            counted, found = future.result()
            if run is _batch:
                counts[loop] += counted
                differences += found
            else:
                waited[loop] += counted
                faults += found
    for loop in chosen:
        print(f"{loop}: " + ", ".join(f"{counts[loop][word]:,} {word}" for word in _WORDS))
        print(f"{loop}, queues and the like: " + ", ".join(f"{waited[loop][word]:,} {word}" for word in _WAITING_WORDS))
    for fault in faults[: options.show]:
        print(f"\n{fault}")
    unexplained = [(seed, found) for seed, found in differences if found.explained is None]
    by_kind = Counter(", ".join(found.kinds) for _, found in unexplained)
    for known in EXPLAINED:
        number = sum(found.explained == known.name for _, found in differences)
        print(f"explained: {number} {known.name}: {known.reason}")
    for kind, number in by_kind.most_common():
        print(f"DIFFERENT: {number} {kind}")
    shown = Counter[str]()
    for seed, found in sorted(unexplained, key=lambda item: len(repr(item[1].program))):
        kind = ", ".join(found.kinds)
        if (len(shown) >= options.show and kind not in shown) or shown[kind] >= max(1, options.show // 5):
            continue
        shown[kind] += 1
        small = shrink(found.program, lambda program, found=found: _same(program, found))  # type: ignore[misc]  # mypy infers no lambda default
        _, again = compare(small, found.loop)
        print(f"\n# seed {seed}: {again or found}\n{as_test(small, found.loop, f'seed_{seed}_on_{found.loop}')}")
    seconds = time.monotonic() - started
    print(f"{len(unexplained)} differences, {len(faults)} faults in {seconds:.0f} s")
    total, waiting_total = sum(counts.values(), Counter[str]()), sum(waited.values(), Counter[str]())
    done = total["programs"] + waiting_total["programs"]
    figures.print_left_out(done, _count([*batches, *waiting_batches]), "programs")
    if not options.loop and is_full_run(chosen, total["programs"], waiting_total["programs"]):
        figures.keep("fuzz", _summarize(total, waiting_total, len(unexplained), seconds))
    return 1 if unexplained or faults else 0


def is_full_run(loops: list[LoopName], programs: int, waiting: int) -> bool:
    """Return whether at least the programs of a full run have run, so that the figures are stored."""
    full = [_count(_make_batches(loops, 0, number, _BATCH)) for number in (PROGRAMS, WAITING)]
    return programs >= full[0] and waiting >= full[1]


def _count(batches: list[_Batch]) -> int:
    return sum(number for _, _, number in batches)


def _make_batches(loops: list[LoopName], seed: int, programs: int, size: int) -> list[_Batch]:
    numbers = {loop: math.ceil(programs * (_DEBUG_PART if loop == "debug" else 1)) for loop in loops}
    return [
        (loop, seed + first, min(size, numbers[loop] - first))
        for first in range(0, programs, size)
        for loop in loops
        if first < numbers[loop]
    ]


def _summarize(total: Counter[str], waiting: Counter[str], differences: int, seconds: float) -> dict[str, Any]:
    return {
        "programs": total["programs"] + waiting["programs"],
        "of them with queues, streams, expectations and scopes": waiting["programs"],
        "runs of these, with a cancellation at each checkpoint": waiting["runs"],
        "dispatches": total["dispatches"] + waiting["dispatches"],
        "listeners": total["listeners"] + waiting["listeners"],
        "cancellations": total["cancellations from outside"] + waiting["cancellations"],
        "unexplained differences": differences,
        **{word: waiting[word] for word in _FAULTS.values()},
        "seconds": round(seconds),
    }


_WORDS = ("programs", "dispatches", "listeners", "cancelled listeners", "cancellations from outside", "differences")
#: What the faults of a program of queues and the like are called, by their class.
_FAULTS: dict[type[BaseException], str] = {
    waiting.LostError: "events lost",
    waiting.InventedError: "events invented",
    waiting.TaskLeftError: "tasks left",
    BaseException: "other faults",
}
_WAITING_WORDS = ("programs", "runs", "dispatches", "posts", "listeners", "cancellations", *_FAULTS.values())


def _batch(batch: _Batch, deadline: float) -> tuple[Counter[str], list[tuple[int, Difference]]]:
    loop, first, number = batch
    counted: Counter[str] = Counter()
    found = []
    for seed in range(first, first + number):
        if time.monotonic() > deadline:
            break
        program = generate(seed, native=loop != "trio")
        trace, difference = compare(program, loop)
        counted["programs"] += 1
        counted["dispatches"] += trace.dispatches
        counted["listeners"] += len(trace.listeners)
        counted["cancelled listeners"] += sum(end.endswith("cancelled") for end, _ in trace.listeners.values())
        # Only those that came before the end of the dispatch.
        instants = [cancel.at for cancel in program.cancels]
        instants += [program.seconds] if program.around != "nothing" else []
        counted["cancellations from outside"] += sum(instant <= trace.at for instant in instants)
        if difference is not None:
            counted["differences"] += 1
            found.append((seed, difference))
    return counted, found


def _waiting_batch(batch: _Batch, deadline: float) -> tuple[Counter[str], list[str]]:
    loop, first, number = batch
    counted: Counter[str] = Counter()
    faults = []
    for seed in range(first, first + number):
        if time.monotonic() > deadline:
            break
        try:
            # Not the same programs on each loop.
            counted += waiting.check(seed * len(LOOPS) + LOOPS.index(loop), loop)
        except BaseException as fault:
            leaf = next(iter(leaves(fault)))
            counted["programs"] += 1
            counted[next(word for kind, word in _FAULTS.items() if isinstance(leaf, kind))] += 1
            faults.append("".join(traceback.format_exception(fault, limit=-3)))
    return counted, faults


def _same(program: Any, found: Difference) -> bool:
    if found.loop == "trio" and is_native(program):
        return False
    _, difference = compare(program, found.loop, seeds=25)
    return difference is not None and difference.explained is None and difference.kinds == found.kinds


if __name__ == "__main__":
    sys.exit(main())
