"""The command ``python -m antiphon``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TextIO

from antiphon import diagrams
from antiphon._cli.demo import run_demo
from antiphon._cli.rich_output import print_richly
from antiphon.diagrams import Description
from antiphon.diagrams._catalogue_source import reference_of
from antiphon.diagrams._locate import NotFound, find

__all__ = ("main",)

#: What a shell is told when the arguments are wrong, also by argparse.
_WRONG: Final = 2

#: What a shell is told when Ctrl-C ended a command.
_INTERRUPTED: Final = 130

_FORMATS: Final[dict[str, Callable[[Description], str]]] = {
    "table": diagrams.table,
    "tree": diagrams.tree,
    "json": diagrams.json,
    "mermaid": diagrams.mermaid,
    "dot": diagrams.dot,
    "markdown": diagrams.markdown,
}

_PATH: Final = "where the dispatcher is: package.module:attribute, or package.module:function() for what it returns"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say, and return the status to exit with: 0, or 2 if they name nothing that could be shown.

    Args:
        arguments: The words after the command; those of the process by default.
    """
    _make_printable(sys.stdout)
    _make_printable(sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
        sys.stdout.flush()
    except NotFound as exc:
        print(f"antiphon: {exc}", file=sys.stderr)  # noqa: T201
        return _WRONG
    except BrokenPipeError:
        # Whoever read this, `head` for one, has seen enough; what is left must not fail at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m antiphon", description="Show what events do.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listeners = commands.add_parser("listeners", help="show who listens to what, in which order")
    listeners.add_argument("path", metavar="PATH", help=_PATH)
    listeners.add_argument("--event", metavar="KEY", help="only this name, or what matches this pattern: 'order.*'")
    listeners.add_argument("--format", choices=tuple(_FORMATS), default="table", help="default: %(default)s")
    listeners.set_defaults(run=_show_listeners)

    catalogue = commands.add_parser("catalogue", help="write a reference of the events, in Markdown")
    catalogue.add_argument("path", metavar="PATH", help=_PATH)
    catalogue.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="MODULE",
        help="defines names and classes of events; default: the module `events` beside that of PATH, or this itself",
    )
    catalogue.add_argument(
        "--sources",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="where to look for dispatches; default: the package of the module of events",
    )
    catalogue.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    catalogue.set_defaults(run=_write_catalogue)

    shown = commands.add_parser("demo", help="dispatch an event in turn and together, and show what ran when")
    shown.set_defaults(run=_show_demo)
    return parser


def _show_listeners(options: argparse.Namespace) -> None:
    description = find(options.path)[1].describe()
    if options.event is not None:
        try:
            description = description.filter(options.event)
        except ValueError as exc:
            raise NotFound(f"--event: {exc}") from None
    if not print_richly(description, options.format):
        print(_FORMATS[options.format](description))  # noqa: T201


def _write_catalogue(options: argparse.Namespace) -> None:
    page = reference_of(options.path, events=options.events, sources=options.sources).write()
    if options.output is None:
        print(page)  # noqa: T201
        return
    try:
        options.output.write_text(f"{page}\n", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise NotFound(f"{options.output} cannot be written: {exc.strerror or exc}") from exc


def _show_demo(_options: argparse.Namespace) -> None:
    for line in run_demo():
        print(line, flush=True)  # noqa: T201


def _make_printable(stream: TextIO) -> None:
    # A terminal that cannot show a character is shown its number, and not a traceback.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
