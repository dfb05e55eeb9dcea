"""The command: ``python -m benchmarks``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from benchmarks import backends, page
from benchmarks.cases import Case
from benchmarks.report import as_text
from benchmarks.running import run
from benchmarks.runs import as_json
from benchmarks.sampling import FULL, QUICK
from benchmarks.stages import STAGES


def main() -> None:
    """Measures what was asked for, shows it, and writes it down."""
    asked = arguments()
    settings = QUICK if asked.quick else FULL
    started = monotonic()
    absent = {name: reason for name in asked.backend if (reason := backends.missing(name))}
    results = run(cases(asked, tuple(name for name in asked.backend if name not in absent)), settings, asked.seed)
    took = round(monotonic() - started)

    print(as_text(results))
    for name, reason in absent.items():
        print(f"{name}: absent, {reason}")
    print(f"Ratios are medians over rounds; differences under 5 % are ties. {took} s, seed {asked.seed}.")
    options = {"quick": asked.quick, "seed": asked.seed, "seconds": took, "absent": absent, **asdict(settings)}
    if asked.json:
        asked.json.write_text(as_json(results, options), encoding="utf-8")
    if asked.page:
        page.COMMITTED.write_text(as_json(results, options), encoding="utf-8")
        page.main()


def arguments() -> Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m benchmarks", description="What a dispatch costs, beside a loop by hand.")
    parser.add_argument("--quick", action="store_true", help="a rough answer in under two minutes")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument(
        "--page", action="store_true", help="also write docs/how-fast.md, of a run that is not in haste"
    )
    parser.add_argument("--only", action="append", choices=STAGES, help="measure this stage (may be repeated)")
    parser.add_argument("--backend", action="append", choices=backends.LOOPS, help="on this loop (may be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the candidates (default: %(default)s)")
    asked = parser.parse_args()
    if asked.page and (asked.quick or asked.only or asked.backend):
        parser.error("--page needs all of a full run")
    asked.only = asked.only or list(STAGES)
    asked.backend = asked.backend or list(backends.LOOPS)
    return asked


def cases(asked: Namespace, present: tuple[str, ...]) -> Iterator[Case]:
    """Yields the cases of the stages that were asked for."""
    for name, stage in STAGES.items():
        if name in asked.only:
            yield from stage.cases(present, asked.quick)


if __name__ == "__main__":
    main()
