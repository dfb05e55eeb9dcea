"""Runs tests on mutants, in a process of their own each.

Pytest collects all tests once. A child process then replaces the code of the changed function, and runs the tests that
execute the changed line until one of them fails. That takes a fraction of a second.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Literal, TypeAlias
from zlib import crc32

import pytest

from tests.mutants.operators import Module, Mutant

__all__ = ("Coverage", "Outcome", "Runner", "get_slowdown", "replace_code", "run_afresh")

Outcome: TypeAlias = Literal["killed", "timed out", "too slow", "survived", "not run"]

#: How long the tests of a mutant may take together, on a machine that does nothing else. A test that has started then
#: gets the same time once more, because its own time limit does not end every endless loop.
_LONGEST = 20.0
#: What a child process reports before the name of a test that was ended by its time limit.
_LATE = "late: "
#: How many tests are measured in one process, and how long that may take.
_BATCH, _LONGEST_BATCH = 200, 120.0
#: How many tests run on a mutant at most, and how much time each of them may have needed on the unchanged code.
_MOST, _SLOWEST = 300, 0.5
#: How many cases of a parametrized test take part. More of them kill hardly any other mutant.
_CASES = 6


@dataclass
class Coverage:
    """Which tests execute a line, and how long they take."""

    tests: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[int, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Runner:
    """A plugin of pytest that runs ``check`` instead of the tests."""

    def __init__(self, modules: Sequence[Module], processes: int, check: Callable[[Runner], None]) -> None:
        self.modules = {module.name: module for module in modules}
        self.processes = processes
        self.check = check
        self.items: list[pytest.Item] = []
        self.functions: dict[str, list[FunctionType]] = {}
        self.coverage = Coverage()
        self._has_failed = self._is_late = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure which lines each test executes, and run the check."""
        self.items = list(_choose(session.items))
        for module in self.modules.values():
            # Some are otherwise imported by the first test that needs them.
            import_module(module.import_name)
        self.functions = _find_functions(self.modules.values())
        # The children collect garbage only among their own objects, and share the memory of the others.
        gc.collect()
        gc.freeze()
        self.check(self)
        return True

    def measure(self, kept: Path) -> None:
        """Run all tests on the unchanged code, and record the lines that they execute.

        Args:
            kept: A file for the result, which is used again while the tests and the code stay the same.
        """
        names = [item.nodeid for item in self.items]
        if kept.exists():
            passed, failed, collected = json.loads(kept.read_text(encoding="utf-8"))
            if collected == names:
                self._add(passed, failed)
                return
        passed, failed = self._measure_all()
        self._add(passed, failed)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps((passed, failed, names)), encoding="utf-8")

    def _add(self, passed: dict[str, tuple[float, list[tuple[str, int]]]], failed: list[str]) -> None:
        self.coverage.failed += failed
        for index, (seconds, lines) in passed.items():
            self.coverage.seconds[int(index)] = seconds
            for name, line in lines:
                self.coverage.tests[name, line].append(int(index))

    def _measure_all(self) -> tuple[dict[str, tuple[float, list[tuple[str, int]]]], list[str]]:
        batches: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(self.items):
            batches[f"{item.path} {len(batches[str(item.path)]) // _BATCH}"].append(index)
        waiting = sorted((batch for batch in batches.values() if batch), key=len)
        passed: dict[str, Any] = {}
        failed: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            running: dict[int, tuple[list[int], Path, float]] = {}
            while waiting or running:
                while waiting and len(running) < self.processes:
                    batch = waiting.pop()
                    path = Path(folder, f"{batch[0]}.json")
                    if not (child := os.fork()):
                        _in_child(lambda batch=batch, path=path: self._measure_batch(batch, path))  # type: ignore[misc]
                    running[child] = (batch, path, time.monotonic() + _LONGEST_BATCH * get_slowdown())
                for child, (batch, path, until) in list(running.items()):
                    if time.monotonic() > until:
                        os.kill(child, signal.SIGKILL)
                    if os.waitpid(child, os.WNOHANG) == (0, 0):
                        continue
                    del running[child]
                    if path.exists():
                        measured = json.loads(path.read_text(encoding="utf-8"))
                        passed |= measured["passed"]
                        failed += measured["failed"]
                    else:
                        failed += [self.items[index].nodeid for index in batch]
                time.sleep(0.05)
        return passed, failed

    def _measure_batch(self, batch: list[int], path: Path) -> None:
        names = {str(module.path): module.name for module in self.modules.values()}
        seen: set[tuple[str, int]] = set()
        monitoring = sys.monitoring  # type: ignore[attr-defined]  # Python 3.12
        monitoring.use_tool_id(monitoring.COVERAGE_ID, "mutants")

        def on_line(code: CodeType, line: int) -> object:
            seen.add((names[code.co_filename], line))
            return monitoring.DISABLE

        monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, on_line)
        for function in [function for functions in self.functions.values() for function in functions]:
            for code in _walk_code(function.__code__):
                monitoring.set_local_events(monitoring.COVERAGE_ID, code, monitoring.events.LINE)
        passed, failed = {}, []
        for index, following in zip(batch, [*batch[1:], None], strict=True):
            seen.clear()
            monitoring.restart_events()
            started = time.process_time()
            if self._passes(index, following):
                passed[index] = (time.process_time() - started, sorted(seen))
            else:
                failed.append(self.items[index].nodeid)
        path.write_text(json.dumps({"passed": passed, "failed": failed}), encoding="utf-8")

    def run(self, mutants: Iterable[Mutant], deadline: float) -> Iterator[tuple[Mutant, Outcome, str]]:
        """Run tests on mutants, and yield each with its outcome and the test that failed."""
        waiting = iter(mutants)
        running: dict[int, tuple[Mutant, int, float]] = {}
        with selectors.DefaultSelector() as selector:
            while True:
                while len(running) < self.processes and time.monotonic() < deadline:
                    mutant = next(waiting, None)
                    if mutant is None:
                        break
                    tests = self._select(mutant)
                    if not tests:
                        yield mutant, "not run", ""
                        continue
                    reader, writer = os.pipe()
                    longest = _LONGEST * get_slowdown()
                    until = time.monotonic() + longest
                    if not (child := os.fork()):
                        os.close(reader)
                        _in_child(
                            lambda mutant=mutant, tests=tests, writer=writer, until=until: self._run_one(
                                mutant, tests, writer, until
                            )
                        )  # type: ignore[misc]
                    os.close(writer)
                    running[reader] = (mutant, child, until + longest)
                    selector.register(reader, selectors.EVENT_READ)
                if not running:
                    return
                ready = {key.fd for key, _ in selector.select(0.2)}
                for reader, (mutant, child, until) in list(running.items()):
                    late = time.monotonic() > until
                    if reader not in ready and not late:
                        continue
                    if reader not in ready:
                        os.kill(child, signal.SIGKILL)
                    report = os.read(reader, 10_000).decode()
                    selector.unregister(reader)
                    os.close(reader)
                    _, status = os.waitpid(child, 0)
                    del running[reader]
                    if report in ("survived", "too slow"):
                        yield mutant, report, ""
                    elif late or report.startswith(_LATE):
                        yield mutant, "timed out", report.removeprefix(_LATE)
                    else:
                        yield mutant, "killed", report or f"the process ended with the status {status}"

    def _select(self, mutant: Mutant) -> list[int]:
        """Return the tests of a mutant: one of each test function first, the quickest before the others."""
        tests: set[int] = set()
        for line in range(mutant.line, mutant.end + 1):
            tests.update(self.coverage.tests.get((mutant.module, line), ()))
            if tests:
                break
        if not tests:
            # A copy of the code is not measured, but the line that defines the function is.
            tests.update(self.coverage.tests.get((mutant.module, mutant.first), ()))
        ordered = sorted(tests, key=lambda index: (self.coverage.seconds[index], index))
        seen: dict[str, int] = defaultdict(int)
        ranked = []
        for index in ordered:
            name = self.items[index].nodeid.partition("[")[0]
            ranked.append((seen[name], self.coverage.seconds[index], index))
            seen[name] += 1
        ranked.sort()
        return [index for _, seconds, index in ranked if seconds < _SLOWEST][:_MOST]

    def find_files(self, mutant: Mutant) -> list[str]:
        """Return the test files that execute the function of a mutant, those with most tests of it first."""
        files: dict[str, int] = defaultdict(int)
        for line in range(mutant.first, mutant.last + 1):
            for index in self.coverage.tests.get((mutant.module, line), ()):
                files[str(self.items[index].path)] += 1
        return sorted(files, key=lambda path: -files[path])

    def _passes(self, index: int, following: int | None = None) -> bool:
        item = self.items[index]
        self._has_failed = False
        # The fixtures of a module, event loops among them, stay for the next test of the module.
        nextitem = None if following is None else self.items[following]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        return not self._has_failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure, and whether pytest-timeout ended the test."""
        self._has_failed |= report.failed
        self._is_late |= report.failed and "from pytest-timeout" in report.longreprtext

    def _run_one(self, mutant: Mutant, tests: list[int], writer: int, until: float) -> None:
        module = self.modules[mutant.module]
        replace_code(self.functions[mutant.module], module.compile(), module.compile(mutant))
        for index, following in zip(tests, [*tests[1:], None], strict=True):
            if time.monotonic() > until:
                os.write(writer, b"too slow")
                return
            if not self._passes(index, following):
                os.write(writer, (_LATE * self._is_late + self.items[index].nodeid).encode()[:4000])
                return
        os.write(writer, b"survived")


def get_slowdown() -> float:
    """Return how many times longer than usual a process takes, because other programs use the processors."""
    return min(10, max(1, os.getloadavg()[0] / (os.cpu_count() or 1)))


def replace_code(functions: Iterable[FunctionType], original: CodeType, mutated: CodeType) -> None:
    """Give functions the code of a mutated module, where it differs from the original module."""
    changed = {
        _place(before): (before, after)
        for before, after in zip(_walk_code(original), _walk_code(mutated), strict=True)
        if before != after
    }
    for function in functions:
        before, after = changed.get(_place(function.__code__), (None, None))
        # A wrapper may have taken over the name and the line of the function that it calls.
        if before is not None and after is not None and before.co_code == function.__code__.co_code:
            function.__code__ = after


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _walk_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk_code(constant)


def _find_functions(modules: Iterable[Module]) -> dict[str, list[FunctionType]]:
    found: dict[str, list[FunctionType]] = {module.name: [] for module in modules}
    names = {str(module.path): module.name for module in modules}
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename in names:
            found[names[function.__code__.co_filename]].append(function)
    return found


def _is_random(item: pytest.Item) -> bool:
    # Hypothesis shrinks what a mutant fails with, which takes long.
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)


def _choose(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the cases of each parametrized test that take part."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if _is_random(item):
            continue
        cases[item.nodeid.partition("[")[0]].append(item)
    for found in cases.values():
        # Cases at equal distances could all have the same value of one parameter.
        chosen = set(sorted(found, key=lambda item: crc32(item.nodeid.encode()))[:_CASES])
        yield from (item for item in found if item in chosen)


class _MutantFinder(MetaPathFinder):
    """Imports one module with a mutant."""

    def __init__(self, module: Module, mutant: Mutant) -> None:
        self.module = module
        self.mutant = mutant
        self.name = module.import_name

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _MutantLoader(fullname, str(self.module.path))
        loader.compiled = self.module.compile(self.mutant)
        return spec_from_file_location(fullname, self.module.path, loader=loader)


class _MutantLoader(SourceFileLoader):
    compiled: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.compiled


def run_afresh(
    chosen: Sequence[tuple[Module, Mutant, list[str]]], arguments: Sequence[str], processes: int, deadline: float
) -> Iterator[tuple[Mutant, Outcome, str]]:
    """Run whole test files on mutants, in processes that import antiphon with the mutant.

    This also finds the mutants of code that runs while the tests are collected. It takes some seconds for each. The
    calling process must not have imported antiphon.
    """
    waiting = list(reversed(chosen))
    running: dict[int, tuple[Mutant, float]] = {}
    while (waiting and time.monotonic() < deadline) or running:
        while waiting and len(running) < processes and time.monotonic() < deadline:
            module, mutant, paths = waiting.pop()
            if not (child := os.fork()):
                _in_child(
                    lambda module=module, mutant=mutant, paths=paths: _run_files(module, mutant, [*arguments, *paths])
                )  # type: ignore[misc]
            running[child] = (mutant, time.monotonic() + _LONGEST_BATCH * get_slowdown())
        for child, (mutant, until) in list(running.items()):
            late = time.monotonic() > until
            if late:
                os.kill(child, signal.SIGKILL)
            ended, status = os.waitpid(child, 0 if late else os.WNOHANG)
            if ended:
                del running[child]
                yield mutant, "timed out" if late else "killed" if status else "survived", "afresh"
        time.sleep(0.05)


def _run_files(module: Module, mutant: Mutant, arguments: list[str]) -> None:
    sys.meta_path.insert(0, _MutantFinder(module, mutant))
    if pytest.main(["-x", *arguments], plugins=[_Chooser()]) != pytest.ExitCode.OK:
        raise SystemExit(1)


class _Chooser:
    """A plugin of pytest that leaves out random tests, as a `Runner` does."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not _is_random(item)]


def _in_child(run: Callable[[], None]) -> None:
    """Run a function in a child process, which then ends without any clean-up."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        run()
        status = 0
    finally:
        os._exit(status)
