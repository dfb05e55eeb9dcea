"""Run the examples of README.md and docs/: each ``python`` block in order, on asyncio and on Trio.

The blocks of a page share one module for each backend, so a block can use the names of earlier blocks.
A block that awaits at its top level runs in ``anyio.run``. Any other block runs without an event loop, and may call
``asyncio.run`` or ``anyio.run`` itself.

To hide setup from readers::

    <!-- invisible-code-block: python
    from shop import Order
    -->

To skip an example, give the reason, which the test report shows::

    <!-- skip: next "needs a broker" -->

A page in docs/recipes/ is skipped if a library in its line ``pip install …`` is not installed.
"""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sybil import Document, Example, Region

    CollectFile = Callable[[Path, pytest.Collector], pytest.Collector | None]

BACKENDS = ("asyncio", "trio")
#: The recipes that choose their event loops themselves. They run once.
RECIPES_WITH_A_LOOP = ("django", "fastapi", "litestar", "quart-trio", "sqlalchemy", "textual", "typer")

pytest_plugins = ["antiphon.testing.plugin"]

# Examples fail for their own reasons only, and not because another process uses the CPU. `tests` has other profiles.
settings.register_profile("docs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("docs")


class ExampleEvaluator:
    """Runs the blocks of a page in one module, so that annotations can be resolved as in a program."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.modules: dict[str, ModuleType] = {}

    def __call__(self, example: Example) -> None:
        __tracebackhide__ = True
        namespace = vars(self.module(example.path))
        source = pad(example.parsed, example.line + example.parsed.line_offset)
        code = compile(source, example.path, "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

        async def run() -> None:
            await eval(code, namespace)  # noqa: S307 the examples are part of this repository

        if code.co_flags & inspect.CO_COROUTINE:
            anyio.run(run, backend=self.backend)
        else:
            exec(code, namespace)  # noqa: S102 the examples are part of this repository

    def module(self, path: str) -> ModuleType:
        if path not in self.modules:
            name = f"{Path(path).stem.replace('-', '_')}_on_{self.backend}"
            self.modules[path] = sys.modules[name] = ModuleType(name)
        return self.modules[path]


class ReasonedSkipParser(SkipParser):
    """Refuses a skip without a reason. Otherwise it would count as a passed example."""

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in super().__call__(document):
            action, reason = region.parsed
            if action != "end" and not reason:
                msg = f'{document.path}: expected a reason: <!-- skip: {action} "the reason" -->'
                raise ValueError(msg)
            yield region


def _examples(backend: str) -> Sybil:
    run_once = [] if backend == BACKENDS[0] else [f"docs/recipes/{name}.md" for name in RECIPES_WITH_A_LOOP]
    return Sybil(
        parsers=[CodeBlockParser("python", ExampleEvaluator(backend)), ReasonedSkipParser()],
        patterns=["README.md", "docs/*.md", "docs/recipes/*.md"],
        # tests/test_tutorial.py saves the files of the tutorial and runs them.
        excludes=["*/README.md", "docs/tutorial*.md", *run_once],
        name=backend,
    )


_collect_examples = sum((_examples(backend) for backend in BACKENDS[1:]), start=_examples(BACKENDS[0]))
_collect_page: CollectFile = _collect_examples.pytest()


class SkippedPage(pytest.File):
    """A page whose libraries are not installed."""

    def collect(self) -> Iterable[pytest.Item]:
        pytest.skip(f"{self.path.name} needs {', '.join(_find_missing(self.path))}", allow_module_level=True)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.match("docs/recipes/*.md") and _find_missing(file_path):
        return SkippedPage.from_parent(parent, path=file_path)
    return _collect_page(file_path, parent)


def _find_missing(page: Path) -> list[str]:
    """Return the libraries in the ``pip install`` lines of a page that are not installed."""
    lines = re.findall(r"^pip install (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    # Without extras and versions: `antiphon[trio]`, `harp-proxy<0.12`.
    names = [re.split(r"[^\w.-]", requirement)[0] for line in lines for requirement in shlex.split(line)]
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the examples by page and line again, because pytest-randomly shuffles them."""

    def position(item: SybilItem) -> tuple[Any, ...]:
        backend = item.name.partition(",")[0]
        return item.path, backend, item.example.line, item.example.column

    examples = [item for item in items if isinstance(item, SybilItem)]
    others = [item for item in items if not isinstance(item, SybilItem)]
    items[:] = [*others, *sorted(examples, key=position)]
