"""The page docs/command.md describes the command as its help does; ``python -m tests.seeing.test_command_page``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from antiphon._cli import _EXIT_STATUS_HELP, _make_parser

PAGE = Path(__file__).parents[2] / "docs" / "command.md"
#: The usage and the arguments of one command, below its heading.
PART = re.compile(r"^## `(antiphon [^`]+)`\n\n(.*?\n)(?=\n(?!```|\{|\||antiphon )|\Z)", re.MULTILINE | re.DOTALL)
STATUS = re.compile(r"^\| Status \|.*?\n(?=\n)", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")


def find_commands(parser: argparse.ArgumentParser, help: str = "") -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield each command that has no further commands, with its help."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser, help
    for group in groups:
        texts = {action.dest: action.help for action in group._choices_actions}
        for name, command in group.choices.items():
            yield from find_commands(command, texts[name])


def render_arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a row for each argument."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper()).strip()
        forms = [f"{option} {value}".strip() for option in action.option_strings] or [value]
        names = ", ".join(f"`{form}`" for form in forms)
        yield f"| {names} | {mark_code(formatter._expand_help(action))} |"


def mark_code(text: str) -> str:
    """Mark quoted words and paths as code."""
    text = re.sub(r"'(\S+)'", r"`\1`", text)
    return re.sub(r"package\.module:\w+(\(\))?", r"`\g<0>`", text)


def render_command(parser: argparse.ArgumentParser, help: str) -> str:
    """Return the usage and the arguments of a command, in Markdown."""
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ").replace(" [-h]", "")
    rows = list(render_arguments(parser))
    # The commands of `bridge` share the argument of their parent.
    if "PATH" in usage and not any("`PATH`" in row for row in rows):
        (path,) = [action.help for action in find_bridge()._actions if action.dest == "path"]
        rows.insert(0, f"| `PATH` | {mark_code(path)} |")
    table = "\n".join(["| Argument | Meaning |", "| --- | --- |", *rows])
    lines = [f"{help[0].upper()}{help[1:]}.", "", "{.wrapped}", "```text", usage, "```"]
    return "\n".join([*lines, *(["", table] if rows else [])]) + "\n"


def find_bridge() -> argparse.ArgumentParser:
    (group,) = [action for action in _make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return group.choices["bridge"]


def render_commands() -> dict[str, str]:
    """Return the text of each command by its heading."""
    with patch.object(sys, "argv", ["antiphon"]), patch.dict("os.environ", {"COLUMNS": "300", "NO_COLOR": "1"}):
        commands = list(find_commands(_make_parser()))
        return {
            parser.prog.replace(" PATH", ""): render_command(parser, help.removesuffix("."))
            for parser, help in commands
        }


def render_statuses() -> str:
    """Return the table of the exit statuses."""
    found = re.findall(r"^  (\d+) +(.*(?:\n {5,}.*)*)", _EXIT_STATUS_HELP, re.MULTILINE)
    rows = [f"| {status} | {' '.join(meaning.split())} |" for status, meaning in found]
    return "\n".join(["| Status | Meaning |", "| --- | --- |", *rows]) + "\n"


def renewed(text: str) -> str:
    """Return the page with the current commands and statuses."""
    commands = render_commands()
    text = PART.sub(lambda part: f"## `{part[1]}`\n\n{commands[part[1]]}", text)
    return STATUS.sub(lambda _: render_statuses(), text)


def test_page_has_each_command():
    text = PAGE.read_text(encoding="utf-8")

    assert [part[1] for part in PART.finditer(text)] == list(render_commands())
    assert STATUS.search(text)


@pytest.mark.parametrize("command", list(render_commands()))
def test_page_describes_the_arguments_of_a_command(command: str):
    shown = {part[1]: part[2] for part in PART.finditer(PAGE.read_text(encoding="utf-8"))}

    assert shown[command] == render_commands()[command], "python -m tests.seeing.test_command_page renews the page"


def test_page_lists_the_exit_statuses():
    (shown,) = STATUS.findall(PAGE.read_text(encoding="utf-8"))

    assert shown == render_statuses()


@pytest.mark.parametrize(
    "parser", [pytest.param(parser, id=parser.prog) for parser, _ in find_commands(_make_parser())]
)
def test_only_commands_that_connect_list_the_status_of_the_broker(parser: argparse.ArgumentParser):
    connects = re.search(r" bridge PATH (?!asyncapi)", parser.prog)

    assert ("\n  1    the broker" in parser.format_help()) == bool(connects)
    assert "\n  0 " in parser.format_help()


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
