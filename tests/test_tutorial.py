"""The files of the tutorial, saved in a folder in the order of the pages and run as the pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("tutorial.md", "tutorial-service.md", "tutorial-tests.md")
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$|^```text\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (?P<path>[\w/]+\.py)\n")

pytestmark = [pytest.mark.skipif(not DOCS.exists(), reason="needs the checkout"), pytest.mark.slow]


def read_steps() -> list[tuple[dict[str, str], str, str]]:
    """Return the programs of the tutorial: all files so far, the file to run, and the output that the page shows."""
    files: dict[str, str] = {}
    latest = ""
    steps = []
    for page in PAGES:
        for block in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
            if block["code"] is None:
                steps.append((dict(files), latest, block["output"]))
                continue
            named = FILE_NAME.match(block["code"])
            assert named, f"{page}: expected the name of the file in the first line of:\n{block['code']}"
            latest = named["path"]
            assert latest not in files, f"{page}: {latest} is in the tutorial twice"
            files[latest] = block["code"]
    return steps


STEPS = read_steps() if DOCS.exists() else []


def test_the_tutorial_runs_each_of_its_files():
    assert [latest for _, latest, _ in STEPS] == [
        "first.py",
        "order.py",
        "checked_order.py",
        "shop/app.py",
        "test_shop.py",
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("files", "latest", "output"), STEPS, ids=[latest for _, latest, _ in STEPS])
def test_files_print_what_the_page_shows(files, latest, output, backend, tmp_path):
    for path, code in files.items():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(code.replace("anyio.run(main)", f'anyio.run(main, backend="{backend}")'), encoding="utf-8")

    if latest.startswith("test_"):
        # pytest runs the tests on both backends; -k selects one, and the page shows the sum.
        command = ["-m", "pytest", "-p", "no:asyncio", "-p", "no:trio", "-p", "no:cacheprovider", "-k", backend]
        expected = f"{int(output.split()[0]) // 2} passed"
    else:
        assert f'backend="{backend}"' in (tmp_path / latest).read_text(encoding="utf-8")
        command = ["-m", latest.removesuffix(".py").replace("/", ".")]
        expected = output

    result = subprocess.run(
        [sys.executable, "-W", "error", *command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    if latest.startswith("test_"):
        assert expected in result.stdout
    else:
        assert result.stdout == expected
