"""``python -m antiphon``, in this process and as a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import antiphon
from antiphon import diagrams
from antiphon._cli import main
from antiphon._cli.demo import make_dispatcher
from examples.shop.app import dispatcher as shop

ROOT = Path(__file__).parent.parent.parent
SHOP = "examples.shop.app:dispatcher"
SOURCE = Path(antiphon.__file__).parent.parent


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def run(*arguments, cwd=ROOT, encoding="utf-8", **environment):
    """Run the command as a process."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": encoding, **environment}
    return subprocess.run(
        [sys.executable, "-m", "antiphon", *arguments], cwd=cwd, capture_output=True, env=environment, timeout=50
    )


# listeners


@pytest.mark.parametrize("form", ["table", "tree", "json", "mermaid", "dot", "markdown"])
def test_listeners_are_shown_in_each_format(capsys, form):
    assert main(["listeners", SHOP, "--format", form]) == 0

    assert capsys.readouterr().out == getattr(diagrams, form)(shop.describe()) + "\n"


def test_the_default_is_the_table(capsys):
    main(["listeners", SHOP])

    assert capsys.readouterr().out == diagrams.table(shop.describe()) + "\n"


def test_some_keys_can_be_chosen(capsys):
    main(["listeners", SHOP, "--event", "order.p*".replace("p*", "*"), "--format", "json"])

    keys = [key["key"] for key in json.loads(capsys.readouterr().out)["keys"]]
    assert keys == ["order.paid", "order.placed", "order.*"]


