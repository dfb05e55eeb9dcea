"""The sessions that guard main; ``nox -l`` lists them.

They need nox and uv, and nothing else of the machine but Python 3.11 or later. ``tests_all`` runs on each Python named
in ``PYTHONS`` that is found, ``instructions`` on each that has figures; ``harp`` needs 3.13, because HARP does. All
others run on the Python that runs nox.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
FIGURED = ["3.11", "3.12", "3.13"]  # what benchmarks/figures/ has figures of
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"

if CURRENT not in PYTHONS:
    # A machine that has only a newer Python must not find "no session to run" green.
    PYTHONS.append(CURRENT)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"  # a missing Python is skipped, not fetched
nox.options.error_on_missing_interpreters = False  # else CI=true turns it on
nox.options.sessions = ["tests", "lint", "types", "coverage", "docs", "doctests", "demo", "instructions"]


def _find_pyenv_pythons() -> None:
    """Put pyenv's Pythons on the path: its shims answer only for the versions that are activated."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for python in PYTHONS for path in sorted(root.glob(f"versions/{python}.*/bin"), reverse=True)]
    os.environ["PATH"] = os.pathsep.join([*found, os.environ["PATH"]])


_find_pyenv_pythons()

# Tests start some hundred Python processes. Without stored bytecode each of them compiles all that it imports, which
# takes a second. It is stored beside the environments, and not in the checkout.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(".nox/pycache").absolute())


def _group(name: str) -> list[str]:
    """Return the requirements of a dependency group; pips older than 25.1 know no ``--group``."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def _existing(*paths: str) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def _modules(*folders: str) -> list[str]:
    return [str(path) for folder in folders for path in sorted(Path(folder).rglob("*.py"))]


# Half again as fast on two cores. With more, starting them takes what they save. `-- -n 0` runs tests in one process.
PARALLEL = ("-n", "2")
QUICK = ("-m", "not slow")
# For sessions that repeat tests: fewer random examples, and no slow tests.
FEWER = ("--hypothesis-profile=few", *QUICK)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, without the slow ones: on asyncio, uvloop and trio."""
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *QUICK, *session.posargs)


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Run all tests, the slow ones too, and the tests on every other Python; ``-- rest`` omits what ``tests`` runs."""
    arguments = session.posargs
    selection = () if session.python == CURRENT else FEWER
    if arguments[:1] == ["rest"]:
        arguments = arguments[1:]
        selection = selection or ("-m", "slow")
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *selection, *arguments)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml admits."""
    if session.venv_backend != "uv":
        session.skip("only uv resolves to the lowest versions")
    session.install("--resolution", "lowest-direct", ".", *_group("test"))
    session.run("python", "-m", "pytest", *PARALLEL, *FEWER, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, async pitfalls, the direction of imports, slots, and the news fragments."""
    session.install("-e", ".[otel,trio]", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # Not the tests: they do on purpose what these rules forbid. ASYNC106 is a matter of taste, and ours is other.
    # An engine that weighs a cancellation and passes it on by another way says so in a `noqa`.
    rules = ("--enable=ASYNC1,ASYNC2", "--disable=ASYNC106")
    session.run("flake8-async", "--anyio", *rules, *_modules("src", "examples"))
    session.run("lint-imports", "--no-cache")
    session.run("python", "-m", "slotscheck", "-m", "antiphon")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy and basedpyright, both strict, and that the public face is typed in full."""
    session.install(".[otel,trio]", *_group("types"))
    python = str(Path(session.bin) / "python")  # else basedpyright looks into an environment that it finds by itself
    paths = _existing("src", "examples", "tests/typing")
    session.run("mypy", *paths)
    session.run("basedpyright", "--pythonpath", python, *paths)
    session.run("basedpyright", "--pythonpath", python, "--ignoreexternal", "--verifytypes", "antiphon")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure lines and branches of the tests; at least 98 % of both together."""
    # Editable, so that the report names the files of the checkout. Not `pytest --cov`: it starts too late.
    session.install("-e", ".", *_group("test"))
    session.run("coverage", "run", "-m", "pytest", *FEWER, *session.posargs)
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs, offline, every warning an error."""
    session.install(".[otel,trio]", *_group("docs"))
    session.run("sphinx-build", "-W", "-n", "--keep-going", "-E", "-b", "html", "docs", "docs/_build/html")


@nox.session
def doctests(session: nox.Session) -> None:
    """Run the examples of README.md and docs/, on asyncio and on trio."""
    session.install(".", *_group("test"))
    session.run("python", "-m", "pytest", *(session.posargs or _existing("README.md", "docs")))


@nox.session
def demo(session: nox.Session) -> None:
    """Send real requests through the example proxy: both backends, both strategies."""
    session.install(".", *_group("examples"))
    session.run("python", "-m", "examples.proxy", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Compare random programs of listeners with a reference on every loop; ``-- --short`` takes under a minute."""
    session.install(".", *_group("test"))
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure dispatches beside a loop and other libraries; ``-- --page`` writes the page of the run that is kept."""
    session.install(".", *_group("benchmarks"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=FIGURED)
def instructions(session: nox.Session) -> None:
    """Count the bytecode instructions of dispatches; fail if one has grown. ``-- --update`` accepts it."""
    session.install(".[trio]")
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session(python="3.13")
def harp(session: nox.Session) -> None:
    """Run the tests of compatibility with HARP's own classes, on antiphon; HARP 0.11 needs Python 3.13."""
    session.install(".", *_group("test"), *_group("harp"))
    # HARP and what it imports raise warnings, which would be errors.
    session.run("python", "-m", "pytest", "-W", "default", "tests/compatibility", *session.posargs)
