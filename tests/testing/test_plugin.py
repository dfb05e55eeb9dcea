"""The fixtures in projects that opt in: each test writes a project, and runs pytest in it.

The projects use only the public API.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import antiphon

PAGE = Path(__file__).parent.parent.parent / "docs/testing.md"

SOURCE = str(Path(antiphon.__file__).parent.parent)

OPTED_IN = 'pytest_plugins = ["antiphon.testing.plugin"]\n'

#: A test module whose async tests run on a fixture of the plugin.
ON = """
import anyio
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend({fixture}):
    return {fixture}.as_anyio()
"""

PRINTS_ITS_SCHEDULE = """
async def test_schedule(request):
    turns = []

    async def take_turns(number):
        for _ in range(3):
            turns.append(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(take_turns, number)
    print(request.node.name, *turns, sep=",")
"""


class Project:
    """A user's project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("pytest.ini", "[pytest]\naddopts = --strict-markers -p anyio -p no:cacheprovider\n")
        self.write("conftest.py", OPTED_IN)

    def write(self, name: str, *texts: str) -> None:
        (self.folder / name).write_text("".join(texts))

    def load(self, plugin: str, *options: str) -> None:
        """Load another plugin, with options in the file pytest.ini."""
        with (self.folder / "pytest.ini").open("a") as file:
            print(f"    -p {plugin}.plugin", *options, sep="\n", file=file)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run its tests, and return what pytest prints."""
        # Without other plugins pytest starts faster.
        environment: dict[str, str] = {**os.environ, "PYTHONPATH": SOURCE, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment.pop("PYTEST_ADDOPTS", None)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "pytest", *arguments],
            cwd=self.folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def lines(output: str, start: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(start)]


def test_tests_and_fixtures_that_opted_in_run_in_virtual_time(project: Project) -> None:
    project.write(
        "test_each.py",
        ON.format(fixture="virtual_backend"),
        """
@pytest.fixture
async def an_hour_ago():
    now = anyio.current_time()
    await anyio.sleep(3600)
    yield now

async def test_test(anyio_backend_name):
    print("on", anyio_backend_name)
    assert anyio.current_time() == 0
    await anyio.sleep(86400)
    assert anyio.current_time() == 86400

async def test_fixture(an_hour_ago):
    assert anyio.current_time() == an_hour_ago + 3600
""",
    )
    project.write(
        "test_module.py",
        ON.format(fixture="virtual_backend").replace("@pytest.fixture", '@pytest.fixture(scope="module")'),
        """
@pytest.fixture(scope="module")
async def since():
    return anyio.current_time()

@pytest.mark.parametrize("day", range(3))
async def test_time(since, day):
    await anyio.sleep(86400)
    assert anyio.current_time() - since >= 86400
""",
    )
    output = project.run("-s")
    assert {line.split()[-1] for line in output.splitlines() if "on " in line} >= {"asyncio", "trio"}
    assert "10 passed" in output


def test_tests_that_have_not_opted_in_use_real_time(project: Project) -> None:
    project.write("test_opted_in.py", ON.format(fixture="virtual_backend"), "async def test_time(): pass\n")
    project.write(
        "test_other.py",
        """
import anyio
import pytest

@pytest.mark.anyio
async def test_time():
    assert anyio.current_time() > 1
""",
    )
    output = project.run("-v")
    assert [line.split()[0] for line in lines(output, "test_other")] == [
        "test_other.py::test_time[asyncio]",
        "test_other.py::test_time[trio]",
    ]


def test_the_fixtures_need_the_plugin(project: Project) -> None:
    project.write("conftest.py", "")
    project.write("test_other.py", "def test_fixtures(virtual_backend): pass\n")
    assert "fixture 'virtual_backend' not found" in project.run(code=1)


@pytest.mark.slow
def test_a_seeded_test_runs_under_ten_repeatable_schedules(project: Project) -> None:
    project.write("test_schedule.py", ON.format(fixture="seeded_backend"), PRINTS_ITS_SCHEDULE)

    def schedules() -> dict[str, str]:
        found = (line.lstrip(".").partition(",") for line in project.run("-q", "-s").splitlines() if "," in line)
        return {name: turns for name, _, turns in found}

    first = schedules()
    names = [f"test_schedule[{backend}-seed{seed}]" for backend in ("asyncio", "trio") for seed in range(10)]
    assert list(first) == names
    assert len(set(first.values())) > 10
    assert schedules() == first


@pytest.mark.slow
def test_seeds_can_be_chosen_for_a_test(project: Project) -> None:
    project.write(
        "test_seeds.py",
        ON.format(fixture="seeded_backend"),
        """
@pytest.mark.seeds(range(20))
async def test_twenty():
    pass

async def test_ten():
    pass

def test_plain(virtual_backend):
    virtual_backend.run(anyio.sleep, 86400)
""",
    )
    assert "62 passed" in project.run()


@pytest.mark.slow
def test_a_failure_has_its_seed_in_its_id(project: Project) -> None:
    project.write(
        "test_order.py",
        ON.format(fixture="seeded_backend"),
        """
async def test_order():
    order = []

    async def record(number):
        order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(record, number)
    assert order[0] == 0
""",
    )
    failed = [line.split()[1] for line in lines(project.run("-q", code=1), "FAILED")]
    assert failed
    assert all("-seed" in test for test in failed)

    assert "1 failed" in project.run(failed[0], code=1)


def test_seeds_without_an_effect_are_refused(project: Project) -> None:
    bad = "import pytest\n@pytest.mark.seeds({seeds})\ndef test_bad({fixture}): pass\n"
    project.write("test_unused.py", bad.format(seeds="range(3)", fixture="tmp_path"))
    project.write("test_one.py", bad.format(seeds="3", fixture="seeded_backend"))
    project.write("test_two.py", bad.format(seeds="1, 2", fixture="seeded_backend"))

    output = project.run(code=2)
    assert (
        "a test with the marker seeds requires the fixture seeded_backend: return seeded_backend.as_anyio()" in output
    )
    assert "seeds requires an iterable, as in @pytest.mark.seeds(range(100)); got (3,)" in output
    assert "seeds requires an iterable, as in @pytest.mark.seeds(range(100)); got (1, 2)" in output


@pytest.mark.slow
def test_the_example_in_the_docs_runs_unchanged(project: Project) -> None:
    conftest, module, *_ = re.findall("```python\n(.*?)```", PAGE.read_text().partition("## Fixtures")[2], re.DOTALL)
    project.write("conftest.py", conftest)
    project.write("test_example.py", module)

    assert conftest == OPTED_IN
    assert "220 passed" in project.run()


def test_a_failed_assertion_shows_the_recording_and_no_internals(project: Project) -> None:
    project.write(
        "test_shop.py",
        ON.format(fixture="virtual_backend"),
        """
from antiphon import AsyncEventDispatcher
from antiphon.testing import record

async def test_shop():
    shop = AsyncEventDispatcher()

    @shop.listen("order.placed")
    async def reserve(event):
        await anyio.sleep(60)
        await shop.adispatch("stock.reserved")

    with record(shop) as recorded:
        await shop.adispatch("order.placed")
    recorded.assert_dispatched("order.placed")
    recorded.assert_dispatched("order.placed", "order.paid")
""",
    )
    output = project.run(code=1)
    assert "2 failed" in output
    report = output.partition("test_shop[trio]")[2]
    assert [line for line in report.splitlines() if line.startswith(("E", ">"))] == [
        '>       recorded.assert_dispatched("order.placed", "order.paid")',
        "E       AssertionError: expected to be dispatched, in this order (others may come between):",
        "E           'order.placed'",
        "E           'order.paid'  <- never dispatched",
        "E       seen:",
        "E           'order.placed'",
        "E               reserve",
        "E                   'stock.reserved': nobody listened",
    ]


# Other plugins for async tests

PLUGINS_PAGE = PAGE.with_name("pytest-plugins.md")

ASYNCIO = ("pytest_asyncio", "asyncio_default_fixture_loop_scope = function")
TRIO = ("pytest_trio", "")


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["virtual_backend", "seeded_backend"])
@pytest.mark.parametrize(
    ("plugin", "options", "mark", "message"),
    [
        (ASYNCIO, "asyncio_mode = auto", "anyio", "pytest-asyncio would run .* remove `asyncio_mode = auto`"),
        (ASYNCIO, "", "asyncio", "pytest-asyncio would run .* or the mark asyncio"),
        (TRIO, "trio_mode = true", "anyio", "pytest-trio would run .* remove `trio_mode = true`"),
        (TRIO, "", "trio", "pytest-trio would run .* or the mark trio"),
    ],
    ids=["asyncio auto", "asyncio mark", "trio mode", "trio mark"],
)
def test_a_test_that_another_plugin_would_run_fails(
    project: Project, fixture: str, plugin: tuple[str, str], options: str, mark: str, message: str
) -> None:
    pytest.importorskip(plugin[0])
    project.load(*plugin, options)
    project.write(
        "test_time.py",
        ON.format(fixture=fixture).replace("mark.anyio", f"mark.{mark}"),
        f"""
async def test_time(anyio_backend):
    pass

async def test_backend({fixture}):
    pass
""",
    )
    output = project.run(code=1)

    runs = 2 * 2 * (10 if fixture == "seeded_backend" else 1)
    assert f"{runs} errors" in output
    assert "passed" not in output
    assert len(re.findall(rf"^{fixture} requires that AnyIO's pytest plugin .*{message}", output, re.M)) == runs


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["virtual_backend", "seeded_backend"])
@pytest.mark.parametrize(
    ("plugin", "options", "message"),
    [
        (ASYNCIO, "asyncio_mode = auto", "pytest-asyncio would run .* remove `asyncio_mode = auto`"),
        (TRIO, "trio_mode = true", "pytest-trio would run .* remove `trio_mode = true`"),
    ],
    ids=["asyncio auto", "trio mode"],
)
def test_a_test_without_a_mark_does_not_run_in_real_time(
    project: Project, fixture: str, plugin: tuple[str, str], options: str, message: str
) -> None:
    pytest.importorskip(plugin[0])
    project.load(*plugin, options)
    backend = ON.format(fixture=fixture).replace("pytestmark = pytest.mark.anyio", "")
    project.write("conftest.py", OPTED_IN, backend)
    project.write("test_time.py", "async def test_time(): pass\ndef test_plain(): pass\n")
    output = project.run(code=1)

    assert "1 passed, 1 error" in output
    assert len(re.findall(rf"^{fixture} requires that AnyIO's pytest plugin .*{message}", output, re.M)) == 1


@pytest.mark.slow
def test_a_test_that_is_marked_for_another_plugin_runs_in_its_mode(project: Project) -> None:
    pytest.importorskip("pytest_asyncio")
    project.load(*ASYNCIO, "asyncio_mode = auto")
    backend = ON.format(fixture="virtual_backend").replace("pytestmark = pytest.mark.anyio", "")
    project.write("conftest.py", OPTED_IN, backend)
    test = "async def test_time(): pass\n"
    project.write("test_function.py", "import pytest\n", f"@pytest.mark.asyncio\n{test}")
    project.write("test_module.py", "import pytest\npytestmark = pytest.mark.asyncio\n", test)

    assert "2 passed" in project.run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "test"),
    [(ASYNCIO, "@pytest.mark.asyncio\nasync def test_other()"), (TRIO, "@pytest.mark.trio\nasync def test_other()")],
    ids=["asyncio", "trio"],
)
def test_tests_of_both_plugins_run_in_one_project(project: Project, plugin: tuple[str, str], test: str) -> None:
    pytest.importorskip(plugin[0])
    project.load(*plugin)
    project.write(
        "test_time.py",
        ON.format(fixture="virtual_backend").replace("pytestmark = pytest.mark.anyio", ""),
        f"""
@pytest.mark.anyio
async def test_time():
    await anyio.sleep(86400)

def test_plain(virtual_backend):
    virtual_backend.run(anyio.sleep, 86400)

{test}:
    pass
""",
    )
    assert "5 passed" in project.run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "plugin", "passed"),
    [("AnyIO", "anyio", 6), ("pytest-asyncio", "pytest_asyncio", 3), ("pytest-trio", "pytest_trio", 3)],
)
def test_the_page_on_plugins_runs_unchanged(project: Project, section: str, plugin: str, passed: int) -> None:
    pytest.importorskip(plugin)
    introduction, *sections = re.split(r"^## ", PLUGINS_PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [text for text in sections if text.startswith(f"{section}\n")]
    files = re.findall(r"^```(?:python|ini)\n# (\S+)\n(.*?)^```", introduction + text, re.DOTALL | re.MULTILINE)
    for name, source in files:
        project.write(name, source)

    output = project.run("-p", "no:cacheprovider", "-p", "anyio" if plugin == "anyio" else f"{plugin}.plugin")

    assert [name for name, _ in files] == ["shop.py", "pytest.ini", "conftest.py", "test_shop.py"]
    assert f"{passed} passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "mark", "passes"),
    [(("anyio", ""), "anyio", True), (ASYNCIO, "asyncio", False), (TRIO, "trio", True)],
    ids=["AnyIO", "pytest-asyncio", "pytest-trio"],
)
def test_queue_in_an_async_fixture_needs_one_task(
    project: Project, plugin: tuple[str, str], mark: str, passes: bool
) -> None:
    """pytest-asyncio ends a fixture in another task than that of its start, as the page says."""
    pytest.importorskip(plugin[0])
    if plugin[0] != "anyio":
        project.load(*plugin)
    project.write(
        "test_queue.py",
        f"""
import pytest{"_asyncio" if mark == "asyncio" else ""}
import pytest

from antiphon import AsyncEventDispatcher

pytestmark = pytest.mark.{mark}

@pytest{"_asyncio" if mark == "asyncio" else ""}.fixture
async def queue():
    async with AsyncEventDispatcher().queue() as queue:
        yield queue

async def test_queue(queue):
    await queue.post("order.placed")
    await queue.join()
""",
    )
    output = project.run(code=0 if passes else 1)

    assert ("RuntimeError: Attempted to exit cancel scope in a different task" in output) is not passes
