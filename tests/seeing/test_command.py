"""``python -m antiphon``, called in this process and run as a process."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import entry_points, version
from itertools import count
from pathlib import Path

import pytest

import antiphon
from antiphon import diagrams
from antiphon._cli import main
from antiphon._cli.demo import make_dispatcher, run_demo
from examples.shop.app import dispatcher as shop

ROOT = Path(__file__).parent.parent.parent
SHOP = "examples.shop.app:dispatcher"
SOURCE = Path(antiphon.__file__).parent.parent


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def run(*arguments, cwd=ROOT, encoding="utf-8"):
    """Run the command as a process."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-m", "antiphon", *arguments], cwd=cwd, capture_output=True, env=environment, timeout=50
    )


# listeners


@pytest.mark.parametrize("form", ["table", "tree", "json", "mermaid", "dot", "markdown", None])
def test_listeners_in_each_format(capsys, form):
    assert main(["listeners", SHOP, *(["--format", form] if form else [])]) == 0

    assert capsys.readouterr().out == getattr(diagrams, form or "table")(shop.describe()) + "\n"


def test_path_alone_shows_its_listeners(capsys):
    assert main([SHOP, "--format", "tree"]) == 0

    assert capsys.readouterr().out == diagrams.tree(shop.describe()) + "\n"


def test_listeners_of_some_keys(capsys):
    main(["listeners", SHOP, "--event", "order.*", "--format", "json"])

    keys = [key["key"] for key in json.loads(capsys.readouterr().out)["keys"]]
    assert keys == ["order.paid", "order.placed", "order.*"]


def test_factory_is_called(capsys):
    assert main(["listeners", "examples.proxy.dispatcher:make_dispatcher()", "--event", "proxy.error"]) == 0

    assert "AccessLog.log_error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ("order.plced", "there is no key order.plced; did you mean order.placed?"),
        ("ordr.*", "there is no key ordr.*; did you mean order.*?"),
        ("zebra", "there is no key zebra"),
        ("order.lost", None),
        ("order.placed", None),
        ("OrderEvent", None),
        ("**", None),
    ],
)
def test_mistyped_key_has_a_hint(capsys, event, hint):
    """A name that only a pattern matches is not an error, so the status is 0."""
    assert main(["listeners", SHOP, "--event", event]) == 0

    assert capsys.readouterr().err == (f"antiphon: --event: {hint}\n" if hint else "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("listeners examples.shop.app", "'examples.shop.app' has no module and attribute: "),
        ("listeners examples.shop.app:place", "examples.shop.app:place is the function place: write place() if"),
        (f"listeners {SHOP} --event a*", "--event: in a pattern a * stands for a whole segment"),
        (f"catalogue {SHOP} --events nowhere", "there is no module nowhere"),
        (f"catalogue {SHOP} -o nowhere/events.md", "nowhere/events.md cannot be written: No such file or directory"),
    ],
)
def test_error_is_one_line_and_status_2(capsys, arguments, message):
    assert main(arguments.split()) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.replace("\\", "/").startswith(f"antiphon: {message}")


@pytest.mark.parametrize("arguments", ["", "listeners", "sort", f"listeners {SHOP} --format png"])
@pytest.mark.parametrize(("file", "program"), [("__main__.py", "python -m antiphon"), ("antiphon", "antiphon")])
def test_wrong_arguments_are_status_2(capsys, monkeypatch, arguments, file, program):
    monkeypatch.setattr(sys, "argv", [f"somewhere/{file}"])

    with pytest.raises(SystemExit) as raised:
        main(arguments.split())

    assert raised.value.code == 2
    assert f"usage: {program} " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--help", ["listeners", "catalogue", "demo", "\n  130 "]),
        ("listeners --help", ["\n\nShow the listeners of each key", "--event", "\n  130 "]),
        ("bridge shop:bridge dead --help", ["\n\nList the dead letters", "--group", "\n  130 "]),
    ],
)
def test_help_names_commands_and_the_exit_status(capsys, monkeypatch, arguments, parts):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as raised:
        main(arguments.split())

    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert [part for part in parts if part not in out] == []
    assert max(map(len, out.splitlines())) <= 80


