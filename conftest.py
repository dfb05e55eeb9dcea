"""Run the examples of README.md and docs/: each ``python`` block, in order, once on asyncio and once on trio.

The blocks of a page share one module, one for each backend, so a later block sees what an earlier one defined.
A block may ``await`` at its top level: it then runs inside ``anyio.run``. Any other block is executed as it stands,
outside of a loop, and may call ``asyncio.run`` or ``anyio.run`` itself.

Set-up that readers need not see::

    <!-- invisible-code-block: python
    from shop import Order
    -->

An example that must not run says why, for it shows in the report of the tests::

    <!-- skip: next "needs a broker" -->
"""

from __future__ import annotations

import inspect
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sybil import Document, Example, Region

BACKENDS = ("asyncio", "trio")

pytest_plugins = ["antiphon.testing.plugin"]


class ExampleEvaluator:
    """Runs blocks in one real module for each page, so that names in annotations can be resolved as in a program."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.modules: dict[str, ModuleType] = {}

    def __call__(self, example: Example) -> None:
        __tracebackhide__ = True
        namespace = vars(self.module(example.path))
        source = pad(example.parsed, example.line + example.parsed.line_offset)
        code = compile(source, example.path, "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

        async def run() -> None:
            await eval(code, namespace)  # noqa: S307 - the examples are ours

        if code.co_flags & inspect.CO_COROUTINE:
            anyio.run(run, backend=self.backend)
        else:
            exec(code, namespace)  # noqa: S102 - the examples are ours

    def module(self, path: str) -> ModuleType:
        if path not in self.modules:
            name = f"{Path(path).stem.replace('-', '_')}_on_{self.backend}"
            self.modules[path] = sys.modules[name] = ModuleType(name)
        return self.modules[path]


class ReasonedSkipParser(SkipParser):
    """Refuses a skip without its reason, which would count as an example that passed."""

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in super().__call__(document):
            action, reason = region.parsed
            if action != "end" and not reason:
                msg = f'{document.path}: say why: <!-- skip: {action} "the reason" -->'
                raise ValueError(msg)
            yield region


def _examples(backend: str) -> Sybil:
    return Sybil(
        parsers=[CodeBlockParser("python", ExampleEvaluator(backend)), ReasonedSkipParser()],
        patterns=["README.md", "docs/*.md"],
        excludes=["*/README.md"],
        name=backend,
    )


_collect_examples = sum((_examples(backend) for backend in BACKENDS[1:]), start=_examples(BACKENDS[0]))
pytest_collect_file = _collect_examples.pytest()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the examples back in the order of their pages, which pytest-randomly has shuffled."""

    def position(item: SybilItem) -> tuple[Any, ...]:
        backend = item.name.partition(",")[0]
        return item.path, backend, item.example.line, item.example.column

    examples = [item for item in items if isinstance(item, SybilItem)]
    others = [item for item in items if not isinstance(item, SybilItem)]
    items[:] = [*others, *sorted(examples, key=position)]