def test_a_factory_is_called(capsys):
    assert main(["listeners", "examples.proxy.dispatcher:make_dispatcher()", "--event", "proxy.error"]) == 0

    assert "AccessLog.log_error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["listeners", "examples.shop.app"], "'examples.shop.app' has no module and attribute: "),
        (["listeners", "examples.shop.app:place"], "examples.shop.app:place is the function place: write place() if"),
        (["listeners", SHOP, "--event", "a*"], "--event: in a pattern a * stands for a whole segment"),
        (["catalogue", SHOP, "--events", "nowhere"], "there is no module nowhere"),
        (
            ["catalogue", SHOP, "-o", "nowhere/events.md"],
            "nowhere/events.md cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_status_2(capsys, arguments, said):
    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.replace("\\", "/").startswith(f"antiphon: {said}")


@pytest.mark.parametrize("arguments", [[], ["listeners"], ["sing"], ["listeners", SHOP, "--format", "png"]])
def test_wrong_arguments_are_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2
    assert "usage: python -m antiphon" in capsys.readouterr().err


# catalogue


def test_the_catalogue_goes_to_the_output_or_to_a_file(capsys, tmp_path):
    file = tmp_path / "events.md"

    assert main(["catalogue", SHOP]) == 0
    printed = capsys.readouterr().out
    assert main(["catalogue", SHOP, "-o", str(file)]) == 0

    assert capsys.readouterr() == ("", "")
    assert file.read_bytes() == printed.encode()
    assert printed.startswith("# Events of shop (AsyncEventDispatcher)\n")


def test_the_modules_of_a_catalogue_can_be_named(capsys):
    main(["catalogue", SHOP, "--events", "examples.proxy.events", "--sources", "examples.proxy"])

    assert "sources of `examples.proxy`" in capsys.readouterr().out


# demo


def test_the_demo_shows_who_listens_and_what_ran_when(capsys):
    assert main(["demo"]) == 0

    out = capsys.readouterr().out
    assert diagrams.tree(make_dispatcher().describe()) in out
    for backend in ("asyncio", "trio"):
        ran = re.findall(rf"\w+ on {backend}: \d+ ms\n((?:  .*\n)+)", out + "\n")
        assert [sorted(line.split()[0] for line in lines.splitlines()) for lines in ran] == [
            ["charge", "receipt", "reserve", "validate"]
        ] * 2
        in_turn, together = (
            {line.split()[0]: len(line) - len(line.replace("█", "").rstrip()) for line in lines.splitlines()}
            for lines in ran
        )
        assert all(width > 0 for width in (*in_turn.values(), *together.values()))


def test_the_demo_does_without_trio(capsys, monkeypatch):
    monkeypatch.setattr("antiphon._cli.demo.find_spec", lambda name: None if name == "trio" else object())

    main(["demo"])

    assert capsys.readouterr().out.endswith("\ntrio is not installed.\n")


# As a process


def test_the_package_can_be_run(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "antiphon.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", ["antiphon", "listeners", SHOP])

    with pytest.raises(SystemExit) as raised:
        runpy.run_module("antiphon", run_name="__main__")

    assert not raised.value.code
    assert capsys.readouterr().out == diagrams.table(shop.describe()) + "\n"


def test_the_command_finds_modules_in_the_current_directory_and_prints_utf8(tmp_path):
    (tmp_path / "chœur.py").write_text(
        "from antiphon import EventDispatcher\nd = EventDispatcher(name='chœur')\n", "utf-8"
    )

    done = run("listeners", "chœur:d", "--format", "tree", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().split() == ["chœur", "(EventDispatcher):", "nobody", "listens"]


def test_a_terminal_that_cannot_show_a_character_is_shown_its_number():
    done = run("listeners", SHOP, "--format", "tree", encoding="ascii")

    assert done.returncode == 0
    assert rb"\u251c\u2500\u2500 order.paid" in done.stdout


def test_a_module_that_raises_is_one_line_and_status_2(tmp_path):
    (tmp_path / "bad.py").write_text("print('hello')\n\nraise ValueError('no luck')\n")

    done = run("listeners", "bad:dispatcher", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines() == [
        "hello",
        "antiphon: importing bad raises ValueError: no luck (bad.py:3)",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_reader_that_has_seen_enough_does_no_harm(tmp_path):
    """It closes a pipe that is full: the command prints 90 kB, and a pipe holds 64."""
    (tmp_path / "many.py").write_text(
        "from antiphon import EventDispatcher\nd = EventDispatcher()\n"
        "for number in range(1000): d.add_listener(f'event.{number}', print)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        [sys.executable, "-m", "antiphon", "listeners", "many:d"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_ctrl_c_ends_the_command_with_the_status_of_shells(monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("antiphon._cli.find", interrupted)

    assert main(["listeners", SHOP]) == 130


def test_help_tells_the_commands(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--help"])

    assert raised.value.code == 0
    assert all(command in capsys.readouterr().out for command in ("listeners",))


def test_an_output_that_cannot_be_told_how_to_encode_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert main(["listeners", SHOP]) == 0


# With rich, on a terminal


@pytest.fixture
def terminal(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_on_a_terminal_the_table_has_colours_and_says_the_same(terminal, capsys):
    main(["listeners", SHOP])

    out = capsys.readouterr().out
    assert "\x1b[" in out
    told = [line.split() for line in plain(out).splitlines() if line.strip() and "─" not in line]
    assert told == [line.split() for line in diagrams.table(shop.describe()).splitlines() if "─" not in line]


def test_on_a_terminal_the_tree_has_colours_and_says_the_same(terminal, capsys):
    main(["listeners", SHOP, "--format", "tree"])

    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert [line.rstrip() for line in plain(out).splitlines()] == diagrams.tree(shop.describe()).splitlines()


@pytest.mark.parametrize("form", ["table", "tree"])
def test_brackets_in_names_are_no_markup(terminal, capsys, program, form):
    program(odd="from antiphon import EventDispatcher\nd = EventDispatcher()\nd.add_listener('[red]x[/blue]', print)")

    main(["listeners", "odd:d", "--format", form])

    assert "[red]x[/blue]" in plain(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["table", "tree"])
def test_nobody_listens_on_a_terminal_too(terminal, capsys, form):
    main(["listeners", SHOP, "--event", "stock.low", "--format", form])

    assert "nobody listens" in plain(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["table", "tree"])
def test_nothing_on_a_terminal_is_nothing(terminal, capsys, form):
    main(["listeners", SHOP, "--event", "stock.*", "--format", form])

    assert "nobody listens" in plain(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["json", "dot", "mermaid", "markdown"])
def test_what_is_for_programs_is_plain_on_a_terminal(terminal, capsys, form):
    main(["listeners", SHOP, "--format", form])

    assert "\x1b[" not in capsys.readouterr().out


def test_where_nobody_looks_rich_is_not_asked(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    main(["listeners", SHOP])

    assert "\x1b[" not in capsys.readouterr().out
