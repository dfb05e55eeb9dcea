"""The programs of the pages of the docs, as readers download them: each runs in an empty folder, on both backends."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
try:
    import programs
finally:
    sys.path.pop(0)

BACKENDS = (("asyncio",), ("trio",))
#: test_tutorial.py runs the files of the tutorial.
FILES = {name: programs.make_files(name) for name in programs.find_pages() if name not in programs.TUTORIAL}
#: A program that starts its event loops itself has no argument.
RUNS = [
    (name, *arguments)
    for name, files in FILES.items()
    for text in files.values()
    for arguments in (BACKENDS if "sys.argv[1]" in text else [()])
]


def find_missing(name: str) -> list[str]:
    """Return the libraries in the ``pip install`` lines of a page that are not installed."""
    words = [word for line in programs.read_page(name).requirements for word in shlex.split(line)[2:]]
    missing = []
    for library in (re.split(r"[^\w.-]", word)[0] for word in words):
        try:
            distribution(library)
        except PackageNotFoundError:
            missing.append(library)
    return missing


def make_page(*codes: str) -> programs.Page:
    return programs.Page("Orders", tuple(programs.Block("Orders", code) for code in codes), ())


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=["-".join(run) for run in RUNS])
def test_program_of_a_page_runs(run, tmp_path):
    name, *arguments = run
    if missing := find_missing(name):
        pytest.skip(f"{name} needs {', '.join(missing)}")
    [(path, text)] = FILES[name].items()
    file = tmp_path / Path(path).name
    file.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, file.name, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_page_with_code_and_without_a_program_shows_a_reason():
    without = {name for name, files in FILES.items() if not files and programs.read_page(name).blocks}

    assert without == set(programs.EXCEPTIONS)


@pytest.mark.parametrize("name", programs.TUTORIAL)
def test_files_of_the_tutorial_are_the_blocks_of_the_page(name):
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    files = programs.make_files(name)

    assert files
    assert [f"```python\n{text}```" in page for text in files.values()] == [True] * len(files)


@pytest.mark.parametrize("name", [name for name, files in FILES.items() if files])
def test_program_contains_each_statement_of_its_page(name):
    [text] = FILES[name].values()
    statements = {ast.dump(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)}
    blocks = [block for block in programs.read_page(name).blocks if not block.left_out]
    shown = [statement for block in blocks for statement in ast.parse(block.code).body]

    # The imports of several blocks are one statement.
    assert [
        ast.unparse(statement)
        for statement in shown
        if not isinstance(statement, ast.Import | ast.ImportFrom) and ast.dump(statement) not in statements
    ] == []


def test_plain_blocks_are_in_the_program_as_they_are():
    program = programs.make_program(make_page("import math\n", "print(math.pi)\n"), "orders_page.py")

    assert program == (
        '# The examples of the page "Orders" in the documentation of antiphon.\n\nimport math\n\n\nprint(math.pi)\n'
    )


def test_code_that_awaits_is_in_main_below_the_imports():
    page = make_page("from math import pi\n\nawait f(pi)\n", "import json\nfrom math import e\n\nn = e\n")

    program = programs.make_program(page, "orders_page.py")

    assert program.split("\n\n", 1)[1] == (
        "import json\nimport sys\nfrom math import e, pi\n\nimport anyio\n\n\n"
        "async def main():\n    await f(pi)\n\n    n = e\n\n\n"
        'if __name__ == "__main__":\n'
        '    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")\n'
    )


def test_blocks_that_start_a_loop_run_after_main():
    page = make_page("n = 1\n# Wait.\nawait f()\n", "asyncio.run(f())\n", "await g()\n")

    program = programs.make_program(page, "orders_page.py")

    before, main, last = re.split(r"async def main\(\):\n|if __name__ == .*:\n", program)
    assert before.endswith("\n\n\nn = 1\n\n\n")
    assert main == "    # Wait.\n    await f()\n\n    await g()\n\n\n"
    assert last.splitlines()[1:] == ["", "    asyncio.run(f())"]


def test_a_name_is_not_bound_both_before_main_and_in_it():
    page = make_page("n = 1\nawait f()\n", "asyncio.run(f())\n", "def g(): ...\n\n\nn = 2\n")

    with pytest.raises(ValueError, match=r"bound before and in main: n$"):
        programs.make_program(page, "orders_page.py")


def test_text_in_a_string_is_not_indented():
    page = make_page('text = """\\\none\n\n\ntwo"""\nawait f(text)\n')

    program = programs.make_program(page, "orders_page.py")

    assert '    text = """\\\none\n\n\ntwo"""\n    await f(text)\n' in program


def test_a_block_that_the_docs_skip_is_named():
    block = programs.Block("Orders", "connect()\n", "needs a server")

    program = programs.make_program(programs.Page("Orders", (block,), ()), "orders_page.py")

    assert program.endswith("\n\n# A block is left out: needs a server.\n")
