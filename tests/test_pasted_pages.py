"""The blocks that a page of the docs shows, pasted into a file as the front page says, and run in an empty folder."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path
from textwrap import indent

import pytest

DOCS = Path(__file__).parents[1] / "docs"
#: The pages with blocks that cannot be pasted, and what they need.
EXCEPTIONS = {
    "bridge-redis": "files with certificates",
    "bridge": "blocks of it call backend.run",
    "errors-and-cancellation": "blocks of it call asyncio.run",
    "random-tests": "the package `tests`",
    "seeing": "the package `examples`",
    "testing": "blocks of it call backend.run",
    "tutorial": "test_tutorial.py",
    "tutorial-service": "test_tutorial.py",
    "tutorial-tests": "test_tutorial.py",
}
#: Not the blocks that conftest.py skips, and not those that are hidden in comments.
BLOCK = re.compile(r"(?P<skip><!-- skip: next .*? -->\n+)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.skipif(not DOCS.exists(), reason="needs the checkout"), pytest.mark.slow]


def read_program(page: Path, backend: str) -> str:
    """Return the program of a page, which is empty if the page shows no code."""
    text = re.sub(r"^````.*?^````$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    code = "\n".join(block["code"] for block in BLOCK.finditer(text) if not block["skip"])
    if compile(code, page.name, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True).co_flags & inspect.CO_COROUTINE:
        code = f"import anyio\n\nasync def main():\n{indent(code, '    ')}\n\nanyio.run(main, backend={backend!r})\n"
    return code


PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.stem not in EXCEPTIONS and read_program(page, "")]


def test_exceptions_are_pages():
    assert {name for name in EXCEPTIONS if not (DOCS / f"{name}.md").exists()} == set()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_page_runs_as_one_file(page, backend, tmp_path):
    file = tmp_path / f"{page.stem.replace('-', '_')}_page.py"
    file.write_text(read_program(page, backend), encoding="utf-8")

    done = subprocess.run([sys.executable, file.name], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