def test_version_is_that_of_the_distribution(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--version"])

    assert raised.value.code == 0
    assert capsys.readouterr().out == f"antiphon {version('antiphon')}\n"
    assert antiphon.__version__ == version("antiphon")


def test_ctrl_c_is_status_130(monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("antiphon._cli.find_dispatcher", interrupted)

    assert main(["listeners", SHOP]) == 130


def test_output_may_have_no_encoding(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert main(["listeners", SHOP]) == 0


# catalogue


def test_catalogue_is_printed_or_written(capsys, tmp_path):
    file = tmp_path / "events.md"

    assert main(["catalogue", SHOP]) == 0
    printed = capsys.readouterr().out
    assert main(["catalogue", SHOP, "-o", str(file)]) == 0

    assert capsys.readouterr() == ("", "")
    assert file.read_bytes() == printed.encode()
    assert printed.startswith("# Events of shop (AsyncEventDispatcher)\n")


def test_catalogue_of_named_modules(capsys):
    main(["catalogue", SHOP, "--events", "examples.proxy.events", "--sources", "examples.proxy"])

    assert "source code of `examples.proxy`" in capsys.readouterr().out


# demo


def test_demo_shows_listeners_and_bars(capsys):
    assert main(["demo"]) == 0

    out = capsys.readouterr().out
    assert diagrams.tree(make_dispatcher().describe()) in out
    for backend in ("asyncio", "trio"):
        ran = re.findall(rf"\w+ on {backend}: \d+ ms\n((?:  .*\n)+)", out + "\n")
        assert len(ran) == 2
        for lines in ran:
            assert sorted(line.split()[0] for line in lines.splitlines()) == [
                "charge",
                "receipt",
                "reserve",
                "validate",
            ]
            assert all("█" in line for line in lines.splitlines())


def test_demo_without_trio(capsys, monkeypatch):
    monkeypatch.setattr("antiphon._cli.demo.find_spec", lambda name: None if name == "trio" else object())

    main(["demo"])

    assert capsys.readouterr().out.endswith("\ntrio is not installed.\n")


# As a process


def test_package_can_be_run(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "antiphon.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", ["antiphon", "listeners", SHOP])

    with pytest.raises(SystemExit) as raised:
        runpy.run_module("antiphon", run_name="__main__")

    assert not raised.value.code
    assert capsys.readouterr().out == diagrams.table(shop.describe()) + "\n"


@pytest.mark.parametrize("safe_path", ["", "1"])
def test_script_imports_from_the_current_directory(tmp_path, safe_path):
    (script,) = entry_points(group="console_scripts", name="antiphon")
    assert script.value == "antiphon.__main__:run_script"
    (tmp_path / "program.py").write_text("from antiphon import EventDispatcher\nd = EventDispatcher()\n")
    (tmp_path / "bin").mkdir()
    file = tmp_path / "bin" / "antiphon"
    file.write_text("import sys\nfrom antiphon.__main__ import run_script\nsys.exit(run_script())")

    done = subprocess.run(
        [sys.executable, file, "listeners", "program:d"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONSAFEPATH": safe_path},
        timeout=50,
    )

    assert done.returncode == (2 if safe_path else 0)
    assert done.stderr.startswith(b"antiphon: there is no module program") == bool(safe_path)


def test_process_imports_from_its_directory_and_prints_utf8(tmp_path):
    (tmp_path / "café.py").write_text(
        "from antiphon import EventDispatcher\nd = EventDispatcher(name='café')\n", "utf-8"
    )

    done = run("listeners", "café:d", "--format", "tree", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().split() == ["café", "(EventDispatcher):", "no", "listeners"]


def test_unencodable_characters_are_escaped():
    done = run("listeners", SHOP, "--format", "tree", encoding="ascii")

    assert done.returncode == 0
    assert rb"\u251c\u2500\u2500 order.paid" in done.stdout


def test_raising_module_is_one_line_and_status_2(tmp_path):
    (tmp_path / "bad.py").write_text("print('hello')\n\nraise ValueError('no luck')\n")

    done = run("listeners", "bad:dispatcher", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines() == [
        "hello",
        "antiphon: importing bad raises ValueError: no luck (bad.py:3)",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_closed_pipe_is_no_error(tmp_path):
    """The reader closes a pipe that is full: the command prints 90 kB, and a pipe holds 64."""
    (tmp_path / "many.py").write_text(
        "from antiphon import EventDispatcher\nd = EventDispatcher()\n"
        "for number in range(1000): d.add_listener(f'event.{number}', print)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "antiphon", "listeners", "many:d"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


# On a terminal, with rich


@pytest.fixture
def terminal(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("has_rich", [True, False], ids=["rich", "plain"])
@pytest.mark.parametrize("columns", [80, 60])
def test_narrow_terminal_shows_a_narrow_table(terminal, capsys, monkeypatch, has_rich, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    if not has_rich:
        monkeypatch.setattr("antiphon._cli.rich_output.find_spec", lambda name: None)

    main(["listeners", SHOP])

    out = capsys.readouterr().out
    assert ("\x1b[" in out) == has_rich
    lines = [line.rstrip() for line in plain(out).splitlines()]
    assert max(map(len, lines)) <= columns
    # The rules below the titles differ.
    expected = diagrams.table(shop.describe(), width=columns).splitlines()
    assert [line for line in lines if line and "─" not in line] == [line for line in expected if "─" not in line]


@pytest.mark.parametrize("arguments", [["listeners", SHOP, "--format", "tree"], ["demo"]], ids=["listeners", "demo"])
def test_narrow_terminal_shows_a_narrow_tree(capsys, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("antiphon._cli.rich_output.find_spec", lambda name: None)

    main(arguments)

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 70


def test_demo_fits_a_narrow_terminal_on_a_slow_machine(monkeypatch):
    monkeypatch.setattr("antiphon._cli.demo.perf_counter", count().__next__)  # seconds instead of milliseconds

    lines = [line for line in run_demo(width=70) if "█" in line]

    assert 65 <= max(map(len, lines)) <= 70


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def words(text):
    return [line.split() for line in text.splitlines() if line.strip() and "─" not in line]


def test_terminal_shows_the_same_table_in_color(terminal, capsys):
    main(["listeners", SHOP])

    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert words(plain(out)) == words(diagrams.table(shop.describe()))


def test_terminal_shows_the_same_tree_in_color(terminal, capsys):
    main(["listeners", SHOP, "--format", "tree"])

    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert [line.rstrip() for line in plain(out).splitlines()] == diagrams.tree(shop.describe()).splitlines()


@pytest.mark.parametrize("form", ["table", "tree"])
@pytest.mark.parametrize(
    ("path", "event", "expected"),
    [
        ("odd:d", "*", "[red]x[/blue]"),
        (SHOP, "stock.low", "no listeners"),
        (SHOP, "stock.*", "no listeners"),
    ],
    ids=["markup in a name", "name without listeners", "no key"],
)
def test_terminal_shows_odd_descriptions(terminal, capsys, program, form, path, event, expected):
    program(odd="from antiphon import EventDispatcher\nd = EventDispatcher()\nd.add_listener('[red]x[/blue]', print)")

    main(["listeners", path, "--event", event, "--format", form])

    assert expected in plain(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["json", "dot", "mermaid", "markdown"])
def test_formats_for_programs_have_no_color(terminal, capsys, form):
    main(["listeners", SHOP, "--format", form])

    assert "\x1b[" not in capsys.readouterr().out


def test_no_color_without_a_terminal(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    main(["listeners", SHOP])

    assert "\x1b[" not in capsys.readouterr().out
