"""The command ``python -m benchmarks``: measures, and prints the table."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from benchmarks import backends, page, results, table
from benchmarks.libraries import find_missing
from benchmarks.measuring import FULL, QUICK, run
from benchmarks.rows import GROUPS


def main() -> None:
    """Measure what the command line names, or write the page."""
    parser = ArgumentParser(prog="python -m benchmarks", description="Measure what a dispatch costs.")
    parser.add_argument("--quick", action="store_true", help="run everything once, with few repetitions")
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure this group (can be repeated)")
    parser.add_argument("--backend", action="append", choices=backends.LOOPS, help="on this loop (can be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the candidates (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the run to this file")
    parser.add_argument("--page", action="store_true", help="write the page from the run that is kept; measure nothing")
    options = parser.parse_args()
    if options.page:
        page.write(results.read(results.KEPT))
        return

    settings = QUICK if options.quick else FULL
    missing = find_missing()
    asked = options.backend or list(backends.LOOPS)
    missing |= {name: reason for name in asked if (reason := backends.missing(name))}
    loops = tuple(name for name in asked if name not in missing)
    rows = [row for group in options.only or GROUPS for row in GROUPS[group](loops, options.quick)]
    started = monotonic()
    measured = run(rows, settings, options.seed)
    seconds = round(monotonic() - started)
    if options.quick:
        # Tests have no matplotlib, and CI makes a quick run: see there that the chart can be drawn.
        page.make_chart(results.read(results.KEPT), "light")

    print(table.as_text(measured))
    print("\nA figure with a unit is a median, one without is the median of the ratios to the limit. The libraries:\n")
    for name, difference in table.describe_libraries(measured):
        print(textwrap.fill(f"{name}: {difference}", 100, subsequent_indent="  "))
    for name, reason in missing.items():
        print(f"{name}: not measured, {reason}")
    print(f"{seconds} seconds, seed {options.seed}")
    if options.json:
        is_partial = bool(options.only or options.backend or missing)
        about = {"quick": options.quick, "partial": is_partial, "seed": options.seed, "seconds": seconds}
        results.write(results.make_run(measured, {**about, **asdict(settings)}), options.json)


if __name__ == "__main__":
    main()
