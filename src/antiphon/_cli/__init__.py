"""The command ``antiphon``, and ``python -m antiphon``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from shutil import get_terminal_size
from typing import Final, TextIO

import antiphon
from antiphon import diagrams
from antiphon._cli.bridge import add_bridge_parser, add_command
from antiphon._cli.demo import run_demo
from antiphon._cli.rich_output import print_with_rich
from antiphon.diagrams import Description
from antiphon.diagrams._catalogue_source import find_catalogue_source
from antiphon.diagrams._locate import LocateError, find_dispatcher
from antiphon.diagrams._text import escape_unprintable

__all__ = ("main",)

#: The exit status for wrong arguments, as in argparse.
_EXIT_USAGE: Final = 2

#: The exit status after Ctrl-C, as in shells.
_EXIT_INTERRUPTED: Final = 130

#: The exit statuses of all commands. Only commands that connect to a broker have the status 1.
_UNAVAILABLE_HELP: Final = "  1    the broker cannot be reached\n"
_EXIT_STATUS_HELP: Final = f"""\
exit status:
  0    the command has done what you asked for
{_UNAVAILABLE_HELP}\
  2    an argument is not usable, or PATH does not lead to a dispatcher or
       a bridge
  130  you pressed Ctrl-C
"""

_FORMATS: Final[dict[str, Callable[[Description], str]]] = {
    "table": lambda description: diagrams.table(description, width=_get_width()),
    "tree": lambda description: diagrams.tree(description, width=_get_width()),
    "json": diagrams.json,
    "mermaid": diagrams.mermaid,
    "dot": diagrams.dot,
    "markdown": diagrams.markdown,
}

_PATH_HELP: Final = "the dispatcher: package.module:attribute, or package.module:function() to call a function"
_OUTPUT_HELP: Final = "the file to write; default: standard output"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The arguments of the command. By default those of the process.

    Returns:
        The exit status: 0, 1 if a broker cannot be reached, 2 if an argument is not usable, or 130 after Ctrl-C.
    """
    _escape_unprintable_output(sys.stdout)
    _escape_unprintable_output(sys.stderr)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and ":" in given[0]:
        # A path alone is short for the most common command.
        given.insert(0, "listeners")
    options = _make_parser().parse_args(given)
    try:
        run: Callable[[argparse.Namespace], int | None] = options.run
        status = run(options)
        sys.stdout.flush()
    except LocateError as exc:
        print(f"antiphon: {exc}", file=sys.stderr)  # noqa: T201
        return _EXIT_USAGE
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe. Redirect the rest of the output, because Python flushes stdout
        # at exit and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    else:
        return status or 0
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m antiphon" if Path(sys.argv[0]).name == "__main__.py" else "antiphon",
        description="Show the listeners and events of a program, and its events in a broker. `antiphon PATH` is short "
        "for `antiphon listeners PATH`.",
    )
    parser.add_argument("--version", action="version", version=f"antiphon {antiphon.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listeners = add_command(
        commands.add_parser, "listeners", "show the listeners of each key, in the order in which they run"
    )
    listeners.add_argument("path", metavar="PATH", help=_PATH_HELP)
    listeners.add_argument(
        "--event", metavar="KEY", help="only this name, or the keys that match this pattern: 'order.*'"
    )
    listeners.add_argument(
        "--format",
        choices=tuple(_FORMATS),
        default="table",
        # Python 3.12 would not wrap the names in the usage.
        metavar="FORMAT",
        help=f"one of {', '.join(_FORMATS)}; default: %(default)s",
    )
    listeners.set_defaults(run=_show_listeners)

    catalogue = add_command(commands.add_parser, "catalogue", "write a page about the events, in Markdown")
    catalogue.add_argument("path", metavar="PATH", help=_PATH_HELP)
    catalogue.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module that defines events; default: the module `events` in the package of PATH, or the module of PATH",
    )
    catalogue.add_argument(
        "--sources",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package in which to search for dispatches; default: the package of the module that defines events",
    )
    catalogue.add_argument("-o", "--output", type=Path, metavar="FILE", help=_OUTPUT_HELP)
    catalogue.set_defaults(run=_write_catalogue)

    view = add_command(commands.add_parser, "view", "write an HTML page about the listeners, with a filter")
    view.add_argument("path", metavar="PATH", help=_PATH_HELP)
    view.add_argument("-o", "--output", type=Path, metavar="FILE", help=_OUTPUT_HELP)
    view.set_defaults(run=_view)

    add_bridge_parser(
        add_command(commands.add_parser, "bridge", "show the state of a bridge, and handle its dead letters")
    )

    demo = add_command(
        commands.add_parser, "demo", "dispatch an event sequentially and concurrently, and show the times"
    )
    demo.set_defaults(run=_show_demo)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose help ends with the exit status. The parsers of its commands have the same class."""

    def format_help(self) -> str:
        # A parser without `run` has commands, and some of them connect.
        can_connect = self.get_default("run") is None or self.get_default("connects")
        statuses = _EXIT_STATUS_HELP if can_connect else _EXIT_STATUS_HELP.replace(_UNAVAILABLE_HELP, "")
        return f"{super().format_help()}\n{statuses}"


def _show_listeners(options: argparse.Namespace) -> None:
    description = find_dispatcher(options.path)[1].describe()
    if options.event is not None:
        labels = [key.label for key in description.keys]
        try:
            description = description.filter(options.event)
        except ValueError as exc:
            raise LocateError(f"--event: {exc}") from None
        _hint_at_key(options.event, labels, description)
    if not print_with_rich(description, options.format):
        print(_FORMATS[options.format](description))  # noqa: T201


def _hint_at_key(wanted: str, labels: Sequence[str], description: Description) -> None:
    """Print a hint to stderr if a key was mistyped. A name may reach listeners without being a key."""
    if any(key.label in labels for key in description.keys):
        return
    matches = get_close_matches(wanted, labels, n=1, cutoff=0.75)
    if matches or not any(key.listeners for key in description.keys):
        hint = f"; did you mean {escape_unprintable(matches[0])}?" if matches else ""
        print(f"antiphon: --event: there is no key {escape_unprintable(wanted)}{hint}", file=sys.stderr)  # noqa: T201


def _write_catalogue(options: argparse.Namespace) -> None:
    page = find_catalogue_source(options.path, events=options.events, sources=options.sources).render()
    _write(page, options.output)


def _view(options: argparse.Namespace) -> None:
    _write(diagrams.html(find_dispatcher(options.path)[1].describe()), options.output)


def _write(page: str, output: Path | None) -> None:
    if output is None:
        print(page)  # noqa: T201
        return
    try:
        output.write_text(f"{page}\n", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise LocateError(f"{output} cannot be written: {exc.strerror or exc}") from exc


def _show_demo(_options: argparse.Namespace) -> None:
    for line in run_demo(width=_get_width()):
        print(line, flush=True)  # noqa: T201


def _get_width() -> int | None:
    # A file or another program gets tables of any width.
    return get_terminal_size().columns if sys.stdout.isatty() else None


def _escape_unprintable_output(stream: TextIO) -> None:
    # Write escapes for characters that the encoding of the stream does not have, instead of raising.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
