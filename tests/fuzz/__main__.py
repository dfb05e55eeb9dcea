"""``python -m tests.fuzz``: compare random programs on antiphon and on the reference."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests import figures
from tests.fuzz import waiting
from tests.fuzz.comparing import EXPLAINED, Difference, compare
from tests.fuzz.generating import generate
from tests.fuzz.loops import LOOPS, LoopName, is_available
from tests.fuzz.programs import is_native
from tests.fuzz.shrinking import as_test, shrink

#: How many programs a process runs before it reports.
_BATCH = 100


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if a difference is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=20_000, help="how many programs of dispatches on each loop")
    parser.add_argument("--waiting", type=int, default=3_000, help="how many programs of queues, streams and the like")
    parser.add_argument("--seconds", type=float, default=600, help="when to stop, whatever is left")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first program")
    parser.add_argument("--loop", choices=LOOPS, action="append", help="a loop; without it all that are available")
    parser.add_argument("--short", action="store_true", help="500 programs on each loop, within 50 seconds")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", type=int, default=5, help="how many failing programs are shrunk and printed")
    options = parser.parse_args(arguments)
    if options.short:
        options.programs, options.waiting, options.seconds = 500, 100, 50
    chosen: list[LoopName] = options.loop or [loop for loop in LOOPS if is_available(loop)]
    started = time.monotonic()
    deadline = started + options.seconds
    counts: dict[LoopName, Counter[str]] = {loop: Counter() for loop in chosen}
    differences: list[tuple[int, Difference]] = []
    batches = [
        (loop, options.seed + first, min(_BATCH, options.programs - first))
        for first in range(0, options.programs, _BATCH)
        for loop in chosen
    ]
    waiting_batches = [
        (loop, options.seed + first, min(_BATCH, options.waiting - first))
        for first in range(0, options.waiting, _BATCH)
        for loop in chosen
    ]
    waited: Counter[str] = Counter()
    faults: list[str] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for counted, found in pool.map(_waiting_batch, waiting_batches, [deadline] * len(waiting_batches)):
            waited += counted
            faults += found
        for (loop, _, _), (compared, seen) in zip(
            batches, pool.map(_batch, batches, [deadline] * len(batches)), strict=True
        ):
            counts[loop] += compared
            differences += seen
    print(
        "queues, streams, expectations and scopes: "
        + ", ".join(f"{number:,} {what}" for what, number in waited.items())
    )
    for fault in faults[: options.show]:
        print(f"\n{fault}")
    for loop in chosen:
        print(f"{loop}: " + ", ".join(f"{counts[loop][word]:,} {word}" for word in _WORDS))
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
    total = sum(counts.values(), Counter[str]())
    if not options.short and not options.loop:
        figures.keep("fuzz", _summarize(total, waited, len(unexplained), len(faults), seconds))
    return 1 if unexplained or faults else 0


def _summarize(
    total: Counter[str], waiting: Counter[str], differences: int, faults: int, seconds: float
) -> dict[str, Any]:
    return {
        "programs": total["programs"] + waiting["programs"],
        "of them with queues, streams, expectations and scopes": waiting["programs"],
        "dispatches": total["dispatches"] + waiting["dispatches"] + waiting["posts"],
        "listeners": total["listeners"] + waiting["listeners"],
        "cancellations": total["cancellations from outside"] + waiting["cancellations"],
        "unexplained differences": differences,
        "lost or invented events, and tasks that are left": faults,
        "seconds": round(seconds),
    }


_WORDS = ("programs", "dispatches", "listeners", "cancelled listeners", "cancellations from outside", "differences")


def _batch(batch: tuple[LoopName, int, int], deadline: float) -> tuple[Counter[str], list[tuple[int, Difference]]]:
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
        counted["cancellations from outside"] += len(program.cancels) + (program.around != "nothing")
        if difference is not None:
            counted["differences"] += 1
            found.append((seed, difference))
    return counted, found


def _waiting_batch(batch: tuple[LoopName, int, int], deadline: float) -> tuple[Counter[str], list[str]]:
    loop, first, number = batch
    counted: Counter[str] = Counter()
    faults = []
    for seed in range(first, first + number):
        if time.monotonic() > deadline:
            break
        try:
            counted += waiting.check(seed, loop)
        except BaseException as fault:
            faults.append("".join(traceback.format_exception(fault, limit=-3)))
    return counted, faults


def _same(program: Any, found: Difference) -> bool:
    if found.loop == "trio" and is_native(program):
        return False
    _, difference = compare(program, found.loop, seeds=25)
    return difference is not None and difference.explained is None and difference.kinds == found.kinds


if __name__ == "__main__":
    sys.exit(main())
