"""``python -m tests.mutants``: change the core in many small ways, and count the changes that no test notices.

Results are kept in ``.nox/mutants.json``. A later run continues there, and repeats only mutants of changed modules and
those that have survived.

A survivor is a mutant on which all tests pass. It counts as a survivor also if ``survivors.toml`` explains it. A mutant
with a test that does not end is killed, and is counted separately. If the tests of a mutant take too long together, whole
test files decide. A mutant that no run has reached is left out. If a run ends before whole test files have run on a
mutant, the mutant is undecided, and counts as not killed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import figures
from tests.mutants.operators import Module
from tests.mutants.running import Runner, get_slowdown, run_afresh

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "antiphon"
FOLDERS = ("_events", "_listeners", "_registry", "_strategies", "_dispatchers", "_waiting")
#: The results so far.
KEPT = ROOT / ".nox" / "mutants.json"
#: Mutants that no test can or should kill, with the reason.
SURVIVORS = Path(__file__).with_name("survivors.toml")
#: The smallest part of the mutants that tests have to kill.
GOAL = 0.95
#: The number of mutants of a short run, and the part of them that must be killed. A small sample can be unlucky.
SHORT, SHORT_GOAL = 100, 0.9
#: When a run and a short run stop, in seconds.
LONGEST, SHORT_LONGEST = 3600.0, 150.0

#: Tests of other things, those that start processes, and those that take many rounds.
OTHERS = (
    "bridges", "endurance", "example_orders", "example_proxy", "fuzz", "mutants", "properties", "seeing", "typing", "test_allocations.py", "test_benchmarks.py", "test_harp_benchmark.py",
    "test_help.py", "test_ids.py", "test_instructions.py", "test_layout.py", "test_readme.py", "test_tutorial.py",
    "testing", "waiting/test_no_leaks.py",
)  # fmt: skip


#: Test files that also run on the survivors of a folder, because code of the folder runs while they are collected, or
#: because too many other tests run the same lines.
MORE = {
    "_events": (
        "test_events.py", "test_event_data.py", "test_event_copies.py", "test_event_repr.py", "test_setters.py",
        "test_type_hints.py", "dispatching/test_nested.py",
    ),
    "_dispatchers": (
        "instruments/test_adding.py", "instruments/test_coverage.py", "instruments/test_interest.py",
        "compatibility/test_overrides.py", "test_public_face.py", "listening/test_subscribers.py",
        "compatibility/test_guarded_listeners.py", "dispatching/test_prepared.py",
    ),
    "_listeners": (
        "listening/test_signatures.py", "listening/test_options.py", "listening/test_limit.py", "test_adapters.py",
        "test_dropped_results.py",
    ),
    "_registry": (
        "test_registry.py", "listening/test_cache.py", "listening/test_keys.py", "listening/test_declared_names.py",
        "listening/test_refused_keys.py", "instruments/test_adding.py",
    ),
    "_strategies": (
        "cancellation/test_requests.py", "cancellation/test_nesting.py", "cancellation/test_cycles.py",
        "cancellation/test_own_requests.py", "cancellation/test_what_leaves.py",
        "strategies/test_race.py", "instruments/test_records.py", "instruments/test_raising.py",
        "instruments/test_stopped_by.py",
    ),
    "_waiting": ("waiting/test_buffer.py", "waiting/test_queue_endings.py", "waiting/test_stream.py"),
}  # fmt: skip
#: Modules that take long to import, and do not import antiphon.
_IMPORTED_ONCE = (
    "anyio._backends._asyncio", "anyio._backends._trio", "attrs", "hypothesis.strategies", "msgspec",
    "pydantic", "trio.testing", "unittest.mock", "uvloop", "whistle",
)  # fmt: skip
_PYTEST = (
    "-q", "--capture=no", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler",
    "-W", "ignore::pytest.PytestAssertRewriteWarning", "-m", "not slow and not server", "--hypothesis-profile=few",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if too many mutants survive, or one without a reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, help="how many mutants, chosen by the seed; without it all of them")
    parser.add_argument("--short", action="store_true", help=f"a sample of {SHORT}; less than the goal is enough")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the sample")
    parser.add_argument("--seconds", type=float, help="when to stop; the next run continues there")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=GOAL, help="which part of them must be killed")
    parser.add_argument("--keep", action="store_true", help="store the figures, also of a sample")
    parser.add_argument("--folder", choices=FOLDERS, action="append", help="a folder; without it all of them")
    options = parser.parse_args(arguments)
    options.pytest = [*_PYTEST, "-o", f"timeout={10 * get_slowdown():.0f}"]
    if options.short:
        options.sample, options.least = SHORT, SHORT_GOAL
    options.seconds = options.seconds or (SHORT_LONGEST if options.short else LONGEST)
    check = _Check(options)
    for name in _IMPORTED_ONCE:
        importlib.import_module(name)
    if not (child := os.fork()):
        # All tests, collected once. This process stays without antiphon.
        paths = [f"--ignore={ROOT / 'tests' / name}" for name in OTHERS] + [str(ROOT / "tests")]
        runner = Runner(check.modules, options.processes, check)
        status = pytest.main([*options.pytest, "-k", "not uvloop and not trio", *paths], plugins=[runner])
        sys.stdout.flush()
        os._exit(int(status))
    os.waitpid(child, 0)
    check.run_survivors_afresh()
    return check.report()


_KILLED = ("killed", "timed out")


@dataclass
class _Result:
    module: str
    digest: str
    outcome: str
    #: The test that failed, or ``"afresh"`` if whole test files ran.
    test: str
    files: list[str] = field(default_factory=list)


class _Check:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        folders = options.folder or FOLDERS
        self.modules = [Module(path, SOURCE) for folder in folders for path in sorted((SOURCE / folder).glob("*.py"))]
        self.mutants = {mutant.name: mutant for module in self.modules for mutant in module.mutants}
        if options.sample is not None:
            # By the hash of their names, so that a change of one module leaves the others in the sample.
            names = sorted(self.mutants, key=lambda name: hashlib.sha256(f"{options.seed} {name}".encode()).digest())
            names = names[: options.sample]
            self.mutants = {name: self.mutants[name] for name in names}
        self.digests = {module.name: hashlib.sha256(module.source.encode()).hexdigest() for module in self.modules}
        self.results = self._read()
        self.explained = _read_survivors()

    def __call__(self, runner: Runner) -> None:
        started = time.monotonic()
        waiting = [mutant for name, mutant in self.mutants.items() if self._outcome(name) not in _KILLED]
        # Those that no run has reached come first, so that a run that continues another one gets further.
        waiting.sort(key=lambda mutant: mutant.name in self.results)
        runner.measure(KEPT.with_name(f"mutants-{self._digest_all()[:16]}.json"))
        failed = len(runner.coverage.failed)
        print(
            f"{len(runner.items):,} tests measured in {time.monotonic() - started:.0f} s, {failed} of them left out, "
            f"because they fail without a change; {len(waiting):,} mutants to run",
            flush=True,
        )
        for number, (mutant, outcome, test) in enumerate(runner.run(waiting, self.deadline), 1):
            self.results[mutant.name] = _Result(
                mutant.module, self.digests[mutant.module], outcome, test, runner.find_files(mutant)[:4]
            )
            if number % 200 == 0:
                print(f"{number:,} of {len(waiting):,} in {time.monotonic() - started:.0f} s", flush=True)
                self._write()
        self._write()

    def run_survivors_afresh(self) -> None:
        """Run whole test files on the mutants that have survived, unless a reason is given."""
        self.results = self._read()
        modules = {module.name: module for module in self.modules}
        chosen = []
        for name, mutant in self.mutants.items():
            result = self.results.get(name)
            if result is not None and result.outcome not in _KILLED and name not in self.explained:
                more = [str(ROOT / "tests" / path) for path in MORE[mutant.module.partition("/")[0]]]
                # These first: a test of the others may use `named`, and dispatches use more general code from then on.
                chosen.append((modules[mutant.module], mutant, list(dict.fromkeys([*more, *result.files]))))
        started = time.monotonic()
        arguments = [*self.options.pytest, "-k", "not uvloop and not debug and not eager"]
        for number, (mutant, outcome, test) in enumerate(
            run_afresh(chosen, arguments, self.options.processes, self.deadline), 1
        ):
            self.results[mutant.name].outcome = outcome
            self.results[mutant.name].test = test
            if number % 20 == 0:
                print(f"{number:,} of {len(chosen):,} afresh in {time.monotonic() - started:.0f} s", flush=True)
                self._write()
        self._write()

    def report(self) -> int:
        """Print the figures and the survivors, and return the exit code."""
        outcomes = Counter[str](self._judge(name) for name in self.mutants)
        left_out, late = outcomes.pop("left out", 0), outcomes["timed out"]
        done, killed = outcomes.total(), outcomes["killed"] + late
        explained, unexplained, undecided = outcomes["explained"], outcomes["survived"], outcomes["undecided"]
        for name, mutant in self.mutants.items():
            if self._judge(name) in ("survived", "timed out"):
                print(f"{self._judge(name).upper()}: {name}  (line {mutant.line})")
        part = killed / done if done else 0.0
        print(
            f"{done:,} mutants: {killed:,} killed ({part:.1%}), of them {late} by a time limit; "
            f"{explained + unexplained} survived, {explained} of them explained; {undecided} undecided"
        )
        figures.print_left_out(done, done + left_out, "mutants")
        is_complete = not left_out and not undecided
        is_full = is_complete and self.options.sample is None and not self.options.folder
        for name in sorted(self.explained):
            if self._judge(name) in _KILLED or (is_full and name not in self.mutants):
                print(f"explained, but killed or gone: {name}")
        if is_full or (is_complete and self.options.keep):
            figures.keep(
                "mutants",
                {
                    "mutants in all": sum(len(module.mutants) for module in self.modules),
                    "mutants of this run": done,
                    "killed": killed,
                    "of them by a time limit": late,
                    "killed, in percent": round(100 * part, 1),
                    "survived and explained": explained,
                    "survived without a reason": unexplained,
                },
            )
        # A slow machine decides fewer mutants. That alone is no reason to fail. A full run requires a reason for each.
        return int(killed + undecided < self.options.least * done or (is_full and bool(unexplained)))

    def _judge(self, name: str) -> str:
        result = self.results.get(name)
        if result is None:
            return "left out"
        if result.outcome in _KILLED:
            return result.outcome
        if name in self.explained:
            return "explained"
        # A test of whole files may still kill it.
        return "survived" if result.test == "afresh" else "undecided"

    def _digest_all(self) -> str:
        """Return a digest of everything that the measured lines depend on."""
        digest = hashlib.sha256(repr(self.options.folder).encode())
        for path in sorted([*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
            if not path.is_relative_to(Path(__file__).parent):
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def _outcome(self, name: str) -> str | None:
        result = self.results.get(name)
        return result.outcome if result else None

    def _read(self) -> dict[str, _Result]:
        if not KEPT.exists():
            return {}
        kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
        results = {name: _Result(**values) for name, values in kept.items()}
        return {name: one for name, one in results.items() if self.digests.get(one.module, one.digest) == one.digest}

    def _write(self) -> None:
        KEPT.parent.mkdir(exist_ok=True)
        kept = {name: vars(result) for name, result in self.results.items()}
        KEPT.write_text(json.dumps(kept, indent=0), encoding="utf-8")


def _read_survivors() -> dict[str, str]:
    if not SURVIVORS.exists():
        return {}
    groups = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))
    return {name: group["reason"] for group in groups.values() for name in group["mutants"]}


if __name__ == "__main__":
    sys.exit(main())
